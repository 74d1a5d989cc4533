"""What is gone in both forms is missed: the ledger and the keyring say what must be there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from tests.unit.keys.test_foreign import keyless
from tests.unit.keys.test_twins import lose_all, of_kind, spoil

from holdfast.base.environment import Environment
from holdfast.errors import DamageError, KeySlotsDamagedError, NotPermittedError, WrongKeyError
from holdfast.repository import rotation, writers
from holdfast.repository.check import check
from holdfast.repository.credentials import KeyFile
from holdfast.repository.home import Home
from holdfast.repository.missing import find_missing
from holdfast.repository.repository import Repository
from holdfast.repository.shred import say_destroyed
from holdfast.repository.twin_repair import TwinRepair, mend_twins, plan_twins
from holdfast.repository.wraps import read_wraps
from holdfast.stores.memory import MemoryStore
from holdfast.testing.faults import Crash, FaultStore


def lose(store: MemoryStore, *names_: str) -> None:
    for name in names_:
        for form in (name, f"twin/{name}"):
            for each in of_kind(store, form):
                del store.objects[each]


def slot_of(repository: Repository, method: str) -> str:
    (found,) = (wrap.body.slot for wrap in read_wraps(repository.home) if wrap.body.method == method)
    return f"key/{found}"


def test_a_kit_whose_slot_is_gone_is_missed_and_opens_again_after_a_repair(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    kit = KeyFile.parse(writers.make_recovery_kit(repository))
    slot = slot_of(repository, "kit")
    lose(store, slot)
    with pytest.raises(WrongKeyError, match="1 of its 2 key slots are damaged, and its own may be one of them"):
        Repository.open(store, kit, env)
    opened = Repository.open(store, key, env)
    for outcome in (check(opened), keyless(opened)):
        assert [(f.kind, f.object) for f in outcome.findings] == [("lost", slot)]
    plan = mend_twins(opened)
    assert [name for name, _ in plan.reseal] == [slot]
    assert plan.lost == 1
    assert Repository.open(store, kit, env).is_root
    assert check(opened).problems == ()
    assert plan_twins(opened) == TwinRepair()


@pytest.mark.parametrize("harm", [lose, lambda store, name: (spoil(store, name), spoil(store, f"twin/{name}"))])
def test_a_revocation_that_is_gone_lets_nobody_in_and_is_said_anew(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile, harm
) -> None:
    thief = writers.enrol(repository, "thief", [1])
    writers.revoke(repository, thief.id)
    harm(store, f"writer/{thief.id}/00000001")
    with pytest.raises(NotPermittedError, match="revoked"):
        Repository.open(store, thief, env)
    opened = Repository.open(store, key, env)
    for outcome in (check(opened), keyless(opened)):
        assert ("lost", f"writer/{thief.id}") in [(f.kind, f.object) for f in outcome.findings]
    assert mend_twins(opened).revoke == (thief.id,)
    certificate = repository.home.certificate(thief.id, fresh=True)
    assert certificate is not None
    assert certificate.revoked
    assert not [f for f in check(Repository.open(store, key, env)).findings if f.kind == "lost"]
    with pytest.raises(NotPermittedError, match="revoked"):
        Repository.open(store, thief, env)


def test_that_every_copy_was_destroyed_unsays_no_revocation(
    repository: Repository, store: MemoryStore, env: Environment
) -> None:
    thief, lost = writers.enrol(repository, "thief", [1]), writers.enrol(repository, "lost", [1])
    writers.revoke(repository, thief.id)
    for each in (thief, lost):
        say_destroyed(repository, each.id, "burnt")
    assert check(repository).problems == (), "one that was only destroyed is no lost revocation"
    lose(store, f"writer/{thief.id}/00000001")
    spoil(store, f"wrap/{thief.id}/00000000")
    with pytest.raises(NotPermittedError, match="revoked"):
        Repository.open(store, thief, env)
    assert Repository.open(store, lost, env).classes


def test_what_root_left_and_whom_it_certified_is_missed(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    reader = writers.issue(repository, "restorer", "reader", [1])
    own = repository.writer_id
    lose(store, f"grant/{reader.id}", f"writer/{own}")
    opened = Repository.open(store, key, env)
    assert {(f.kind, f.object) for f in check(opened).findings} == {
        ("lost", f"grant/{reader.id}"),
        ("lost", f"writer/{own}"),
    }
    plan = mend_twins(opened)
    assert ([holder.id for _, holder in plan.leave], plan.certify) == ([reader.id], (own,))
    assert check(Repository.open(store, key, env)).problems == ()
    # Nobody knows whether a lost certificate was of an enrolment, or what it had signed: it is named, and stays for a person.
    lose(store, f"writer/{reader.id}")
    opened = Repository.open(store, key, env)
    for outcome in (check(opened), keyless(opened)):
        assert [(f.kind, f.object) for f in outcome.findings] == [("lost", f"writer/{reader.id}")]
    assert mend_twins(opened).beyond == (f"writer/{reader.id}",)
    say_destroyed(opened, reader.id, "burnt")
    assert check(opened).problems == ()


def test_what_only_a_copy_has_is_beyond(repository: Repository, store: MemoryStore, env: Environment) -> None:
    """One whose slot is gone and whose ledger entry is of an unreadable ledger; a holder whom the keyring does not list."""
    kit = slot_of(repository, "keyfile")
    reader = writers.issue(repository, "restorer", "reader", [1])
    lose(store, kit, f"grant/{reader.id}")
    ring = repository.require_keyring()
    repository.adopt(type(ring).decode({**ring.encode(), "writers": [ring.writers[0].encode()]}))
    other = writers.enrol(Repository.create(MemoryStore(), env, secrets=[KeyFile.new(env)]), "x")
    store.objects[f"wrap/{other.id}/00000000"] = b"rot"
    assert plan_twins(repository).beyond == (kit, f"grant/{reader.id}")


def test_a_vault_without_slots_or_keyrings_is_damaged_and_its_key_is_not_wrong(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    writers.make_recovery_kit(repository)
    before = dict(store.objects)
    lose(store, "key")
    with pytest.raises(KeySlotsDamagedError, match="all 2 key slots"):
        Repository.open(store, key, env)
    assert ("lost", "key") in {(f.kind, f.object) for f in keyless(repository).findings}
    lose_all(store, "wrap")
    with pytest.raises(KeySlotsDamagedError, match="every key slot of the vault is gone") as caught:
        Repository.open(store, key, env)
    assert caught.value.facts == {"slots": 0, "damaged": 0}
    store.objects |= before
    lose(store, "keyring")
    with pytest.raises(DamageError, match="no keyring") as damaged:
        Repository.open(store, key, env)
    assert "`keyring/`" in damaged.value.next
    assert ("lost", "keyring") in {(f.kind, f.object) for f in keyless(repository).findings}


def test_a_key_that_is_sealed_anew_meanwhile_is_not_missed(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another host rotates between the look at the ledger and the look at the slots."""
    other = Repository.open(store, key, env)
    listed = Home.listed
    rotated = False

    def listed_late(home: Home, prefix: str) -> Iterator[str]:
        nonlocal rotated
        if prefix == "key" and home is repository.home and not rotated:
            rotated = True
            rotation.rotate_root(other, rotation.plan_root(other, at_hand=key))
        return listed(home, prefix)

    monkeypatch.setattr(Home, "listed", listed_late)
    assert find_missing(repository.home).slots == ()
    assert rotated


def test_what_was_never_finished_is_not_missed(env: Environment, key: KeyFile) -> None:
    """A key is added, and a credential issued; each dies at every write. Nothing that was handed out lacks anything."""
    for change in (lambda root: root.add_slot(KeyFile.new(env)), lambda root: writers.enrol(root, "ward")):
        at, done = 0, False
        while not done:
            fresh = MemoryStore()
            Repository.create(fresh, env, secrets=[key])
            with suppress(Crash):
                change(Repository.open(FaultStore(fresh, fail_at=at, writes_only=True), key, env))
                done = True
            assert not [f for f in check(Repository.open(fresh, key, env)).findings if f.kind != "twin"]
            at += 1
        assert at > 4
