"""Mounts that nobody else sees, and that end with what made them, however that ends.

A thread gets a mount namespace of its own (mount_namespaces(7)). Threads and programs that it starts share it; when the last of them
is gone the kernel unmounts everything in it. So a restore that is killed leaves nothing mounted.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from typing import TypeVar

from holdfast.errors import HostError

__all__ = ["in_private_mounts"]

CLONE_NEWNS = 0x20000
MS_REC, MS_PRIVATE = 16384, 1 << 18
T = TypeVar("T")


def in_private_mounts(work: Callable[[], T]) -> T:
    """Call `work` in a thread with mounts of its own, and return what it returns or raise what it raises."""
    results: list[T] = []
    failures: list[BaseException] = []

    def body() -> None:
        try:
            _unshare()
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread, whatever it is
            failures.append(error)

    thread = threading.Thread(target=body, name="private-mounts")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def _unshare() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) or libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None):
        raise HostError(f"the system gives no mounts of its own: {os.strerror(ctypes.get_errno())}")
