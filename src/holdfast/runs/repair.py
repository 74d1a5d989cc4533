"""Repair: find what is damaged or missing, plan where it comes back from, apply. Nothing is deleted that was not replaced.

Sources in their order: another copy, parity, and for what neither brings back the next backup of the source, which is told
by the signed list of damaged packs. The index comes from the packs' own directories, parity from the packs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.base.events import Progress, ignore
from holdfast.errors import DamageError, HoldfastError
from holdfast.repository import names, rebuild
from holdfast.repository.check import scrub
from holdfast.repository.engine_port import parity_engine
from holdfast.repository.leftovers import clear, plan_leftovers, unreadable
from holdfast.repository.packs import PackTable, list_packs, read_packs
from holdfast.repository.parity.frame import parity_name
from holdfast.repository.parity.plan import ParityPlan, beyond_parity
from holdfast.repository.parity.work import Healed, apply_plan, heal, mirrored, patch_group
from holdfast.repository.placed import PlacedStore
from holdfast.repository.rounds import read_damaged, read_rounds, unreadable_lists, write_damaged
from holdfast.repository.twin_repair import mend_twins
from holdfast.repository.upkeep import keep_decisions
from holdfast.runs import witness
from holdfast.runs.catalog import run_update
from holdfast.runs.check import KNOWN, run_check
from holdfast.runs.copies import scrub_copies, within_reach
from holdfast.runs.damage import Cost, attribute
from holdfast.runs.ledger import Ledger
from holdfast.runs.migrate import run_repair_copies
from holdfast.runs.protection import parity_plan, reachable, rows_held_against_packs, shelf_of
from holdfast.runs.results import PackRepair, RepairReport, RepairResult
from holdfast.runs.verify import LEDGER_FILE

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.base.events import Events
    from holdfast.repository.parity.frame import Stored
    from holdfast.repository.parity.shelf import Broken, Shelf
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.results import CheckReport
    from holdfast.runs.tier_results import CopyRepair

MISSING, HASH = "missing", "hash"
_SHA = re.compile(r"\b[0-9a-f]{64}\b")


@dataclass(frozen=True, slots=True)
class RepairRequest:
    """What to look at, and whether to act."""

    known_only: bool = False
    show_paths: bool = False
    dry_run: bool = False
    clear: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RepairPlan:
    """What was found. `kinds` is the folder of every pack that is bad; `stored` the parity groups with rows that are whole."""

    index: rebuild.RebuildPlan
    bad: dict[str, str]
    kinds: dict[str, int]
    whole: frozenset[str]
    read: int
    stored: tuple[Stored, ...]
    broken: tuple[Broken, ...]
    beyond: frozenset[str]


def run_repair_index(
    vault: OpenVault, *, everything: bool = False, dry_run: bool = False, events: Events = ignore
) -> RepairResult:
    """Repair the index; see `Vault.repair_index`."""
    progress, seconds = _progress(vault, events)
    with engine.translated():
        plan = rebuild.plan(vault.repository, everything=everything)
        return _index(vault, plan, progress, seconds, dry_run=dry_run)


def _progress(vault: OpenVault, events: Events) -> tuple[Callable[[int, int], None], Callable[[], float]]:
    began = vault.env.monotonic()

    def seconds() -> float:
        return vault.env.monotonic() - began

    def progress(done: int, total: int) -> None:
        events(Progress(phase="repair", seconds=seconds(), files=done, files_total=total))

    return progress, seconds


def _index(
    vault: OpenVault,
    plan: rebuild.RebuildPlan,
    progress: Callable[[int, int], None],
    seconds: Callable[[], float],
    *,
    dry_run: bool,
) -> RepairResult:
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
        seconds=seconds(),
    )


def plan_repair(vault: OpenVault, request: RepairRequest, progress: Callable[[int, int], None]) -> RepairPlan:
    """Find what is bad. Nothing changes but this host's ledger of copies."""
    repository = vault.repository
    shelf = shelf_of(vault)
    began = vault.env.now().timestamp()
    index = rebuild.plan(repository)
    stored, broken = shelf.groups() if request.known_only else shelf.sound()
    deleted = read_rounds(repository.home).deleted
    sizes, listed = list_packs(repository)
    kinds = {name: kind for name, kind in _expected(vault, deleted, stored) if name not in deleted} | {
        name: kind for name, kind in listed.items() if name not in deleted
    }
    known = read_damaged(repository.home)
    reading = sorted(name for name in kinds if name in sizes and (not request.known_only or name in known))
    reading = within_reach(vault, reading)
    bad = dict.fromkeys((name for name in kinds if name not in sizes), MISSING)
    bad |= dict.fromkeys(scrub(repository, reading, kinds, progress), HASH)
    whole = frozenset(reading) - bad.keys()
    if not request.known_only:
        scrub_copies(vault, [name for name in reading if kinds[name] == names.DATA_KIND], whole, began)
    stored, wrong = _fitting(vault, shelf, stored, request)
    beyond = beyond_parity(stored, bad) - _patchable(shelf, stored, bad)
    return RepairPlan(index, bad, kinds, whole, len(reading), stored, (*broken, *wrong), beyond)


