"""Prune frees what no snapshot needs and nothing else, whoever runs beside it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from holdfast.base.environment import ManualClock
from holdfast.errors import DamageError, RevokedError
from holdfast.repository import forget, names
from holdfast.repository.check import check
from holdfast.repository.countersign import countersign, read_countersign
from holdfast.repository.forget import drop_class
from holdfast.repository.listing import read_dropped
from holdfast.repository.prune import PruneOptions, prune
from holdfast.repository.repository import Repository
from holdfast.repository.rounds import read_rounds
from holdfast.stores.memory import MemoryStore
from holdfast.testing.fake_engine import FakeEngine
from holdfast.testing.hosts import FakeHost, at_its_word, check_vault

NOW = PruneOptions(unsafe_undo_delay=timedelta(0), patience=timedelta(0), compare=at_its_word)
PATIENT = PruneOptions(unsafe_undo_delay=timedelta(0), compare=at_its_word)


def packs(store: MemoryStore) -> set[str]:
    return {n.rpartition("/")[2] for n in store.objects if n.startswith(("data/", "meta/"))}


def drop(host: FakeHost, snapshot: str) -> None:
    forget.forget(host.repository, snapshot, reason="test")
    del host.acknowledged[snapshot]


def test_nothing_to_do(host: FakeHost) -> None:
    host.backup({"a": 1})
    assert prune(host.repository, NOW, FakeEngine()).phase == "nothing"
    check_vault(host.repository, host.acknowledged)


def test_dead_packs_go_and_live_ones_stay(host: FakeHost, store: MemoryStore) -> None:
    first = host.backup({f"f{i}": 1 for i in range(8)})
    before = packs(store)
    host.backup({f"f{i}": 2 for i in range(8)})
    drop(host, first.id)
    outcome = prune(host.repository, NOW, FakeEngine())
    assert (outcome.phase, outcome.packs_deleted) == ("closed", 2)
    assert not before & packs(store)
    check_vault(host.repository, host.acknowledged)


def test_half_dead_packs_are_rewritten(host: FakeHost, store: MemoryStore) -> None:
    first = host.backup({f"f{i}": 1 for i in range(8)})
    host.backup({"f0": 1, "f4": 1})
    drop(host, first.id)
    outcome = prune(host.repository, NOW, FakeEngine())
    assert (outcome.packs_repacked, outcome.packs_deleted) == (2, 2)
    assert len(packs(store)) == 1
    check_vault(host.repository, host.acknowledged)
    count = len(packs(store))
    host.backup({"f0": 1, "f4": 1})
    assert len(packs(store)) == count, "a copied segment is still trusted by the writer that stored it"


def test_the_undo_delay_is_waited_out_by_later_calls(host: FakeHost, store: MemoryStore, clock: ManualClock) -> None:
    first = host.backup({"a": 1})
    host.backup({"a": 2})
    drop(host, first.id)
    count = len(packs(store))
    for _ in range(2):
        assert prune(host.repository, PruneOptions(compare=at_its_word), FakeEngine()).phase == "waiting"
    assert len(packs(store)) == count
    clock.advance(timedelta(days=7))
    assert prune(host.repository, PruneOptions(compare=at_its_word), FakeEngine()).phase == "closed"
    assert len(packs(store)) == count - 1
    assert prune(host.repository, PruneOptions(compare=at_its_word), FakeEngine()).phase == "nothing"


def test_a_backup_beside_an_open_round_avoids_what_is_condemned(host: FakeHost) -> None:
    first = host.backup({"a": 1})
    host.backup({"a": 2})
    drop(host, first.id)
    assert prune(host.repository, PruneOptions(compare=at_its_word), FakeEngine()).phase == "waiting"
    host.backup({"a": 1})
    prune(host.repository, PruneOptions(unsafe_undo_delay=timedelta(0), compare=at_its_word), FakeEngine())
    check_vault(host.repository, host.acknowledged)


def test_a_silent_session_holds_a_round_up_then_is_revoked(host: FakeHost, clock: ManualClock) -> None:
    first = host.backup({"a": 1})
    host.backup({"a": 2})
    host.begin()
    drop(host, first.id)
    outcome = prune(host.repository, PATIENT, FakeEngine())
    assert (outcome.phase, outcome.sessions_waiting) == ("condemned", 1)
    clock.advance(timedelta(hours=23))
    assert prune(host.repository, PATIENT, FakeEngine()).phase == "condemned"
    clock.advance(timedelta(hours=2))
    outcome = prune(host.repository, PATIENT, FakeEngine())
    assert (outcome.phase, outcome.sessions_revoked) == ("closed", 1)
    check_vault(host.repository, host.acknowledged)


def test_what_a_running_session_stored_is_left_alone(host: FakeHost, store: MemoryStore) -> None:
    host.backup({"a": 1})
    session = host.begin()
    where = host.store(session, {f"n{i}": 1 for i in range(20)}, checkpoints=3)
    count = len(packs(store))
    assert prune(host.repository, NOW, FakeEngine()).phase == "nothing"
    assert len(packs(store)) == count
    host.commit(session, where)
    check_vault(host.repository, host.acknowledged)


def test_a_resuming_session_stores_nothing_twice(host: FakeHost, store: MemoryStore) -> None:
    files = {f"n{i}": 1 for i in range(20)}
    first = host.begin()
    host.store(first, files, checkpoints=3)
    count = len(packs(store))
    second = host.begin()
    assert second.resumes == (first.id,)
    assert prune(host.repository, NOW, FakeEngine()).phase == "nothing"
    where = host.store(second, files)
    assert len(packs(store)) == count
    host.commit(second, where)
    with pytest.raises(RevokedError):
        host.commit(first, where)
    check_vault(host.repository, host.acknowledged)


def test_a_session_that_committed_meanwhile_keeps_its_packs(host: FakeHost, clock: ManualClock) -> None:
    first = host.backup({"a": 1})
    host.backup({"a": 2})
    session = host.begin()
    where = {("a", 1): host.known["a", 1]}
    writer, other = host.repository.writer_id, FakeHost(host.repository, host.cache, "cd" * 16)
    assert writer == other.repository.writer_id
    drop(host, first.id)
    # The writer's runs are all named by checkpoints, so its old packs are not protected by its open session.
    outcome = prune(host.repository, PATIENT, FakeEngine())
    assert (outcome.phase, outcome.sessions_waiting) == ("condemned", 1)
    host.commit(session, where)
    outcome = prune(host.repository, PATIENT, FakeEngine())
    assert (outcome.phase, outcome.packs_deleted) == ("closed", 0)
    check_vault(host.repository, host.acknowledged)


def test_a_revoked_session_cannot_commit(host: FakeHost, clock: ManualClock) -> None:
    first = host.backup({"a": 1})
    host.backup({"a": 2})
    session = host.begin()
    where = {("a", 1): host.known["a", 1]}
    drop(host, first.id)
    outcome = prune(host.repository, NOW, FakeEngine())
    assert (outcome.phase, outcome.sessions_revoked, outcome.packs_deleted) == ("closed", 1, 1)
    with pytest.raises((RevokedError, DamageError)):
        host.commit(session, where)
    check_vault(host.repository, host.acknowledged)
    host.backup({"a": 1})
    check_vault(host.repository, host.acknowledged)


def test_a_session_that_acknowledged_lets_the_round_go_on(host: FakeHost) -> None:
    first = host.backup({"a": 1, "b": 1})
    host.backup({"b": 2})
    session = host.begin()
    drop(host, first.id)
    assert prune(host.repository, PATIENT, FakeEngine()).phase == "condemned"
    where = host.store(session, {"b": 2, "c": 1})
    outcome = prune(host.repository, PATIENT, FakeEngine())
    assert (outcome.phase, outcome.packs_deleted) == ("closed", 1)
    host.commit(session, where)
    check_vault(host.repository, host.acknowledged)


def test_an_unreadable_reference_set_stops_pruning(host: FakeHost, store: MemoryStore) -> None:
    first = host.backup({"a": 1})
    host.backup({"a": 2})
    drop(host, first.id)
    kept = next(s for s in host.repository.snapshots())
    name = f"refs/{kept.classes[0].refs}"
    store.objects[name] = store.objects[name][:-1] + bytes([store.objects[name][-1] ^ 1])
    count = len(packs(store))
    with pytest.raises(DamageError):
        prune(host.repository, NOW, FakeEngine())
    assert len(packs(store)) == count


def runs(store: MemoryStore) -> list[str]:
    return sorted(n for n in store.objects if n.startswith("index/"))


@pytest.mark.parametrize("torn", [True, False])
def test_a_torn_or_lost_index_run_is_made_anew_from_the_packs(
    host: FakeHost, store: MemoryStore, *, torn: bool
) -> None:
    first = host.backup({f"f{i}": 1 for i in range(8)})
    (name,) = runs(store)
    host.backup({"f0": 1, "new": 1})
    drop(host, first.id)
    if torn:
        store.objects[name] = store.objects[name][:-1]
    else:
        del store.objects[name]
    assert check(host.repository).problems
    outcome = prune(host.repository, NOW, FakeEngine())
    assert outcome.phase == "closed"
    assert outcome.packs_deleted == 2, "one that holds nothing live, and one that was rewritten"
    assert name not in runs(store)
    assert check(host.repository).problems == ()
    check_vault(host.repository, host.acknowledged)


def test_while_a_session_runs_a_torn_run_is_done_without(host: FakeHost, store: MemoryStore) -> None:
    """What it alone lists is taken for a running session's; what nothing needs and other runs list may go."""
    first = host.backup({f"f{i}": 1 for i in range(4)})
    host.backup({"g": 1})
    drop(host, first.id)
    other = FakeHost(host.repository, host.cache.parent / "other", "cd" * 16)
    session = other.begin()
    other.store(session, {"h": 1})
    before = set(runs(store))
    torn = host.backup({"i": 1})
    store.objects[sorted(set(runs(store)) - before)[0]] = b"torn"
    drop(host, torn.id)
    count = len(packs(store))
    outcome = prune(host.repository, PATIENT, FakeEngine())
    assert outcome.phase == "condemned"
    assert outcome.packs_condemned == 1
    assert len(packs(store)) == count
    session.abandon()
    while prune(host.repository, NOW, FakeEngine()).phase != "nothing":
        pass
    assert check(host.repository).problems == ()
    check_vault(host.repository, host.acknowledged)


