"""The table of commands that a sweep kills. A command more is one line more in :data:`COMMANDS`."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import holdfast
from holdfast.errors import HoldfastError, NotPermittedError, UsageError
from holdfast.repository import writers
from holdfast.runs import courier_import as importing
from holdfast.runs.medium import Medium
from holdfast.runs.options import BackupOptions
from holdfast.runs.results import RetentionPolicy
from holdfast.runs.wal import LOG_SUFFIX, store_log
from holdfast.sources.spool import Spool
from holdfast.sources.wal import segment_name
from holdfast.stores.local import LocalStore
from holdfast.testing.sweep.ground import Ground, opened, repository_of
from holdfast.testing.sweep.strike import Strike, StruckStore

__all__ = ["COMMANDS", "Command"]

PASSPHRASE = "a sweep's passphrase"  # noqa: S105 - it protects nothing
WAL_BYTES = 1 << 20


def _nothing(_ground: Ground) -> None:
    """Prepare nothing."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command: how it is prepared, done, and seen to be done."""

    name: str
    do: Callable[[Ground, holdfast.Vault], object]
    done: Callable[[Ground, holdfast.Vault], bool]
    """Whether what was asked is so now. True after every run that ended without an error."""
    prepare: Callable[[Ground], object] = _nothing
    gives_up: Callable[[Ground], frozenset[str]] = lambda _ground: frozenset()
    """Snapshots that it was asked to forget."""
    tiered: bool = False
    again: frozenset[str] = frozenset()
    """Codes with which it may refuse to be done once more."""
    heals: bool = False
    """Something is lost before it, so that snapshots restore when it, or the next run of it, was done."""
    creates: bool = False
    """It makes the vault."""


def _oldest(ground: Ground) -> str:
    return next(iter(ground.acknowledged))


def _newest(ground: Ground) -> str:
    return list(ground.acknowledged)[-1]


def _changed(ground: Ground) -> None:
    ground.write("phi/b", 7)
    ground.write("phi/new", 7)
    ground.write("imaging/new", 7)


def _backed_up(ground: Ground, vault: holdfast.Vault) -> bool:
    return ground.restored(vault) == ground.content()


def _oldest_forgotten(ground: Ground) -> None:
    with ground.open() as vault:
        vault.forget(snapshots=[_oldest(ground)], reason="a sweep")
    del ground.acknowledged[_oldest(ground)]


def _prune(_ground: Ground, vault: holdfast.Vault) -> object:
    return vault.prune(undo_days=0, repack_below=0.9)


def _pruned(_ground: Ground, vault: holdfast.Vault) -> bool:
    return vault.prune(dry_run=True).packs_condemned == 0


def _index_lost(ground: Ground) -> None:
    store = ground.stores["home"]
    for name in [name for name in store.objects if name.startswith("index/")][:1]:
        del store.objects[name]


def _sound(_ground: Ground, vault: holdfast.Vault) -> bool:
    return not vault.check().problems


def _copy_lost(ground: Ground) -> None:
    store = ground.stores["second"]
    for name in [name for name in store.objects if name.startswith("data/")][:1]:
        store.objects[name] = store.objects[name][:-1] + b"?"
    with ground.open() as vault:
        vault.verify()


def _copies_sound(_ground: Ground, vault: holdfast.Vault) -> bool:
    return vault.verify().sound and not vault.migrate_plan().steps


def _aged(ground: Ground) -> None:
    ground.pass_days(100)


def _migrated(_ground: Ground, vault: holdfast.Vault) -> bool:
    return not vault.migrate_plan().steps


def _enrolled(ground: Ground) -> None:
    with ground.open() as vault:
        (ground.live / "credential").write_bytes(vault.enroll_writer("host-1"))
    (ground.live / "credential").chmod(0o600)


def _is_enrolled(_ground: Ground, vault: holdfast.Vault) -> bool:
    return "host-1" in {writer.label for writer in writers.list_writers(repository_of(vault))}


def _is_revoked(ground: Ground, _vault: holdfast.Vault) -> bool:
    try:
        holdfast.Vault.open(ground.url, credential=ground.live / "credential", env=ground.env).close()
    except NotPermittedError:
        return True
    return False


def _kit(ground: Ground, vault: holdfast.Vault) -> object:
    kit = vault.recovery_kit()
    path = ground.live / "kit"
    path.write_bytes(kit)
    path.chmod(0o600)
    return kit


def _opens(ground: Ground, *, kit: bool) -> bool:
    secret = {"key_file": ground.live / "kit"} if kit else {"passphrase": PASSPHRASE}
    if kit and not (ground.live / "kit").exists():
        return False
    try:
        holdfast.Vault.open(ground.url, env=ground.env, tiers=ground.tiers, **secret).close()
    except HoldfastError:
        return False
    return True


def _held(ground: Ground) -> None:
    with ground.open() as vault:
        vault.hold(_newest(ground), reason="a sweep")


def _is_held(ground: Ground, vault: holdfast.Vault) -> bool:
    return vault.snapshot(_newest(ground)).info.held


