"""The alert book and desk of this host, where the local state is."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.base import environment
from holdfast.errors import Retry
from holdfast.reliability.alerts.book import AlertBook
from holdfast.runs.assembly import state_root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.base.environment import Environment
    from holdfast.base.events import Alert
    from holdfast.config import Settings
    from holdfast.reliability.alerts.desk import AlertDesk

__all__ = [
    "ANOMALY_CODES",
    "DRILL_CODES",
    "ENTRY_VARIABLE",
    "book_path",
    "end_alerts",
    "keep_alert",
    "note_end",
    "open_book",
    "open_desk",
    "origin_of",
    "tell_by",
    "tell_directly",
]

DRILL_CODES = frozenset({"drill-failed", "drill-missed", "drill-stale"})
"""The codes of alerts that a full drill which passes puts an end to."""
ANOMALY_CODES = frozenset({"anomaly"})
"""The codes of alerts that the release of all suspicious snapshots of a source puts an end to."""
ENTRY_VARIABLE = "HOLDFAST_SCHEDULE_ENTRY"
"""Names the entry of the schedule that a run was started for."""


def book_path() -> str:
    """Return where this host's alert book lies."""
    return os.fspath(state_root() / "alerts.sqlite")


@contextmanager
def open_book(env: Environment | None = None) -> Iterator[AlertBook]:
    """Open this host's alert book, making it if there is none. `LocalStateError`."""
    with closing(AlertBook(book_path(), env or environment.system())) as book:
        yield book


def origin_of(entry: str) -> str:
    """Return the origin of alerts that a run gives on its way: they are over when a run of the same entry gives them no more."""
    return f"stream:{entry}" if entry else "stream"


def keep_alert(alert: Alert) -> int:
    """Put an alert of a run into the book, whence it is escalated; return its number. `LocalStateError`."""
    with open_book() as book:
        return book.report(alert, origin=origin_of(os.environ.get(ENTRY_VARIABLE, "")), quiet_return_seconds=3600.0)


def tell_directly(alert: Alert, config_path: str) -> int:
    """Tell people of an alert that the book could not take, by the channels of a configuration; return how many messages went.

    A last resort, while a disk is full or broken: it is told once, at once, in quiet hours, too, and nobody is told again. What
    keeps the configuration from being read is raised.
    """
    from holdfast.config import load

    return tell_by(load(config_path).settings, alert, environment.system())


def tell_by(settings: Settings, alert: Alert, env: Environment) -> int:
    """Tell people of an alert past the book, by the channels of a configuration that is read already; see `tell_directly`."""
    from holdfast.reliability.alerts.configured import make_desk

    desk = make_desk(settings, ":memory:", env, os.environ)
    with closing(desk.book):
        awake = {name: replace(contact, quiet=()) for name, contact in desk.policy.contacts.items()}
        desk.policy = replace(desk.policy, contacts=awake)
        desk.report(replace(alert, retry=Retry.NEVER) if alert.retry is Retry.LATER else alert)
        return desk.round().sent


def note_end(command: str, alert: Alert | None) -> None:
    """Note how a command ended that nobody watches and no schedule started: a failure is told, and over when it next succeeds.

    A timer or a script that drops exit codes must not keep a failure from people. `LocalStateError`.
    """
    if os.environ.get(ENTRY_VARIABLE) or (alert is None and not os.path.exists(book_path())):
        return
    origin = f"command:{command}"
    with open_book() as book:
        keep = frozenset({(alert.code, alert.subject)}) if alert is not None else frozenset()
        book.settle(origin=origin, keep=keep)
        if alert is not None:
            book.report(alert, origin=origin)


def end_alerts(subject: str, codes: frozenset[str], *, note: str, env: Environment | None = None) -> int:
    """Resolve the live alerts of a subject with these codes, whose cause is gone; return how many. `LocalStateError`."""
    with open_book(env) as book:
        over = [record.number for record in book.live() if record.subject == subject and record.code in codes]
        for number in over:
            book.resolve(number, note=note)
    return len(over)


@contextmanager
def open_desk(settings: Settings, env: Environment | None = None) -> Iterator[AlertDesk]:
    """Open this host's alert book with the configured people and channels. `LocalStateError`."""
    from holdfast.reliability.alerts.configured import make_desk

    desk = make_desk(settings, book_path(), env or environment.system(), os.environ)
    with closing(desk.book):
        yield desk
