"""What is to be done about parity: pure decisions over groups and packs.

Every pack that its class wants protected is to be in one group whose members all live. A group that loses members is
replaced by one of those that stay; packs in no group go into free slots of groups of their kind, or into new ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from holdfast.repository.parity.frame import SLOTS, Group, Member, Stored, size_step

__all__ = ["FEW", "PackFact", "ParityPlan", "Target", "beyond_parity", "plan_parity", "rows_for"]

FEW = 4
"""A group of so few packs has one row."""

Wanted = Callable[[int, int], int]
"""Rows that a class (id) wants for a folder: 0 for none."""


@dataclass(frozen=True, slots=True)
class PackFact:
    """A pack that the vault has, or should have."""

    class_id: int
    folder: int
    size: int


@dataclass(frozen=True, slots=True)
class Target:
    """A group to be made. With `base`, its rows may be taken over: the packs that differ are added or taken out."""

    group: Group
    base: Stored | None = None


@dataclass(frozen=True, slots=True)
class ParityPlan:
    """First the targets, each followed by the deletion of its base; then `drop`, rows that protect nothing any more."""

    targets: tuple[Target, ...]
    drop: tuple[str, ...]
    unprotected: tuple[str, ...]
    """Packs in no sound group now."""


def rows_for(members: int, wanted: int) -> int:
    """Return how many rows a group of so many packs has."""
    return min(wanted, 1) if members <= FEW else wanted


def plan_parity(
    stored: Iterable[Stored], packs: Mapping[str, PackFact], dead: Collection[str], wanted: Wanted
) -> ParityPlan:
    """Decide. `packs` are all that live, those found missing included; `dead` those that a prune deletes or deleted."""
    covered: set[str] = set()
    kept: list[Stored] = []
    worn: list[Stored] = []
    drop: list[str] = []
    for one in sorted(stored, key=lambda each: (-len(each.group.members), each.rows)):
        group = one.group
        rows = wanted(group.class_id, group.folder)
        live = [member for member in group.members if member.name not in dead]
        sound = one.complete and len(live) == len(group.members) and group.rows >= rows_for(len(live), rows)
        if not rows or not live or (sound and group.names <= covered):
            drop += [sha for _, sha in one.rows]
        elif sound:
            kept.append(one)
            covered |= group.names
        else:
            worn.append(one)
    unprotected = tuple(
        sorted(
            name
            for name, fact in packs.items()
            if name not in covered and name not in dead and wanted(fact.class_id, fact.folder)
        )
    )
    targets = []
    for one in worn:
        left = tuple(m for m in one.group.members if m.name not in dead and m.name not in covered)
        if left:
            targets.append(Target(replace(one.group, members=left), one))
            covered |= {member.name for member in left}
        else:
            drop += [sha for _, sha in one.rows]
    homeless: dict[tuple[int, int, int], list[tuple[str, int]]] = defaultdict(list)
    for name in unprotected:
        if name not in covered:
            fact = packs[name]
            homeless[fact.class_id, fact.folder, size_step(fact.size)].append((name, fact.size))
    return ParityPlan(_filled(targets, kept, homeless, wanted), tuple(drop), unprotected)


def _filled(
    targets: list[Target],
    kept: list[Stored],
    homeless: Mapping[tuple[int, int, int], list[tuple[str, int]]],
    wanted: Wanted,
) -> tuple[Target, ...]:
    """Give every pack a slot: in a group that is made anyway, in one with room, in a new one."""
    result: list[Target] = []
    taken: set[tuple[int, int, int]] = set()
    open_groups = [*targets, *(Target(one.group, one) for one in kept if one.group.free)]
    left = {kind: list(packs) for kind, packs in homeless.items()}
    for at, target in enumerate(open_groups):
        packs = left.get(target.group.kind, [])
        new, left[target.group.kind] = packs[: len(target.group.free)], packs[len(target.group.free) :]
        if new or at < len(targets):
            result.append(Target(_with(target.group, new, wanted), target.base))
            taken.add(target.group.kind)
    for (class_id, folder, _), packs in sorted(left.items()):
        empty = Group(class_id, folder, 0, ())
        parts = [packs[at : at + SLOTS] for at in range(0, len(packs), SLOTS)]
        result += [Target(_with(empty, part, wanted)) for part in parts]
    return tuple(result)


def _with(group: Group, packs: Iterable[tuple[str, int]], wanted: Wanted) -> Group:
    new = [Member(slot, name, size) for slot, (name, size) in zip(group.free, packs, strict=False)]
    members = tuple(sorted((*group.members, *new), key=lambda member: member.slot))
    return replace(group, members=members, rows=rows_for(len(members), wanted(group.class_id, group.folder)))


def beyond_parity(stored: Iterable[Stored], bad: Collection[str]) -> frozenset[str]:
    """Return which bad packs no group can bring back, however often healing one helps to heal another."""
    left = set(bad)
    groups = list(stored)
    while True:
        healed: set[str] = set()
        for one in groups:
            lost = one.group.names & left
            if lost and len(lost) <= len(one.rows):
                healed |= lost
        if not healed:
            return frozenset(left)
        left -= healed
