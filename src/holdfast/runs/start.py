"""A recovered PostgreSQL, started alone: no network, no archiving, a socket that only its own user can reach; then stopped.

    with started(prepared, env=env) as copy:
        copy.databases, copy.query("ehr", "SELECT count(*) FROM patient")

Reaching the target is part of starting: the block is entered when the server has replayed up to it and has been promoted.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.errors import DriverMissingError, RecoveryError
from holdfast.sources.connectors.postgresql.session import driver

if TYPE_CHECKING:
    from holdfast.base.environment import Environment
    from holdfast.runs.recovery import Prepared

__all__ = ["RecoveryReport", "RunningCopy", "check_recovery", "programs", "started"]

REPLAY_SECONDS_MAX = 86_400.0
STOP_SECONDS_MAX = 300.0
TOOL_SECONDS_MAX = 86_400
LOOK_AGAIN_SECONDS = 0.1
PORT = 5432
"""Of the socket's name only: nothing listens on the network."""
LOG_BYTES_MAX = 65536
LOG_NAME = "start.log"
_PLACES = (
    "/usr/lib/postgresql/{major}/bin",
    "/usr/pgsql-{major}/bin",
    "/usr/local/pgsql/bin",
    "/opt/postgresql/{major}/bin",
)
_REASONS = (
    ("recovery ended before configured recovery target", "the WAL ends before the target"),
    ("could not locate a valid checkpoint record", "the WAL of the base backup is missing"),
    ("requested recovery stop point is before consistent", "the target lies before the end of the base backup"),
    ("could not map anonymous shared memory", "there is not enough memory for its settings"),
    ("incompatible with server", "the server's version is not that of the data"),
    ("WAL ends before end of online backup", "the WAL of the base backup is not complete"),
)


