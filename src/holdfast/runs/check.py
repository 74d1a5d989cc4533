"""A check as a run: the repository's findings as one report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.base.events import Progress, ignore
from holdfast.repository.check import check
from holdfast.runs.migrate import copy_problems
from holdfast.runs.results import CheckReport
from holdfast.runs.witness import older

if TYPE_CHECKING:
    from holdfast.base.events import Events
    from holdfast.runs.assembly import OpenVault


def run_check(vault: OpenVault, *, events: Events = ignore) -> CheckReport:
    """Check; see `Vault.check`."""
    began = vault.env.monotonic()

    def progress(done: int, total: int) -> None:
        events(Progress(phase="check", seconds=vault.env.monotonic() - began, files=done, files_total=total))

    with engine.translated():
        outcome = check(vault.repository, progress=progress)
        problems, notes = copy_problems(vault)
        missing = older(vault)
    if missing:
        problems = (*problems, f"the store shows an older state than this host has seen: {missing} objects are gone")
    return CheckReport(
        objects=outcome.objects,
        packs=outcome.packs,
        bytes=outcome.bytes,
        snapshots=outcome.snapshots,
        problems=(*outcome.problems, *problems),
        notes=(*outcome.notes, *notes),
        seconds=vault.env.monotonic() - began,
    )
