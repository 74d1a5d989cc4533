"""How an application is approached: again while it is away or busy, and not at all while it was away too often.

This is the one place where a call to an application is repeated. Its breaker is kept in a file, as each scheduled run is a process
of its own: an application that has been dead for hours is asked once in a while, by whichever run comes next.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import ApplicationLeftAloneError, ApplicationUnreachableError, HoldfastError
from holdfast.reliability.breaker import Breaker, BreakerPolicy, BreakerState
from holdfast.reliability.retry import Retrying, RetryPolicy

if TYPE_CHECKING:
    from holdfast.base.environment import Environment
    from holdfast.sources.connectors.protocol import Connector, Facts

__all__ = ["Approach", "BreakerFile"]

_BYTES_MAX = 4096


class BreakerFile:
    """A breaker's state between processes. Lost or torn, the breaker is closed: an application is asked once too often."""

    def __init__(self, path: Path) -> None:
        """Take its place; it is made at the first failure."""
        self._path = path

    def load(self) -> BreakerState:
        """Return what was kept. A call that was let through by a process that is gone counts as none."""
        try:
            with open(self._path, "rb") as file:
                found = json.loads(file.read(_BYTES_MAX))
            failures, until, pause = int(found["failures"]), float(found["open_until"]), float(found["pause"])
        except (OSError, ValueError, KeyError, TypeError):
            return BreakerState()
        if failures < 0 or not math.isfinite(until) or not math.isfinite(pause):
            return BreakerState()
        return BreakerState(failures, until, pause)

    def save(self, state: BreakerState) -> None:
        """Keep a state, or nothing if the disk does not take it."""
        with suppress(OSError):
            if state == BreakerState():
                self._path.unlink(missing_ok=True)
                return
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = self._path.with_suffix(".new")
            new.write_text(
                json.dumps({"failures": state.failures, "open_until": state.open_until, "pause": state.pause})
            )
            os.replace(new, self._path)


class Approach:
    """One application: its retry and its breaker."""

    def __init__(
        self,
        env: Environment,
        *,
        policies: Mapping[str, RetryPolicy] | None = None,
        breaker: BreakerPolicy | None = None,
        keep: Path | None = None,
    ) -> None:
        """`keep` is the file of the breaker's state; without one it lasts as long as this object."""
        file = BreakerFile(keep) if keep is not None else None
        self._retrying = Retrying(env, policies)
        self.breaker = Breaker(
            env,
            breaker,
            counts=ApplicationUnreachableError,
            refusal=_left_alone,
            clock=lambda: env.now().timestamp(),
            state=file.load() if file is not None else None,
            kept=file.save if file is not None else None,
        )

    def check(self, connector: Connector) -> Facts:
        """Return what the connector's check finds; nothing was touched when it raises.

        `ApplicationLeftAloneError` while the breaker is open; else the last error of the check as it was.
        """
        return self._retrying.call(lambda: self.breaker.call(connector.check))


def _left_alone(failures: int, left_seconds: float) -> HoldfastError:
    return ApplicationLeftAloneError(
        f"the application did not answer {failures} times in a row and is left alone for {left_seconds:.0f} s",
        retry_in_seconds=left_seconds,
    )
