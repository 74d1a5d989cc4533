"""A vault over several stores: packs by class, copies, outage, migration by age, healing, restore from cold. Real engine."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.tiered import DAY, Tiered, book, placed

import holdfast
from holdfast.base.events import Alert, Note
from holdfast.classes.policy import ClassPolicy, Move, StoreFacts
from holdfast.errors import (
    ConfigError,
    DamageError,
    InternalError,
    Interrupted,
    PathMissingError,
    PausedError,
    RetentionError,
    SpoolFullError,
    StoreFullError,
    StoreRefusedError,
    StoreUnreachableError,
    UsageError,
)
from holdfast.governor.plan import GovernorPlan
from holdfast.governor.windows import Calendar, Window, parse_days
from holdfast.repository.copies import apply_step
from holdfast.repository.placed import class_of, sha_of
from holdfast.runs import reading
from holdfast.runs.pending import drain
from holdfast.runs.tiering import Tiers
from holdfast.stores.layers import HookedStore
from holdfast.stores.memory import MemoryStore
from holdfast.stores.protocol import Readiness, StorageState


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiered:
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    made = Tiered(tmp_path)
    made.fill()
    return made


def test_each_class_lies_where_its_policy_says(site: Tiered) -> None:
    with site.create() as vault:
        result = site.backup(vault)
        assert (result.exit_code, result.pending) == (0, 0)
        assert site.by_class() == {
            "phi": {"home", "second"},
            "imaging": {"second"},
            "database": {"second", "third"},
            "public": {"home"},
        }
        assert site.restored(vault) == site.content()
        assert vault.check().problems == ()
        report = vault.verify()
        assert (report.sound, report.copies > 0) == (True, True)
        assert not vault.migrate_plan().steps
        assert vault.pending() == holdfast.Pending(0, 0, 0, 0, 1 << 30, 0.0, overdue=False)


def test_a_pack_that_says_a_forbidden_class_is_never_put(site: Tiered) -> None:
    with site.create() as vault:
        site.backup(vault)
        store = placed(vault)
        (name, data) = next((n, d) for n, d in site.bare["third"].objects.items() if n.startswith("data/"))
        with pytest.raises(InternalError, match="may not lie on"):
            store.put_copy("home", name, data)
        with pytest.raises(InternalError, match="without a header"):
            store.put("data/ab/" + "ab" * 32, b"no pack")


def test_a_store_that_is_down_stops_nothing(site: Tiered) -> None:
    events: list[object] = []
    with site.create() as vault:
        site.down.add("second")
        result = site.backup(vault, events=events.append)
        assert result.snapshot is not None
        assert (result.exit_code, result.partial, result.pending > 0) == (3, False, True)
        alerts = [event for event in events if isinstance(event, Alert)]
        assert [(alert.code, alert.subject) for alert in alerts] == [("store-outage", "second")]
        # phi went to the one that stands in, images wait on this host, and nothing went where it may not.
        assert site.by_class()["phi"] == {"home", "third"}
        site.nothing_misplaced()
        waits = vault.pending()
        assert waits is not None
        assert (waits.exit_code, waits.spooled_packs, [each.store for each in waits.stores]) == (3, 1, ["second"])
        assert site.restored(vault) == site.content()
        site.write("imaging", "later")
        assert site.backup(vault).exit_code == 3
        site.down.clear()
        site.pass_days(1)
        events.clear()
        done = site.backup(vault, events=events.append)
        assert (done.exit_code, done.pending) == (0, 0)
        assert any(isinstance(event, Note) and "where they belong now" in event.text for event in events)
        assert not list((Path(vault.state_dir) / "tiers" / "spool").rglob("*.*"))
        assert vault.check().problems == ()
        assert site.restored(vault) == site.content()
    with site.open() as vault:
        assert vault.migrate().exit_code == 0
        assert site.by_class()["phi"] == {"home", "second"}


def test_what_waits_too_long_is_an_alert(site: Tiered) -> None:
    events: list[object] = []
    with site.create() as vault:
        site.down.update({"second", "third"})
        site.backup(vault)
        site.pass_days(0.2)
        site.backup(vault, events=events.append)
        overdue = [event for event in events if isinstance(event, Alert) and "have waited" in event.text]
        assert len(overdue) == 1
        assert "second" in overdue[0].subject
        assert vault.pending().overdue
        site.down.clear()
        site.pass_days(1)
        assert vault.migrate().failed == 0
        assert not vault.pending().packs


def test_a_full_spool_stops_the_run_and_no_spool_does_so_at_once(site: Tiered, tmp_path: Path) -> None:
    site.tiers = Tiers(site.rules, site.tiers.urls, spool_bytes_max=1 << 20)
    site.write("imaging", "large", size=3 << 20)
    with site.create() as vault:
        site.down.add("second")
        with pytest.raises(SpoolFullError):
            site.backup(vault)
    site.rules = book(imaging=ClassPolicy("imaging", ("second",), spool=False))
    site.tiers = Tiers(site.rules, site.tiers.urls)
    with site.open() as vault:
        with pytest.raises(StoreUnreachableError):
            site.backup(vault)
        site.down.clear()
        site.pass_days(1)
        assert site.backup(vault).exit_code == 0
        assert site.restored(vault) == site.content()


def test_a_full_store_is_an_outage_too(site: Tiered) -> None:
    with site.create() as vault:

        def full(verb: str, _name: str) -> None:
            if verb == "put":
                raise StoreFullError("no room (a test's)")

        site.wrap(vault, "second", HookedStore(site.bare["second"], full))
        result = site.backup(vault)
        assert result.exit_code == 3
        assert not site.packs("second")
        assert site.restored(vault) == site.content()


def test_a_run_that_rests_on_a_store_that_is_down_is_pending(site: Tiered) -> None:
    with site.create() as vault:
        site.backup(vault)
        copy = site.source / "imaging" / "f0"
        (site.source / "imaging" / "same").write_bytes(copy.read_bytes())
        site.down.add("second")
        result = site.backup(vault)
        assert result.snapshot is not None
        assert (result.exit_code, result.pending > 0) == (3, True)
        with pytest.raises(StoreUnreachableError):
            vault.check()
        with pytest.raises(StoreUnreachableError):
            vault.prune(undo_days=0)
        site.down.clear()
        site.pass_days(1)
        assert vault.check().problems == ()
        assert site.backup(vault).exit_code == 0


def test_packs_move_by_age_and_every_snapshot_stays(site: Tiered) -> None:
    with site.create() as vault:
        site.backup(vault)
        first = site.content()
        site.pass_days(31)
        site.write("imaging", "young")
        site.backup(vault)
        dry = vault.migrate(dry_run=True)
        assert isinstance(dry, holdfast.MigrateResult)
        assert (dry.dry_run, dry.packs, dry.deleted, site.packs("cold")) == (True, 1, 1, set())
        done = vault.migrate()
        assert (done.exit_code, done.copies, done.deleted) == (0, 1, 1)
        assert [(row.class_name, row.copy_to, row.delete_from) for row in done.rows] == [
            ("imaging", ("cold",), ("second",))
        ]
        assert site.by_class()["imaging"] == {"cold", "second"}
        site.pass_days(60)
        assert vault.migrate(budget_bytes=1).later > 0
        while vault.migrate(budget_bytes=1).packs:
            assert site.restored(vault) == site.content()
        assert site.by_class()["imaging"] == {"cold"}
        assert site.by_class()["phi"] == {"second", "cold"}
        assert site.restored(vault) == site.content()
        assert site.restored(vault, vault.snapshots()[0].id) == first
        assert vault.check().problems == ()
        assert vault.verify().sound


def test_what_was_restored_lately_stays(site: Tiered) -> None:
    moves = (Move(30 * DAY, ("cold",), unless_restored_within=7 * DAY),)
    site.rules = book(imaging=ClassPolicy("imaging", ("second",), moves=moves))
    site.tiers = Tiers(site.rules, site.tiers.urls)
    with site.create() as vault:
        site.backup(vault)
        site.pass_days(29)
        site.restored(vault)
        site.pass_days(2)
        assert not vault.migrate_plan().steps
        site.pass_days(6)
        assert [step.copy_to for step in vault.migrate_plan().steps] == [("cold",)]


def test_a_lost_ledger_comes_back_from_the_stores(site: Tiered) -> None:
    with site.create() as vault:
        site.backup(vault)
        state = Path(vault.state_dir)
        site.pass_days(31)
    shutil.rmtree(state)
    with site.open() as vault:
        assert site.restored(vault) == site.content()
        plan = vault.migrate_plan()
        assert [(step.class_name, step.copy_to) for step in plan.steps] == [("imaging", ("cold",))]
        assert vault.check().problems == ()
    (state / "tiers" / "placement.sqlite").write_bytes(b"no ledger at all" * 100)
    with site.open() as vault:
        assert len(vault.migrate_plan().steps) == 1


def test_a_damaged_copy_is_passed_over_found_and_healed(site: Tiered) -> None:
    with site.create() as vault:
        site.backup(vault)
        name = next(n for n in site.bare["third"].objects if n.startswith("data/"))
        good = site.bare["second"].objects[name]
        site.bare["second"].objects[name] = good[:100] + bytes([good[100] ^ 1]) + good[101:]
        assert site.restored(vault) == site.content()
        report = vault.verify()
        assert (report.exit_code, report.damaged, len(report.problems)) == (4, (), 1)
        assert "store second is damaged" in report.problems[0]
        assert any("repair copies" in problem for problem in vault.check().problems)
        assert vault.repair_copies(dry_run=True).missing == 1
        healed = vault.repair_copies()
        assert (healed.exit_code, healed.healed, healed.lost) == (0, 1, 0)
        assert site.bare["second"].objects[name] == good
        assert vault.check().problems == ()
        assert vault.verify().sound


def test_a_lost_copy_is_a_problem_until_it_is_repaired(site: Tiered) -> None:
    with site.create() as vault:
        site.backup(vault)
        for pack in site.packs("third"):
            del site.bare["third"].objects[f"data/{pack[:2]}/{pack}"]
        for _ in range(2):
            assert len(vault.check().problems) == 1
        assert not vault.pending().packs
        assert vault.repair_copies().healed == 1
        assert vault.check().problems == ()


def test_a_pack_without_any_sound_copy_is_damage_and_is_left_alone(site: Tiered) -> None:
    with site.create() as vault:
        site.backup(vault)
        (pack,) = site.packs("third")
        name = f"data/{pack[:2]}/{pack}"
        for store in ("second", "third"):
            site.bare[store].objects[name] = site.bare[store].objects[name][:-1]
        repaired = vault.repair_copies()
        assert isinstance(repaired, holdfast.CopyRepair)
        assert (repaired.exit_code, repaired.lost, repaired.healed) == (4, 1, 0)
        with pytest.raises(DamageError):
            placed(vault).sound_copy(name)
        report = vault.verify()
        assert report.exit_code == 4
        assert [pack.class_name for pack in report.damaged] == ["database"]
        # The next backup stores again what the source has.
        site.backup(vault)
        assert site.restored(vault) == site.content()


def test_a_class_whose_policy_changed_moves_off_the_store_it_may_not_lie_on(site: Tiered) -> None:
    with site.create() as vault:
        site.backup(vault)
    site.rules = book(phi=ClassPolicy("phi", ("second", "third"), copies=2))
    site.tiers = Tiers(site.rules, site.tiers.urls)
    with site.open() as vault:
        assert any("where its class may not lie" in problem for problem in vault.check().problems)
        assert vault.repair_copies(dry_run=True).misplaced == 1
        assert vault.migrate().failed == 0
        site.nothing_misplaced()
        assert vault.check().problems == ()
        assert site.restored(vault) == site.content()


def test_a_prune_deletes_every_copy_and_rewrites_nothing_that_lies_cold(site: Tiered) -> None:
    with site.create() as vault:
        first = site.backup(vault).snapshot
        assert first is not None
        site.pass_days(31)
        vault.migrate()
        before = site.packs("cold")
        for folder in ("imaging", "database"):
            for number in range(2):
                site.write(folder, f"f{number}", version=1)
        site.backup(vault)
        vault.forget(snapshots=[first.id], reason="test")
        done = vault.prune(undo_days=0, repack_below=0.9)
        assert (done.phase, done.packs_repacked > 0) == ("closed", True)
        assert site.packs("cold") == before
        assert site.packs("third") == site.packs("second") - site.packs("home") - (
            site.packs("second") - site.packs("third")
        )
        site.nothing_misplaced()
        assert vault.check().problems == ()
        assert vault.verify().sound
        assert site.restored(vault) == site.content()
        site.down.add("third")
        for number in range(3):
            site.write("database", f"f{number}", version=2)
        site.down.clear()
        second = vault.snapshots().latest().id
        site.backup(vault)
        vault.forget(snapshots=[second], reason="test")
        site.down.add("third")
        with pytest.raises(StoreUnreachableError):
            vault.prune(undo_days=0)
        site.down.clear()
        site.pass_days(1)
        assert vault.prune(undo_days=0).phase == "closed"
        assert vault.check().problems == ()
        assert site.restored(vault) == site.content()


def cold_site(site: Tiered) -> None:
    """Make the cold store one whose objects must be thawed."""
    facts = StoreFacts("cold", "cold", thaw_seconds=DAY, read_bytes_per_s=1000, price_per_gib=10.0, price_per_1000=1.0)
    rules = {"cold": facts}
    site.rules = book(rules)
    site.tiers = Tiers(site.rules, site.tiers.urls)
    site.bare["cold"] = MemoryStore("cold", site.env, "cold")


def test_a_restore_from_cold_shows_its_plan_asks_and_restores(site: Tiered, tmp_path: Path) -> None:
    cold_site(site)
    with site.create() as vault:
        site.backup(vault)
        site.pass_days(31)
        assert vault.migrate().failed == 0
        assert site.by_class()["imaging"] == {"cold"}
        snapshot = vault.snapshots().latest()
        plan = snapshot.restore(tmp_path / "out", dry_run=True).plan
        assert isinstance(plan, holdfast.RestorePlan)
        cold = next(store for store in plan.stores if store.store == "cold")
        assert (cold.packs, cold.thaw_packs, cold.thaw_seconds, cold.tier) == (1, 1, DAY, "cold")
        assert cold.cost == pytest.approx(10.0 * cold.bytes / (1 << 30) + 0.001)
        assert cold.seconds == pytest.approx(cold.bytes / 1000)
        assert (plan.seconds, plan.whole_snapshot, plan.missing) == (None, True, 0)
        only = snapshot.restore_plan(include=[f"{site.source}/database"])
        assert (only.thaw_packs, only.whole_snapshot, [store.store for store in only.stores]) == (0, False, ["second"])
        assert snapshot.restore_plan(classes=["public"]).thaw_packs == 0
        with pytest.raises(StoreRefusedError, match="lie cold"):
            snapshot.restore(tmp_path / "out")
        asked = snapshot.thaw(include=[f"{site.source}/imaging"], days=3)
        assert (asked.asked, asked.exit_code, asked.ready_after is not None) == (1, 3, True)
        again = snapshot.thaw()
        assert (again.asked, again.exit_code, again.ready_after) == (0, 0, None)
        assert site.restored(vault) == site.content()


def test_what_a_store_locks_stays_until_the_lock_ends(site: Tiered) -> None:
    cold_site(site)
    locked = {"cold": replace(site.rules.stores["cold"], lock_seconds=40 * DAY)}
    with site.create() as vault:
        site.backup(vault)
        site.pass_days(31)
        placed(vault).book = book(locked)
        vault.migrate()
        placed(vault).book = book(locked, imaging=ClassPolicy("imaging", ("second", "cold")))
        vault.snapshots().latest().thaw()
        kept = vault.migrate()
        assert (kept.retained, kept.deleted, site.by_class()["imaging"]) == (1, 0, {"cold", "second"})
        site.pass_days(41)
        assert vault.migrate().deleted == 1
        assert site.by_class()["imaging"] == {"second"}


def test_a_lock_that_a_store_cannot_keep_is_refused(site: Tiered) -> None:
    site.create().close()
    site.tiers = Tiers(book({"third": StoreFacts("third", lock_seconds=DAY)}), site.tiers.urls)
    with pytest.raises(ConfigError, match="no object lock"):
        site.open()


def test_a_class_keeps_its_snapshots_for_so_long(site: Tiered) -> None:
    site.rules = book(public=ClassPolicy("public", retain_seconds=10 * DAY))
    site.tiers = Tiers(site.rules, site.tiers.urls)
    with site.create() as vault:
        snapshot = site.backup(vault).snapshot
        assert snapshot is not None
        with pytest.raises(RetentionError):
            vault.forget(snapshots=[snapshot.id])
        site.pass_days(11)
        site.backup(vault)
        assert vault.forget(snapshots=[snapshot.id]).forgotten == (snapshot.id,)


def test_due_names_what_was_not_read_back_in_time(site: Tiered) -> None:
    with site.create() as vault:
        site.backup(vault)
        everything = vault.verify(due=True)
        assert everything.packs == everything.packs_total
        assert vault.verify(due=True).packs == 0
        site.pass_days(31)
        assert 0 < vault.verify(due=True).packs == everything.packs_total
        site.down.add("third")
        site.pass_days(31)
        with pytest.raises(StoreUnreachableError):
            vault.verify(due=True)


def test_a_vault_with_one_store_has_nothing_to_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    (tmp_path / "a").write_text("a")
    with holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key") as vault:
        vault.backup([tmp_path / "a"])
        assert vault.pending() is None
        for call in (vault.migrate, vault.migrate_plan, vault.repair_copies):
            with pytest.raises(UsageError, match="one store"):
                call()
        plan = vault.snapshots().latest().restore_plan()
        assert [(store.store, store.tier) for store in plan.stores] == [("home", "hot")]
        assert vault.snapshots().latest().thaw().exit_code == 0
        assert vault.verify(due=True).sound


def test_a_prune_beside_a_migration_leaves_nothing_behind(site: Tiered, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pack that a prune deletes while it is being copied is deleted again; one that is condemned is not copied."""
    with site.create() as vault:
        first = site.backup(vault).snapshot
        assert first is not None
        site.pass_days(31)
        plan = vault.migrate_plan()
        for number in range(3):
            site.write("imaging", f"f{number}", version=1)
        site.backup(vault)
        vault.forget(snapshots=[first.id], reason="test")
        real = apply_step

        def pruned_meanwhile(*arguments: object) -> object:
            assert vault.prune(undo_days=0).packs_deleted > 0
            site.bare["second"].objects.update(before)
            return real(*arguments)  # type: ignore[arg-type]

        before = {
            name: data for name, data in site.bare["second"].objects.items() if sha_of(name) == plan.steps[0].pack
        }
        monkeypatch.setattr("holdfast.runs.migrate.apply_step", pruned_meanwhile)
        vault.migrate(plan)
        assert not site.packs("cold")
        assert plan.steps[0].pack not in site.packs("second")
        monkeypatch.setattr("holdfast.runs.migrate.apply_step", real)
        assert vault.check().problems == ()
        second = vault.snapshots().latest().id
        for number in range(3):
            site.write("imaging", f"f{number}", version=2)
        site.pass_days(31)
        site.backup(vault)
        vault.forget(snapshots=[second], reason="test")
        assert vault.prune(undo_days=7, repack_below=0.0).phase == "waiting"
        condemned = vault.migrate().packs
        assert site.restored(vault) == site.content()
        site.pass_days(8)
        vault.prune(undo_days=7, repack_below=0.0)
        assert vault.check().problems == ()
        assert condemned < 3


