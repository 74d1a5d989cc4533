"""Locks that suspicions extend, on stores that can retain: a store in memory by a clock, a real S3 server, several stores.

Proved: everything that a restore of the pinned snapshot needs is retained and nothing else; a run does a bounded part and the
next goes on; it is renewed when half of it is over and not after a release; a refusal is an alert and no failed backup; a forget
and a prune go on beside locks, and take what is left when they have ended. So do anchors of the audit log.
"""

from __future__ import annotations

import random
import socket
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.tiered import Tiered

import holdfast
from holdfast import engine
from holdfast.base.environment import ManualClock
from holdfast.errors import DamageError, PinnedError, StoreRefusedError, StoreRetainedError
from holdfast.reliability.audit import PublicKey, SignedHead
from holdfast.reliability.audit.head import new_key, sign_head
from holdfast.repository import anchors
from holdfast.repository.anchors import put_anchor
from holdfast.repository.locks import needed_objects
from holdfast.runs import locking
from holdfast.runs.compliance import gather
from holdfast.runs.monitoring.facts import vault_facts
from holdfast.runs.options import BackupOptions, ClassRule
from holdfast.runs.results import RetentionPolicy
from holdfast.runs.trail import TrailOptions
from holdfast.runs.watch import Watch
from holdfast.stores.assembly import locate
from holdfast.stores.memory import MemoryStore
from holdfast.stores.protocol import Capability
from servers.stores import served

OPTIONS = BackupOptions(update_catalog=False, paranoid=True)
DAY = timedelta(days=1)


class Refusing(MemoryStore):
    """A store whose service refuses to set retention, when told to."""

    refuses = ""

    def retain_until(self, name, moment):
        if self.refuses and name.startswith(self.refuses):
            raise StoreRefusedError("the credential may not set retention")
        super().retain_until(name, moment)


class Ground:
    """A vault on a store that retains by a test's clock, a source, and what its runs told."""

    def __init__(self, root):
        self.root = root
        self.clock = ManualClock()
        self.env = self.clock.environment()
        self.store = Refusing("a", self.env).share(f"{root}")
        self.events = []
        self.source = root / "source"
        self.source.mkdir()
        self.rng = random.Random(4)
        for number in range(40):
            text = "".join(f"PID|{self.rng.randrange(10**6)}\r" for _ in range(600))
            (self.source / f"{number}.hl7").write_text(text)
        self.vault = holdfast.Vault.create(f"memory:{root}", key_file=root / "key", env=self.env)

    def open(self):
        return holdfast.Vault.open(f"memory:{self.root}", key_file=self.root / "key", env=self.env)

    def backup(self):
        self.clock.advance(timedelta(minutes=1))
        return self.vault.backup(self.source, label="ward", options=OPTIONS, events=self.events.append)

    def encrypt(self, count=20):
        for file in sorted(self.source.glob("*.hl7"))[:count]:
            file.write_bytes(self.rng.randbytes(file.stat().st_size))
            file.rename(f"{file}.lockbit")

    def attacked(self, count=20):
        """Back up, encrypt, back up: the last good snapshot, and the suspicious one."""
        good = self.backup().snapshot
        self.encrypt(count)
        bad = self.backup()
        assert bad.anomaly.suspicious
        assert bad.exit_code == 0
        return good, bad.snapshot

    def alerts(self):
        return [event.code for event in self.events if isinstance(event, holdfast.Alert)]

    def retained(self):
        """Return what the store retains, anchors of the audit log left out."""
        return {name: until for name, until in self.store._retained.items() if not name.startswith("audit/")}


@pytest.fixture
def ground(tmp_path):
    made = Ground(tmp_path)
    yield made
    made.vault.close()


def needed(vault, snapshot):
    return set(needed_objects(vault._vault.repository, snapshot, vault._vault.whole_index()))


def until_of(store, name):
    found = store.retained_until(name)
    assert found is not None
    return found


def test_what_the_last_good_snapshot_needs_is_locked_and_nothing_else(ground):
    good, bad = ground.attacked()
    assert set(ground.retained()) == needed(ground.vault, good.id)
    kinds = {name.partition("/")[0] for name in ground.retained()}
    assert {"snapshot", "part", "refs", "decision", "data", "meta"} <= kinds
    assert not kinds & {"key", "keyring", "index"}
    until = ground.clock.now() + 30 * DAY
    assert set(ground.retained().values()) == {until}
    for name in ground.retained():
        with pytest.raises(StoreRetainedError):
            ground.store.delete(name)
    (row,) = ground.vault.suspicions()
    assert (row.snapshot, row.last_good, row.locked_until) == (bad.id, good.id, until)
    assert row.locked == row.objects == len(ground.retained())
    (status,) = vault_facts(ground.vault._vault).sources
    assert (status.locked, status.objects, status.locked_until) == (row.locked, row.objects, until)
    facts = gather(ground.vault._vault, None)
    assert (facts.suspicious, facts.pinned, facts.pinned_locked) == (1, 1, 1)


