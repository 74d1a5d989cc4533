"""Older copies that lie where their content may not lie any more: a file whose class rose was stored again, the old copy stays.

It goes with the snapshots that need it. This says which ones, in counts: no name, no path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.base.data_classes import class_rank
from holdfast.repository.placed import PlacedStore
from holdfast.runs.tier_results import Exposure
from holdfast.runs.trees import Trees

if TYPE_CHECKING:
    from holdfast.repository.types import SnapshotInfo
    from holdfast.runs.assembly import OpenVault

__all__ = ["exposed"]

Pair = tuple[int, int]
"""The class that files had, and the one that they have now."""


def exposed(vault: OpenVault) -> tuple[Exposure, ...]:
    """Return what lies exposed, by source and change of class; nothing for a vault with one store.

    Each snapshot of a source is compared with its newest. `NotPermittedError` with a writer's credential.
    """
    if not isinstance(vault.store, PlacedStore):
        return ()
    by_source: dict[str, list[SnapshotInfo]] = {}
    for info in vault.snapshots():
        by_source.setdefault(info.source, []).append(info)
    with engine.translated():
        return tuple(found for each in by_source.values() for found in _of_source(vault, vault.store, each))


def _of_source(vault: OpenVault, store: PlacedStore, snapshots: list[SnapshotInfo]) -> list[Exposure]:
    newest = Trees(vault, snapshots[-1])
    names = vault.repository.classes
    seen: dict[tuple[Pair, str], tuple[int, int]] = {}
    totals: dict[Pair, tuple[int, int]] = {}
    needing: dict[Pair, list[str]] = {}
    for info in snapshots[:-1]:
        before = Trees(vault, info)
        for old, new in _pairs(store, names, before, newest):
            key = ((old, new), before.parts[old].root)
            if key not in seen:
                seen[key] = _count(before.trees[old], newest.trees[new])
                files, size = totals.get((old, new), (0, 0))
                totals[old, new] = max(files, seen[key][0]), max(size, seen[key][1])
            if seen[key][0]:
                needing.setdefault((old, new), []).append(info.id)
    return [
        Exposure(
            source=snapshots[-1].label or snapshots[-1].source[:12],
            was=names[old],
            now=names[new],
            stores=tuple(sorted(_surplus(store, names[old], names[new]))),
            files=totals[old, new][0],
            bytes=totals[old, new][1],
            snapshots=tuple(ids),
        )
        for (old, new), ids in sorted(needing.items())
    ]


def _pairs(store: PlacedStore, names: dict[int, str], before: Trees, newest: Trees) -> list[Pair]:
    """Return the changes of class, upwards, that leave copies on stores which the new class may not lie on."""
    return [
        (old, new)
        for old in before.trees
        for new in newest.trees
        if class_rank(new) < class_rank(old) and _surplus(store, names[old], names[new])
    ]


def _surplus(store: PlacedStore, was: str, now: str) -> frozenset[str]:
    return store.book.allowed(was) - store.book.allowed(now)


def _count(before: engine.Tree, after: engine.Tree) -> tuple[int, int]:
    """Return files and bytes of one tree that are files of the other now."""
    files = size = 0
    for entry in before.walk():
        if entry.kind == "file":
            there = after.lookup(entry.path)
            if there is not None and there.kind == "file":
                files += 1
                size += entry.size
    return files, size