def test_a_stop_leaves_everything_whole(site: Tiered) -> None:
    class Stop:
        def is_set(self) -> bool:
            return True

    with site.create() as vault:
        site.down.add("second")
        site.backup(vault)
        site.down.clear()
        site.pass_days(31)
        with pytest.raises(Interrupted):
            vault.migrate(stop=Stop())
        assert vault.pending().packs
        assert site.restored(vault) == site.content()


def test_a_migration_obeys_windows_and_goes_on_in_the_next(site: Tiered) -> None:
    with site.create() as vault:
        site.backup(vault)
        site.pass_days(31)
        now = site.env.now()
        shut = Window("now", "closed", parse_days(["daily"]), now.time(), (now + timedelta(hours=1)).time())
        vault._vault.governor = lambda: GovernorPlan(calendar=Calendar((shut,)))
        with pytest.raises(PausedError):
            vault.migrate()
        assert vault.migrate(dry_run=True).packs == 1
        vault._vault.governor = GovernorPlan
        assert vault.migrate().packs == 1
        assert site.restored(vault) == site.content()


def test_a_store_that_fails_during_a_migration_is_told_and_waited_for_once(site: Tiered) -> None:
    events: list[object] = []
    with site.create() as vault:
        for number in range(3):
            site.write("imaging", f"n{number}")
            site.pass_days(1)
            site.backup(vault)
        site.pass_days(31)

        def full(verb: str, _name: str) -> None:
            if verb == "put" and _name.startswith("data/"):
                calls.append(verb)
                raise StoreFullError("no room (a test's)")

        calls: list[str] = []
        site.wrap(vault, "cold", HookedStore(site.bare["cold"], full))
        result = vault.migrate(events=events.append)
        assert (result.exit_code, result.failed, len(calls)) == (7, 3, 1)
        assert any(isinstance(event, Alert) and event.subject == "cold" for event in events)
        assert site.restored(vault) == site.content()