def test_locks_are_renewed_when_half_is_over_and_not_after_a_release(ground):
    good, bad = ground.attacked()
    first = ground.retained()
    ground.clock.advance(10 * DAY)
    ground.backup()
    assert ground.retained() == first
    ground.clock.advance(6 * DAY)
    ground.backup()
    second = ground.retained()
    assert set(second.values()) == {ground.clock.now() + 30 * DAY}
    ground.vault.release_suspicious(bad.id, reason="it was a test")
    assert ground.vault.suspicions() == ()
    ground.clock.advance(20 * DAY)
    ground.backup()
    assert ground.retained() == second
    assert locking.locks(ground.vault._vault) == {}
    assert locking.locked_packs(ground.vault._vault), "their locks have not ended"
    ground.clock.advance(20 * DAY)
    ground.backup()
    assert not locking.locked_packs(ground.vault._vault)
    assert good.id in {info.id for info in ground.vault.snapshots()}


def test_a_run_does_a_bounded_part_and_the_next_goes_on(ground):
    ground.vault._vault.watch = Watch(lock_objects_max=3)
    good, _ = ground.attacked()
    wanted = needed(ground.vault, good.id)
    assert len(ground.retained()) == 3
    (row,) = ground.vault.suspicions()
    assert (row.locked, row.objects) == (3, len(wanted))
    ground.backup()
    assert len(ground.retained()) == 6
    (done,) = ground.vault.extend_locks()
    assert done.complete
    assert set(ground.retained()) == wanted


def test_a_run_that_is_late_leaves_the_rest(ground, monkeypatch):
    monkeypatch.setattr(locking, "SECONDS_MAX", 0.0)
    ground.attacked()
    assert ground.retained() == {}
    assert ground.vault.extend_locks()[0].complete


def test_a_refusal_is_an_alert_and_what_was_done_counts(ground):
    ground.store.refuses = "data/"
    good, _ = ground.attacked()
    assert ground.alerts() == ["anomaly", "lock-not-extended"]
    assert "hl7" not in repr([event for event in ground.events if isinstance(event, holdfast.Alert)])
    (row,) = ground.vault.suspicions()
    assert 0 < row.locked < row.objects
    ground.store.refuses = ""
    ground.backup()
    assert set(ground.retained()) == needed(ground.vault, good.id)
    assert ground.alerts().count("lock-not-extended") == 1


def test_a_local_state_that_is_lost_or_torn_costs_asking_again(ground):
    good, _ = ground.attacked()
    (note,) = (ground.vault._vault.state_dir / "locks").iterdir()
    assert str(ground.source) not in note.read_text()
    note.write_text("torn")
    assert locking.locks(ground.vault._vault) == {}
    ground.backup()
    assert locking.locks(ground.vault._vault)[good.id].complete
    note.unlink()
    (ground.vault._vault.state_dir / "locks").rmdir()
    (ground.vault._vault.state_dir / "locks").write_text("in the way")
    assert locking.locks(ground.vault._vault) == {}
    assert ground.backup().exit_code == 0


def test_no_lock_is_extended_without_need_or_where_nobody_can(ground, tmp_path):
    ground.vault._vault.watch = Watch(lock_days=0)
    ground.attacked()
    assert ground.retained() == {}
    assert ground.vault.extend_locks() == ()


def test_a_set_that_cannot_be_read_is_an_alert(ground):
    good, _ = ground.attacked()
    with pytest.raises(DamageError):
        needed_objects(ground.vault._vault.repository, good.id, engine.Index([]))
    for name in [name for name in ground.store.objects if name.startswith("refs/")]:
        ground.store.objects[name] = b"torn"
    (ground.vault._vault.state_dir / "locks" / f"{good.id}.json").unlink()
    assert ground.vault.extend_locks(events=ground.events.append) == ()
    assert ground.alerts()[-1] == "lock-not-extended"


