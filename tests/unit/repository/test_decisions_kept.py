"""A decision is kept twice: whatever becomes of either, nothing that was committed vanishes in silence, and nothing else appears.

All states of a slot and of the copy are gone through, as seen by somebody who never saw the vault before.
"""

from __future__ import annotations

import itertools

import pytest

from holdfast.repository import names
from holdfast.repository.bodies import COMMIT, REVOKED, CommittedBody, DecisionBody
from holdfast.repository.check import check
from holdfast.repository.decisions import Verdict, decide, keep_twice, outcome, put_back
from holdfast.repository.forget import forget
from holdfast.repository.listing import read_envelopes
from holdfast.repository.repository import Repository
from holdfast.repository.salvage import salvaged
from holdfast.repository.upkeep import Kept, keep_decisions
from holdfast.repository.writers import enrol, revoke
from holdfast.stores.memory import MemoryStore
from holdfast.testing.hosts import FakeHost

STATES = ("whole", "torn", "gone")


def set_to(store: MemoryStore, name: str, state: str) -> None:
    if state == "torn":
        store.objects[name] = store.objects[name][:50]
    elif state == "gone":
        del store.objects[name]


@pytest.mark.parametrize(("slot", "copy", "envelope"), list(itertools.product(STATES, STATES, STATES)))
def test_no_single_loss_hides_a_snapshot(
    host: FakeHost, store: MemoryStore, slot: str, copy: str, envelope: str
) -> None:
    info = host.backup({"a": 1})
    name = names.numbered("decision", info.id, 0)
    whole = store.objects[name]
    set_to(store, name, slot)
    set_to(store, f"committed/{info.id}", copy)
    set_to(store, f"snapshot/{info.id}", envelope)
    fresh = host.repository
    seen = read_envelopes(fresh.home)
    listed = {s.id for s in seen.committed} | {p.id for p in seen.problems}
    if (slot, copy) == ("gone", "gone"):
        return  # two objects, and nothing else speaks of the newest snapshot: only the one that follows it tells
    harmless = (slot, envelope) == ("whole", "whole") and copy == "gone"  # as an older release left it
    if (slot, copy, envelope) != ("whole", "whole", "whole") and not harmless:
        assert check(fresh).problems, "it is told"
    if envelope == "whole" and "whole" in {slot, copy}:
        assert info.id in listed
    if copy == "whole" and envelope == "whole":
        assert outcome(fresh.home, info.id, fresh.writer_id).verdict is Verdict.COMMIT
        assert keep_decisions(fresh, dry_run=True) == Kept(int(slot != "whole"), 0)
        keep_decisions(fresh)
        assert store.objects[name] == whole, "byte for byte"
        assert check(fresh).problems == ()
    if slot == "whole" and envelope == "whole":
        assert keep_decisions(fresh) == Kept(0, int(copy != "whole"))
        assert check(fresh).problems == ()


def test_an_older_vault_gets_its_copies(host: FakeHost, store: MemoryStore) -> None:
    for number in range(3):
        host.backup({"a": number})
    copies = [name for name in store.objects if name.startswith("committed/")]
    assert len(copies) == 3
    for name in copies:
        del store.objects[name]
    assert keep_decisions(host.repository) == Kept(0, 3)
    assert keep_decisions(host.repository) == Kept(0, 0)
    assert set(copies) <= store.objects.keys()


