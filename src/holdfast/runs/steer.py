"""Steering the runs of this machine from outside: which there are, their limits, pause and resume.

What is changed is recorded in the audit log of every vault that this host has one of.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.base.environment import Environment, system
from holdfast.errors import RunMissingError
from holdfast.governor.baseline import Baseline
from holdfast.governor.budget import Budget
from holdfast.governor.control import ask
from holdfast.governor.registry import PauseMark, Registry
from holdfast.governor.suggest import Suggestion, suggest
from holdfast.runs.assembly import state_root
from holdfast.runs.governed import FOLDER
from holdfast.runs.operations import asked, noted_by_all

__all__ = ["RunStatus", "pause_runs", "paused_runs", "resume_runs", "run_status", "set_run_limits", "suggest_windows"]


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run that lives on this machine, and how hard it may press."""

    run: str
    """Its id, 8 hex digits."""
    kind: str
    """`backup`, `restore`, `verify`, …"""
    label: str
    """The job's or source's name."""
    pid: int
    started: str
    course: str
    """`run`, `hold` (it holds still), `yield` (it kept a checkpoint and waits), `leave` (it ends with a checkpoint)."""
    reason: str
    """Why it is slowed or held; empty at full speed."""
    level: float
    """Part of full speed that the controller allows."""
    read_bytes_per_s: float
    """What it took lately."""
    write_bytes_per_s: float
    network_bytes_per_s: float
    operations_per_s: float
    cpu_cores: float
    limits: Budget
    """What it may take now; null is no limit."""


def _registry() -> Registry:
    return Registry(state_root() / FOLDER)


def _chosen(run: str) -> list[str]:
    """Return the ids meant: all runs, or the one that begins so. `RunMissingError`."""
    ids = [row.id for row in _registry().live()]
    found = [each for each in ids if each.startswith(run)]
    if run and len(found) != 1:
        raise RunMissingError(f"{len(found) or 'no'} runs of this machine have an id that begins with {run}")
    return found


def run_status(run: str = "") -> tuple[RunStatus, ...]:
    """Return the runs that live, the oldest first; or the one of that id. `RunMissingError`, `SteeringError`."""
    return tuple(_status(ask(_registry().folder, each, {"do": "status"})) for each in _chosen(run))


def set_run_limits(
    changes: Mapping[str, float | None], run: str = "", *, env: Environment | None = None
) -> tuple[RunStatus, ...]:
    """Change limits of all runs that live, or of one, at once and until they end; None lifts what was set so.

    Names are those of :class:`Budget`. Configured limits, windows and the controller may keep a run below them: the
    tightest counts. `RunMissingError`, `SteeringError` (also for a name or value that makes no sense).
    """
    question = {"do": "limits", "set": dict(changes)}
    found = tuple(_status(ask(_registry().folder, each, question)) for each in _chosen(run))
    if found:
        said = {name: "none" if value is None else value for name, value in changes.items()}
        noted_by_all("limits", env or system(), {"run": run, "runs": len(found), **said})
    return found


def pause_runs(run: str = "", *, reason: str = "", env: Environment | None = None) -> tuple[RunStatus, ...]:
    """Pause one run until it is resumed or ends; without an id all runs of this machine, those to come too.

    The latter outlives processes and reboots: a run that begins meanwhile ends with exit code 9 before it touches anything.
    A run that holds still keeps a checkpoint after `governor.hold_seconds` and gives its memory back.
    """
    env = env or system()
    found: tuple[RunStatus, ...] = ()
    if run:
        question = {"do": "pause", "reason": reason}
        found = tuple(_status(ask(_registry().folder, each, question)) for each in _chosen(run))
    else:
        _registry().pause(PauseMark(env.timestamp(), os.geteuid(), reason))
    noted_by_all("pause", env, {"run": run, **asked({"reason": reason})})
    return found


def resume_runs(run: str = "", *, env: Environment | None = None) -> bool:
    """End a pause: of one run, or of the machine; return whether there was one."""
    if run:
        for each in _chosen(run):
            ask(_registry().folder, each, {"do": "resume"})
    elif not _registry().resume():
        return False
    noted_by_all("resume", env or system(), {"run": run})
    return True


def paused_runs() -> PauseMark | None:
    """Return the pause of all runs of this machine, None if there is none."""
    return _registry().paused()


def suggest_windows() -> tuple[Suggestion, ...]:
    """Return windows that the learned latency of the application speaks for; none before a day's hours are known."""
    baseline = Baseline(_registry().folder / "baseline.json")
    return suggest([baseline.by_hour(probe) for probe in baseline.probes()])


def _status(answer: Mapping[str, object]) -> RunStatus:
    row, limits = answer["run"], answer["limits"]
    assert isinstance(row, dict)  # noqa: S101 - our own answer
    assert isinstance(limits, dict)  # noqa: S101 - our own answer
    return RunStatus(
        run=row["id"],
        kind=row["kind"],
        label=row["label"],
        pid=row["pid"],
        started=row["started"],
        course=str(answer["course"]),
        reason=str(answer["reason"]),
        level=float(str(answer["level"])),
        read_bytes_per_s=row["read_bytes_per_s"],
        write_bytes_per_s=row["write_bytes_per_s"],
        network_bytes_per_s=row["network_bytes_per_s"],
        operations_per_s=row["operations_per_s"],
        cpu_cores=row["cpu_cores"],
        limits=Budget(**limits),
    )
