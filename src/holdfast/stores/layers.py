"""What cuts across stores, as wrappers with the store's own interface.

Their order is fixed in `stores.assembly.layered`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

from holdfast.base.values import dataclass
from holdfast.errors import ObjectMissingError, StoreUnreachableError
from holdfast.reliability.breaker import Breaker, BreakerPolicy
from holdfast.reliability.retry import Retrying, RetryPolicy
from holdfast.stores.protocol import READ_BACK_BYTES_MAX, Capability, Readiness

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.base.environment import Environment
    from holdfast.engine import Limits
    from holdfast.stores.protocol import Data, ObjectInfo, Room, StorageState, Store

SLICE_BYTES = 64 << 10
LOOK_AGAIN_SECONDS = 0.05
_T = TypeVar("_T")


class Wrapper:
    """A store that hands every call on. A wrapper overrides what it changes."""

    def __init__(self, inner: Store) -> None:
        """Wrap a store."""
        self.inner = inner

    @property
    def url(self) -> str:
        """The wrapped store's."""
        return self.inner.url

    @property
    def local_root(self) -> str | None:
        """The wrapped store's."""
        return self.inner.local_root

    def put(self, name: str, data: Data) -> None:
        """Hand on."""
        self.inner.put(name, data)

    def put_new(self, name: str, data: Data) -> bool:
        """Hand on."""
        return self.inner.put_new(name, data)

    def get(self, name: str) -> bytes:
        """Hand on."""
        return self.inner.get(name)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Hand on."""
        return self.inner.get_range(name, offset, length)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Hand on."""
        return self.inner.list(prefix)

    def delete(self, name: str) -> None:
        """Hand on."""
        self.inner.delete(name)

    def size(self, name: str) -> int | None:
        """Hand on."""
        return self.inner.size(name)

    def exists(self) -> bool:
        """Hand on."""
        return self.inner.exists()

    def create(self) -> None:
        """Hand on."""
        self.inner.create()

    @property
    def capabilities(self) -> frozenset[Capability]:
        """The wrapped store's."""
        return self.inner.capabilities

    def retain_until(self, name: str, moment: datetime) -> None:
        """Hand on."""
        self.inner.retain_until(name, moment)

    def retained_until(self, name: str) -> datetime | None:
        """Hand on."""
        return self.inner.retained_until(name)

    def storage_state(self, name: str) -> StorageState:
        """Hand on."""
        return self.inner.storage_state(name)

    def thaw(self, name: str, days: int) -> None:
        """Hand on."""
        self.inner.thaw(name, days)

    def room(self) -> Room | None:
        """Hand on. A plug-in's store of before there was such a question does not tell."""
        ask = getattr(self.inner, "room", None)
        found: Room | None = ask() if ask is not None else None
        return found

    def close(self) -> None:
        """Hand on."""
        self.inner.close()


