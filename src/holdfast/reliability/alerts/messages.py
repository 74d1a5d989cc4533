"""The words of messages. Pure. Made of what alerts say, which holds no path."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import date, datetime

from holdfast.base.alert_codes import next_of
from holdfast.base.environment import format_time
from holdfast.errors import Safety
from holdfast.reliability.alerts.records import SAFETY_RANK, AlertRecord
from holdfast.reliability.alerts.table import Contact
from holdfast.reliability.notify.protocol import Message

__all__ = [
    "REFERENCE",
    "closing_message",
    "digest_message",
    "heartbeat_message",
    "reference",
    "told_message",
    "trial_message",
]

_LISTED_MAX = 50
_STEPS_MAX = 10


REFERENCE = re.compile(r"[1-9][0-9]{0,18}-[0-9a-f]{8}")
"""What a reference looks like."""


def reference(record: AlertRecord) -> str:
    """Return what names an alert outside of its book, as `12-3f9a2c01`: its number, and a digest that no other book's has."""
    text = "\0".join((record.code, record.subject, format_time(record.opened)))
    return f"{record.number}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def told_message(records: Sequence[AlertRecord], *, site: str, level: int, now: datetime, contact: Contact) -> Message:
    """Return the message that tells of one alert, or of several at once."""
    worst = max(records, key=lambda record: SAFETY_RANK[record.safety]).safety
    if len(records) == 1:
        record = records[0]
        subject = f"[Holdfast {site}] {_word(worst)}: {record.code} ({record.subject})"
        body = "\n".join(_described(record))
    else:
        subject = f"[Holdfast {site}] {_word(worst)}: {len(records)} alerts"
        listed = sorted(records, key=lambda record: (-SAFETY_RANK[record.safety], record.number))
        lines = [f"{reference(record)}  {_word(record.safety)}  {record.code} ({record.subject})" for record in listed]
        more = len(lines) - _LISTED_MAX
        body = "\n".join([*lines[:_LISTED_MAX], *([f"… and {more} more: `holdfast alerts list`"] if more > 0 else ())])
        body += "\n\n" + "\n".join(_next_steps(listed))
    body += "\n\nANSWER: `holdfast alerts ack NUMBER`, or a signed reply: `holdfast alerts reply REFERENCE`.\n"
    return Message(
        kind="alert" if len(records) == 1 else "collected",
        site=site,
        subject=subject,
        body=body,
        safety=worst,
        level=level,
        at=now,
        address=contact.address,
        numbers=tuple(record.number for record in records),
        codes=tuple(dict.fromkeys(record.code for record in records)),
        subjects=tuple(dict.fromkeys(record.subject for record in records)),
    )


def _next_steps(records: Sequence[AlertRecord]) -> list[str]:
    """Return what to do, once for each code, the worst first."""
    steps = {record.code: record.next or next_of(record.code) for record in reversed(records)}
    found = [
        f"NEXT ({code}): {steps[code]}" for code in dict.fromkeys(record.code for record in records) if steps[code]
    ]
    more = len(found) - _STEPS_MAX
    return [*found[:_STEPS_MAX], *([f"… and {more} more: `holdfast explain CODE`"] if more > 0 else ())]


def _word(safety: Safety) -> str:
    return {
        Safety.UNTOUCHED: "notice",
        Safety.INTACT: "attention",
        Safety.DEGRADED: "DEGRADED",
        Safety.AT_RISK: "AT RISK",
    }[safety]


def _described(record: AlertRecord) -> list[str]:
    lines = [record.text]
    if record.safe:
        lines.append(f"SAFE: {record.safe}")
    if step := record.next or next_of(record.code):
        lines.append(f"NEXT: {step}")
    times = f"since {record.opened:%Y-%m-%d %H:%M}Z" + (f", seen {record.count} times" if record.count > 1 else "")
    return [
        *lines,
        "",
        f"alert {reference(record)} · {record.code} · {record.subject} · {record.safety.value} · {times}",
    ]


def closing_message(records: Sequence[AlertRecord], *, site: str, now: datetime, contact: Contact) -> Message:
    """Return the message that says that alerts are over."""
    first = records[0]
    what = f"{first.code} ({first.subject})" if len(records) == 1 else f"{len(records)} alerts"
    lines = [f"{reference(record)}  {record.code} ({record.subject})" for record in records[:_LISTED_MAX]]
    return Message(
        kind="resolved",
        site=site,
        subject=f"[Holdfast {site}] over: {what}",
        body="\n".join(lines) + "\n",
        safety=Safety.UNTOUCHED,
        level=0,
        at=now,
        address=contact.address,
        numbers=tuple(record.number for record in records),
        codes=tuple(dict.fromkeys(record.code for record in records)),
        subjects=tuple(dict.fromkeys(record.subject for record in records)),
    )


def trial_message(*, site: str, now: datetime, address: str) -> Message:
    """Return the message of `holdfast alerts test`."""
    return Message(
        kind="test",
        site=site,
        subject=f"[Holdfast {site}] test of this channel",
        body="This is a test. Nothing is wrong, and nothing is to be done.\n",
        safety=Safety.UNTOUCHED,
        level=0,
        at=now,
        address=address,
    )


def digest_message(*, site: str, day: date, verdict: str, text: str, now: datetime, address: str) -> Message:
    """Return the daily digest."""
    return Message(
        kind="digest",
        site=site,
        subject=f"[Holdfast {site}] {day.isoformat()}: {verdict}",
        body=text,
        safety=Safety.UNTOUCHED,
        level=0,
        at=now,
        address=address,
    )


def heartbeat_message(*, site: str, now: datetime, live: int) -> Message:
    """Return the sign of life: whoever gets it misses it when it stays away."""
    return Message(
        kind="heartbeat",
        site=site,
        subject=f"[Holdfast {site}] alive",
        body=f"{live} alerts are open or acknowledged.\n",
        safety=Safety.UNTOUCHED,
        level=0,
        at=now,
    )
