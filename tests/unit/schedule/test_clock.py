"""A clock that was ahead and is set right: every entry goes on, also those that follow others; what does not start is seen."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from holdfast.base.calendar import IntervalSlots, Window, zone_of
from holdfast.reliability.objectives import endangered
from holdfast.runs.monitoring.gather import start_facts
from holdfast.runs.schedule.records import Entry, Outcome, RunState
from unit.schedule.fakes import GOOD, NEVER, Service
from unit.schedule.test_scheduler import DAY, START, daily, hourly

AHEAD = [timedelta(hours=1), DAY, 400 * DAY]
UTC_ZONE = zone_of("UTC")


def follower(name: str, *after: str, **more) -> Entry:
    return Entry(name, "forget", after=after, zone=UTC_ZONE, **more)


def step_by(service: Service, by: timedelta) -> None:
    """Set the clock: a step moves wall time and not the monotonic one."""
    service.clock._now += by
    service.scheduler.step()


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("by", AHEAD, ids=str)
def test_what_follows_others_goes_on_after_a_clock_that_was_ahead(by, restarted):
    service = Service(daily(), follower("thin", "ehr"), start=START)
    service.until(START + 2 * DAY)
    step_by(service, by)
    service.until(service.clock.now() + timedelta(hours=30))
    step_by(service, -by)
    if restarted:
        service.restart()
    before = Counter(name for name, _, _ in service.launcher.started)
    service.until(service.clock.now() + 30 * DAY)
    after = Counter(name for name, _, _ in service.launcher.started)
    assert after["ehr"] - before["ehr"] >= 28
    assert after["thin"] - before["thin"] >= 28
    for name in ("ehr", "thin"):
        assert max(Counter(service.slots(name)).values()) == 1
    assert not start_facts(service.entries, service.book, service.clock.now())


@pytest.mark.parametrize("restarted", [False, True])
def test_a_hundred_runs_of_a_time_to_come_hide_no_run_of_today(restarted):
    service = Service(hourly("v"), start=START)
    service.until(START + DAY)
    step_by(service, 400 * DAY)
    service.until(service.clock.now() + 5 * DAY + timedelta(minutes=30))
    assert not service.scheduler.running
    step_by(service, -400 * DAY)
    if restarted:
        service.restart()
    before = len(service.slots("v"))
    service.until(service.clock.now() + 4 * DAY)
    assert len(service.slots("v")) - before in (96, 97)
    assert max(Counter(service.slots("v")).values()) == 1
    assert service.book.newest()["v"].slot <= service.clock.now()


def test_what_follows_several_runs_though_one_of_them_ended_at_a_time_to_come():
    weekly = Entry("weekly", "verify", slots=IntervalSlots(7 * 86400))
    service = Service(daily(), weekly, follower("thin", "ehr", "weekly"), start=START, minutes=60, concurrent=9)
    service.until(START + 8 * DAY)
    service.until(service.clock.now() + timedelta(days=2, hours=12))
    assert service.slots("weekly")
    slot = service.slots("weekly")[-1]
    with service.book._change() as db:
        db.execute("UPDATE run SET ended = '2028-01-01T00:00:00.000000Z' WHERE name = 'weekly'")
        db.execute("UPDATE run SET slot = '2028-' || substr(slot, 6) WHERE name = 'thin'")
    service.restart()
    before = len(service.slots("thin"))
    service.until(service.clock.now() + 2 * DAY)
    assert len(service.slots("thin")) > before
    assert slot <= service.clock.now()


def test_what_follows_others_and_does_not_start_is_seen():
    entries = (daily(), follower("thin", "ehr"), follower("late", "ehr", windows=(Window.parse("22:00-23:00"),)))
    service = Service(*entries, start=START)
    service.until(START + DAY)
    service.launcher.outcome = lambda _entry, _record: GOOD
    with service.book._change() as db:
        db.execute("DELETE FROM run WHERE name IN ('thin', 'late')")
    now = service.clock.now() + timedelta(hours=1)
    found = endangered(start_facts(entries, service.book, now), now)
    assert [(alert.code, alert.subject) for alert in found] == [("run-missing", "thin"), ("run-missing", "late")]
    early = START + timedelta(hours=12)
    found = endangered(start_facts(entries, service.book, early), early)
    assert [alert.subject for alert in found] == ["thin"], "the other one waits for its window"


@pytest.mark.parametrize("outcome", [NEVER, Outcome(3, incomplete=True)])
def test_what_waits_for_a_run_that_failed_or_is_not_over_is_not_missing(outcome):
    entries = (daily(retry_seconds=7200), follower("thin", "ehr"))
    service = Service(*entries, start=START)
    service.launcher.outcome = lambda _entry, _record: outcome
    service.until(START + timedelta(hours=4, minutes=10))
    assert service.book.newest()["ehr"].state in (RunState.FAILED, RunState.WAITING)
    with service.book._change() as db:
        db.execute("DELETE FROM run WHERE name = 'thin'")
    assert not start_facts(entries, service.book, service.clock.now() + timedelta(hours=1))
