"""PostgreSQL 15 and MariaDB as a site has them: a fresh data directory, filled, started and stopped by their own programs."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from servers import install, process

POSTGRESQL = "/usr/lib/postgresql/15/bin"


def short_folder() -> Path:
    """Return a new folder that other users may pass through, with a path short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="hf-", dir="/var/tmp"))
    folder.chmod(0o755)
    return folder


@contextmanager
def folder() -> Iterator[Path]:
    """Yield such a folder and remove it."""
    found = short_folder()
    try:
        yield found
    finally:
        shutil.rmtree(found, ignore_errors=True)


def _as(user: str) -> str | None:
    return user if os.geteuid() == 0 else None


def _run(command: list[str], user: str, stdin: str = "") -> str:
    done = subprocess.run(
        command, user=_as(user), input=stdin, capture_output=True, text=True, timeout=300, check=False, cwd="/"
    )
    assert done.returncode == 0, f"{command[0]}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return str(done.stdout)


def _program(name: str, *packages: str, folders: tuple[str, ...] = ()) -> str:
    return str(install.debian(name, *packages, folders=folders))


@dataclass
class PostgreSQL:
    """A cluster of a site: its data directory, and how to start it."""

    data: Path
    run: Path

    def program(self, name: str) -> str:
        return _program(name, "postgresql-15", folders=(POSTGRESQL,))

    def sql(self, text: str, database: str = "postgres") -> str:
        psql = [
            self.program("psql"),
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            str(self.run),
            "-U",
            "postgres",
        ]
        return _run([*psql, "-d", database], "postgres", text)

    @contextmanager
    def running(self) -> Iterator[PostgreSQL]:
        command = [self.program("postgres"), "-D", str(self.data), "-c", f"unix_socket_directories={self.run}"]
        command += ["-c", "listen_addresses=", "-c", "fsync=off"]
        with process.running(command, log=self.run / "log", ready=self._ready, user=_as("postgres"), cwd=Path("/")):
            yield self
            _run([self.program("pg_ctl"), "stop", "-D", str(self.data), "-m", "fast", "-w"], "postgres")

    def _ready(self) -> bool:
        command = [self.program("pg_isready"), "-h", str(self.run), "-q"]
        return subprocess.run(command, check=False, timeout=30).returncode == 0


def postgresql(place: Path) -> PostgreSQL:
    """Make a cluster with page checksums in a folder."""
    found = PostgreSQL(place / "pgdata", place / "pgrun")
    for each in (found.data, found.run):
        each.mkdir()
        if os.geteuid() == 0:
            shutil.chown(each, "postgres", "postgres")
    found.data.chmod(0o700)
    initdb = [
        found.program("initdb"),
        "-D",
        str(found.data),
        "-U",
        "postgres",
        "--data-checksums",
        "-A",
        "trust",
        "--no-sync",
    ]
    _run([*initdb, "--locale=C.UTF-8", "-E", "UTF8"], "postgres")
    return found


@dataclass
class MariaDB:
    """A data directory of a site, and how to start it."""

    data: Path
    run: Path

    def sql(self, text: str, database: str = "") -> str:
        client = [install.debian("mariadb", "mariadb-client"), "--no-defaults", f"--socket={self.run}/s", "-N", "-B"]
        return _run([*client, *([f"-D{database}"] if database else [])], "mysql", text)

    @contextmanager
    def running(self) -> Iterator[MariaDB]:
        command = [install.debian("mariadbd", "mariadb-server"), "--no-defaults", f"--datadir={self.data}"]
        command += [f"--socket={self.run}/s", f"--pid-file={self.run}/pid", "--skip-networking", "--skip-grant-tables"]
        command += ["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=8M", "--skip-log-bin"]
        with process.running(command, log=self.run / "log", ready=self._ready, user=_as("mysql"), cwd=Path("/")):
            yield self

    def _ready(self) -> bool:
        client = [
            install.debian("mariadb", "mariadb-client"),
            "--no-defaults",
            f"--socket={self.run}/s",
            "-e",
            "select 1",
        ]
        return subprocess.run(client, check=False, capture_output=True, timeout=30).returncode == 0


def mariadb(place: Path) -> MariaDB:
    """Make a data directory in a folder."""
    found = MariaDB(place / "mydata", place / "myrun")
    installer = install.debian("mariadb-install-db", "mariadb-server")
    for each in (found.data, found.run):
        each.mkdir()
        if os.geteuid() == 0:
            shutil.chown(each, "mysql", "mysql")
    user = ["--user=mysql"] if os.geteuid() == 0 else []
    _run([installer, "--no-defaults", f"--datadir={found.data}", "--skip-test-db", "--auth-root-authentication-method=normal",
          *user], "mysql")  # fmt: skip
    pwd.getpwuid(found.data.stat().st_uid)
    return found
