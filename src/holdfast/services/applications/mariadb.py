"""MariaDB or MySQL on a restored data directory: InnoDB recovers by itself; on a socket of the drill's own, without network or grants.

Started with `--no-defaults`, so that no configuration of production counts: no binary log, no replication (`--skip-slave-start`),
no network (`--skip-networking`), no events (`--event-scheduler=OFF`), no password (`--skip-grant-tables` in a cell without network,
on a socket in a folder that only the drill's user can enter). Verified by `mariadb-check --extended` over all databases.
Source: MariaDB knowledge base, "mariadbd Options", "mariadb-check".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from holdfast.errors import DrillProgramError
from holdfast.services.applications.ground import ApplicationFailed, Ground, any_answer, wait_ready
from holdfast.services.catalogue import Check
from holdfast.services.isolation import Server
from holdfast.services.judge import Answer, Outcome

__all__ = ["MariaDB", "cause_in"]

VERIFY_SECONDS = 12 * 3600.0
FOLDERS = ("/usr/sbin", "/usr/libexec", "/usr/bin")
CAUSES = (
    (r"outside the bounds of the file", "a data file is cut short"),
    (r"page corruption|page \[page id[^\]]*\] (is )?(corrupt|still)|checksum mismatch|InnoDB: corrupt", "a page is corrupted"),
    (r"Missing (MLOG_CHECKPOINT|FILE_CHECKPOINT)|log sequence number .* is in the future|ib_logfile0.*(corrupt|invalid)",
     "the redo log does not fit the data: it is stale or was cut off"),
    (r"redo log .*(corrupt|missing|was created with)|Upgrade after a crash", "the redo log is damaged, or of another version"),
    (r"(Cannot open|Operating system error number 2|The innodb_system data file .* must)|Tablespace .* (was not found|is missing)",
     "a data file is missing"),
    (r"The (size|file size) of|is smaller than|Tried to read \d+ bytes", "a data file is cut short"),
    (r"Table '[^']*' doesn't exist|doesn't exist in engine", "a table is missing"),
    (r"Unknown database", "a database is missing"),
    (r"is marked as crashed|Incorrect key file|Table .* is corrupted|Index for table .* is corrupt|index corruption",
     "a table or an index is corrupted"),
)  # fmt: skip


class MariaDB:
    """A MariaDB data directory."""

    def __init__(self, ground: Ground) -> None:
        """Serve from the ground's data directory."""
        self._ground = ground
        self._server: Server | None = None
        self._socket = os.path.join(ground.run, "socket")

    def start(self) -> None:
        """Start the server and wait until it takes statements."""
        data, run = self._ground.data, self._ground.run
        if not os.path.isdir(os.path.join(data, "mysql")):
            raise ApplicationFailed("the restored data is no MariaDB data directory")
        command = [
            self._program("mariadbd", "mysqld"),
            "--no-defaults",
            f"--datadir={data}",
            f"--socket={self._socket}",
            f"--pid-file={run}/pid",
            f"--tmpdir={run}",
            "--skip-networking",
            "--skip-grant-tables",
            "--skip-slave-start",
            "--skip-log-bin",
            "--event-scheduler=OFF",
            "--plugin-maturity=unknown",
            "--innodb-flush-method=fsync",
        ]
        server = self._ground.serve(command)
        self._server = server
        wait_ready(
            self._ground, server, lambda: self._query("select 1", "").value == "1", lambda: cause_in(server.said())
        )

    def _program(self, *names: str) -> str:
        for name in names[:-1]:
            try:
                return self._ground.program(name, *FOLDERS)
            except DrillProgramError:
                continue
        return self._ground.program(names[-1], *FOLDERS)

    def _query(self, query: str, database: str) -> Answer:
        client = [
            self._program("mariadb", "mysql"),
            "--no-defaults",
            f"--socket={self._socket}",
            "--batch",
            "--skip-column-names",
        ]
        ran = self._ground.run_program(
            [*client, *([f"--database={database}"] if database else [])], stdin=query.encode() + b"\n;\n"
        )
        if ran.code != 0:
            # The server's log names the cause more precisely than what a client is told.
            said = self._server.said() if self._server is not None else ""
            return Answer(problem=cause_in(ran.err) or cause_in(said) or "MariaDB refuses the question")
        rows = ran.out.splitlines()
        return Answer(rows[0].split("\t")[0] if rows else "")

    def ask(self, check: Check) -> Answer:
        """Answer a query in the check's database."""
        if check.kind == "query":
            return self._query(check.query, check.database)
        return any_answer(self._ground, check, what="MariaDB")

    def verify(self) -> Iterator[Outcome]:
        """Let `mariadb-check` read every table and index."""
        env = self._ground.cell.env
        began = env.monotonic()
        checker = [self._program("mariadb-check", "mysqlcheck"), "--no-defaults", f"--socket={self._socket}"]
        ran = self._ground.run_program(
            [*checker, "--all-databases", "--check", "--extended", "--silent"], seconds=VERIFY_SECONDS
        )
        bad = [
            line
            for line in ran.out.splitlines()
            if re.match(r"(error|status)\s*:|.*\b[Cc]orrupt", line) and "OK" not in line
        ]
        failed = ran.code != 0 or bool(bad) or self._ended()
        said = ran.out + ran.err + (self._server.said() if failed and self._server else "")
        cause = (cause_in(said) or "mariadb-check finds a table or an index corrupted") if failed else ""
        found = f"{len(bad)} complaints" if not self._ended() else "the server broke down"
        yield Outcome("mariadb-check", "application", "failed" if failed else "passed", "no complaint", found, cause,
                      env.monotonic() - began)  # fmt: skip

    def _ended(self) -> bool:
        return self._server is None or self._server.poll() is not None

    def stop(self) -> None:
        """Stop it cleanly; kill what is left."""
        if self._server is not None:
            self._ground.cell.end(self._server, seconds=120.0)
            self._server = None


def cause_in(text: str) -> str:
    """Return the cause that MariaDB's words name, in words of our own; empty if they name none that is known."""
    return next((cause for pattern, cause in CAUSES if re.search(pattern, text)), "")
