"""Foreign programs: started without a shell, with a time limit, a bounded output and an environment that is stated.

The one way in which connectors, hooks and volume providers call a program, so that a test or a rehearsal can put a double
in its place. Secrets travel in the environment or on standard input, never among the arguments.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Protocol, runtime_checkable

from holdfast.base.environment import Environment, system

__all__ = ["Done", "Programs", "SystemPrograms", "environment_of"]

OUTPUT_BYTES_MAX = 4 << 20
"""What is kept of a program's output; the rest is read and dropped, so that the program never waits for us."""
KEPT = ("PATH", "HOME", "TZ", "SystemRoot", "XDG_RUNTIME_DIR")
"""Variables that a program inherits; everything else is given to it by name."""
END_SECONDS = 5.0
LINGER_SECONDS = 0.5
"""How long children of a program that has ended may still print."""
NOT_FOUND = 127
NOT_STARTED = 126


@dataclass(frozen=True, slots=True)
class Done:
    """How a program ended."""

    code: int
    """Its exit code; negative: the signal that ended it; 127: there is no such program; 126: it could not be started."""
    out: bytes = b""
    err: bytes = b""
    seconds: float = 0.0
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        """Whether it ended with 0 in time."""
        return self.code == 0 and not self.timed_out

    @property
    def text(self) -> str:
        """What it printed, as text."""
        return self.out.decode(errors="replace")


@runtime_checkable
class Programs(Protocol):
    """Something that runs programs: the system, or a double of the programs that a test needs."""

    def run(
        self,
        command: Sequence[str],
        *,
        timeout: float,
        environ: Mapping[str, str] | None = None,
        stdin: bytes = b"",
    ) -> Done:
        """Run a program to its end, or for `timeout` seconds; then it and its children are killed. Never raises for it."""
        ...


def environment_of(given: Mapping[str, str] | None) -> dict[str, str]:
    """Return the whole environment of a program: few inherited variables, plain messages, and what is given."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, "LC_ALL": "C.UTF-8", **(given or {})}


class SystemPrograms:
    """The programs of this machine."""

    def __init__(self, env: Environment | None = None) -> None:
        """`env` measures how long they take."""
        self._env = env or system()

    def run(
        self,
        command: Sequence[str],
        *,
        timeout: float,
        environ: Mapping[str, str] | None = None,
        stdin: bytes = b"",
    ) -> Done:
        """Run it; see :class:`Programs`."""
        began = self._env.monotonic()
        try:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment_of(environ),
                start_new_session=True,
            )
        except FileNotFoundError:
            return Done(NOT_FOUND, err=b"there is no such program", seconds=self._env.monotonic() - began)
        except OSError as error:
            return Done(NOT_STARTED, err=(error.strerror or "").encode(), seconds=self._env.monotonic() - began)
        return self._wait(process, timeout, stdin, began)

    def _wait(self, process: subprocess.Popen[bytes], timeout: float, stdin: bytes, began: float) -> Done:
        kept: list[bytearray] = [bytearray(), bytearray()]
        streams = (process.stdout, process.stderr)
        readers = [
            threading.Thread(target=_read, args=(stream, into), daemon=True)
            for stream, into in zip(streams, kept, strict=True)
        ]
        if stdin:
            readers.append(threading.Thread(target=_write, args=(process.stdin, stdin), daemon=True))
        for reader in readers:
            reader.start()
        timed_out = False
        try:
            process.wait(timeout)
        except BaseException as error:
            _kill_group(process)
            process.wait(END_SECONDS)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            timed_out = True
        for reader in readers:
            reader.join(LINGER_SECONDS)
        if any(reader.is_alive() for reader in readers):
            # Children that the program left behind hold the pipes open: whatever they hold still must not stay so.
            _kill_group(process)
            for reader in readers:
                reader.join(END_SECONDS)
        code = process.returncode
        return Done(code, bytes(kept[0]), bytes(kept[1]), self._env.monotonic() - began, timed_out)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the program's own session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _read(stream: IO[bytes] | None, into: bytearray) -> None:
    if stream is None:
        return
    with stream:
        while data := os.read(stream.fileno(), 65536):
            into += data[: max(0, OUTPUT_BYTES_MAX - len(into))]


def _write(stream: IO[bytes] | None, data: bytes) -> None:
    if stream is None:
        return
    try:
        with stream:
            stream.write(data)
    except BrokenPipeError:
        return
