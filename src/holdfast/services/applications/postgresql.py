"""PostgreSQL 13 to 18 on a restored data directory: crash recovery or recovery from `backup_label`, on a socket of the drill's own.

Made safe before it starts: a configuration of the drill's own stands in for the restored one (`postgresql.auto.conf` is emptied
in the copy, and what must not happen is named on the command line, which wins over every file): no archiving, no restore
command, no replication, no network, trust for the drill's user on a socket in a folder that only it can enter. `standby.signal` is
removed; `backup_label` never is. Settings that recovery demands to be as large as they were come from `pg_controldata`.

Verified by `pg_amcheck` (tables and B-trees, heapallindexed), then, after a clean stop, by `pg_checksums`.
Source: PostgreSQL documentation, chapters 26 (Backup and Restore), 20 (Server Configuration), pg_amcheck, pg_checksums.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

from holdfast.services.applications.ground import ApplicationFailed, Ground, any_answer, wait_ready
from holdfast.services.catalogue import Check
from holdfast.services.isolation import Ran, Server
from holdfast.services.judge import Answer, Outcome

__all__ = ["PostgreSQL", "cause_in", "settings_of"]

CLUSTER_ERROR = "the restored data is no PostgreSQL data directory"
RECOVERED = ("max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_xacts", "max_locks_per_xact")
RENAMED = {"max_prepared_xacts": "max_prepared_transactions", "max_locks_per_xact": "max_locks_per_transaction"}
VERIFY_SECONDS = 12 * 3600.0
FORBIDDEN = {
    "archive_mode": "off",
    "archive_command": "",
    "restore_command": "",
    "archive_cleanup_command": "",
    "recovery_end_command": "",
    "primary_conninfo": "",
    "primary_slot_name": "",
    "listen_addresses": "",
    "ssl": "off",
    "shared_preload_libraries": "",
    "session_preload_libraries": "",
    "local_preload_libraries": "",
    "max_logical_replication_workers": "0",
    "logging_collector": "off",
    "log_destination": "stderr",
}
"""Set on the command line, before which no file's word counts."""
CAUSES = (
    (
        r"could not locate (a valid|required) checkpoint record",
        "the WAL that recovery begins with is missing: it is stale or was cut off",
    ),
    (
        r"invalid (primary )?checkpoint record",
        "the WAL that recovery begins with is missing: it is stale or was cut off",
    ),
    (
        r"WAL ends before (end of online backup|consistent recovery point)",
        "the WAL ends before the backup is consistent: it is stale",
    ),
    (r"recovery ended before configured recovery target", "the WAL ends before the target of the recovery"),
    (
        r"requested recovery stop point is before consistent",
        "the target of the recovery lies before the end of the base backup",
    ),
    (r"requested (starting point|timeline) .* (is not|does not)", "the WAL is of another timeline than the data"),
    (
        r"database files are incompatible with server",
        "the data is of another major version of PostgreSQL than the programs",
    ),
    (r"invalid page in block|page verification failed", "a page does not match its checksum: it is corrupted"),
    (
        r"could not (read|open|access) (file|directory)|No such file or directory",
        "a file of the data directory is missing or cut short",
    ),
    (r"could not read blocks?", "a file of a table is cut short"),
    (r"incorrect checksum in control file", "the control file is damaged"),
    (r"relation \S+ does not exist", "a table is missing"),
    (r"database \S+ does not exist", "a database is missing"),
    (r"role \S+ does not exist", "a role is missing"),
)
"""What PostgreSQL says, and what it means. The first that fits; its own words may hold names, so they are not passed on."""