def test_a_torn_run_that_a_snapshot_needs_stops_pruning_while_a_session_runs(
    host: FakeHost, store: MemoryStore
) -> None:
    host.backup({"a": 1})
    store.objects[runs(store)[0]] = b"torn"
    session = host.begin()
    with pytest.raises(DamageError):
        prune(host.repository, PATIENT, FakeEngine())
    session.abandon()
    assert prune(host.repository, NOW, FakeEngine()).phase == "nothing"
    check_vault(host.repository, host.acknowledged)


def test_where_a_snapshot_cannot_be_read_no_run_is_dropped(host: FakeHost, store: MemoryStore) -> None:
    info = host.backup({"a": 1})
    torn = runs(store)[0]
    store.objects[torn] = b"torn"
    store.objects[f"snapshot/{info.id}"] = b"torn"
    with pytest.raises(DamageError):
        prune(host.repository, NOW, FakeEngine())
    assert torn in runs(store)


@pytest.mark.parametrize("kind", ["admission", "closed", "countersign", "dropped", "committed"])
def test_torn_words_of_the_pruner_are_said_again(host: FakeHost, store: MemoryStore, kind: str) -> None:
    """A crash tore them on a store that does not put all or nothing: they verify for nobody, and hold nothing up."""
    first = host.backup({f"f{i}": 1 for i in range(8)})
    host.backup({"f0": 1, "f4": 1})
    drop(host, first.id)
    assert prune(host.repository, NOW, FakeEngine()).phase == "closed"
    kept = next(iter(host.acknowledged))
    if kind == "dropped":
        store.objects[f"dropped/{kept}/1"] = b"torn"
        drop_class(host.repository, kept, 1, reason="a test")
        assert read_dropped(host.repository.home)[kept] == {1}
        return
    name = next(
        n for n in store.objects if n.startswith(kind + "/") and (kept in n or kind in {"closed", "countersign"})
    )
    store.objects[name] = store.objects[name][:40]
    if kind == "countersign":
        run = name.partition("/")[2]
        assert countersign(host.repository.home, run, host.repository.root, scope="g")
        assert read_countersign(host.repository.home, run) == "g"
        return
    assert check(host.repository).problems
    for _ in range(2):
        prune(host.repository, NOW, FakeEngine())
    assert check(host.repository).problems == ()
    assert read_rounds(host.repository.home).open == ()


