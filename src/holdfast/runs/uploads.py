"""Storing packs beside the engine: a few threads, a bounded number of packs in memory, the first failure stops the run."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from holdfast.stores.protocol import Data

    Put = Callable[[bytes, int, Data], None]
    Stored = Callable[[bytes], None]


class Uploads:
    """Packs on their way to the store. Use as a context manager: leaving it waits for the threads.

    At most `threads` packs are being stored and one more waits: :meth:`submit` blocks beyond that, which is how a slow
    store slows the engine down. After a failure nothing further is begun; :meth:`submit`, :meth:`check` and
    :meth:`drain` raise it.
    """

    def __init__(self, put: Put, stored: Stored, threads: int) -> None:
        """`put(name, kind, data)` stores a pack durably; `stored(name)` is told afterwards, from the storing thread."""
        self._put = put
        self._stored = stored
        self._limit = threads + 1
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="holdfast-upload")
        self._pending: set[Future[None]] = set()
        self._failed = threading.Event()
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        """Return the uploads."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what is being stored; begin nothing more."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, name: bytes, kind: int, data: Data) -> None:
        """Begin to store a pack; wait while too many are under way."""
        while len(self._pending) >= self._limit:
            self._collect(block=True)
        self.check()
        self._pending.add(self._pool.submit(self._store, name, kind, data))

    def check(self) -> None:
        """Raise the first failure, if there was one."""
        self._collect(block=False)
        if self._failure is not None:
            raise self._failure

    def drain(self) -> None:
        """Wait until everything submitted is stored."""
        while self._pending:
            self._collect(block=True)
        self.check()

    def _store(self, name: bytes, kind: int, data: Data) -> None:
        if self._failed.is_set():
            return
        try:
            self._put(name, kind, data)
            self._stored(name)
        except BaseException:
            self._failed.set()
            raise

    def _collect(self, *, block: bool) -> None:
        done, self._pending = wait(self._pending, timeout=None if block else 0, return_when=FIRST_COMPLETED)
        for future in done:
            error = future.exception()
            if error is not None and self._failure is None:
                self._failure = error
