"""A proxy between a store and its server that misbehaves on request: the same faults for every kind of store.

It stands on a free port of this machine and forwards bytes. Each fault that is planned befalls one connection, the next one
made; connections that were open when it was planned are reset, so that it comes next. It looks at nothing but bytes, except
for :func:`answer`, which speaks HTTP.
"""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

CHUNK_BYTES = 64 << 10
HEAD_BYTES_MAX = 64 << 10
SECONDS_MAX = 60.0
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one connection.

    `kind`: `reset` (as soon as the client speaks), `lost` (everything arrives, the answer does not), `cut` (the answer ends
    after `count` bytes), `slow` (the answer comes in pieces of `count` bytes), `silent` (nobody answers), `answer` (`text` is
    the whole HTTP answer, given when the request has arrived).
    """

    kind: str
    count: int = 0
    text: bytes = b""


def answer(status: int, code: str = "", headers: str = "") -> Fault:
    """Return a fault that answers a status, with a code as S3 and Azure write it in XML."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>m</Message></Error>" if code else ""
    head = f"HTTP/1.1 {status} Fault\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n"
    return Fault("answer", text=(head + body).encode())


class FaultProxy:
    """Forwards to a server, except where a fault is planned. Use :func:`fault_proxy`."""

    def __init__(self, port: int) -> None:
        """Forward to a port of this machine."""
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._plan: deque[Fault] = deque()
        self._open: set[socket.socket] = set()
        self.happened: list[str] = []
        """The kinds of faults that befell a connection, in order."""
        threading.Thread(target=self._accept, daemon=True).start()

    def plan(self, *faults: Fault) -> None:
        """Let faults befall the next connections, one each, and reset those that are open."""
        with self._lock:
            self._plan.extend(faults)
            stale, self._open = self._open, set()
        for connection in stale:
            _reset(connection)

    def forget(self) -> None:
        """Drop what is planned and did not happen, and reset open connections."""
        with self._lock:
            self._plan.clear()
        self.plan()

    def close(self) -> None:
        """Listen no more, and reset open connections: from now on the server is down."""
        # A plain close leaves a thread inside accept, and so the port open.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.forget()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.settimeout(SECONDS_MAX)
            with self._lock:
                fault = self._plan.popleft() if self._plan else None
                self._open.add(client)
                if fault is not None:
                    self.happened.append(fault.kind)
            threading.Thread(target=self._serve, args=(client, fault), daemon=True).start()

    def _serve(self, client: socket.socket, fault: Fault | None) -> None:
        try:
            match fault:
                case Fault(kind="reset"):
                    client.recv(1)
                    _reset(client)
                case Fault(kind="silent"):
                    while client.recv(CHUNK_BYTES):
                        pass
                case Fault(kind="answer", text=text):
                    _take_request(client)
                    client.sendall(text)
                case _:
                    self._forward(client, fault)
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(client)
            client.close()

    def _forward(self, client: socket.socket, fault: Fault | None) -> None:
        with socket.create_connection(("127.0.0.1", self._server), timeout=SECONDS_MAX) as server:
            threading.Thread(target=_pump, args=(client, server), daemon=True).start()
            if fault is not None and fault.kind == "lost":
                server.recv(1)
                _reset(client)
                return
            left = fault.count if fault is not None and fault.kind == "cut" else None
            size = fault.count if fault is not None and fault.kind == "slow" else CHUNK_BYTES
            while data := server.recv(size if left is None else min(size, left)):
                client.sendall(data)
                if left is not None:
                    left -= len(data)
                    if left == 0:
                        _reset(client)
                        return
            client.shutdown(socket.SHUT_WR)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK_BYTES):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def _take_request(client: socket.socket) -> None:
    """Read one HTTP request whole, so that the answer is not overtaken by a reset."""
    found = b""
    while b"\r\n\r\n" not in found and len(found) < HEAD_BYTES_MAX:
        data = client.recv(CHUNK_BYTES)
        if not data:
            return
        found += data
    head, _, body = found.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    left = int(length[1]) - len(body) if length else 0
    while left > 0:
        data = client.recv(min(CHUNK_BYTES, left))
        if not data:
            return
        left -= len(data)


def _reset(connection: socket.socket) -> None:
    """End a connection by RST, whoever is waiting on it."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.shutdown(socket.SHUT_RD)
    connection.close()


@contextmanager
def fault_proxy(port: int) -> Iterator[FaultProxy]:
    """Stand before a port of this machine until the end of the block."""
    proxy = FaultProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
