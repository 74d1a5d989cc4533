"""Where the space goes, by class, source and snapshot: from the index and the reference sets, without reading content."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from holdfast.repository.marking import SetReader
from holdfast.repository.packs import read_runs
from holdfast.runs.results import ClassSpace, SnapshotSpace, SourceSpace, VaultStats

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from holdfast.repository.types import SnapshotInfo
    from holdfast.runs.assembly import OpenVault

Segment = tuple[bytes, int]


def run_stats(vault: OpenVault, *, by_snapshot: bool = True) -> VaultStats:
    """Return the vault's space; see `Vault.stats`."""
    objects = total = 0
    for info in vault.store.list(""):
        objects += 1
        total += info.size
    snapshots = vault.snapshots()
    classes = _classes(vault)
    if not by_snapshot:
        return VaultStats(objects, total, len(snapshots), classes)
    sizes = _segment_sizes(vault)
    needs = _needs(vault, snapshots)
    return VaultStats(
        objects=objects,
        bytes=total,
        snapshots=len(snapshots),
        classes=classes,
        sources=_sources(snapshots, needs, sizes),
        by_snapshot=_by_snapshot(snapshots, needs, sizes),
        unreferenced_bytes=sum(sizes.values()) - _space(set().union(*needs.values()), sizes),
    )


def _classes(vault: OpenVault) -> tuple[ClassSpace, ...]:
    found: dict[int, list[int]] = {}
    for row in vault.refresh_index().packs():
        sums = found.setdefault(row.class_id, [0, 0, 0, 0])
        for position, value in enumerate((1, row.size, row.segments, row.plain_bytes)):
            sums[position] += value
    names = vault.repository.classes
    return tuple(ClassSpace(class_id, names.get(class_id, ""), *sums) for class_id, sums in sorted(found.items()))


def _segment_sizes(vault: OpenVault) -> dict[Segment, int]:
    """Return the stored length of every segment; copies count once."""
    sizes: dict[Segment, int] = {}
    for _run, records in read_runs(vault.repository, []):
        for record in records:
            for row in record.segments:
                sizes[row.origin, row.ordinal] = row.stored_bytes
    return sizes


def _needs(vault: OpenVault, snapshots: Iterable[SnapshotInfo]) -> dict[str, frozenset[Segment]]:
    """Return the segments of each snapshot; snapshots that name the same sets share one."""
    reader = SetReader(vault.repository)
    by_refs: dict[tuple[str, ...], frozenset[Segment]] = {}
    found = {}
    for info in snapshots:
        key = tuple(part.refs for part in info.classes)
        if key not in by_refs:
            by_refs[key] = frozenset(segment for sha in key for segment in reader.read(sha))
        found[info.id] = by_refs[key]
    return found


def _space(segments: Iterable[Segment], sizes: Mapping[Segment, int]) -> int:
    return sum(sizes.get(segment, 0) for segment in segments)


def _sources(
    snapshots: Iterable[SnapshotInfo], needs: Mapping[str, frozenset[Segment]], sizes: Mapping[Segment, int]
) -> tuple[SourceSpace, ...]:
    groups: dict[str, list[SnapshotInfo]] = {}
    for info in snapshots:
        groups.setdefault(info.source, []).append(info)
    unions = {source: frozenset().union(*(needs[info.id] for info in rows)) for source, rows in groups.items()}
    users = Counter(segment for union in unions.values() for segment in union)
    return tuple(
        SourceSpace(
            source=source,
            label=rows[-1].label,
            snapshots=len(rows),
            stored_bytes=_space(unions[source], sizes),
            exclusive_bytes=_space((s for s in unions[source] if users[s] == 1), sizes),
        )
        for source, rows in groups.items()
    )


def _by_snapshot(
    snapshots: Iterable[SnapshotInfo], needs: Mapping[str, frozenset[Segment]], sizes: Mapping[Segment, int]
) -> tuple[SnapshotSpace, ...]:
    users = Counter(segment for segments in needs.values() for segment in segments)
    return tuple(
        SnapshotSpace(
            snapshot=info.id,
            stored_bytes=_space(needs[info.id], sizes),
            exclusive_bytes=_space((s for s in needs[info.id] if users[s] == 1), sizes),
        )
        for info in snapshots
    )
