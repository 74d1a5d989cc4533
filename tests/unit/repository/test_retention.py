"""Retention as tables: which snapshots a policy keeps, and why."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.errors import AmbiguousSnapshotError, SnapshotMissingError, UsageError
from holdfast.repository.retention import ForgetPlan, RetentionPolicy, admission_time, counted_times, pins, plan_forget
from holdfast.repository.snapshots import of_source, select
from holdfast.repository.types import SnapshotInfo

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def snapshot(number: int, age: timedelta, **more: object) -> SnapshotInfo:
    moment = NOW - age
    base = SnapshotInfo(
        id=f"{number:032x}", source="ab" * 16, parent="", writer="w", started=moment, finished=moment, partial=False,
        findings=0, anomaly=0, retain_until=None, admitted=moment, held=False, classes=(), label="ehr",
    )  # fmt: skip
    return replace(base, **more)  # type: ignore[arg-type]


def kept(plan: ForgetPlan) -> dict[int, tuple[str, ...]]:
    return {int(d.snapshot, 16): d.reasons for d in plan.decisions if d.keep}


DAILY = [snapshot(n, n * DAY) for n in range(40)]
HOURLY = [snapshot(n, n * HOUR) for n in range(60)]


@pytest.mark.parametrize(
    ("snapshots", "policy", "numbers"),
    [
        (DAILY, RetentionPolicy(last=3), [0, 1, 2]),
        (DAILY, RetentionPolicy(daily=4), [0, 1, 2, 3]),
        (DAILY, RetentionPolicy(weekly=3), [0, 1, 8]),
        (DAILY, RetentionPolicy(monthly=2), [0, 23]),
        (DAILY, RetentionPolicy(yearly=5), [0]),
        (DAILY, RetentionPolicy(within_days=3), [0, 1, 2]),
        (DAILY, RetentionPolicy(last=1, daily=2, monthly=2), [0, 1, 23]),
        (HOURLY, RetentionPolicy(hourly=5), [0, 1, 2, 3, 4]),
        (HOURLY, RetentionPolicy(daily=3), [0, 4, 28]),
        ([snapshot(1, DAY), snapshot(2, 2 * DAY, tags=("keep",))], RetentionPolicy(tags=frozenset({"keep"})), [1, 2]),
        ([snapshot(1, DAY), snapshot(2, 2 * DAY, held=True)], RetentionPolicy(last=1), [1, 2]),
        ([snapshot(1, DAY), snapshot(2, 2 * DAY, retain_until=NOW + DAY)], RetentionPolicy(last=1), [1, 2]),
        ([snapshot(1, DAY), snapshot(2, 2 * DAY, retain_until=NOW - DAY)], RetentionPolicy(last=1), [1]),
        ([snapshot(1, DAY), snapshot(2, 2 * DAY, source="cd" * 16)], RetentionPolicy(last=1), [1, 2]),
        ([snapshot(1, DAY), snapshot(2, 2 * DAY, writer="thief")], RetentionPolicy(last=1), [1, 2]),
        ([snapshot(1, DAY, partial=True), snapshot(2, 2 * DAY), snapshot(3, 3 * DAY)], RetentionPolicy(last=1), [1, 2]),
        ([snapshot(1, HOUR, partial=True), snapshot(2, 2 * HOUR)], RetentionPolicy(daily=1), [1, 2]),
        ([snapshot(n, n * DAY, anomaly=900 * (n == 1)) for n in range(5)], RetentionPolicy(last=1), [0, 1, 2, 3, 4]),
        ([snapshot(n, n * DAY, anomaly=900 * (n == 1), released=True) for n in range(5)], RetentionPolicy(last=1), [0]),
    ],
)  # fmt: skip
def test_what_is_kept(snapshots: list[SnapshotInfo], policy: RetentionPolicy, numbers: list[int]) -> None:
    plan = plan_forget(snapshots, policy, NOW)
    assert sorted(kept(plan)) == numbers
    assert len(plan.decisions) == len(snapshots)
    assert len(plan.forget) == len(snapshots) - len(numbers)


def test_what_a_suspicious_snapshot_pins() -> None:
    """Number n is n days old."""
    bad = {"anomaly": 500}

    def pinned(*snapshots: SnapshotInfo) -> dict[int, int | None]:
        return {int(suspect, 16): int(good, 16) if good else None for suspect, good in pins(snapshots)}

    assert pinned(*DAILY) == {}
    assert pinned(snapshot(0, 0 * DAY), snapshot(1, DAY, **bad), snapshot(2, 2 * DAY), snapshot(3, 3 * DAY)) == {1: 2}
    assert pinned(snapshot(1, DAY, **bad), snapshot(2, 2 * DAY, **bad), snapshot(3, 3 * DAY)) == {1: 3, 2: 3}
    assert pinned(snapshot(1, DAY, **bad), snapshot(2, 2 * DAY, partial=True), snapshot(3, 3 * DAY)) == {1: 3}
    assert pinned(snapshot(1, DAY, **bad), snapshot(2, 2 * DAY, partial=True)) == {1: 2}
    assert pinned(snapshot(1, DAY, **bad)) == {1: None}
    assert pinned(snapshot(1, DAY, anomaly=499), snapshot(2, 2 * DAY)) == {}
    assert pinned(snapshot(1, DAY, **bad, released=True), snapshot(2, 2 * DAY)) == {}
    assert pinned(snapshot(1, DAY, **bad, writer="thief"), snapshot(2, 2 * DAY)) == {1: None}


def test_reasons_and_order() -> None:
    plan = plan_forget([snapshot(2, 2 * DAY, held=True), snapshot(1, DAY)], RetentionPolicy(last=1, daily=1), NOW)
    assert [int(d.snapshot, 16) for d in plan.decisions] == [1, 2]
    assert kept(plan) == {1: ("last", "daily", "newest"), 2: ("hold",)}


def test_a_policy_that_keeps_nothing_is_refused() -> None:
    with pytest.raises(UsageError):
        plan_forget(DAILY, RetentionPolicy(), NOW)


@pytest.mark.parametrize(
    ("finished", "last", "counted"),
    [
        (NOW - DAY, None, NOW - DAY),
        (NOW + DAY, None, NOW),
        (NOW - 9 * DAY, NOW - DAY, NOW - DAY),
        (NOW - HOUR, NOW - DAY, NOW - HOUR),
    ],
)
def test_admission(finished: datetime, last: datetime | None, counted: datetime) -> None:
    assert admission_time(finished, last, NOW) == counted


def test_snapshots_planted_in_the_past_reach_no_further_back_than_the_last_admission() -> None:
    good = [snapshot(n, n * DAY) for n in range(1, 5)]
    planted = [snapshot(100 + n, n * DAY - HOUR, admitted=None) for n in range(1, 5)]
    plan = plan_forget(good + planted, RetentionPolicy(daily=5), NOW)
    assert {2, 3, 4} <= set(kept(plan))


TWO = [snapshot(0x1A << 120, 3 * DAY), snapshot(0x1B << 120, DAY, source="cd" * 16, label="lab")]


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        ("latest", 1), ("1a", 0), ("1B", 1), (TWO[0].id, 0), ("latest:ehr", 0), ("latest:cdcd", 1), ("ehr@2026-11-20", 0),
        ("ehr@2026-11-23T00:00:00+00:00", 0), ("lab@2026-11-22", 1),
    ],
)  # fmt: skip
def test_selectors(selector: str, chosen: int) -> None:
    assert select(TWO, selector) == TWO[chosen]


@pytest.mark.parametrize(
    ("selector", "error"),
    [
        ("1", AmbiguousSnapshotError), ("2", SnapshotMissingError), ("zz", SnapshotMissingError), ("", SnapshotMissingError),
        ("latest:none", SnapshotMissingError), ("ehr@2020-01-01", SnapshotMissingError), ("ehr@noon", UsageError),
    ],
)  # fmt: skip
def test_selectors_that_fit_nothing(selector: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        select(TWO, selector)


def test_a_source_by_its_id() -> None:
    with pytest.raises(SnapshotMissingError):
        select([], "latest")
    alike = [snapshot(1, DAY, source="abab" + "0" * 28), snapshot(2, DAY, source="abab" + "1" * 28)]
    with pytest.raises(AmbiguousSnapshotError):
        of_source(alike, "abab")


@pytest.mark.parametrize("admitted", [False, True])
def test_what_a_clock_that_was_ahead_has_dated_is_older_than_what_followed_it(admitted: bool) -> None:  # noqa: FBT001
    old = snapshot(1, timedelta(days=3))
    ahead = replace(snapshot(2, -timedelta(days=400)), parent=old.id)
    further = replace(snapshot(3, -timedelta(days=401)), parent=ahead.id)
    if not admitted:
        ahead, further = (replace(s, admitted=None) for s in (ahead, further))
    right = replace(snapshot(4, timedelta(days=1)), parent=further.id)
    newer = replace(snapshot(5, timedelta(hours=1)), parent=right.id)
    every = [further, newer, old, right, ahead]
    times = counted_times(every, NOW)
    assert sorted(every, key=lambda s: times[s.id]) == [old, ahead, further, right, newer]
    assert max(times.values()) <= NOW
    assert set(kept(plan_forget(every, RetentionPolicy(last=1), NOW))) == {5}
    assert set(kept(plan_forget([old, ahead], RetentionPolicy(last=1), NOW))) == {2}, (
        "without a follower it is the newest"
    )


def test_a_stolen_writer_moves_nothing_by_saying_what_it_rests_on() -> None:
    good = snapshot(1, timedelta(days=1))
    planted = replace(snapshot(2, timedelta(days=900)), parent=good.id, admitted=None)
    assert counted_times([good, planted], NOW)[good.id] == good.finished
    ahead = snapshot(3, -timedelta(days=9))
    other = replace(snapshot(4, timedelta(days=2)), parent=ahead.id, writer="another")
    assert counted_times([ahead, other], NOW)[ahead.id] == NOW
    ring = [replace(snapshot(n, -timedelta(days=n)), parent=snapshot(11 - n, timedelta()).id) for n in (5, 6)]
    assert len(counted_times(ring, NOW)) == 2, "and rings end"
