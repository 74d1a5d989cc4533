"""Windows, cron and interval slots: on the wall clock of their zone, through the clock changes of a year, forwards and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.base.calendar import CronSlots, IntervalSlots, Window, in_windows, next_opening, zone_of

BERLIN = zone_of("Europe/Berlin")
ZONES = [
    zone_of(name) for name in ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
]
CRONS = ["30 2 * * *", "*/15 * * * *", "0 3 * * sun", "15,45 1-3 * * *", "0 0 1 * *", "0 */6 * * *", "59 23 L * *"]
MOMENTS = st.integers(1_735_689_600, 1_830_297_600).map(lambda second: datetime.fromtimestamp(second, UTC))


@pytest.mark.parametrize(
    "text", ["", "22-06", "25:00-01:00", "24:00-01:00", "10:70-11:00", "Foo 10:00-11:00", "Mon-Xxx 1:00-2:00"]
)
def test_what_is_no_window_is_refused(text):
    with pytest.raises(ValueError, match="not a window"):
        Window.parse(text)


@pytest.mark.parametrize(
    ("text", "within", "without"),
    [
        ("22:00-06:00", ("2026-11-23 22:00", "2026-11-24 05:59"), ("2026-11-23 21:59", "2026-11-24 06:00")),
        ("Mon-Fri 22:00-06:00", ("2026-11-27 23:00", "2026-11-28 05:00"), ("2026-11-28 23:00", "2026-11-23 05:00")),
        ("Sat,Sun 00:00-24:00", ("2026-11-28 00:00", "2026-11-29 23:59"), ("2026-11-30 00:00",)),
        ("Fri-Mon 08:00-08:00", ("2026-11-27 08:00", "2026-11-24 07:59"), ("2026-11-27 07:59", "2026-11-24 08:00")),
        ("12:00-13:00", ("2026-11-23 12:30",), ("2026-11-23 13:00",)),
    ],
)
def test_a_window_holds_its_hours(text, within, without):
    window = Window.parse(text)
    for moments, expected in ((within, True), (without, False)):
        for moment in moments:
            local = datetime.fromisoformat(moment).replace(tzinfo=UTC)
            assert window.contains(local) is expected, moment
            assert (local.weekday() * 1440 + local.hour * 60 + local.minute in window.minutes()) is expected, moment


def test_zones_and_openings():
    with pytest.raises(ValueError, match="not a time zone"):
        zone_of("Europe/Nowhere")
    with pytest.raises(ValueError, match="not a time zone"):
        zone_of("../etc/passwd")
    moment = datetime(2026, 11, 23, 12, tzinfo=UTC)
    windows = (Window.parse("22:00-06:00"),)
    assert in_windows((), moment, BERLIN)
    assert next_opening((), moment, BERLIN) == moment
    assert next_opening(windows, moment, BERLIN) == datetime(2026, 11, 23, 21, tzinfo=UTC)
    assert not in_windows(windows, moment, BERLIN)


@pytest.mark.parametrize("text", ["", "* * * *", "* * * * * *", "61 * * * *", "a b c d e", "0 0 31 2 *"])
def test_what_is_no_cron_expression_is_refused(text):
    with pytest.raises(ValueError, match="not a cron expression"):
        CronSlots.parse(text, BERLIN)


def test_a_daily_job_runs_once_a_day_whatever_the_clocks_do():
    slots = CronSlots.parse("30 2 * * *", BERLIN)
    moment, found = datetime(2026, 1, 1, tzinfo=UTC), []
    while moment.year == 2026:
        following = slots.after(moment)
        assert following is not None
        moment = following
        found.append(moment.astimezone(BERLIN))
    days = [slot.date() for slot in found if slot.year == 2026]
    assert len(days) == len(set(days)) == 365
    odd = [slot for slot in found if (slot.hour, slot.minute) != (2, 30)]
    assert [str(slot) for slot in odd] == ["2026-03-29 03:00:00+02:00"]


@given(moment=MOMENTS, zone=st.sampled_from(ZONES), cron=st.sampled_from(CRONS))
@example(moment=datetime(2026, 10, 25, 1, 15, tzinfo=UTC), zone=BERLIN, cron="30 2 * * *")
@example(moment=datetime(2026, 3, 29, 1, 0, tzinfo=UTC), zone=BERLIN, cron="30 2 * * *")
def test_newest_and_next_slot_agree(moment, zone, cron):
    moment = moment.replace(microsecond=0)
    slots = CronSlots.parse(cron, zone)
    newest, following = slots.newest(moment), slots.after(moment)
    assert newest is not None
    assert following is not None
    assert newest <= moment < following
    assert slots.after(newest) == following
    assert slots.newest(following) == following


@given(moment=MOMENTS, seconds=st.integers(60, 10**6))
def test_intervals_are_the_same_after_every_restart(moment, seconds):
    slots = IntervalSlots(seconds)
    newest, following = slots.newest(moment), slots.after(moment)
    assert newest is not None
    assert following is not None
    assert newest <= moment < following == newest + timedelta(seconds=seconds)
    assert newest.timestamp() % seconds == 0


def test_only_slots_in_the_windows_count():
    slots = CronSlots.parse("0 * * * *", BERLIN, (Window.parse("Sun 03:00-05:00"),))
    following = slots.after(datetime(2026, 11, 23, tzinfo=UTC))
    assert following is not None
    assert following.astimezone(BERLIN).isoformat() == "2026-11-29T03:00:00+01:00"
    never = CronSlots.parse("0 12 * * *", BERLIN, (Window.parse("03:00-05:00"),))
    assert never.after(datetime(2026, 11, 23, tzinfo=UTC)) is None
    assert never.newest(datetime(2026, 11, 23, tzinfo=UTC)) is None
