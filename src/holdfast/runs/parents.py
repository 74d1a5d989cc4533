"""The snapshot that a backup follows: the newest of the same source and writer, and what it tells about the one to come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.base.events import ignore
from holdfast.runs.ahead import clock_alert

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.base.events import Events
    from holdfast.repository.types import SnapshotInfo
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.continuity import Source

__all__ = ["expected_bytes", "history", "last_good", "newest"]


def history(vault: OpenVault, source: Source, events: Events = ignore) -> list[SnapshotInfo]:
    """Return the snapshots of the source that this writer made, oldest first, as their envelopes have them.

    `events` hears if the vault has snapshots of a time to come.
    """
    rows = vault.envelopes()
    if (alert := clock_alert(rows, vault.env.now())) is not None:
        events(alert)
    return [row for row in rows if row.source == source.id]


def newest(vault: OpenVault, source: Source) -> SnapshotInfo | None:
    """Return the newest snapshot of the source that this writer made."""
    mine = history(vault, source)
    return mine[-1] if mine else None


def last_good(vault: OpenVault, source: Source) -> datetime | None:
    """Return when the run of the newest snapshot began, now at the latest; None if there is none."""
    parent = newest(vault, source)
    return min(parent.started, vault.env.now()) if parent is not None else None


def expected_bytes(vault: OpenVault, source: Source) -> int | None:
    """Return about how much content a run will go through, a power of two; None if that cannot be said."""
    parent = newest(vault, source)
    return sum(part.bytes_bucket for part in parent.classes) if parent is not None else None
