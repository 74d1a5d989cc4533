"""Snapshots that a clock which was ahead has made: their time has not come yet, so it says nothing of their age.

What they hold is as good as ever. But a source whose newest snapshot is of next year would seem backed up until then, whatever
became of it: such a snapshot counts as good only from the time on that somebody else gave it (its admission), if there is one. It
is an alert until a snapshot with a right time follows it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from holdfast.base.events import Alert
from holdfast.base.units import format_seconds
from holdfast.errors import Retry, Safety
from holdfast.reliability.objectives import AHEAD_SECONDS_MAX
from holdfast.repository.retention import history_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from holdfast.repository.types import SnapshotInfo

__all__ = ["ahead_alert", "clock_alert", "good_at", "is_ahead", "not_followed"]


def is_ahead(moment: datetime, now: datetime) -> bool:
    """Return whether a time has not come yet, by more than two clocks of a site may differ."""
    return moment > now + timedelta(seconds=AHEAD_SECONDS_MAX)


def good_at(info: SnapshotInfo, now: datetime) -> datetime | None:
    """Return the time from which on a snapshot counts as good: its own, or its admission's; None if neither has come."""
    times = (info.finished, info.admitted)
    return next((moment for moment in times if moment is not None and not is_ahead(moment, now)), None)


def not_followed(snapshots: Sequence[SnapshotInfo], now: datetime) -> tuple[SnapshotInfo, ...]:
    """Return the snapshots whose time has not come, and that no snapshot with a right time follows.

    A run follows the newest of its history, so what is older than that is followed, too.
    """
    ahead = {info.id: info for info in snapshots if good_at(info, now) is None}
    until: dict[tuple[str, str], datetime] = {}
    for info in snapshots:
        parent = ahead.get(info.parent)
        if info.id not in ahead and parent is not None:
            history = history_of(parent)
            until[history] = max(parent.finished, until.get(history, parent.finished))
    return tuple(
        info for info in ahead.values() if history_of(info) not in until or info.finished > until[history_of(info)]
    )


def ahead_alert(name: str, snapshots: Sequence[SnapshotInfo], now: datetime) -> Alert:
    """Return the alert about a source's snapshots of a time that has not come."""
    newest = max(info.finished for info in snapshots)
    by = format_seconds((newest - now).total_seconds())
    return Alert(
        "snapshot-ahead", name, f"The newest snapshot is of a time that comes in {by}: a clock was ahead.", Safety.INTACT,
        Retry.NEVER, "what the snapshot holds is as good as ever; it does not count as a good backup of today.",
        "see that the time service works on the host that made it (`timedatectl`), then back up again.",
    )  # fmt: skip


def clock_alert(snapshots: Sequence[SnapshotInfo], now: datetime) -> Alert | None:
    """Return the alert of a backup that finds snapshots of a time to come: this clock or another is, or was, wrong."""
    found = not_followed(snapshots, now)
    if not found:
        return None
    by = format_seconds((max(info.finished for info in found) - now).total_seconds())
    return Alert(
        "clock-stepped", "clock", f"The vault has snapshots of a time that comes in {by}: a clock is wrong, or was.",
        Safety.UNTOUCHED, Retry.NEVER, "this run goes on; its snapshot carries the time that the clock has now.",
        "see that the time service works here and on the hosts that use the vault: `timedatectl`.",
    )  # fmt: skip
