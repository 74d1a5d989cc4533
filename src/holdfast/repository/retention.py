"""Retention: which snapshots a policy keeps (grandfather, father, son). Pure: snapshots in, a plan with reasons out.

Counted by source and writer, on the admission time given by the pruner's side: a stolen writer that claims another host's
source displaces nothing. An anomalous snapshot (mass change, entropy jump,
size collapse) never displaces a good one: while it is not released by a person, nothing of its source is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime, timedelta

from holdfast.base.values import dataclass
from holdfast.errors import UsageError
from holdfast.repository.types import SnapshotInfo

ANOMALY_PINS_FROM = 500
"""Anomaly scores (0 to 1000) from here on pin their source."""


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How many snapshots per source to keep: the newest `last`, and the newest of each hour, day, week, month, year."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within_days: int = 0
    """Keep everything admitted in the last so many days (minimum retention)."""
    tags: frozenset[str] = field(default_factory=frozenset)
    """Keep every snapshot that has one of these tags."""
    pitr_days: int = 30
    """Keep what recovery to any moment needs: the logs since the oldest kept base backup of the last so many days. Those that
    a base backup itself rests on are kept with it, however old it is."""

    classes: Mapping[str, RetentionPolicy] = field(default_factory=dict)
    """Policies of data classes that are kept for another time than the rest, by name. A snapshot goes when none of its
    classes is kept; a class goes from a snapshot that stays for the others."""

    @property
    def keeps_anything(self) -> bool:
        """Whether the policy says anything at all."""
        counts = (self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly, self.within_days)
        return any(counts) or bool(self.tags)


@dataclass(frozen=True, slots=True)
class ForgetDecision:
    """What retention says about one snapshot."""

    snapshot: str
    keep: bool
    reasons: tuple[str, ...]
    """Why it is kept (`last`, `daily`, `hold`, …); empty if it goes."""
    dropped: tuple[str, ...] = ()
    """Names of its data classes that go although it is kept: their own policy does not keep them."""


@dataclass(frozen=True, slots=True)
class ForgetPlan:
    """A forget that has not happened: one decision per snapshot, newest first."""

    decisions: tuple[ForgetDecision, ...]

    @property
    def forget(self) -> tuple[str, ...]:
        """Ids of the snapshots that would go."""
        return tuple(d.snapshot for d in self.decisions if not d.keep)

    @property
    def dropped(self) -> tuple[tuple[str, str], ...]:
        """Snapshot and class of each class that would go from a snapshot that stays."""
        return tuple((d.snapshot, name) for d in self.decisions for name in d.dropped)


def _hour(moment: datetime) -> object:
    return (moment.date(), moment.hour)


def _day(moment: datetime) -> object:
    return moment.date()


def _week(moment: datetime) -> object:
    return moment.isocalendar()[:2]


def _month(moment: datetime) -> object:
    return (moment.year, moment.month)


def _year(moment: datetime) -> object:
    return moment.year


BUCKETS: Mapping[str, Callable[[datetime], object]] = {
    "hourly": _hour,
    "daily": _day,
    "weekly": _week,
    "monthly": _month,
    "yearly": _year,
}


def admission_time(finished: datetime, last_admission: datetime | None, now: datetime) -> datetime:
    """Return the time that retention counts for a snapshot not admitted yet.

    The writer's own word, but no later than now, and no earlier than what was admitted last of the same source: a stolen
    writer cannot place snapshots in the past, where they would displace good ones.
    """
    earliest = finished if last_admission is None else max(finished, last_admission)
    return min(earliest, now)


def history_of(snapshot: SnapshotInfo) -> tuple[str, str]:
    """Return what retention counts apart: a source as one writer stores it."""
    return snapshot.source, snapshot.writer


def counted_times(snapshots: Sequence[SnapshotInfo], now: datetime) -> dict[str, datetime]:
    """Return the time that counts for each snapshot, those not admitted yet included; none is later than now.

    What a clock that was ahead has dated counts as made before the run that followed it, by whatever clock: else a stale
    snapshot would be the newest of its source until its time comes. Nothing else is moved, so a stolen writer moves nothing.
    """
    last: dict[tuple[str, str], datetime] = {}
    for s in snapshots:
        if s.admitted is not None and s.admitted <= now:
            last[history_of(s)] = max(s.admitted, last.get(history_of(s), s.admitted))
    times = {
        s.id: min(s.admitted, now)
        if s.admitted is not None
        else admission_time(s.finished, last.get(history_of(s)), now)
        for s in snapshots
    }
    ahead = {s.id: s for s in snapshots if s.counted_at > now}
    for s in snapshots if ahead else ():
        _put_before(s, ahead, times)
    return times


def _put_before(follower: SnapshotInfo, ahead: Mapping[str, SnapshotInfo], times: dict[str, datetime]) -> None:
    """Date back the snapshots of a time to come that a run rests on, one after the other."""
    moment, seen = times[follower.id], {follower.id}
    before = ahead.get(follower.parent)
    while before is not None and before.id not in seen and history_of(before) == history_of(follower):
        moment -= timedelta(microseconds=1)
        times[before.id] = moment = min(moment, times[before.id])
        seen.add(before.id)
        before = ahead.get(before.parent)


def suspicious(snapshot: SnapshotInfo) -> bool:
    """Return whether a snapshot pins its source: its score says so and no person released it."""
    return snapshot.anomaly >= ANOMALY_PINS_FROM and not snapshot.released


def pins(snapshots: Sequence[SnapshotInfo]) -> tuple[tuple[str, str], ...]:
    """Return each suspicious snapshot with the one that it pins: the last good one before the first suspicious of its source.

    A complete one before a partial one; empty if there is none. `forget` refuses to take it, even by its id.
    """
    found: list[tuple[str, str]] = []
    histories: dict[tuple[str, str], list[SnapshotInfo]] = {}
    for s in sorted(snapshots, key=lambda s: (s.counted_at, s.finished, s.id)):
        histories.setdefault(history_of(s), []).append(s)
    for mine in histories.values():
        first = next((place for place, s in enumerate(mine) if suspicious(s)), len(mine))
        newest_first = mine[:first][::-1]
        good = next((s.id for s in newest_first if not s.partial), newest_first[0].id if newest_first else "")
        found += [(s.id, good) for s in mine[first:] if suspicious(s)]
    return tuple(found)


def plan_forget(snapshots: Sequence[SnapshotInfo], policy: RetentionPolicy, now: datetime) -> ForgetPlan:
    """Return what the policy keeps and forgets. `UsageError` for a policy that says nothing.

    Always kept: held snapshots, those with time to retain, everything of a source with an unreleased anomaly, the newest
    of each source and its newest complete one.
    """
    if not all(one.keeps_anything for one in (policy, *policy.classes.values())):
        raise UsageError("the retention policy keeps nothing", next="say what to keep, for instance `--keep-daily 14`.")
    whole = _plan(snapshots, policy, now)
    if not policy.classes:
        return whole
    by_class = {
        name: {d.snapshot: d for d in _plan([s for s in snapshots if _has(s, name)], own, now).decisions}
        for name, own in policy.classes.items()
    }
    rows = {s.id: s for s in snapshots}
    return ForgetPlan(tuple(_of_classes(rows[d.snapshot], d, by_class) for d in whole.decisions))


def _has(snapshot: SnapshotInfo, class_name: str) -> bool:
    return any(part.class_name == class_name for part in snapshot.classes)


def _of_classes(
    snapshot: SnapshotInfo, whole: ForgetDecision, by_class: Mapping[str, Mapping[str, ForgetDecision]]
) -> ForgetDecision:
    """Return what becomes of a snapshot whose classes are kept for different times."""
    verdicts = {
        part.class_name: by_class[part.class_name][snapshot.id] if part.class_name in by_class else whole
        for part in snapshot.classes
    }
    kept = {name: verdict for name, verdict in verdicts.items() if verdict.keep}
    if not kept:
        return whole if not verdicts else replace(whole, keep=False, reasons=())
    reasons = dict.fromkeys(reason for verdict in kept.values() for reason in verdict.reasons)
    return ForgetDecision(snapshot.id, keep=True, reasons=tuple(reasons), dropped=tuple(sorted(verdicts.keys() - kept)))


def _plan(snapshots: Sequence[SnapshotInfo], policy: RetentionPolicy, now: datetime) -> ForgetPlan:
    """Return what one policy keeps and forgets."""
    times = counted_times(snapshots, now)
    decisions: list[tuple[datetime, ForgetDecision]] = []
    for history in sorted({history_of(s) for s in snapshots}):
        mine = sorted(
            (s for s in snapshots if history_of(s) == history), key=lambda s: (times[s.id], s.id), reverse=True
        )
        reasons = _reasons(mine, times, policy, now)
        decisions += [(times[s.id], ForgetDecision(s.id, bool(reasons[s.id]), tuple(reasons[s.id]))) for s in mine]
    decisions.sort(key=lambda pair: (pair[0], pair[1].snapshot), reverse=True)
    return ForgetPlan(tuple(decision for _, decision in decisions))


def _reasons(
    newest_first: Sequence[SnapshotInfo], times: Mapping[str, datetime], policy: RetentionPolicy, now: datetime
) -> dict[str, list[str]]:
    pinned = any(suspicious(s) for s in newest_first)
    reasons = {s.id: _own_reasons(s, times[s.id], policy, now) for s in newest_first}
    if pinned:
        for found in reasons.values():
            found.append("anomaly")
    for s in newest_first[: policy.last]:
        reasons[s.id].append("last")
    for name, bucket in BUCKETS.items():
        for s in _newest_of_each(newest_first, lambda s: bucket(times[s.id]), getattr(policy, name)):  # noqa: B023
            reasons[s.id].append(name)
    reasons[newest_first[0].id].append("newest")
    complete = next((s for s in newest_first if not s.partial), None)
    if complete is not None and complete is not newest_first[0]:
        reasons[complete.id].append("newest-complete")
    return reasons


def _own_reasons(s: SnapshotInfo, counted: datetime, policy: RetentionPolicy, now: datetime) -> list[str]:
    """Return why a snapshot is kept whatever others there are."""
    holds = {
        "hold": s.held,
        "retain-until": s.retain_until is not None and s.retain_until > now,
        "within": bool(policy.within_days) and counted > now - timedelta(days=policy.within_days),
        "tag": bool(policy.tags.intersection(s.tags)),
    }
    return [reason for reason, applies in holds.items() if applies]


def _newest_of_each(
    newest_first: Iterable[SnapshotInfo], bucket: Callable[[SnapshotInfo], object], count: int
) -> list[SnapshotInfo]:
    """Return the newest snapshot of each of the `count` newest buckets; a complete one before a partial one."""
    chosen: dict[object, SnapshotInfo] = {}
    for s in newest_first:
        key = bucket(s)
        if key not in chosen:
            if len(chosen) == count:
                continue
            chosen[key] = s
        elif chosen[key].partial and not s.partial:
            chosen[key] = s
    return list(chosen.values())
