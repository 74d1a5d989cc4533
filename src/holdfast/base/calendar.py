"""Times that come again: weekly windows, cron expressions, intervals. Pure: every function is handed the time it is asked about.

A *slot* is one time at which something is due, in UTC. Cron expressions count on the wall clock of their zone, as Debian's cron
does: a time that the clock skips in spring comes at the next one that exists, a time that comes twice in autumn counts once.
Intervals count from 1970-01-01 UTC, so that they are the same after every restart and whatever the clocks of summer do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Protocol
from zoneinfo import ZoneInfo

from holdfast.base.values import dataclass

__all__ = ["CronSlots", "IntervalSlots", "Slots", "Window", "in_windows", "next_opening", "zone_of"]

WEEK_MINUTES = 7 * 1440
_DAYS = {name: place for place, name in enumerate(("mon", "tue", "wed", "thu", "fri", "sat", "sun"))}
_WINDOW = re.compile(r"(?:(\w{3}(?:-\w{3})?(?:,\w{3}(?:-\w{3})?)*)\s+)?(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")
_YEARS_MAX = 9
"""How far a slot is looked for: February 29 on a given weekday may be a long way off; longer counts as never."""
_STEPS_MAX = 50_000


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its name, such as `Europe/Berlin`. `ValueError` if there is none."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        message = "not a time zone (write UTC or Europe/Berlin)"
        raise ValueError(message) from None


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of some days of the week, on the wall clock. One that ends at or before its beginning ends on the next day."""

    days: frozenset[int]
    """0 is Monday."""
    start_minute: int
    end_minute: int

    @classmethod
    def parse(cls, text: str) -> Window:
        """Read `22:00-06:00`, `Mon-Fri 22:00-06:00`, `Sat,Sun 00:00-24:00`. `ValueError` otherwise."""
        match = _WINDOW.fullmatch(text.strip())
        message = "not a window (write 22:00-06:00 or Mon-Fri 22:00-06:00)"
        if match is None:
            raise ValueError(message)
        start, end = (int(match[place]) * 60 + int(match[place + 1]) for place in (2, 4))
        if max(start, end) > 1440 or start == 1440 or max(int(match[3]), int(match[5])) > 59:  # noqa: PLR2004 - a day, an hour
            raise ValueError(message)
        try:
            days = frozenset(_days_of(match[1])) if match[1] else frozenset(range(7))
        except KeyError:
            raise ValueError(message) from None
        return cls(days, start, end)

    def minutes(self) -> frozenset[int]:
        """Return the minutes of the week, from Monday 00:00, that lie within."""
        length = (self.end_minute - self.start_minute) % 1440 or 1440
        return frozenset(
            (day * 1440 + self.start_minute + offset) % WEEK_MINUTES for day in self.days for offset in range(length)
        )

    def contains(self, local: datetime) -> bool:
        """Return whether a time on the wall clock lies within."""
        minute = local.hour * 60 + local.minute
        if self.start_minute < self.end_minute:
            return local.weekday() in self.days and self.start_minute <= minute < self.end_minute
        today = local.weekday() in self.days and minute >= self.start_minute
        return today or ((local.weekday() - 1) % 7 in self.days and minute < self.end_minute)


def _days_of(text: str) -> list[int]:
    found: list[int] = []
    for part in text.lower().split(","):
        first, _, last = part.partition("-")
        start, end = _DAYS[first], _DAYS[last or first]
        found += [(start + offset) % 7 for offset in range((end - start) % 7 + 1)]
    return found


def in_windows(windows: tuple[Window, ...], moment: datetime, zone: ZoneInfo) -> bool:
    """Return whether a time lies in one of the windows; no windows mean always."""
    return not windows or any(window.contains(moment.astimezone(zone)) for window in windows)


