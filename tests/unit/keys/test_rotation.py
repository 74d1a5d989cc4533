"""Rotation dies at every storage operation, before and after it took effect: every key opens, and the next call finishes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.base.environment import Environment
from holdfast.errors import (
    DamageError,
    KeyReplacedError,
    KeyRotationError,
    NotPermittedError,
    RevokedError,
    StoreUnreachableError,
    UsageError,
    WrongKeyError,
)
from holdfast.repository import rotation, writers
from holdfast.repository.check import check
from holdfast.repository.credentials import KeyFile, Shares
from holdfast.repository.repository import Repository
from holdfast.repository.shares import split
from holdfast.repository.twin_repair import mend_twins
from holdfast.repository.wraps import REVOKED, read_wraps
from holdfast.stores.memory import MemoryStore
from holdfast.testing.faults import Crash, FaultStore
from holdfast.testing.hosts import FakeHost

SOURCE = "ab" * 16


def copy_of(store: MemoryStore) -> MemoryStore:
    made = MemoryStore()
    made.objects.update(store.objects)
    return made


def rotate(store: MemoryStore, key: KeyFile, env: Environment, **how: object) -> rotation.RootRotation:
    opened = Repository.open(store, key, env)
    return rotation.rotate_root(opened, rotation.plan_root(opened, at_hand=key, **how))  # type: ignore[arg-type]


def test_every_key_opens_after_a_rotation_and_no_old_wrap_does(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    secret, sheets = split(2, 2, env)
    repository.add_slot(secret)
    kit = KeyFile.parse(writers.make_recovery_kit(repository, label="lost kit"))
    before = copy_of(store)
    opened = Repository.open(store, key, env)
    lost = next(w.id for w in read_wraps(opened.home) if w.body.label == "lost kit")
    plan = rotation.plan_root(opened, at_hand=key, drop=(lost,))
    assert (plan.finish, len(plan.reseal), len(plan.drop)) == (False, 2, 1)
    done = rotation.rotate_root(opened, plan)
    assert (done.epoch, done.resealed, done.dropped, done.slots_deleted) == (1, 2, 1, 3)
    for opener in (key, Shares(sheets)):
        again = Repository.open(store, opener, env)
        assert again.root_key != repository.root_key
        assert again.require_keyring().classes == repository.require_keyring().classes
    with pytest.raises(WrongKeyError):
        Repository.open(store, kit, env)
    assert {w.body.state for w in read_wraps(opened.home) if w.id == lost} == {REVOKED}
    # A thief who kept the old root key and every old wrap opens nothing of what is there now.
    for name in [n for n in before.objects if n.startswith("key/")]:
        store.objects.setdefault(name, before.objects[name])
    assert Repository.open(store, key, env).require_keyring().epoch == 1
    with pytest.raises(WrongKeyError):
        Repository.open(store, kit, env)
    laid = {name for name in before.objects if name.startswith("key/")}
    opened = Repository.open(store, key, env)
    assert {(f.kind, f.object) for f in check(opened).findings} == {("superseded", name) for name in laid}
    assert set(mend_twins(opened).drop) == laid
    assert check(opened).problems == ()


@pytest.mark.parametrize(("outage", "after"), [(False, False), (False, True), (True, False), (True, True)])
def test_a_rotation_that_dies_anywhere_locks_nobody_out(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile, *, outage: bool, after: bool
) -> None:
    other = KeyFile.new(env)
    repository.add_slot(other)
    secret, sheets = split(2, 2, env)
    repository.add_slot(secret)
    kept = copy_of(store)
    fail_at, finished = 0, False
    while not finished:
        assert fail_at < 100
        current = copy_of(kept)
        faulty = FaultStore(current, fail_at=fail_at, after=after, outage=outage, writes_only=True)
        with suppress(Crash, StoreUnreachableError):
            opened = Repository.open(faulty, key, env)
            rotation.rotate_root(opened, rotation.plan_root(opened, at_hand=key))
        finished = faulty.operations <= fail_at
        # All keys open, whatever was left; the classes are the same.
        for opener in (key, other, Shares(sheets)):
            left = Repository.open(current, opener, env)
            assert left.require_keyring().classes == repository.require_keyring().classes
        # Nobody can change keys on the side that will be given up.
        behind = Repository.open(current, other, env)
        if behind.require_keyring().number != max(behind.home.numbers("keyring")):
            with pytest.raises(KeyRotationError):
                behind.add_slot(KeyFile.new(env))
            with pytest.raises(KeyRotationError):
                writers.issue(behind, "writer", "ward7")
        # The next call finishes it, or begins anew where nobody had got the new key.
        try:
            rotate(current, key, env)
        except KeyRotationError:
            rotate(current, key, env, again=True)
        for opener in (key, other, Shares(sheets)):
            assert Repository.open(current, opener, env).require_keyring().epoch >= 1
        last = Repository.open(current, key, env)
        assert len(last.home.numbers("keyring")) == 1
        assert len(last.home.ids("key")) == 3
        assert check(last).problems == ()
        fail_at += 1
    assert fail_at > 6


def test_the_holder_of_an_old_key_cannot_begin_where_others_have_the_new_one(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    other = KeyFile.new(env)
    repository.add_slot(other)
    behind = Repository.open(store, other, env)
    # The first writes of a rotation: the keyring, then the slot, each with its twin, and the ledger's word for the key at hand.
    faulty = FaultStore(store, fail_at=5, writes_only=True)
    with suppress(Crash):
        opened = Repository.open(faulty, key, env)
        rotation.rotate_root(opened, rotation.plan_root(opened, at_hand=key))
    with pytest.raises(KeyRotationError, match="was replaced"):
        rotation.plan_root(behind, at_hand=other, again=True)
    assert rotate(store, key, env).epoch == 1
    assert Repository.open(store, other, env).require_keyring().epoch == 1


def test_a_rotation_needs_a_key_that_stays(repository: Repository, env: Environment, key: KeyFile) -> None:
    (wrap,) = read_wraps(repository.home)
    with pytest.raises(UsageError, match="not among those"):
        rotation.plan_root(repository, at_hand=key, drop=(wrap.id,))
    with pytest.raises(UsageError, match="no key would be left"):
        rotation.plan_root(repository, drop=(wrap.id,))


def test_new_generations_reach_every_holder_through_the_vault(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile, tmp_path: Path
) -> None:
    held = {role: writers.issue(repository, role, role, [1]) for role in ("writer", "restorer", "pruner")}
    gone = writers.issue(repository, "restorer", "gone", [1])
    host = FakeHost(Repository.open(store, held["writer"], env), tmp_path / "a", SOURCE)
    old = host.backup({"a": 1})
    writers.revoke(repository, writers.find_writer(repository, "gone").id)
    done = rotation.renew(repository, rotation.plan_renewal(repository, [1]))
    assert done.generations == ((1, 1),)
    assert done.holders == 3
    for role, credential in held.items():
        opened = Repository.open(store, credential, env)
        assert [c.generation for c in opened.generations()] == [0, 1], role
    with pytest.raises(NotPermittedError, match="revoked"):
        Repository.open(store, gone, env)
    again = FakeHost(Repository.open(store, held["writer"], env), tmp_path / "a", SOURCE)
    new = again.backup({"a": 2})
    root = Repository.open(store, key, env)
    by_id = {s.id: s for s in root.snapshots()}
    assert [by_id[s.id].classes[0].generation for s in (old, new)] == [0, 1]
    reader = Repository.open(store, held["restorer"], env)
    for snapshot in reader.snapshots():
        assert reader.part(snapshot, 1).label == "ehr"
    with pytest.raises(UsageError):
        rotation.plan_renewal(repository, [99])


def test_a_writer_without_the_new_keys_is_told_what_to_do(
    repository: Repository, store: MemoryStore, env: Environment, tmp_path: Path
) -> None:
    credential = writers.issue(repository, "writer", "ward7", [1])
    rotation.renew(repository, rotation.plan_renewal(repository, [1]))
    for name in [n for n in store.objects if n.startswith(("grant/", "twin/grant/"))]:
        store.delete(name)
    host = FakeHost(Repository.open(store, credential, env), tmp_path / "a", SOURCE)
    with pytest.raises(KeyReplacedError, match="were replaced") as caught:
        host.repository.new_run_key(1)
    assert "key rotate writer" in caught.value.next


@pytest.mark.parametrize("after", [False, True])
def test_a_renewal_that_dies_anywhere_is_finished_before_another_begins(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile, *, after: bool
) -> None:
    held = [writers.issue(repository, role, role, [1, 2]) for role in ("writer", "restorer")]
    kept = copy_of(store)
    fail_at, finished = 0, False
    while not finished:
        assert fail_at < 100
        current = copy_of(kept)
        faulty = FaultStore(current, fail_at=fail_at, after=after, writes_only=True)
        with suppress(Crash):
            opened = Repository.open(faulty, key, env)
            rotation.renew(opened, rotation.plan_renewal(opened, [1]))
        finished = faulty.operations <= fail_at
        for credential in held:
            Repository.open(current, credential, env).secrets(1)
        opened = Repository.open(current, key, env)
        if not finished:
            rotation.renew(opened, rotation.plan_renewal(opened, [1]))
        rotation.finish_renewal(opened, opened.require_keyring())
        newest = max(c.generation for c in opened.generations() if c.id == 1)
        assert newest in {1, 2}
        for credential in held:
            assert Repository.open(current, credential, env).secrets(1).generation == newest
        fail_at += 1
    assert fail_at > 4


def test_another_signing_key_keeps_what_was_stored_and_nothing_else(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile, tmp_path: Path
) -> None:
    old = writers.issue(repository, "writer", "ward7")
    thief = Repository.open(store, old, env)
    host = FakeHost(thief, tmp_path / "a", SOURCE)
    first = host.backup({"a": 1})
    late = host.begin()
    stored = host.store(late, {"a": 1, "evil": 1})
    new = writers.renew_signing_key(repository, writers.find_writer(repository, "ward7").id)
    with pytest.raises(KeyReplacedError, match="signing key"):
        Repository.open(store, old, env)
    with pytest.raises(RevokedError):
        host.commit(late, stored)
    # A program of the thief's that goes on with the old key stores what is no snapshot for anybody.
    with pytest.raises(DamageError):
        host.backup({"evil": 1})
    again = FakeHost(Repository.open(store, new, env), tmp_path / "b", SOURCE, known=dict(host.known))
    second = again.backup({"a": 1, "b": 1})
    assert {s.id for s in Repository.open(store, key, env).snapshots()} == {first.id, second.id}
    with pytest.raises(NotPermittedError):
        writers.renew_signing_key(repository, repository.writer_id)
