"""Slots and keyrings that were taken back and are laid there again: named, and dropped by a repair; nothing else is."""

from __future__ import annotations

from contextlib import suppress

import pytest
from tests.unit.keys.test_foreign import keyless
from tests.unit.keys.test_missing import lose, slot_of
from tests.unit.keys.test_twins import of_kind, spoil

from holdfast.base.environment import Environment
from holdfast.errors import WrongKeyError
from holdfast.repository import names, rotation, shred, superseded, writers
from holdfast.repository.check import check
from holdfast.repository.credentials import KeyFile
from holdfast.repository.home import Home
from holdfast.repository.repository import Repository
from holdfast.repository.twin_repair import TwinRepair, mend_twins, plan_twins
from holdfast.repository.wraps import Wrap, read_wraps, readable_wraps
from holdfast.stores.memory import MemoryStore
from holdfast.testing.faults import Crash, FaultStore


def keys_of(store: MemoryStore) -> dict[str, bytes]:
    return {n: d for n, d in store.objects.items() if names.untwinned(n).startswith(("key/", "keyring/"))}


def test_a_revoked_kit_that_is_laid_back_is_named_and_dropped(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    kit = KeyFile.parse(writers.make_recovery_kit(repository))
    (lost,) = (wrap.id for wrap in read_wraps(repository.home) if wrap.body.method == "kit")
    old = keys_of(store)
    rotation.rotate_root(repository, rotation.plan_root(repository, at_hand=key, drop=[lost]))
    with pytest.raises(WrongKeyError):
        Repository.open(store, kit, env)
    after = dict(store.objects)
    store.objects |= old
    opened = Repository.open(store, key, env)
    assert {f.object for f in check(opened).findings} == {n for n in old if not n.startswith("twin/")}
    assert {f.object for f in keyless(opened).findings} == set(of_kind(store, "key")) - set(of_kind_in(after, "key"))
    assert set(mend_twins(opened).drop) == {n for n in old if not n.startswith("twin/")}
    assert store.objects == after
    with pytest.raises(WrongKeyError):
        Repository.open(store, kit, env)
    assert check(opened).problems == ()


def of_kind_in(objects: dict[str, bytes], kind: str) -> list[str]:
    return [name for name in objects if name.startswith(f"{kind}/")]


def test_a_keyring_with_erased_keys_that_is_laid_back_is_named_and_dropped(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    old = keys_of(store)
    rotation.renew(repository, rotation.plan_renewal(repository, [1]))
    assert check(repository).problems == (), (
        "a keyring below the present one that holds no more than this one is no finding"
    )
    shred.order(repository, shred.plan_shred(repository, 1, 0), reason="the contract ended")
    shred.carry_out(repository, 1, 0)
    store.objects |= old
    opened = Repository.open(store, key, env)
    assert [(f.kind, f.object) for f in check(opened).findings] == [("superseded", "keyring/00000000")]
    assert mend_twins(opened).drop == ("keyring/00000000",)
    assert check(opened).problems == ()


def test_a_slot_that_the_ledger_does_not_name_is_named_and_left(
    repository: Repository, store: MemoryStore, env: Environment
) -> None:
    """Its entry may have been lost: nobody locks the owner of the kit in the safe out."""
    kit = KeyFile.parse(writers.make_recovery_kit(repository))
    slot = slot_of(repository, "kit")
    (entry,) = (wrap.id for wrap in read_wraps(repository.home) if wrap.body.method == "kit")
    lose(store, f"wrap/{entry}")
    for outcome in (check(repository), keyless(repository)):
        assert [(f.kind, f.object) for f in outcome.findings] == [("superseded", slot)]
        assert "its entry was lost" in outcome.problems[0]
    assert plan_twins(repository) == TwinRepair()
    assert Repository.open(store, kit, env).is_root


def test_nothing_is_dropped_while_the_ledger_is_not_known_or_a_rotation_is_under_way(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    repository.add_slot(KeyFile.new(env))
    old = keys_of(store)
    rotation.rotate_root(repository, rotation.plan_root(repository, at_hand=key))
    store.objects |= old
    spoil(store, of_kind(store, "wrap")[-1])
    opened = Repository.open(store, key, env)
    assert plan_twins(opened).drop == ()
    assert not [f for f in check(opened).findings if f.kind == "superseded"]


def test_no_crash_of_a_rotation_lets_a_repair_lock_anybody_out(env: Environment, key: KeyFile) -> None:
    kit = KeyFile.new(env)
    at, done = 0, False
    while not done:
        fresh = MemoryStore()
        Repository.create(fresh, env, secrets=[key, kit])
        faulty = FaultStore(fresh, fail_at=at, writes_only=True)
        with suppress(Crash):
            opened = Repository.open(faulty, key, env)
            rotation.rotate_root(opened, rotation.plan_root(opened, at_hand=key))
            done = True
        mend_twins(Repository.open(fresh, key, env))
        mend_twins(Repository.open(fresh, kit, env))
        mend_twins(Repository.open(fresh, key, env))
        root = Repository.open(fresh, key, env)
        assert Repository.open(fresh, kit, env).is_root
        if not done:
            rotation.rotate_root(root, rotation.plan_root(root, at_hand=key, again=True))
        root = Repository.open(fresh, key, env)
        assert Repository.open(fresh, kit, env).require_keyring() == root.require_keyring()
        assert check(root).problems == ()
        at += 1
    assert at > 10


def test_a_key_that_is_added_meanwhile_is_of_known_origin(
    repository: Repository, env: Environment, key: KeyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Repository.open(repository.store, key, env)

    def read_and_then(home: Home) -> tuple[tuple[Wrap, ...], int]:
        found = readable_wraps(home)
        if home is repository.home:
            other.add_slot(KeyFile.new(env))
        return found

    monkeypatch.setattr(superseded, "readable_wraps", read_and_then)
    assert superseded.superseded_slots(repository.home) == ((), ())


def test_whoever_takes_the_word_away_that_revoked_a_kit_gets_no_slot_of_a_repair(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    """The word before says that the kit is in force, and is of an epoch that is over."""
    kit = KeyFile.parse(writers.make_recovery_kit(repository))
    (lost,) = (wrap for wrap in read_wraps(repository.home) if wrap.body.method == "kit")
    rotation.rotate_root(repository, rotation.plan_root(repository, at_hand=key, drop=[lost.id]))
    del store.objects[of_kind(store, f"wrap/{lost.id}")[-1]]
    for planted in (False, True):
        if planted:
            store.objects[f"key/{lost.body.slot}"] = store.objects[f"twin/key/{lost.body.slot}"] = b"rot"
        plan = mend_twins(Repository.open(store, key, env))
        assert (plan.reseal, plan.beyond) == ((), (f"key/{lost.body.slot}",))
        assert check(repository).findings
        with pytest.raises(WrongKeyError):
            Repository.open(store, kit, env)
