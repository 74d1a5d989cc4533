"""Migration: packs to where their class and age want them. Planned, then applied; copy, prove, note, delete, one by one.

A crash after any line leaves each pack whole where it was or where it goes, or both: the next migration finds that and
goes on. Packs that a prune round has condemned are left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.base.events import Events, Note, Progress, ignore
from holdfast.classes.routing import MovePlan, MoveStep, PackFacts, plan_moves
from holdfast.errors import DamageError, StoreError, UsageError
from holdfast.repository.copies import StepDone, apply_step
from holdfast.repository.placed import PlacedStore, pack_name
from holdfast.repository.rounds import read_rounds
from holdfast.repository.stock import take_stock
from holdfast.runs.governed import governed
from holdfast.runs.pending import drain
from holdfast.runs.tier_results import CopyRepair, MigrateResult, MoveRow

if TYPE_CHECKING:
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.governed import GovernedRun
    from holdfast.runs.options import Cancel, Limits

__all__ = ["copy_problems", "migrate_plan", "placed", "rows_of", "run_migrate", "run_repair_copies", "stock"]

ROUNDS_EVERY = 32
"""Condemned lists are read again after so many packs."""
HEAL, MISPLACED = 1, 0
_SAFE = "every pack is whole where it was or where it goes; nothing is lost."


def placed(vault: OpenVault) -> PlacedStore:
    """Return the vault's stores as one. `UsageError` for a vault without policies: all its packs stay on the home."""
    if not isinstance(vault.store, PlacedStore):
        raise UsageError(
            "this vault has one store and no policies: there is nothing to move",
            next="name stores and policies in the configuration; docs/tiers.md shows how.",
        )
    return vault.store


def stock(vault: OpenVault) -> tuple[PackFacts, ...]:
    """Return every data pack that is not condemned, by what the stores say now. `StoreError` if one does not answer."""
    store = placed(vault)
    facts = take_stock(vault.repository, store, vault.whole_index())
    excluded = read_rounds(vault.repository.home).excluded()
    return tuple(pack for pack in facts if pack.name not in excluded)


def migrate_plan(vault: OpenVault, *, budget_bytes: int | None = None) -> MovePlan:
    """Return what a migration would do. Asks every store; changes nothing but the local ledger."""
    with engine.translated():
        return plan_moves(placed(vault).book, stock(vault), budget_bytes=budget_bytes)


def run_migrate(
    vault: OpenVault,
    plan: MovePlan | None = None,
    *,
    budget_bytes: int | None = None,
    dry_run: bool = False,
    events: Events = ignore,
    limits: Limits | None = None,
    stop: Cancel | None = None,
) -> MigrateResult:
    """Migrate; see `Vault.migrate`."""
    began = vault.env.monotonic()
    store = placed(vault)
    store.forget_outages()
    if dry_run:
        chosen = migrate_plan(vault, budget_bytes=budget_bytes) if plan is None else plan
        work = _Work(vault, store, chosen, events)
    else:
        with (
            engine.translated(),
            governed(vault, limits, kind="migrate", events=events, stop=stop, safe=_SAFE) as steered,
        ):
            if plan is None:
                drain(vault, events=events, stopped=steered.is_over)
            chosen = migrate_plan(vault, budget_bytes=budget_bytes) if plan is None else plan
            work = _Work(vault, store, chosen, events)
            work.run(steered)
            for alert in store.alerts():
                events(alert)
    return MigrateResult(
        dry_run=dry_run,
        rows=rows_of(chosen),
        packs=len(chosen.steps),
        copied_bytes=chosen.copy_bytes if dry_run else work.bytes,
        copies=sum(len(step.copy_to) for step in chosen.steps) if dry_run else work.copies,
        deleted=sum(len(step.delete_from) for step in chosen.steps) if dry_run else work.deleted,
        retained=work.retained,
        failed=work.failed,
        later=chosen.later,
        later_bytes=chosen.later_bytes,
        seconds=vault.env.monotonic() - began,
    )


def rows_of(plan: MovePlan) -> tuple[MoveRow, ...]:
    """Return a plan's steps taken together by class, reason and stores."""
    found: dict[tuple[str, str, tuple[str, ...], tuple[str, ...]], list[MoveStep]] = {}
    for step in plan.steps:
        found.setdefault((step.class_name, step.reason, step.copy_to, step.delete_from), []).append(step)
    return tuple(MoveRow(*key, len(steps), sum(step.size for step in steps)) for key, steps in sorted(found.items()))


