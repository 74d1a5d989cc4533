"""Deadlines: will a run be done before its source's newest snapshot is older than the objective allows? Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from holdfast.base.events import Alert
from holdfast.base.units import format_seconds
from holdfast.base.values import dataclass
from holdfast.errors import Retry, Safety
from holdfast.governor.windows import Calendar

__all__ = ["Objective", "Prospect", "alert_of", "prospect"]

RATE_SECONDS_MIN = 5.0
"""A run's speed says nothing before it has run so long."""
MARGIN = 0.8
"""A run is meant to be done when so much of the time left has passed: estimates err."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What an operator wants of a source, and how much of the application's speed may be given for it."""

    rpo: timedelta
    """The newest snapshot is to be younger than this."""
    last_good: datetime
    """When the newest snapshot's run began. A source's first backup has no objective: it may take days, and nothing is lost by it."""
    slowdown_max: float
    """How far the application's budget for slowdown may be raised when the objective is in danger."""


@dataclass(frozen=True, slots=True)
class Prospect:
    """How a run stands to its objective."""

    due: datetime | None
    """When the newest snapshot will be too old; None: it is already."""
    done: datetime | None
    """When the run will be done as things go; None while that cannot be said, or if the windows never let it."""
    in_danger: bool
    urgency: float
    """How much faster than now it must go: 1 is just in time, and more means that the budget should be raised."""


def prospect(
    objective: Objective, now: datetime, *, done_bytes: int, total_bytes: int | None, seconds: float, calendar: Calendar
) -> Prospect:
    """Return how a run stands that has done so many bytes, of about so many, in so many seconds of running."""
    due = objective.last_good + objective.rpo
    if due <= now:
        return Prospect(None, None, in_danger=True, urgency=2.0)
    if not total_bytes or done_bytes <= 0 or seconds < RATE_SECONDS_MIN:
        return Prospect(due, None, in_danger=False, urgency=0.0)
    needed = max(0, total_bytes - done_bytes) * seconds / done_bytes
    open_left = calendar.open_seconds(now, due) * MARGIN
    urgency = needed / open_left if open_left > 0 else float("inf")
    return Prospect(due, _done(now, needed, calendar), in_danger=urgency > 1, urgency=urgency)


def _done(now: datetime, needed: float, calendar: Calendar) -> datetime | None:
    """Return when so many seconds of running will have passed, closed hours left out; None if the windows do not let them."""
    at = now
    for edge in (*calendar.edges(now), None):
        if not calendar.at(at).closed:
            if edge is None or (edge - at).total_seconds() >= needed:
                return at + timedelta(seconds=needed)
            needed -= (edge - at).total_seconds()
        if edge is not None:
            at = edge
    return None


def alert_of(subject: str, found: Prospect, now: datetime) -> Alert:
    """Return the alert that an objective in danger is worth: before it is missed, if that can be foreseen."""
    if found.due is None:
        text = "the newest snapshot is older than its objective allows, and the run is not done yet"
    elif found.done is None:
        text = "the windows and budgets do not let the run finish before its objective is missed"
    else:
        late = format_seconds(max(0.0, (found.done - found.due).total_seconds()))
        text = f"the run will be done {late} after its objective is missed, or with too little time to spare"
        if found.done <= found.due:
            left = format_seconds((found.due - now).total_seconds())
            text = f"the run will hardly be done in the {left} before its objective is missed"
    return Alert(
        code="rpo-danger",
        subject=subject,
        text=text,
        safety=Safety.INTACT,
        retry=Retry.LATER,
        safe="every snapshot acknowledged before is as it was; the run goes on as fast as the operator allows.",
        next="raise `governor.slowdown_max_for_rpo`, widen the windows, or split the job.",
    )