def test_what_waits_and_cannot_be_read_is_said(site: Tiered) -> None:
    events: list[object] = []
    with site.create() as vault:
        site.down.add("second")
        site.backup(vault)
        (pack,) = (Path(vault.state_dir) / "tiers" / "spool" / "data").rglob("??/*")
        pack.chmod(0o600)
        pack.write_bytes(b"rot" + pack.read_bytes()[3:])
        site.down.clear()
        site.pass_days(1)
        vault.migrate(events=events.append)
        assert any(isinstance(event, Note) and "could not be moved" in event.text for event in events)
        assert not site.packs("cold")


def test_a_scrub_reads_what_it_can(site: Tiered) -> None:
    cold_site(site)
    with site.create() as vault:
        site.backup(vault)
        site.pass_days(100)
        vault.migrate()
        report = vault.verify(due=True)
        assert (report.sound, report.cold, report.packs) == (True, 1, report.packs_total - 1)
        vault.snapshots().latest().thaw()
        report = vault.verify(due=True)
        assert (report.sound, report.cold, report.packs) == (True, 0, 2)
        assert vault.verify(due=True).packs == 1  # of one pack the copy that lies cold was not asked for
        (pack,) = site.packs("cold") & site.packs("second")
        del site.bare["cold"].objects[f"data/{pack[:2]}/{pack}"]
        del site.bare["third"].objects[next(iter(n for n in site.bare["third"].objects if n.startswith("data/")))]
        problems = vault.verify(mark_damaged=False).problems
        assert any("on store cold is damaged or missing; another is whole" in problem for problem in problems)