class _Work:
    """A plan being applied."""

    def __init__(self, vault: OpenVault, store: PlacedStore, plan: MovePlan, events: Events) -> None:
        self.vault = vault
        self.store = store
        self.plan = plan
        self.events = events
        self.bytes = self.copies = self.deleted = self.retained = self.failed = self.done = 0
        self._began = vault.env.monotonic()

    def run(self, steered: GovernedRun | None = None) -> None:
        excluded: frozenset[str] = frozenset()
        moved: list[str] = []
        for at, step in enumerate(self.plan.steps):
            if steered is not None and steered.is_over():
                raise steered.why()
            if at % ROUNDS_EVERY == 0:
                excluded = read_rounds(self.vault.repository.home).excluded()
            if step.pack not in excluded:
                self._step(step)
                moved.append(step.pack)
            self._tell()
        self._sweep(moved)

    def _step(self, step: MoveStep) -> None:
        row = self.store.placements.row(step.pack)
        if any(self.store.is_down(where) for where in (*step.copy_to, *step.delete_from)):
            self.failed += 1
            return
        kept = (row.sound_on if row is not None else frozenset()) - set(step.delete_from) - {"spool"}
        try:
            done = apply_step(self.store, step, kept)
        except (StoreError, DamageError) as error:
            self.failed += 1
            self.events(Note(f"a pack was not moved: {error.what}", error.code))
            return
        self._count(done)

    def _count(self, done: StepDone) -> None:
        self.bytes += done.copied_bytes
        self.copies += done.copies
        self.deleted += done.deleted
        self.retained += done.retained
        self.done += 1

    def _tell(self) -> None:
        self.events(
            Progress(
                phase="move",
                seconds=self.vault.env.monotonic() - self._began,
                files=self.done,
                bytes=self.bytes,
                stored_bytes=self.bytes,
                files_total=len(self.plan.steps),
                bytes_total=self.plan.copy_bytes,
            )
        )

    def _sweep(self, moved: list[str]) -> None:
        """Delete again what a prune deleted while it was being copied: a pack's name never comes back."""
        deleted = read_rounds(self.vault.repository.home)
        closed = frozenset(sha for r in deleted.rounds if r.closed and r.plan for sha in r.plan.delete)
        for pack in moved:
            if pack in closed:
                self.store.delete(pack_name(pack))


def copy_problems(vault: OpenVault) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what is wrong with copies, as sentences, and what merely waits, as notes. Nothing for a single store."""
    if not isinstance(vault.store, PlacedStore):
        return (), ()
    book = vault.store.book
    problems, notes = [], []
    for pack in stock(vault):
        plan = plan_moves(book, [pack])
        short = f"pack {pack.name} ({pack.class_name or 'class unknown'})"
        for step in plan.steps:
            if step.urgency == MISPLACED:
                where = ", ".join(sorted((pack.on | pack.bad) - book.allowed(pack.class_name)))
                problems.append(f"{short} lies on {where}, where its class may not lie: run `holdfast migrate`")
            elif step.urgency == HEAL and pack.bad:
                where = ", ".join(sorted(pack.bad))
                problems.append(f"{short}: its copy on {where} is lost or damaged: run `holdfast repair copies`")
            elif step.urgency == HEAL:
                notes.append(f"{short} waits for {', '.join(step.copy_to) or 'the spool to be emptied'}")
    return tuple(problems), tuple(notes)


def run_repair_copies(vault: OpenVault, *, dry_run: bool = False, events: Events = ignore) -> CopyRepair:
    """Heal copies; see `Vault.repair_copies`."""
    began = vault.env.monotonic()
    store = placed(vault)
    store.forget_outages()
    with engine.translated():
        facts = stock(vault)
        plan = plan_moves(store.book, facts)
        heal = tuple(step for step in plan.steps if step.urgency <= HEAL)
        work = _Work(vault, store, MovePlan(heal, sum(step.size * len(step.copy_to) for step in heal)), events)
        if not dry_run:
            work.run()
    return CopyRepair(
        dry_run=dry_run,
        packs=len(facts),
        missing=sum(len(step.copy_to) for step in heal),
        misplaced=sum(step.urgency == MISPLACED for step in heal),
        healed=work.copies,
        failed=work.failed,
        lost=sum(not pack.on and not pack.spooled for pack in facts),
        seconds=vault.env.monotonic() - began,
    )
