"""The day in a few lines: what a responsible person reads with the morning mail. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date

from holdfast.reliability.audit.kinds import kind_of
from holdfast.reliability.audit.read import Listed

__all__ = ["daily_digest"]

NAMED_MAX = 20


def daily_digest(
    day: date, listed: Iterable[Listed], *, log: str, size: int, root: str, began: date | None = None
) -> str:
    """Return the digest of a day's records (those whose time, in UTC, is of that day). It keeps counts, and no record.

    Of a day before the log `began` it says that the log has nothing of it.
    """
    done: Counter[tuple[str, str]] = Counter()
    people: Counter[str] = Counter()
    special: list[str] = []
    count = lookable = 0
    for each in listed:
        record = each.record
        if record.time.date() != day:
            continue
        count += 1
        if record.phase == "begin":
            continue
        done[record.kind, record.outcome] += 1
        people[f"{record.actor.user or record.actor.uid} on {record.actor.host}"] += 1
        if record.outcome in {"denied", "failure"} or kind_of(record.kind).event.code == "110113":
            lookable += 1
            if lookable <= NAMED_MAX:
                code = f" ({record.code})" if record.code else ""
                special.append(
                    f"  {record.time:%H:%M:%S}Z record {each.number}: {record.kind} {record.outcome}{code}"
                    f" by {record.actor.user or record.actor.uid}"
                )
    lines = [f"Holdfast, audit of {day.isoformat()} (UTC)", "", f"{count} records."]
    if began is not None and day < began:
        lines.append(f"This log began on {began.isoformat()}: of earlier days it knows nothing.")
    if done:
        lines += ["", "Done:"]
        lines += [f"  {kind:<20} {outcome:<12} {number:>6}" for (kind, outcome), number in sorted(done.items())]
        lines += ["", "By:"]
        lines += [f"  {who:<33} {number:>6}" for who, number in sorted(people.items())]
    lines += [
        "",
        "To be looked at:" if special else "Nothing was denied, failed, or changed keys, access or configuration.",
    ]
    lines += special
    if lookable > NAMED_MAX:
        lines.append(f"  … and {lookable - NAMED_MAX} more: `holdfast audit list`")
    lines += ["", f"Log {log}, {size} records, root {root}."]
    return "\n".join(lines) + "\n"
