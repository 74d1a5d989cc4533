"""One delivery: as many attempts as the channel allows, within its time, whatever the channel does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from holdfast.base.environment import Environment
from holdfast.errors import ChannelError, HoldfastError, Retry
from holdfast.reliability.notify.protocol import Channel, Message, Receipt
from holdfast.reliability.retry import POLICIES, RetryPolicy, asked_seconds, pause_before

__all__ = ["Deliveries"]

_SLACK_SECONDS = 5.0


class Deliveries:
    """Sends messages by channels. A channel that hangs is left behind, and not used again before it is free."""

    def __init__(self, env: Environment, policy: RetryPolicy | None = None) -> None:
        """Take the clock that waits between attempts, and the policy that says how long."""
        self._env = env
        self._policy = policy or POLICIES["delivery"]
        self._hanging: dict[str, threading.Thread] = {}

    def send(self, name: str, channel: Channel, message: Message, *, attempts: int | None, seconds: float) -> Receipt:
        """Return the receipt, or raise the last attempt's `ChannelError`. `attempts` go before those of the policy."""
        hanging = self._hanging.get(name)
        if hanging is not None and hanging.is_alive():
            raise ChannelError(f"the channel {name} still hangs in an earlier message")
        policy = self._policy if attempts is None else replace(self._policy, attempts=attempts)
        began = self._env.monotonic()
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._within(name, seconds + _SLACK_SECONDS, lambda: channel.send(message))
            except ChannelError as error:
                elapsed = self._env.monotonic() - began
                dice = int.from_bytes(self._env.random_bytes(4), "little") / 2**32
                asked = asked_seconds(error)
                pause = pause_before(policy, attempt=attempt, elapsed_seconds=elapsed, dice=dice, asked_seconds=asked)
                if pause is None or error.retry is Retry.NEVER:
                    raise
            self._env.sleep(pause)

    def _within(self, name: str, seconds: float, call: Callable[[], Receipt]) -> Receipt:
        found: list[Receipt] = []
        failed: list[BaseException] = []

        def run() -> None:
            try:
                found.append(call())
            except BaseException as error:  # noqa: BLE001 - a plug-in may raise anything; it is judged below
                failed.append(error)

        thread = threading.Thread(target=run, name=f"channel-{name}", daemon=True)
        thread.start()
        thread.join(seconds)
        if thread.is_alive():
            self._hanging[name] = thread
            raise ChannelError(f"the channel {name} gave no answer within {seconds:.0f} s")
        if failed:
            error = failed[0]
            if isinstance(error, HoldfastError):
                raise error
            # The text of a foreign error may hold an address or a token.
            raise ChannelError(f"the channel {name} failed: {type(error).__name__}")
        return found[0]
