"""SIGINT and SIGTERM: the first asks the run to stop and keep its checkpoint, the second ends it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from holdfast.errors import Interrupted

__all__ = ["interruptible"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible(*, at_once: bool = False) -> Iterator[threading.Event]:
    """Yield the event that tells a run to stop. `Interrupted`, with the signal's number, if a signal came.

    With `at_once` the first signal raises where the program is: for work that is safe to leave at any point.
    """
    stop = threading.Event()
    came: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        if at_once or stop.is_set():
            raise Interrupted(f"interrupted by {signal.Signals(number).name}", signal_number=number)
        stop.set()

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield stop
    except Interrupted as error:
        if came and error.signal_number != came[0]:
            raise Interrupted(error.what, signal_number=came[0], safe=error.safe, next=error.next) from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
