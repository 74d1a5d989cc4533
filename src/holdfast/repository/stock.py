"""Stock-taking: which copies there are, asked of every store now, with class and age of each pack.

The ledger is brought in line with what the stores say; what it alone knows (a bad copy, the time a pack was stored) stays.
From a lost ledger everything comes back: copies by listing, classes by the index or the packs' own headers, times by the
oldest snapshot that needs a pack.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from holdfast.classes.routing import PackFacts
from holdfast.errors import DamageError, InternalError, NotPermittedError, StoreError
from holdfast.repository.listing import list_snapshots
from holdfast.repository.marking import SetReader, packs_of
from holdfast.repository.placed import HEADER_BYTES, PlacedStore, class_of, pack_name, sha_of
from holdfast.repository.spool import SPOOL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.engine import Index
    from holdfast.repository.placements import PackRow
    from holdfast.repository.repository import Repository

__all__ = ["known_facts", "take_stock"]


def take_stock(repository: Repository, store: PlacedStore, index: Index) -> tuple[PackFacts, ...]:
    """Ask every store, bring the ledger in line, and return every data pack. `StoreError` if a store does not answer."""
    seen: dict[str, dict[str, int]] = {}
    for where, listed in store.inventory().items():
        for info in listed:
            seen.setdefault(sha_of(info.name), {})[where] = info.size
    _note_packs(repository, store, index, seen)
    store.placements.adopt(seen, [*store.stores, SPOOL])
    sizes = {row.name.hex(): row.size for row in index.packs()}
    for name, copies in seen.items():
        expected = sizes.get(name, max(copies.values()))
        for where, size in copies.items():
            if size != expected:
                store.placements.note_bad(name, where)
    return known_facts(store)


def known_facts(store: PlacedStore) -> tuple[PackFacts, ...]:
    """Return every data pack by the ledger's word alone, in the order in which they were stored."""
    now = store.env.now().timestamp()
    return tuple(_facts(row, now) for row in store.placements.rows())


def _facts(row: PackRow, now: float) -> PackFacts:
    return PackFacts(
        name=row.name,
        class_name=row.class_name,
        size=row.size,
        age_seconds=0.0 if row.stored_at is None else max(0.0, now - row.stored_at),
        on=row.sound_on - {SPOOL},
        bad=frozenset(copy.store for copy in row.copies if copy.bad) - {SPOOL},
        spooled=SPOOL in row.sound_on,
        waits=row.waits,
        restored_ago=None if row.restored_at is None else max(0.0, now - row.restored_at),
    )


def _note_packs(
    repository: Repository, store: PlacedStore, index: Index, seen: Mapping[str, Mapping[str, int]]
) -> None:
    """Note class, size and time of packs that the ledger does not know."""
    rows = {row.name: row for row in store.placements.rows()}
    indexed = {row.name.hex(): row for row in index.packs()}
    undated = [name for name in seen if name not in rows or rows[name].stored_at is None]
    if not undated:
        return
    times = _first_needed(repository, index)
    names = repository.classes
    for name in undated:
        row = indexed.get(name)
        class_name = names.get(row.class_id, "") if row is not None else _class_by_header(store, name, seen[name])
        size = row.size if row is not None else max(seen[name].values())
        if class_name is not None:
            store.placements.note_pack(name, class_name, size, times.get(name))


def _class_by_header(store: PlacedStore, name: str, places: Iterable[str]) -> str | None:
    """Return the class that some copy's header names; None if none can be read."""
    for place in places:
        try:
            return class_of(store.read_copy(place, pack_name(name), 0, HEADER_BYTES))
        except (StoreError, DamageError, InternalError):
            continue
    return None


def _first_needed(repository: Repository, index: Index) -> dict[str, float]:
    """Return when each pack was first needed: the time of the oldest snapshot that does, by its admission."""
    found: dict[str, float] = {}
    reader = SetReader(repository)
    for info in sorted(list_snapshots(repository)[0], key=lambda info: info.counted_at):
        moment = info.counted_at.timestamp()
        for part in info.classes:
            try:
                segments = reader.read(part.refs)
            except (DamageError, NotPermittedError):
                continue
            for row in packs_of(index, segments):
                found.setdefault(row.name.hex(), moment)
    return found
