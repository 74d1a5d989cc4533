"""Objectives in danger: from facts about sources, stores, copies, keys and runs to the alerts that they are worth. Pure.

What is seen here is seen anew in every round; an alert that is no longer returned is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from holdfast.base.events import Alert
from holdfast.base.units import format_seconds
from holdfast.errors import Retry, Safety

__all__ = [
    "AHEAD_SECONDS_MAX",
    "CopyFacts",
    "ExpiryFacts",
    "ProofFacts",
    "SourceFacts",
    "StartFacts",
    "StoreFacts",
    "days_until_full",
    "endangered",
]

_DANGER_PART = 0.8
"""An objective of which so much is used up is in danger."""
AHEAD_SECONDS_MAX = 600.0
"""A time further ahead of now is of a clock that was wrong, and says nothing of an age."""
_DAY = 86400.0
_SAMPLES_MIN = 4
_LOST_RPOS = 3


OVERDUE = {"verification": "verification-overdue", "drill": "drill-overdue"}
EXPIRING = {"key": "key-expiring", "certificate": "certificate-expiring"}
"""The codes of alerts, by the kind of a fact."""


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """A source and its newest good backup. `rpo_seconds` None: only its silence is watched."""

    name: str
    last_good: datetime | None
    rpo_seconds: float | None = None
    watched_since: datetime | None = None
    """What counts for a source that was never backed up: since when it should have been."""
    silent_seconds: float | None = None
    """How long it may be heard of no more."""


@dataclass(frozen=True, slots=True)
class StartFacts:
    """A time at which a job was due, and whether it has started: the dead man's handle of the schedule."""

    name: str
    due: datetime
    grace_seconds: float
    started: bool


@dataclass(frozen=True, slots=True)
class ProofFacts:
    """How old a proof is: a verification of a store, a drill of a service. None: there never was one."""

    name: str
    kind: str
    """`verification` or `drill`."""
    age_days: float | None
    limit_days: float
    watched_days: float = 0.0
    """How long it is watched: what counts while there never was one."""


@dataclass(frozen=True, slots=True)
class CopyFacts:
    """On how many stores a backup is, and should be."""

    name: str
    """A data class, or the vault for the objects of its home."""
    copies: int
    """Of what has the fewest."""
    wanted: int
    lacking: int = 0
    """How many packs have fewer than wanted."""
    lost: bool = False
    """Some have none, and wait in no spool either."""


@dataclass(frozen=True, slots=True)
class ExpiryFacts:
    """A key or certificate that expires."""

    name: str
    kind: str
    """`key` or `certificate`."""
    expires: datetime
    warn_days: float


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """The room in a store, now and over time. `samples` are times and free bytes, oldest first."""

    name: str
    free_bytes: int
    total_bytes: int
    samples: tuple[tuple[datetime, int], ...] = ()
    full_days: float = 14.0
    free_percent: float = 5.0


Facts = SourceFacts | StartFacts | ProofFacts | CopyFacts | ExpiryFacts | StoreFacts


def endangered(facts: Iterable[Facts], now: datetime) -> tuple[Alert, ...]:
    """Return the alerts that facts are worth at a time."""
    return tuple(alert for fact in facts if (alert := _judge(fact, now)) is not None)


def _judge(fact: Facts, now: datetime) -> Alert | None:
    match fact:
        case SourceFacts():
            return _source(fact, now)
        case StartFacts():
            return _start(fact, now)
        case ProofFacts():
            return _proof(fact)
        case CopyFacts():
            return _copies(fact)
        case ExpiryFacts():
            return _expiry(fact, now)
        case StoreFacts():
            return _store(fact)


def _source(fact: SourceFacts, now: datetime) -> Alert | None:
    ahead = fact.last_good is not None and (fact.last_good - now).total_seconds() > AHEAD_SECONDS_MAX
    since = fact.watched_since if ahead else fact.last_good or fact.watched_since
    age = (now - since).total_seconds() if since is not None else 0.0
    said = (
        f"The newest good backup is {format_seconds(max(0.0, age))} old"
        if fact.last_good
        else "There never was a good backup"
    )
    if ahead:
        said = "The newest good backup is of a time that has not come, and there is none besides"
    if fact.rpo_seconds is None:
        if fact.silent_seconds is not None and age >= fact.silent_seconds:
            return Alert(
                "source-silent", fact.name, f"{said}; nothing was heard of this source since.", Safety.INTACT, Retry.EXHAUSTED,
                "its snapshots are as they were.", "see whether the host still runs and still has its schedule.",
            )  # fmt: skip
        return None
    limit = format_seconds(fact.rpo_seconds)
    if age >= fact.rpo_seconds:
        safety = Safety.AT_RISK if age >= _LOST_RPOS * fact.rpo_seconds else Safety.DEGRADED
        return Alert(
            "rpo-missed", fact.name, f"{said}; it may be {limit} (the recovery point objective).", safety, Retry.EXHAUSTED,
            "snapshots that exist are as they were; what the source changed since is in none of them.",
            "start the job by hand and read why its last run failed: `holdfast schedule list`.",
        )  # fmt: skip
    if age >= _DANGER_PART * fact.rpo_seconds:
        return Alert(
            "rpo-danger", fact.name, f"{said}; at {limit} the recovery point objective is missed.", Safety.INTACT, Retry.LATER,
            "snapshots that exist are as they were.", "the next run ends it by itself; see that it will start.",
        )  # fmt: skip
    return None


