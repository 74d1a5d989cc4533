"""What starts now, what waits and until when. Pure: from an entry, its newest runs and the time to one decision.

One run per slot whatever happens: a slot that stands in the book is never started anew, also if the clock goes back. After
a time in which the service was down, the newest slot that was missed is made up for once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from holdfast.base.calendar import in_windows, next_opening
from holdfast.errors import Retry
from holdfast.runs.schedule.records import Entry, Outcome, RunRecord, RunState

__all__ = ["LIVE", "Decision", "after_attempt", "blocked", "decide", "due_slot", "jitter", "newest_run"]

LIVE = frozenset({RunState.RUNNING, RunState.WAITING})
"""A run that is not over."""
_LOOK_AGAIN_SECONDS = 3600.0
_WAIT_SECONDS_MAX = 6 * 3600.0
_LATE_SECONDS = 60.0
"""A start later than this, beyond jitter, is late: an entry that does not catch up leaves it out."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about an entry: `start` or `skip` the run of `slot`, or `wait` until `until` at the latest."""

    action: str
    slot: datetime | None = None
    until: datetime | None = None
    reason: str = ""


def jitter(entry: Entry, slot: datetime) -> timedelta:
    """Return how long after its time a run starts: the same after every restart, different on every entry and slot."""
    digest = hashlib.sha256(f"{entry.name} {slot.timestamp()}".encode()).digest()
    return timedelta(seconds=entry.jitter_seconds * int.from_bytes(digest[:4], "big") / 2**32)


def decide(
    entry: Entry,
    known: Mapping[datetime, RunRecord],
    others: Mapping[str, RunRecord],
    now: datetime,
    since: datetime,
    pending: frozenset[str] = frozenset(),
) -> Decision:
    """Return what to do now. `known` are the entry's runs by slot (the newest ones), `others` the newest run of each entry.

    `since` is when the entry was first seen: no slot before it is due. `pending` are entries that are due and have not begun:
    what follows them waits.
    """
    live = [record for record in known.values() if record.state in LIVE]
    if live:
        return _go_on(entry, max(live, key=lambda record: record.slot), now)
    slot = due_slot(entry, known, others, now, since)
    if slot is None:
        following = entry.slots.after(now) if entry.slots is not None else None
        until = following or now + timedelta(seconds=_LOOK_AGAIN_SECONDS)
        return Decision("wait", until=until, reason="not due")
    start = slot + jitter(entry, slot)
    if now < start:
        return Decision("wait", slot, start, "jitter")
    held_by = blocked(entry, others, pending)
    if held_by == "failed":
        return Decision("skip", slot, reason="what it waits for failed")
    if held_by:
        return Decision("wait", slot, now + timedelta(seconds=_LOOK_AGAIN_SECONDS), f"waits for {held_by}")
    opens = next_opening(entry.windows, start, entry.zone)  # a slot outside of the windows is due when they open
    if not entry.catch_up and now > opens + timedelta(seconds=max(_LATE_SECONDS, entry.grace_seconds)):
        return Decision("skip", slot, reason="its time has passed")
    if not in_windows(entry.windows, now, entry.zone):
        return Decision("wait", slot, next_opening(entry.windows, now, entry.zone), "outside of its windows")
    return Decision("start", slot)


def _go_on(entry: Entry, record: RunRecord, now: datetime) -> Decision:
    """Decide about a run that is under way or waits for its next attempt."""
    if record.state is RunState.RUNNING:
        return Decision("wait", record.slot, now + timedelta(seconds=_LOOK_AGAIN_SECONDS), "running")
    if record.next_at is not None and now < record.next_at <= now + timedelta(seconds=_WAIT_SECONDS_MAX):
        # A time further away than any wait is one that a clock jump left behind.
        return Decision("wait", record.slot, record.next_at, "next attempt")
    if not in_windows(entry.windows, now, entry.zone):
        return Decision("wait", record.slot, next_opening(entry.windows, now, entry.zone), "outside of its windows")
    return Decision("start", record.slot)


def due_slot(
    entry: Entry, known: Mapping[datetime, RunRecord], others: Mapping[str, RunRecord], now: datetime, since: datetime
) -> datetime | None:
    """Return the newest slot that is due and stands in no book."""
    if entry.slots is not None:
        slot = entry.slots.newest(now)
    else:
        ends = [_ended(others[name], now) if name in others else None for name in entry.after]
        slot = max((end for end in ends if end is not None), default=None) if None not in ends else None
    if slot is None or slot <= since or slot in known:
        return None
    past = [other for other in known if other <= now]
    # Slots in the future are those of a clock that was ahead: they say nothing about now.
    return slot if not past or slot > max(past) else None


def newest_run(known: Mapping[datetime, RunRecord], now: datetime) -> RunRecord | None:
    """Return an entry's newest run; one of a slot to come, by a clock that was ahead, is none."""
    slot = max((slot for slot in known if slot <= now), default=None)
    return known[slot] if slot is not None else None


def _ended(record: RunRecord, now: datetime) -> datetime | None:
    """Return when a run ended; its slot, if a clock that was ahead says later than now."""
    return record.slot if record.ended is not None and record.ended > now else record.ended


def blocked(entry: Entry, others: Mapping[str, RunRecord], pending: frozenset[str]) -> str:
    """Return what an entry waits for: a name, `failed`, or nothing."""
    for name in entry.after:
        record = others.get(name)
        if name in pending or record is None or record.state in LIVE:
            return name
        if record.state is not RunState.DONE:
            return "failed"
    return ""


def after_attempt(entry: Entry, record: RunRecord, outcome: Outcome, now: datetime) -> tuple[RunState, datetime | None]:
    """Return where a run stands after an attempt, and when its next one begins.

    What may succeed later is tried again, each wait twice as long as the one before, at most six hours; a stop by the window
    (exit code 9, 130 or 143) goes on when it opens and costs no attempt. What cannot succeed later failed for good. A run that
    was committed, but could not read some file or stream, has one more attempt: most such files can be read a little later.
    """
    if outcome.incomplete and record.attempt < min(2, entry.attempts):
        return RunState.WAITING, now + timedelta(seconds=entry.retry_seconds)
    if outcome.succeeded:
        return RunState.DONE, None
    if outcome.exit_code in (9, 130, 143):
        opening = next_opening(entry.windows, now, entry.zone)
        return RunState.WAITING, max(opening, now + timedelta(seconds=min(60.0, entry.retry_seconds)))
    if outcome.retry is Retry.LATER and record.attempt < entry.attempts:
        wait = min(_WAIT_SECONDS_MAX, entry.retry_seconds * 2 ** (record.attempt - 1))
        return RunState.WAITING, now + timedelta(seconds=wait)
    return RunState.FAILED, None
