"""Parity as runs use it: made while a backup stores packs, caught up with by a prune or a repair, looked at by a check."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.base.events import Note
from holdfast.errors import DamageError, HoldfastError, NotPermittedError, StoreError
from holdfast.repository.engine_port import parity_engine
from holdfast.repository.names import DATA_KIND
from holdfast.repository.packs import read_packs
from holdfast.repository.parity.frame import DATA, META, parity_name
from holdfast.repository.parity.plan import PackFact, ParityPlan, plan_parity
from holdfast.repository.parity.shelf import Shelf
from holdfast.repository.parity.stream import ParityStream
from holdfast.repository.parity.work import ParityDone, apply_plan, wrong_rows
from holdfast.repository.rounds import read_rounds
from holdfast.runs.copies import within_reach

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from holdfast.base.events import Events
    from holdfast.repository.packs import PackTable
    from holdfast.repository.parity.frame import Stored
    from holdfast.runs.assembly import OpenVault
    from holdfast.stores.protocol import Data

__all__ = [
    "Held",
    "ParityScrubbed",
    "Protection",
    "pack_facts",
    "parity_plan",
    "parity_problems",
    "protected_anew",
    "reachable",
    "rows_held_against_packs",
    "scrub_parity",
    "shelf_of",
]


def shelf_of(vault: OpenVault) -> Shelf:
    """Return the parity objects of an open vault."""
    return Shelf(vault.repository, vault.folder("parity"), rows=vault.parity_rows)


class Protection:
    """The parity of one backup. It never stops one: what stays unprotected is a note, and the next prune sees to it."""

    def __init__(self, vault: OpenVault, events: Events) -> None:
        """Begin; nothing is read or stored yet."""
        self._stream = ParityStream(shelf_of(vault), parity_engine())
        self._events = events

    def around(self, put: Callable[[bytes, int, Data], None]) -> Callable[[bytes, int, Data], None]:
        """Return a `put` that takes each pack into its group once it is stored."""

        def put_protected(name: bytes, kind: int, data: Data) -> None:
            put(name, kind, data)
            self._stream.add(name.hex(), kind, data)

        return put_protected

    def finish(self) -> None:
        """Store the groups that are not full. The snapshot is committed already."""
        self._stream.finish()
        if self._stream.unprotected:
            why = f" ({self._stream.failure.what})" if self._stream.failure is not None else ""
            text = f"{self._stream.unprotected} packs have no parity yet{why}; the next prune or repair makes it"
            self._events(Note(text, "parity-missing"))


def pack_facts(table: PackTable) -> dict[str, PackFact]:
    """Return every pack of the index as the plan for parity sees it."""
    return {
        name: PackFact(pack.group.class_id, DATA if pack.record.kind == DATA_KIND else META, pack.record.size)
        for name, pack in table.packs.items()
    }


def parity_plan(
    vault: OpenVault, shelf: Shelf, stored: Sequence[Stored] | None = None, table: PackTable | None = None
) -> ParityPlan:
    """Return what is to be done about parity. `NotPermittedError` without the index keys, `DamageError` if a run is lost."""
    deleted = read_rounds(vault.repository.home).deleted
    facts = pack_facts(read_packs(vault.repository, deleted) if table is None else table)
    groups = shelf.groups()[0] if stored is None else stored
    return plan_parity(groups, facts, deleted, shelf.wanted)


def reachable(vault: OpenVault, plan: ParityPlan) -> ParityPlan:
    """Return the part of a plan whose packs can be read without thawing them first."""
    wanted = sorted({member.name for target in plan.targets for member in target.group.members})
    near = set(within_reach(vault, wanted))
    return replace(plan, targets=tuple(t for t in plan.targets if t.group.names <= near))


def protected_anew(vault: OpenVault, events: Events) -> ParityDone:
    """Bring parity in line with the packs that live. What cannot be done now is a note: `check` goes on naming it."""
    shelf = shelf_of(vault)
    try:
        with engine.translated():
            return apply_plan(reachable(vault, parity_plan(vault, shelf)), shelf, parity_engine())
    except (StoreError, DamageError, NotPermittedError) as error:
        events(Note(f"parity could not be brought up to date: {error.what}", "parity-missing"))
        return ParityDone(0, 0, 0, 0)


def parity_problems(vault: OpenVault) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what is wrong with parity objects, as sentences, and as notes which packs are unprotected.

    Headers are read; whole rows are read by a verification.
    """
    shelf = shelf_of(vault)
    problems, notes = [], []
    try:
        stored, broken = shelf.groups()
        problems += [f"parity is damaged: {why}" for _, why in broken]
        for one in stored:
            missing = one.group.rows - len(one.rows)
            if missing:
                name = parity_name(one.rows[0][1])
                problems.append(f"{missing} of {one.group.rows} parity objects of the group of {name} are missing")
        plan = parity_plan(vault, shelf, stored)
    except NotPermittedError:
        notes.append("parity was not compared with the packs: the index keys are not at hand")
    except DamageError as error:
        notes.append(f"parity was not compared with the packs: {error.what}")
    else:
        if plan.unprotected:
            notes.append(
                f"{len(plan.unprotected)} packs have no parity and one copy: `holdfast prune` or `holdfast repair` makes it"
            )
    return tuple(problems), tuple(notes)


