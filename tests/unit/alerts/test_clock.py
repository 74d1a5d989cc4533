"""A clock that was ahead, or behind, and is set right, silences nothing: what it wrote of a time to come counts as now."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import Alert
from holdfast.errors import ChannelError, Retry, Safety
from holdfast.reliability.alerts import AlertBook, AlertState
from holdfast.reliability.alerts.messages import reference
from unit.alerts.test_desk import DAMAGE, RISK, Site

AHEAD = [timedelta(hours=1), timedelta(hours=2), timedelta(days=1), timedelta(days=400)]
ROUND = timedelta(minutes=5)
SILENT_MAX = timedelta(hours=1) + 2 * ROUND
"""The longest repeat of a level, and what a round is late."""
ACKNOWLEDGED = timedelta(days=1)


@pytest.fixture(params=AHEAD, ids=str)
def ahead(request) -> Iterator[tuple[Site, timedelta]]:
    """A site whose clock is ahead."""
    site = Site()
    site.clock._now += request.param
    yield site, request.param
    site.book.close()


def told_of(site: Site, code: str) -> list[str]:
    return [name for name, channel in site.channels.items() for message in channel.messages if code in message.codes]


def rounds(site: Site, lasting: timedelta) -> None:
    for _ in range(lasting // ROUND):
        site.clock.advance(ROUND)
        site.desk.round()


def test_what_was_reported_ahead_is_told(ahead):
    site, by = ahead
    site.book.report(RISK)
    site.clock._now -= by
    site.desk.round()
    assert len(told_of(site, RISK.code)) == 2


def test_what_was_told_ahead_is_repeated_and_escalated(ahead):
    site, by = ahead
    number = site.book.report(DAMAGE)
    site.desk.round()
    site.clock._now -= by
    rounds(site, timedelta(hours=4))
    assert site.book.get(number).level == 3
    assert len(told_of(site, DAMAGE.code)) >= 6


def test_what_was_tried_ahead_in_vain_is_tried_again(ahead):
    site, by = ahead
    for channel in site.channels.values():
        channel.error = ChannelError("dead")
    site.book.report(DAMAGE)
    site.desk.round()
    site.clock._now -= by
    for channel in site.channels.values():
        channel.error = None
    rounds(site, 3 * ROUND)
    assert told_of(site, DAMAGE.code)


def test_messages_that_went_ahead_are_not_counted_for_an_hour_to_come(ahead):
    site, by = ahead
    for number in range(12):
        site.book.report(Alert(f"code-{number}", "x", "t", Safety.DEGRADED, Retry.NEVER, "a", "b"))
        site.desk.round()
    for record in site.book.live():
        site.book.resolve(record.number)
    site.clock._now -= by
    site.book.report(DAMAGE)
    site.desk.round()
    assert told_of(site, DAMAGE.code) == ["mail"]


@pytest.mark.parametrize("later", [timedelta(minutes=10), timedelta(days=30)], ids=str)
def test_what_was_answered_and_resolved_ahead_is_told_when_it_is_back(ahead, later):
    site, by = ahead
    number = site.desk.report(DAMAGE)
    site.book.acknowledge(number, "anna")
    site.book.resolve(number)
    site.desk.round()
    site.clock._now -= by
    site.desk.round()
    site.clock.advance(later)
    again = site.desk.report(DAMAGE)
    assert site.book.get(again).state is AlertState.OPEN
    site.desk.round()
    assert told_of(site, DAMAGE.code)


def test_a_channel_that_fails_from_then_on_is_an_alert_after_an_hour(ahead):
    site, by = ahead
    site.channels["log"].error = ChannelError("dead")
    site.desk.test("log")
    site.clock._now -= by
    rounds(site, timedelta(hours=1) + 4 * ROUND)
    (record,) = site.book.live()
    assert record.retry is Retry.EXHAUSTED


def test_what_was_taken_on_ahead_is_open_again_after_a_day(ahead):
    site, by = ahead
    number = site.desk.report(DAMAGE)
    site.book.acknowledge(number, "anna")
    site.clock._now -= by
    rounds(site, ACKNOWLEDGED + ROUND)
    assert site.book.get(number).state is AlertState.OPEN


def test_a_sign_of_life_comes_at_its_time_and_no_oftener(ahead):
    site, by = ahead
    site.desk._heartbeat = ("log", 3600)
    site.desk.round()
    site.clock._now -= by
    rounds(site, timedelta(hours=3))
    assert site.kinds("log").count("heartbeat") == 4


def test_a_book_that_is_opened_heeds_the_clock(tmp_path, ahead):
    site, by = ahead
    env = site.clock.environment()
    book = AlertBook(tmp_path / "book", env)
    number = book.report(DAMAGE)
    told = reference(book.get(number))
    book.close()
    site.clock._now -= by
    book = AlertBook(tmp_path / "book", env)
    record = book.get(number)
    assert record.waiting_since == record.last_seen == site.clock.now()
    assert reference(record) == told, "whoever was told of it then can still answer"
    assert not book.heed_clock()
    book.close()


STEPS = st.one_of(
    st.tuples(st.just("jump"), st.sampled_from([1, -1, 2, -2, 25, -25, 9600, -9600])),
    st.tuples(st.just("wait"), st.sampled_from([1, 7, 31, 61, 600])),
    st.tuples(st.sampled_from(["report", "round", "acknowledge", "resolve", "away", "back", "right"]), st.just(0)),
)


class Jumping:
    """A site on a clock that jumps, with the time that it really is."""

    def __init__(self) -> None:
        self.site = Site()
        self.wrong = timedelta()
        self.told: list[datetime] = []

    def step(self, what: str, by: int) -> None:
        site = self.site
        if what == "jump":
            self.set(self.wrong + timedelta(hours=by))
        elif what == "right":
            self.set(timedelta())
        elif what == "wait":
            site.clock.advance(timedelta(minutes=by))
        elif what == "report":
            site.desk.report(RISK)
        elif what == "round":
            site.desk.round()
        elif what in ("away", "back"):
            for channel in site.channels.values():
                channel.error = ChannelError("away") if what == "away" else None
        else:
            for record in site.book.live():
                if what == "acknowledge":
                    site.book.acknowledge(record.number, "anna")
                else:
                    site.book.resolve(record.number)

    def set(self, wrong: timedelta) -> None:
        """Set the clock: a step moves wall time and not the monotonic one."""
        self.site.clock._now += wrong - self.wrong
        self.wrong = wrong

    def watch(self, lasting: timedelta) -> list[datetime]:
        """Go on by a clock that is right, the fault lasting; return when anybody was told of it."""
        found = []
        for _ in range(lasting // ROUND):
            before = len(told_of(self.site, RISK.code))
            self.site.desk.report(RISK)
            self.site.desk.round()
            if len(told_of(self.site, RISK.code)) > before:
                found.append(self.site.clock.now())
            self.site.clock.advance(ROUND)
        return found


@given(steps=st.lists(STEPS, max_size=14))
@settings(max_examples=60, deadline=None)
def test_nothing_at_risk_is_silent_for_longer_than_its_repeat_once_the_clock_is_right(steps):
    jumping = Jumping()
    for what, by in steps:
        jumping.step(what, by)
    jumping.step("back", 0)
    jumping.step("right", 0)
    taken_on = any(what == "acknowledge" for what, _ in steps)
    start = jumping.site.clock.now()
    lasting = timedelta(hours=6) + taken_on * ACKNOWLEDGED
    told = [start, *jumping.watch(lasting), start + lasting]
    longest = max(later - earlier for earlier, later in pairwise(told))
    assert longest <= SILENT_MAX + taken_on * ACKNOWLEDGED
    jumping.site.book.close()
