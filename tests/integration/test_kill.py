"""SIGKILL at random moments: every acknowledged snapshot restores, the next run completes and stores nothing twice.

Twenty kills by default; HOLDFAST_KILLS=200 for more. Each kill is of a real `holdfast backup` process.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time

import pytest
from tests.rounds import Place, assert_same

from holdfast.testing.changes import ChangingTree, TreeShape

KILLS = int(os.environ.get("HOLDFAST_KILLS", "20"))
SHAPE = TreeShape(folders=6, files=30, file_bytes_max=400_000, paged_bytes=4 * 1024 * 1024)


def start(place: Place, *command: str) -> subprocess.Popen[bytes]:
    """Start the command line in a process of its own, with small packs and many checkpoints."""
    words = [sys.executable, "-m", "holdfast", *command, "--vault", str(place.vault), "--key-file", str(place.key)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def backup(place: Place) -> subprocess.Popen[bytes]:
    return start(place, "backup", str(place.source), "--label", "rounds", "--json")


@pytest.mark.parametrize("seed", [int(os.environ.get("HOLDFAST_SEED", "1"))])
def test_a_killed_backup_loses_nothing_and_stores_nothing_twice(place, seed):
    dice = random.Random(seed)
    known = {}
    with place.create() as vault:
        tree = ChangingTree(place.source, seed, SHAPE)
        tree.grow()
        truth = place.truth()
        begin = time.monotonic()
        process = backup(place)
        assert process.wait(60) == 0, process.communicate()
        usual = time.monotonic() - begin
        process.communicate()
        known[vault.snapshots()[-1].id] = truth
    for kill in range(KILLS):
        tree.step()
        truth = place.truth()
        what = f"seed {seed}, kill {kill}"
        process = backup(place)
        try:
            process.wait(dice.uniform(0.3, 1.1) * usual)
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        with place.open() as vault:
            found = [snapshot.id for snapshot in vault.snapshots()]
            assert set(known) <= set(found), f"{what}: an acknowledged snapshot is gone"
            for snapshot in set(found) - set(known):
                known[snapshot] = truth
            result = place.backup(vault)
            assert not result.partial, what
            assert result.snapshot is not None
            known[result.snapshot.id] = truth
            chosen = dice.choice(list(known))
            assert_same(known[chosen], place.by_engine(vault, chosen), what)
            assert_same(truth, place.by_engine(vault, "latest"), what)
    with place.open() as vault:
        assert vault.check().problems == ()
        assert vault.verify().sound
        assert place.chunks_stored_twice() == []
