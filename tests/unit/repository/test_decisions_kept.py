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
from holdfast.repository.listing import read_envelopes
from holdfast.repository.salvage import salvaged
from holdfast.repository.upkeep import Kept, keep_decisions
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