@dataclass(frozen=True, slots=True)
class ParityScrubbed:
    """What reading parity objects found. `problems` are sentences; `listed` are all that there are."""

    objects: int = 0
    sound: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()
    listed: frozenset[str] = frozenset()
    fitting: frozenset[str] = frozenset()
    """Those that were made anew from their packs in memory, and are what their packs make."""
    bytes: int = 0
    """What was read, of parity objects and of the packs that they were held against."""


@dataclass(frozen=True, slots=True)
class Held:
    """Which parity objects (SHA) are what their packs make, and which are not; neither where a pack cannot be read whole."""

    fitting: frozenset[str]
    wrong: frozenset[str]
    bytes: int


def scrub_parity(
    vault: OpenVault,
    chosen: Callable[[Sequence[str]], Sequence[str]],
    proved: Collection[str] = (),
    over: Callable[[], bool] = lambda: False,
    bytes_max: int | None = None,
) -> ParityScrubbed:
    """Read and hash the parity objects that `chosen` picks from all; those not in `proved` are held against their packs, too.

    What a row was made of does not change, and neither does the row: once that it fits is enough. It ends when `over`, or
    before more than `bytes_max` bytes are read: one object at least, so that each run goes on.
    """
    shelf = shelf_of(vault)
    problems = []
    sound = set()
    sizes = shelf.listed()
    spent = 0
    for sha in chosen(sorted(sizes)):
        if over() or (bytes_max is not None and spent and spent + sizes[sha] > bytes_max):
            break
        spent += sizes[sha]
        try:
            shelf.row(sha)
        except DamageError as error:
            problems.append(f"parity is damaged: {error.what}")
        except HoldfastError as error:
            problems.append(f"parity could not be read: {error.what}")
        else:
            sound.add(sha)
    read = len(sound) + len(problems)
    left = None if bytes_max is None else max(0, bytes_max - spent)
    held = rows_held_against_packs(vault, shelf, sound.difference(proved), over, left)
    problems += [f"parity is wrong: object {parity_name(sha)} is not what its packs make" for sha in sorted(held.wrong)]
    return ParityScrubbed(
        read, frozenset(sound - held.wrong), tuple(problems), frozenset(sizes), held.fitting, spent + held.bytes
    )


def rows_held_against_packs(
    vault: OpenVault,
    shelf: Shelf,
    rows: Collection[str],
    over: Callable[[], bool] = lambda: False,
    bytes_max: int | None = None,
) -> Held:
    """Hold rows (SHA) against their packs, by whole groups; of a group that `bytes_max` does not pay for nothing is read."""
    fitting: set[str] = set()
    wrong: set[str] = set()
    spent = 0
    for one in shelf.groups()[0]:
        here = {sha for _, sha in one.rows}
        if over() or here.isdisjoint(rows) or len(within_reach(vault, sorted(one.group.names))) < len(one.group.names):
            continue
        cost = sum(member.size for member in one.group.members) + len(here) * one.group.length
        if bytes_max is not None and spent + cost > bytes_max:
            continue
        spent += cost
        try:
            found = wrong_rows(one, shelf, parity_engine())
        except StoreError:
            continue
        if found is not None:
            wrong.update(found)
            fitting.update(here.difference(found))
    return Held(frozenset(fitting), frozenset(wrong), spent)
