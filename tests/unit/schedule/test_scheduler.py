"""One run per slot, whatever happens: restarts at every step, downtime, clock jumps, clock changes, failures, dependencies."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.base.calendar import CronSlots, IntervalSlots, Window, zone_of
from holdfast.errors import Retry, RunLostError
from holdfast.runs.schedule.decide import after_attempt, decide, jitter
from holdfast.runs.schedule.launch import outcome_of_error
from holdfast.runs.schedule.records import Entry, Outcome, RunRecord, RunState
from holdfast.runs.schedule.scheduler import alert_of
from unit.schedule.fakes import GOOD, LATER, NEVER, Service

BERLIN = zone_of("Europe/Berlin")
START = datetime(2026, 11, 23, tzinfo=UTC)
DAY = timedelta(days=1)


def daily(name: str = "ehr", cron: str = "30 2 * * *", **more) -> Entry:
    zone = more.pop("zone", zone_of("UTC"))
    return Entry(name, "backup", name, slots=CronSlots.parse(cron, zone, more.get("windows", ())), zone=zone, **more)


def hourly(name: str, **more) -> Entry:
    return Entry(name, "verify", slots=IntervalSlots(3600), **more)


def test_a_daily_job_starts_once_a_day():
    service = Service(daily(), start=START)
    service.until(START + 7 * DAY)
    assert service.slots("ehr") == [START + day * DAY + timedelta(hours=2, minutes=30) for day in range(7)]
    assert service.book.counts("ehr") == (7, 0, 7)
    assert service.book.last_good("ehr") == START + 6 * DAY + timedelta(hours=2, minutes=40)
    assert {state for _, _, state in service.ends} == {"done"}


def test_a_slot_outside_of_the_windows_starts_when_they_open_though_nothing_is_made_up_for():
    windows = (Window.parse("10:00-11:00"),)
    entry = Entry("v", "verify", slots=IntervalSlots(86400), windows=windows, zone=zone_of("UTC"), catch_up=False)
    service = Service(entry, start=START)
    service.until(START + 7 * DAY)
    assert [began.hour for _, _, began in service.launcher.started] == [10] * 6


@given(
    moment=st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 1)).map(lambda moment: moment.replace(tzinfo=UTC)),  # noqa: DTZ001
    every=st.integers(1, 7),
    cron=st.sampled_from(["30 2 * * *", "15 */4 * * *", "0 3 * * sun"]),
    minutes=st.sampled_from([0.5, 30.0, 90.0]),
)
@settings(max_examples=8)
def test_one_run_per_slot_with_restarts_at_every_step(moment, every, cron, minutes):
    entry = daily(cron=cron, zone=BERLIN, jitter_seconds=600.0)
    service = Service(entry, hourly("v"), start=moment, minutes=minutes, concurrent=1)
    service.until(moment + 2 * DAY, restart_every=every)
    for name in ("ehr", "v"):
        assert max(Counter(service.slots(name)).values(), default=1) == 1
    assert service.most <= 1
    for _, slot, began in service.launcher.started:
        assert began >= slot


@given(
    jumps=st.lists(st.tuples(st.integers(1, 40), st.integers(-100, 100)), min_size=1, max_size=6),
    seed=st.integers(0, 9),
)
@settings(max_examples=40)
def test_no_slot_runs_twice_and_runs_go_on_whatever_the_clock_does(jumps, seed):
    service = Service(daily(jitter_seconds=float(seed * 60)), start=START)
    for hours, jump in jumps:
        service.until(service.clock.now() + timedelta(hours=hours))
        # A step of the clock moves wall time and not the monotonic one.
        service.clock._now += timedelta(hours=jump)
        service.scheduler.step()
    assert max(Counter(service.slots("ehr")).values(), default=1) == 1
    seen = len(service.launcher.started)
    service.until(
        service.clock.now()
        + timedelta(hours=30)
        + timedelta(hours=abs(min(0, *(jump for _, jump in jumps)))) * len(jumps)
    )
    assert len(service.launcher.started) > seen, "the clock's jumps keep nothing from starting"


@pytest.mark.parametrize("day", ["2026-03-28", "2026-10-24"])
def test_the_clocks_of_summer_neither_skip_nor_double_a_run(day):
    start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    service = Service(daily(zone=BERLIN), hourly("v"), start=start, minutes=1, concurrent=9)
    service.until(start + 3 * DAY)
    assert len({slot.astimezone(BERLIN).date() for slot in service.slots("ehr")}) == len(service.slots("ehr")) == 3
    assert len(service.slots("v")) == 72


def test_after_downtime_the_newest_slot_is_made_up_for_once():
    service = Service(daily(), daily("late", catch_up=False), start=START)
    service.until(START + DAY)
    service.clock.advance(5 * DAY - timedelta(hours=12))
    service.restart()
    service.until(START + 6 * DAY)
    assert [slot.day for slot in service.slots("ehr")] == [23, 28]
    assert service.slots("late") == service.slots("ehr")[:1]
    assert [record.state for record in service.book.runs("late", 1)] == [RunState.SKIPPED]
    service.until(START + 7 * DAY)
    assert [slot.day for slot in service.slots("late")] == [23, 29]


def test_what_may_succeed_later_is_tried_again_and_then_given_up():
    service = Service(daily(attempts=3, retry_seconds=600), start=START)
    service.launcher.outcome = lambda _entry, _record: LATER
    service.until(START + DAY)
    times = [began for _, _, began in service.launcher.started]
    assert [later - earlier for earlier, later in pairwise(times)] == [
        timedelta(minutes=20), timedelta(minutes=30),
    ]  # fmt: skip
    assert [state for _, _, state in service.ends] == ["waiting", "waiting", "failed"]
    record = service.book.runs("ehr")[0]
    assert (record.attempt, record.code, record.state) == (3, "store-unreachable", RunState.FAILED)
    service.launcher.outcome = lambda _entry, record: LATER if record.attempt == 1 else GOOD
    service.until(START + 2 * DAY)
    assert service.book.counts("ehr") == (1, 1, 5)


def test_what_could_not_be_read_is_looked_at_once_more():
    service = Service(daily(), start=START)
    service.launcher.outcome = lambda _entry, record: Outcome(3, incomplete=record.attempt == 1)
    service.until(START + DAY)
    assert [state for _, _, state in service.ends] == ["waiting", "done"]
    service.launcher.outcome = lambda _entry, _record: Outcome(3, incomplete=True)
    service.until(START + 2 * DAY)
    assert [state for _, _, state in service.ends[2:]] == ["waiting", "done"]


def test_what_cannot_succeed_later_is_not_tried_again():
    service = Service(daily(), start=START)
    service.launcher.outcome = lambda _entry, _record: NEVER
    service.until(START + DAY)
    assert [state for _, _, state in service.ends] == ["failed"]


def test_entries_follow_each_other():
    entries = (
        Entry("verify", "verify", after=("ehr", "pacs")),
        daily("prune", after=("ehr",)),
        daily("ehr"),
        daily("pacs", "0 3 * * *"),
    )
    service = Service(*entries, start=START, minutes=60, concurrent=9)
    service.until(START + DAY)
    starts = {name: began for name, _, began in service.launcher.started}
    assert starts["prune"] == starts["ehr"] + timedelta(hours=1)
    assert starts["verify"] == starts["pacs"] + timedelta(hours=1)
    service.launcher.outcome = lambda entry, _record: NEVER if entry and entry.name == "ehr" else GOOD
    service.until(START + 2 * DAY)
    assert len(service.slots("verify")) == len(service.slots("prune")) == 1
    states = {record.name: (record.state, record.what) for record in service.book.newest().values()}
    assert states["prune"] == (RunState.SKIPPED, "what it waits for failed")
    service.launcher.outcome = lambda _entry, _record: GOOD
    service.until(START + 3 * DAY)
    assert len(service.slots("verify")) == len(service.slots("prune")) == 2


def test_an_entry_waits_for_what_it_follows():
    entry = daily(after=("other",))
    decision = decide(entry, {}, {}, START + timedelta(hours=3), START)
    assert (decision.action, decision.reason) == ("wait", "waits for other")


def test_limits_and_groups_are_kept():
    many = [daily(f"job-{number}") for number in range(12)]
    service = Service(*many, start=START, minutes=30, concurrent=3)
    service.until(START + DAY)
    assert service.most == 3
    assert len(service.launcher.started) == 12
    grouped = Service(*(replace(entry, group="tape") for entry in many), start=START, minutes=30, concurrent=9)
    grouped.until(START + DAY)
    assert grouped.most == 1
    assert len(grouped.launcher.started) == 12


def test_a_run_stays_in_its_window():
    window = (Window.parse("22:00-04:00"),)
    entry = hourly("v", windows=window, stop_at_window_end=True)
    service = Service(entry, start=START + timedelta(hours=2, minutes=30), minutes=600)
    service.launcher.outcome = lambda _entry, _record: Outcome(143, "interrupted", "x", retry=Retry.LATER)
    service.until(START + timedelta(hours=23))
    assert service.launcher.stopped == [("v", False)]
    assert [began.hour for _, _, began in service.launcher.started] == [3, 22]
    (record,) = service.book.runs("v")
    assert record.slot == START + timedelta(hours=3)
    assert (record.state, record.attempt) == (RunState.RUNNING, 1), "a stop by the window costs no attempt"


def test_a_run_that_takes_too_long_is_stopped():
    service = Service(daily(run_seconds_max=3600, attempts=1), start=START, minutes=6000)
    service.until(START + timedelta(hours=5))
    assert service.launcher.stopped == [("ehr", True)]
    # The clock being set forward is not a run taking long.
    other = Service(daily(run_seconds_max=7200), start=START, minutes=60)
    other.until(START + timedelta(hours=3))
    other.clock._now += timedelta(days=3)
    other.scheduler.step()
    assert not other.launcher.stopped


def test_what_is_asked_for_starts_now():
    service = Service(daily(), daily("pacs"), start=START)
    service.until(START + timedelta(hours=1))
    slot = service.book.ask("ehr")
    service.book.ask("gone")
    assert set(service.book.asked()) == {"ehr", "gone"}
    service.until(START + timedelta(hours=1, minutes=5))
    assert service.slots("ehr") == [slot]
    assert not service.book.asked()
    service.book.ask("ehr")
    service.scheduler.step()
    assert not service.book.asked(), "it is under way already"
    service.until(START + timedelta(hours=2))
    service.launcher.outcome = lambda _entry, _record: LATER
    service.until(START + timedelta(hours=2, minutes=42))
    assert service.book.runs("ehr")[0].state is RunState.WAITING
    service.book.ask("ehr")
    service.scheduler.step()
    assert len(set(service.slots("ehr"))) == 2, "the run that waits goes on at once"
    full = Service(daily(), daily("pacs"), start=START, concurrent=1)
    full.until(START + timedelta(hours=2, minutes=31))
    full.book.ask("pacs" if full.slots("ehr") else "ehr")
    full.scheduler.step()
    assert full.most == 1


def test_a_run_that_cannot_start_is_tried_again():
    service = Service(daily(), start=START)
    service.launcher.busy = True
    service.until(START + timedelta(hours=2, minutes=31))
    assert service.ends[0][1].code == "schedule-busy"
    service.launcher.busy = False
    service.until(START + DAY)
    assert service.ends[-1][2] == "done"

    def refuse(_entry, _record):
        raise PermissionError

    service.launcher.start = refuse
    service.until(START + DAY + timedelta(hours=2, minutes=31))
    assert service.ends[-1][1].code == "run-not-started"


def test_runs_of_entries_that_are_gone_are_watched_to_their_end():
    service = Service(daily(), start=START, minutes=60)
    service.until(START + timedelta(hours=3))
    service.entries = ()
    service.restart()
    service.until(START + timedelta(hours=5))
    assert service.ends[-1][0] == "ehr"
    assert service.book.running() == ()
    service.scheduler.stop_all()


def test_a_start_that_another_process_made_is_not_made_again():
    service = Service(daily(), start=START)
    service.until(START + timedelta(hours=1))
    service.book.begin("ehr", START + timedelta(hours=2, minutes=30))
    service.until(START + timedelta(hours=3))
    assert not service.launcher.started
    assert service.scheduler.step(start=False) > service.clock.now()


def test_nothing_before_the_first_look_is_due():
    service = Service(daily(), start=START + timedelta(hours=12))
    service.until(START + timedelta(hours=20))
    assert not service.launcher.started


def test_the_alerts_that_an_end_is_worth():
    entry = daily()
    assert alert_of(entry, LATER, RunState.WAITING) is None
    assert alert_of(entry, GOOD, RunState.DONE) is None
    assert alert_of(entry, Outcome(3), RunState.DONE) is None, "files come and go"
    partial = alert_of(entry, Outcome(3, incomplete=True), RunState.DONE)
    assert partial is not None
    assert (partial.code, partial.subject, partial.retry) == ("run-partial", "ehr", Retry.NEVER)
    failed = alert_of(entry, LATER, RunState.FAILED)
    assert failed is not None
    assert (failed.code, failed.retry) == ("store-unreachable", Retry.EXHAUSTED)
    never = alert_of(entry, NEVER, RunState.FAILED)
    assert never is not None
    assert (never.code, never.retry, never.next) == ("store-full", Retry.NEVER, "make room.")


def test_waits_grow_and_are_bounded():
    entry = daily(attempts=50, retry_seconds=600)
    record = RunRecord("ehr", START, RunState.RUNNING, 1, START, None, None, None, "", "")
    lost = outcome_of_error(RunLostError("x"))
    waits = []
    for attempt in (1, 2, 3, 20):
        state, next_at = after_attempt(entry, replace(record, attempt=attempt), lost, START)
        assert state is RunState.WAITING
        assert next_at is not None
        waits.append((next_at - START).total_seconds())
    assert waits == [600, 1200, 2400, 21600]
    assert after_attempt(entry, replace(record, attempt=50), lost, START) == (RunState.FAILED, None)


def test_jitter_is_the_same_after_a_restart_and_differs_between_hosts_jobs():
    entries = [daily(f"job-{number}", jitter_seconds=600) for number in range(50)]
    delays = [jitter(entry, START) for entry in entries]
    assert delays == [jitter(entry, START) for entry in entries]
    assert len(set(delays)) == 50
    assert all(timedelta(0) <= delay < timedelta(seconds=600) for delay in delays)
    decision = decide(entries[0], {}, {}, START + timedelta(hours=2, minutes=30), START)
    assert decision.action == "wait"
    assert decision.reason == "jitter"


def test_a_wait_that_a_clock_jump_left_behind_is_not_waited_for():
    waiting = RunRecord("ehr", START, RunState.WAITING, 1, START, START, START + 30 * DAY, 7, "x", "y")
    assert decide(daily(), {START: waiting}, {}, START, START).action == "start"
    soon = replace(waiting, next_at=START + timedelta(minutes=5))
    assert decide(daily(), {START: soon}, {}, START, START).until == soon.next_at
    closed = daily(windows=(Window.parse("22:00-23:00"),), cron="0 22 * * *")
    assert decide(closed, {START: replace(soon, next_at=None)}, {}, START, START).reason == "outside of its windows"
