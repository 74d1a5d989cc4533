"""The escalation is a table and a plan, both pure: who is told what, when, and what is held back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.base.calendar import Window
from holdfast.errors import Retry, Safety
from holdfast.reliability.alerts import AlertRecord, AlertState, Contact, Level, Policy, Row, Telling
from holdfast.reliability.alerts.plan import make_plan, unreached_levels
from holdfast.reliability.alerts.table import TABLE, level_of, levels_told

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
HOUR = 3600.0
CONTACTS = {name: Contact(name, ("mail",)) for name in ("anna", "berta", "chief")}
POLICY = Policy(
    levels=(Level(("anna",)), Level(("berta",), 1800, 3600), Level(("chief",), 3600, 7200)), contacts=CONTACTS
)


def alert(number: int = 1, *, safety=Safety.INTACT, retry=Retry.NEVER, waited: float = 0.0, **more) -> AlertRecord:
    since = NOW - timedelta(seconds=waited)
    record = AlertRecord(
        number, "damage", f"job-{number}", "text", safety, retry, "", "", "run", AlertState.OPEN, since, since, since, 1
    )
    return replace(record, **more)


def told(number: int, contact: str, ago: float | None, tried_ago: float | None = None) -> dict:
    def moment(seconds):
        return None if seconds is None else NOW - timedelta(seconds=seconds)

    return {(number, contact): Telling(number, contact, moment(ago if tried_ago is None else tried_ago), moment(ago))}


@pytest.mark.parametrize(
    ("safety", "retry", "waited", "level"),
    [
        (Safety.UNTOUCHED, Retry.LATER, 3 * HOUR, 0),
        (Safety.UNTOUCHED, Retry.LATER, 4 * HOUR, 1),
        (Safety.UNTOUCHED, Retry.LATER, 400 * HOUR, 1),
        (Safety.UNTOUCHED, Retry.NEVER, 0, 1),
        (Safety.UNTOUCHED, Retry.NEVER, 400 * HOUR, 2),
        (Safety.INTACT, Retry.LATER, 3.9 * HOUR, 0),
        (Safety.INTACT, Retry.LATER, 4.5 * HOUR, 2),
        (Safety.INTACT, Retry.NEVER, 0, 1),
        (Safety.INTACT, Retry.NEVER, 0.5 * HOUR, 2),
        (Safety.INTACT, Retry.EXHAUSTED, 1.4 * HOUR, 2),
        (Safety.INTACT, Retry.EXHAUSTED, 1.5 * HOUR, 3),
        (Safety.DEGRADED, Retry.LATER, 0.2 * HOUR, 0),
        (Safety.DEGRADED, Retry.LATER, 0.3 * HOUR, 1),
        (Safety.DEGRADED, Retry.EXHAUSTED, 0, 2),
        (Safety.AT_RISK, Retry.LATER, 0, 2),
        (Safety.AT_RISK, Retry.NEVER, HOUR, 3),
        (Safety.AT_RISK, Retry.NEVER, 999 * HOUR, 3),
    ],
)
def test_the_level_that_is_reached(safety, retry, waited, level):
    assert level_of(POLICY, safety, retry, waited) == level


def test_the_table_is_complete_and_worse_is_never_told_later():
    assert set(TABLE) == {(safety, retry) for safety in Safety for retry in Retry}
    for retry in Retry:
        for better, worse in zip(Safety, list(Safety)[1:], strict=False):
            for waited in range(0, 40_000, 300):
                assert level_of(POLICY, better, retry, waited) <= level_of(POLICY, worse, retry, waited)
    one = replace(POLICY, levels=POLICY.levels[:1])
    assert level_of(one, Safety.AT_RISK, Retry.NEVER, 0) == 1
    assert level_of(replace(POLICY, levels=()), Safety.AT_RISK, Retry.NEVER, 9e9) == 0
    assert levels_told(POLICY, 2) == (1, 2)
    assert levels_told(POLICY, 0) == ()


def test_a_row_of_the_site_replaces_the_built_in_one():
    policy = replace(POLICY, table={(Safety.INTACT, Retry.NEVER): Row(2, 2, 60)})
    assert [level_of(policy, Safety.INTACT, Retry.NEVER, waited) for waited in (0, 60, 9e9)] == [0, 2, 2]
    assert level_of(policy, Safety.AT_RISK, Retry.NEVER, 0) == 1


def test_a_level_that_cannot_be_reached_hands_over_at_once():
    record = alert()
    failed = told(1, "anna", None, 10)
    assert unreached_levels(POLICY, record, failed) == {1}
    assert unreached_levels(POLICY, record, told(1, "anna", 10)) == frozenset()
    assert level_of(POLICY, record.safety, record.retry, 0, frozenset({1})) == 2
    plan = make_plan([record], failed, POLICY, {}, NOW)
    assert [(notice.contact, notice.level) for notice in plan.notices] == [("berta", 2)]
    later = make_plan([record], told(1, "anna", None, 120), POLICY, {}, NOW)
    assert {notice.contact for notice in later.notices} == {"anna", "berta"}


def test_nobody_is_told_twice_before_the_repeat():
    record = alert()
    assert make_plan([record], {}, POLICY, {}, NOW).notices[0].alerts == (1,)
    assert not make_plan([record], told(1, "anna", 3599), POLICY, {}, NOW).notices
    assert make_plan([record], told(1, "anna", 3600), POLICY, {}, NOW).notices
    # A repeat that failed is not tried in every round.
    assert not make_plan([record], told(1, "anna", 3600, 60), POLICY, {}, NOW).notices
    higher = alert(waited=1800)
    found = make_plan([higher], told(1, "anna", 7200), POLICY, {}, NOW)
    assert [notice.contact for notice in found.notices] == ["berta"], "only the level that is reached is told again"
    assert found.levels == {1: 2}


def test_what_is_answered_or_over_is_told_to_nobody():
    for state in (AlertState.ACKNOWLEDGED, AlertState.RESOLVED):
        assert not make_plan([alert(state=state, waited=9e5)], {}, POLICY, {}, NOW).notices


def test_quiet_hours_hold_back_everything_but_what_is_at_risk():
    quiet = replace(POLICY, quiet=(Window.parse("22:00-06:00"),))
    plan = make_plan([alert(1, waited=HOUR), alert(2, safety=Safety.AT_RISK)], {}, quiet, {}, NOW)
    assert plan.held == ((1, "anna"), (1, "berta"))
    assert {notice.contact for notice in plan.notices} == {"anna", "berta"}
    assert all(notice.alerts == (2,) and notice.urgent for notice in plan.notices)
    morning = make_plan([alert(1, waited=HOUR)], {}, quiet, {}, NOW + timedelta(hours=3))
    assert {notice.contact for notice in morning.notices} == {"anna", "berta", "chief"}
    own = replace(quiet, contacts=CONTACTS | {"anna": replace(CONTACTS["anna"], quiet=())})
    assert [notice.contact for notice in make_plan([alert()], {}, own, {}, NOW).notices] == ["anna"]


def test_a_storm_is_one_message():
    few = make_plan([alert(number) for number in range(4)], {}, POLICY, {}, NOW)
    assert len(few.notices) == 4
    many = make_plan([alert(number) for number in range(300)], {}, POLICY, {}, NOW)
    assert [len(notice.alerts) for notice in many.notices] == [300]
    late = make_plan([alert(number) for number in range(300)], {}, POLICY, {"anna": 12}, NOW)
    assert not late.notices
    assert len(late.held) == 300
    room = make_plan([alert(number) for number in range(3)], {}, POLICY, {"anna": 10}, NOW)
    assert [len(notice.alerts) for notice in room.notices] == [3]
    urgent = make_plan([alert(number, safety=Safety.AT_RISK) for number in range(3)], {}, POLICY, {"anna": 99}, NOW)
    assert len(urgent.notices) == 6


def test_a_contact_that_is_not_known_is_passed_over():
    policy = replace(POLICY, levels=(Level(("ghost", "anna")),))
    assert [notice.contact for notice in make_plan([alert()], {}, policy, {}, NOW).notices] == ["anna"]
