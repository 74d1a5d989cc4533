"""What a restore of one snapshot needs, by name, and keeping that from being deleted, on stores that can retain.

Keys are left out: they lie only where no object lock is, or nothing could ever be erased by destroying them. So are index runs,
which prunes rewrite and packs give back (`holdfast repair index`), and parity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import DamageError, ObjectMissingError
from holdfast.repository import names
from holdfast.repository.bodies import EnvelopeBody
from holdfast.repository.listing import read_dropped
from holdfast.repository.marking import SetReader
from holdfast.repository.placed import PACKS, PlacedStore, sha_of
from holdfast.repository.spool import SPOOL
from holdfast.stores.protocol import Capability

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from holdfast.engine import Index
    from holdfast.repository.repository import Repository
    from holdfast.stores.protocol import Store

__all__ = ["can_retain", "needed_objects", "retain"]


def can_retain(store: Store) -> bool:
    """Return whether any of a vault's stores can keep an object from being deleted."""
    return any(Capability.RETAIN_UNTIL in each.capabilities for each in _stores(store))


def _stores(store: Store) -> tuple[Store, ...]:
    return tuple(store.stores.values()) if isinstance(store, PlacedStore) else (store,)


def needed_objects(repository: Repository, snapshot: str, index: Index) -> tuple[str, ...]:
    """Return the names of what reading a snapshot takes: its envelope, decisions and parts first, packs last.

    `DamageError` if a reference set cannot be read or names a segment that no pack is known to have; `NotPermittedError`
    without the index key of one of its classes.
    """
    home = repository.home
    read, body = home.read(f"snapshot/{snapshot}", EnvelopeBody)
    gone = read_dropped(home).get(snapshot, frozenset())
    found = {f"snapshot/{snapshot}", *home.listed(f"decision/{snapshot}"), *home.listed(f"writer/{read.signer}")}
    reader = SetReader(repository)
    packs: set[bytes] = set()
    for part in body.classes:
        if part.class_ in gone:
            continue
        found.add(names.part(snapshot, part.class_))
        packs.update(_packs(index, reader, part.refs))
        at = part.refs
        while at:
            found.add(f"refs/{at}")
            at = reader.parents.get(at, "")
    kinds = {row.name: row.kind for row in index.packs()}
    return (*sorted(found), *sorted(names.pack(pack.hex(), kinds[pack]) for pack in packs))


def _packs(index: Index, reader: SetReader, refs: str) -> Iterator[bytes]:
    for origin, ordinal in reader.read(refs):
        place = index.find_segment(origin, ordinal)
        if place is None:
            raise DamageError("a segment that a snapshot needs is in no index run", next="run `holdfast repair index`.")
        yield place.pack


def retain(store: Store, name: str, until: datetime) -> int:
    """Keep every copy of an object from being deleted before a time; return on how many stores that was done.

    Stores that cannot are passed over, and so is an object that is not there: `check` misses it. `StoreError`.
    """
    done = 0
    for each in _holders(store, name):
        if Capability.RETAIN_UNTIL not in each.capabilities:
            continue
        try:
            each.retain_until(name, until)
            done += 1
        except ObjectMissingError:
            continue
    return done


def _holders(store: Store, name: str) -> tuple[Store, ...]:
    """Return the stores that hold an object, or may: of a pack that the ledger does not know, every one."""
    if not isinstance(store, PlacedStore):
        return (store,)
    if not name.startswith(PACKS):
        return (store.inner,)
    known = [copy.store for copy in store.placements.copies(sha_of(name)) if not copy.bad and copy.store != SPOOL]
    return tuple(store.stores[where] for where in known or store.stores if where in store.stores)
