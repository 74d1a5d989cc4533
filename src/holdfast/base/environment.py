"""The only door to time, randomness and sleep.

Everything that needs a clock, a nonce or a pause takes an :class:`Environment`; nothing else in Holdfast imports
`time`, `random` or `secrets`. A test therefore replaces four functions and the whole system runs on its clock.
"""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from holdfast.base.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Environment:
    """Time, randomness and sleep.

    `now` is wall time in UTC (informs people; no rule of the protocol compares it), `monotonic` counts seconds from an
    arbitrary start and never goes back, `sleep` takes seconds, `random_bytes` must be cryptographically strong.
    """

    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    random_bytes: Callable[[int], bytes]

    def timestamp(self) -> str:
        """Return the time as the format writes it: RFC 3339, UTC, microseconds, `Z`."""
        return format_time(self.now())

    def random_id(self) -> str:
        """Return 16 random bytes as 32 hex digits: the id of a session, a vault, a writer."""
        return self.random_bytes(16).hex()


def format_time(moment: datetime) -> str:
    """Write a time as `2026-11-23T03:00:00.000000Z`. A naive time is refused with `ValueError`."""
    if moment.tzinfo is None:
        message = "a time without a zone"
        raise ValueError(message)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """Read what :func:`format_time` wrote. `ValueError` for anything else."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def system() -> Environment:
    """Return the machine's own clock and random source."""
    return Environment(
        now=lambda: datetime.now(UTC),
        monotonic=time.monotonic,
        sleep=time.sleep,
        random_bytes=os.urandom,
    )


class ManualClock:
    """A clock for tests: it moves only when told to, or by the sleeps it is asked for."""

    def __init__(self, start: datetime | None = None) -> None:
        """Start at `start`, or at 2026-11-23 03:00 UTC."""
        self._now = start or datetime(2026, 11, 23, 3, tzinfo=UTC)
        self._seconds = 0.0
        self._lock = threading.Lock()
        self.slept: list[float] = []

    def now(self) -> datetime:
        """Return the set time."""
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        """Return the seconds passed since the start."""
        with self._lock:
            return self._seconds

    def sleep(self, seconds: float) -> None:
        """Pass `seconds` at once and note them in `slept`."""
        self.slept.append(seconds)
        self.advance(timedelta(seconds=seconds))

    def advance(self, by: timedelta) -> None:
        """Let time pass."""
        with self._lock:
            self._now += by
            self._seconds += by.total_seconds()

    def environment(self) -> Environment:
        """Return an environment on this clock, with real randomness."""
        return Environment(now=self.now, monotonic=self.monotonic, sleep=self.sleep, random_bytes=os.urandom)
