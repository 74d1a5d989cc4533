"""The watchdog: a process of its own that thaws applications at a deadline, whatever becomes of the run.

`Watchdog.arm` starts it before anything stands still. It acts when the deadline passes (the run hangs, or was stopped), and
when the run ends without a word. What must outlive even the watchdog (a machine's sudden end) is written to a state file,
which `sweep` carries out at the next start.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from holdfast.errors import WatchdogError
from holdfast.sources.watchdog_child import carry_out

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from holdfast.base.environment import Environment
    from holdfast.sources.connectors.protocol import ThawOrder

__all__ = ["Fired", "Swept", "Watchdog", "sweep"]

ARM_SECONDS_MAX = 30.0
END_SECONDS_MAX = 60.0
STATE_SUFFIX = ".freeze"
_DONE = ("", "already")


@dataclass(frozen=True, slots=True)
class Fired:
    """What the watchdog did. `why` is empty if it did nothing: disarmed in time."""

    why: str = ""
    """`deadline`, `asked`, or `lost` (the watchdog itself is gone)."""
    results: tuple[str, ...] = ()
    """One per order: empty (done), `already` (nothing was frozen), or why it failed."""

    @property
    def failed(self) -> int:
        """How many orders failed."""
        return sum(result not in _DONE for result in self.results)


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep found of one freeze whose run is gone."""

    results: tuple[str, ...]

    @property
    def failed(self) -> int:
        """How many orders failed; they are kept for the next sweep."""
        return sum(result not in _DONE for result in self.results)


class Watchdog:
    """One armed watchdog. Use as a context manager: leaving it disarms, or has the orders carried out after an error."""

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket, state: Path | None) -> None:
        """Use :meth:`arm`."""
        self._process = process
        self._channel = channel
        self._state = state
        self._ended: Fired | None = None

    @classmethod
    def arm(
        cls, orders: Sequence[ThawOrder], seconds: float, *, env: Environment, folder: Path | None = None
    ) -> Watchdog:
        """Start the process and wait until it holds the orders. From now on they happen `seconds` later, unless disarmed.

        `folder` is where the state file for the sweeper goes; it must not lie on what is to be frozen. `WatchdogError`.
        """
        state = _write_state(folder, orders, env) if folder is not None else None
        here, there = socket.socketpair()
        try:
            with there:
                process = subprocess.Popen(
                    [sys.executable, "-m", "holdfast.sources.watchdog_child", str(there.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=(there.fileno(),),
                    start_new_session=True,
                )
        except OSError as error:
            here.close()
            _remove(state)
            raise WatchdogError(f"the watchdog could not be started ({os.strerror(error.errno or 0)})") from None
        armed = cls(process, here, state)
        answer = armed._ask(
            {"arm": {"orders": [_order(row, at) for row, at in _numbered(orders)], "seconds": seconds}},
            ARM_SECONDS_MAX,
            [row.fd for row in orders if row.fd >= 0],
        )
        if answer != {"armed": True}:
            armed._end(kill=True)
            _remove(state)
            raise WatchdogError("the watchdog did not answer when it was armed")
        return armed

    def holding(self, seconds: float) -> None:
        """Say that the application stands now: the deadline comes nearer, to `seconds` from now; it never moves away.

        `WatchdogError` if the watchdog is gone.
        """
        if not self.alive or not self._send({"hold": seconds}):
            raise WatchdogError("the watchdog is gone, and the application was to be frozen")

    @property
    def alive(self) -> bool:
        """Whether it watches: it runs and has not fired."""
        return self._ended is None and self._process.poll() is None and not _readable(self._channel, 0.0)

    def disarm(self) -> Fired:
        """End it; return whether it fired before. Everything must be thawed by now."""
        return self._finish({"disarm": True})

    def fire(self) -> Fired:
        """Have the orders carried out now, then end it."""
        return self._finish({"fire": True})

    def _finish(self, message: dict[str, Any]) -> Fired:
        if self._ended is None:
            answer = self._ask(message, END_SECONDS_MAX)
            if answer is None or "fired" not in answer:
                self._ended = Fired("lost")
            else:
                self._ended = Fired(str(answer["fired"]), tuple(map(str, answer["results"])))
            self._end(kill=answer is None)
            if self._ended.why != "lost" and not self._ended.failed:
                _remove(self._state)
        return self._ended

    def _ask(self, message: dict[str, Any], seconds: float, fds: Sequence[int] = ()) -> dict[str, Any] | None:
        """Send a message and return the answer; None if there is none in time."""
        self._send(message, fds)  # one that has fired listens no more, and its answer lies in the socket
        received = b""
        while b"\n" not in received:
            if not _readable(self._channel, seconds):
                return None
            try:
                data = self._channel.recv(65536)
            except OSError:
                data = b""
            if not data:
                return None
            received += data
        answer: dict[str, Any] = json.loads(received.partition(b"\n")[0])
        return answer

    def _send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> bool:
        line = json.dumps(message).encode() + b"\n"
        try:
            sent = socket.send_fds(self._channel, [line], list(fds)) if fds else 0
            self._channel.sendall(line[sent:])
        except OSError:
            return False
        return True

    def _end(self, *, kill: bool) -> None:
        self._channel.close()
        if kill:
            self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS_MAX)
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        """Return the watchdog."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disarm; after an error have the orders carried out."""
        if kind is None:
            self.disarm()
        else:
            self.fire()


def _readable(channel: socket.socket, seconds: float) -> bool:
    return bool(select.select([channel], [], [], seconds)[0])


def _numbered(orders: Sequence[ThawOrder]) -> list[tuple[ThawOrder, int]]:
    """Return each order with the number of its descriptor among those that are sent along; -1 without one."""
    found, at = [], 0
    for row in orders:
        found.append((row, at if row.fd >= 0 else -1))
        at += row.fd >= 0
    return found


def _order(row: ThawOrder, fd: int) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "fd": fd,
        "target": row.target,
        "argv": list(row.argv),
        "environ": [list(pair) for pair in row.environ],
        "succeeds": list(row.succeeds),
        "timeout_seconds": row.timeout_seconds,
    }


