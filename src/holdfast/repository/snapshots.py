"""Selecting snapshots: `id | unique prefix | latest | latest:SOURCE | SOURCE@TIME`."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.repository.types import SnapshotInfo


def select(snapshots: Sequence[SnapshotInfo], selector: str) -> SnapshotInfo:
    """Return the snapshot a selector means. `SnapshotMissingError`, `AmbiguousSnapshotError`."""
    raise NotImplementedError


def of_source(snapshots: Sequence[SnapshotInfo], source: str) -> tuple[SnapshotInfo, ...]:
    """Return the snapshots of a source, given by label or by (a prefix of) its opaque id."""
    raise NotImplementedError
