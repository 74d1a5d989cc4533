"""The escalation as a table: on what an alert means, whether it may end by itself, and how long nobody has answered. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from holdfast.base.calendar import Window, in_windows
from holdfast.errors import Retry, Safety

__all__ = ["TABLE", "Contact", "Level", "Policy", "Row", "level_of", "levels_told"]

_HOURS = 3600.0


@dataclass(frozen=True, slots=True)
class Row:
    """Where an alert begins, where it ends, and how long nobody is told because it may end by itself."""

    first_level: int = 1
    last_level: int = 0
    """0: the highest there is."""
    patience_seconds: float = 0.0


TABLE: Mapping[tuple[Safety, Retry], Row] = {
    (Safety.UNTOUCHED, Retry.NEVER): Row(1, 2),
    (Safety.UNTOUCHED, Retry.LATER): Row(1, 1, 4 * _HOURS),
    (Safety.UNTOUCHED, Retry.EXHAUSTED): Row(1, 2),
    (Safety.INTACT, Retry.NEVER): Row(1),
    (Safety.INTACT, Retry.LATER): Row(1, 0, 4 * _HOURS),
    (Safety.INTACT, Retry.EXHAUSTED): Row(1),
    (Safety.DEGRADED, Retry.NEVER): Row(1),
    (Safety.DEGRADED, Retry.LATER): Row(1, 0, 0.25 * _HOURS),
    (Safety.DEGRADED, Retry.EXHAUSTED): Row(2),
    (Safety.AT_RISK, Retry.NEVER): Row(2),
    (Safety.AT_RISK, Retry.LATER): Row(2),
    (Safety.AT_RISK, Retry.EXHAUSTED): Row(2),
}
"""The built-in table. Levels beyond those that are configured mean the highest; what begins at 2 tells level 1 too."""


@dataclass(frozen=True, slots=True)
class Level:
    """Who is told together, how long the level before must have waited, and how often they are told again."""

    contacts: tuple[str, ...]
    after_seconds: float = 1800.0
    repeat_seconds: float = 3600.0


@dataclass(frozen=True, slots=True)
class Contact:
    """A person or a role, and the channels that reach them, the preferred one first."""

    name: str
    channels: tuple[str, ...]
    every_channel: bool = False
    address: str = ""
    quiet: tuple[Window, ...] | None = None
    """Quiet hours of their own; None: those of the policy."""
    public_key: str = ""
    role: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """All that decides who is told what, when."""

    levels: tuple[Level, ...]
    contacts: Mapping[str, Contact]
    table: Mapping[tuple[Safety, Retry], Row] = field(default_factory=lambda: TABLE)
    quiet: tuple[Window, ...] = ()
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    site: str = ""
    acknowledged_seconds: float = 86400.0
    quiet_return_seconds: float = 3600.0
    collected_above: int = 4
    messages_per_hour: int = 12
    retry_seconds: float = 120.0
    keep_days: int = 400

    def is_quiet(self, contact: str, now: datetime) -> bool:
        """Return whether a contact has quiet hours now. What is at risk does not ask."""
        own = self.contacts[contact].quiet
        windows = self.quiet if own is None else own
        return bool(windows) and in_windows(windows, now, self.zone)


def level_of(
    policy: Policy, safety: Safety, retry: Retry, waited_seconds: float, unreached: frozenset[int] = frozenset()
) -> int:
    """Return the level that an alert has reached; 0 while there is patience with it (or there are no levels).

    `unreached` are levels of which no contact could be reached: the next one is told at once.
    """
    row = policy.table.get((safety, retry), Row())
    rest = waited_seconds - row.patience_seconds
    if rest < 0 or not policy.levels:
        return 0
    last = min(row.last_level or len(policy.levels), len(policy.levels))
    level = min(row.first_level, last)
    while level < last:
        after = policy.levels[level].after_seconds
        if level in unreached:
            # Whoever could not be reached will not answer: their time is not waited for.
            level += 1
        elif rest >= after:
            rest -= after
            level += 1
        else:
            break
    return level


def levels_told(policy: Policy, level: int) -> tuple[int, ...]:
    """Return the levels that are told of an alert that has reached one: it and all below it."""
    return tuple(range(1, min(level, len(policy.levels)) + 1))
