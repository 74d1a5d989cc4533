"""What a damaged pack costs: its class, the snapshots that need it, and the files in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.errors import DamageError, NotPermittedError
from holdfast.repository.marking import SetReader, packs_of
from holdfast.repository.packs import read_runs
from holdfast.repository.refsets import Segments
from holdfast.repository.snapshots import select
from holdfast.runs.results import DamagedPack
from holdfast.runs.trees import Trees

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from holdfast.repository.types import SnapshotInfo
    from holdfast.runs.assembly import OpenVault

PATHS_MAX = 1000
UNKNOWN = -1

Segment = tuple[bytes, int]


def attribute(
    vault: OpenVault, damaged: Mapping[str, str], rows: Mapping[str, engine.PackRow], *, show_paths: bool
) -> tuple[DamagedPack, ...]:
    """Return what each damaged pack costs. Costs nothing if there is none; otherwise it walks the trees concerned.

    A set or tree that cannot be read counts as concerned: damage is never made smaller than it may be.
    """
    if not damaged:
        return ()
    segments = _segments(vault, damaged)
    needing = _needing(vault, segments)
    found = []
    for pack, reason in sorted(damaged.items()):
        row = rows.get(pack)
        class_name = vault.repository.classes.get(row.class_id, "") if row is not None else ""
        files, paths, locked = _files(vault, needing[pack], segments[pack], row.class_id if row is not None else 0)
        found.append(
            DamagedPack(
                pack=pack,
                reason=reason,
                class_name=class_name,
                snapshots=tuple(info.id for info in needing[pack]),
                files=files,
                paths=tuple(sorted(paths)[:PATHS_MAX]) if show_paths else (),
                key_missing=locked,
            )
        )
    return tuple(found)


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


def _segments(vault: OpenVault, packs: Mapping[str, str]) -> dict[str, frozenset[Segment]]:
    """Return the segments that the index says each pack holds."""
    found: dict[str, frozenset[Segment]] = {pack: frozenset() for pack in packs}
    for _run, records in read_runs(vault.repository, []):
        for record in records:
            if record.name in found:
                found[record.name] |= frozenset((row.origin, row.ordinal) for row in record.segments)
    return found


def _needing(vault: OpenVault, segments: Mapping[str, frozenset[Segment]]) -> dict[str, list[SnapshotInfo]]:
    """Return the snapshots that need a segment of each pack, by their reference sets."""
    found: dict[str, list[SnapshotInfo]] = {pack: [] for pack in segments}
    reader = SetReader(vault.repository)
    for info in vault.snapshots():
        for pack, wanted in segments.items():
            for part in info.classes:
                try:
                    needs = any(segment in reader.read(part.refs) for segment in wanted)
                except (DamageError, NotPermittedError):
                    needs = True
                if needs:
                    found[pack].append(info)
                    break
    return found


def _files(
    vault: OpenVault, snapshots: list[SnapshotInfo], segments: frozenset[Segment], class_id: int
) -> tuple[int, set[bytes], bool]:
    """Return how many distinct file versions rest on the segments, their paths, and whether a key is missing.

    The number is -1 if that cannot be read.
    """
    versions: set[tuple[bytes, int, int]] = set()
    wanted = sorted(segments)
    for info in snapshots:
        try:
            trees = Trees(vault, info, frozenset({class_id}))  # one class: if it is lost, this is refused
            with engine.translated():
                for tree in trees.trees.values():
                    versions.update((entry.path, entry.mtime_ns, entry.size) for entry in tree.users(wanted))
        except (DamageError, NotPermittedError) as error:
            return UNKNOWN, {path for path, _, _ in versions}, isinstance(error, NotPermittedError)
    return len(versions), {path for path, _, _ in versions}, False
