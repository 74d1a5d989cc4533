"""`holdfast limits`, `pause`, `resume`: steering the runs of this machine while they run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from holdfast.base.units import format_bytes, parse_bytes
from holdfast.cli.options import output_options
from holdfast.cli.output import Output
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.runs.steer import RunStatus

__all__ = ["PauseSet", "limits_command", "pause_command", "resume_command"]

NONE = "none"
_BYTES = ("read_bytes_per_s", "write_bytes_per_s", "network_bytes_per_s", "memory_bytes")


@dataclass(frozen=True, slots=True)
class PauseSet:
    """What a pause or its end changed."""

    paused: bool
    """Whether runs are paused now."""
    run: str
    """The run it is about; empty: all of this machine."""
    changed: bool
    """Whether it was otherwise before."""


def _number(name: str, text: str | None) -> float | None:
    """Read a limit: `20MB/s` and `64MiB` for bytes, a number for the rest, `none` to lift it."""
    if text is None or text == NONE:
        return None
    try:
        return parse_bytes(text.removesuffix("/s")) if name in _BYTES else float(text)
    except ValueError:
        raise UsageError(
            f"{text} is no limit", next="write 20MB/s, 64MiB, a number, or none to lift what was set while running."
        ) from None


@click.command("limits")
@click.option("--run", default="", metavar="ID", help="Only the run whose id begins so; else all that live.")
@click.option("--read", "read_bytes_per_s", metavar="RATE", help="Reading from sources and packs: 20MB/s.")
@click.option("--write", "write_bytes_per_s", metavar="RATE", help="Writing to local stores and restored files.")
@click.option("--network", "network_bytes_per_s", metavar="RATE", help="To and from stores over a network.")
@click.option("--iops", "operations_per_s", metavar="N", help="Calls that disks must answer, per second.")
@click.option("--cpu", "cpu_cores", metavar="CORES", help="CPU time of the process: 0.5 is half a core.")
@click.option("--threads", metavar="N", help="Threads that compute at the same time.")
@click.option("--memory", "memory_bytes", metavar="SIZE", help="Packs in memory.")
@output_options
def limits_command(*, run: str, out: Output, **given: Any) -> int:  # noqa: ANN401 - the limits, by name
    """Show the limits of runs, or change them while they run.

    What is set holds until the run ends, for the middle of a file too; `none` lifts it. Configured limits, windows and the
    governor may keep a run below: the tightest counts. As in: holdfast limits --read 20MB/s --cpu 0.5
    """
    from holdfast.runs import steer

    changes = {name: _number(name, text) for name, text in given.items() if text is not None}
    rows = steer.set_run_limits(changes, run) if changes else steer.run_status(run)
    mark = steer.paused_runs()
    if mark is not None:
        out.say(
            f"All runs of this machine are paused since {mark.since or 'some time'}: {mark.reason or 'no reason given'}"
        )
    if not rows:
        out.say("No run lives on this machine under this user.")
    if out.as_json:
        for row in rows:
            out.row("run", row, "")
    out.table(
        ("RUN", "KIND", "LABEL", "STATE", "LEVEL", "READ", "WRITE", "CPU", "WHY"), [_cells(row) for row in rows], "4567"
    )
    return 0


def _cells(row: RunStatus) -> tuple[str, ...]:
    def rate(used: float, limit: float | None) -> str:
        most = f" of {format_bytes(int(limit))}/s" if limit is not None else ""
        return f"{format_bytes(int(used))}/s{most}"

    cores = f"{row.cpu_cores:.2f}" + (f" of {row.limits.cpu_cores:.2f}" if row.limits.cpu_cores is not None else "")
    return (
        row.run,
        row.kind,
        row.label or "-",
        row.course,
        f"{row.level:.0%}",
        rate(row.read_bytes_per_s, row.limits.read_bytes_per_s),
        rate(row.write_bytes_per_s, row.limits.write_bytes_per_s),
        cores,
        row.reason or "-",
    )


@click.command("pause")
@click.option("--run", default="", metavar="ID", help="Only the run whose id begins so.")
@click.option("--reason", default="", help="Why, for those who come after you.")
@output_options
def pause_command(*, run: str, reason: str, out: Output) -> int:
    """Pause the runs of this machine, those to come too, until `holdfast resume`; or one run.

    Without --run the pause outlives processes and reboots, and a run that begins meanwhile ends with exit code 9. Runs hold
    still within a second, and after `governor.hold_seconds` keep a checkpoint and give their memory back.
    As in: holdfast pause --reason "emergency admission system upgrade"
    """
    from holdfast.runs import steer

    was = steer.paused_runs() is not None
    steer.pause_runs(run, reason=reason)
    out.say(f"Run {run} is paused." if run else "All runs of this machine are paused, and those to come.")
    return out.result("pause", PauseSet(paused=True, run=run, changed=bool(run) or not was), 0, ())


@click.command("resume")
@click.option("--run", default="", metavar="ID", help="Only the run whose id begins so.")
@output_options
def resume_command(*, run: str, out: Output) -> int:
    """Let paused runs go on; those that ended meanwhile go on from their checkpoint when they are started again."""
    from holdfast.runs import steer

    changed = steer.resume_runs(run)
    out.say("Runs go on." if changed else "Nothing was paused.")
    return out.result("pause", PauseSet(paused=False, run=run, changed=changed), 0, ())
