"""Objectives in danger are foreseen: before they are missed, with closed hours counted in."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from holdfast.governor.budget import Budget
from holdfast.governor.deadline import Objective, alert_of, prospect
from holdfast.governor.suggest import suggest
from holdfast.governor.windows import Calendar, Window, parse_days

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAILY = parse_days(["daily"])
NIGHT_ONLY = Calendar((Window("day", "closed", DAILY, time(6), time(22), ZoneInfo("UTC")),))


def objective(hours_left: float) -> Objective:
    return Objective(timedelta(hours=4), NOW - timedelta(hours=4 - hours_left), 0.25)


def seen(hours_left, done, total, seconds, calendar=Calendar()):  # noqa: B008 - frozen
    return prospect(objective(hours_left), NOW, done_bytes=done, total_bytes=total, seconds=seconds, calendar=calendar)


def test_a_run_that_will_be_done_in_time_is_in_no_danger():
    found = seen(2, 50, 100, 600)
    assert not found.in_danger
    assert found.done == NOW + timedelta(seconds=600)
    assert found.due == NOW + timedelta(hours=2)
    assert found.urgency == pytest.approx(600 / (7200 * 0.8))


def test_a_run_that_will_be_late_is_in_danger_before_it_is_late():
    found = seen(2, 10, 100, 1800)
    assert found.in_danger
    alert = alert_of("ehr", found, NOW)
    assert (alert.code, alert.subject) == ("rpo-danger", "ehr")
    assert "after its objective is missed" in alert.text
    tight = seen(2, 50, 100, 6500)
    assert tight.in_danger
    assert "hardly be done in the 2 h 0 min" in alert_of("ehr", tight, NOW).text


def test_closed_hours_count():
    assert not seen(12, 50, 100, 3600).in_danger
    # Closed until 22:00, due at midnight: two hours are left for two hours of work.
    found = seen(12, 50, 100, 7200, NIGHT_ONLY)
    assert found.in_danger
    assert found.done == datetime(2026, 11, 24, 0, tzinfo=UTC)
    # Eight open hours a night: ten hours of work end in the second night.
    late = seen(12, 50, 100, 36000, NIGHT_ONLY)
    assert late.done == datetime(2026, 11, 25, 0, tzinfo=UTC)


def test_windows_that_change_for_ever_and_never_close_come_to_an_end():
    peaks = tuple(
        Window(
            f"{hour}",
            "peak",
            DAILY,
            time(hour),
            time(hour + 1),
            ZoneInfo("Europe/Berlin"),
            Budget(cpu_cores=hour + 1.0),
        )
        for hour in range(23)
    )
    assert seen(2, 1, 100, 36_000, Calendar(peaks)).done == NOW + timedelta(seconds=99 * 36_000)


def test_windows_that_never_open_leave_no_time():
    shut = Calendar((Window("all", "closed", DAILY, time(0), time(0), ZoneInfo("UTC")),))
    found = seen(2, 50, 100, 600, shut)
    assert found.in_danger
    assert found.done is None
    assert "windows and budgets do not let the run finish" in alert_of("ehr", found, NOW).text


@pytest.mark.parametrize(("done", "total", "seconds"), [(0, 100, 600), (50, None, 600), (50, 100, 1)])
def test_what_is_not_known_yet_is_no_danger(done, total, seconds):
    found = seen(2, done, total, seconds)
    assert not found.in_danger
    assert found.done is None


def test_an_objective_that_is_missed_already_is_the_greatest_danger():
    missed = Objective(timedelta(hours=4), NOW - timedelta(hours=5), 0.25)
    found = prospect(missed, NOW, done_bytes=1, total_bytes=2, seconds=9, calendar=Calendar())
    assert found.in_danger
    assert "older than its objective allows" in alert_of("ehr", found, NOW).text


def test_quiet_hours_are_suggested_for_maintenance_and_busy_ones_as_peaks():
    hours = {hour: 5.0 if 8 <= hour % 24 < 17 and hour < 120 else 1.0 for hour in range(168)}
    found = suggest([hours])
    peaks = [each for each in found if each.mode == "peak"]
    assert [(each.day, each.start_hour, each.hours) for each in peaks] == [
        (day, 8, 9) for day in ("mon", "tue", "wed", "thu", "fri")
    ]
    assert {each.load for each in peaks} == {5.0}
    quiet = [each for each in found if each.mode == "maintenance"]
    assert sum(each.hours for each in quiet) == 168 - 45
    assert ("fri", 17, 24) in [(each.day, each.start_hour, each.hours) for each in quiet]
    assert all(each.hours <= 24 for each in quiet)


def test_too_little_is_known_to_suggest_anything():
    assert suggest([]) == ()
    assert suggest([dict.fromkeys(range(10), 1.0)]) == ()
    assert suggest([dict.fromkeys(range(168), 0.0)]) == ()
    every = suggest([dict.fromkeys(range(168), 1.0)])
    assert [(each.mode, each.hours) for each in every] == [("maintenance", 24)] * 7
