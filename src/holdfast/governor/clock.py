"""Windows by a clock that may be set: after a step both times count, and the stricter window holds for a while."""

from __future__ import annotations

from datetime import datetime, timedelta

from holdfast.governor.windows import Calendar, Standing

__all__ = ["WindowClock"]

STEP_SECONDS = 60.0
"""A wall clock that moved so much more or less than the monotonic one was set."""
DISTRUST_SECONDS = 600.0


class WindowClock:
    """What the windows say, by the wall clock, and by where it should be."""

    def __init__(self, calendar: Calendar, wall: datetime, now: float) -> None:
        """Begin at a wall time and the monotonic time that goes with it."""
        self._calendar = calendar
        self._anchor = (wall, now)
        self._until: float | None = None

    def at(self, wall: datetime, now: float) -> tuple[Standing, bool]:
        """Return what holds, and whether the clock was just found to have been set."""
        expected = self._anchor[0] + timedelta(seconds=now - self._anchor[1])
        if abs((wall - expected).total_seconds()) < STEP_SECONDS:
            self._anchor, self._until = (wall, now), None
            return self._calendar.at(wall), False
        is_new = self._until is None
        if self._until is None:
            self._until = now + DISTRUST_SECONDS
        elif now >= self._until:
            self._anchor, self._until = (wall, now), None
        return max((self._calendar.at(wall), self._calendar.at(expected)), key=_strictness), is_new


def _strictness(standing: Standing) -> tuple[bool, bool, float]:
    return (standing.closed, not standing.budget.is_unlimited, -(standing.slowdown_max or 1.0))
