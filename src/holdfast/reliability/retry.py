"""Retry: how often, how long and with which pauses, by kind of failure. One layer retries, and nothing above or below it.

A decision is a pure function (:func:`pause_before`); :class:`Retrying` is the only place that sleeps. Pauses grow twofold from
`first_seconds` to `longest_seconds`, between half and all of which is slept ("equal jitter"), so that many hosts do not come
back at once. What the other side asks for (`Retry-After`) is never cut short; if it does not fit the budget, the call gives up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from holdfast.base.environment import Environment
from holdfast.base.values import dataclass
from holdfast.errors import (
    ApplicationLeftAloneError,
    BreakerOpenError,
    HoldfastError,
    Retry,
    StoreFullError,
    StoreRefusedError,
    StoreUnreachableError,
)

__all__ = [
    "FOREVER_SECONDS",
    "POLICIES",
    "RETRY_AFTER",
    "RetryPolicy",
    "Retrying",
    "asked_seconds",
    "kind_of_failure",
    "pause_before",
]

FOREVER_SECONDS = 366 * 86400.0
RETRY_AFTER = "retry_after_seconds"
"""The fact of an error that says how long the other side wants to be left alone."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a kind of failure is retried. One attempt means: not at all."""

    attempts: int = 5
    first_seconds: float = 0.5
    longest_seconds: float = 30.0
    budget_seconds: float = 300.0
    """No pause begins that would end later than this after the first attempt."""

    def wait(self, attempt: int, dice: float) -> float:
        """Return the pause after a failed attempt (1, 2, …); `dice` is uniform in 0 … 1."""
        full = min(self.longest_seconds, self.first_seconds * 2.0 ** min(attempt - 1, 60))
        return full * (0.5 + 0.5 * dice)


POLICIES: Mapping[str, RetryPolicy] = {
    "store-unreachable": RetryPolicy(),
    "store-throttled": RetryPolicy(attempts=10, first_seconds=1.0, longest_seconds=60.0, budget_seconds=900.0),
    "application-busy": RetryPolicy(attempts=6, first_seconds=2.0, longest_seconds=60.0, budget_seconds=600.0),
    "application-unreachable": RetryPolicy(attempts=4, first_seconds=2.0, longest_seconds=30.0, budget_seconds=180.0),
    "delivery": RetryPolicy(attempts=2, first_seconds=1.0, longest_seconds=10.0, budget_seconds=60.0),
    "final": RetryPolicy(attempts=1, first_seconds=0.0, longest_seconds=0.0, budget_seconds=0.0),
}
"""The defaults, by kind of failure. `[retry.KIND]` of the configuration goes over them."""


def kind_of_failure(error: BaseException) -> str:
    """Return the kind of a failure: which policy applies. `final` is what no repetition can change."""
    match error:
        case BreakerOpenError() | ApplicationLeftAloneError():
            return "final"
        case StoreUnreachableError():
            return "store-throttled" if asked_seconds(error) > 0 else "store-unreachable"
        case StoreFullError() | StoreRefusedError():
            return "final"
        case HoldfastError() if error.code in POLICIES:
            return error.code
        case HoldfastError() if error.retry is Retry.LATER and asked_seconds(error) > 0:
            return "store-throttled"
        case _:
            return "final"


def asked_seconds(error: BaseException) -> float:
    """Return how long the other side asked to be left alone; 0 if it did not, or not sensibly."""
    asked = getattr(error, "facts", {}).get(RETRY_AFTER)
    return float(asked) if isinstance(asked, int | float) and 0 < asked < FOREVER_SECONDS else 0.0


def pause_before(
    policy: RetryPolicy, *, attempt: int, elapsed_seconds: float, dice: float, asked_seconds: float = 0.0
) -> float | None:
    """Return the pause before the next attempt after `attempt` failed ones, or None: give up."""
    if attempt >= policy.attempts:
        return None
    pause = max(policy.wait(attempt, dice), asked_seconds)
    return pause if elapsed_seconds + pause <= policy.budget_seconds else None


class Retrying:
    """Calls something until it succeeds or its kind of failure has had its tries."""

    def __init__(
        self,
        env: Environment,
        policies: Mapping[str, RetryPolicy] | None = None,
        heard: Callable[[str, int, float], None] | None = None,
    ) -> None:
        """Take time, pauses and dice from the environment. `heard(code, attempt, pause)` is told of each retry."""
        self._env = env
        self._policies = {**POLICIES, **(policies or {})}
        self._heard = heard

    def call(self, action: Callable[[], _T]) -> _T:
        """Return what the action returns. Its last error is raised as it was, with the number of attempts among its facts."""
        began = self._env.monotonic()
        attempt = 0
        while True:
            attempt += 1
            try:
                return action()
            except HoldfastError as error:
                pause = pause_before(
                    self._policies.get(kind_of_failure(error), POLICIES["final"]),
                    attempt=attempt,
                    elapsed_seconds=self._env.monotonic() - began,
                    dice=int.from_bytes(self._env.random_bytes(4), "little") / 2**32,
                    asked_seconds=asked_seconds(error),
                )
                if pause is None:
                    error.facts.setdefault("attempts", attempt)
                    raise
                if self._heard is not None:
                    self._heard(error.code, attempt, pause)
            self._env.sleep(pause)
