"""The watchdog's own process: waits for its deadline or for the end of the run, then carries out its thaw orders.

It is started before anything stands still, loads all that it needs, locks its memory, and from then on opens, logs to and
pages from nothing that may be frozen. It is told over a socket, one JSON text per line:

    {"arm": {"orders": [...], "seconds": 0.75}}      descriptors come along; answered by {"armed": true}
    {"hold": 0.5}                                    the application stands: a nearer deadline, never a later one
    {"disarm": true}                                 answered by {"fired": "", "results": []}, then it ends
    {"fire": true}                                   carry the orders out now

When the deadline passes, or the socket closes (the run is dead), it carries the orders out; `{"fired": WHY, "results": [...]}`
waits in the socket for a run that is still there. A stopped run does not matter: the deadline is kept here.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from typing import Any

from holdfast.base.environment import system

__all__ = ["carry_out", "main", "preload"]

LINE_BYTES_MAX = 1 << 20
FDS_MAX = 64
FITHAW = 0xC0045878
"""`ioctl` that thaws a file system (linux/fs.h)."""
MCL_CURRENT_AND_FUTURE = 3
FIRE_AGAIN_MAX = 3
_DONE = ("", "already")


def preload() -> None:
    """Load what the orders need, and keep it in memory. Without the right to lock memory it works all the same."""
    for module in ("fcntl", "urllib.request"):
        importlib.import_module(module)
    ctypes.CDLL(None, use_errno=True).mlockall(MCL_CURRENT_AND_FUTURE)


def carry_out(order: dict[str, Any]) -> str:
    """Carry out one order; return the empty text, `already` (it was not frozen), or why it failed. Never raises."""
    try:
        return _ACTIONS[order["kind"]](order)
    except subprocess.TimeoutExpired:
        return "timeout"
    except (OSError, ValueError, KeyError) as error:
        return f"failed ({type(error).__name__} {getattr(error, 'errno', '') or ''})"


def _shutdown(order: dict[str, Any]) -> str:
    """End a connection for everybody who holds it: the server ends its session, and with it the session's locks."""
    with socket.socket(fileno=os.dup(order["fd"])) as connection:
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return "already"
    return ""


def _fithaw(order: dict[str, Any]) -> str:
    import fcntl
    from errno import EINVAL

    given = order["fd"] >= 0
    fd = order["fd"] if given else os.open(order["target"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, FITHAW, 0)
    except OSError as error:
        if error.errno == EINVAL:
            return "already"
        raise
    finally:
        if not given:  # the sweeper lives on, and would keep the file system busy
            os.close(fd)
    return ""


def _command(order: dict[str, Any]) -> str:
    done = subprocess.run(
        order["argv"],
        env=os.environ | dict(order["environ"]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=order["timeout_seconds"],
        check=False,
    )
    return "" if done.returncode in order["succeeds"] else f"exit code {done.returncode}"


def _http(order: dict[str, Any]) -> str:
    import urllib.error
    import urllib.request

    if not order["target"].startswith(("http://", "https://")):
        return "no http address"
    request = urllib.request.Request(  # noqa: S310 - checked above
        order["target"], data=b"", headers=dict(order["environ"]), method=(order["argv"] or ["POST"])[0]
    )
    try:
        with urllib.request.urlopen(request, timeout=order["timeout_seconds"]):  # noqa: S310 - checked above
            return ""
    except urllib.error.HTTPError as error:
        return f"status {error.code}"


_ACTIONS = {"shutdown": _shutdown, "fithaw": _fithaw, "command": _command, "http": _http}


class _Lines:
    """Lines and descriptors from the run's socket."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.buffer = b""
        self.fds: list[int] = []

    def wait(self, seconds: float | None) -> dict[str, Any] | None:
        """Return the next message; None after so long. `EOFError` if the run is gone."""
        clock = system().monotonic
        end = None if seconds is None else clock() + seconds
        while b"\n" not in self.buffer:
            left = None if end is None else max(0.0, end - clock())
            if not select.select([self.channel], [], [], left)[0]:
                return None
            try:
                data, ancillary, _, _ = self.channel.recvmsg(65536, socket.CMSG_SPACE(FDS_MAX * 4))
            except OSError:
                data, ancillary = b"", []
            for level, kind, payload in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds = array.array("i")
                    fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
                    self.fds.extend(fds)
            if not data or len(self.buffer) > LINE_BYTES_MAX:
                raise EOFError
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message


def _say(channel: socket.socket, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # nobody may be left to be told
        channel.sendall(json.dumps(message).encode() + b"\n")


def _fire(orders: list[dict[str, Any]]) -> list[str]:
    """Carry out all orders, those that failed again; return the last results."""
    results = [carry_out(order) for order in orders]
    for _ in range(FIRE_AGAIN_MAX):
        if all(result in _DONE for result in results):
            break
        system().sleep(0.1)
        results = [
            result if result in _DONE else carry_out(order) for order, result in zip(orders, results, strict=True)
        ]
    return results


def _serve(lines: _Lines) -> int:
    """Serve one freeze; return the exit code: 0 disarmed, 3 fired, 4 fired and an order failed."""
    try:
        first = lines.wait(None)
    except EOFError:
        return 0
    if first is None or "arm" not in first:
        return 0
    orders = first["arm"]["orders"]
    for order in orders:
        if order["fd"] >= 0:
            order["fd"] = lines.fds[order["fd"]]
    _say(lines.channel, {"armed": True})
    why = _watch(lines, float(first["arm"]["seconds"]))
    results = _fire(orders) if why else []
    _say(lines.channel, {"fired": why, "results": results})
    if not why:
        return 0
    return 3 if all(result in _DONE for result in results) else 4


def _watch(lines: _Lines, seconds: float) -> str:
    """Wait; return why the orders are to be carried out, or the empty text if they are not."""
    clock = system().monotonic
    deadline = clock() + seconds
    while True:
        try:
            message = lines.wait(max(0.0, deadline - clock()))
        except EOFError:
            return "run ended"
        if message is None:
            return "deadline"
        if "hold" in message:
            deadline = min(deadline, clock() + float(message["hold"]))
        elif "fire" in message:
            return "asked"
        elif "disarm" in message:
            return ""


def _not_now(_number: int, _frame: object) -> None:
    """Outlive a signal that ends the run. Not `SIG_IGN`, which the commands would inherit."""


def main(arguments: list[str]) -> int:
    """Watch over the socket whose descriptor is given."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, _not_now)
    preload()
    os.chdir("/")  # the folder it was started in may be on what is frozen
    with socket.socket(fileno=int(arguments[0])) as channel:
        channel.set_inheritable(False)
        return _serve(_Lines(channel))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
