"""The scheduling class, nice value and I/O class of a run's threads: what the system itself does for the application.

Set for the calling thread, whose children (the engine's threads) inherit it. A process may always lower itself; to come back
needs a permission, and who lacks it stays low: the safe side.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

__all__ = ["Priority", "lowered"]

Priority = Literal["normal", "low", "idle"]
NICE_LOW = 10
IO_LOW = 7


@contextmanager
def lowered(priority: Priority) -> Iterator[tuple[str, ...]]:
    """Lower the calling thread while the block runs; yield what could not be set.

    `low`: nice 10, best effort 7. `idle`: SCHED_IDLE and the idle I/O class: it runs when nobody else wants to.
    """
    if priority == "normal":
        yield ()
        return
    refused = []
    nice, policy = os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, max(nice, NICE_LOW))
        if priority == "idle":
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except OSError:
        refused.append("scheduling class")
    io_before = _io_class(priority)
    if io_before is None:
        refused.append("I/O class")
    try:
        yield tuple(refused)
    finally:
        try:
            os.sched_setscheduler(0, policy, os.sched_param(0))
            os.setpriority(os.PRIO_PROCESS, 0, nice)
        except OSError:
            pass  # no permission to rise again: it stays low
        if io_before is not None:
            _set_io(*io_before)


def _io_class(priority: Priority) -> tuple[int, int] | None:
    """Lower the I/O class; return what it was, None if the system refused."""
    import psutil

    try:
        before = psutil.Process(threading.get_native_id()).ionice()
    except (psutil.Error, OSError):
        return None
    wanted = (int(psutil.IOPRIO_CLASS_IDLE), 0) if priority == "idle" else (int(psutil.IOPRIO_CLASS_BE), IO_LOW)
    return (int(before.ioclass), int(before.value)) if _set_io(*wanted) else None


def _set_io(ioclass: int, value: int) -> bool:
    import psutil

    try:
        if ioclass in (int(psutil.IOPRIO_CLASS_NONE), int(psutil.IOPRIO_CLASS_IDLE)):
            psutil.Process(threading.get_native_id()).ionice(ioclass)
        else:
            psutil.Process(threading.get_native_id()).ionice(ioclass, value)
    except (psutil.Error, OSError, ValueError):
        return False
    return True