def _start(fact: StartFacts, now: datetime) -> Alert | None:
    late = (now - fact.due).total_seconds()
    if fact.started or late < fact.grace_seconds:
        return None
    return Alert(
        "run-missing", fact.name, f"A run that was due {format_seconds(late)} ago has not started.", Safety.INTACT,
        Retry.EXHAUSTED, "snapshots that exist are as they were.",
        "see what it waits for: `holdfast schedule list`; and whether `holdfast schedule run` is alive.",
    )  # fmt: skip


def _proof(fact: ProofFacts) -> Alert | None:
    # A proof of a time that has not come is none.
    known = fact.age_days if fact.age_days is None or fact.age_days > -AHEAD_SECONDS_MAX / _DAY else None
    age = fact.watched_days if known is None else known
    if age < fact.limit_days:
        return None
    said = "never succeeded" if known is None else f"is {age:.0f} days ago"
    return Alert(
        OVERDUE[fact.kind], fact.name, f"The last complete {fact.kind} {said}; it must be within {fact.limit_days:.0f} days.",
        Safety.INTACT, Retry.EXHAUSTED, "nothing is known to be damaged; that nothing is, is not proved.",
        "run `holdfast verify`, or schedule it." if fact.kind == "verification" else "run `holdfast drill`, or schedule it.",
    )  # fmt: skip


def _copies(fact: CopyFacts) -> Alert | None:
    if fact.copies >= fact.wanted and not fact.lacking:
        return None
    lost = fact.lost or (fact.copies == 0 and not fact.lacking)
    packs = f" {fact.lacking} packs of the class have fewer than they must." if fact.lacking else ""
    safe = (
        "what the remaining copies hold is readable."
        if fact.copies
        else "what waits in the spool is readable from this host."
    )
    return Alert(
        "copies-missing", fact.name, f"There are {fact.copies} of {fact.wanted} copies.{packs}",
        Safety.AT_RISK if lost else Safety.DEGRADED, Retry.EXHAUSTED,
        "no copy is known to be readable." if lost else safe,
        "bring the missing store back, then run `holdfast migrate`: copies are then made up for.",
    )  # fmt: skip


def _expiry(fact: ExpiryFacts, now: datetime) -> Alert | None:
    days = (fact.expires - now).total_seconds() / _DAY
    if days >= fact.warn_days:
        return None
    said = f"expires in {days:.0f} days" if days > 0 else "has expired"
    return Alert(
        EXPIRING[fact.kind], fact.name, f"The {fact.kind} {said}.", Safety.INTACT,
        Retry.NEVER if days > 0 else Retry.EXHAUSTED, "backups that exist are as they were.", f"renew the {fact.kind}.",
    )  # fmt: skip


def _store(fact: StoreFacts) -> Alert | None:
    percent = 100.0 * fact.free_bytes / fact.total_bytes if fact.total_bytes else 0.0
    days = days_until_full(fact.samples)
    if percent < fact.free_percent:
        return Alert(
            "store-filling", fact.name, f"{percent:.0f} % of the store is free.", Safety.DEGRADED, Retry.EXHAUSTED,
            "snapshots that exist are as they were; soon no new one can be made.",
            "enlarge the store, or `holdfast forget` and `holdfast prune`.",
        )  # fmt: skip
    if days is not None and days < fact.full_days:
        return Alert(
            "store-filling", fact.name, f"At its present growth the store is full in {days:.0f} days.", Safety.INTACT,
            Retry.NEVER, "snapshots that exist are as they were.",
            "enlarge the store, or `holdfast forget` and `holdfast prune`.",
        )  # fmt: skip
    return None


def days_until_full(samples: Sequence[tuple[datetime, int]]) -> float | None:
    """Return the days until there is no room left, by the median of the slopes between samples (Theil–Sen).

    The median does not mind a prune or one large first backup in between. None while there are fewer than four samples or
    less than a day between them, or while the room does not shrink.
    """
    if len(samples) < _SAMPLES_MIN or samples[-1][0] - samples[0][0] < timedelta(days=1):
        return None
    slopes = [
        (later[1] - earlier[1]) / seconds
        for place, earlier in enumerate(samples)
        for later in samples[place + 1 :]
        if (seconds := (later[0] - earlier[0]).total_seconds()) > 0
    ]
    slope = median(slopes) if slopes else 0.0
    return samples[-1][1] / -slope / _DAY if slope < 0 else None
