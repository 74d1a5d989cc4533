"""What a hostile store is tried for: it can replace and delete, and has no key."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.attacks.by_writers import DAMAGE
from tests.attacks.scene import FILES, NOW, Scene, ended, refused

from holdfast.repository import writers
from holdfast.repository.bodies import Slot
from holdfast.repository.check import check
from holdfast.repository.credentials import KeyFile, Passphrase
from holdfast.repository.opening import read_keyring
from holdfast.repository.prune import prune
from holdfast.repository.repository import Repository
from holdfast.stores.memory import MemoryStore
from holdfast.testing.fake_engine import FakeEngine
from holdfast.testing.sweep.ground import Ground, ground


def replayed_metadata(folder: Path) -> None:
    """Objects under other names: each is said by check, none is believed."""
    scene = Scene(folder)
    second = scene.victim.backup(FILES | {"f0": 2})
    good = dict(scene.store.objects)
    first = scene.first.id
    for one, other in (
        (f"snapshot/{first}", f"snapshot/{second.id}"),
        (f"decision/{first}/00000000", f"decision/{second.id}/00000000"),
        (f"part/{first}/1", f"part/{second.id}/1"),
        (f"session/{first}", f"session/{second.id}"),
        (f"refs/{scene.first.classes[0].refs}", f"refs/{second.classes[0].refs}"),
        (scene.names("index/")[0], scene.names("index/")[1]),
        (scene.names("writer/")[0], scene.names("writer/")[1]),
    ):
        scene.store.objects |= {one: good[other], other: good[one]}
        assert check(scene.root).problems, one
        assert ended(lambda: _prunes_nothing(scene)) in DAMAGE | {""}
        scene.store.objects.clear()
        scene.store.objects.update(good)
    scene.all_is_well()


def _prunes_nothing(scene: Scene) -> None:
    assert prune(Repository.open(scene.store, scene.key, scene.env), NOW, FakeEngine()).packs_deleted == 0


def _told_and_kept(scene: Scene, name: str) -> None:
    assert check(Repository.open(scene.store, scene.key, scene.env)).problems, name
    _prunes_nothing(scene)


def lost_decision(_folder: Path) -> None:
    """By a host that never saw it: the copy counts and is put back; without the copy, the next snapshot tells."""
    with ground() as place:
        _filled(place)
        objects = place.stores["home"].objects
        place.write("phi/a", 2)
        with place.open() as vault:
            place.backup(vault)
            first = vault.snapshots()[0].id
        kept = dict(objects)
        for name in [name for name in objects if name.startswith(f"decision/{first}/")]:
            del objects[name]
        shutil.rmtree(place.live / "state")
        with place.open() as vault:
            assert vault.snapshots()[0].id == first
            assert any("its copy counts" in problem for problem in vault.check().problems)
            assert vault.repair().decisions == 1
            assert vault.check().sound
        assert {name for name in kept if name.startswith("decision/")} <= objects.keys()
        for name in [name for name in objects if name.startswith((f"decision/{first}/", f"committed/{first}"))]:
            del objects[name]
        shutil.rmtree(place.live / "state")
        with place.open() as vault:
            # Its admission speaks of it: it is there, and what it lost is named.
            assert first in {row.id for row in vault.snapshots()}
            assert any("no decision of it is left" in problem for problem in vault.check().problems)
        del objects[f"admission/{first}"]
        shutil.rmtree(place.live / "state")
        with place.open() as vault:
            assert first not in {row.id for row in vault.snapshots()}
            assert any("no decision is left" in problem for problem in vault.check().problems)


def truncated_metadata(folder: Path) -> None:
    """Each control and sealed object in turn, cut at three places: check says so, and nothing is deleted for it."""
    scene = Scene(folder)
    scene.victim.backup(FILES | {"f0": 2})
    good = dict(scene.store.objects)
    for name in sorted(good):
        if name.startswith(("data/", "probe/")):
            continue
        for keep in (0, len(good[name]) // 2, len(good[name]) - 1):
            scene.store.objects[name] = good[name][:keep]
            assert ended(lambda name=name: _told_and_kept(scene, name)) in DAMAGE | {
                "",
                "vault-missing",
                "key-wrong",
            }, name
            scene.store.objects.clear()
            scene.store.objects.update(good)
    scene.all_is_well()


def exchanged_header(folder: Path) -> None:
    scene = Scene(folder)
    other = MemoryStore()
    mine = KeyFile.new(scene.env)
    Repository.create(other, scene.env, secrets=[mine])
    scene.store.objects["vault"] = other.objects["vault"]
    assert refused(lambda: Repository.open(scene.store, scene.key, scene.env)) in DAMAGE | {"key-wrong"}
    assert refused(lambda: Repository.open(scene.store, scene.credentials[0], scene.env)) == "key-wrong"


def older_keyring(folder: Path) -> None:
    scene = Scene(folder)
    numbers = scene.names("keyring/")
    oldest = scene.store.objects[numbers[0]]
    scene.store.objects[f"keyring/{len(numbers):08d}"] = oldest
    found = read_keyring(scene.root.home, scene.root.root_key)
    assert {w.label for w in found.writers} >= {"victim", "thief"}
    writers.enrol(scene.root, "next")


def impossible_key_slot(folder: Path) -> None:
    scene = Scene(folder)
    for at, iterations in enumerate((10**12, -1, 0)):
        name = f"key/{at:032x}"
        scene.store.objects[name] = scene.root.home.encode(
            name, Slot("passphrase", bytes(32), bytes(48), iterations), None
        )
    assert refused(lambda: Repository.open(scene.store, Passphrase("a guess"), scene.env)) == "key-slots-damaged"
    scene.all_is_well()


def _filled(place: Ground) -> None:
    place.create()
    for name in ("phi/a", "phi/b"):
        place.write(name)
    with place.open() as vault:
        place.backup(vault)


def _packs(place: Ground, kind: str = "data/") -> list[str]:
    return sorted(name for name in place.stores["home"].objects if name.startswith(kind))


def _nothing_wrong_comes_back(place: Ground) -> None:
    """Check or verify tells, and a restore brings back what was backed up, or nothing under its name."""
    with place.open() as vault:
        assert not (vault.check().sound and vault.verify(mark_damaged=False).sound)
        found: dict[str, bytes] = {}
        code = ended(lambda: found.update(place.restored(vault)))
        assert code in DAMAGE | {""}
        good = place.content()
        assert all(found[name] == good[name] for name in found)
        assert code or len(found) < len(good)


def swapped_between_vaults(_folder: Path) -> None:
    with ground() as one, ground() as two:
        for place in (two, one):
            with_state(place, _filled)
        mine, theirs = _packs(one)[0], _packs(two)[0]
        with_state(one, lambda place: _swap(place, mine, two.stores["home"].objects[theirs]))


def with_state(place: Ground, action) -> None:
    """Two grounds in one process: each with its own local state."""
    import os

    before = os.environ["HOLDFAST_STATE"]
    os.environ["HOLDFAST_STATE"] = str(place.live / "state")
    try:
        action(place)
    finally:
        os.environ["HOLDFAST_STATE"] = before


def _swap(place: Ground, name: str, data: bytes) -> None:
    place.stores["home"].objects[name] = data
    _nothing_wrong_comes_back(place)


def swapped_within_a_vault(_folder: Path) -> None:
    with ground() as place:
        _filled(place)
        place.write("imaging/c")
        with place.open() as vault:
            place.backup(vault)
        one, two = _packs(place)[:2]
        objects = place.stores["home"].objects
        objects[one], objects[two] = objects[two], objects[one]
        _nothing_wrong_comes_back(place)


def rolled_back_store(_folder: Path) -> None:
    """By the host that saw the newer state, and, on a host that did not, by the audit log's anchors."""
    with ground() as place:
        _filled(place)
        old = dict(place.stores["home"].objects)
        place.write("phi/a", 1)
        with place.open() as vault:
            place.backup(vault)
            vault.hold("latest", reason="its record is anchored at once")
            vault.forget(snapshots=[vault.snapshots()[0].id], reason="its record is anchored at once")
        place.stores["home"].objects.clear()
        place.stores["home"].objects.update(old)
        with place.open() as vault:
            assert any("older state" in problem for problem in vault.check().problems)
            assert refused(lambda: vault.prune(undo_days=0)) == "rolled-back"
            assert refused(lambda: vault.forget(snapshots=[vault.snapshots()[0].id])) == "rolled-back"
        shutil.rmtree(place.live / "state" / vault.id / "seen")
        with place.open() as vault:
            assert not vault.audit.verify().sound, "the anchors of the log are gone from the vault, and nobody says so"
