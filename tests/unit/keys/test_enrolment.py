"""Enrolment: one file, one host, for a while; whoever comes second is refused, and whoever finds the file reads nothing."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.base.environment import Environment, ManualClock
from holdfast.errors import EnrolmentError, NotPermittedError, WrongKeyError
from holdfast.repository import forget, writers
from holdfast.repository.bodies import JoinedBody
from holdfast.repository.check import check
from holdfast.repository.credentials import KeyFile, RoleCredential
from holdfast.repository.enrolment import create_enrolment, decode_enrolment, encode_enrolment, expire, join
from holdfast.repository.listing import claimed_source
from holdfast.repository.objects import canonical
from holdfast.repository.rehearsals import last_rehearsal, put_rehearsal
from holdfast.repository.repository import Repository
from holdfast.repository.twin_repair import mend_twins
from holdfast.stores.memory import MemoryStore
from holdfast.testing.hosts import FakeHost

SOURCE = "ab" * 16


def keep(_: RoleCredential) -> None:
    """Keep nothing: the test has it."""


def test_a_host_joins_once(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile, tmp_path: Path
) -> None:
    made = create_enrolment(repository, "ward7", [1], group="wards")
    file = canonical(encode_enrolment(made))
    read = decode_enrolment(file)
    assert (read.store, read.expires) == (store.url, made.expires)
    with pytest.raises(EnrolmentError, match="no credential yet"):
        Repository.open(store, read.credential, env)
    kept: list[RoleCredential] = []
    joined = join(store, read, env, keep=kept.append)
    assert kept == [joined]
    host = FakeHost(Repository.open(store, joined, env), tmp_path / "a", SOURCE)
    first = host.backup({"a": 1})
    for _ in range(2):
        with pytest.raises(EnrolmentError, match="already"):
            join(store, read, env, keep=keep)
    with pytest.raises(EnrolmentError, match="joined"):
        Repository.open(store, read.credential, env)
    root = Repository.open(store, key, env)
    assert [s.id for s in root.snapshots()] == [first.id]
    assert check(root).problems == ()
    (holder,) = [w for w in writers.list_writers(root) if w.label == "ward7"]
    assert (holder.joining, holder.group, holder.classes) == (False, "wards", (1,))
    # Root can demand newer keys of it, and give it another signing key, as of any other writer.
    again = writers.renew_signing_key(root, holder.id)
    second = FakeHost(Repository.open(store, again, env), tmp_path / "b", SOURCE).backup({"b": 1})
    assert {s.id for s in Repository.open(store, key, env).snapshots()} == {first.id, second.id}


def test_two_that_join_at_once_are_one(repository: Repository, store: MemoryStore, env: Environment) -> None:
    made = create_enrolment(repository, "ward7")

    def race(_: RoleCredential) -> None:
        join(store, made, env, keep=keep)

    with pytest.raises(EnrolmentError, match="at the same moment"):
        join(store, made, env, keep=race)


def test_an_enrolment_ends(repository: Repository, store: MemoryStore, env: Environment, clock: ManualClock) -> None:
    made, other = create_enrolment(repository, "ward7", days=1), create_enrolment(repository, "ward8", days=30)
    clock.advance(timedelta(days=2))
    with pytest.raises(EnrolmentError, match="time to join ended"):
        join(store, made, env, keep=keep)
    # Whoever puts the clock back does not come in either, once root's side was there.
    assert expire(repository) == 1
    assert forget.admit(repository) == 0
    clock.advance(timedelta(days=-2))
    with pytest.raises(EnrolmentError, match="withdrawn"):
        join(store, made, env, keep=keep)
    join(store, other, env, keep=keep)


def test_what_is_no_enrolment_is_refused(repository: Repository, store: MemoryStore, env: Environment) -> None:
    for text in (b"", b"{}", b'{"format":"x","credential":{}}', b"[1]"):
        with pytest.raises(WrongKeyError):
            decode_enrolment(text)
    made = create_enrolment(repository, "ward7")
    with pytest.raises(WrongKeyError, match="knows nothing"):
        join(MemoryStore(), made, env, keep=keep)
    writer = writers.issue(repository, "writer", "ward8")
    with pytest.raises(EnrolmentError, match="credential"):
        join(store, type(made)(made.store, made.expires, writer), env, keep=keep)
    foreign = RoleCredential(
        made.credential.vault,
        made.credential.id,
        "writer",
        {**made.credential.body, "signing_seed": writer.body["signing_seed"]},
    )
    with pytest.raises(WrongKeyError, match="does not fit"):
        join(store, type(made)(made.store, made.expires, foreign), env, keep=keep)


def test_who_did_not_get_the_file_cannot_join_for_it(
    repository: Repository, store: MemoryStore, env: Environment
) -> None:
    made = create_enrolment(repository, "ward7")
    stranger = Repository.open(store, writers.issue(repository, "writer", "ward8"), env)
    stranger.home.create(f"joined/{made.credential.id}", JoinedBody(b"x" * 32), stranger.identity)
    with pytest.raises(EnrolmentError):
        Repository.open(store, made.credential, env)
    certificate = repository.home.certificate(made.credential.id, fresh=True)
    assert certificate is not None
    assert certificate.joining


def test_rehearsals_count_if_root_signed_them(repository: Repository, store: MemoryStore, env: Environment) -> None:
    assert last_rehearsal(repository.home) is None
    put_rehearsal(repository, "1" * 32, 7)
    writer = Repository.open(store, writers.issue(repository, "writer", "ward8"), env)
    with pytest.raises(NotPermittedError):
        put_rehearsal(writer, "2" * 32, 7)
    found = last_rehearsal(writer.home)
    assert found is not None
    assert (found.wrap, found.classes) == ("1" * 32, 7)
    name = "rehearsal/00000000"
    store.objects[name] = store.objects[name][:-1] + b"x"
    assert last_rehearsal(repository.home) is None


def test_by_which_key_a_host_joined_is_kept_twice(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile, tmp_path: Path
) -> None:
    """One flipped bit in `joined/ID` costs nothing; damaged twice it hides what the host stored, and nothing of others."""
    made = create_enrolment(repository, "ward7", [1])
    joined = join(store, made, env, keep=keep)
    host = FakeHost(Repository.open(store, joined, env), tmp_path / "a", SOURCE)
    snapshot = host.backup({"a": 1})
    name = f"joined/{joined.id}"
    whole = store.objects[name]
    store.objects[name] = whole[:-1] + bytes([whole[-1] ^ 1])
    root = Repository.open(store, key, env)
    assert [s.id for s in root.snapshots()] == [snapshot.id]
    assert Repository.open(store, joined, env).classes == {1: "phi"}
    assert [f.object for f in check(root).findings] == [name]
    mend_twins(root)
    assert store.objects[name] == whole
    del store.objects[name]
    with pytest.raises(EnrolmentError, match="already"):
        join(store, made, env, keep=keep)
    assert [s.id for s in Repository.open(store, key, env).snapshots()] == [snapshot.id]
    store.objects[name] = store.objects[f"twin/{name}"] = whole[:-1] + bytes([whole[-1] ^ 1])
    root = Repository.open(store, key, env)
    assert root.snapshots() == ()
    assert claimed_source(root.home, snapshot.id) == SOURCE
    # Another's word on where it belongs is none: only of a host that root enrolled and that joined.
    del store.objects[name], store.objects[f"twin/{name}"]
    assert not claimed_source(Repository.open(store, key, env).home, snapshot.id)


def test_a_key_that_did_not_join_makes_no_twin_of_a_joining(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    joined = join(store, create_enrolment(repository, "ward7", [1]), env, keep=keep)
    thief = writers.enrol(repository, "thief", [1])
    name = f"joined/{joined.id}"
    whole = store.objects[name]
    forger = Repository.open(store, thief, env)
    for signer in (forger.identity, repository.root):
        store.objects[name] = store.objects[f"twin/{name}"] = forger.home.encode(name, JoinedBody(bytes(32)), signer)
        with pytest.raises(EnrolmentError):
            Repository.open(store, joined, env)
    store.objects[f"twin/{name}"] = whole
    root = Repository.open(store, key, env)
    assert mend_twins(root).back == (name,)
    renewed = writers.renew_signing_key(root, joined.id)
    assert check(Repository.open(store, key, env)).problems == ()
    assert Repository.open(store, renewed, env).classes == {1: "phi"}
