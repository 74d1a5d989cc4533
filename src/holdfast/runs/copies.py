"""Every copy of a pack, not only the one that is read: reading them back and hashing, and which are due by their class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.base.values import dataclass
from holdfast.errors import ObjectMissingError, StoreError
from holdfast.reliability.objectives import AHEAD_SECONDS_MAX
from holdfast.repository.copies import prove, readable_now
from holdfast.repository.placed import PlacedStore, pack_name
from holdfast.repository.spool import SPOOL
from holdfast.stores.protocol import Capability

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.ledger import Ledger

__all__ = ["Scrubbed", "due_packs", "scrub_copies", "within_reach"]


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """What reading further copies found. `problems` are sentences that name packs and stores."""

    copies: int
    problems: tuple[str, ...]


def scrub_copies(vault: OpenVault, packs: Iterable[str], sound: Container[str], since: float) -> Scrubbed:
    """Read and hash every copy of the packs that was not read since a moment. `sound` are packs proved just now.

    A copy on a store that is down, or that must be thawed first, is not read: its time stays what it was, and
    :func:`due_packs` goes on naming it.
    """
    store = vault.store
    if not isinstance(store, PlacedStore):
        return Scrubbed(0, ())
    problems: list[str] = []
    read = 0
    for pack in packs:
        row = store.placements.row(pack)
        copies = [copy for copy in row.copies if copy.store in store.stores] if row is not None else []
        if len(copies) == 1 and pack in sound:
            store.placements.note_copy(pack, copies[0].store, verified_at=vault.env.now().timestamp())
            continue
        for copy in copies:
            fresh = not copy.bad and copy.verified_at is not None and copy.verified_at >= since
            answer = None if fresh else _scrub_copy(store, copy.store, pack, row.size if row is not None else 0)
            read += answer is not None
            if answer is False and pack in sound:
                problems.append(
                    f"the copy of pack {pack} on store {copy.store} is damaged or missing; another is whole"
                )
    return Scrubbed(read, tuple(problems))


def _scrub_copy(store: PlacedStore, where: str, pack: str, size: int) -> bool | None:
    """Return whether one copy is whole, None if it cannot be read now."""
    try:
        if store.is_down(where) or not readable_now(store.stores[where], pack_name(pack)):
            return None
        return prove(store, where, pack_name(pack), size)
    except ObjectMissingError:
        return prove(store, where, pack_name(pack), size)
    except StoreError as error:
        store.note_failure(where, error)
        return None


def within_reach(vault: OpenVault, packs: Sequence[str]) -> list[str]:
    """Return the packs of which some copy can be read without thawing it first."""
    store = vault.store
    if not isinstance(store, PlacedStore):
        return [*packs]
    slow = {name for name, each in store.stores.items() if Capability.STORAGE_CLASS in each.capabilities}
    return [pack for pack in packs if not slow or _within_reach(store, pack, slow)]


def _within_reach(store: PlacedStore, pack: str, slow: set[str]) -> bool:
    row = store.placements.row(pack)
    if row is None or not row.sound_on & slow:
        return True
    if row.sound_on - slow:
        return True
    try:
        return any(readable_now(store.stores[where], pack_name(pack)) for where in row.sound_on)
    except (StoreError, ObjectMissingError):
        return True  # it is missing, or its store is down: reading it says so


def due_packs(vault: OpenVault, packs: Iterable[str], ledger: Ledger) -> frozenset[str]:
    """Return the packs of which some copy was not read back within its class's interval; without policies, all."""
    store = vault.store
    if not isinstance(store, PlacedStore):
        return frozenset(packs)
    now = vault.env.now()
    due = set()
    for pack in packs:
        row = store.placements.row(pack)
        if row is None:  # a metadata pack: it lies on the home, and this host's ledger knows when it was proved
            age = ledger.age_days(pack, now)
            if age is None or age * 86400 >= min(p.verify_seconds for p in store.book.policies.values()):
                due.add(pack)
            continue
        limit = store.book.of(row.class_name).verify_seconds
        times = [copy.verified_at for copy in row.copies if copy.store != SPOOL]
        if any(moment is None or not -AHEAD_SECONDS_MAX <= now.timestamp() - moment < limit for moment in times):
            due.add(pack)
    return frozenset(due)
