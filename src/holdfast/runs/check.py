"""A check as a run: the repository's findings as one report, and what the packs concerned cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.base.events import Progress, ignore
from holdfast.errors import DamageError, NotPermittedError
from holdfast.repository.check import CheckOutcome, check
from holdfast.repository.packs import list_packs
from holdfast.repository.rounds import read_damaged
from holdfast.runs.damage import Cost, attribute
from holdfast.runs.migrate import copy_problems
from holdfast.runs.protection import parity_problems
from holdfast.runs.results import CheckReport
from holdfast.runs.witness import older

if TYPE_CHECKING:
    from holdfast.base.events import Events
    from holdfast.runs.assembly import OpenVault

KNOWN = "known"
"""Why a pack counts as damaged that was not looked at: the list of damaged packs names it."""
_REASONS = {"pack-missing": "missing", "pack-size": "size"}


def run_check(vault: OpenVault, *, show_paths: bool = False, events: Events = ignore) -> CheckReport:
    """Check; see `Vault.check`."""
    began = vault.env.monotonic()

    def progress(done: int, total: int) -> None:
        events(Progress(phase="check", seconds=vault.env.monotonic() - began, files=done, files_total=total))

    with engine.translated():
        outcome = check(vault.repository, progress=progress)
        problems, notes = copy_problems(vault)
        parity, unprotected = parity_problems(vault)
        cost, unattributed = _damaged(vault, outcome, show_paths=show_paths)
        missing = older(vault)
    if missing:
        problems = (*problems, f"the store shows an older state than this host has seen: {missing} objects are gone")
    return CheckReport(
        objects=outcome.objects,
        packs=outcome.packs,
        bytes=outcome.bytes,
        snapshots=outcome.snapshots,
        problems=(*outcome.problems, *problems, *parity, *unattributed),
        notes=(*outcome.notes, *notes, *unprotected),
        damaged=cost.packs,
        costs=cost.snapshots,
        seconds=vault.env.monotonic() - began,
    )


def _damaged(vault: OpenVault, outcome: CheckOutcome, *, show_paths: bool) -> tuple[Cost, tuple[str, ...]]:
    """Return what the packs cost that a check found bad, and those that are known to be; if that cannot be told, sentences."""
    bad = {f.object.rpartition("/")[2]: _REASONS[f.kind] for f in outcome.findings if f.kind in _REASONS}
    known = read_damaged(vault.repository.home)
    if not bad and not known:
        return Cost(), ()
    try:
        rows = {row.name.hex(): row for row in vault.refresh_index().packs()}
        wanted = dict.fromkeys(sorted(known & rows.keys()), KNOWN) | bad
        return attribute(vault, wanted, rows, show_paths=show_paths), ()
    except (DamageError, NotPermittedError):
        # Nothing says what they cost, so each that is still there counts.
        stored = list_packs(vault.repository)[0]
        return Cost(), tuple(
            f"pack {name} is known to be damaged" for name in sorted((known & stored.keys()) - bad.keys())
        )
