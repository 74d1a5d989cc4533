"""Erasure: never what must be kept, never more said than is known; every executor checks the approvals by the vault alone."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from holdfast.base.environment import Environment, ManualClock
from holdfast.errors import (
    ApprovalMissingError,
    DamageError,
    ErasedError,
    MissingError,
    NotPermittedError,
    RetentionError,
    ShredRefusedError,
    UsageError,
)
from holdfast.repository import floors, forget, rotation, shred, writers
from holdfast.repository.access import AccessPolicy, Approver, new_request, put_policy, sign_request
from holdfast.repository.check import check
from holdfast.repository.credentials import KeyFile
from holdfast.repository.floors import ClassFloor, FloorBody, put_floors, read_floors
from holdfast.repository.holds import set_hold
from holdfast.repository.repository import Repository
from holdfast.repository.shred import ShredBody
from holdfast.repository.wraps import REVOKED, note_medium, read_wraps, with_state, write_wrap
from holdfast.stores.memory import MemoryStore
from holdfast.testing.faults import Crash, FaultStore
from holdfast.testing.hosts import FakeHost

SOURCE = "ab" * 16
PEOPLE = {name: Ed25519PrivateKey.generate() for name in ("alice", "bob")}
POLICY = AccessPolicy(
    tuple(Approver(name, key.public_key().public_bytes_raw()) for name, key in PEOPLE.items()), 2, 0, ("shred", "floor")
)


@pytest.fixture
def old(repository: Repository, tmp_path: Path) -> str:
    """A snapshot under generation 0 of phi, and a generation 1 to go on with."""
    made = FakeHost(repository, tmp_path / "cache", SOURCE).backup({"a": 1})
    rotation.renew(repository, rotation.plan_renewal(repository, [1]))
    return made.id


def erase(repository: Repository, **how: bool) -> shred.Certificate:
    plan = shred.plan_shred(repository, 1, 0, **how)
    shred.order(repository, plan, reason="the contract ended")
    return shred.carry_out(repository, 1, 0)


def signed(repository: Repository, operation: str, what: dict[str, object]) -> tuple[str, ...]:
    request = new_request(repository, operation, what)
    return tuple(sign_request(request, name, key, repository.env.now()).encode() for name, key in PEOPLE.items())


def test_what_must_be_kept_is_kept(repository: Repository, old: str) -> None:
    with pytest.raises(ShredRefusedError, match="1 snapshots rest"):
        shred.plan_shred(repository, 1, 0)
    with pytest.raises(ShredRefusedError, match="new content"):
        shred.plan_shred(repository, 1, 1)
    with pytest.raises(MissingError):
        shred.plan_shred(repository, 1, 7)
    set_hold(repository.home, old, repository.root, held=True, reason="court")
    with pytest.raises(ShredRefusedError, match="1 snapshots under legal hold"):
        shred.plan_shred(repository, 1, 0, with_snapshots=True)
    set_hold(repository.home, old, repository.root, held=False, reason="over")
    put_floors(repository, {1: 30})
    with pytest.raises(ShredRefusedError, match="1 under minimum retention"):
        shred.plan_shred(repository, 1, 0, with_snapshots=True)


def test_what_is_erased_is_gone_for_every_key(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile, old: str
) -> None:
    sealed = repository.new_run_key(2).envelope
    reader = writers.issue(repository, "restorer", "anna", [1, 2])
    found = erase(repository, with_snapshots=True)
    assert not found.erased
    assert found.body.outstanding == (f"credential {reader.id} (anna)",)
    root = Repository.open(store, key, env)
    known = root.generation(1, 0)
    assert known is not None
    assert (known.private, known.dedup_key, known.erased) == (None, b"", True)
    with pytest.raises(ErasedError):
        root.open_envelope(1, 0, b"")
    with pytest.raises(NotPermittedError):
        root.part(next(s for s in root.snapshots() if s.id == old), 1)
    assert root.open_envelope(2, 0, sealed)
    assert all(
        c.private is None for c in Repository.open(store, reader, env).generations() if (c.id, c.generation) == (1, 0)
    )
    assert check(root).problems == ()
    # Other generations and classes are as they were, and the vault goes on.
    assert root.can_open(1, 1)
    # Somebody destroys the credential, and says so: only now it is erased.
    with pytest.raises(UsageError):
        shred.say_destroyed(root, "anna", "")
    writers.revoke(root, reader.id)
    shred.say_destroyed(root, reader.id, "shredded by M. Adler")
    done = shred.certify(root, 1, 0)
    assert done.erased
    assert any("shredded by M. Adler" in place for place in done.body.places)
    assert [c.body.erased for c in shred.certificates(root.home)] == [True]
    with pytest.raises(MissingError):
        shred.certify(root, 2, 0)


def test_a_medium_and_a_revoked_credential_stay_outstanding(repository: Repository, env: Environment, old: str) -> None:
    note_medium(repository.home, repository.root, "9" * 32, "courier far, set 1", env.now(), 0)
    note_medium(repository.home, repository.root, "9" * 32, "courier far, set 1", env.now(), 0)
    forget.forget(repository, old, reason="x")
    found = erase(repository)
    assert found.body.outstanding == (f"medium {'9' * 32} (courier far, set 1)",)
    (medium,) = [w for w in read_wraps(repository.home) if w.body.form == "medium"]
    write_wrap(repository.home, repository.root, medium.id, with_state(medium.body, REVOKED, ""))
    assert not shred.certify(repository, 1, 0).erased
    shred.say_destroyed(repository, medium.id, "burnt")
    assert shred.certify(repository, 1, 0).erased


def test_a_damaged_ledger_certifies_nothing(repository: Repository, store: MemoryStore, old: str) -> None:
    erase(repository, with_snapshots=True)
    name = next(name for name in store.objects if name.startswith("wrap/"))
    data = store.objects[name]
    store.objects[name] = data[:40] + bytes([data[40] ^ 1]) + data[41:]
    with pytest.raises(DamageError, match="key ledger"):
        shred.certify(repository, 1, 0)


@pytest.mark.parametrize("after", [False, True])
def test_an_erasure_that_dies_anywhere_is_finished(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile, old: str, *, after: bool
) -> None:
    writers.issue(repository, "restorer", "anna", [1])
    kept = dict(store.objects)
    fail_at, finished = 0, False
    while not finished:
        assert fail_at < 60
        current = MemoryStore()
        current.objects.update(kept)
        faulty = FaultStore(current, fail_at=fail_at, after=after, writes_only=True)
        with suppress(Crash):
            erase(Repository.open(faulty, key, env), with_snapshots=True)
        finished = faulty.operations <= fail_at
        root = Repository.open(current, key, env)
        plan = shred.plan_shred(root, 1, 0, with_snapshots=True)
        shred.order(root, plan, reason="the contract ended")
        assert shred.carry_out(root, 1, 0).body.outstanding
        root = Repository.open(current, key, env)
        assert len(root.home.numbers("keyring")) == 1
        assert not root.can_open(1, 0)
        assert all(len(root.home.numbers(f"grant/{holder}")) == 1 for holder in root.home.ids("grant"))
        fail_at += 1
    assert fail_at > 4


def test_an_order_without_the_approvals_is_carried_out_by_nobody(repository: Repository, old: str) -> None:
    put_policy(repository, POLICY)
    plan = shred.plan_shred(repository, 1, 0, with_snapshots=True)
    with pytest.raises(ApprovalMissingError):
        shred.order(repository, plan, reason="because")
    with pytest.raises(UsageError, match="reason"):
        shred.order(repository, plan, reason="")
    # Forged past this library, with the root's own signature: the vault's policy says no to whoever carries it out.
    forged = ShredBody("order", 1, 0, "forged", repository.env.now(), plan.snapshots)
    repository.home.append("shred", forged, repository.root)
    with pytest.raises(ApprovalMissingError, match="accepts"):
        shred.carry_out(repository, 1, 0)
    # Statements over something else do not serve.
    with pytest.raises(ApprovalMissingError):
        shred.order(repository, plan, reason="x", approvals=signed(repository, "shred", {"class": 2, "generation": 0}))
    shred.order(repository, plan, reason="both agreed", approvals=signed(repository, "shred", plan.asked()))
    assert shred.carry_out(repository, 1, 0).body.reason == "both agreed"
    # Once carried out it stays so, whoever approves today.
    assert shred.certify(repository, 1, 0).erased


def test_a_floor_holds_against_everybody_and_falls_by_approval_only(
    repository: Repository, old: str, clock: ManualClock
) -> None:
    put_floors(repository, {1: 10})
    with pytest.raises(RetentionError, match="minimum retention"):
        forget.forget(repository, old, reason="x")
    put_policy(repository, POLICY)
    with pytest.raises(ApprovalMissingError):
        put_floors(repository, {1: 2})
    repository.home.append("floor", FloorBody((ClassFloor(1, 0),)), repository.root)
    assert read_floors(repository.home) == {1: 10}
    put_floors(repository, {1: 20, 3: 5})
    asked: dict[str, object] = {"days": {"1": 1}}
    put_floors(repository, {1: 1}, signed(repository, "floor", asked))
    assert read_floors(repository.home) == {1: 1}
    with pytest.raises(UsageError):
        put_floors(repository, {1: -1})
    clock.advance(timedelta(days=2))
    forget.forget(repository, old, reason="x")
    assert floors.lowers({1: 3}, {})
    assert not floors.lowers({}, {1: 3})
