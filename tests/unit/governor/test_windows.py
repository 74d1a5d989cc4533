"""Windows by the clock on the wall: peaks, closed hours, maintenance, holidays, midnight, clock changes, contradictions."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from holdfast.errors import ConfigError
from holdfast.governor.budget import Budget
from holdfast.governor.clock import WindowClock
from holdfast.governor.windows import Calendar, Window, parse_days

BERLIN = ZoneInfo("Europe/Berlin")
WORKDAYS = parse_days(["workday"])
DAILY = parse_days(["daily"])


def window(mode="peak", start="07:00", end="18:00", days=WORKDAYS, zone=BERLIN, **more) -> Window:
    return Window(more.pop("name", mode), mode, days, time.fromisoformat(start), time.fromisoformat(end), zone, **more)


def at(text: str, zone=BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


PEAK = window(budget=Budget(read_bytes_per_s=5e6), slowdown_max=0.05)


def test_a_peak_tightens_what_is_usual_and_ends():
    calendar = Calendar((PEAK,), usual=Budget(read_bytes_per_s=9e6, write_bytes_per_s=1e6))
    inside = calendar.at(at("2026-11-23T07:00"))
    assert inside.budget == Budget(read_bytes_per_s=5e6, write_bytes_per_s=1e6)
    assert (inside.closed, inside.slowdown_max, inside.windows) == (False, 0.05, ("peak",))
    for moment in ("2026-11-23T06:59", "2026-11-23T18:00", "2026-11-22T12:00"):
        outside = calendar.at(at(moment))
        assert outside.budget.read_bytes_per_s == 9e6
        assert outside.slowdown_max is None
    assert calendar.next_change(at("2026-11-23T12:00")) == at("2026-11-23T18:00")
    assert calendar.next_change(at("2026-11-20T18:00")) == at("2026-11-23T07:00"), "over a weekend"


def test_a_window_over_midnight_belongs_to_the_day_it_starts_on():
    night = Calendar((window("closed", "22:00", "05:00", parse_days(["fri"])),))
    assert night.at(at("2026-11-27T23:00")).closed
    assert night.at(at("2026-11-28T04:59")).closed, "the night from Friday to Saturday"
    assert not night.at(at("2026-11-27T04:00")).closed, "the night before"
    assert night.next_open(at("2026-11-27T23:00")) == at("2026-11-28T05:00")
    assert night.next_open(at("2026-11-27T12:00")) == at("2026-11-27T12:00")
    whole = Calendar((window("closed", "00:00", "00:00", parse_days(["sat"])),))
    assert whole.at(at("2026-11-28T23:59")).closed
    assert not whole.at(at("2026-11-29T00:00")).closed


def test_closed_goes_before_maintenance_and_maintenance_before_what_is_usual():
    calendar = Calendar(
        (
            window("maintenance", "20:00", "06:00", DAILY, budget=Budget(read_bytes_per_s=1e9)),
            window("closed", "23:00", "23:30", DAILY),
        ),
        usual=Budget(read_bytes_per_s=1e6),
        only_in_maintenance=True,
    )
    assert calendar.at(at("2026-11-23T21:00")).budget.read_bytes_per_s == 1e9
    assert calendar.at(at("2026-11-23T23:10")).closed
    assert calendar.at(at("2026-11-23T12:00")).closed, "outside of maintenance"
    assert calendar.open_seconds(at("2026-11-23T19:00"), at("2026-11-24T07:00")) == 9.5 * 3600
    calendar.check(at("2026-11-23T12:00"))


def test_on_a_holiday_only_windows_for_holidays_hold():
    christmas = frozenset({date(2026, 12, 25)})
    peak = window(holidays=christmas, budget=Budget(cpu_cores=0.5))
    assert Calendar((peak,)).at(at("2026-12-24T12:00")).budget.cpu_cores == 0.5
    assert Calendar((peak,)).at(at("2026-12-25T12:00")).budget.is_unlimited
    closed = window("closed", days=parse_days(["holiday"]), holidays=christmas)
    assert Calendar((closed,)).at(at("2026-12-25T12:00")).closed
    assert not Calendar((closed,)).at(at("2026-12-24T12:00")).closed


def test_an_hour_that_does_not_exist_has_no_window_and_one_that_comes_twice_has_it_twice():
    night = window("closed", "02:00", "03:00", DAILY)
    calendar = Calendar((night,))
    spring = datetime(2026, 3, 29, 0, tzinfo=UTC)
    assert not any(calendar.at(spring + timedelta(minutes=minute)).closed for minute in range(180))
    autumn = datetime(2026, 10, 25, 0, tzinfo=UTC)
    assert sum(calendar.at(autumn + timedelta(minutes=minute)).closed for minute in range(240)) == 120
    assert calendar.open_seconds(autumn, autumn + timedelta(hours=4)) == 2 * 3600
    # A window around the change is as long as the clock on the wall says, and begins and ends by it.
    long = Calendar((window("closed", "22:00", "06:00", DAILY),))
    assert long.next_open(at("2026-03-28T22:30")) == at("2026-03-29T06:00")
    assert at("2026-03-29T06:00") - at("2026-03-28T22:00") == timedelta(hours=7)


def test_time_zones_differ():
    new_york = window("closed", zone=ZoneInfo("America/New_York"))
    assert Calendar((new_york,)).at(datetime(2026, 11, 23, 13, tzinfo=UTC)).closed
    assert (
        not Calendar((window("closed", zone=ZoneInfo("UTC"), start="07:00", end="12:00"),))
        .at(datetime(2026, 11, 23, 13, tzinfo=UTC))
        .closed
    )


@pytest.mark.parametrize(
    ("calendar", "text"),
    [
        (Calendar((window("closed", "00:00", "00:00", DAILY),)), "no time in which anything may run"),
        (Calendar(only_in_maintenance=True), "no time in which anything may run"),
        (Calendar(usual=Budget(read_bytes_per_s=0)), "usual budget is zero"),
        (
            Calendar((window("maintenance", "01:00", "02:00", name="n"), window("closed", "00:00", "06:00"))),
            "maintenance window n lies wholly in closed hours",
        ),
        (
            Calendar((window("maintenance", "01:00", "02:00", name="n", budget=Budget(cpu_cores=0)),)),
            "maintenance window n has a budget of zero",
        ),
    ],
)
def test_what_contradicts_itself_is_said_all_at_once(calendar, text):
    with pytest.raises(ConfigError) as caught:
        calendar.check(at("2026-11-23T12:00"))
    assert text in str(caught.value)


def test_windows_that_make_sense_pass():
    Calendar().check(at("2026-11-23T12:00"))
    Calendar((PEAK,)).check(at("2026-11-23T12:00"))
    assert Calendar().next_change(at("2026-11-23T12:00")) is None
    assert Calendar((window("closed", "00:00", "00:00", DAILY),)).next_open(at("2026-11-23T12:00")) is None
    with pytest.raises(ValueError, match="funday is no day"):
        parse_days(["funday"])


def test_a_budget_of_zero_closes_a_window():
    calendar = Calendar((window(budget=Budget(write_bytes_per_s=0)),))
    assert calendar.at(at("2026-11-23T12:00")).closed
    assert not calendar.at(at("2026-11-23T20:00")).closed


def test_after_a_step_of_the_clock_the_stricter_time_holds_for_ten_minutes():
    calendar = Calendar((window("closed", "07:00", "18:00", DAILY, ZoneInfo("UTC")),))
    start = datetime(2026, 11, 23, 6, tzinfo=UTC)
    clock = WindowClock(calendar, start, 0)
    assert not clock.at(start + timedelta(seconds=10), 10)[0].closed
    # Two hours forward: the new time is in the closed hours.
    standing, was_set = clock.at(start + timedelta(hours=2), 20)
    assert (standing.closed, was_set) == (True, True)
    # And back again out of them: the time that should be is still open, and both are.
    standing, was_set = clock.at(start + timedelta(seconds=30), 30)
    assert (standing.closed, was_set) == (False, False)
    # From closed hours back to before them: where it should be is closed, which holds.
    inside = WindowClock(calendar, start + timedelta(hours=2), 0)
    standing, was_set = inside.at(start, 10)
    assert (standing.closed, was_set) == (True, True)
    assert inside.at(start + timedelta(seconds=590), 600)[0].closed
    inside.at(start + timedelta(seconds=605), 615)
    assert not inside.at(start + timedelta(seconds=610), 620)[0].closed, "after ten minutes the new time is believed"