def _medium(ground: Ground, name: str = "medium") -> Path:
    path = ground.live / name
    path.mkdir(exist_ok=True)
    return path


def _exported(ground: Ground) -> None:
    with ground.open() as vault:
        vault.courier().export(_medium(ground))


def _export(ground: Ground, vault: holdfast.Vault) -> object:
    strike = ground.stores["home"].strike
    write = Medium.write

    def struck(medium: Medium, name: str, data: bytes) -> None:
        assert strike is not None
        strike.around("put", f"medium/{name}", lambda: write(medium, name, data), lambda: None)

    with patch.object(Medium, "write", write if strike is None else struck):
        return vault.courier().export(_medium(ground))


def _import(ground: Ground, _vault: holdfast.Vault) -> object:
    strike = ground.stores["home"].strike
    if strike is None:
        return holdfast.courier_import(_medium(ground), ground.live / "far", env=ground.env)

    def struck(root: str | os.PathLike[str]) -> StruckStore:
        assert isinstance(strike, Strike)
        return StruckStore(LocalStore(os.fspath(root)), strike)

    with patch.object(importing, "LocalStore", struck):
        return holdfast.courier_import(_medium(ground), ground.live / "far", env=ground.env)


def _is_imported(ground: Ground, _vault: holdfast.Vault) -> bool:
    far = ground.live / "far"
    if not (far / "vault").exists():
        return False
    with holdfast.Vault.open(far, key_file=ground.key, env=ground.env) as vault:
        return not vault.check().problems and ground.restored(vault) == ground.content()


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


def _wal_kept(ground: Ground, vault: holdfast.Vault) -> bool:
    """Every segment is in a snapshot, or still in the spool."""
    spooled = set(os.listdir(ground.live / "wal"))
    wanted = {segment_name(1, number, WAL_BYTES) for number in (1, 2, 3)}
    stored: set[str] = set()
    for snapshot in vault.snapshots("pg" + LOG_SUFFIX):
        stored |= {os.fsdecode(entry.path).rpartition("/")[2] for entry in snapshot.walk()}
    if not all(any(name.startswith(one) for name in spooled | stored) for one in wanted):
        raise AssertionError("a WAL segment is neither in the spool nor in a snapshot")
    return all(any(name.startswith(one) for name in stored) for one in wanted)


COMMANDS: tuple[Command, ...] = (
    Command("init", lambda g, _v: g.create(), lambda _g, _v: True, creates=True, again=frozenset({"vault-exists"})),
    Command("backup", lambda g, v: g.backup(v), _backed_up, _changed),
    Command("backup to several stores", lambda g, v: g.backup(v), _backed_up, _changed, tiered=True),
    Command(
        "forget",
        lambda g, v: v.forget(snapshots=[_oldest(g)], reason="a sweep"),
        lambda g, v: _oldest(g) not in {s.id for s in v.snapshots()},
        gives_up=lambda g: frozenset({_oldest(g)}),
        again=frozenset({"snapshot-missing"}),
    ),
    Command(
        "forget by policy",
        lambda _g, v: v.forget(RetentionPolicy(last=1)),
        lambda _g, v: len(v.snapshots()) == 1,
        gives_up=lambda g: frozenset(list(g.acknowledged)[:-1]),
    ),
    Command("prune, repacking", _prune, _pruned, _oldest_forgotten),
    Command("prune of several stores", _prune, _pruned, _oldest_forgotten, tiered=True),
    Command("repair index", lambda _g, v: v.repair_index(), _sound, _index_lost, heals=True),
    Command("repair index, everything", lambda _g, v: v.repair_index(everything=True), _sound),
    Command("repair copies", lambda _g, v: v.repair_copies(), _copies_sound, _copy_lost, tiered=True),
    Command("verify", lambda _g, v: v.verify(), _sound),
    Command("catalog rebuild", lambda _g, v: v.catalog_rebuild(), lambda _g, v: bool([*v.find("*b")])),
    Command("migrate", lambda _g, v: v.migrate(), _migrated, _aged, tiered=True),
    Command(
        "courier export",
        _export,
        lambda _g, v: v.courier().status().waiting_objects == 0,
    ),
    Command("courier import", _import, _is_imported, _exported, again=frozenset({UsageError.code})),
    Command("hold", lambda g, v: v.hold(_newest(g), reason="a sweep"), _is_held),
    Command("release", lambda g, v: v.release(_newest(g), reason="a sweep"), lambda g, v: not _is_held(g, v), _held),
    Command("enroll", lambda _g, v: v.enroll_writer("host-1"), _is_enrolled),
    Command("revoke", lambda _g, v: v.revoke_writer("host-1"), _is_revoked, _enrolled),
    Command("key: recovery kit", _kit, lambda g, _v: _opens(g, kit=True)),
    Command("key: passphrase", lambda _g, v: v.add_passphrase(PASSPHRASE), lambda g, _v: _opens(g, kit=False)),
    Command("wal", _store_wal, _wal_kept, _wal),
)
"""Every command that writes to a store. `enroll`, `revoke`, kits and passphrases are the key operations there are."""
