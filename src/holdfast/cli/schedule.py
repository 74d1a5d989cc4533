"""`holdfast schedule`."""

from __future__ import annotations

import getpass
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import click

from holdfast.cli.options import Place, vault_options
from holdfast.cli.output import Output
from holdfast.cli.signals import interruptible
from holdfast.errors import Interrupted, UsageError

if TYPE_CHECKING:
    from holdfast.runs.monitoring.report import EntryStatus

__all__ = [
    "DueTime",
    "RunAsked",
    "list_schedule_command",
    "next_command",
    "now_command",
    "run_schedule_command",
    "schedule_command",
    "unit_command",
]


@dataclass(frozen=True, slots=True)
class DueTime:
    """A time at which an entry of the schedule is due."""

    name: str
    """The entry."""
    due: datetime
    """The time, without its jitter."""


@dataclass(frozen=True, slots=True)
class RunAsked:
    """A run that the service was asked to start."""

    name: str
    """The entry."""
    slot: datetime
    """What the run is known by."""


@click.group("schedule")
def schedule_command() -> None:
    """Run scheduled jobs as a service; list them and their next times."""


@schedule_command.command("run")
@vault_options
def run_schedule_command(*, place: Place, out: Output) -> int:
    """Run the schedule until SIGTERM or SIGINT: start what is due, watch objectives, escalate alerts, give out metrics.

    Meant for systemd: see `holdfast schedule unit`. The log goes to standard error.

    Example: holdfast schedule run --config /etc/holdfast/holdfast.toml
    """
    from holdfast.runs.schedule.service import Stop
    from holdfast.runs.status import run_service

    config = place.configuration()
    try:
        with interruptible() as stop:
            run_service(config, place.config or "", Stop(stop, stop.wait))
    except Interrupted as error:
        return error.exit_code
    out.say("The schedule ended.")
    return 0


@schedule_command.command("list")
@vault_options
def list_schedule_command(*, place: Place, out: Output) -> int:
    """List every entry: its newest run, when it last succeeded, when it is due next.

    Example: holdfast schedule list
    """
    from holdfast.runs.schedule.configured import entry_states

    rows = entry_states(place.configuration().settings)
    if out.as_json:
        for row in rows:
            out.row("schedule-entry", row, "")
    out.table(("ENTRY", "KIND", "STATE", "LAST START", "LAST GOOD", "NEXT", "CODE"), [_row(row) for row in rows])
    if not rows:
        out.say("The configuration schedules nothing.")
    return 0


def _row(row: EntryStatus) -> Sequence[str]:
    return (
        row.name, row.kind, row.state + (f" ({row.attempt})" if row.attempt > 1 else ""), _time(row.last_started),
        _time(row.last_good), _time(row.next_due), row.code or "-",
    )  # fmt: skip


def _time(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}Z" if moment else "-"


@schedule_command.command("next")
@click.option("--count", type=click.IntRange(1, 1000), default=10, help="How many times (10).")
@vault_options
def next_command(*, count: int, place: Place, out: Output) -> int:
    """Show the next times at which entries are due.

    Example: holdfast schedule next --count 20
    """
    from holdfast.base.environment import system
    from holdfast.runs.schedule.configured import due_times

    times = due_times(place.configuration().settings, system().now(), count)
    if out.as_json:
        for name, due in times:
            out.row("due-time", DueTime(name, due), "")
    out.table(("DUE", "ENTRY"), [(_time(due), name) for name, due in times])
    return 0


@schedule_command.command("now")
@click.argument("name")
@vault_options
def now_command(*, name: str, place: Place, out: Output) -> int:
    """Ask the service to start an entry now. Its run counts like any other: one at a time, retried, escalated.

    Example: holdfast schedule now ehr-nightly
    """
    from holdfast.runs.schedule.configured import open_schedule_book, service_runs

    settings = place.configuration().settings
    if name not in settings.schedule:
        known = ", ".join(sorted(settings.schedule)) or "none"
        raise UsageError(f"the schedule has no entry {name}", next=f"its entries are: {known}.")
    with open_schedule_book() as book:
        slot = book.ask(name)
    text = (
        "starts within seconds"
        if service_runs()
        else "starts as soon as `holdfast schedule run` does: it does not run now"
    )
    return out.result("run-asked", RunAsked(name, slot), 0, [f"{name} {text}."])


@schedule_command.command("unit")
@click.option("--user", default="", help="The user that the service runs as; by default this one.")
@vault_options
def unit_command(*, user: str, place: Place, out: Output) -> int:
    """Print a systemd unit for `holdfast schedule run`, with watchdog and restart.

    Example: holdfast schedule unit --config /etc/holdfast/holdfast.toml > /etc/systemd/system/holdfast.service
    """
    from holdfast.runs.assembly import state_root
    from holdfast.runs.schedule.configured import unit_text

    place.configuration()
    program = shutil.which("holdfast") or os.path.abspath(sys.argv[0])
    out.page("unit", unit_text(program, place.config or "", str(state_root()), user or getpass.getuser()))
    return 0