@dataclass(frozen=True, slots=True)
class RunningCopy:
    """A recovered server that runs."""

    socket: Path
    """The folder of its socket; only its own user, and root, can enter it."""
    port: int
    user: str
    consistent_seconds: float
    """From its start until it answered for the first time."""
    replay_seconds: float
    """From its start until it had reached its target and took writes."""
    timeline: int
    lsn: str
    databases: tuple[str, ...]

    def connect(self, database: str) -> Any:  # noqa: ANN401 - the driver's own
        """Return a new connection of the driver, in autocommit."""
        return driver().connect(
            host=str(self.socket), port=self.port, user=self.user, dbname=database, autocommit=True, connect_timeout=5
        )

    def query(self, database: str, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement in a database; return its rows."""
        with self.connect(database) as connection:
            rows: list[tuple[Any, ...]] = connection.execute(statement).fetchall()
            return rows


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """A recovery that was tried out from start to stop."""

    snapshot: str
    application: str
    version: str
    target: str
    timeline: int
    lsn: str
    databases: int
    relations: int
    """Tables and indexes that could be opened by name in all databases."""
    page_checksums: str
    """`clean`, `off` (the cluster has none), or `no tool` (pg_checksums is not installed)."""
    structure: str
    """`clean`, or `no tool` (pg_amcheck, or its extension in every database, is not installed)."""
    restore_seconds: float
    consistent_seconds: float
    replay_seconds: float
    check_seconds: float
    wal_files: int
    bytes: int


def programs(major: int, folder: Path | None = None) -> Path:
    """Return the folder with `postgres` of a major version. `DriverMissingError` if it is nowhere."""
    places = [folder] if folder is not None else [Path(place.format(major=major)) for place in _PLACES]
    if folder is None and (found := shutil.which("postgres")):
        places.append(Path(found).parent)
    for place in places:
        if (place / "postgres").is_file() and _major(place) == major:
            return place
    raise DriverMissingError(
        f"the programs of PostgreSQL {major} are not installed here",
        next=f"install postgresql-{major}, or name their folder.",
    )


def _major(place: Path) -> int:
    done = subprocess.run([place / "postgres", "--version"], capture_output=True, text=True, timeout=60, check=False)
    found = re.search(r"(\d+)[.\d]*", done.stdout)
    return int(found[1]) if found else 0


@contextmanager
def started(
    prepared: Prepared,
    *,
    env: Environment,
    bin_folder: Path | None = None,
    user: str = "postgres",
    seconds: float = REPLAY_SECONDS_MAX,
    durable: bool = True,
) -> Iterator[RunningCopy]:
    """Start a prepared recovery alone, wait until it has reached its target, yield it, and stop it cleanly.

    `user` is a superuser of the cluster. `RecoveryError` with the reason if it does not come up within `seconds`.
    Without `durable` the server waits for no disk: for a copy that is thrown away afterwards.
    """
    programs_folder = programs(int(prepared.version.partition(".")[0]), bin_folder)
    owner = prepared.data.stat()
    place = Path(tempfile.mkdtemp(prefix="holdfast-"))
    try:
        os.chown(place, owner.st_uid, owner.st_gid)
        process = _launch(prepared, programs_folder, place, durable=durable)
        try:
            copy = _wait(prepared, process, place, user, seconds, env)
            yield copy
        finally:
            _stop(process)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if process.returncode != 0:
        raise RecoveryError(f"the recovered server did not stop cleanly (exit code {process.returncode})")


def _launch(prepared: Prepared, programs_folder: Path, place: Path, *, durable: bool) -> subprocess.Popen[bytes]:
    for name, text in (("hba", "local all all trust\n"), ("ident", ""), ("start.conf", "")):
        (place / name).write_text(text)
        (place / name).chmod(0o644)
    settings = {
        "config_file": place / "start.conf",
        "hba_file": place / "hba",
        "ident_file": place / "ident",
        "listen_addresses": "",
        "unix_socket_directories": place,
        "port": PORT,
        "archive_mode": "off",
        "logging_collector": "off",
        "log_destination": "stderr",
        "lc_messages": "C",
        "ssl": "off",
        "shared_preload_libraries": "",
        "external_pid_file": "",
        "fsync": "on" if durable else "off",
    }
    command = [str(programs_folder / "postgres"), "-D", str(prepared.data)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    owner = prepared.data.stat()
    switch: dict[str, Any] = {}
    if os.geteuid() == 0:
        switch = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    with (prepared.root / LOG_NAME).open("ab") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/", **switch
        )


def _wait(
    prepared: Prepared, process: subprocess.Popen[bytes], place: Path, user: str, seconds: float, env: Environment
) -> RunningCopy:
    psycopg = driver()
    began = env.monotonic()
    consistent = 0.0
    while True:
        if process.poll() is not None:
            raise RecoveryError(f"the recovered server ended before it reached its target: {_reason(prepared.root)}")
        if env.monotonic() - began > seconds:
            raise RecoveryError(f"the recovered server did not reach its target within {seconds:.0f} s")
        try:
            with psycopg.connect(
                host=str(place), port=PORT, user=user, dbname="postgres", autocommit=True, connect_timeout=5
            ) as connection:
                consistent = consistent or env.monotonic() - began
                if connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,):
                    timeline, lsn = connection.execute(
                        "SELECT (pg_control_checkpoint()).timeline_id, pg_current_wal_lsn()::text"
                    ).fetchone() or (0, "")
                    rows = connection.execute(
                        "SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1"
                    ).fetchall()
                    names = tuple(str(name) for (name,) in rows)
                    return RunningCopy(
                        place, PORT, user, consistent, env.monotonic() - began, int(timeline), str(lsn), names
                    )
        except psycopg.OperationalError as error:
            if "does not exist" in str(error):
                raise RecoveryError(
                    "the recovered server has no such superuser", next="name one that it has."
                ) from None
        env.sleep(LOOK_AGAIN_SECONDS)


def _reason(root: Path) -> str:
    """Return why the server ended, in our words: its log may hold what nobody else should read."""
    try:
        with (root / LOG_NAME).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_BYTES_MAX))
            text = file.read().decode(errors="replace")
    except OSError:
        return "it left no log"
    return next((words for pattern, words in _REASONS if pattern in text), "its log says why")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop it: fast, then at once."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            continue


def check_recovery(
    prepared: Prepared,
    *,
    env: Environment,
    bin_folder: Path | None = None,
    user: str = "postgres",
    seconds: float = REPLAY_SECONDS_MAX,
    statements: Sequence[tuple[str, str]] = (),
    durable: bool = True,
) -> RecoveryReport:
    """Try a prepared recovery out: start it alone, look at every database, check structure and pages, stop it.

    `statements` are (database, statement) whose first value must be true. Afterwards the data directory is a cleanly stopped
    cluster at its target (durable, unless asked otherwise). `RecoveryError` says which check failed.
    """
    with started(prepared, env=env, bin_folder=bin_folder, user=user, seconds=seconds, durable=durable) as copy:
        began = env.monotonic()
        relations = sum(copy.query(name, "SELECT count(*) FROM pg_class")[0][0] for name in copy.databases)
        for number, (database, statement) in enumerate(statements, 1):
            rows = copy.query(database, statement)
            if not rows or not rows[0][0]:
                raise RecoveryError(f"check {number} of {len(statements)} is not true on the recovered data")
        place = programs(int(prepared.version.partition(".")[0]), bin_folder)
        structure = _amcheck(place, copy)
    sums = _checksums(place, prepared.data)
    return RecoveryReport(
        snapshot=prepared.snapshot,
        application=prepared.application,
        version=prepared.version,
        target=f"{prepared.target.kind} {prepared.target.value}".strip(),
        timeline=copy.timeline,
        lsn=copy.lsn,
        databases=len(copy.databases),
        relations=relations,
        page_checksums=sums,
        structure=structure,
        restore_seconds=prepared.restore_seconds,
        consistent_seconds=copy.consistent_seconds,
        replay_seconds=copy.replay_seconds,
        check_seconds=env.monotonic() - began,
        wal_files=prepared.wal_files,
        bytes=prepared.bytes,
    )


def _amcheck(place: Path, copy: RunningCopy) -> str:
    """Check the structure of tables and indexes: `--install-missing`, since pg_amcheck skips databases without its extension."""
    if not (place / "pg_amcheck").is_file():
        return "no tool"
    command: list[str | Path] = [place / "pg_amcheck", "--all", "--install-missing", "--heapallindexed"]
    command += ["--host", copy.socket, "--port", str(copy.port), "--username", copy.user, "--no-password"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TOOL_SECONDS_MAX, check=False)
    if done.returncode:
        raise RecoveryError(f"pg_amcheck found the recovered database damaged (exit code {done.returncode})")
    return "clean"


def _checksums(place: Path, data: Path) -> str:
    """Check the page checksums of the stopped cluster."""
    if not (place / "pg_checksums").is_file():
        return "no tool"
    done = subprocess.run(
        [place / "pg_checksums", "--check", "-D", data],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TOOL_SECONDS_MAX,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    if done.returncode == 0:
        return "clean"
    if b"not enabled" in done.stderr:
        return "off"
    raise RecoveryError("page checksums of the recovered cluster are wrong")
