"""One fault at the k-th operation on any store of a vault, and what the process is from then on: dead, or without a network."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Self, TypeVar

from holdfast.errors import InternalError, StoreUnreachableError
from holdfast.stores.layers import Wrapper
from holdfast.stores.memory import MemoryStore
from holdfast.stores.protocol import Data, ObjectInfo, Store
from holdfast.testing.faults import Crash

if TYPE_CHECKING:
    from holdfast.base.environment import Environment

__all__ = ["TEARABLE", "WAYS", "Strike", "StruckStore", "SweptStore"]

WAYS = ("cable", "away", "answer-lost", "torn", "killed")
"""`cable`: the operation and all after it find no network. `away`: so do those on the same store, while others answer (where there
are several). `answer-lost`: it takes effect, its answer and all after it are lost.
`torn`: the machine loses power in it, and half of the object lies under its name. `killed`: the process dies before it."""
TEARABLE = (
    "data/",
    "meta/",
    "parity/",
    "index/",
    "refs/",
    "part/",
    "state/",
    "session/",
    "checkpoint/",
    "ack/",
    "decision/",
    "committed/",
    "snapshot/",
    "countersign/",
    "compared/",
    "admission/",
    "condemn/",
    "plan/",
    "closed/",
    "damaged/",
    "forgotten/",
    "dropped/",
    "hold/",
    "audit/",
    "approval/",
    "rehearsal/",
    "medium/",
    "epoch/",
    "home/",
)
"""What may be torn. Of the rest each store promises all or nothing (`stores.protocol`), and the vault rests on that promise: keyrings,
certificates, the ledger of keys, policies, floors and orders of erasure. Where one of these cannot be read, what it may have said is
taken for the stricter, whatever rests on it is refused, and a person puts it back: nothing is guessed about who may read what."""
_T = TypeVar("_T")


class Strike:
    """Counts operations on all stores of a vault, and strikes one. `at` -1 only counts."""

    def __init__(self, way: str = "killed", at: int = -1) -> None:
        """Choose the way and the operation, from 0."""
        self.way = way
        self.at = at
        self.count = 0
        self.struck = False
        self.log: list[str] = []
        self._dead = self._cut = False
        self._away = ""
        self._lock = threading.Lock()

    @classmethod
    def away(cls) -> Self:
        """Return one after which a store does not answer, from its first operation on."""
        made = cls("cable")
        made._cut = True
        return made

    def counts(self, verb: str, name: str) -> bool:
        """Return whether an operation is one of those that this way can strike.

        A kill before a read leaves what a kill before the next write leaves, and a read whose answer is lost is one that was not
        answered, so that of these only writes are struck.
        """
        writes = verb in {"put", "put_new", "delete", "thaw"}
        if self.way == "torn":
            return verb in {"put", "put_new"} and name.startswith(TEARABLE)
        return writes or self.way in {"cable", "away"}

    def around(
        self, verb: str, name: str, effect: Callable[[], _T], tear: Callable[[], object], *, store: str = ""
    ) -> _T:
        """Do an operation on a store, or strike it."""
        with self._lock:
            if self._dead:
                raise Crash
            if self._cut and self._away in {"", store}:
                raise StoreUnreachableError("the store does not answer (a sweep's fault)")
            if not self.counts(verb, name):
                return effect()
            now, self.count = self.count, self.count + 1
            self.log.append(f"{verb} {name}")
            if now != self.at:
                return effect()
            self.struck = True
            self._dead = self.way in {"torn", "killed"}
            self._cut = not self._dead
            self._away = store if self.way == "away" else ""
            if self.way == "answer-lost":
                effect()
            if self.way == "torn":
                tear()
        if self._dead:
            raise Crash
        raise StoreUnreachableError("the store does not answer (a sweep's fault)")


class SweptStore(MemoryStore):
    """A store in memory whose operations a strike counts; without one it is an ordinary store."""

    def __init__(self, name: str, env: Environment | None = None, storage_class: str = "standard") -> None:
        """Make an empty store."""
        super().__init__(name, env, storage_class)
        self.strike: Strike | None = None
        self.is_cold = storage_class == "cold"

    def freeze(self) -> None:
        """Let nothing be thawed any more."""
        self._thawed.clear()

    def _do(self, verb: str, name: str, effect: Callable[[], _T], data: Data = b"") -> _T:
        if self.strike is None:
            return effect()
        return self.strike.around(
            verb, name, effect, lambda: self.objects.setdefault(name, bytes(data[: len(data) // 2])), store=self.url
        )

    def put(self, name: str, data: Data) -> None:
        """Put, or be struck."""
        self._do("put", name, lambda: self._kept(name, data), data)

    def _kept(self, name: str, data: Data) -> None:
        if not MemoryStore.put_new(self, name, data) and self.objects[name] != bytes(data):
            raise InternalError("other bytes put under an existing object name")

    def put_new(self, name: str, data: Data) -> bool:
        """Create, or be struck."""
        return self._do("put_new", name, lambda: MemoryStore.put_new(self, name, data), data)

    def get(self, name: str) -> bytes:
        """Get, or be struck."""
        return self._do("get", name, lambda: MemoryStore.get(self, name))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """List, or be struck."""
        return self._do("list", prefix, lambda: MemoryStore.list(self, prefix))

    def delete(self, name: str) -> None:
        """Delete, or be struck."""
        self._do("delete", name, lambda: MemoryStore.delete(self, name))

    def size(self, name: str) -> int | None:
        """Ask for a size, or be struck."""
        return self._do("size", name, lambda: MemoryStore.size(self, name))

    def thaw(self, name: str, days: int) -> None:
        """Thaw, or be struck."""
        self._do("thaw", name, lambda: MemoryStore.thaw(self, name, days))


class StruckStore(Wrapper):
    """The same around a store of another kind: the folder that a courier's medium is imported into."""

    def __init__(self, inner: Store, strike: Strike) -> None:
        """Wrap a store."""
        super().__init__(inner)
        self.strike = strike

    def put(self, name: str, data: Data) -> None:
        """Put, or be struck. A folder's puts are whole or nothing, so that nothing is torn."""
        self.strike.around("put", name, lambda: self.inner.put(name, data), lambda: None)

    def put_new(self, name: str, data: Data) -> bool:
        """Create, or be struck."""
        return self.strike.around("put_new", name, lambda: self.inner.put_new(name, data), lambda: None)

    def delete(self, name: str) -> None:
        """Delete, or be struck."""
        self.strike.around("delete", name, lambda: self.inner.delete(name), lambda: None)
