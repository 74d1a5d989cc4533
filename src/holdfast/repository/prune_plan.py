"""What a prune round would do. Pure: a table of packs and the live segments in, a plan out.

Two packs may hold the same segment (a repack that was interrupted): each live segment is carried by one pack, the one
with the least that is dead, so that the other copy can go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from holdfast.errors import DamageError
from holdfast.repository.packs import Group, Pack, PackTable
from holdfast.repository.refsets import Segments

PACKS_PER_ROUND_MAX = 100_000
"""Packs condemned in one round: its lists must stay far below the size of a control object."""
REPACK_BYTES_MAX = 64 << 20
"""Stored bytes copied into one new pack."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Packs whose live segments are copied into one new pack; per pack, the segments it carries."""

    group: Group
    sources: tuple[tuple[str, tuple[tuple[bytes, int], ...]], ...]


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """A round that has not begun. `dead` hold nothing live, `unindexed` are listed by no run, `rewrites` are to be copied."""

    dead: tuple[str, ...]
    unindexed: tuple[str, ...]
    rewrites: tuple[Rewrite, ...]
    packs_live: int
    bytes_freed: int
    """Stored bytes that go when the round is over, about."""

    @property
    def rewritten(self) -> tuple[str, ...]:
        """Packs whose live segments move."""
        return tuple(name for rewrite in self.rewrites for name, _ in rewrite.sources)

    @property
    def condemned(self) -> tuple[str, ...]:
        """All packs that would go."""
        return tuple(sorted({*self.dead, *self.unindexed, *self.rewritten}))


@dataclass(slots=True)
class _Load:
    """What a pack carries."""

    segments: list[tuple[bytes, int]]
    stored_bytes: int = 0


def assign(table: PackTable, live: Segments, names: Iterable[str]) -> dict[str, _Load]:
    """Give every live segment to one pack that can be relied on."""
    packs = [table.packs[name] for name in names if table.carries(name)]
    live_bytes = {p.record.name: _live_bytes(p, live) for p in packs}
    packs.sort(key=lambda p: (p.record.size - live_bytes[p.record.name], p.record.name))
    taken: set[tuple[bytes, int]] = set()
    loads: dict[str, _Load] = {}
    for pack in packs:
        load = _Load([])
        for row in pack.record.segments:
            key = (row.origin, row.ordinal)
            if key in live and key not in taken:
                taken.add(key)
                load.segments.append(key)
                load.stored_bytes += row.stored_bytes
        loads[pack.record.name] = load
    return loads


def _carried(table: PackTable, names: Iterable[str]) -> Segments:
    """Return the segments that those of the packs carry which can be relied on."""
    rows = (row for name in names if table.carries(name) for row in table.packs[name].record.segments)
    return Segments.of([(row.origin, row.ordinal) for row in rows])


def _needed(pack: Pack, live: Segments, carried: Segments) -> bool:
    """Return whether something live of a pack is carried by no other."""
    keys = ((row.origin, row.ordinal) for row in pack.record.segments)
    return any(key in live and key not in carried for key in keys)


def _live_bytes(pack: Pack, live: Segments) -> int:
    return sum(row.stored_bytes for row in pack.record.segments if (row.origin, row.ordinal) in live)


def require_known(table: PackTable, live: Segments) -> None:
    """`DamageError` if some run must be missing: a live segment that no listed pack holds could be in an unindexed one."""
    known = Segments.of([(r.origin, r.ordinal) for p in table.packs.values() for r in p.record.segments])
    unknown = len(live.minus(known))
    if unknown:
        raise DamageError(
            f"{unknown} segments that snapshots need are in no index run; nothing is deleted",
            next="run `holdfast repair index`, which reads the packs' own directories.",
            segments=unknown,
        )


def plan_prune(
    table: PackTable,
    live: Segments,
    *,
    protected: frozenset[str],
    sessions_open: bool,
    repack_below: float,
    keep_whole: frozenset[str] = frozenset(),
) -> PrunePlan:
    """Decide what to condemn.

    `protected` packs belong to sessions that still run: they are left alone (a courtesy; safety rests on
    acknowledgements). Unindexed packs go only when no session runs. Damaged packs with live segments stay. `keep_whole`
    are packs that lie where reading is dear: they go when nothing in them is live, and are never rewritten.
    """
    require_known(table, live)
    loads = assign(table, live, table.packs)
    # Only for packs that are lost: all that the others carry is a long list.
    carried = _carried(table, table.packs) if table.packs.keys() - table.stored.keys() else Segments.of([])
    dead, candidates = [], []
    for name, pack in sorted(table.packs.items()):
        if name in protected:
            continue
        if name not in table.stored:
            if not _needed(pack, live, carried):
                dead.append(name)  # a lost pack that nothing needs: its rows go, else it is missed for ever
            continue
        load = loads.get(name)
        if load is None:
            if not _live_bytes(pack, live):
                dead.append(name)
        elif not load.segments:
            dead.append(name)
        elif load.stored_bytes < repack_below * pack.record.size and name not in keep_whole:
            candidates.append(name)
    rewrites = _group(table, loads, candidates[:PACKS_PER_ROUND_MAX])
    unindexed = () if sessions_open else tuple(sorted(table.unindexed))[:PACKS_PER_ROUND_MAX]
    chosen = tuple(dead[:PACKS_PER_ROUND_MAX])
    moved = [name for rewrite in rewrites for name, _ in rewrite.sources]
    freed = sum(table.stored.get(name, 0) for name in (*chosen, *unindexed, *moved))
    freed -= sum(loads[name].stored_bytes for name in moved)
    live_packs = sum(1 for load in loads.values() if load.segments)
    return PrunePlan(chosen, unindexed, rewrites, live_packs, freed)


def _group(table: PackTable, loads: dict[str, _Load], names: list[str]) -> tuple[Rewrite, ...]:
    """Put packs of one group together until a new pack is full. One pack alone is rewritten only if it shrinks."""
    by_group: dict[Group, list[str]] = {}
    for name in names:
        by_group.setdefault(table.packs[name].group, []).append(name)
    rewrites = []
    for group, members in sorted(by_group.items(), key=lambda pair: str(pair[0])):
        batch: list[str] = []
        size = 0
        for name in members:
            if batch and size + loads[name].stored_bytes > REPACK_BYTES_MAX:
                rewrites.append(_rewrite(group, batch, loads))
                batch, size = [], 0
            batch.append(name)
            size += loads[name].stored_bytes
        if len(batch) > 1 or any(len(loads[name].segments) < len(table.packs[name].record.segments) for name in batch):
            rewrites.append(_rewrite(group, batch, loads))
    return tuple(rewrites)


def _rewrite(group: Group, names: list[str], loads: dict[str, _Load]) -> Rewrite:
    return Rewrite(group, tuple((name, tuple(loads[name].segments)) for name in names))


def plan_deletion(table: PackTable, live: Segments, condemned: Iterable[str]) -> tuple[str, ...]:
    """Return which condemned packs may go, after the second mark: those whose live segments others carry, all of them.

    What turned out to be needed leaves the list.
    """
    listed = sorted(set(condemned))
    require_known(table, live)
    carried = _carried(table, set(table.packs).difference(listed))
    return tuple(name for name in listed if name not in table.packs or not _needed(table.packs[name], live, carried))