def test_a_condemned_list_that_rotted_is_closed_without_deleting(host: FakeHost, store: MemoryStore) -> None:
    first = host.backup({"a": 1})
    host.backup({"a": 2})
    session = host.begin()
    drop(host, first.id)
    assert prune(host.repository, PATIENT, FakeEngine()).phase == "condemned"
    session.abandon()
    store.objects["condemn/00000000"] = b"rot"
    with pytest.raises(DamageError):
        host.backup({"a": 3})
    prune(host.repository, NOW, FakeEngine())
    assert read_rounds(host.repository.home).rounds[0].closed
    host.backup({"a": 3})
    check_vault(host.repository, host.acknowledged)


def test_unindexed_packs_go_only_when_no_session_runs(host: FakeHost, store: MemoryStore) -> None:
    host.backup({"a": 1})
    session = host.begin()
    pack = host._pack(1)
    session.put_pack(pack.name, 1, pack.data)
    assert prune(host.repository, NOW, FakeEngine()).phase == "nothing"
    assert pack.name.hex() in packs(store)
    session.abandon()
    assert prune(host.repository, NOW, FakeEngine()).phase == "closed"
    assert pack.name.hex() not in packs(store)


def test_garbage_of_revoked_sessions_goes_and_decisions_stay(host: FakeHost, store: MemoryStore) -> None:
    session = host.begin()
    host.store(session, {"a": 1})
    session.abandon()
    prune(host.repository, NOW, FakeEngine())
    left = [n for n in store.objects if session.id in n]
    assert left == [names.numbered("decision", session.id, 0)]


def test_reference_sets_of_forgotten_snapshots_go(host: FakeHost, store: MemoryStore, repository: Repository) -> None:
    first = host.backup({"a": 1})
    second = host.backup({"a": 2})
    drop(host, first.id)
    prune(repository, NOW, FakeEngine())
    assert [n for n in store.objects if n.startswith("refs/")] == [f"refs/{second.classes[0].refs}"]


def test_a_small_pack_alone_is_not_rewritten_at_every_prune(host: FakeHost, store: MemoryStore) -> None:
    first = host.backup({f"f{i}": 1 for i in range(8)})
    host.backup({"f0": 1, "f4": 1})
    drop(host, first.id)
    prune(host.repository, replace(NOW, repack_below=1.0), FakeEngine())
    before = packs(store)
    for _ in range(2):
        outcome = prune(host.repository, replace(NOW, repack_below=1.0), FakeEngine())
        assert (outcome.packs_condemned, outcome.packs_repacked) == (0, 0)
    assert packs(store) == before
