"""Commands that add snapshots, forget them and give back their space."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import holdfast
from holdfast.errors import HeldError
from holdfast.repository.decisions import open_sessions
from holdfast.repository.listing import read_dropped
from holdfast.runs.options import BackupOptions
from holdfast.runs.results import RetentionPolicy
from holdfast.runs.wal import LOG_SUFFIX, store_log
from holdfast.sources.spool import Spool
from holdfast.sources.wal import segment_name
from holdfast.testing.faults import Crash
from holdfast.testing.sweep.command import Command, newest, oldest
from holdfast.testing.sweep.ground import LABEL, Ground, opened, repository_of
from holdfast.testing.sweep.strike import Strike

__all__ = ["BACKUPS", "backed_up", "changed", "oldest_forgotten", "prune", "pruned"]

WAL_BYTES = 1 << 20
WAITING_DAYS = 8


def changed(ground: Ground) -> None:
    """Change the source."""
    ground.write("phi/b", 7)
    ground.write("phi/new", 7)
    ground.write("imaging/new", 7)


def backed_up(ground: Ground, vault: holdfast.Vault) -> bool:
    """Whether the newest snapshot is what the source is."""
    return ground.restored(vault) == ground.content()


def _joined(ground: Ground) -> None:
    """Enrol a writer, and let it store one snapshot."""
    with ground.open() as vault:
        (ground.live / "credential").write_bytes(vault.enroll_writer("host-1"))
    (ground.live / "credential").chmod(0o600)
    with _by_writer(ground) as vault:
        ground.backup(vault)
    changed(ground)


@contextmanager
def _by_writer(ground: Ground) -> Iterator[holdfast.Vault]:
    with ground.open(credential=ground.live / "credential") as vault:
        yield vault


def _left_off(ground: Ground) -> None:
    """Leave a session behind: a run that died when it had stored its packs."""
    changed(ground)
    with ground.open() as vault:
        counted = Strike("killed")
        kept = ground.keep()
        ground.strike(counted)
        ground.backup(vault)
    ground.put_back(kept)
    last = max(at for at, row in enumerate(counted.log) if row.split()[1].startswith("index/"))
    with ground.open() as vault:
        ground.strike(Strike("killed", last + 1))
        try:
            ground.backup(vault)
        except Crash:
            pass
        finally:
            ground.strike(None)


def oldest_forgotten(ground: Ground) -> None:
    """Forget the oldest snapshot."""
    with ground.open() as vault:
        vault.forget(snapshots=[oldest(ground)], reason="a sweep")
    del ground.acknowledged[oldest(ground)]


def prune(_ground: Ground, vault: holdfast.Vault) -> object:
    """Prune without a delay."""
    return vault.prune(undo_days=0, repack_below=0.9)


def pruned(_ground: Ground, vault: holdfast.Vault) -> bool:
    """Whether nothing is left to prune."""
    return vault.prune(dry_run=True).packs_condemned == 0


def _condemned(ground: Ground) -> None:
    oldest_forgotten(ground)
    with ground.open() as vault:
        vault.prune(repack_below=0.9)
    ground.pass_days(WAITING_DAYS)


def _class_forgotten(ground: Ground, vault: holdfast.Vault) -> bool:
    repository = repository_of(vault)
    return repository.class_id("imaging") in read_dropped(repository.home).get(oldest(ground), frozenset())


def _held(ground: Ground) -> None:
    with ground.open() as vault:
        vault.hold(newest(ground), reason="a sweep")


def _is_held(ground: Ground, vault: holdfast.Vault) -> bool:
    return vault.snapshot(newest(ground)).info.held


def _suspicious(ground: Ground) -> None:
    """Back up what looks as if it had been encrypted, after quiet days."""
    for number in range(40):
        (ground.write(f"phi/text{number}")).write_text(f"PID|{number}|A|1950\r" * 900)
    with ground.open() as vault:
        for _ in range(3):
            ground.backup(vault)
            ground.pass_days(1)
    for number in range(40):
        path = ground.write(f"phi/text{number}", 9, 16_000)
        path.rename(f"{path}.locked")
    with ground.open() as vault:
        ground.backup(vault)
        assert vault.suspicions(), "nothing suspicious was made"


def _release(ground: Ground, vault: holdfast.Vault) -> object:
    """Release; if a word on the snapshot was torn it counts as a hold, and the hold is ended, as the error says."""
    try:
        return vault.release_suspicious(newest(ground), reason="a sweep")
    except HeldError:
        return vault.release(newest(ground), reason="a sweep")


def _released(_ground: Ground, vault: holdfast.Vault) -> bool:
    return not vault.suspicions()


def _wal(ground: Ground) -> None:
    """A spool with three segments of a log."""
    folder, server = ground.live / "wal", ground.live / "pg_wal"
    folder.mkdir()
    (server / "archive_status").mkdir(parents=True)
    spool = Spool(folder, ground.env)
    for number in (1, 2, 3):
        head = struct.pack("<HHIQI4xQII", 0xD110, 2, 1, number * WAL_BYTES, 0, 7, WAL_BYTES, 8192)
        path = server / segment_name(1, number, WAL_BYTES)
        path.write_bytes(head + bytes(WAL_BYTES - len(head)))
        spool.push(path)


def _store_wal(ground: Ground, vault: holdfast.Vault) -> object:
    with_one = BackupOptions(workers=1, upload_threads=1)
    return store_log(opened(vault), "pg", os.fsencode(ground.live / "wal"), with_one)


def _stored(vault: holdfast.Vault) -> set[str]:
    found: set[str] = set()
    for snapshot in vault.snapshots("pg" + LOG_SUFFIX):
        found |= {os.fsdecode(entry.path).rpartition("/")[2] for entry in snapshot.walk()}
    return found


def _wal_kept(ground: Ground, vault: holdfast.Vault) -> bool:
    """Every segment is in a snapshot, or still in the spool."""
    stored, spooled = _stored(vault), set(os.listdir(ground.live / "wal"))
    wanted = {segment_name(1, number, WAL_BYTES) for number in (1, 2, 3)}
    if not all(any(name.startswith(one) for name in spooled | stored) for one in wanted):
        raise AssertionError("a WAL segment is neither in the spool nor in a snapshot")
    return all(any(name.startswith(one) for name in stored) for one in wanted)


def _logged(ground: Ground) -> None:
    """A log between the first base backup and another."""
    _wal(ground)
    with ground.open() as vault:
        _store_wal(ground, vault)
    ground.pass_days(1)
    with ground.open() as vault:
        ground.backup(vault)


LAST_DAYS = RetentionPolicy(last=1, pitr_days=30)


def _logs_are_there(ground: Ground, vault: holdfast.Vault) -> bool:
    """What recovery to a moment since the kept base backup needs is there."""
    return len(_stored(vault)) >= 3 and {s.id for s in vault.snapshots(LABEL)} >= {newest(ground)}


def _out(ground: Ground) -> Path:
    return ground.live / "out"


def _restore(ground: Ground, vault: holdfast.Vault) -> object:
    """Restore; again into the same place, where an interrupted one goes on."""
    return vault.snapshot(newest(ground)).restore(_out(ground), overwrite="always")


def _restored(ground: Ground, _vault: holdfast.Vault) -> bool:
    inside = _out(ground) / str(ground.source).lstrip("/")
    found = {str(p.relative_to(inside)): p.read_bytes() for p in inside.rglob("*") if p.is_file()}
    return found == ground.acknowledged[newest(ground)]


BACKUPS: tuple[Command, ...] = (
    Command("init", lambda g, _v: g.create(), lambda _g, _v: True, creates=True, again=frozenset({"vault-exists"})),
    Command("backup", lambda g, v: g.backup(v), backed_up, changed),
    Command("backup by a writer", lambda g, v: g.backup(v), backed_up, _joined, open=_by_writer),
    Command("backup after one that died", lambda g, v: g.backup(v), backed_up, _left_off),
    Command(
        "forget",
        lambda g, v: v.forget(snapshots=[oldest(g)], reason="a sweep"),
        lambda g, v: oldest(g) not in {s.id for s in v.snapshots()},
        gives_up=lambda g: frozenset({oldest(g)}),
        again=frozenset({"snapshot-missing"}),
    ),
    Command(
        "forget by policy",
        lambda _g, v: v.forget(RetentionPolicy(last=1)),
        lambda _g, v: len(v.snapshots()) == 1,
        gives_up=lambda g: frozenset(list(g.acknowledged)[:-1]),
    ),
    Command(
        "forget a class",
        lambda g, v: v.forget(snapshots=[oldest(g)], classes=["imaging"], reason="a sweep"),
        _class_forgotten,
        gives_up=lambda g: frozenset({oldest(g)}),
        again=frozenset({"class-forgotten"}),
    ),
    Command(
        "forget, keeping logs",
        lambda _g, v: v.forget(LAST_DAYS),
        _logs_are_there,
        _logged,
        gives_up=lambda g: frozenset(list(g.acknowledged)[:-1]),
    ),
    Command("prune, repacking", prune, pruned, oldest_forgotten),
    Command("prune after its delay", prune, pruned, _condemned),
    Command(
        "prune, revoking",
        lambda _g, v: v.prune(undo_days=0, revoke_silent=True),
        lambda _g, v: not open_sessions(repository_of(v).home),
        _left_off,
    ),
    Command("hold", lambda g, v: v.hold(newest(g), reason="a sweep"), _is_held),
    Command("release", lambda g, v: v.release(newest(g), reason="a sweep"), lambda g, v: not _is_held(g, v), _held),
    Command(
        "release of a suspicious one",
        _release,
        _released,
        _suspicious,
        again=frozenset({"usage"}),
    ),
    Command("restore", _restore, _restored),
    Command("wal", _store_wal, _wal_kept, _wal),
)
