"""A program of the site: an SMS modem, a pager, a house call system. It gets the message as JSON on its standard input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping

from holdfast.base.environment import Environment
from holdfast.config import ChannelSettings
from holdfast.errors import ChannelError
from holdfast.reliability.notify.protocol import Message, Receipt

__all__ = ["Command", "make", "run_with_input"]

_REFERENCE_MAX = 200
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
"""All that a program gets of the environment: keys and passphrases are not for it."""


def run_with_input(command: tuple[str, ...], given: bytes, seconds: float, what: str) -> bytes:
    """Run a program without a shell, with its input; return what it printed. It and its children end within the time.

    `ChannelError` if it cannot be started, fails or takes too long; never with what it printed, which may hold secrets.
    """
    environ = {name: value for name in _PASSED_ON if (value := os.environ.get(name)) is not None}
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environ,
            start_new_session=True,
        )
    except OSError as error:
        raise ChannelError(f"{what} cannot be started: {error.strerror}") from None
    with process:
        try:
            out, _ = process.communicate(given, timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise ChannelError(f"{what} did not end within {seconds:.0f} s") from None
    if process.returncode:
        raise ChannelError(f"{what} ended with code {process.returncode}")
    return out


class Command:
    """The program. Exit code 0 is its receipt, with the first line that it printed."""

    def __init__(self, name: str, settings: ChannelSettings) -> None:
        """Nothing is started."""
        self.name = name
        self._settings = settings

    def send(self, message: Message) -> Receipt:
        """Start it and hand the message over."""
        given = json.dumps(message.record() | {"address": message.address}, ensure_ascii=False).encode()
        seconds = self._settings.timeout_seconds
        out = run_with_input(self._settings.command, given, seconds, f"the program of {self.name}")
        first = out.decode(errors="replace").partition("\n")[0].strip()[:_REFERENCE_MAX]
        return Receipt(first if first.isprintable() and first else "exit code 0")


def make(name: str, settings: ChannelSettings, _environ: Mapping[str, str], _env: Environment) -> Command:
    """Make the channel."""
    return Command(name, settings)