def test_what_is_pinned_survives_forget_and_prune_and_goes_when_its_locks_have_ended(ground):
    good, bad = ground.attacked(40)
    with pytest.raises(PinnedError):
        ground.vault.forget(snapshots=[good.id])
    assert ground.vault.forget(RetentionPolicy(last=1)).forgotten == ()
    assert ground.vault.prune(undo_days=0).packs_deleted == 0
    ground.vault.release_suspicious(bad.id, reason="it was a test")
    locked = ground.retained()
    ground.vault.forget(snapshots=[good.id])
    assert [info.id for info in ground.vault.snapshots()] == [bad.id], "the tombstone counts, whatever is retained"
    assert f"snapshot/{good.id}" in ground.store.objects
    done = ground.vault.prune(undo_days=0)
    assert done.phase == "waiting"
    assert done.delete_after >= max(locked.values()), "this host knows of its locks"
    assert ground.vault.check().problems == ()
    ground.clock.advance(31 * DAY)
    done = ground.vault.prune(undo_days=0)
    assert done.phase == "closed"
    assert done.packs_deleted > 0
    ground.vault.prune(undo_days=0)
    assert f"snapshot/{good.id}" not in ground.store.objects
    assert ground.vault.check().problems == ()
    assert ground.vault.verify().sound


def test_another_host_s_prune_waits_for_locks_that_it_does_not_know(ground, tmp_path, monkeypatch):
    good, bad = ground.attacked()
    ground.vault.release_suspicious(bad.id, reason="it was a test")
    ground.vault.forget(snapshots=[good.id])
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "elsewhere"))
    with ground.open() as other:
        done = other.prune(undo_days=0)
        while done.phase not in {"waiting", "closed", "nothing"}:
            done = other.prune(undo_days=0)
        assert done.phase == "waiting"
        assert other.check().problems == ()
        ground.clock.advance(31 * DAY)
        assert other.prune(undo_days=0).phase == "closed"
        assert other.verify().sound


def test_packs_are_locked_on_every_store_that_can(tmp_path):
    where = Tiered(tmp_path)
    where.bare["second"] = MemoryStore("second", where.env)
    MemoryStore.shared(f"{tmp_path}/second").objects = where.bare["second"].objects
    with where.create() as vault:
        where.wrap(vault, "second", where.bare["second"])
        where.fill()
        good = where.backup(vault).snapshot
        packs = {name for name in where.bare["second"].objects if name.startswith("data/")}
        assert packs
        work = locking._Work(vault._vault, lambda _: None, objects_max=None, ends=None)
        assert work.extend(good.id).state().complete
        assert set(where.bare["second"]._retained) == packs, "the home and the third store cannot"


def test_anchors_of_the_audit_log_are_retained_for_six_years(ground):
    ground.backup()
    heads = {name: until for name, until in ground.store._retained.items() if name.startswith("audit/")}
    assert heads
    assert max(heads.values()) >= ground.clock.now() + 6 * 365 * DAY - DAY
    assert ground.vault._vault.trail.retained_until() == max(heads.values())
    assert gather(ground.vault._vault, None).audit_retained == max(heads.values())


def test_the_store_is_asked_for_the_lock_and_no_file_of_this_host(ground, tmp_path):
    source = tmp_path / "plain source"
    source.mkdir()
    with holdfast.Vault.create(str(tmp_path / "plain"), key_file=tmp_path / "plain key", env=ground.env) as vault:
        vault.backup(source, label="ward", options=OPTIONS)
        assert vault._vault.trail.anchored()
        (vault._vault.trail.folder / "retained").write_text("2033-01-01T00:00:00.000000Z\n")
        assert gather(vault._vault, None).audit_retained is None
    ground.backup()
    trail = ground.vault._vault.trail
    (name,) = (name for name in ground.store._retained if name.startswith("audit/"))
    del ground.store._retained[name]
    assert trail.retained_until() is None, "what was retained once is not what is retained"
    ground.store.refuses = "audit/"
    assert trail.retained_until() is None
    (trail.folder / "log.json").unlink()
    assert trail.retained_until() is None


def test_a_planted_head_does_not_keep_the_true_one_from_being_retained(ground):
    ground.backup()
    vault = ground.vault._vault
    log = vault.trail.log()
    (true,) = (name for name in ground.store.objects if name.startswith(f"audit/{log.id}/"))
    key = new_key("ed25519", ground.env)
    planted = sign_head(key, SignedHead(log.id, 99_999_999, "00" * 32, "00" * 32, ground.clock.now()))
    put_anchor(vault.repository, planted, PublicKey.of(key), "ward")
    put_anchor(
        vault.repository, replace(planted, size=99_999_998), log.public, "ward"
    )  # which the log's key did not sign
    put_anchor(vault.repository, replace(planted, size=99_999_997), PublicKey("none"), "ward")
    ground.store.objects[f"audit/{log.id}/99999996"] = b"damaged"
    ground.store._retained.clear()
    vault.trail.retain_all(ground.events.append)
    found = {name for name in ground.store._retained if name.startswith("audit/")}
    assert found == {true, f"audit/{log.id}/99999999"}
    assert vault.trail.retained_until() == ground.store._retained[true]


