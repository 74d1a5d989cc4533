"""What a store promises.

A store maps names to immutable bytes. The rest of Holdfast relies on exactly what is written here, and
`holdfast.testing.stores` proves it for each implementation. Behaviour that cuts across stores (retry, counting,
verification, faults) is a wrapper with this same interface, in `stores.layers`.

Names: `/`-separated components of `a-z 0-9 . -`, none empty, none starting with a dot, at most 255 bytes in all. Any
other name raises `InternalError` before anything is touched.

Errors of every method: `StoreUnreachableError` (not there, I/O error, network), `StoreRefusedError` (permission,
read-only), `StoreFullError` (space or quota). After any of them, a put may have happened or not: read back and compare.

What not every store can do is a :class:`Capability`. A store that claims one keeps the promise of its methods, and the
suite proves it; a store that does not claim it refuses those methods with `CapabilityError` (:class:`Plain`).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from holdfast.base.values import dataclass
from holdfast.errors import CapabilityError, InternalError, StoreRetainedError

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME_BYTES_MAX = 255
READ_BACK_BYTES_MAX = 1 << 20
"""Objects up to this size are read back whole after they were put: from memory, and so outside of any rate of reading."""
Data = bytes | bytearray | memoryview
_NAME = re.compile(r"[a-z0-9-][a-z0-9.-]*(?:/[a-z0-9-][a-z0-9.-]*)*")


@dataclass(frozen=True, slots=True, order=True)
class ObjectInfo:
    """One object of a listing."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Room:
    """The room in a store: bytes that may still be put, of so many."""

    free_bytes: int
    total_bytes: int


class Capability(Enum):
    """What a store may be able to do beyond holding objects."""

    CREATE_IF_ABSENT = "create-if-absent"
    """`put_new`: a vault's home needs it, and a consistent listing with it."""
    RETAIN_UNTIL = "retain-until"
    """`retain_until`, `retained_until`: nobody deletes the object before, whatever key or credential he has."""
    STORAGE_CLASS = "storage-class"
    """`storage_state`, `thaw`: the service has storage classes, and the store's settings may name one."""


class Readiness(Enum):
    """Whether an object can be read now."""

    READY = "ready"
    THAWING = "thawing"
    COLD = "cold"


@dataclass(frozen=True, slots=True)
class StorageState:
    """Where the service keeps one object: the service's own name for the class, and whether it can be read now."""

    storage_class: str
    readiness: Readiness


