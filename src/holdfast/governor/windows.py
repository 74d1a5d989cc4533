"""Calendars: clinical peak hours, closed hours, maintenance windows, holidays. What holds at a moment, and until when.

Hours are those of the clock on the wall in the window's zone. When clocks go forward, hours that do not exist have no
window; when they go back, a window that covers the repeated hour covers it twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from holdfast.base.values import dataclass
from holdfast.errors import ConfigError
from holdfast.governor.budget import UNLIMITED, Budget, tightest

__all__ = ["Calendar", "Standing", "Window", "WindowMode", "parse_days"]

WindowMode = Literal["peak", "closed", "maintenance"]
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LOOK_AHEAD_DAYS = 10
"""So far a change is looked for; what does not change within it does not change by itself."""


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of some days, and what holds in them."""

    name: str
    mode: WindowMode
    """`peak`: the budget is tightened to the window's; `closed`: no run; `maintenance`: the window's budget instead of the
    usual one."""
    days: frozenset[str]
    """`mon` … `sun`, `holiday`. On a holiday only windows that have `holiday` among their days are open."""
    start: time
    end: time
    """Not after `start`: the window ends on the next day. Equal: a whole day."""
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    budget: Budget = UNLIMITED
    slowdown_max: float | None = None
    """The application's budget for slowdown in the window; None: the usual."""
    holidays: frozenset[date] = frozenset()

    def covers(self, moment: datetime) -> bool:
        """Return whether a moment lies in the window, which belongs to the day it starts on."""
        local = moment.astimezone(self.zone)
        clock = local.time()
        today, yesterday = local.date(), local.date() - timedelta(days=1)
        if self.start < self.end:
            return self.start <= clock < self.end and self._is_day(today)
        return (clock >= self.start and self._is_day(today)) or (clock < self.end and self._is_day(yesterday))

    def _is_day(self, day: date) -> bool:
        return ("holiday" if day in self.holidays else DAYS[day.weekday()]) in self.days


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds at a moment."""

    closed: bool
    budget: Budget
    slowdown_max: float | None
    """None: the usual."""
    windows: tuple[str, ...]
    """The names of the windows that decided."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """All windows. A closed one goes before all; of peaks the tightest of each resource counts; maintenance replaces `usual`."""

    windows: tuple[Window, ...] = ()
    usual: Budget = UNLIMITED
    only_in_maintenance: bool = False
    """Outside of maintenance windows nothing runs."""

    def at(self, moment: datetime) -> Standing:
        """Return what holds at a moment."""
        now = [window for window in self.windows if window.covers(moment)]
        closed = [window for window in now if window.mode == "closed"]
        peaks = [window for window in now if window.mode == "peak"]
        loose = [window for window in now if window.mode == "maintenance"]
        base = tightest(*(window.budget for window in loose)) if loose else self.usual
        budget = tightest(base, *(window.budget for window in peaks))
        shut = bool(closed) or (self.only_in_maintenance and not loose) or budget.is_nothing
        slowdowns = [window.slowdown_max for window in peaks or loose if window.slowdown_max is not None]
        deciding = closed or [*peaks, *loose]
        return Standing(shut, budget, min(slowdowns, default=None), tuple(window.name for window in deciding))

    def next_change(self, moment: datetime) -> datetime | None:
        """Return when something else will hold; None if nothing changes within ten days."""
        present = self.at(moment)
        for edge in self.edges(moment):
            if self.at(edge) != present:
                return edge
        return None

    def next_open(self, moment: datetime) -> datetime | None:
        """Return the first moment from this one on at which a run may run; None if there is none within ten days."""
        if not self.at(moment).closed:
            return moment
        return next((edge for edge in self.edges(moment) if not self.at(edge).closed), None)

    def open_seconds(self, start: datetime, end: datetime) -> float:
        """Return for how long a run may run between two moments (at most ten days apart)."""
        total, at = 0.0, start
        for edge in [*self.edges(start), end]:
            until = min(edge, end)
            if until > at:
                total += 0.0 if self.at(at).closed else (until - at).total_seconds()
                at = until
        return total

    def edges(self, moment: datetime) -> list[datetime]:
        """Return every moment after this one at which a window may begin or end, in order."""
        found: set[datetime] = set()
        for window in self.windows:
            day = moment.astimezone(window.zone).date() - timedelta(days=1)
            for ahead in range(LOOK_AHEAD_DAYS + 2):
                for clock in (window.start, window.end, time(0)):
                    local = datetime.combine(day + timedelta(days=ahead), clock, window.zone)
                    found |= {local.replace(fold=fold).astimezone(UTC) for fold in (0, 1)}
            found |= _clock_changes(window.zone, moment)
        return sorted(edge for edge in found if edge > moment)

    def problems(self, moment: datetime) -> list[str]:
        """Return what makes no sense in the windows: nothing ever runs, a window that never decides. Pure."""
        if not self.windows and not self.only_in_maintenance:
            return ["the usual budget is zero: nothing would ever run"] if self.usual.is_nothing else []
        moments = [moment, *self.edges(moment)]
        standings = [self.at(each) for each in moments]
        found = []
        if all(standing.closed for standing in standings):
            found.append("the windows leave no time in which anything may run")
        for window in self.windows:
            covering = [each for each, at in zip(standings, moments, strict=True) if window.covers(at)]
            if window.mode == "maintenance" and covering and all(standing.closed for standing in covering):
                found.append(f"the maintenance window {window.name} lies wholly in closed hours")
            if window.mode == "maintenance" and window.budget.is_nothing:
                found.append(f"the maintenance window {window.name} has a budget of zero: make it a closed one")
        return found

    def check(self, moment: datetime) -> None:
        """Raise `ConfigError` with every problem."""
        found = self.problems(moment)
        if found:
            raise ConfigError(
                "the windows contradict each other",
                problems=tuple(found),
                next="change the windows named above; `holdfast config explain windows.NAME.mode` says which goes before which.",
            )


def _clock_changes(zone: ZoneInfo, moment: datetime) -> set[datetime]:
    """Return the full hours within the look-ahead at which the zone's offset changes."""
    start = moment.replace(minute=0, second=0, microsecond=0)
    hours = [start + timedelta(hours=hour) for hour in range(24 * (LOOK_AHEAD_DAYS + 1))]
    offsets = [hour.astimezone(zone).utcoffset() for hour in hours]
    return {
        after
        for after, old, new in zip(hours[1:], offsets, offsets[1:], strict=False)
        if old != new
    }  # fmt: skip


def parse_days(words: Iterable[str]) -> frozenset[str]:
    """Read days: `mon` … `sun`, `workday`, `weekend`, `holiday`, `daily`. `ValueError` for anything else."""
    groups: dict[str, Sequence[str]] = {
        "workday": DAYS[:5],
        "weekend": DAYS[5:],
        "daily": (*DAYS, "holiday"),
        "holiday": ("holiday",),
        **{day: (day,) for day in DAYS},
    }
    found: set[str] = set()
    for word in words:
        if word not in groups:
            message = f"{word} is no day (write mon … sun, workday, weekend, holiday, daily)"
            raise ValueError(message)
        found.update(groups[word])
    return frozenset(found)
