"""Commands that look for damage and mend it, and what they mend."""

from __future__ import annotations

import holdfast
from holdfast.repository.countersign import read_countersigns
from holdfast.repository.home import ROOT
from holdfast.repository.packs import read_runs
from holdfast.repository.parity.frame import parity_name
from holdfast.runs.protection import shelf_of
from holdfast.testing.sweep.backups import backed_up
from holdfast.testing.sweep.command import Command
from holdfast.testing.sweep.ground import Ground, opened, repository_of

GROUP = "ward"
__all__ = ["REPAIRS", "copies_sound", "sound"]


def sound(_ground: Ground, vault: holdfast.Vault) -> bool:
    """Whether nothing is wrong."""
    return not vault.check().problems


def _first(ground: Ground, prefix: str, store: str = "home") -> str:
    return min(name for name in ground.stores[store].objects if name.startswith(prefix))


def _spoil(ground: Ground, name: str, store: str = "home") -> None:
    """Change the last byte of an object, and let a verification find it."""
    objects = ground.stores[store].objects
    objects[name] = objects[name][:-1] + bytes([objects[name][-1] ^ 1])
    with ground.open() as vault:
        vault.verify()


def _index_lost(ground: Ground) -> None:
    del ground.stores["home"].objects[_first(ground, "index/")]


def _index_torn(ground: Ground) -> None:
    objects = ground.stores["home"].objects
    name = _first(ground, "index/")
    objects[name] = objects[name][: len(objects[name]) // 2]


def _rotten(ground: Ground, *prefixes: str) -> None:
    """Change the last byte of every object of some kinds."""
    objects = ground.stores["home"].objects
    for name in [name for name in objects if name.startswith(prefixes)]:
        objects[name] = objects[name][:-1] + bytes([objects[name][-1] ^ 1])


def _opening_rotten(ground: Ground) -> None:
    """Spoil whatever opens the vault, and lose one twin of it."""
    with ground.open() as vault:
        vault.enroll_writer("host-1")
    _rotten(ground, "vault", "key/", "keyring/", "writer/")
    del ground.stores["home"].objects[_first(ground, "twin/grant/")]


def _leftovers_rotten(ground: Ground) -> None:
    """Spoil what ended runs said of themselves, and the decision of a forgotten one."""
    with ground.open() as vault:
        ground.backup(vault)
        first = next(iter(ground.acknowledged))
        vault.forget(snapshots=[first])
    del ground.acknowledged[first]
    _rotten(ground, "session/", "checkpoint/", f"decision/{first}/")


def _copy_lost(ground: Ground) -> None:
    """Spoil a copy of a pack that the home has, too."""
    both = ground.stores["home"].objects.keys() & ground.stores["second"].objects.keys()
    _spoil(ground, min(name for name in both if name.startswith("data/")), "second")


def copies_sound(_ground: Ground, vault: holdfast.Vault) -> bool:
    """Whether every copy is whole and where it belongs."""
    return vault.verify().sound and not vault.migrate_plan().steps


def _verified(_ground: Ground, vault: holdfast.Vault) -> bool:
    return vault.verify().sound and not vault.check().problems


def _parity_spoiled(ground: Ground) -> None:
    _spoil(ground, _first(ground, "parity/"))


def _parity_whole(ground: Ground, vault: holdfast.Vault) -> bool:
    stored, broken = shelf_of(opened(vault)).sound()
    known = {parity_name(sha) for one in stored for _, sha in one.rows}
    return not broken and bool(known) and _verified(ground, vault)


def _lost_for_good(ground: Ground) -> None:
    """A pack is gone that nothing but the source can bring back."""
    with ground.open() as vault:
        opened(vault).parity_rows = 0
    objects = ground.stores["home"].objects
    for name in [name for name in objects if name.startswith("parity/")]:
        del objects[name]
    del objects[_first(ground, "data/")]
    with ground.open() as vault:
        vault.verify()


def _vouched(_ground: Ground, vault: holdfast.Vault) -> bool:
    """Whether every run of the group's writer is countersigned for the group."""
    repository = repository_of(vault)
    own = repository.require_keyring().own_id
    others = [run for run, _ in read_runs(repository) if run.signer not in {ROOT, own}]
    return all(run.scope == GROUP for run in others) and len(others) <= len(read_countersigns(repository.home))


def _grouped(ground: Ground) -> None:
    """A writer of a group stores a snapshot that nobody opened yet."""
    with ground.open() as vault:
        (ground.live / "credential").write_bytes(vault.enroll_writer("host-1", group=GROUP))
    (ground.live / "credential").chmod(0o600)
    ground.write("phi/of-host-1", 3)
    with ground.open(credential=ground.live / "credential") as vault:
        ground.backup(vault)


REPAIRS: tuple[Command, ...] = (
    Command("check", lambda _g, v: v.check(), sound),
    Command("verify", lambda _g, v: v.verify(), sound),
    Command("verify, countersigning", lambda _g, v: v.verify(content=True), _vouched, _grouped),
    Command("catalog rebuild", lambda _g, v: v.catalog_rebuild(), lambda _g, v: bool([*v.find("*b")])),
    Command("repair index", lambda _g, v: v.repair_index(), sound, _index_lost, heals=True),
    Command("repair index, torn", lambda _g, v: v.repair_index(), sound, _index_torn, heals=True),
    Command("repair index, everything", lambda _g, v: v.repair_index(everything=True), sound),
    Command(
        "repair by parity",
        lambda _g, v: v.repair(),
        _verified,
        lambda g: _spoil(g, _first(g, "data/")),
        heals=True,
    ),
    Command(
        "repair of trees by parity",
        lambda _g, v: v.repair(),
        _verified,
        lambda g: _spoil(g, _first(g, "meta/")),
        heals=True,
    ),
    Command(
        "repair of what opens",
        lambda _g, v: v.repair(),
        sound,
        _opening_rotten,
        heals=True,
    ),
    Command("repair of leftovers", lambda _g, v: v.repair(), sound, _leftovers_rotten, heals=True),
    Command("repair of parity", lambda _g, v: v.repair(), _parity_whole, _parity_spoiled),
    Command(
        "repair from the source",
        lambda g, v: g.backup(v),
        backed_up,
        _lost_for_good,
        gives_up=lambda g: frozenset(g.acknowledged),
        incurable=True,
    ),
    Command("repair by copies", lambda _g, v: v.repair(), copies_sound, _copy_lost, layout="tiered"),
    Command("repair copies", lambda _g, v: v.repair_copies(), copies_sound, _copy_lost, layout="tiered"),
)
