"""A repair of the index as a run: what the packs' own directories say is listed again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.base.events import Progress, ignore
from holdfast.repository import rebuild
from holdfast.runs.results import RepairResult

if TYPE_CHECKING:
    from holdfast.base.events import Events
    from holdfast.runs.assembly import OpenVault


def run_repair_index(
    vault: OpenVault, *, everything: bool = False, dry_run: bool = False, events: Events = ignore
) -> RepairResult:
    """Repair the index; see `Vault.repair_index`."""
    began = vault.env.monotonic()

    def progress(done: int, total: int) -> None:
        events(Progress(phase="repair", seconds=vault.env.monotonic() - began, files=done, files_total=total))

    with engine.translated():
        plan = rebuild.plan(vault.repository, everything=everything)
        if dry_run:
            done = rebuild.RebuildOutcome(0, len(plan.broken_runs), 0, ())
        else:
            done = rebuild.apply(vault.repository, plan, progress=progress)
            vault.refresh_index()
    return RepairResult(
        dry_run=dry_run,
        packs_read=len(plan.packs),
        packs_listed=done.packs_listed,
        packs_damaged=len(done.damaged),
        runs_put=done.runs_put,
        runs_dropped=done.runs_dropped,
        seconds=vault.env.monotonic() - began,
    )