def _write_state(folder: Path, orders: Sequence[ThawOrder], env: Environment) -> Path | None:
    """Write down what a sweeper could still do: nothing of a connection, which dies with its process, and no secret."""
    kept = [_order(row, -1) | {"environ": []} for row in orders if row.kind != "shutdown"]
    if not kept:
        return None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{env.random_id()}{STATE_SUFFIX}"
        body = {"owner": _owner(os.getpid()), "orders": kept, "armed": env.timestamp()}
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
            json.dump(body, file)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise WatchdogError(f"the watchdog's state file could not be written ({reason})") from None
    return path


def _remove(path: Path | None) -> None:
    if path is not None:
        path.unlink(missing_ok=True)


def _owner(pid: int) -> str:
    """Return what tells a process from every other, also after a restart of the machine; empty if there is none."""
    try:
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (OSError, IndexError):
        return ""
    return f"{pid} {ticks} {boot}"


def sweep(folder: Path) -> tuple[Swept, ...]:
    """Thaw what runs left behind that no longer exist; call it at every start. A freeze of a living run is left alone.

    What could not be thawed is kept, and tried again by the next sweep.
    """
    found = []
    for path in sorted(folder.glob(f"*{STATE_SUFFIX}")):
        try:
            body = json.loads(path.read_text())
            owner, orders = str(body["owner"]), list(body["orders"])
        except (OSError, ValueError, KeyError, TypeError):
            found.append(Swept(("unreadable",)))
            with contextlib.suppress(OSError):
                path.rename(path.with_suffix(".unreadable"))
            continue
        if owner and _owner(int(owner.split()[0])) == owner:
            continue
        swept = Swept(tuple(carry_out(order) for order in orders))
        found.append(swept)
        if not swept.failed:
            _remove(path)
    return tuple(found)
