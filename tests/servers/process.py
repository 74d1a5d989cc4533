"""A server's process: started on a free port of this machine, waited for until it answers, ended with all its children."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

READY_SECONDS_MAX = 90.0
END_SECONDS_MAX = 15.0


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Return whether something accepts connections on a port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(
    command: Sequence[str],
    *,
    log: Path,
    ready: Callable[[], bool],
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    user: str | None = None,
    ready_seconds: float = READY_SECONDS_MAX,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server in the foreground, wait until `ready`, yield its process, and end it and its children.

    `user`: run as that user (servers such as PostgreSQL refuse root). What it prints goes to `log`, whose end is shown when
    the server does not come up.
    """
    with open(log, "ab") as out:
        process = subprocess.Popen(
            [*command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=os.environ | dict(environ or {}),
            cwd=cwd,
            user=user,
            group=user,
            extra_groups=[] if user is not None else None,
            start_new_session=True,
        )
    try:
        _wait(process, ready, log, ready_seconds)
        yield process
    finally:
        end(process)


def _wait(process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        tail = log.read_bytes()[-3000:].decode(errors="replace")
        assert process.poll() is None, f"{process.args!r} ended with {process.returncode}:\n{tail}"
        assert time.monotonic() < deadline, f"{process.args!r} is not ready after {seconds} s:\n{tail}"
        time.sleep(0.1)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started in a session of its own, and everything in that session."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(END_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            continue
        break
    process.wait()
