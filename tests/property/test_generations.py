"""Thirty generations of random changes: every one comes back as it was, by the engine and by the rescue reader.

The oracle is `holdfast.testing.trees.capture` of the source at the time of each backup. HOLDFAST_SEEDS=50 tries more.
"""

from __future__ import annotations

import os

import pytest
from tests.rounds import assert_same

from holdfast.testing.changes import ChangingTree, TreeShape

GENERATIONS = 30
SEEDS = range(int(os.environ.get("HOLDFAST_SEEDS", "2")))
SHAPE = TreeShape(folders=8, files=40, file_bytes_max=200_000, paged_bytes=3 * 1024 * 1024)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_generation_comes_back(place, seed):
    history = []
    with place.create() as vault:
        tree = ChangingTree(place.source, seed, SHAPE)
        tree.grow()
        for generation in range(GENERATIONS):
            done = tree.step() if generation else []
            truth = place.truth()
            result = place.backup(vault)
            assert not result.partial, result.findings
            assert result.snapshot is not None
            history.append((result.snapshot.id, truth, f"seed {seed}, generation {generation}, after {done}"))
            if tree.random.random() < 0.1:
                place.forget_local_state()
        assert len(vault.snapshots()) == GENERATIONS
        for number, (snapshot, truth, what) in enumerate(history):
            assert_same(truth, place.by_engine(vault, snapshot), f"engine, {what}")
            if number % 5 == 4:
                assert_same(truth, place.by_rescue(snapshot), f"rescue reader, {what}")
        assert place.chunks_stored_twice() == []
        assert vault.check().problems == ()
        assert vault.verify().sound


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_diff_says_is_what_changed(place, seed):
    with place.create() as vault:
        tree = ChangingTree(place.source, seed + 1000, SHAPE)
        tree.grow()
        place.backup(vault)
        for _ in range(5):
            before = place.truth()
            done = tree.step()
            after = place.truth()
            place.backup(vault)
            older, newer = list(vault.snapshots())[-2:]
            prefix = os.fsencode(place.source).lstrip(b"/")
            said = {change.path.removeprefix(prefix).lstrip(b"/"): change.kind for change in older.diff(newer)}
            added, removed = after.keys() - before.keys(), before.keys() - after.keys()
            assert {path for path, kind in said.items() if kind == "added"} == added, done
            assert {path for path, kind in said.items() if kind == "removed"} == removed, done
            content = {path for path in before.keys() & after.keys() if before[path].digest != after[path].digest}
            assert content <= {path for path, kind in said.items() if kind == "changed"}, done
