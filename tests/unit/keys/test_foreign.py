"""What another vault wrote: left by an attempt to make one where nothing of this vault names it, damage everywhere else."""

from __future__ import annotations

import pytest
from tests.unit.keys.test_twins import of_kind

from holdfast.base.environment import Environment
from holdfast.errors import DamageError, KeySlotsDamagedError
from holdfast.repository import rotation, writers
from holdfast.repository.check import CheckOutcome, check
from holdfast.repository.credentials import KeyFile
from holdfast.repository.objects import encode_control, of_other_vault, parse_control
from holdfast.repository.opening import open_home
from holdfast.repository.repository import Repository
from holdfast.repository.twin_repair import plan_twins
from holdfast.repository.wraps import Attempts, WrapBody, readable_wraps
from holdfast.stores.memory import MemoryStore


@pytest.fixture
def other(env: Environment) -> Repository:
    return Repository.create(MemoryStore(), env, secrets=[KeyFile.new(env)])


def lay_over(repository: Repository, other: Repository, name: str) -> None:
    """Write another vault's object over both forms of one of this vault: whole, in its place, and somebody else's."""
    store = repository.store
    assert isinstance(store, MemoryStore)
    if name.startswith("keyring/"):
        data = bytearray(store.objects[name])
        foreign = other.store.get("keyring/00000000") if name.endswith("0" * 8) else None
        if foreign is None:
            ring = other.require_keyring()
            while ring.number < int(name[-8:]):
                ring = writers.change_keyring(other, lambda each: each)
            foreign = other.store.get(name)
        data = bytearray(foreign)
    else:
        body = parse_control(store.objects[name], name, "").body
        data = bytearray(encode_control({**body, "vault": other.home.vault}, other.root.key))
    assert of_other_vault(name, bytes(data), repository.vault_id)
    for form in (name, f"twin/{name}"):
        if form in store.objects:
            store.objects[form] = bytes(data)


def keyless(repository: Repository) -> CheckOutcome:
    header, home = open_home(repository.store, repository.env)
    return check(Repository.without_key(home, header))


def test_another_vaults_object_over_both_forms_of_one_that_this_vault_names_is_damage(
    repository: Repository, other: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    kit = KeyFile.parse(writers.make_recovery_kit(repository))
    thief = writers.enrol(repository, "thief", [1])
    writers.revoke(repository, thief.id)
    body = {wrap.body.method: wrap for wrap in readable_wraps(repository.home)[0]}["kit"]
    own = repository.writer_id
    for name in (
        f"key/{body.body.slot}",
        f"writer/{thief.id}/00000001",
        f"writer/{thief.id}/00000000",
        f"writer/{own}/00000000",
        of_kind(store, "keyring")[-1],
        f"wrap/{thief.id}/00000000",
        f"wrap/{thief.id}/00000001",
    ):
        before = dict(store.objects)
        lay_over(repository, other, name)
        opened = Repository.open(store, key, env)
        # Without a key nothing names the vault's own writer before it has stored anything.
        for outcome in (check(opened), *([] if own in name else [keyless(opened)])):
            found = [f for f in outcome.findings if f.object == name]
            assert [f.kind for f in found] == ["frame"], name
            assert not any("attempt to make a vault" in note for note in outcome.notes)
        store.objects.clear()
        store.objects |= before
    assert Repository.open(store, kit, env).is_root


def test_a_slot_that_the_ledger_names_is_sealed_anew_and_is_no_wrong_key(
    repository: Repository, other: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    (slot,) = of_kind(store, "key")
    lay_over(repository, other, slot)
    with pytest.raises(KeySlotsDamagedError):
        Repository.open(store, key, env)
    plan = plan_twins(repository)
    assert [name for name, _ in plan.reseal] == [slot]


def test_what_attempts_left_is_no_damage(store: MemoryStore, env: Environment, key: KeyFile) -> None:
    """A creation that crashed before its header, then another that went through."""
    attempt = MemoryStore()
    Repository.create(attempt, env, secrets=[KeyFile.new(env)])
    store.objects |= {name: data for name, data in attempt.objects.items() if not name.endswith("vault")}
    made = Repository.create(store, env, secrets=[key])
    assert made.require_keyring().number == 0 or of_kind(store, "keyring") == ["keyring/00000000", "keyring/00000001"]
    opened = Repository.open(store, key, env)
    for outcome in (check(opened), keyless(opened)):
        assert outcome.problems == ()
        # Slot, keyring and certificate in both forms, and the entry of the ledger.
        assert len([note for note in outcome.notes if "attempt to make a vault" in note]) == 7
    assert plan_twins(opened).beyond == ()
    rotation.rotate_root(opened, rotation.plan_root(opened, at_hand=key))
    assert check(opened).problems == ()


def test_nothing_without_a_ledger_is_taken_for_a_rest(
    repository: Repository, other: Repository, store: MemoryStore
) -> None:
    (slot,) = of_kind(store, "key")
    for name in of_kind(store, "wrap"):
        del store.objects[name]
    lay_over(repository, other, slot)
    assert not Attempts(repository.home).left(slot, store.objects[slot])
    lay_over(repository, other, "keyring/00000000")
    assert not Attempts(repository.home).left("keyring/00000000", store.objects["keyring/00000000"])
    assert not Attempts(repository.home).left("vault", other.store.get("vault"))
    assert not of_other_vault("key/x", b"rot", repository.vault_id)


def test_an_entry_of_several_words_was_never_an_attempts(repository: Repository, other: Repository) -> None:
    home = repository.home
    (wrap,) = readable_wraps(home)[0]
    home.append(f"wrap/{wrap.id}", wrap.body, repository.root)
    assert isinstance(wrap.body, WrapBody)
    lay_over(repository, other, f"wrap/{wrap.id}/00000001")
    assert readable_wraps(home)[1] == 1


def test_a_header_of_another_vault_is_said_to_be_exchanged(
    repository: Repository, other: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    assert repository.is_root
    store.objects["vault"] = other.store.get("vault")
    with pytest.raises(DamageError, match="names another vault than all its keys") as caught:
        Repository.open(store, key, env)
    assert "put the object `vault` back" in caught.value.next
