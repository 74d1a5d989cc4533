"""Sessions and what exists: write-once decisions, squatters, tombstones, holds, trust in index runs, the local copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.base.environment import Environment, ManualClock
from holdfast.errors import DamageError, HeldError, LimitError, ObjectMissingError, RetentionError, RevokedError
from holdfast.repository import decisions, forget, names, writers
from holdfast.repository.bodies import COMMIT, REVOKED, DecisionBody, ForgottenBody
from holdfast.repository.check import check
from holdfast.repository.countersign import countersign
from holdfast.repository.credentials import KeyFile
from holdfast.repository.decisions import Verdict
from holdfast.repository.holds import set_hold
from holdfast.repository.indexes import MEMBERS_MAX, Indexes
from holdfast.repository.prune import PruneOptions, prune
from holdfast.repository.rebuild import apply as rebuild
from holdfast.repository.rebuild import plan as plan_rebuild
from holdfast.repository.repository import Repository
from holdfast.repository.retention import RetentionPolicy
from holdfast.repository.rounds import read_damaged, write_damaged
from holdfast.repository.session import bucket
from holdfast.repository.states import CHAIN_LINKS, collect_states, is_long, next_number, read_state
from holdfast.repository.types import SnapshotDraft
from holdfast.stores.memory import MemoryStore
from holdfast.testing.fake_engine import FakeEngine, FakeIndex
from holdfast.testing.hosts import FakeHost, at_its_word, check_vault


def damage(store: MemoryStore, name: str) -> None:
    data = store.objects[name]
    store.objects[name] = data[:40] + bytes([data[40] ^ 1]) + data[41:]


def ids(repository: Repository) -> list[str]:
    return [s.id for s in repository.snapshots()]


def test_a_snapshot_says_what_was_backed_up(host: FakeHost, repository: Repository) -> None:
    info = host.backup({"a": 1, "b": 1, "c": 1}, label="ehr")
    assert repository.snapshots() == (info,)
    assert (info.label, info.host, info.source) == ("ehr", "host", host.source)
    part = repository.part(info, 1)
    assert (part.root, part.entries, part.content_bytes) == ("00:0:0", 3, 30)
    assert (info.classes[0].files_bucket, info.classes[0].bytes_bucket) == (4, 32)
    with pytest.raises(ObjectMissingError):
        repository.part(info, 2)
    assert [bucket(n) for n in (0, 1, 2, 3, 1000)] == [0, 1, 2, 4, 1024]


def test_squatting_on_decisions_costs_nothing(host: FakeHost, store: MemoryStore, repository: Repository) -> None:
    session = host.begin()
    where = host.store(session, {"a": 1})
    other = host.backup({"b": 1})
    for number, bytes_there in enumerate((b"junk", store.objects[names.numbered("decision", other.id, 0)])):
        store.objects[names.numbered("decision", session.id, number)] = bytes_there
    info = host.commit(session, where)
    assert info.id in ids(repository)
    assert store.size(names.numbered("decision", session.id, 2)) is not None


def test_another_writer_decides_nothing(host: FakeHost, repository: Repository, env: Environment) -> None:
    thief = Repository.open(repository.store, writers.enrol(repository, "thief"), env)
    session = host.begin()
    name = names.numbered("decision", session.id, 0)
    assert thief.home.create(name, DecisionBody(REVOKED, ""), thief.writer)
    info = host.commit(session, host.store(session, {"a": 1}))
    assert info.id in ids(repository)
    thief.home.create(f"forgotten/{info.id}", ForgottenBody("mine", ""), thief.writer)
    assert info.id in ids(repository)
    set_hold(thief.home, info.id, thief.writer, held=True, reason="mine")
    assert not repository.snapshots()[0].held


def test_slots_have_a_limit(host: FakeHost, store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "SLOTS_MAX", 2)
    session = host.begin()
    where = host.store(session, {"a": 1})
    for number in range(2):
        store.objects[names.numbered("decision", session.id, number)] = b"junk"
    with pytest.raises(LimitError):
        host.commit(session, where)


def test_an_unreadable_decision_counts_as_committed(host: FakeHost, store: MemoryStore, repository: Repository) -> None:
    info = host.backup({"a": 1})
    damage(store, names.numbered("decision", info.id, 0))
    assert decisions.outcome(repository.home, info.id, repository.writer_id).by_copy
    damage(store, f"committed/{info.id}")
    assert ids(repository) == [info.id]
    assert decisions.outcome(repository.home, info.id, repository.writer_id).verdict is Verdict.UNREADABLE
    prune(
        repository,
        PruneOptions(unsafe_undo_delay=timedelta(0), patience=timedelta(0), compare=at_its_word),
        FakeEngine(),
    )
    check_vault(repository, host.acknowledged)
    assert check(repository).notes
    host.backup({"a": 2})
    check_vault(repository, host.acknowledged)


def test_a_lost_envelope_is_a_problem_until_it_is_forgotten(
    host: FakeHost, store: MemoryStore, repository: Repository
) -> None:
    first, second = host.backup({"a": 1}), host.backup({"a": 1})
    damage(store, f"snapshot/{first.id}")
    del store.objects[f"snapshot/{second.id}"]
    assert ids(repository) == []
    assert {p.id for p in repository.snapshot_problems()} == {first.id, second.id}
    for kind in ("snapshot", "frame"):
        assert kind in {f.kind for f in check(repository).findings}
    with pytest.raises(DamageError):
        prune(repository, PruneOptions(compare=at_its_word), FakeEngine())
    for snapshot in (first, second):
        forget.forget(repository, snapshot.id, reason="lost")
    assert repository.snapshot_problems() == ()


def test_a_damaged_part_is_said_and_the_snapshot_listed(
    host: FakeHost, store: MemoryStore, repository: Repository
) -> None:
    info = host.backup({"a": 1})
    damage(store, names.part(info.id, 1))
    assert [(s.id, s.label) for s in repository.snapshots()] == [(info.id, "")]
    assert len(repository.snapshot_problems()) == 1


def test_holds_and_minimum_retention_forbid_forgetting(
    host: FakeHost, store: MemoryStore, repository: Repository, clock: ManualClock
) -> None:
    info = host.backup({"a": 1})
    clock.advance(timedelta(hours=1))
    newer = host.backup({"a": 1})
    set_hold(repository.home, info.id, repository.root, held=True, reason="court order")
    with pytest.raises(HeldError):
        forget.forget(repository, info.id, reason="x")
    assert forget.plan(repository, RetentionPolicy(last=1)).forget == ()
    set_hold(repository.home, info.id, repository.root, held=False, reason="over")
    damage(store, f"hold/{info.id}/00000001")
    with pytest.raises(HeldError):
        forget.forget(repository, info.id, reason="x")
    set_hold(repository.home, info.id, repository.root, held=False, reason="over")
    assert forget.apply(repository, forget.plan(repository, RetentionPolicy(last=1))) == (info.id,)
    assert ids(repository) == [newer.id]
    session = host.begin()
    where = host.store(session, {"a": 1})
    part = replace(
        SnapshotDraft((), "", clock.now(), partial=False, program="test"), retain_until=clock.now() + timedelta(days=9)
    )
    kept = session.commit(part)
    with pytest.raises(RetentionError):
        forget.forget(repository, kept.id, reason="x")
    clock.advance(timedelta(days=10))
    forget.forget(repository, kept.id, reason="x")
    del where


def test_a_missing_pack_stops_the_commit(host: FakeHost, store: MemoryStore) -> None:
    session = host.begin()
    where = host.store(session, {"a": 1})
    del store.objects[next(n for n in store.objects if n.startswith("data/"))]
    with pytest.raises(DamageError):
        host.commit(session, where)
    unknown = {("x", 1): (bytes(16), 0)}
    with pytest.raises(DamageError):
        host.commit(session, unknown)


def test_own_state_comes_back(host: FakeHost, repository: Repository, store: MemoryStore) -> None:
    session = host.begin()
    base, first, second, again = b"\1\0base", b"\1\1delta", b"\1\1delta2", b"\1\0again"
    for number, payload in enumerate((base, first, second)):
        session.put_state(host.source, number, payload)
    assert read_state(repository, host.source) == [base, first, second]
    assert collect_states(repository) == 0, "a short chain is left alone"
    damage(store, names.numbered("state", repository.writer_id, host.source, 1))
    assert read_state(repository, host.source) == [base]
    damage(store, names.numbered("state", repository.writer_id, host.source, 0))
    assert read_state(repository, host.source) == []
    for number in range(3, CHAIN_LINKS + 2):
        session.put_state(host.source, number, again if number == CHAIN_LINKS else second)
    assert is_long(repository, host.source) is False
    assert read_state(repository, host.source) == [again, second]
    assert collect_states(repository) == CHAIN_LINKS
    assert read_state(repository, host.source) == [again, second]
    assert next_number(repository, host.source) == CHAIN_LINKS + 2


def test_a_writer_trusts_its_own_runs_and_countersigned_ones(
    host: FakeHost, repository: Repository, env: Environment, tmp_path: Path
) -> None:
    thief = Repository.open(repository.store, writers.enrol(repository, "thief"), env)
    host.backup({"a": 1})
    (run,) = [n.partition("/")[2] for n in repository.home.listed("index")]
    segment = host.known["a", 1]

    def trusted(who: Repository, cache: str) -> bool:
        index = Indexes(who, tmp_path / cache, FakeEngine()).read().index
        assert index.find_segment(*segment) is not None
        return segment in index.trusted  # type: ignore[attr-defined]

    assert trusted(repository, "1")
    assert not trusted(thief, "2")
    assert countersign(thief.home, run, thief.writer)
    assert not trusted(thief, "2"), "only root countersigns"
    repository.store.delete(f"countersign/{run}")
    assert countersign(repository.home, run, repository.root)
    assert trusted(thief, "2")


def test_a_distrusted_run_is_never_deduplicated_against(
    host: FakeHost, repository: Repository, env: Environment, tmp_path: Path, store: MemoryStore, key: KeyFile
) -> None:
    writer = Repository.open(store, writers.enrol(repository, "ehr"), env)
    other = FakeHost(writer, tmp_path / "other", "cd" * 16)
    other.backup({"a": 1})
    (run,) = [n.partition("/")[2] for n in repository.home.listed("index")]
    countersign(repository.home, run, repository.root)
    indexes = Indexes(repository, tmp_path / "mine", FakeEngine())
    segment = other.known["a", 1]
    assert segment in indexes.read().index.trusted  # type: ignore[attr-defined]
    writers.revoke(repository, writer.writer_id)
    index = indexes.read().index
    assert segment not in index.trusted  # type: ignore[attr-defined]
    assert index.find_segment(*segment) is not None, "what is stored stays readable"


def test_many_runs_are_merged_and_a_lost_cache_costs_time_only(
    host: FakeHost, repository: Repository, tmp_path: Path
) -> None:
    for n in range(MEMBERS_MAX + 4):
        host.backup({f"f{n}": 1})
    files = list(host.cache.glob("*.sorted"))
    assert 0 < len(files) <= MEMBERS_MAX
    fresh = Indexes(repository, tmp_path / "fresh", FakeEngine()).read()
    known = Indexes(repository, host.cache, FakeEngine()).read()
    assert fresh.index.trusted == known.index.trusted  # type: ignore[attr-defined]
    for file in files:
        file.unlink()
    (host.cache / "runs.json").write_text("{")
    again = Indexes(repository, host.cache, FakeEngine()).read()
    assert again.index.trusted == fresh.index.trusted  # type: ignore[attr-defined]


def test_a_damaged_run_is_left_out_and_said(
    host: FakeHost, repository: Repository, store: MemoryStore, tmp_path: Path
) -> None:
    host.backup({"a": 1})
    name = next(n for n in store.objects if n.startswith("index/"))
    damage(store, name)
    view = Indexes(repository, tmp_path / "fresh", FakeEngine()).read()
    assert view.untrusted == (name.partition("/")[2],)
    host.cache = tmp_path / "fresh"
    host.backup({"a": 1})


def test_damaged_packs_are_excluded(host: FakeHost, repository: Repository, store: MemoryStore) -> None:
    first = host.backup({"a": 1})
    pack = next(n for n in store.objects if n.startswith("data/")).rpartition("/")[2]
    assert write_damaged(repository.home, repository.root, frozenset({pack})) == "damaged/00000000"
    assert read_damaged(repository.home) == {pack}
    second = host.backup({"a": 1})
    assert host.acknowledged[first.id] != host.acknowledged[second.id], "it was stored again"
    write_damaged(repository.home, repository.root, frozenset())
    assert read_damaged(repository.home) == frozenset()
    damage(store, "damaged/00000001")
    assert read_damaged(repository.home) == {pack}, "what cannot be read takes nothing back"


def test_a_lost_index_is_rebuilt_from_the_packs(host: FakeHost, repository: Repository, store: MemoryStore) -> None:
    host.backup({f"f{n}": 1 for n in range(9)})
    host.backup({"g": 1})
    first, second = sorted(n for n in store.objects if n.startswith("index/"))
    del store.objects[first]
    damage(store, second)
    kinds = {f.kind for f in check(repository).findings}
    assert kinds == {"frame", "index"}
    bad = next(n for n in store.objects if n.startswith("data/"))
    good = store.objects[bad]
    damage(store, bad)
    plan = plan_rebuild(repository)
    assert (len(plan.broken_runs), len(plan.packs)) == (1, 4)
    assert rebuild(repository, plan, FakeEngine()).damaged == (bad.rpartition("/")[2],)
    store.objects[bad] = good
    done = rebuild(repository, plan_rebuild(repository), FakeEngine())
    assert (done.runs_put, done.packs_listed, done.damaged) == (1, 1, ())
    assert check(repository).problems == ()
    check_vault(repository, host.acknowledged)


def test_check_names_what_is_wrong(host: FakeHost, repository: Repository, store: MemoryStore) -> None:
    info = host.backup({"a": 1})
    host.backup({"b": 1})
    one, two = sorted(n for n in store.objects if n.startswith("data/"))
    del store.objects[one]
    store.objects[two] += b"x"
    store.objects["odd/name"] = b""
    del store.objects[names.part(info.id, 1)]
    outcome = check(repository, read_packs_too=True)
    kinds = {f.kind for f in outcome.findings}
    assert kinds == {"pack-missing", "pack-size", "pack-hash", "foreign-name", "part"}
    assert (outcome.snapshots, outcome.packs) == (2, 1)
    assert all(f.object for f in outcome.findings)


def test_a_writer_checks_what_it_can(host: FakeHost, repository: Repository, env: Environment) -> None:
    host.backup({"a": 1})
    writer = Repository.open(repository.store, writers.enrol(repository, "ehr", [2]), env)
    outcome = check(writer)
    assert outcome.problems == ()
    assert outcome.notes


def test_a_session_given_up_cannot_commit(host: FakeHost) -> None:
    session = host.begin()
    where = host.store(session, {"a": 1})
    session.abandon()
    for act in (lambda: host.commit(session, where), lambda: session.checkpoint([], packs=0, stored_bytes=0)):
        with pytest.raises(RevokedError):
            act()
    committed = host.begin()
    info = host.commit(committed, host.store(committed, {"a": 1}))
    committed.abandon()
    assert info.id in ids(host.repository), "what was committed stays"
    assert decisions.outcome(host.repository.home, info.id, host.repository.writer_id).snapshot
    assert Verdict.COMMIT.value == COMMIT


def test_a_local_file_torn_by_a_crash_is_made_anew(host: FakeHost, repository: Repository) -> None:
    class TornIndex(FakeIndex):
        def __init__(self, members: Sequence[tuple[str, bool]]) -> None:
            if any(not Path(file).stat().st_size for file, _ in members):
                raise DamageError("damaged: the local index")
            super().__init__(members)

    class Engine(FakeEngine):
        Index = TornIndex

    host.backup({"a": 1})
    before = Indexes(repository, host.cache, Engine()).read()
    for file in host.cache.glob("*.sorted"):
        file.write_bytes(b"")
    after = Indexes(repository, host.cache, Engine()).read()
    assert after.index.trusted == before.index.trusted  # type: ignore[attr-defined]
    assert after.runs == before.runs
    assert not after.untrusted
