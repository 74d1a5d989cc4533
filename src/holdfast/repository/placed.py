"""A vault's stores as one: data packs on the stores that their class's policy names, everything else on the home.

The one rule that nothing may break: a pack is never put on a store that its class may not lie on. A pack says its own class
in its header, and every put of a data pack goes through :meth:`PlacedStore.put_copy`, which looks there.

Reads take any sound copy, the cheapest store first: a pack with several copies is hashed before a byte of it is handed on,
and a copy that is not what its name says is noted and passed over. A store that failed is left alone for a while.
"""

from __future__ import annotations

import struct
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from holdfast.base.data_classes import CLASS_NAMES
from holdfast.classes.routing import Placement, place
from holdfast.errors import (
    ConfigError,
    DamageError,
    InternalError,
    ObjectMissingError,
    StoreError,
    StoreUnreachableError,
)
from holdfast.repository.objects import sha256
from holdfast.repository.outages import Outage
from holdfast.repository.spool import SPOOL, Spool
from holdfast.stores.layers import CountingStore, Counts, Wrapper
from holdfast.stores.protocol import Capability, ObjectInfo

if TYPE_CHECKING:
    from holdfast.base.environment import Environment
    from holdfast.base.events import Alert
    from holdfast.classes.policy import PolicyBook
    from holdfast.repository.placements import Placements
    from holdfast.stores.protocol import Data

__all__ = [
    "DOWN_SECONDS",
    "HEADER_BYTES",
    "PACKS",
    "PlacedStore",
    "class_of",
    "pack_name",
    "present",
    "sha_of",
]

PACKS = "data/"
MEMBER = "member/"
"""On a store beside the home: an object that says by its name to which vault the store belongs."""
DOWN_SECONDS = 60.0
"""How long a store that failed after all its retries is left alone."""
SOUND_KEPT = 2
"""Whole packs kept in memory after their hash was found right: the engine reads a pack in several parts."""
HEADER_BYTES = 30
_MAGIC = b"\x89HFPK\r\x1a\n"[:5]
_CLASS_AT = 28


def class_of(data: Data) -> str:
    """Return the data class that a pack's header names; empty for one that the format does not know."""
    if len(data) < HEADER_BYTES or bytes(data[:5]) != _MAGIC:
        raise InternalError("a data pack without a header")
    (class_id,) = struct.unpack_from("<H", data, _CLASS_AT)
    return CLASS_NAMES.get(class_id, "")


def sha_of(name: str) -> str:
    """Return a pack's hash, the last component of its name."""
    return name.rpartition("/")[2]


def pack_name(sha: str) -> str:
    """Return the name of a data pack by its hash."""
    return f"{PACKS}{sha[:2]}/{sha}"


def present(store: object, packs: set[str]) -> set[str] | None:
    """Return which data packs (hashes) a placed store has, by what it can know now; None if it is a plain store."""
    return store.present(packs) if isinstance(store, PlacedStore) else None


