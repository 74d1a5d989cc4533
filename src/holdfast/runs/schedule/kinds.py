"""What each kind of job does: one command line of `holdfast` each. A plug-in's kind is an entry point of `holdfast.jobs`.

A run is a process of its own, so that nothing it does or suffers ends the schedule: it writes JSON lines to a file, from which its
outcome is read, also after the service was killed and started again.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata

from holdfast.config.checks import JOB_GROUP
from holdfast.errors import UsageError
from holdfast.runs.schedule.records import Entry

__all__ = ["arguments_of"]

_KINDS: dict[str, Callable[[Entry], list[str]]] = {
    "backup": lambda entry: ["backup", "--job", entry.job],
    "verify": lambda _entry: ["verify"],
    "prune": lambda _entry: ["prune"],
    "forget": lambda _entry: ["forget"],
    "check": lambda _entry: ["check"],
    "migrate": lambda _entry: ["migrate"],
    "audit": lambda _entry: ["audit", "verify"],
    "digest": lambda _entry: ["audit", "daily", "--send"],
    "drill": lambda entry: ["drill", "run", *([entry.job] if entry.job else [])],
}


def arguments_of(entry: Entry) -> list[str]:
    """Return the arguments of `holdfast` that do an entry's work. `UsageError` if there is no such kind."""
    made = _KINDS.get(entry.kind)
    if made is None:
        for point in metadata.entry_points(group=JOB_GROUP, name=entry.kind):
            made = point.load()
    if made is None:
        raise UsageError(f"there is no kind of job {entry.kind}")
    return made(entry)