def test_paths_that_are_many_pieces_are_planned_by_the_whole_snapshot(
    site: Tiered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site.create() as vault:
        site.backup(vault)
        snapshot = vault.snapshots().latest()
        glob = snapshot.restore_plan(include=[f"{site.source}/data*/f?", f"{site.source}/public/**"])
        assert (glob.whole_snapshot, sorted(store.store for store in glob.stores)) == (False, ["home", "second"])
        with pytest.raises(PathMissingError):
            snapshot.restore_plan(include=["/nothing/*"])
        monkeypatch.setattr(reading, "LISTED", frozenset())
        assert snapshot.restore_plan(include=[f"{site.source}/public"]).whole_snapshot
        for name in [name for name in site.bare["home"].objects if name.startswith("data/")]:
            if class_of(site.bare["home"].objects[name]) == "public":
                del site.bare["home"].objects[name]
                placed(vault).placements.drop_copy(sha_of(name), "home")
        assert snapshot.restore_plan().missing == 1


def test_a_drain_can_be_stopped_and_a_lost_reference_set_hides_no_pack(site: Tiered) -> None:
    with site.create() as vault:
        site.down.add("second")
        site.backup(vault)
        site.down.clear()
        site.pass_days(1)
        assert drain(vault._vault, stopped=lambda: True) == 0
        assert drain(vault._vault) == vault.pending().packs + 2
        state = Path(vault.state_dir)
    for name in [name for name in site.bare["home"].objects if name.startswith("refs/")]:
        del site.bare["home"].objects[name]
    shutil.rmtree(state)
    site.pass_days(100)
    with site.open() as vault:
        # Without the sets no pack has a time: nothing is old, nothing moves, and nothing is forgotten about.
        assert {(step.class_name, step.urgency) for step in vault.migrate_plan().steps} <= {("phi", 2)}
        assert {row.class_name for row in placed(vault).placements.rows()} == {"phi", "imaging", "database", "public"}


def test_what_was_asked_for_before_is_not_asked_for_again(site: Tiered) -> None:
    class Slow(MemoryStore):
        def storage_state(self, name: str) -> StorageState:
            found = super().storage_state(name)
            return StorageState(found.storage_class, Readiness.THAWING) if found.readiness is Readiness.COLD else found

    cold_site(site)
    site.bare["cold"] = Slow("cold", site.env, "cold")
    with site.create() as vault:
        site.backup(vault)
        site.pass_days(31)
        vault.migrate()
        asked = vault.snapshots().latest().thaw()
        assert (asked.asked, asked.thawing, asked.exit_code) == (0, 1, 3)


def test_older_copies_of_what_rose_are_reported_until_they_are_erased(site: Tiered) -> None:
    policies = {"phi": ClassPolicy("phi", ("home", "second"), copies=2), "public": ClassPolicy("public", ("third",))}
    site.rules = book(None, **policies)
    site.tiers = Tiers(site.rules, site.tiers.urls)
    with site.create() as vault:
        site.backup(vault)
        assert vault.exposed() == ()
        first = vault.snapshots().latest().id
        rose = site.source / "public" / "f0"
        rose.write_bytes(b"MSH|^~\\&|LAB|H|EHR|H|20260101||ORU^R01|1|P|2.5\rPID|1||1234567||Ash^Elm||19700101|F\r")
        site.pass_days(1)
        site.backup(vault)
        site.pass_days(1)
        site.backup(vault)
        # What lies beside it is raised with it: a folder takes the highest class found in it.
        (found,) = vault.exposed()
        assert (found.source, found.was, found.now, found.stores) == ("ehr", "public", "phi", ("third",))
        assert (found.files >= 1, found.snapshots) == (True, (first,))
        vault.forget(snapshots=[first], reason="test")
        assert vault.exposed() == ()


def test_a_policy_that_asks_for_more_copies_is_for_a_migration_and_its_budget(site: Tiered) -> None:
    """Not for the next backup, which would begin by copying the whole history."""
    with site.create() as vault:
        for number in range(3):
            site.write("database", f"n{number}")
            site.backup(vault)
        rules = book(None, database=ClassPolicy("database", ("second", "third", "home"), copies=3))
        placed(vault).book = rules
        assert (site.backup(vault).exit_code, vault.pending().packs) == (0, 0)
        assert all(class_of(d) != "database" for n, d in site.bare["home"].objects.items() if n.startswith("data/"))
        done = vault.migrate(budget_bytes=1)
        assert (done.copies, done.later, done.copied_bytes > 0) == (1, 2, True)
        assert vault.migrate().copies == 2
        assert vault.check().problems == ()
