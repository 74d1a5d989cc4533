"""What ended runs left damaged is cleared away; what a run that may still go on needs is not touched, however it looks."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.base.environment import Environment, ManualClock
from holdfast.errors import RevokedError
from holdfast.repository.check import check
from holdfast.repository.credentials import KeyFile
from holdfast.repository.decisions import Verdict, open_sessions, outcome
from holdfast.repository.forget import forget
from holdfast.repository.leftovers import Leftovers, clear, plan_leftovers
from holdfast.repository.listing import read_envelopes
from holdfast.repository.prune import PruneOptions, prune
from holdfast.repository.repository import Repository
from holdfast.repository.writers import enrol
from holdfast.stores.memory import MemoryStore
from holdfast.testing.hosts import FakeHost, at_its_word, check_vault

OPTIONS = PruneOptions(compare=at_its_word)


def spoil(store: MemoryStore, *prefixes: str) -> list[str]:
    found = sorted(name for name in store.objects if name.startswith(prefixes))
    assert found
    for name in found:
        store.objects[name] = store.objects[name][:50]
    return found


def test_of_a_committed_run_its_notes_go_and_its_snapshot_stays(host: FakeHost, store: MemoryStore) -> None:
    kept, hurt = host.backup({"a": 1}), host.backup({"a": 1, "b": 1}, checkpoints=2)
    store.objects[f"ack/{hurt.id}/00000000"] = b"torn"
    bad = [*spoil(store, f"session/{hurt.id}", f"checkpoint/{hurt.id}"), f"ack/{hurt.id}/00000000"]
    root = host.repository
    assert all("holdfast repair` " in text for text in check(root).problems)
    assert {f.object for f in check(root).findings} == set(bad)
    plan = plan_leftovers(root.home)
    assert sorted(plan.gone) == sorted(bad)
    before = dict(store.objects)
    assert store.objects == before, "a plan changes nothing"
    assert clear(root, plan) == plan.count == len(bad)
    assert check(root).problems == ()
    assert plan_leftovers(root.home) == Leftovers()
    assert {s.id for s in root.snapshots()} == {kept.id, hurt.id}
    check_vault(root, host.acknowledged)


def test_of_a_forgotten_snapshot_everything_damaged_goes_and_its_decision_is_said_again(
    host: FakeHost, store: MemoryStore
) -> None:
    root = host.repository
    with_copy, without = host.backup({"a": 1}), host.backup({"a": 2})
    host.backup({"a": 3})
    for each in (with_copy, without):
        forget(root, each.id, reason="test")
        del host.acknowledged[each.id]
    whole = store.objects[f"decision/{with_copy.id}/00000000"]
    del store.objects[f"committed/{without.id}"]
    for each in (with_copy, without):
        spoil(store, f"session/{each.id}", f"checkpoint/{each.id}", f"decision/{each.id}", f"admission/{each.id}")
    assert not open_sessions(root.home), "a tombstone ends a run, whatever else of it can be read"
    plan = plan_leftovers(root.home)
    assert len(plan.gone) == 6
    assert len(plan.decisions) == 2
    clear(root, plan)
    assert check(root).problems == ()
    assert store.objects[f"decision/{with_copy.id}/00000000"] == whole
    assert outcome(root.home, without.id, "").verdict is Verdict.REVOKED
    assert prune(root, OPTIONS).phase in {"nothing", "waiting"}
    assert [s.id for s in root.snapshots()] == list(host.acknowledged)


def test_a_copy_of_a_decision_that_is_torn_goes_with_its_snapshot(host: FakeHost, store: MemoryStore) -> None:
    root = host.repository
    gone = host.backup({"a": 1})
    host.backup({"a": 2})
    forget(root, gone.id, reason="test")
    bad = spoil(store, f"committed/{gone.id}")
    assert plan_leftovers(root.home).gone == tuple(bad)
    clear(root, plan_leftovers(root.home))
    assert check(root).problems == ()


def test_a_run_that_is_not_decided_keeps_what_it_said_and_finishes(
    repository: Repository, store: MemoryStore, env: Environment, tmp_path: Path
) -> None:
    """The writer is suspended; its announcement and checkpoint rot; somebody repairs and prunes; it comes back in time."""
    host = FakeHost(Repository.open(store, enrol(repository, "ward"), env), tmp_path / "ward", "ab" * 16)
    session = host.begin()
    where = host.store(session, {"a": 1})
    bad = spoil(store, f"session/{session.id}", f"checkpoint/{session.id}")
    assert plan_leftovers(repository.home) == Leftovers()
    assert clear(repository, plan_leftovers(repository.home)) == 0
    waiting = prune(repository, OPTIONS)
    assert (waiting.phase, waiting.sessions_waiting, waiting.packs_condemned) == ("condemned", 1, 0)
    assert set(bad) <= store.objects.keys()
    made = host.commit(session, where)
    assert outcome(repository.home, made.id, host.repository.writer_id).verdict is Verdict.COMMIT
    # It has ended: the prune waits for it no longer, and its notes go.
    assert prune(repository, OPTIONS).phase == "closed"
    clear(repository, plan_leftovers(repository.home))
    assert check(repository).problems == ()
    check_vault(repository, host.acknowledged)


def test_a_silent_run_of_which_nobody_knows_whose_is_decided_after_the_prune_s_patience_and_not_before(
    repository: Repository, store: MemoryStore, env: Environment, clock: ManualClock, tmp_path: Path
) -> None:
    """There is nothing to prune: without a round nobody would ever decide, and `check` would name it for ever."""
    host = FakeHost(Repository.open(store, enrol(repository, "ward"), env), tmp_path / "ward", "ab" * 16)
    kept = host.backup({"a": 1})
    session = host.begin()
    where = host.store(session, {"a": 1})  # nothing new
    spoil(store, f"session/{session.id}", f"checkpoint/{session.id}")
    assert prune(repository, OPTIONS).phase == "condemned"
    clock.advance(timedelta(hours=23))
    assert prune(repository, OPTIONS).phase == "condemned"
    assert any(name.startswith(f"session/{session.id}") for name in store.objects)
    clock.advance(timedelta(hours=2))
    done = prune(repository, OPTIONS)
    assert done.phase in {"nothing", "closed"}, "what deletes nothing need not wait out the undo delay"
    assert not [
        name for name in store.objects if name.startswith((f"session/{session.id}", f"checkpoint/{session.id}"))
    ]
    assert check(repository).problems == ()
    with pytest.raises(RevokedError):
        host.commit(session, where)
    assert [s.id for s in repository.snapshots()] == [kept.id]
    assert prune(repository, OPTIONS).phase == "nothing", "one round, and no more"


def test_a_revoked_run_s_damaged_notes_go(host: FakeHost, store: MemoryStore) -> None:
    session = host.begin()
    host.store(session, {"a": 1})
    session.abandon()
    spoil(store, f"session/{session.id}", f"checkpoint/{session.id}")
    plan = plan_leftovers(host.repository.home)
    assert len(plan.gone) == 2
    clear(host.repository, plan)
    assert check(host.repository).problems == ()


def test_a_thief_s_decision_about_a_run_of_which_the_announcement_is_damaged_ends_it_for_nobody(
    repository: Repository, store: MemoryStore, env: Environment, tmp_path: Path
) -> None:
    victim = FakeHost(Repository.open(store, enrol(repository, "victim"), env), tmp_path / "v", "ab" * 16)
    thief = Repository.open(store, enrol(repository, "thief"), env)
    session = victim.begin()
    where = victim.store(session, {"a": 1})
    spoil(store, f"session/{session.id}")
    from holdfast.repository.bodies import COMMIT, DecisionBody

    name = f"decision/{session.id}/00000000"
    assert thief.home.create(name, DecisionBody(COMMIT, "0" * 64), thief.identity)
    assert plan_leftovers(repository.home) == Leftovers()
    assert [s.id for s in open_sessions(repository.home)] == [session.id]
    victim.commit(session, where)
    assert [s.id for s in read_envelopes(repository.home).committed] == [session.id]


def test_a_key_that_opens_sees_the_same(host: FakeHost, store: MemoryStore, env: Environment, key: KeyFile) -> None:
    host.backup({"a": 1})
    spoil(store, "session/")
    fresh = Repository.open(store, key, env)
    assert plan_leftovers(fresh.home).count == 1
