"""SIGKILL at random moments: every acknowledged snapshot restores, the next run completes and stores nothing twice.

Each kill is of a real process that has opened the vault and waits to be told to begin, so that it dies inside the run and
not while Python starts. Twenty kills of backups and some of the other commands; HOLDFAST_KILLS=200 for more.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time

from tests.rounds import Place, assert_same

from holdfast.runs.options import BackupOptions
from holdfast.testing.changes import ChangingTree, TreeShape

KILLS = int(os.environ.get("HOLDFAST_KILLS", "20"))
SEED = int(os.environ.get("HOLDFAST_SEED", "1"))
SHAPE = TreeShape(folders=6, files=30, file_bytes_max=400_000, paged_bytes=4 * 1024 * 1024)
OPTIONS = BackupOptions(checkpoint_bytes=500_000, checkpoint_seconds=0.02, pack_bytes=300_000)

PROGRAM = """
import sys
import holdfast
from holdfast.runs.options import BackupOptions
vault = holdfast.Vault.open(sys.argv[1], key_file=sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
"""
BACKUP = (
    f"vault.backup([sys.argv[3]], label='rounds', options=BackupOptions(checkpoint_bytes={OPTIONS.checkpoint_bytes}, "
)
BACKUP += f"checkpoint_seconds={OPTIONS.checkpoint_seconds}, pack_bytes={OPTIONS.pack_bytes}))"
FORGET = "vault.forget(holdfast.RetentionPolicy(last=3))"
PRUNE = "[vault.prune(undo_days=0.0) for _ in range(2)]"
CATALOG = "vault.catalog_rebuild()"


class Process:
    """A process that runs one line against the vault."""

    def __init__(self, place: Place, line: str) -> None:
        words = [sys.executable, "-c", PROGRAM + line, str(place.vault), str(place.key), str(place.source)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def end(self, seconds: float | None = None) -> float:
        """Let it begin, kill it after some seconds if it still runs, and return how long it took."""
        begin = time.monotonic()
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        try:
            self.process.wait(seconds)
            assert self.process.returncode == 0
        except subprocess.TimeoutExpired:
            self.process.kill()
        took = time.monotonic() - begin
        self.process.communicate()
        return took


def test_a_killed_backup_loses_nothing_and_stores_nothing_twice(place):
    place.options = OPTIONS
    dice = random.Random(SEED)
    place.create().close()
    tree = ChangingTree(place.source, SEED, SHAPE)
    tree.grow()
    usual = Process(place, BACKUP).end()
    with place.open() as vault:
        known = {vault.snapshots()[-1].id: place.truth()}
    for kill in range(KILLS):
        tree.step(30)
        truth = place.truth()
        what = f"seed {SEED}, kill {kill}"
        Process(place, BACKUP).end(dice.uniform(0, usual))
        with place.open() as vault:
            found = [snapshot.id for snapshot in vault.snapshots()]
            assert set(known) <= set(found), f"{what}: an acknowledged snapshot is gone"
            known.update(dict.fromkeys(set(found) - set(known), truth))
            result = place.backup(vault)
            assert not result.partial, what
            assert result.snapshot is not None
            known[result.snapshot.id] = truth
            if kill % 4 == 0:
                chosen = dice.choice(list(known))
                assert_same(known[chosen], place.by_engine(vault, chosen), what)
            assert_same(truth, place.by_engine(vault, "latest"), what)
    with place.open() as vault:
        assert vault.check().problems == ()
        assert vault.verify().sound
        assert place.chunks_stored_twice() == []


def test_killed_forgets_prunes_and_catalogs_lose_nothing(place):
    dice = random.Random(SEED + 1)
    known = {}
    place.create().close()
    tree = ChangingTree(place.source, SEED + 1, SHAPE)
    tree.grow()
    usual = 0.1
    for kill in range(max(2, KILLS // 5)):
        with place.open() as vault:
            for _ in range(2):
                tree.step()
                result = place.backup(vault)
                assert result.snapshot is not None
                known[result.snapshot.id] = place.truth()
        for line in (FORGET, PRUNE, CATALOG):
            usual = max(usual, Process(place, line).end(dice.uniform(0, usual)))
            with place.open() as vault:
                found = [snapshot.id for snapshot in vault.snapshots()]
                what = f"seed {SEED}, kill {kill} of {line}"
                assert list(known)[-3:] == found[-3:], f"{what}: a snapshot that was to be kept is gone"
                chosen = dice.choice(found)
                assert_same(known[chosen], place.by_engine(vault, chosen), what)
    with place.open() as vault:
        for suspicion in vault.suspicions():  # a small tree that is rewritten at random looks like an attack
            vault.release_suspicious(suspicion.snapshot, reason="a test's own changes")
    for line in (FORGET, PRUNE, CATALOG):
        Process(place, line).end()
    with place.open() as vault:
        assert [snapshot.id for snapshot in vault.snapshots()] == list(known)[-3:]
        for snapshot in vault.snapshots():
            assert_same(known[snapshot.id], place.by_engine(vault, snapshot.id), f"seed {SEED}, in the end")
        assert vault.check().problems == ()
        assert vault.verify().sound
