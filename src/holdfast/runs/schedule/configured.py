"""From the configuration to the schedule: its entries, where its book and its runs lie, the text of its systemd unit."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.base import environment
from holdfast.base.calendar import Window, zone_of
from holdfast.config.checks import slots_of
from holdfast.config.objectives import rpo_of
from holdfast.runs.assembly import state_root
from holdfast.runs.schedule.book import Access, ScheduleBook
from holdfast.runs.schedule.records import Entry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from holdfast.base.environment import Environment
    from holdfast.config import Settings
    from holdfast.runs.monitoring.report import EntryStatus

__all__ = [
    "due_times",
    "entries_of",
    "entry_states",
    "open_schedule_book",
    "runs_folder",
    "schedule_path",
    "service_runs",
    "unit_text",
]


def entries_of(settings: Settings) -> tuple[Entry, ...]:
    """Return the entries of the schedule."""
    zone = zone_of(settings.scheduler.zone)
    return tuple(
        Entry(
            name=name,
            kind=entry.kind,
            job=entry.job,
            slots=slots_of(entry, zone),
            after=entry.after,
            windows=tuple(map(Window.parse, entry.windows)),
            zone=zone,
            stop_at_window_end=entry.stop_at_window_end,
            catch_up=entry.catch_up,
            jitter_seconds=float(entry.jitter_seconds),
            group=entry.group,
            rpo_seconds=rpo_of(settings, entry.job) if entry.kind == "backup" else None,
            grace_seconds=float(entry.grace_seconds),
            attempts=entry.attempts,
            retry_seconds=float(entry.retry_seconds),
            run_seconds_max=float(entry.run_seconds_max),
        )
        for name, entry in settings.schedule.items()
    )


def runs_folder() -> Path:
    """Return where locks and output of scheduled runs lie."""
    return state_root() / "schedule"


def schedule_path() -> Path:
    """Return where this host's schedule book lies."""
    return state_root() / "schedule.sqlite"


@contextmanager
def open_schedule_book(env: Environment | None = None, access: Access = "write") -> Iterator[ScheduleBook]:
    """Open this host's schedule book. `LocalStateError`, for a damaged one too: only its service, whose `own` it is, sets it aside."""
    with closing(ScheduleBook(schedule_path(), env or environment.system(), access)) as book:
        yield book


def service_runs() -> bool:
    """Return whether a service works on this host's schedule."""
    from holdfast.errors import ScheduleBusyError
    from holdfast.runs.schedule.service import service_lock

    try:
        with service_lock(runs_folder()):
            return False
    except ScheduleBusyError:
        return True


def due_times(settings: Settings, now: datetime, count: int) -> list[tuple[str, datetime]]:
    """Return the next times at which entries are due, soonest first."""
    found: list[tuple[str, datetime]] = []
    for entry in entries_of(settings):
        moment = now
        for _ in range(count if entry.slots is not None else 0):
            following = entry.slots.after(moment) if entry.slots is not None else None
            if following is None:
                break
            moment = following
            found.append((entry.name, moment))
    return sorted(found, key=lambda row: (row[1], row[0]))[:count]


def entry_states(settings: Settings, env: Environment | None = None) -> list[EntryStatus]:
    """Return how every entry of the schedule stands."""
    from holdfast.runs.monitoring.gather import entry_status

    env = env or environment.system()
    with open_schedule_book(env, "read") as book:
        return [entry_status(entry, book, env.now()) for entry in entries_of(settings)]


def unit_text(program: str, config: str, state: str, user: str) -> str:
    """Return a systemd unit that runs the schedule: restarted if it dies or hangs, with a minute and more to end in order."""
    return f"""[Unit]
Description=Holdfast: scheduled backups, and the alerts about them
Documentation=man:systemd.service(5)
After=network-online.target local-fs.target time-sync.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={_quoted(program)} schedule run --config {_quoted(os.path.abspath(config))}
Environment={_quoted(f"HOLDFAST_STATE={state}")}
User={user}
Restart=always
RestartSec=10
WatchdogSec=120
KillMode=mixed
TimeoutStopSec=180
Nice=10
IOSchedulingClass=best-effort
IOSchedulingPriority=7
UMask=0077
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
LockPersonality=yes

[Install]
WantedBy=multi-user.target
"""


def _quoted(text: str) -> str:
    """Quote a word for a unit file: `%` is doubled, spaces are kept."""
    text = text.replace("%", "%%")
    return f'"{text}"' if any(letter.isspace() for letter in text) else text
