"""The control socket of a run: one line of JSON asks, one answers. A Unix socket, mode 0600, in a folder of mode 0700.

Only the run's own user, or root, is listened to (`SO_PEERCRED`). Questions: `status`, `limits` (with `set`), `pause`,
`resume`. Nothing listens on a network.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from holdfast.errors import RunMissingError, SteeringError

__all__ = ["Answer", "ControlSocket", "ask"]

LINE_BYTES_MAX = 64 << 10
SECONDS_MAX = 5.0
PEER_SECONDS_MAX = 0.5
"""How long a client may take to say its line: the run's own steering waits meanwhile."""
Answer = dict[str, Any]
Handle = Callable[[Answer], Answer]


@contextmanager
def _short(folder: Path) -> Iterator[str]:
    """Give a folder a short name: the address of a Unix socket has 108 bytes at most."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


class ControlSocket:
    """The listening end. :meth:`serve` answers who waits; it is called by the thread that steers the run."""

    def __init__(self, folder: Path, run: str) -> None:
        """Listen as `RUN.sock`. `OSError` if that cannot be."""
        self._path = folder / f"{run}.sock"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            # The file gets the mode of the unbound socket: no umask, which would be the whole process's.
            os.fchmod(self._socket.fileno(), 0o600)
            with _short(folder) as name:
                self._socket.bind(f"{name}/{self._path.name}")
        except OSError:
            self._socket.close()
            raise
        self._socket.listen(4)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor, for `select`."""
        return self._socket.fileno()

    def serve(self, handle: Handle) -> None:
        """Answer one client, if one waits."""
        try:
            peer, _ = self._socket.accept()
        except OSError:
            return
        with peer, suppress(OSError):
            peer.settimeout(PEER_SECONDS_MAX)
            _, user, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if user not in (0, os.geteuid()):
                return
            peer.sendall(json.dumps(_answered(_line(peer), handle)).encode() + b"\n")

    def close(self) -> None:
        """Listen no more."""
        self._path.unlink(missing_ok=True)
        self._socket.close()


def _answered(line: bytes, handle: Handle) -> Answer:
    try:
        question = json.loads(line)
    except ValueError:
        return {"error": "no JSON"}
    if not isinstance(question, dict):
        return {"error": "no object"}
    try:
        return handle(question)
    except (ValueError, TypeError, KeyError) as error:
        return {"error": f"{error}"}


def _line(peer: socket.socket) -> bytes:
    found = b""
    while not found.endswith(b"\n") and len(found) < LINE_BYTES_MAX:
        part = peer.recv(LINE_BYTES_MAX)
        if not part:
            break
        found += part
    return found


def ask(folder: Path, run: str, question: Answer) -> Answer:
    """Ask a run. `RunMissingError` if there is none of that id, `SteeringError` if it does not answer or refuses."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    with peer:
        peer.settimeout(SECONDS_MAX)
        try:
            with _short(folder) as name:
                peer.connect(f"{name}/{run}.sock")
            peer.sendall(json.dumps(question).encode() + b"\n")
            answer = json.loads(_line(peer) or b"{}")
        except (FileNotFoundError, ConnectionRefusedError):
            raise RunMissingError(f"no run {run} runs on this machine") from None
        except (OSError, ValueError):
            raise SteeringError(f"the run {run} does not answer on its control socket") from None
    if not isinstance(answer, dict) or not answer or "error" in answer:
        reason = answer.get("error", "no answer") if isinstance(answer, dict) else "no answer"
        raise SteeringError(f"the run {run} refuses: {reason}")
    return answer