def _fitting(
    vault: OpenVault, shelf: Shelf, stored: tuple[Stored, ...], request: RepairRequest
) -> tuple[tuple[Stored, ...], tuple[Broken, ...]]:
    """Return the groups without the rows that are not what their packs make, and those rows; unless only known damage counts."""
    if request.known_only:
        return stored, ()
    proved = Ledger.load(vault.folder("ledger") / LEDGER_FILE).records
    wrong = rows_held_against_packs(vault, shelf, [s for one in stored for _, s in one.rows if s not in proved]).wrong
    left = tuple(replace(one, rows=tuple(row for row in one.rows if row[1] not in wrong)) for one in stored)
    return left, tuple((sha, f"object {parity_name(sha)} is not what its packs make") for sha in sorted(wrong))


def _patchable(shelf: Shelf, stored: tuple[Stored, ...], bad: dict[str, str]) -> frozenset[str]:
    """Return the packs that are more than parity brings back as a whole, and that come back sector by sector."""
    hopeless = beyond_parity(stored, bad)
    found: set[str] = set()
    for one in stored:
        if one.group.names & hopeless:
            found.update(healed.name for healed in patch_group(one, bad, shelf, parity_engine()))
    return frozenset(found)


def _expected(vault: OpenVault, deleted: frozenset[str], stored: tuple[Stored, ...]) -> Iterator[tuple[str, int]]:
    """Yield the packs that should be there: what parity groups and, where it can be read, the index name."""
    for one in stored:
        for member in one.group.members:
            yield member.name, one.group.folder
    table = _table(vault, deleted)
    if table is not None:
        for name, pack in table.packs.items():
            yield name, pack.record.kind


def _table(vault: OpenVault, deleted: frozenset[str]) -> PackTable | None:
    try:
        return read_packs(vault.repository, deleted)
    except DamageError:
        return None


@dataclass(slots=True)
class _Repair:
    """A plan being applied."""

    vault: OpenVault
    plan: RepairPlan
    shelf: Shelf
    done: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def heal(self) -> None:
        """Bring packs back from parity: the bytes are proved, what lies under the name goes, then they are put."""
        bad = {name: self.plan.kinds[name] for name in self.plan.bad}
        for healed in heal(self.plan.stored, bad, self.shelf, parity_engine()):
            try:
                self._put_back(healed)
            except HoldfastError as error:
                self.problems.append(f"pack {healed.name} could not be put back: {error.what}")
            else:
                self.done.add(healed.name)

    def _put_back(self, healed: Healed) -> None:
        store = self.vault.repository.store
        name = names.pack(healed.name, healed.folder)
        mirror = None
        if store.size(name) is not None:
            if healed.patched is not None:
                mirror = mirrored(self.shelf, healed, healed.patched, parity_engine())
            store.delete(name)
        store.put(name, healed.data)
        for _, sha in mirror.rows if mirror is not None else ():
            self.shelf.delete(sha)

    def tell_writers(self) -> str:
        """List what nothing brought back, and take off the list what is whole; return the list's name if it changed."""
        repository = self.vault.repository
        known = read_damaged(repository.home)
        now = (known | self.plan.bad.keys()) - self.done - self.plan.whole
        if now == known and not unreadable_lists(repository.home):
            return ""
        return write_damaged(repository.home, repository.root, frozenset(now))

    def protect(self) -> tuple[int, int]:
        """Make parity anew where it is damaged or missing; return groups made, and packs that had none."""
        for sha, _ in self.plan.broken:
            self.shelf.delete(sha)
        try:
            plan = reachable(self.vault, self.parity())
            made = apply_plan(plan, self.shelf, parity_engine())
        except HoldfastError as error:
            self.problems.append(f"parity could not be made anew: {error.what}")
            return 0, 0
        return made.groups, len(plan.unprotected)

    def parity(self) -> ParityPlan:
        return parity_plan(self.vault, self.shelf, self.plan.stored)


