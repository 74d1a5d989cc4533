"""Windows from what was learned: the hours in which the application is quiet, and those in which it is not. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.governor.windows import DAYS

__all__ = ["Suggestion", "suggest"]

HOURS = 168
KNOWN_HOURS_MIN = 24


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A window that the learned load speaks for."""

    mode: str
    """`maintenance` where the application is quiet, `peak` where it is busy."""
    day: str
    start_hour: int
    """0 … 23, by the clock on the wall."""
    hours: int
    """How long; it may reach into the next day."""
    load: float
    """Mean load within it, relative to the quietest hour: 1 is as quiet."""


def suggest(loads: Sequence[Mapping[int, float]], *, quiet: float = 1.25, busy: float = 2.0) -> tuple[Suggestion, ...]:
    """Return windows from loads (latencies, rates) per hour of the week, one mapping per probe, the worst of which counts.

    An hour is quiet below `quiet` times the quietest, busy above `busy` times. Hours of which nothing is known are neither.
    Fewer than a day's worth of known hours suggest nothing.
    """
    load = _relative(loads)
    if len(load) < KNOWN_HOURS_MIN:
        return ()
    found = []
    for mode, wanted in (
        ("maintenance", {hour for hour, value in load.items() if value <= quiet}),
        ("peak", {hour for hour, value in load.items() if value >= busy}),
    ):
        for start, hours in _stretches(wanted):
            mean = sum(load[(start + hour) % HOURS] for hour in range(hours)) / hours
            found.append(Suggestion(mode, DAYS[start // 24], start % 24, hours, round(mean, 2)))
    return tuple(found)


def _relative(loads: Sequence[Mapping[int, float]]) -> dict[int, float]:
    found: dict[int, float] = {}
    for each in loads:
        least = min((value for value in each.values() if value > 0), default=0.0)
        if least <= 0:
            continue
        for hour, value in each.items():
            found[hour % HOURS] = max(found.get(hour % HOURS, 0.0), value / least)
    return found


def _stretches(hours: set[int]) -> list[tuple[int, int]]:
    """Return runs of neighbouring hours of the week as (start, length), cut at a day's length."""
    if len(hours) == HOURS:
        return [(day * 24, 24) for day in range(7)]
    found = []
    for start in sorted(hour for hour in hours if (hour - 1) % HOURS not in hours):
        length = 0
        while (start + length) % HOURS in hours:
            length += 1
        found += [((start + done) % HOURS, min(24, length - done)) for done in range(0, length, 24)]
    return found
