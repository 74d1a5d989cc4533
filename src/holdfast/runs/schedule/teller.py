"""Telling people aside: however many channels are dead, the schedule starts its runs at their time.

A round of the desk may wait for every channel in turn. It is done by a thread of its own with its own connection to the alert
book; the service asks for it, and hears later what came of it. One round at a time, and none is waited for when the service ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError, InternalError
from holdfast.reliability.alerts.desk import Round

if TYPE_CHECKING:
    from holdfast.base.environment import Environment
    from holdfast.base.events import Alert

__all__ = ["Direct", "Teller"]

PATIENCE_SECONDS = 1.0
DIRECT_SECONDS = 3600.0
"""How often people are told, past the book, that it cannot be used."""
LAST_SECONDS = 10.0
"""How long the end of the service waits for the messages that are on their way."""


class Teller:
    """Does rounds of a desk in a thread. `make` is called there once and returns what does one."""

    def __init__(self, make: Callable[[], Callable[[], Round]], *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Take what makes the round. Nothing is opened yet."""
        self._make = make
        self._patience_seconds = patience_seconds
        self._round: Callable[[], Round] | None = None
        self._thread: threading.Thread | None = None
        self._found: list[Round | HoldfastError] = []

    def __call__(self) -> Round | None:
        """See that a round is under way; return what those that ended came to, None while the first goes on.

        Raises the `HoldfastError` that ended one.
        """
        try:
            before = self._ended(0.0)
        finally:
            if self._thread is None:
                self._start()
        now = self._ended(self._patience_seconds)
        if before is None or now is None:
            return before or now
        return Round(before.sent + now.sent, before.failed + now.failed, now.held, before.refused + now.refused)

    def last(self) -> Round | None:
        """Wait a while for the round under way, then do one more and wait a while for that: the service ends."""
        if self._thread is not None and self._ended(LAST_SECONDS) is None:
            return None
        self._start()
        return self._ended(LAST_SECONDS)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._work, name="alerts", daemon=True)
        self._thread.start()

    def _ended(self, patience_seconds: float) -> Round | None:
        thread = self._thread
        if thread is None:
            return None
        thread.join(patience_seconds)
        if thread.is_alive():
            return None
        self._thread = None
        found = self._found.pop()
        if isinstance(found, HoldfastError):
            raise found
        return found

    def _work(self) -> None:
        try:
            if self._round is None:
                self._round = self._make()
            self._found.append(self._round())
        except HoldfastError as error:
            self._found.append(error)
        except Exception as error:  # noqa: BLE001 - a thread's failure must be seen; its text may hold an address
            self._found.append(InternalError(f"people could not be told: {type(error).__name__}"))


class Direct:
    """Tells people past the alert book, aside: at most once an hour, for what keeps the book from working lasts."""

    def __init__(self, tell: Callable[[Alert], int], env: Environment) -> None:
        """Take what tells of an alert and returns how many messages went."""
        self._tell = tell
        self._env = env
        self._thread: threading.Thread | None = None
        self._told_at = float("-inf")
        self.failure = ""
        """Why nobody was told the last time; empty: somebody was."""

    def __call__(self, alert: Alert) -> None:
        """Tell of an alert, unless people were told within the hour, or are being told now."""
        busy = self._thread is not None and self._thread.is_alive()
        if busy or self._env.monotonic() - self._told_at < DIRECT_SECONDS:
            return
        self._thread = threading.Thread(target=self._work, args=(alert,), name="alerts-direct", daemon=True)
        self._thread.start()

    def _work(self, alert: Alert) -> None:
        try:
            if self._tell(alert):
                self._told_at, self.failure = self._env.monotonic(), ""
            else:
                self.failure = "no channel took the message"
        except Exception as error:  # noqa: BLE001 - a thread's failure must be seen; its text may hold an address
            self.failure = error.what if isinstance(error, HoldfastError) else type(error).__name__

    def wait(self) -> None:
        """Wait a while until those who are being told were told."""
        if self._thread is not None:
            self._thread.join(LAST_SECONDS)
