"""A store in memory: the default of tests, and `memory:NAME` within one process.

Keeps every promise of `stores.protocol` except surviving the process.
"""

from __future__ import annotations

import bisect
import threading
from typing import TYPE_CHECKING, Self

from holdfast.errors import InternalError, ObjectMissingError, StoreRefusedError, StoreRetainedError
from holdfast.stores.protocol import (
    Capability,
    Data,
    ObjectInfo,
    Plain,
    Readiness,
    StorageState,
    check_name,
    check_prefix,
    unclaimed,
    utc,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from holdfast.base.environment import Environment

_shared: dict[str, MemoryStore] = {}
_shared_lock = threading.Lock()


class MemoryStore(Plain):
    """Objects in a dictionary. `objects` is open to tests that damage or inspect them.

    With an environment it claims every capability: retention goes by that clock, and packs (`data/…`) are put into
    `storage_class`, where a class called `cold` must be thawed; a thaw is done at once.
    """

    def __init__(self, name: str = "", env: Environment | None = None, storage_class: str = "standard") -> None:
        """Make an empty store; `name` appears in its URL only."""
        self._name = name
        self._env = env
        self._storage_class = storage_class
        self._retained: dict[str, datetime] = {}
        self._thawed: set[str] = set()
        self._lock = threading.RLock()
        self._created = False
        self.objects: dict[str, bytes] = {}

    @classmethod
    def shared(cls, name: str) -> MemoryStore:
        """Return the store of that name in this process, making it at the first call: what `memory:NAME` opens."""
        with _shared_lock:
            return _shared.setdefault(name, cls(name))

    def share(self, name: str) -> Self:
        """Let `memory:NAME` open this store from now on; return it. For stores of a test's own kind."""
        with _shared_lock:
            _shared[name] = self
        return self

    @property
    def url(self) -> str:
        """`memory:NAME`."""
        return f"memory:{self._name}"

    @property
    def local_root(self) -> str | None:
        """None: there are no files."""
        return None

    def put(self, name: str, data: Data) -> None:
        """Store an object; `InternalError` if the name holds other bytes."""
        if not self.put_new(name, data) and self.objects.get(name) != bytes(data):
            message = "other bytes put under an existing object name"
            raise InternalError(message)

    def put_new(self, name: str, data: Data) -> bool:
        """Store an object if the name is free."""
        check_name(name)
        with self._lock:
            if name in self.objects:
                return False
            self.objects[name] = bytes(data)
            return True

    def get(self, name: str) -> bytes:
        """Return the object."""
        found = self._present(name)
        if self._env is not None and self.storage_state(name).readiness is Readiness.COLD:
            raise StoreRefusedError("an object is kept cold", next="thaw it first")
        return found

    def _present(self, name: str) -> bytes:
        with self._lock:
            found = self.objects.get(check_name(name))
        if found is None:
            raise ObjectMissingError(f"object {name} is not in the store")
        return found

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Return a part of the object."""
        whole = self.get(name)
        return whole[offset:] if length < 0 else whole[offset : offset + length]

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects of that prefix as they were when the listing began."""
        check_prefix(prefix)
        with self._lock:
            names = sorted(self.objects)
            start = bisect.bisect_left(names, prefix)
            found = []
            for name in names[start:]:
                if not name.startswith(prefix):
                    break
                found.append(ObjectInfo(name, len(self.objects[name])))
        return iter(found)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """All of them with an environment, else create-if-absent."""
        return super().capabilities if self._env is None else frozenset(Capability)

    def delete(self, name: str) -> None:
        """Remove an object, unless it is retained."""
        with self._lock:
            until = self._retained.get(check_name(name))
            if until is not None and self._env is not None and self._env.now() < until:
                raise StoreRetainedError(f"the store retains an object until {until:%Y-%m-%d %H:%M} UTC")
            self._retained.pop(name, None)
            self.objects.pop(name, None)

    def retain_until(self, name: str, moment: datetime) -> None:
        """Retain an object by the environment's clock."""
        if self._env is None:
            raise unclaimed(Capability.RETAIN_UNTIL)
        with self._lock:
            self._present(name)
            self._retained[name] = max(utc(moment), self._retained.get(name, utc(moment)))

    def retained_until(self, name: str) -> datetime | None:
        """Return until when an object is retained."""
        if self._env is None:
            raise unclaimed(Capability.RETAIN_UNTIL)
        self._present(name)
        return self._retained.get(name)

    def storage_state(self, name: str) -> StorageState:
        """Return the class: the store's own for packs, `standard` for the rest."""
        if self._env is None:
            raise unclaimed(Capability.STORAGE_CLASS)
        self._present(name)
        found = self._storage_class if name.startswith("data/") else "standard"
        cold = found == "cold" and name not in self._thawed
        return StorageState(found, Readiness.COLD if cold else Readiness.READY)

    def thaw(self, name: str, days: int) -> None:
        """Make an object readable."""
        if self.storage_state(name).readiness is Readiness.COLD and days > 0:
            self._thawed.add(name)

    def size(self, name: str) -> int | None:
        """Return the size, or None."""
        with self._lock:
            found = self.objects.get(check_name(name))
        return None if found is None else len(found)

    def exists(self) -> bool:
        """Return whether `create` was called or an object put."""
        return self._created or bool(self.objects)

    def create(self) -> None:
        """Mark the store as made."""
        self._created = True

    def close(self) -> None:
        """Do nothing."""
