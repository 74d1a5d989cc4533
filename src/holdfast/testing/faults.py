"""Faults for tests: a store that dies at its k-th operation.

`FaultStore` counts the operations of a store and fails the chosen one, before it took effect or after (the reply is
lost). A :class:`Crash` is no `Exception`: it ends the run as SIGKILL would, through every handler but `finally`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from holdfast.errors import StoreUnreachableError
from holdfast.stores.layers import Wrapper

if TYPE_CHECKING:
    from holdfast.stores.protocol import Data, ObjectInfo, Store


class Crash(BaseException):
    """The process is gone."""


class FaultStore(Wrapper):
    """A store whose operation number `fail_at` fails: by :class:`Crash`, or as an unreachable store if `outage`.

    `after`: the operation takes effect and its reply is lost. `writes_only`: reads are neither counted nor failed (a kill
    after a read leaves what a kill before the next operation leaves). `operations` counts what was called, `log` names it.
    """

    def __init__(
        self, inner: Store, *, fail_at: int = -1, after: bool = False, outage: bool = False, writes_only: bool = False
    ) -> None:
        """Wrap a store; `fail_at` counts from 0, -1 never fails."""
        super().__init__(inner)
        self.fail_at = fail_at
        self.after = after
        self.outage = outage
        self.writes_only = writes_only
        self.operations = 0
        self.log: list[str] = []
        self._lock = threading.Lock()

    def _step(self, what: str) -> bool:
        """Count; raise before the effect, or return whether to raise after it."""
        if self.writes_only and not what.startswith(("put", "delete")):
            return False
        with self._lock:
            now = self.operations
            self.operations += 1
            self.log.append(what)
        if now != self.fail_at:
            return False
        if not self.after:
            self._fail()
        return True

    def _fail(self) -> None:
        if self.outage:
            raise StoreUnreachableError("the store does not answer (a test's fault)")
        raise Crash

    def put(self, name: str, data: Data) -> None:
        """Put, or fail."""
        late = self._step(f"put {name}")
        self.inner.put(name, data)
        if late:
            self._fail()

    def put_new(self, name: str, data: Data) -> bool:
        """Create, or fail."""
        late = self._step(f"put_new {name}")
        done = self.inner.put_new(name, data)
        if late:
            self._fail()
        return done

    def get(self, name: str) -> bytes:
        """Get, or fail."""
        late = self._step(f"get {name}")
        data = self.inner.get(name)
        if late:
            self._fail()
        return data

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Get a part, or fail."""
        late = self._step(f"get_range {name}")
        data = self.inner.get_range(name, offset, length)
        if late:
            self._fail()
        return data

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """List, or fail."""
        late = self._step(f"list {prefix}")
        found = self.inner.list(prefix)
        if late:
            self._fail()
        return found

    def delete(self, name: str) -> None:
        """Delete, or fail."""
        late = self._step(f"delete {name}")
        self.inner.delete(name)
        if late:
            self._fail()

    def size(self, name: str) -> int | None:
        """Ask for a size, or fail."""
        late = self._step(f"size {name}")
        found = self.inner.size(name)
        if late:
            self._fail()
        return found
