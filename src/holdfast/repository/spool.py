"""The spool: sealed packs that wait on this host while no store takes them. Bounded; a folder with one file per pack."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from holdfast.base.units import format_bytes
from holdfast.errors import SpoolFullError

if TYPE_CHECKING:
    from holdfast.stores.protocol import Data, ObjectInfo, Store

__all__ = ["SPOOL", "Spool"]

SPOOL = "spool"
"""Its name where stores are listed: no store may be called so."""


class Spool:
    """Packs are sealed before they come here, so the folder holds nothing readable. What it holds is its own truth."""

    def __init__(self, store: Store, bytes_max: int) -> None:
        """Use a store on this host; it is made at the first put."""
        self.store = store
        self.bytes_max = bytes_max
        self._lock = threading.Lock()
        self._held: dict[str, int] | None = None
        self._claimed = 0

    def _known(self) -> dict[str, int]:
        if self._held is None:
            listed = self.store.list("data/") if self.store.exists() else ()
            self._held = {info.name: info.size for info in listed}
        return self._held

    def put(self, name: str, data: Data) -> None:
        """Keep a pack durably. `SpoolFullError` if it does not fit."""
        with self._lock:
            held = self._known()
            if name in held:
                return
            total = sum(held.values()) + self._claimed + len(data)
            if total > self.bytes_max:
                raise SpoolFullError(
                    f"the spool would hold {format_bytes(total)}, more than its limit of {format_bytes(self.bytes_max)},"
                    " and no store that the data class may go to answers",
                    limit=self.bytes_max,
                )
            self._claimed += len(data)
        try:
            self.store.create()
            self.store.put(name, data)
        finally:
            with self._lock:
                self._claimed -= len(data)
                self._held = None

    def listed(self) -> tuple[ObjectInfo, ...]:
        """Return what waits, by name."""
        return tuple(self.store.list("data/")) if self.store.exists() else ()

    def size(self, name: str) -> int | None:
        """Return the size of a pack that waits, or None."""
        with self._lock:
            return self._known().get(name)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Return a part of a pack that waits. `ObjectMissingError`."""
        return self.store.get_range(name, offset, length)

    def delete(self, name: str) -> None:
        """Remove a pack: it lies where it belongs now, or is not needed."""
        with self._lock:
            if self.store.exists():
                self.store.delete(name)
            self._held = None