class PostgreSQL:
    """A PostgreSQL cluster."""

    def __init__(self, ground: Ground) -> None:
        """Serve from the ground's data directory."""
        self._ground = ground
        self._server: Server | None = None
        self._folders: tuple[str, ...] = ()
        self._user = "postgres"

    def start(self) -> None:
        """Make the copy safe, start the server of the data's own major version, and wait until it takes statements."""
        data = self._ground.data
        try:
            with open(os.path.join(data, "PG_VERSION")) as file:
                version = file.read().strip()
        except OSError:
            raise ApplicationFailed(CLUSTER_ERROR) from None
        self._folders = (f"/usr/lib/postgresql/{version}/bin", f"/usr/pgsql-{version}/bin")
        self._make_safe()
        control = self._run("pg_controldata", "-D", data)
        if control.code != 0:
            raise ApplicationFailed(cause_in(control.err) or "the control file cannot be read")
        command = [self._ground.program("postgres", *self._folders), "-D", data]
        for name, value in (settings_of(control.out) | FORBIDDEN | self._recovery()).items():
            command += ["-c", f"{name}={value}"]
        own = os.path.join(self._ground.run, "drill")
        command += ["-c", f"config_file={own}.conf", "-c", f"hba_file={own}.hba", "-c", f"ident_file={own}.ident"]
        command += ["-c", f"unix_socket_directories={self._ground.run}", "-c", "port=5432"]
        server = self._ground.serve(command)
        self._server = server
        wait_ready(self._ground, server, self._answers, lambda: cause_in(server.said()))
        self._find_superuser()

    def _recovery(self) -> dict[str, str]:
        """Return the settings of a recovery: where the WAL is and the target; nothing else of them counts."""
        kept = ("restore_command", "recovery_target", "hot_standby")
        return {name: value for name, value in self._ground.recovery if name.startswith(kept)}

    def _make_safe(self) -> None:
        data, own = self._ground.data, os.path.join(self._ground.run, "drill")
        signals = () if self._ground.recovery else ("recovery.signal",)
        for name in ("standby.signal", *signals, "postmaster.pid", "recovery.conf"):
            _remove(os.path.join(data, name))
        _write(os.path.join(data, "postgresql.auto.conf"), "")
        _write(f"{own}.conf", "")
        _write(f"{own}.hba", "local all all trust\n")
        _write(f"{own}.ident", "")
        spaces = os.path.join(data, "pg_tblspc")
        for name in os.listdir(spaces) if os.path.isdir(spaces) else ():
            link = os.path.join(spaces, name)
            if os.path.islink(link):
                inside = os.path.join(self._ground.restored, os.readlink(link).lstrip("/"))
                _remove(link)
                os.symlink(inside, link)

    def _answers(self) -> bool:
        # `template1` is there in every cluster; a server in recovery refuses or is read-only, and is not ready yet.
        return self._query("select pg_is_in_recovery()", "template1").value.strip() == "f"

    def _find_superuser(self) -> None:
        """Ask for the superuser that the cluster was made with, where it is not called `postgres`."""
        found = self._query("select rolname from pg_roles where oid = 10", "template1").value.strip()
        if found:
            self._user = found

    def _query(self, query: str, database: str) -> Answer:
        connection = ["--host", self._ground.run, "--port", "5432", "--username", self._user, "--dbname", database]
        plain = [
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--field-separator=\t",
            "--set=ON_ERROR_STOP=1",
        ]
        ran = self._run("psql", *connection, *plain, "--file=-", stdin=query.encode() + b"\n;\n")
        if ran.code != 0:
            return Answer(problem=cause_in(ran.err) or "PostgreSQL refuses the question")
        row = ran.out.splitlines()
        return Answer(row[0].split("\t")[0] if row else "")

    def ask(self, check: Check) -> Answer:
        """Answer a query; the database is the check's, by default `postgres`."""
        if check.kind == "query":
            return self._query(check.query, check.database or "postgres")
        return any_answer(self._ground, check, what="PostgreSQL")

    def verify(self) -> Iterator[Outcome]:
        """Let `pg_amcheck` read every table and index, then stop cleanly and let `pg_checksums` read every page."""
        env = self._ground.cell.env
        began = env.monotonic()
        connection = ["--host", self._ground.run, "--port", "5432", "--username", self._user]
        ran = self._run(
            "pg_amcheck",
            *connection,
            "--all",
            "--install-missing",
            "--heapallindexed",
            "--no-dependent-toast",
            seconds=VERIFY_SECONDS,
        )
        damaged = ran.code != 0
        cause = cause_in(ran.out + ran.err) or "pg_amcheck finds a table or an index corrupted" if damaged else ""
        yield Outcome("pg-amcheck", "application", "failed" if damaged else "passed", "no corruption", _said(damaged), cause,
                      env.monotonic() - began)  # fmt: skip
        began = env.monotonic()
        self.stop()
        ran = self._run("pg_checksums", "--check", "-D", self._ground.data, seconds=VERIFY_SECONDS)
        seconds = env.monotonic() - began
        if "data checksums are not enabled" in ran.err:
            yield Outcome(
                "pg-checksums",
                "application",
                "skipped",
                "every page matches",
                "no checksums in this cluster",
                "",
                seconds,
            )
            return
        bad = re.search(r"Bad checksums:\s+(\d+)", ran.out)
        pages = re.search(r"Blocks scanned:\s+(\d+)", ran.out)
        failed = ran.code != 0 or (bad is not None and bad[1] != "0")
        found = f"{bad[1] if bad else '?'} bad of {pages[1] if pages else '?'} pages"
        cause = "pages do not match their checksums: they are corrupted" if failed else ""
        yield Outcome(
            "pg-checksums", "application", "failed" if failed else "passed", "every page matches", found, cause, seconds
        )

    def stop(self) -> None:
        """Stop it fast and clean; kill what is left."""
        if self._server is None:
            return
        server, self._server = self._server, None
        if server.poll() is None:
            self._run("pg_ctl", "stop", "-D", self._ground.data, "-m", "fast", "-w", "-t", "120")
        self._ground.cell.end(server, number=signal.SIGINT)

    def _run(self, program: str, *arguments: str, seconds: float = 300.0, stdin: bytes = b"") -> Ran:
        return self._ground.run_program(
            [self._ground.program(program, *self._folders), *arguments], seconds=seconds, stdin=stdin
        )


def cause_in(text: str) -> str:
    """Return the cause that PostgreSQL's words name, in words of our own; empty if they name none that is known."""
    return next((cause for pattern, cause in CAUSES if re.search(pattern, text)), "")


def settings_of(control: str) -> dict[str, str]:
    """Return the settings that recovery needs to be at least as large as they were, from the output of pg_controldata."""
    found = {}
    for name in RECOVERED:
        match = re.search(rf"^{name} setting:\s+(\d+)$", control, re.MULTILINE)
        if match:
            found[RENAMED.get(name, name)] = match[1]
    return found


def _said(damaged: bool) -> str:  # noqa: FBT001 - one word for each
    return "corruption" if damaged else "none"


def _remove(path: str) -> None:
    if os.path.lexists(path):
        os.unlink(path)


def _write(path: str, text: str) -> None:
    """Write a file that the application's user reads, in a folder where that user may have left anything: never through a link."""
    _remove(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