class RetryingStore(Wrapper):
    """Tries again what failed because the store could not be reached; refusals and full stores are final.

    The only layer that retries. A store that stays away opens its breaker: further calls fail at once for a while.
    """

    def __init__(
        self,
        inner: Store,
        env: Environment,
        policy: RetryPolicy | Mapping[str, RetryPolicy] | None = None,
        breaker: BreakerPolicy | None = None,
    ) -> None:
        """Wrap a store; pauses and dice come from the environment.

        `policy` goes over the defaults: policies by kind of failure, or one for a store that is away.
        """
        super().__init__(inner)
        self._retrying = Retrying(env, {"store-unreachable": policy} if isinstance(policy, RetryPolicy) else policy)
        self.breaker = Breaker(env, breaker)

    def _tried(self, action: Callable[[], _T]) -> _T:
        return self._retrying.call(lambda: self.breaker.call(action))

    def put(self, name: str, data: Data) -> None:
        """Put; the same bytes again are fine, so it can be tried again as it is."""
        self._tried(lambda: self.inner.put(name, data))

    def put_new(self, name: str, data: Data) -> bool:
        """Create; if an attempt failed and a later one finds the name taken, whose bytes they are decides.

        Every control object carries a nonce, so equal bytes are ours: the lost answer was a success.
        """
        unsure = False

        def attempt() -> bool:
            nonlocal unsure
            try:
                created = self.inner.put_new(name, data)
            except StoreUnreachableError:
                unsure = True
                raise
            return created or (unsure and self.inner.get(name) == data)

        return self._tried(attempt)

    def get(self, name: str) -> bytes:
        """Get."""
        return self._tried(lambda: self.inner.get(name))

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Get a part."""
        return self._tried(lambda: self.inner.get_range(name, offset, length))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """List, whole: a listing that failed half way is begun again, never continued."""
        return iter(self._tried(lambda: [*self.inner.list(prefix)]))

    def delete(self, name: str) -> None:
        """Delete."""
        self._tried(lambda: self.inner.delete(name))

    def size(self, name: str) -> int | None:
        """Ask the size."""
        return self._tried(lambda: self.inner.size(name))

    def exists(self) -> bool:
        """Ask whether the place is there."""
        return self._tried(self.inner.exists)

    def create(self) -> None:
        """Make the place; it is fine if an attempt that failed made it."""
        self._tried(self.inner.create)

    def retain_until(self, name: str, moment: datetime) -> None:
        """Retain; it never shortens, so it can be tried again as it is."""
        self._tried(lambda: self.inner.retain_until(name, moment))

    def retained_until(self, name: str) -> datetime | None:
        """Ask until when an object is retained."""
        return self._tried(lambda: self.inner.retained_until(name))

    def storage_state(self, name: str) -> StorageState:
        """Ask where an object is kept."""
        return self._tried(lambda: self.inner.storage_state(name))

    def thaw(self, name: str, days: int) -> None:
        """Ask for an object; asking again is fine."""
        self._tried(lambda: self.inner.thaw(name, days))


class BoundedStore(Wrapper):
    """Lets so many calls through at the same time; the others wait."""

    def __init__(self, inner: Store, calls: int) -> None:
        """Wrap a store."""
        super().__init__(inner)
        self._places = threading.BoundedSemaphore(calls)

    def put(self, name: str, data: Data) -> None:
        """Put in turn."""
        with self._places:
            self.inner.put(name, data)

    def put_new(self, name: str, data: Data) -> bool:
        """Create in turn."""
        with self._places:
            return self.inner.put_new(name, data)

    def get(self, name: str) -> bytes:
        """Get in turn."""
        with self._places:
            return self.inner.get(name)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Get a part in turn."""
        with self._places:
            return self.inner.get_range(name, offset, length)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """List in turn, whole: nobody holds a place while he thinks about a name."""
        with self._places:
            return iter([*self.inner.list(prefix)])

    def delete(self, name: str) -> None:
        """Delete in turn."""
        with self._places:
            self.inner.delete(name)

    def size(self, name: str) -> int | None:
        """Ask the size in turn."""
        with self._places:
            return self.inner.size(name)


def spend(take: Callable[[int], float], count: int, env: Environment) -> None:
    """Wait until so many bytes may pass, a slice at a time: `take` of them now and return 0.0, or return the seconds to wait.

    Signals are heard meanwhile: each pause is short.
    """
    for start in range(0, count, SLICE_BYTES):
        while wait := take(min(SLICE_BYTES, count - start)):
            env.sleep(min(wait, LOOK_AGAIN_SECONDS))


class LimitedStore(Wrapper):
    """Keeps a store that has no rate hook of its own to the limits: waits before each call for what it will move."""

    def __init__(self, inner: Store, env: Environment, limits: Limits) -> None:
        """Wrap a store; pauses are the environment's."""
        super().__init__(inner)
        self._env = env
        self._limits = limits

    def put(self, name: str, data: Data) -> None:
        """Put when it may be written."""
        spend(self._limits.try_write, len(data), self._env)
        self.inner.put(name, data)

    def put_new(self, name: str, data: Data) -> bool:
        """Create when it may be written."""
        spend(self._limits.try_write, len(data), self._env)
        return self.inner.put_new(name, data)