def test_a_copy_is_no_way_round_a_revocation(host: FakeHost, store: MemoryStore) -> None:
    """The slots speak first; and a commit of somebody else, or of another session, is none."""
    repository = host.repository
    home, writer = repository.home, repository.writer
    info = host.backup({"a": 1})
    session = host.begin()
    host.store(session, {"b": 1})
    body = CommittedBody(0, store.objects[names.numbered("decision", info.id, 0)])
    home.create(f"committed/{session.id}", body, writer)
    assert outcome(home, session.id, repository.writer_id).verdict is Verdict.OPEN
    del store.objects[f"committed/{session.id}"]
    name = names.numbered("decision", session.id, 0)
    revoked = home.encode(name, DecisionBody(REVOKED, ""), repository.root)
    home.create(f"committed/{session.id}", CommittedBody(0, revoked), writer)
    assert outcome(home, session.id, repository.writer_id).verdict is Verdict.OPEN, "only commits are kept twice"
    del store.objects[f"committed/{session.id}"]
    commit = home.encode(name, DecisionBody(COMMIT, "0" * 64), writer)
    home.create(f"committed/{session.id}", CommittedBody(0, commit), writer)
    decide(home, session.id, repository.writer_id, DecisionBody(REVOKED, ""), repository.root)
    assert outcome(home, session.id, repository.writer_id).verdict is Verdict.REVOKED
    assert put_back(home, session.id) is False, "what was decided stays"
    assert salvaged(repository, session.id) is None


def test_a_copy_with_an_impossible_number_is_none(host: FakeHost, store: MemoryStore) -> None:
    repository = host.repository
    info = host.backup({"a": 1})
    name = names.numbered("decision", info.id, 0)
    del store.objects[f"committed/{info.id}"]
    body = CommittedBody(10**8, store.objects[name])
    repository.home.create(f"committed/{info.id}", body, repository.writer)
    assert any("does not hold it" in problem for problem in check(repository).problems)
    assert keep_twice(repository.home, info.id, name, repository.writer) is False
    assert keep_twice(repository.home, info.id, name, repository.root, replace=True)
    assert check(repository).problems == ()


def test_a_snapshot_is_put_together_from_what_is_signed_by_who_committed_it(host: FakeHost, store: MemoryStore) -> None:
    info = host.backup({"a": 1})
    repository = host.repository
    assert salvaged(repository, info.id) is None, "its envelope is there"
    del store.objects[f"snapshot/{info.id}"]
    found = salvaged(repository, info.id)
    assert found is not None
    assert (found.source, found.label, found.salvaged) == (host.source, "ehr", True)
    assert [part.class_id for part in found.classes] == [1]
    good = dict(store.objects)
    store.objects[f"session/{info.id}"] = b"torn"
    again = salvaged(repository, info.id)
    assert again is not None
    assert again.source == ""
    store.objects[f"part/{info.id}/1"] = b"torn"
    torn = salvaged(repository, info.id)
    assert torn is not None
    assert (torn.label, torn.classes[0].part) == ("", ""), "it is named, and nothing of it is known"
    del store.objects[f"part/{info.id}/1"]
    assert salvaged(repository, info.id) is None, "nothing is left to be restored"
    store.objects.update(good)
    forget(repository, info.id, reason="a test")
    assert salvaged(repository, info.id) is None


def test_what_a_revoked_writer_put_later_is_not_put_together(host: FakeHost, store: MemoryStore) -> None:
    credential = enrol(host.repository, "thief", [1])
    thief = FakeHost(Repository.open(store, credential, host.repository.env), host.cache.parent / "thief", "cd" * 16)
    before = thief.backup({"a": 1})
    revoke(host.repository, thief.repository.writer_id)
    fresh = thief.repository  # as it was opened: it goes on as if nothing had been
    for name in (f"snapshot/{before.id}", names.numbered("decision", before.id, 0)):
        del store.objects[name]
    assert salvaged(host.repository, before.id) is not None, "what it committed before counts on"
    session = host.repository.env.random_id()
    for kind in ("part", "committed"):
        for name in [name for name in store.objects if name.startswith(f"{kind}/{before.id}")]:
            store.objects[name.replace(before.id, session)] = store.objects[name]
    name = names.numbered("decision", session, 0)
    store.objects[name] = fresh.home.encode(name, DecisionBody(COMMIT, "0" * 64), fresh.writer)
    assert salvaged(host.repository, session) is None, "what it commits afterwards is none"
    revoked = names.numbered("decision", session, 1)
    store.objects[revoked] = store.objects.pop(name)
    store.objects[name] = host.repository.home.encode(name, DecisionBody(REVOKED, ""), host.repository.root)
    assert salvaged(host.repository, session) is None
