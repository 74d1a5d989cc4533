"""The snapshot that a backup follows: the newest of the same source and writer, and what it tells about the one to come."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.repository.types import SnapshotInfo
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.continuity import Source

__all__ = ["expected_bytes", "history", "last_good", "newest"]


def history(vault: OpenVault, source: Source) -> list[SnapshotInfo]:
    """Return the snapshots of the source that this writer made, oldest first, as their envelopes have them."""
    return [row for row in vault.envelopes() if row.source == source.id]


def newest(vault: OpenVault, source: Source) -> SnapshotInfo | None:
    """Return the newest snapshot of the source that this writer made."""
    mine = history(vault, source)
    return mine[-1] if mine else None


def last_good(vault: OpenVault, source: Source) -> datetime | None:
    """Return when the run of the newest snapshot began; None if there is none."""
    parent = newest(vault, source)
    return parent.started if parent is not None else None


def expected_bytes(vault: OpenVault, source: Source) -> int | None:
    """Return about how much content a run will go through, a power of two; None if that cannot be said."""
    parent = newest(vault, source)
    return sum(part.bytes_bucket for part in parent.classes) if parent is not None else None
