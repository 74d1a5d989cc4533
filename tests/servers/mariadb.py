"""MariaDB of Debian: a new data folder, a server on a free port of this machine with a binary log, a pass-wordless root."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers import install, process


@dataclass(frozen=True)
class MariaDb:
    """Where it listens, and where its files are."""

    port: int
    socket: Path
    data: Path
    binlogs: Path
    process_id: int = 0

    def connect(self, user: str = "root", password: str = "", **options: Any) -> Any:
        """Return a PyMySQL connection in autocommit mode."""
        import pymysql

        connection = pymysql.connect(user=user, password=password, autocommit=True, defer_connect=True, **options)
        # A socket of our own, closed with the connection: the driver leaves it open where a server refuses or dies.
        mine = socket.socket(socket.AF_UNIX)
        weakref.finalize(connection, mine.close)
        mine.settimeout(20)
        mine.connect(str(self.socket))
        mine.settimeout(None)
        connection.connect(mine)
        return connection

    def run(self, *statements: str) -> None:
        """Run statements as root."""
        connection = self.connect()
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        connection.close()


def server() -> str:
    """Return the server's program."""
    program: str = install.debian("mariadbd", "mariadb-server", "mariadb-client", "mariadb-backup")
    return program


def as_user() -> list[str]:
    """Return the option with which the server runs as root, where the tests do: folders of tests are closed to others."""
    return ["--user=root"] if os.geteuid() == 0 else []


def make(root: Path) -> None:
    """Make a data folder in `root`."""
    server()
    data, binlogs = root / "data", root / "binlog"
    binlogs.mkdir(parents=True)
    command = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal"]
    data.mkdir()
    done = subprocess.run(
        [*command, *as_user(), "--skip-test-db"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def serving(root: Path, *options: str) -> Iterator[MariaDb]:
    """Start a server on the data folder in `root`."""
    data, binlogs = root / "data", root / "binlog"
    binlogs.mkdir(exist_ok=True)
    port = process.free_port()
    # A socket's path may have 107 bytes; a test's folder can be longer.
    sockets = Path("/tmp") / f"holdfast-mariadb-{os.getpid()}-{port}"  # noqa: S108 - short, and removed below
    sockets.mkdir(mode=0o700)
    place = sockets / "s"
    command = [
        server(), "--no-defaults", f"--datadir={data}", f"--port={port}", f"--socket={place}", "--bind-address=127.0.0.1",
        f"--pid-file={sockets / 'pid'}", f"--log-bin={binlogs / 'log'}", "--server-id=7", "--innodb-buffer-pool-size=64M",
        "--innodb-log-file-size=32M", "--skip-name-resolve", "--sync-binlog=1", *as_user(), *options,
    ]  # fmt: skip
    probe = MariaDb(port, place, data, binlogs)

    def ready() -> bool:
        if not process.answers(port):
            return False
        probe.connect().close()
        return True

    try:
        with process.running(command, log=root / "log", ready=ready) as running:
            yield MariaDb(port, place, data, binlogs, running.pid)
    finally:
        shutil.rmtree(sockets, ignore_errors=True)


@contextmanager
def mariadb(root: Path, *options: str) -> Iterator[MariaDb]:
    """Make a data folder and start a server on it."""
    root.mkdir(parents=True, exist_ok=True)
    make(root)
    with serving(root, *options) as found:
        yield found