class PlacedStore(Wrapper):
    """The stores of one vault. `inner` is the home; it and each of `others` have their own layers."""

    def __init__(
        self,
        home: CountingStore,
        others: Mapping[str, CountingStore],
        *,
        home_name: str,
        vault_id: str,
        book: PolicyBook,
        placements: Placements,
        spool: Spool,
        env: Environment,
    ) -> None:
        """`home_name` is what policies call the home."""
        super().__init__(home)
        self.stores: dict[str, CountingStore] = {home_name: home, **others}
        self.vault_id = vault_id
        self.book = book
        self.placements = placements
        self.spool = spool
        self.env = env
        self._lock = threading.Lock()
        self._down: dict[str, float] = {}
        self._outages: dict[str, Outage] = {}
        self._sound: OrderedDict[str, bytes] = OrderedDict()
        self._read: set[str] = set()
        self._relied: set[str] = set()
        self._joined: set[str] = set()

    # --- what it is -----------------------------------------------------------------------------------------------------

    @property
    def local_root(self) -> str | None:
        """None: packs are read through this object, which knows where they are."""
        return None

    @property
    def roots(self) -> tuple[str, ...]:
        """The folders of all stores that are folders, the spool's too."""
        every = (*self.stores.values(), self.spool.store)
        return tuple(root for store in every if (root := store.local_root) is not None)

    def counts(self) -> Counts:
        """Return what went through all stores."""
        every = [store.counts() for store in self.stores.values()]
        return Counts(
            sum(c.objects_put for c in every), sum(c.bytes_put for c in every), sum(c.bytes_got for c in every)
        )

    def close(self) -> None:
        """Release all stores and the ledger."""
        for store in self.stores.values():
            store.close()
        self.placements.close()

    # --- outages --------------------------------------------------------------------------------------------------------

    def is_down(self, store: str) -> bool:
        """Return whether a store failed a moment ago."""
        with self._lock:
            since = self._down.get(store)
            return since is not None and self.env.monotonic() - since < DOWN_SECONDS

    def note_failure(self, store: str, error: StoreError, *, packs: int = 0) -> None:
        """Note that a store failed: it is left alone for a while."""
        with self._lock:
            self._down[store] = self.env.monotonic()
            known = self._outages.get(store)
            self._outages[store] = Outage(store, error, packs + (known.packs if known else 0))

    def _unread(self, store: str, error: StoreError) -> None:
        """Leave a store alone that did not answer; one that refused a single object (it is cold) answers for others."""
        if isinstance(error, StoreUnreachableError):
            self.note_failure(store, error)

    def outages(self) -> tuple[Outage, ...]:
        """Return the stores that failed since the last call of :meth:`forget_outages`."""
        with self._lock:
            return tuple(self._outages.values())

    def forget_outages(self) -> None:
        """Begin anew: every store is asked again."""
        with self._lock:
            self._down.clear()
            self._outages.clear()
            self._relied.clear()

    def alerts(self) -> tuple[Alert, ...]:
        """Return an alert for each store that failed."""
        return tuple(outage.alert for outage in self.outages())

    @property
    def relied(self) -> int:
        """Packs of a store that is down which a run rests on by the ledger's word."""
        with self._lock:
            return len(self._relied)

    # --- writing --------------------------------------------------------------------------------------------------------

    def put(self, name: str, data: Data) -> None:
        """Store an object: a data pack by its class's policy, on as many stores as it asks for; else on the home.

        A store that is down is passed over for the next that the policy names. With no copy at all the pack waits in the
        spool; `SpoolFullError` if it cannot.
        """
        if not name.startswith(PACKS):
            self.inner.put(name, data)
            return
        class_name = class_of(data)
        wanted = place(self.book, class_name)
        done = self._put_copies(name, data, wanted)
        if not done:
            if not self.book.of(class_name).spool:
                raise self._last_outage(wanted)
            self.spool.put(name, data)
            self.placements.note_copy(sha_of(name), SPOOL)
        self.placements.note_pack(sha_of(name), class_name, len(data), self.env.now().timestamp())
        if done < len(wanted.stores):
            self.placements.note_waiting(sha_of(name), waits=True)

    def _put_copies(self, name: str, data: Data, wanted: Placement) -> int:
        done = 0
        for store in wanted.candidates:
            if done == wanted.copies:
                break
            if self.is_down(store):
                self._count_elsewhere(store)
                continue
            try:
                self.put_copy(store, name, data)
            except StoreError as error:
                self.note_failure(store, error, packs=1)
                continue
            done += 1
        return done

    def _count_elsewhere(self, store: str) -> None:
        with self._lock:
            known = self._outages.get(store)
            if known is not None:
                self._outages[store] = Outage(store, known.error, known.packs + 1)

    def _last_outage(self, wanted: Placement) -> StoreError:
        failed = [outage.error for outage in self.outages() if outage.store in wanted.candidates]
        return failed[-1] if failed else StoreUnreachableError("no store is named that takes packs of this data class")

    def put_copy(self, store: str, name: str, data: Data) -> None:
        """Put one copy of a data pack on one store. `InternalError` if the pack's class may not lie there.

        The only way that a data pack takes to a store; it trusts the pack's own header and nothing else.
        """
        class_name = class_of(data)
        if store not in self.book.allowed(class_name):
            message = f"a pack of class {class_name or 'unknown'} was about to go to a store that it may not lie on"
            raise InternalError(message)
        self.join(store, claim=True)
        self.stores[store].put(name, data)
        lock = self.book.stores[store].lock_seconds
        if lock:
            self.stores[store].retain_until(name, self.env.now() + timedelta(seconds=lock))
        self.placements.note_copy(sha_of(name), store)

    def join(self, name: str, *, claim: bool) -> None:
        """Make sure that a store beside the home holds packs of this vault and no other; `claim` an empty one.

        What another vault put there would look like garbage here, and be pruned. `ConfigError` then, whatever else goes on.
        """
        store = self.stores[name]
        if store is self.inner or name in self._joined:
            return
        own = f"{MEMBER}{self.vault_id}"
        members = [info.name for info in store.list(MEMBER)]
        if members != [own]:
            if members or next(iter(store.list(PACKS)), None) is not None:
                raise ConfigError(
                    f"store {name} holds packs of another vault",
                    next="give each vault a place of its own on a store: another folder or prefix.",
                )
            if not claim:
                return
            store.put(own, self.vault_id.encode())
        self._joined.add(name)

    def delete_copy(self, store: str, name: str) -> None:
        """Delete one copy of a data pack."""
        self.join(store, claim=False)
        self.stores[store].delete(name)
        self.placements.drop_copy(sha_of(name), store)

    def delete(self, name: str) -> None:
        """Delete an object; a data pack on every store, and in the spool. Raises the first refusal after trying all."""
        if not name.startswith(PACKS):
            self.inner.delete(name)
            return
        with self._lock:
            self._sound.pop(name, None)
        self.spool.delete(name)
        self.placements.drop_copy(sha_of(name), SPOOL)
        failure: StoreError | None = None
        for store in self.stores:
            try:
                self.delete_copy(store, name)
            except StoreError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        self.placements.drop_pack(sha_of(name))

    # --- reading --------------------------------------------------------------------------------------------------------

    def _places(self, name: str) -> list[str]:
        """Return where to read a pack, the cheapest place first: what the ledger knows, then every other store."""
        known = {copy.store: copy.bad for copy in self.placements.copies(sha_of(name))}
        names = sorted(self.stores, key=lambda store: (known.get(store, True), self.book.tier_rank(store)))
        spooled = [SPOOL] if known.get(SPOOL) is not None or self.spool.size(name) is not None else []
        recorded = [store for store in names if store in known and not known[store]]
        rest = [store for store in names if store not in recorded]
        up = [store for store in (*recorded, *rest) if not self.is_down(store)]
        return [*spooled, *up]

    def cheapest(self, name: str) -> str | None:
        """Return the store (or the spool) that an object is read from; None if none is known to have it.

        Where something must be thawed first the ledger alone is not believed: another host may have moved the pack, or this one
        was never told that it had.
        """
        if not name.startswith(PACKS):
            return next(iter(self.stores)) if self.inner.size(name) is not None else None
        known = {copy.store for copy in self.placements.copies(sha_of(name)) if not copy.bad}
        places = self._places(name)
        return next((place for place in places if place in known and self._still(place, name)), None) or next(
            (place for place in places if place != SPOOL and self.stores[place].size(name) is not None), None
        )

    def _still(self, place_name: str, name: str) -> bool:
        """Return whether a place that had a pack has it now, as far as that matters and can be told."""
        stores = self.stores.values()
        if place_name == SPOOL or all(Capability.STORAGE_CLASS not in each.capabilities for each in stores):
            return True
        try:
            there = self.stores[place_name].size(name) is not None
        except StoreError:
            return True
        if not there:
            self.placements.drop_copy(sha_of(name), place_name)
        return there

    def read_copy(self, place_name: str, name: str, offset: int = 0, length: int = -1) -> bytes:
        """Read one copy of a pack as it is, from one store or the spool; unchecked."""
        if place_name == SPOOL:
            return self.spool.get_range(name, offset, length)
        return self.stores[place_name].get_range(name, offset, length)

    def get(self, name: str) -> bytes:
        """Return an object; of a data pack a sound copy if there is any, else a damaged one as it is."""
        return self.get_range(name, 0, -1)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Return a part of an object; of a data pack with several copies, of one whose hash was found right."""
        if not name.startswith(PACKS):
            return self.inner.get_range(name, offset, length)
        with self._lock:
            whole = self._sound.get(name)
            if whole is not None:
                self._sound.move_to_end(name)
            self._read.add(sha_of(name))
        if whole is None and (length < 0 or len(self.placements.copies(sha_of(name))) > 1):
            whole = self._whole(name)
        if whole is not None:
            return whole[offset:] if length < 0 else whole[offset : offset + length]
        return self._from_any(name, offset, length)

    def _from_any(self, name: str, offset: int, length: int) -> bytes:
        failure: StoreError | None = None
        for store in self._places(name):
            try:
                return self.read_copy(store, name, offset, length)
            except ObjectMissingError:
                continue
            except StoreError as error:
                self._unread(store, error)
                failure = error
        raise self._nowhere(name, failure)

    def _nowhere(self, name: str, failure: StoreError | None) -> StoreError | DamageError:
        """Return why a pack cannot be read: a store that is down may have it."""
        if failure is not None:
            return failure
        down = [outage.store for outage in self.outages() if self.is_down(outage.store)]
        if down:
            return StoreUnreachableError(
                f"{', '.join(down)} does not answer, and may hold what is needed",
                safe="nothing was changed; what the other stores hold is as it was.",
                next="bring the store back, then run the same command again.",
            )
        return ObjectMissingError(f"object {name} is in none of the stores")

    def _whole(self, name: str) -> bytes:
        """Return a whole pack, sound if any copy is; note which copies are not."""
        found, damaged, failure = None, None, None
        for store in self._places(name):
            try:
                data = self.read_copy(store, name)
            except ObjectMissingError:
                continue
            except StoreError as error:
                self._unread(store, error)
                failure = error
                continue
            if sha256(data) == sha_of(name):
                self.placements.note_copy(sha_of(name), store, verified_at=self.env.now().timestamp())
                found = data
                break
            self.placements.note_bad(sha_of(name), store)
            damaged = data
        if found is None:
            if damaged is None or failure is not None:
                raise self._nowhere(name, failure)
            return damaged
        with self._lock:
            self._sound[name] = found
            while len(self._sound) > SOUND_KEPT:
                self._sound.popitem(last=False)
        return found

    def sound_copy(self, name: str) -> bytes:
        """Return a pack whose hash is right, from any copy. `DamageError` if there is none."""
        data = self._whole(name)
        if sha256(data) != sha_of(name):
            raise DamageError(f"no copy of pack {sha_of(name)} is whole")
        return data

    def take_read(self) -> frozenset[str]:
        """Return the data packs read since the last call."""
        with self._lock:
            found, self._read = frozenset(self._read), set()
        return found

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the union of all stores and the spool; a pack once, with the size of its largest copy.

        `StoreUnreachableError` if a store does not answer: what it holds could not be told from what is lost.
        """
        if not (prefix.startswith(PACKS) or PACKS.startswith(prefix)):
            return self.inner.list(prefix)
        found: dict[str, int] = {}
        for info in self.inner.list(prefix):
            found[info.name] = info.size
        wanted = prefix if prefix.startswith(PACKS) else PACKS
        for stores in self.inventory(wanted, skip_home=True).values():
            for info in stores:
                found[info.name] = max(info.size, found.get(info.name, 0))
        return iter([ObjectInfo(name, size) for name, size in sorted(found.items())])

    def inventory(self, prefix: str = PACKS, *, skip_home: bool = False) -> dict[str, tuple[ObjectInfo, ...]]:
        """Return the data packs of each store and of the spool, asked now. `StoreUnreachableError` if one is down."""
        found = {}
        for name, store in self.stores.items():
            if not (skip_home and store is self.inner):
                try:
                    self.join(name, claim=False)
                    found[name] = tuple(store.list(prefix))
                except StoreError as error:
                    error.add_note(f"it is the store {name}")
                    raise
        found[SPOOL] = tuple(info for info in self.spool.listed() if info.name.startswith(prefix))
        return found

    def size(self, name: str) -> int | None:
        """Return an object's size; of a data pack, of any copy. `StoreError` if none is found and a store is down."""
        if not name.startswith(PACKS):
            return self.inner.size(name)
        failure: StoreError | None = None
        for store in self._places(name):
            try:
                size = self.spool.size(name) if store == SPOOL else self.stores[store].size(name)
            except StoreError as error:
                self._unread(store, error)
                failure = error
                continue
            if size is not None:
                return size
        missing = self._nowhere(name, failure)
        if isinstance(missing, ObjectMissingError):
            return None
        raise missing

    def present(self, packs: set[str]) -> set[str]:
        """Return which packs (hashes) are there, of either kind.

        For a store that is down its last acknowledgement counts, and the run that rests on it is pending.
        """
        found = set()
        for pack in packs:
            if self.inner.size(f"meta/{pack[:2]}/{pack}") is not None:
                found.add(pack)
                continue
            try:
                if self.size(pack_name(pack)) is not None:
                    found.add(pack)
            except StoreError:
                if any(not copy.bad and self.is_down(copy.store) for copy in self.placements.copies(pack)):
                    found.add(pack)
                    with self._lock:
                        self._relied.add(pack)
        return found