def run_repair(vault: OpenVault, request: RepairRequest, *, events: Events = ignore) -> RepairReport:
    """Repair everything; see `Vault.repair`."""
    vault.repository.root  # noqa: B018 - refused early without the root key
    progress, seconds = _progress(vault, events)
    with engine.translated():
        found = run_check(vault) if request.dry_run else None
        cleared = unreadable(vault.repository.home, request.clear)
        if not request.dry_run:
            _clear(vault, cleared)
        opening = mend_twins(vault.repository, dry_run=request.dry_run)
        kept = keep_decisions(vault.repository, dry_run=request.dry_run)
        left = plan_leftovers(vault.repository.home)
        if not request.dry_run:
            clear(vault.repository, left)
        plan = plan_repair(vault, request, progress)
        work = _Repair(vault, plan, shelf_of(vault))
        if request.dry_run:
            index = _index(vault, plan.index, progress, seconds, dry_run=True)
            groups, unprotected = _parity_counts(work)
            listed, catalog = "", ""
        else:
            work.heal()
            listed = work.tell_writers()
            index = _index(vault, rebuild.plan(vault.repository), progress, seconds, dry_run=False)
            groups, unprotected = work.protect()
            catalog = _catalog(vault, events)
        copies = _copies(vault, request, events)
        lost = _lost(vault, work, request)
    work.problems += _others(found or run_check(vault), work)
    return RepairReport(
        dry_run=request.dry_run,
        index=index,
        packs_read=plan.read,
        packs=tuple(
            PackRepair(name, reason, "" if name in plan.beyond else "parity", done=name in work.done)
            for name, reason in sorted(plan.bad.items())
        ),
        lost=lost.packs,
        costs=lost.snapshots,
        decisions=kept.put_back + kept.kept,
        decisions_lost=kept.put_back,
        opening_lost=opening.lost,
        opening_kept=len(opening.kept),
        leftovers=left.count,
        cleared=cleared,
        parity_groups=groups,
        parity_damaged=len(plan.broken),
        unprotected=unprotected,
        copies=copies,
        damaged_list=listed,
        catalog=catalog,
        problems=tuple(work.problems),
        seconds=seconds(),
    )


def _clear(vault: OpenVault, gone: tuple[str, ...]) -> None:
    """Delete what root gave up by name."""
    for name in gone:
        vault.repository.store.delete(name)
    witness.cleared(vault, gone)


def _others(found: CheckReport, work: _Repair) -> list[str]:
    """Return what a check finds, but for the packs that the report names anyway."""
    named = work.plan.bad.keys() - work.done
    others = [problem for problem in found.problems if named.isdisjoint(_SHA.findall(problem))]
    unread = (pack.pack for pack in found.damaged if pack.reason == KNOWN and pack.needed_by)
    return others + [f"pack {name} is known to be damaged" for name in unread if name not in named | work.plan.whole]


def _parity_counts(work: _Repair) -> tuple[int, int]:
    try:
        plan = work.parity()
    except DamageError:
        return 0, 0
    return len(plan.targets), len(plan.unprotected)


def _copies(vault: OpenVault, request: RepairRequest, events: Events) -> CopyRepair | None:
    if not isinstance(vault.store, PlacedStore):
        return None
    return run_repair_copies(vault, dry_run=request.dry_run, events=events)


def _catalog(vault: OpenVault, events: Events) -> str:
    """Bring the catalog up to date; one that cannot be is made anew."""
    if vault.keyring_or_none() is None:
        return ""
    try:
        run_update(vault, events=events)
    except HoldfastError:
        run_update(vault, rebuild=True, events=events)
        return "rebuilt"
    return "current"


def _lost(vault: OpenVault, work: _Repair, request: RepairRequest) -> Cost:
    """Return what the packs cost that nothing brings back."""
    left = work.plan.beyond if request.dry_run else work.plan.bad.keys() - work.done
    if not left:
        return Cost()
    try:
        rows = {row.name.hex(): row for row in vault.refresh_index().packs()}
        return attribute(vault, {n: work.plan.bad[n] for n in left}, rows, show_paths=request.show_paths)
    except HoldfastError as error:
        work.problems.append(f"what {len(left)} lost packs cost could not be read: {error.what}")
        return Cost()