def next_opening(windows: tuple[Window, ...], moment: datetime, zone: ZoneInfo) -> datetime:
    """Return the first time from `moment` on that lies in a window, to the minute; `moment` itself if it does."""
    if in_windows(windows, moment, zone):
        return moment
    minute = moment.astimezone(UTC).replace(second=0, microsecond=0)
    for _ in range(WEEK_MINUTES + 120):
        minute += timedelta(minutes=1)
        if in_windows(windows, minute, zone):
            return minute
    message = "the windows never open"  # pragma: no cover - a window has a day and a length
    raise ValueError(message)  # pragma: no cover - as above


class Slots(Protocol):
    """A row of times at which something is due."""

    def newest(self, now: datetime) -> datetime | None:
        """Return the newest slot at or before `now`; None if there is none."""

    def after(self, now: datetime) -> datetime | None:
        """Return the first slot after `now`; None if there is none for years."""


@dataclass(frozen=True, slots=True)
class IntervalSlots:
    """Every so many seconds, counted from 1970-01-01 UTC."""

    seconds: int

    def newest(self, now: datetime) -> datetime | None:
        """Return the newest slot at or before `now`."""
        second = int(now.timestamp()) // self.seconds * self.seconds
        return datetime.fromtimestamp(second, UTC)

    def after(self, now: datetime) -> datetime | None:
        """Return the first slot after `now`."""
        second = (int(now.timestamp()) // self.seconds + 1) * self.seconds
        return datetime.fromtimestamp(second, UTC)


_NEVER = "not a cron expression of any time: it never comes, for no such day is in that month"


def _is_wrong(expression: str) -> bool:
    """Return whether an expression that cronsim refuses is wrong in any month, not only in its own."""
    from cronsim import CronSim, CronSimError

    minute, hour, day, _, weekday = expression.split()
    try:
        CronSim(f"{minute} {hour} {day} * {weekday}", datetime(2026, 1, 1, tzinfo=UTC))
        CronSim("0 0 * " + expression.split()[3] + " *", datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError:
        return True
    return False


@dataclass(frozen=True, slots=True)
class CronSlots:
    """The times of a cron expression, of five fields, on the wall clock of a zone; only those within the windows."""

    expression: str
    zone: ZoneInfo
    windows: tuple[Window, ...] = ()

    @classmethod
    def parse(cls, expression: str, zone: ZoneInfo, windows: tuple[Window, ...] = ()) -> CronSlots:
        """Read an expression. `ValueError` if it is none."""
        from cronsim import CronSim, CronSimError

        message = "not a cron expression (write `MINUTE HOUR DAY MONTH WEEKDAY`, as in `30 2 * * *`)"
        if len(expression.split()) != 5:  # noqa: PLR2004 - five fields
            raise ValueError(message)
        try:
            CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC))
        except CronSimError:
            raise ValueError(message if _is_wrong(expression) else _NEVER) from None
        return cls(expression, zone, windows)

    def newest(self, now: datetime) -> datetime | None:
        """Return the newest slot at or before `now`."""
        from cronsim import CronSim

        start = now.astimezone(self.zone) + timedelta(seconds=1)
        found = self._first(CronSim(self.expression, start, reverse=True), lambda slot: slot <= now, now)
        # Going back, cronsim loses the hour that comes twice; going forward it does not.
        while found is not None and (following := self.after(found)) is not None and following <= now:
            found = following
        return found

    def after(self, now: datetime) -> datetime | None:
        """Return the first slot after `now`."""
        from cronsim import CronSim

        return self._first(CronSim(self.expression, now.astimezone(self.zone)), lambda slot: slot > now, now)

    def _first(self, found: Iterator[datetime], wanted: Callable[[datetime], bool], now: datetime) -> datetime | None:
        for slot in islice(found, _STEPS_MAX):
            moment = slot.astimezone(UTC)
            if abs(moment - now) > timedelta(days=366 * _YEARS_MAX):
                return None
            if wanted(moment) and in_windows(self.windows, moment, self.zone):
                return moment
        return None