def test_the_logs_of_a_host_are_known_by_one_anchor_each(ground, monkeypatch):
    for _ in range(4):
        ground.backup()
        ground.clock.advance(DAY)
    vault = ground.vault._vault
    log, names = vault.trail.log().id, sorted(name for name in ground.store.objects if name.startswith("audit/"))
    assert len(names) >= 4
    asked, read = [], anchors._read

    def counted(*where):
        asked.append(where[1:])
        return read(*where)

    monkeypatch.setattr(anchors, "_read", counted)
    host = socket.gethostname()
    assert anchors.logs_of_host(vault.repository, host) == {log}
    assert len(asked) == 1
    assert anchors.logs_of_host(vault.repository, "elsewhere") == frozenset()
    asked.clear()
    ground.store.objects[names[0]] = b"damaged"
    assert anchors.logs_of_host(vault.repository, host) == {log}
    assert len(asked) == 2
    for name in names:
        ground.store.objects[name] = b"damaged"
    assert anchors.logs_of_host(vault.repository, host) == frozenset()


def test_an_anchor_that_is_not_retained_is_an_alert(ground):
    ground.store.refuses = "audit/"
    ground.clock.advance(DAY)
    assert ground.backup().exit_code == 0
    assert ground.alerts() == ["audit-not-retained"]
    ground.events.clear()
    ground.clock.advance(DAY)
    ground.vault._vault.trail.options = TrailOptions(retain_seconds=0)
    ground.backup()
    assert ground.alerts() == []


def test_a_real_s3_server_refuses_to_delete_what_is_pinned(tmp_path, monkeypatch):
    with served("s3", tmp_path / "server") as s3:
        for name, value in s3.environ.items():
            monkeypatch.setenv(name, value)
        stores = {"home": s3.settings(object_lock="compliance")}
        source = tmp_path / "source"
        source.mkdir()
        for number in range(30):
            (source / f"{number}.csv").write_text(f"{number};Miller;{number * 7}\n" * 900)
        rng, told = random.Random(6), []
        with holdfast.Vault.create("store:home", key_file=tmp_path / "key", stores=stores) as vault:
            good = vault.backup(source, label="ward", options=OPTIONS).snapshot
            for file in sorted(source.iterdir())[:20]:
                file.write_bytes(rng.randbytes(file.stat().st_size))
            bad = vault.backup(source, label="ward", options=OPTIONS, events=told.append)
            assert bad.anomaly.suspicious
            assert [event.code for event in told if isinstance(event, holdfast.Alert)] == ["anomaly"]
            (row,) = vault.suspicions()
            assert row.locked == row.objects > 5
            assert row.locked_until is not None
            bare = locate("store:home", stores=stores)
            assert Capability.RETAIN_UNTIL in bare.capabilities
            for name in needed(vault, good.id):
                assert until_of(bare, name) >= row.locked_until - timedelta(seconds=1)
                with pytest.raises(StoreRetainedError):
                    bare.delete(name)
            anchors = [info.name for info in bare.list("audit/")]
            assert until_of(bare, anchors[-1]) > row.locked_until + 365 * DAY
            vault.prune(undo_days=0)
            vault.snapshot(good.id).restore(to=tmp_path / "out")
    back = tmp_path / "out" / str(source).lstrip("/")
    assert (back / "3.csv").read_text() == "3;Miller;21\n" * 900


def test_a_first_backup_that_is_suspicious_pins_nothing_and_locks_nothing(ground):
    ground.encrypt()
    assert ground.backup().anomaly.suspicious
    (row,) = ground.vault.suspicions()
    assert (row.last_good, row.objects) == ("", 0)
    assert ground.vault.extend_locks() == ()
    assert ground.retained() == {}


def test_what_is_gone_is_passed_over_and_progress_is_noted_on_the_way(ground, monkeypatch):
    monkeypatch.setattr(locking, "NOTED_EVERY", 1)
    ground.vault._vault.watch = Watch(lock_objects_max=1)
    good, _ = ground.attacked()
    lost = sorted(name for name in needed(ground.vault, good.id) if name.startswith("meta/"))[0]
    del ground.store.objects[lost]
    assert ground.vault.extend_locks()[0].complete, "check misses it, no lock does"
    assert lost not in ground.retained()


def test_a_forgotten_class_is_not_locked(ground):
    rules = (ClassRule("*.log", "system"),)
    (ground.source / "a.log").write_text("started\n" * 9000)
    options = BackupOptions(update_catalog=False, paranoid=True, class_rules=rules)
    good = ground.vault.backup(ground.source, label="ward", options=options).snapshot
    system = next(part.class_id for part in good.classes if part.class_name == "system")
    assert f"part/{good.id}/{system}" in needed(ground.vault, good.id)
    ground.vault.forget(snapshots=[good.id], classes=["system"])
    assert f"part/{good.id}/{system}" not in needed(ground.vault, good.id)
