"""Circuit breakers: what failed many times in a row is left alone for a while, then tried with one call.

A breaker is *closed* (calls pass), *open* (they fail at once, with `BreakerOpenError`, and the other side has its peace) or
*half-open* (one call passes, and decides). Each time that call fails the pause doubles, up to a longest. The transitions are
pure functions of a frozen state; :class:`Breaker` holds it for threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from holdfast.base.environment import Environment
from holdfast.base.values import dataclass
from holdfast.errors import BreakerOpenError, HoldfastError, StoreUnreachableError

__all__ = ["Breaker", "BreakerPolicy", "BreakerState", "admitted", "failed", "succeeded"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens, and for how long."""

    failures: int = 10
    """In a row."""
    open_seconds: float = 30.0
    longest_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class BreakerState:
    """Where a breaker stands. Times are monotonic seconds."""

    failures: int = 0
    open_until: float = 0.0
    pause: float = 0.0
    """The pause it is in or had last; 0: closed."""
    probing: bool = False
    """One call was let through and has not come back."""

    @property
    def is_open(self) -> bool:
        """Whether calls are refused, or only one let through."""
        return self.pause > 0


def admitted(state: BreakerState, now: float) -> tuple[bool, BreakerState]:
    """Return whether a call may pass, and the state afterwards."""
    if not state.is_open:
        return True, state
    if now < state.open_until or state.probing:
        return False, state
    return True, replace(state, probing=True)


def succeeded(_state: BreakerState) -> BreakerState:
    """Return the state after a call that succeeded: closed."""
    return BreakerState()


def failed(state: BreakerState, now: float, policy: BreakerPolicy) -> BreakerState:
    """Return the state after a call that failed."""
    count = state.failures + 1
    if state.probing:
        pause = min(state.pause * 2, policy.longest_seconds)
        return BreakerState(count, now + pause, pause)
    if state.is_open or count < policy.failures:
        return replace(state, failures=count)
    return BreakerState(count, now + policy.open_seconds, policy.open_seconds)


class Breaker:
    """A breaker for one store or connector. Thread-safe."""

    def __init__(
        self,
        env: Environment,
        policy: BreakerPolicy | None = None,
        *,
        counts: type[Exception] = StoreUnreachableError,
        heard: Callable[[bool], None] | None = None,
        refusal: Callable[[int, float], HoldfastError] | None = None,
        clock: Callable[[], float] | None = None,
        state: BreakerState | None = None,
        kept: Callable[[BreakerState], None] | None = None,
    ) -> None:
        """`counts` is the error that counts as a failure; `heard(open)` is told when it opens and closes.

        `refusal(failures, seconds)` makes the error of a call that may not pass. For a breaker that outlives its process: `clock`
        is a clock that goes on, `state` what was kept, `kept` is told of each change. A pause longer than any can be, after the
        clock was set, is over.
        """
        self._clock = clock or env.monotonic
        self._policy = policy or BreakerPolicy()
        self._counts = counts
        self._heard = heard
        self._refusal = refusal or _store_left_alone
        self._kept = kept
        self._state = state or BreakerState()
        if self._state.open_until > self._clock() + self._policy.longest_seconds:
            self._state = replace(self._state, open_until=self._clock())
        self._lock = threading.Lock()

    @property
    def state(self) -> BreakerState:
        """Where it stands."""
        return self._state

    def call(self, action: Callable[[], _T]) -> _T:
        """Call, if calls may pass. `BreakerOpenError` if not; the action's own errors as they are."""
        with self._lock:
            passes, self._state = admitted(self._state, self._clock())
            if not passes:
                raise self._refusal(self._state.failures, max(0.0, self._state.open_until - self._clock()))
        try:
            result = action()
        except self._counts:
            self._move(lambda state: failed(state, self._clock(), self._policy))
            raise
        except BaseException:
            # It answered, or the caller was stopped: neither says that it is away.
            self._move(lambda state: replace(state, probing=False))
            raise
        self._move(succeeded)
        return result

    def _move(self, step: Callable[[BreakerState], BreakerState]) -> None:
        with self._lock:
            old, self._state = self._state, step(self._state)
            before, after = old.is_open, self._state.is_open
            if self._kept is not None and self._state != old:
                self._kept(self._state)
        if before != after and self._heard is not None:
            self._heard(after)


def _store_left_alone(failures: int, left_seconds: float) -> HoldfastError:
    return BreakerOpenError(
        f"the store failed {failures} times in a row and is left alone", retry_in_seconds=left_seconds
    )
