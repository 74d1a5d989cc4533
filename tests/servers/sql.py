"""Small SQL servers for probes: PostgreSQL and MariaDB of Debian, on a free port of this machine, in a folder of their own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers import install, process

POSTGRESQL = Path("/usr/lib/postgresql/15/bin")
PASSWORD = "probe-me"


@contextmanager
def _folder(user: str | None) -> Iterator[Path]:
    """Yield a folder that the server's user may enter: pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-sql-"))
    folder.chmod(0o755)
    try:
        if user is not None:
            shutil.chown(folder, user)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _user(name: str) -> str | None:
    return pwd.getpwnam(name).pw_name if os.geteuid() == 0 else None


def _run(command: list[str], user: str | None) -> None:
    subprocess.run(
        command, user=user, group=user, extra_groups=[] if user else None, cwd="/", check=True, capture_output=True, timeout=120
    )  # fmt: skip


@contextmanager
def postgresql() -> Iterator[int]:
    """Yield the port of a PostgreSQL whose superuser `postgres` needs no password from this machine."""
    install.debian("postgres", "postgresql-15", folders=(str(POSTGRESQL),))
    user = _user("postgres")
    with _folder(user) as folder:
        data, port = folder / "data", process.free_port()
        _run([f"{POSTGRESQL}/initdb", "-D", f"{data}", "-U", "postgres", "-A", "trust", "-N"], user)
        command = [f"{POSTGRESQL}/postgres", "-D", f"{data}", "-p", f"{port}", "-k", f"{folder}", "-c", "fsync=off"]
        with process.running(
            command, log=folder / "log", ready=lambda: process.answers(port), user=user, cwd=Path("/")
        ):
            yield port


@contextmanager
def mariadb() -> Iterator[int]:
    """Yield the port of a MariaDB whose user `probe` has the password `PASSWORD` and the database `test`."""
    program = install.debian("mariadbd", "mariadb-server")
    user = _user("mysql")
    with _folder(user) as folder:
        data, port = folder / "data", process.free_port()
        _run(
            ["mariadb-install-db", f"--datadir={data}", "--auth-root-authentication-method=normal", "--skip-test-db"],
            user,
        )
        start = folder / "start.sql"
        start.write_text(f"CREATE DATABASE test;\nCREATE USER probe@localhost IDENTIFIED BY '{PASSWORD}';\n")
        start.chmod(0o644)
        command = [
            program, "--no-defaults", f"--datadir={data}", f"--port={port}", "--bind-address=127.0.0.1",
            f"--socket={folder}/socket", f"--init-file={start}", "--innodb-flush-log-at-trx-commit=0",
        ]  # fmt: skip
        with process.running(
            command, log=folder / "log", ready=lambda: process.answers(port), user=user, cwd=Path("/")
        ):
            yield port
