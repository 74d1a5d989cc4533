"""Redis of Debian on a free port of this machine, with a folder of its own."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from servers import install, process


@dataclass(frozen=True)
class Redis:
    """Where it listens, and where its files are."""

    port: int
    folder: Path

    def call(self, *words: str | bytes) -> bytes:
        """Send one command and return the raw reply (one read: for short replies)."""
        return self.many(words)

    def many(self, *commands: tuple[str | bytes, ...]) -> bytes:
        """Send several commands at once and return what comes back in one read."""
        data = b""
        for words in commands:
            parts = [word.encode() if isinstance(word, str) else word for word in words]
            data += b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
            sock.sendall(data)
            reply = b""
            while reply.count(b"\r\n") < len(commands):
                part = sock.recv(1 << 20)
                if not part:
                    break
                reply += part
            return reply


@contextmanager
def redis(folder: Path, *options: str, port: int = 0) -> Iterator[Redis]:
    """Start a server in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or process.free_port()
    program = install.debian("redis-server", "redis-server", "redis-tools")
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", *options]
    with process.running(
        command, log=folder.parent / f"{folder.name}.log", ready=lambda: process.answers(port), environ=dict(os.environ)
    ):
        yield Redis(port, folder)
