"""What damaged packs cost: the segments of them that really do not open, and the files, classes and snapshots that need those.

Each segment is read as a restore reads it; each part of a tree is looked at once, however many snapshots share it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.base.values import dataclass
from holdfast.errors import DamageError, NotPermittedError, StoreError
from holdfast.repository.listing import read_part
from holdfast.repository.marking import SetReader, packs_of
from holdfast.repository.packs import read_runs
from holdfast.repository.refsets import Segments
from holdfast.repository.snapshots import select
from holdfast.runs.results import DamagedPack, SnapshotCost

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from holdfast.repository.types import ClassPart, SnapshotInfo
    from holdfast.runs.assembly import OpenVault

PATHS_MAX = 1000
UNKNOWN = -1

Segment = tuple[bytes, int]


@dataclass(frozen=True, slots=True)
class Cost:
    """What damage costs, by pack and by snapshot."""

    packs: tuple[DamagedPack, ...] = ()
    snapshots: tuple[SnapshotCost, ...] = ()


def attribute(
    vault: OpenVault,
    damaged: Mapping[str, str],
    rows: Mapping[str, engine.PackRow],
    *,
    show_paths: bool,
    wrong: Iterable[Segment] = (),
) -> Cost:
    """Return what damaged packs cost. Nothing is read if there is none; else these packs, and the trees concerned.

    `wrong` are segments that open and hold something else than they should. What cannot be read now counts as lost, and a set
    or tree that cannot be read as concerned: damage is never made smaller than it may be.
    """
    if not damaged:
        return Cost()
    known = sorted(pack for pack in damaged if pack in rows)
    listed = vault.whole_index().segments_of([bytes.fromhex(pack) for pack in known])
    lost = _unreadable(vault, listed, known) | set(wrong)
    numbers = {bytes.fromhex(pack): number for number, pack in enumerate(known)}
    snapshots = vault.snapshots()
    walk = _Walk(vault, snapshots, [(origin, ordinal, numbers[pack]) for pack, origin, ordinal in listed], lost)
    for info in snapshots:
        for part in info.classes:
            walk.take(
                info, part, {number for pack, number in numbers.items() if rows[pack.hex()].class_id == part.class_id}
            )
    found = []
    for pack, reason in sorted(damaged.items()):
        row = rows.get(pack)
        class_name = vault.repository.classes.get(row.class_id, "") if row is not None else ""
        found.append(walk.pack(numbers.get(bytes.fromhex(pack)), pack, reason, class_name, show_paths=show_paths))
    return Cost(tuple(found), walk.snapshots(show_paths=show_paths))


def packs_needed(vault: OpenVault, snapshots: Sequence[str]) -> frozenset[str]:
    """Return the packs that hold what the given snapshots (ids or selectors) need. `SnapshotMissingError`."""
    every = vault.snapshots()
    reader = SetReader(vault.repository)
    index = vault.whole_index()
    found: set[str] = set()
    for selector in snapshots:
        for part in select(every, selector).classes:
            found.update(row.name.hex() for row in packs_of(index, reader.read(part.refs)))
    return frozenset(found)


def unlisted(vault: OpenVault, info: SnapshotInfo, classes: frozenset[int] | None = None) -> int:
    """Return how many segments that a snapshot needs are in no index run that can be read: their packs may be whole."""
    listed = Segments.of(
        [
            (row.origin, row.ordinal)
            for _, records in read_runs(vault.repository, [])
            for r in records
            for row in r.segments
        ]
    )
    reader = SetReader(vault.repository)
    found = 0
    for part in info.classes:
        if classes is not None and part.class_id not in classes:
            continue
        try:
            found += len(reader.read(part.refs).minus(listed))
        except (DamageError, NotPermittedError):
            continue
    return found


def _unreadable(vault: OpenVault, listed: Sequence[tuple[bytes, bytes, int]], packs: Sequence[str]) -> set[Segment]:
    """Return which of the packs' segments do not open. Without keys, or while a store is away: all of them."""
    if vault.keyring_or_none() is not None:
        try:
            with engine.translated():
                found = engine.unreadable(vault.reader(), [bytes.fromhex(pack) for pack in packs], vault.limits)
                return {(origin, ordinal) for _, origin, ordinal in found}
        except StoreError:
            pass
    return {(origin, ordinal) for _, origin, ordinal in listed}


