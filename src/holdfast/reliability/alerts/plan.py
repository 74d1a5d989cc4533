"""Who is told what now. Pure: from the open alerts, what was told, and the time, to the messages to send."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from holdfast.errors import Safety
from holdfast.reliability.alerts.records import AlertRecord, AlertState, Telling
from holdfast.reliability.alerts.table import Policy, level_of, levels_told

__all__ = ["Notice", "Plan", "make_plan", "unreached_levels"]

Told = Mapping[tuple[int, str], Telling]


@dataclass(frozen=True, slots=True)
class Notice:
    """One message to one contact."""

    contact: str
    level: int
    alerts: tuple[int, ...]
    urgent: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """The messages to send, the level that each alert has reached, and what quiet hours and storms hold back."""

    notices: tuple[Notice, ...]
    levels: Mapping[int, int]
    held: tuple[tuple[int, str], ...] = ()
    """Pairs of alert and contact that will be told later."""


def unreached_levels(policy: Policy, record: AlertRecord, told: Told) -> frozenset[int]:
    """Return the levels of which every contact was tried since the alert waits, and none reached."""
    found = set()
    for number, level in enumerate(policy.levels, 1):
        tellings = [told.get((record.number, contact)) for contact in level.contacts]
        if tellings and all(
            telling is not None and telling.told_at is None and telling.tried_at is not None for telling in tellings
        ):
            found.add(number)
    return frozenset(found)


def make_plan(
    records: Iterable[AlertRecord],
    told: Told,
    policy: Policy,
    sent_last_hour: Mapping[str, int],
    now: datetime,
) -> Plan:
    """Return what is to be told at `now`. Nothing is told twice before its repeat; nothing urgent is held back."""
    due: dict[str, list[tuple[AlertRecord, int]]] = {}
    held: list[tuple[int, str]] = []
    levels: dict[int, int] = {}
    for record in records:
        if record.state is not AlertState.OPEN:
            continue
        waited = max(0.0, (now - record.waiting_since).total_seconds())
        safety = Safety.AT_RISK if record.urgent else record.safety
        level = level_of(policy, safety, record.retry, waited, unreached_levels(policy, record, told))
        levels[record.number] = level
        for contact, at in _wanted(record, level, told, policy, now):
            if not record.urgent and policy.is_quiet(contact, now):
                held.append((record.number, contact))
            else:
                due.setdefault(contact, []).append((record, at))
    notices: list[Notice] = []
    for contact, rows in due.items():
        made, late = _messages(contact, rows, policy, sent_last_hour.get(contact, 0))
        notices += made
        held += late
    return Plan(tuple(notices), levels, tuple(held))


def _wanted(record: AlertRecord, level: int, told: Told, policy: Policy, now: datetime) -> Iterable[tuple[str, int]]:
    """Yield whom to tell of an alert that has reached a level, each once, with the highest level they belong to."""
    belongs: dict[str, int] = {}
    for number in levels_told(policy, level):
        for contact in policy.levels[number - 1].contacts:
            if contact in policy.contacts:
                belongs[contact] = number
    for contact, number in belongs.items():
        telling = told.get((record.number, contact))
        if telling is None or (telling.told_at is None and telling.tried_at is None):
            yield contact, number
        elif telling.told_at is None:
            if telling.tried_at is not None and (now - telling.tried_at).total_seconds() >= policy.retry_seconds:
                yield contact, number
        elif number == level and _passed(telling, now) >= policy.levels[level - 1].repeat_seconds:
            yield contact, number


def _passed(telling: Telling, now: datetime) -> float:
    """Return the seconds since the last try: one that failed does not begin anew in every round."""
    times = [moment for moment in (telling.told_at, telling.tried_at) if moment is not None]
    return (now - max(times)).total_seconds()


def _messages(
    contact: str, rows: list[tuple[AlertRecord, int]], policy: Policy, sent: int
) -> tuple[list[Notice], list[tuple[int, str]]]:
    """Put a contact's alerts into messages: few alone, many together; no more in an hour than allowed, unless urgent."""
    made: list[Notice] = []
    held: list[tuple[int, str]] = []
    for urgent in (True, False):
        some = [(record, level) for record, level in rows if record.urgent is urgent]
        room = policy.messages_per_hour - sent - len(made)
        if not some:
            continue
        if not urgent and room < 1:
            held += [(record.number, contact) for record, _ in some]
        elif len(some) > policy.collected_above or (not urgent and len(some) > room):
            numbers = tuple(record.number for record, _ in some)
            made.append(Notice(contact, max(level for _, level in some), numbers, urgent))
        else:
            made += [Notice(contact, level, (record.number,), urgent) for record, level in some]
    return made, held
