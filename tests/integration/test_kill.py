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
SEED = int(os.environ.get("HOLDFAST_SEED", "1"))
SHAPE = TreeShape(folders=6, files=30, file_bytes_max=400_000, paged_bytes=4 * 1024 * 1024)


def start(place: Place, *command: str) -> subprocess.Popen[bytes]:
    """Start the command line in a process of its own, with small packs and many checkpoints."""
    words = [sys.executable, "-m", "holdfast", *command, "--vault", str(place.vault), "--key-file", str(place.key)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def backup(place: Place) -> subprocess.Popen[bytes]:
    return start(place, "backup", str(place.source), "--label", "rounds", "--json")


def killed(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Let a process run for a time, kill it if it is still there, and say whether it was."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    process.communicate()
    return process.returncode != 0


def timed(process: subprocess.Popen[bytes]) -> float:
    """Let a process end and say how long it took."""
    begin = time.monotonic()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    return time.monotonic() - begin


@pytest.mark.parametrize("seed", [SEED])
def test_a_killed_backup_loses_nothing_and_stores_nothing_twice(place, seed):
    dice = random.Random(seed)
    known = {}
    with place.create() as vault:
        tree = ChangingTree(place.source, seed, SHAPE)
        tree.grow()
        truth = place.truth()
        usual = timed(backup(place))
        known[vault.snapshots()[-1].id] = truth
    for kill in range(KILLS):
        tree.step()
        truth = place.truth()
        what = f"seed {seed}, kill {kill}"
        killed(backup(place), dice.uniform(0.3, 1.1) * usual)
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


COMMANDS = (
    ("forget", "--keep-last", "3"),
    ("prune", "--undo", "0s"),
    ("catalog", "rebuild"),
)


@pytest.mark.parametrize("seed", [SEED])
def test_killed_forgets_prunes_and_catalogs_lose_nothing(place, seed):
    dice = random.Random(seed + 1)
    known = {}
    tree = None
    for kill in range(KILLS // 4):
        with place.create() if tree is None else place.open() as vault:
            if tree is None:
                tree = ChangingTree(place.source, seed, SHAPE)
                tree.grow()
            for _ in range(2):
                tree.step()
                result = place.backup(vault)
                assert result.snapshot is not None
                known[result.snapshot.id] = place.truth()
        for command in COMMANDS:
            killed(start(place, *command), dice.uniform(0.3, 1.0))
            with place.open() as vault:
                found = [snapshot.id for snapshot in vault.snapshots()]
                what = f"seed {seed}, kill {kill} of {command[0]}"
                assert list(known)[-3:] == found[-3:], f"{what}: a snapshot that was to be kept is gone"
                chosen = dice.choice(found)
                assert_same(known[chosen], place.by_engine(vault, chosen), what)
    for command in COMMANDS:
        timed(start(place, *command))
    with place.open() as vault:
        assert [snapshot.id for snapshot in vault.snapshots()] == list(known)[-3:]
        for snapshot in vault.snapshots():
            assert_same(known[snapshot.id], place.by_engine(vault, snapshot.id), f"seed {seed}, in the end")
        assert vault.check().problems == ()
        assert vault.verify().sound
