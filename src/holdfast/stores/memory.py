"""A store in memory: the default of tests, and `memory:NAME` within one process.

Keeps every promise of `stores.protocol` except surviving the process.
"""

from __future__ import annotations

import bisect
import threading
from typing import TYPE_CHECKING

from holdfast.errors import InternalError, ObjectMissingError
from holdfast.stores.protocol import Data, ObjectInfo, check_name, check_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator

_shared: dict[str, MemoryStore] = {}
_shared_lock = threading.Lock()


class MemoryStore:
    """Objects in a dictionary. `objects` is open to tests that damage or inspect them."""

    def __init__(self, name: str = "") -> None:
        """Make an empty store; `name` appears in its URL only."""
        self._name = name
        self._lock = threading.RLock()
        self._created = False
        self.objects: dict[str, bytes] = {}

    @classmethod
    def shared(cls, name: str) -> MemoryStore:
        """Return the store of that name in this process, making it at the first call: what `memory:NAME` opens."""
        with _shared_lock:
            return _shared.setdefault(name, cls(name))

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
        if not self.put_new(name, data) and self.get(name) != bytes(data):
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

    def delete(self, name: str) -> None:
        """Remove an object."""
        with self._lock:
            self.objects.pop(check_name(name), None)

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
