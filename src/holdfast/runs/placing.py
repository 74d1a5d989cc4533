"""What a backup has to do with several stores: what waits goes first, what fails is told, what must be kept is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from holdfast.repository.placed import PlacedStore
from holdfast.runs.pending import drain, pending

if TYPE_CHECKING:
    from holdfast.base.events import Events
    from holdfast.runs.assembly import OpenVault

__all__ = ["begin", "outages_told", "packs_pending", "retain_until"]


def begin(vault: OpenVault, events: Events) -> None:
    """Ask every store anew, and bring what waits from earlier runs to where it belongs."""
    if isinstance(vault.store, PlacedStore):
        vault.store.forget_outages()
        drain(vault, events=events)


@contextmanager
def outages_told(vault: OpenVault, events: Events) -> Iterator[None]:
    """Raise an alert for each store that failed meanwhile, however the run ends."""
    try:
        yield
    finally:
        if isinstance(vault.store, PlacedStore):
            for alert in vault.store.alerts():
                events(alert)


def packs_pending(vault: OpenVault) -> int:
    """Return how many packs wait for a store, and how many rest on the word of one that is down."""
    left = pending(vault)
    if left is None or not isinstance(vault.store, PlacedStore):
        return 0
    return left.packs + vault.store.relied


def retain_until(vault: OpenVault, class_ids: Sequence[int], started: datetime) -> datetime | None:
    """Return before when a snapshot is not forgotten: the longest that one of its classes asks for."""
    if vault.tiers is None:
        return None
    names = vault.repository.classes
    longest = max(vault.tiers.book.of(names.get(class_id, "")).retain_seconds for class_id in class_ids)
    return started + timedelta(seconds=longest) if longest else None