class _Walk:
    """The walk of all trees that may have lost something, and what it found so far."""

    def __init__(
        self,
        vault: OpenVault,
        snapshots: Sequence[SnapshotInfo],
        listed: Sequence[tuple[bytes, int, int]],
        lost: set[Segment],
    ) -> None:
        """Take what the damaged packs hold, each segment with its pack's number, and which segments are lost."""
        self._vault = vault
        self._ids = [info.id for info in snapshots]
        self._sets = SetReader(vault.repository)
        by_pack: dict[int, list[Segment]] = defaultdict(list)
        for origin, ordinal, number in listed:
            by_pack[number].append((origin, ordinal))
        self._held = {number: Segments.of(segments) for number, segments in by_pack.items()}
        """All that each pack holds."""
        self._lost = {number: Segments.of([s for s in segments if s in lost]) for number, segments in by_pack.items()}
        """What is lost of it."""
        self._rows = [row for row in listed if row[:2] in lost]
        self._packs = 1 + max((number for _, _, number in listed), default=-1)
        self._affected: engine.Affected | None = None
        self._needs: dict[tuple[str, bool], frozenset[int]] = {}
        self._trees: dict[str, engine.TreeCost] = {}
        self._roots: dict[SnapshotCost, str] = {}
        self._costs: list[SnapshotCost] = []
        self._needing: dict[int, set[str]] = defaultdict(set)
        self._costing: dict[int, set[str]] = defaultdict(set)
        self._unnamed: dict[int, int] = defaultdict(int)
        self._locked: set[int] = set()
        self._uncounted: set[int] = set()

    def take(self, info: SnapshotInfo, part: ClassPart, packs: set[int]) -> None:
        """Take in one class of a snapshot; `packs` are those of that class."""
        for number in self._needed(part.refs, packs, lost=False):
            self._needing[number].add(info.id)
        lost = self._needed(part.refs, packs, lost=True)
        if not lost:
            return
        class_name = self._vault.repository.classes.get(part.class_id, "")
        try:
            root, cost, unnamed, unnamed_bytes = self._walk(info, part)
        except (DamageError, NotPermittedError) as error:
            self._uncounted |= lost
            if isinstance(error, NotPermittedError):
                self._locked |= lost
            for number in lost:
                self._costing[number].add(info.id)
            self._costs.append(SnapshotCost(info.id, class_name, UNKNOWN))
            return
        for number in cost.packs:
            self._costing[number].add(info.id)
        if cost.packs or cost.files or unnamed:
            one = SnapshotCost(
                info.id,
                class_name,
                cost.files,
                bytes=cost.bytes,
                unnamed=unnamed,
                unnamed_bytes=unnamed_bytes,
                unlisted=cost.unlisted,
            )
            self._roots[one] = root
            self._costs.append(one)

    def _walk(self, info: SnapshotInfo, part: ClassPart) -> tuple[str, engine.TreeCost, int, int]:
        """Return a tree's root and cost. Of a root that is lost, the snapshot's part says how much was under it."""
        sealed = read_part(self._vault.repository, info, part.class_id)
        known = self._trees.get(sealed.root)
        with engine.translated():
            cost = known or self._walker().walk(sealed.root)
        self._trees[sealed.root] = cost
        if not cost.lost:
            return sealed.root, cost, cost.unnamed, cost.unnamed_bytes
        if known is None:
            for number in cost.packs:
                self._unnamed[number] += sealed.entries
        return sealed.root, cost, sealed.entries, sealed.content_bytes

    def _walker(self) -> engine.Affected:
        if self._affected is None:
            self._affected = engine.Affected(self._vault.reader(*self._ids), self._rows, self._packs, PATHS_MAX)
        return self._affected

    def _needed(self, refs: str, packs: set[int], *, lost: bool) -> frozenset[int]:
        """Return which packs hold (or have lost) something that a reference set names; all if it cannot be read."""
        if not packs:
            return frozenset()
        key = (refs, lost)
        if key not in self._needs:
            held = self._lost if lost else self._held
            try:
                needed = self._sets.read(refs)
            except (DamageError, NotPermittedError):
                return frozenset(number for number in packs if held.get(number))
            self._needs[key] = frozenset(n for n, segments in held.items() if segments.meets(needed))
        return self._needs[key] & packs

    def pack(self, number: int | None, pack: str, reason: str, class_name: str, *, show_paths: bool) -> DamagedPack:
        """Return what one pack costs. One that the index does not know costs nothing that could be told."""
        if number is None:
            return DamagedPack(pack, reason, class_name)
        cost = self._walker().pack(number) if self._affected is not None and number in self._held else None
        return DamagedPack(
            pack=pack,
            reason=reason,
            class_name=class_name,
            snapshots=tuple(sorted(self._costing[number])),
            files=UNKNOWN if number in self._uncounted else cost.files if cost is not None else 0,
            paths=tuple(cost.paths) if show_paths and cost is not None else (),
            key_missing=number in self._locked,
            bytes=cost.bytes if cost is not None else 0,
            unnamed=(cost.unnamed if cost is not None else 0) + self._unnamed[number],
            segments_lost=len(self._lost.get(number, ())),
            needed_by=len(self._needing[number]),
        )

    def snapshots(self, *, show_paths: bool) -> tuple[SnapshotCost, ...]:
        """Return what each snapshot loses, with the names of the files if they may be shown."""
        if not show_paths:
            return tuple(self._costs)
        with engine.translated():
            return tuple(
                replace(cost, paths=tuple(self._walker().names(self._roots[cost], PATHS_MAX)))
                if cost in self._roots
                else cost
                for cost in self._costs
            )
