"""Making parity, and healing by it. Every pack and every row is hashed before it is used, every healed pack before it counts.

The order holds whatever happens: the rows of a new group are durable before the rows of the one it replaces go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from holdfast.errors import DamageError, ObjectMissingError, StoreRefusedError
from holdfast.repository import names
from holdfast.repository.objects import sha256
from holdfast.repository.parity.frame import Group, Member, Stored
from holdfast.repository.parity.patch import eliminated, equations, patched
from holdfast.repository.parity.plan import rows_for

if TYPE_CHECKING:
    from holdfast.repository.engine_port import ParityPort, ParityRowsPort
    from holdfast.repository.parity.plan import ParityPlan, Target
    from holdfast.repository.parity.shelf import Shelf

__all__ = [
    "Healed",
    "ParityDone",
    "apply_plan",
    "heal",
    "mirrored",
    "patch_group",
    "read_sound",
    "store_rows",
    "wrong_rows",
]

PATCHED_BYTES_MAX = 512 << 20
"""Damaged packs of one group that are held in memory to be made whole together."""


@dataclass(frozen=True, slots=True)
class ParityDone:
    """What was made. `left_out` packs could not be read whole: they are in no new group."""

    groups: int
    rows: int
    bytes: int
    dropped: int
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Healed:
    """A pack as it was, from the others of its group."""

    name: str
    folder: int
    data: bytes
    patched: Group | None = None
    """Its group, if what is damaged of it was needed to make it whole: see :func:`mirrored`."""


def read_sound(shelf: Shelf, folder: int, name: str) -> bytes | None:
    """Return a pack whose hash is right, None if it is damaged or missing. `StoreError` if its store does not answer."""
    try:
        data = shelf.repository.store.get(names.pack(name, folder))
    except (ObjectMissingError, DamageError):
        return None
    return data if sha256(data) == name else None


def store_rows(shelf: Shelf, group: Group, rows: ParityRowsPort) -> tuple[Stored, int]:
    """Put the rows of a group; return it as stored, and the bytes put."""
    put = []
    size = 0
    for row in range(group.rows):
        data = rows.row(row, group.header(shelf.vault, row), group.length)
        put.append((row, shelf.put(group, data)))
        size += len(data)
    return Stored(group, tuple(put)), size


def apply_plan(plan: ParityPlan, shelf: Shelf, engine: ParityPort) -> ParityDone:
    """Make the groups of a plan, then delete what they replace. `StoreError` ends it between two groups."""
    groups = count = size = dropped = 0
    left_out: list[str] = []
    for target in plan.targets:
        try:
            made, missing, written = _make(target, shelf, engine)
        except StoreRefusedError:  # a pack that must be thawed first: the others are protected all the same
            left_out += sorted(target.group.names)
            continue
        left_out += missing
        if made is not None:
            groups += 1
            count += len(made.rows)
            size += written
        # Packs that cannot be read are still protected by the old rows: those stay until another group has them.
        if target.base is not None and made is not None and not missing:
            fresh = {sha for _, sha in made.rows}
            for _, sha in target.base.rows:
                if sha not in fresh:
                    shelf.delete(sha)
                    dropped += 1
    for sha in plan.drop:
        shelf.delete(sha)
        dropped += 1
    return ParityDone(groups, count, size, dropped, tuple(left_out))


def _make(target: Target, shelf: Shelf, engine: ParityPort) -> tuple[Stored | None, list[str], int]:
    """Make one group; return it, the packs that could not be read, and the bytes put."""
    with engine.translated():
        taken_over = _taken_over(target, shelf, engine)
        if taken_over is not None:
            stored, size = store_rows(shelf, target.group, taken_over)
            return stored, [], size
        rows = engine.ParityRows(str(shelf.folder), target.group.rows)
        present: list[Member] = []
        missing: list[str] = []
        for member in target.group.members:
            data = read_sound(shelf, target.group.folder, member.name)
            if data is None:
                missing.append(member.name)
            else:
                rows.add(member.slot, data)
                present.append(member)
        if not present:
            return None, missing, 0
        group = replace(target.group, members=tuple(present), rows=rows_for(len(present), target.group.rows))
        stored, size = store_rows(shelf, group, rows)
        return stored, missing, size


def _taken_over(target: Target, shelf: Shelf, engine: ParityPort) -> ParityRowsPort | None:
    """Return the rows of a target made from those of its base; None if reading all its packs is cheaper or the only way."""
    base, group = target.base, target.group
    if base is None or not base.complete or base.group.rows < group.rows:
        return None
    before, after = set(base.group.members), set(group.members)
    changed = before ^ after
    cost = base.group.length * group.rows + sum(member.size for member in changed)
    if cost >= sum(member.size for member in group.members):
        return None
    rows = engine.ParityRows(str(shelf.folder), group.rows)
    try:
        for row, sha in base.rows[: group.rows]:
            rows.add_row(row, shelf.row(sha))
    except (DamageError, ObjectMissingError):
        return None
    for member in sorted(changed, key=lambda each: each.slot):
        data = read_sound(shelf, group.folder, member.name)
        if data is None:
            return None
        rows.add(member.slot, data)
    return rows


def heal(stored: Iterable[Stored], bad: Mapping[str, int], shelf: Shelf, engine: ParityPort) -> Iterator[Healed]:
    """Yield every bad pack (name to folder) that can be brought back, one group at a time; each is hashed.

    What is yielded counts as whole from then on: the caller has put it before it asks for the next. `stored` has the rows
    that are whole. A pack that turns out damaged on the way counts as bad, too.
    """
    left = dict(bad)
    groups = list(stored)
    progress = True
    while progress:
        progress = False
        for one in groups:
            if not one.group.names & left.keys():
                continue
            for healed in _heal_group(one, left, shelf, engine) or patch_group(one, left, shelf, engine):
                progress = True
                left.pop(healed.name, None)
                yield healed


def _heal_group(one: Stored, bad: Collection[str], shelf: Shelf, engine: ParityPort) -> list[Healed]:
    """Return the bad packs as the others and the rows make them, if there are rows enough to do without them."""
    group = one.group
    lost: list[Member] = []
    with engine.translated():
        rows = engine.ParityRows(str(shelf.folder), group.rows)
        for member in group.members:
            data = None if member.name in bad else read_sound(shelf, group.folder, member.name)
            if data is None:
                lost.append(member)
                if len(lost) > len(one.rows):
                    return []
            else:
                rows.add(member.slot, data)
        used: list[int] = []
        for row, sha in one.rows:
            if len(used) == len(lost):
                break
            with suppress(DamageError, ObjectMissingError):
                rows.add_row(row, shelf.row(sha))
                used.append(row)
        if len(used) < len(lost):
            return []
        rows.recover([member.slot for member in lost], used)
        found = [Healed(m.name, group.folder, rows.row(at, b"", m.size)) for at, m in enumerate(lost)]
    return [healed for healed in found if sha256(healed.data) == healed.name]


def patch_group(one: Stored, bad: Collection[str], shelf: Shelf, engine: ParityPort) -> list[Healed]:
    """Return the bad packs that can be made whole sector by sector: more are damaged than there are rows, each in a few places."""
    group = one.group
    present: dict[int, tuple[str, bytes, int]] = {}
    missing: list[int] = []
    with engine.translated():
        rows = engine.ParityRows(str(shelf.folder), group.rows)
        for member in group.members:
            data = _as_it_is(shelf, group, member)
            if data is None:
                missing.append(member.slot)
                continue
            rows.add(member.slot, data)
            if member.name in bad or sha256(data[: member.size]) != member.name:
                present[member.slot] = member.name, data, member.size
                if sum(len(each) for _, each, _ in present.values()) > PATCHED_BYTES_MAX:
                    return []
        syndromes: dict[int, bytes] = {}
        for row, sha in one.rows:
            with suppress(DamageError, ObjectMissingError):
                rows.add_row(row, shelf.row(sha))
                syndromes[row] = rows.row(row, b"", group.length)
    if not present or len(missing) >= len(syndromes):
        return []
    system = eliminated(equations(syndromes, [*missing, *present]), missing)
    return [Healed(name, group.folder, data, group) for name, data in patched(present, system)]


def mirrored(shelf: Shelf, healed: Healed, group: Group, engine: ParityPort) -> Stored:
    """Make a patched pack durable as the only member of a group, before what is damaged of it goes.

    Until it lies under its name again nothing else could make it, nor the packs that were patched with it: a repair that dies
    there goes on from this row.
    """
    member = next(each for each in group.members if each.name == healed.name)
    with engine.translated():
        rows = engine.ParityRows(str(shelf.folder), 1)
        rows.add(member.slot, healed.data)
        stored, _ = store_rows(shelf, replace(group, members=(member,), rows=1), rows)
    return stored


def _as_it_is(shelf: Shelf, group: Group, member: Member) -> bytes | None:
    """Return the bytes that lie under a pack's name, cut or filled with zeros to the length of the rows; None if there are none."""
    try:
        data = shelf.repository.store.get(names.pack(member.name, group.folder))
    except (ObjectMissingError, DamageError):
        return None
    return data[: member.size].ljust(group.length, b"\0")


def wrong_rows(one: Stored, shelf: Shelf, engine: ParityPort) -> tuple[str, ...] | None:
    """Return the rows (SHA) of a group that are not what its packs make; None if a pack or row of it is not whole.

    A row whose bytes hash to its name may still be wrong from the start: made by somebody who lied, or by a faulty machine.
    """
    with engine.translated():
        rows = engine.ParityRows(str(shelf.folder), one.group.rows)
        for member in one.group.members:
            data = read_sound(shelf, one.group.folder, member.name)
            if data is None:
                return None
            rows.add(member.slot, data)
        try:
            for row, sha in one.rows:
                rows.add_row(row, shelf.row(sha))
        except (DamageError, ObjectMissingError):
            return None
        length, zeros = one.group.length, bytes(one.group.length)
        return tuple(sha for row, sha in one.rows if rows.row(row, b"", length) != zeros)