class VerifyingStore(Wrapper):
    """Looks at what was put: objects up to 1 MiB are read back and compared, larger ones by size.

    A pack is named by its hash, so verification proves its bytes later; a control object decides something at once.
    """

    def put(self, name: str, data: Data) -> None:
        """Put, then look."""
        self.inner.put(name, data)
        self._look(name, data)

    def put_new(self, name: str, data: Data) -> bool:
        """Create, then look if it was created here."""
        created = self.inner.put_new(name, data)
        if created:
            self._look(name, data)
        return created

    def _look(self, name: str, data: Data) -> None:
        size = len(data)
        whole = size <= READ_BACK_BYTES_MAX and not self._cold(name)
        try:
            same = self.inner.get(name) == data if whole else self.inner.size(name) == size
        except ObjectMissingError:
            same = False
        if not same:
            raise StoreUnreachableError(
                "the store gave back other bytes than were put",
                safe="nothing relies on the object: it was checked before it was used",
                next="check the store's disk and network: it acknowledged what it did not keep",
            )

    def _cold(self, name: str) -> bool:
        """Return whether the service keeps an object where it must be thawed before it can be read."""
        if Capability.STORAGE_CLASS not in self.inner.capabilities:
            return False
        return self.inner.storage_state(name).readiness is not Readiness.READY


@dataclass(frozen=True, slots=True)
class Counts:
    """What went through a store: calls that stored something, and bytes."""

    objects_put: int
    bytes_put: int
    bytes_got: int


class CountingStore(Wrapper):
    """Counts objects and bytes, for the figures in results."""

    def __init__(self, inner: Store) -> None:
        """Wrap a store and start at zero."""
        super().__init__(inner)
        self._lock = threading.Lock()
        self._objects_put = self._bytes_put = self._bytes_got = 0

    def counts(self) -> Counts:
        """Return the counts up to now."""
        with self._lock:
            return Counts(self._objects_put, self._bytes_put, self._bytes_got)

    def _stored(self, data: Data) -> None:
        with self._lock:
            self._objects_put += 1
            self._bytes_put += len(data)

    def _got(self, data: bytes) -> bytes:
        with self._lock:
            self._bytes_got += len(data)
        return data

    def put(self, name: str, data: Data) -> None:
        """Put and count."""
        self.inner.put(name, data)
        self._stored(data)

    def put_new(self, name: str, data: Data) -> bool:
        """Create and count what was created."""
        created = self.inner.put_new(name, data)
        if created:
            self._stored(data)
        return created

    def get(self, name: str) -> bytes:
        """Get and count."""
        return self._got(self.inner.get(name))

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Get a part and count it."""
        return self._got(self.inner.get_range(name, offset, length))


Before = Callable[[str, str], None]
"""Called with the method's name and the object's before each storage operation; may raise."""


class HookedStore(Wrapper):
    """Calls a function before and after each operation: faults, pauses and records for tests."""

    def __init__(self, inner: Store, before: Before | None = None, after: Before | None = None) -> None:
        """Wrap a store. `after` raising means: done, but the answer was lost."""
        super().__init__(inner)
        self._before = before or _nothing
        self._after = after or _nothing

    def _around(self, verb: str, name: str, action: Callable[[], _T]) -> _T:
        self._before(verb, name)
        result = action()
        self._after(verb, name)
        return result

    def put(self, name: str, data: Data) -> None:
        """Put between the hooks."""
        self._around("put", name, lambda: self.inner.put(name, data))

    def put_new(self, name: str, data: Data) -> bool:
        """Create between the hooks."""
        return self._around("put_new", name, lambda: self.inner.put_new(name, data))

    def get(self, name: str) -> bytes:
        """Get between the hooks."""
        return self._around("get", name, lambda: self.inner.get(name))

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Get a part between the hooks."""
        return self._around("get_range", name, lambda: self.inner.get_range(name, offset, length))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """List between the hooks."""
        return self._around("list", prefix, lambda: self.inner.list(prefix))

    def delete(self, name: str) -> None:
        """Delete between the hooks."""
        self._around("delete", name, lambda: self.inner.delete(name))

    def size(self, name: str) -> int | None:
        """Ask the size between the hooks."""
        return self._around("size", name, lambda: self.inner.size(name))

    def retain_until(self, name: str, moment: datetime) -> None:
        """Retain between the hooks."""
        self._around("retain_until", name, lambda: self.inner.retain_until(name, moment))


def _nothing(_verb: str, _name: str) -> None:
    """Do nothing: the hook where none was given."""
