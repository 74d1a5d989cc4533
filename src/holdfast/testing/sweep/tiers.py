"""Commands over several stores, over an air gap, and about the copy of the home."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

import holdfast
from holdfast.errors import UsageError
from holdfast.repository import home_copy
from holdfast.runs import courier_import as importing
from holdfast.runs.medium import Medium
from holdfast.stores.local import LocalStore
from holdfast.testing.sweep.backups import backed_up, changed, oldest_forgotten, prune, pruned
from holdfast.testing.sweep.command import Command, oldest
from holdfast.testing.sweep.ground import Ground
from holdfast.testing.sweep.repairs import sound
from holdfast.testing.sweep.strike import Strike, StruckStore

__all__ = ["TIERS"]

DAYS = 100


def _aged(ground: Ground) -> None:
    ground.pass_days(DAYS)


def _migrated(_ground: Ground, vault: holdfast.Vault) -> bool:
    return not vault.migrate_plan().steps


def _cold(ground: Ground) -> None:
    _aged(ground)
    with ground.open() as vault:
        vault.migrate()


def _thawed(ground: Ground, vault: holdfast.Vault) -> bool:
    return vault.snapshot(oldest(ground)).restore_plan().thaw_packs == 0


def _spooled(ground: Ground) -> None:
    """Back up while a store is down: its packs wait in the spool."""
    changed(ground)
    with ground.open() as vault:
        ground.stores["second"].strike = Strike.away()
        ground.backup(vault)
        ground.strike(None)
        left = vault.pending()
        assert left is not None
        assert left.spooled_packs, "nothing waits in the spool"


def _drained(_ground: Ground, vault: holdfast.Vault) -> bool:
    left = vault.pending()
    return left is not None and left.packs == 0


def _copied(ground: Ground, _vault: holdfast.Vault) -> bool:
    """The copy has what the home has, but for what the last record of the audit log put there afterwards."""
    home, copy = (ground.stores[name].objects for name in ("home", "second"))
    wanted = {name for name in home if not name.startswith((*home_copy.NOT_COPIED, "audit/"))}
    return {home_copy.copied_name(name) for name in wanted} <= copy.keys()


def _home_damaged(ground: Ground) -> None:
    """Take some objects that decide from the home, and spoil another."""
    objects = ground.stores["home"].objects
    for kind in ("snapshot/", "part/", "index/"):
        del objects[min(name for name in objects if name.startswith(kind))]
    name = min(name for name in objects if name.startswith("decision/"))
    objects[name] = objects[name][:-1] + b"?"


def _home_lost(ground: Ground) -> None:
    """The home is gone, with what its copy did not have yet."""
    ground.stores["home"].objects.clear()


def _promote(ground: Ground, _vault: holdfast.Vault) -> object:
    return holdfast.promote_home(ground.url_of("second"), key_file=ground.key, env=ground.env)


def _promote_beside(ground: Ground, _vault: holdfast.Vault) -> object:
    home = ground.url_of("home")
    return holdfast.promote_home(ground.url_of("second"), key_file=ground.key, old=home, env=ground.env)


def _promoted(ground: Ground, vault: holdfast.Vault) -> bool:
    """The copy is the home, this host prunes there at once, and whatever its audit log put into the lost home is known."""
    vault.prune(dry_run=True)
    return ground.promoted and vault.check().sound


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


TIERS: tuple[Command, ...] = (
    Command("backup to several stores", lambda g, v: g.backup(v), backed_up, changed, layout="tiered"),
    Command("prune of several stores", prune, pruned, oldest_forgotten, layout="tiered"),
    Command("migrate", lambda _g, v: v.migrate(), _migrated, _aged, layout="tiered"),
    Command("migrate to the cold", lambda _g, v: v.migrate(), _migrated, _aged, layout="cold"),
    Command("thaw", lambda g, v: v.snapshot(oldest(g)).thaw(), _thawed, _cold, layout="cold"),
    Command("drain", lambda _g, v: v.migrate(), _drained, _spooled, layout="tiered"),
    Command("backup, copying the home", lambda g, v: g.backup(v), backed_up, changed, layout="copied", then=_copied),
    Command("prune, copying the home", prune, pruned, oldest_forgotten, layout="copied", then=_copied),
    Command("repair home", lambda _g, v: v.repair_home(), sound, _home_damaged, layout="copied", heals=True),
    Command("promote", _promote, _promoted, _home_lost, layout="copied", heals=True, alone=True),
    Command("promote beside the old home", _promote_beside, _promoted, layout="copied", heals=True, alone=True),
    Command("courier export", _export, lambda _g, v: v.courier().status().waiting_objects == 0),
    Command("courier import", _import, _is_imported, _exported, again=frozenset({UsageError.code})),
)