@runtime_checkable
class Store(Protocol):
    """A place that holds objects. All methods may be called from several threads at once."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this store can do as it is configured; constant while it is open."""
        ...

    @property
    def url(self) -> str:
        """Where this store is, as given; contains no secret."""
        ...

    @property
    def local_root(self) -> str | None:
        """The folder that holds the objects as plain files under their names, or None. The engine reads packs there."""
        ...

    def put(self, name: str, data: Data) -> None:
        """Store an object, durably and whole or not at all.

        When it returns, the object survives a crash of the machine. Putting the same bytes again succeeds and changes
        nothing. Putting other bytes under an existing name is a caller's error: the old object stays, and the call
        raises `InternalError` if the store can tell.
        """
        ...

    def put_new(self, name: str, data: Data) -> bool:
        """Store an object if the name is free; return whether this call stored it.

        Atomic: of any number of racing calls at most one returns True, and whoever gets False can read the winner's
        bytes at once. Durable like :meth:`put` when it returns True. After an error nothing is known: read back.
        """
        ...

    def get(self, name: str) -> bytes:
        """Return the object. `ObjectMissingError` if there is none."""
        ...

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`, fewer only at the end of the object; `length` -1 reads to the end.

        `ObjectMissingError` if there is no object. Reading past the end returns what there is.
        """
        ...

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield all objects whose names begin with `prefix`, sorted by name.

        Consistent: an object whose put was acknowledged before the call began is listed unless it was deleted.
        Unfinished puts are never listed. `prefix` may end in the middle of a component.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove an object, durably; removing one that is not there is fine."""
        ...

    def size(self, name: str) -> int | None:
        """Return the object's size in bytes, or None if there is none."""
        ...

    def exists(self) -> bool:
        """Return whether the store's place itself is there (the folder, the bucket)."""
        ...

    def create(self) -> None:
        """Make the store's place. Fine if it is there already and empty or a store."""
        ...

    def retain_until(self, name: str, moment: datetime) -> None:
        """Make the service refuse to delete an object before `moment`; `CapabilityError` without `RETAIN_UNTIL`.

        Never shortens: an object retained longer stays so. When it returns, the service has been asked and says a time
        that is not before `moment`. `ObjectMissingError` if there is no object; `ValueError` for a naive time.
        Deleting a retained object raises `StoreRetainedError`, and the object stays.
        """
        ...

    def retained_until(self, name: str) -> datetime | None:
        """Return until when the service refuses to delete an object (UTC), or None; asked of the service each time.

        `CapabilityError` without `RETAIN_UNTIL`; `ObjectMissingError` if there is no object.
        """
        ...

    def storage_state(self, name: str) -> StorageState:
        """Return where the service keeps an object. `CapabilityError` without `STORAGE_CLASS`; `ObjectMissingError`."""
        ...

    def thaw(self, name: str, days: int) -> None:
        """Ask the service to make a cold object readable for so many days; fine if it is ready or thawing already.

        It returns at once; `storage_state` says when the object is ready. `CapabilityError` without `STORAGE_CLASS`.
        """
        ...

    def room(self) -> Room | None:
        """Return the room that is left, if the service tells; None if it does not."""
        ...

    def close(self) -> None:
        """Release connections. The store must not be used afterwards."""
        ...


class RoomUntold:
    """What a store inherits whose service has no word for the room in it."""

    def room(self) -> Room | None:
        """Return None: nothing is told."""
        return None


class Plain(RoomUntold):
    """What a store inherits that claims nothing but create-if-absent: it refuses the rest, and tells of no room."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Create-if-absent only."""
        return frozenset({Capability.CREATE_IF_ABSENT})

    def retain_until(self, name: str, moment: datetime) -> None:  # noqa: ARG002 - the protocol's own
        """Refuse."""
        raise unclaimed(Capability.RETAIN_UNTIL)

    def retained_until(self, name: str) -> datetime | None:  # noqa: ARG002 - the protocol's own
        """Refuse."""
        raise unclaimed(Capability.RETAIN_UNTIL)

    def storage_state(self, name: str) -> StorageState:  # noqa: ARG002 - the protocol's own
        """Refuse."""
        raise unclaimed(Capability.STORAGE_CLASS)

    def thaw(self, name: str, days: int) -> None:  # noqa: ARG002 - the protocol's own
        """Refuse."""
        raise unclaimed(Capability.STORAGE_CLASS)


def unclaimed(capability: Capability) -> CapabilityError:
    """Return the error of a store that was asked for what it does not claim."""
    return CapabilityError(f"this store has no {capability.value}", capability=capability.value)


def utc(moment: datetime) -> datetime:
    """Return a time in UTC. `ValueError` for one without a zone."""
    if moment.tzinfo is None:
        message = "a time without a zone"
        raise ValueError(message)
    return moment.astimezone(UTC)


def refuse_other_bytes(store: Store, name: str, data: Data) -> None:
    """Raise `InternalError` if the object under a name that was taken holds other bytes than `data`; nothing is changed."""
    if store.size(name) != len(data) or store.get(name) != data:
        message = "other bytes put under an existing object name"
        raise InternalError(message)


def delete_unless_retained(store: Store, name: str) -> bool:
    """Delete an object that nothing needs any more; return whether it is gone. One that is retained goes another time."""
    try:
        store.delete(name)
    except StoreRetainedError:
        return False
    return True


def check_name(name: str) -> str:
    """Return the name, or raise `InternalError` if it is not a legal object name."""
    if len(name) > NAME_BYTES_MAX or not _NAME.fullmatch(name):
        message = "an object name outside the store's alphabet"
        raise InternalError(message)
    return name


def check_prefix(prefix: str) -> str:
    """Return the prefix, or raise `InternalError` if no legal name can begin with it."""
    if len(prefix) > NAME_BYTES_MAX or (prefix and not _NAME.fullmatch(prefix.rstrip("/"))) or prefix.endswith("//"):
        message = "a listing prefix outside the store's alphabet"
        raise InternalError(message)
    return prefix
