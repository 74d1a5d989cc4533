"""A double of Oracle behind a DB-API connection, and one of the program `rman`: backup mode that outlives its session.

Backup mode, what RMAN wrote and every statement stand in files of a folder, so that the watchdog's own process meets the same
database. What it does not know it refuses (`UnknownCallError`) and notes in the file `unknown`. `fail` makes the
next statement that holds a word fail with such a message; `ORA-03113` ends the session too. A file `fail-rman` with an error
stack makes the next script end with it.

`python -m holdfast.testing.oracle FOLDER` ends backup mode, as the watchdog's program does on a real database.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.sources.connectors.oracle_session import OracleSession, ended
from holdfast.sources.connectors.protocol import Connection
from holdfast.testing.volumes import UnknownCallError

__all__ = ["OracleDouble", "OracleDoubleError"]

RMAN = r"""#!{python} -IS
import pathlib, re, sys
here = pathlib.Path(__file__).parent
known = [
    r"RUN {{", r"}}", r"  RELEASE CHANNEL holdfast;", r"  SQL 'ALTER SYSTEM ARCHIVE LOG CURRENT';",
    r"  ALLOCATE CHANNEL holdfast DEVICE TYPE DISK FORMAT '[^']+/holdfast_%d_%U';",
    r"  BACKUP( INCREMENTAL LEVEL (0|1 CUMULATIVE))? TAG 'HOLDFAST' DATABASE;",
    r"  BACKUP TAG 'HOLDFAST' (ARCHIVELOG ALL NOT BACKED UP 1 TIMES|CURRENT CONTROLFILE|SPFILE);",
    r"RESTORE (DATABASE|CONTROLFILE|SPFILE) VALIDATE;",
]
def stack(text):
    print("RMAN-00571: ===========\nRMAN-00569: ===== ERROR MESSAGE STACK FOLLOWS =====\nRMAN-00571: ===========\n" + text)
    sys.exit(1)
if len(sys.argv) != 5 or sys.argv[1] != "TARGET" or not re.fullmatch(r'"/.*"', sys.argv[2]) or sys.argv[3] != "CMDFILE":
    sys.exit(1)
script = open(sys.argv[4]).read()
with open(here / "scripts", "a") as file:
    file.write(script)
for line in script.splitlines():
    if not any(re.fullmatch(row, line) for row in known):
        (here / "unknown").write_text(line)
        stack("RMAN-01009: syntax error")
fail = here / "fail-rman"
if fail.exists():
    text = fail.read_text()
    fail.unlink()
    if text == "quietly":
        print("RMAN-00569: ===== ERROR MESSAGE STACK FOLLOWS =====\nRMAN-03009: failure\nORA-19502: write error")
        sys.exit(0)
    stack(text)
place = re.search(r"FORMAT '([^']+)/holdfast_%d_%U'", script)
for number, row in enumerate(re.findall(r"^  BACKUP.*", script, re.M)):
    pathlib.Path(place[1], "holdfast_EHR_%d_1_1" % number).write_bytes(row.encode())
if "VALIDATE" in script and not (here / "scripts").read_text().count("BACKUP"):
    stack("RMAN-06026: some targets not found - aborting restore\nRMAN-06023: no backup or copy found")
print("Recovery Manager complete.")
"""


class OracleDoubleError(Exception):
    """A driver's error: its text begins with the number."""


@dataclass
class OracleDouble:
    """One database."""

    folder: Path
    version: str = "19.0.0.0.0"
    archiver: str = "STARTED"
    log_mode: str = "ARCHIVELOG"
    role: str = "PRIMARY"
    open_mode: str = "READ WRITE"
    privileges: tuple[str, ...] = ("SYSBACKUP",)
    area: tuple[int, int, int] | None = (1000, 500, 100)
    enterprise: int = 1
    rman_sessions: int = 0
    resetlogs: int = 1
    up: bool = True
    password_ok: bool = True
    archives: bool = True
    fail: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def in_backup(self) -> bool:
        """Whether its data files are in backup mode."""
        return (self.folder / "in-backup").exists()

    @in_backup.setter
    def in_backup(self, value: bool) -> None:
        flag = self.folder / "in-backup"
        if value:
            flag.touch()
        else:
            flag.unlink(missing_ok=True)

    @property
    def statements(self) -> list[str]:
        """Every statement it was given, by whatever process."""
        path = self.folder / "statements"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def scripts(self) -> str:
        """Every script RMAN was given."""
        path = self.folder / "scripts"
        return path.read_text() if path.exists() else ""

    def refused(self, call: str) -> UnknownCallError:
        """Note what is not known: a connector may catch the error."""
        (self.folder / "unknown").write_text(call)
        return UnknownCallError(f"the double of Oracle does not know: {call}")

    def rman(self) -> str:
        """Write the program; return its path."""
        program = self.folder / "rman"
        program.write_text(RMAN.format(python=sys.executable))
        program.chmod(0o755)
        return str(program)

    def connect(self, _connection: object, _seconds: float) -> _Session:
        """Return a session."""
        if not self.up:
            raise OracleDoubleError("DPY-6005: cannot connect to database")
        if not self.password_ok:
            raise OracleDoubleError("ORA-01017: invalid username/password; logon denied")
        return _Session(self)

    def end(self, _connection: object) -> tuple[str, ...]:
        """Return the program that ends backup mode without the run."""
        return (sys.executable, "-m", __name__, str(self.folder))


class _Session:
    """One session. Backup mode does not end with it."""

    call_timeout = 0

    def __init__(self, server: OracleDouble) -> None:
        self.server, self.alive = server, True

    def cursor(self) -> _Cursor:
        return _Cursor(self)

    def close(self) -> None:
        self.alive = False


class _Cursor:
    """A cursor."""

    def __init__(self, session: _Session) -> None:
        self.session = session
        self.description: object = None
        self._rows: list[tuple[Any, ...]] = []

    def execute(self, statement: str) -> None:
        server = self.session.server
        assert self.session.call_timeout > 0, "a call without a time limit"
        with (server.folder / "statements").open("a") as file:
            file.write(statement + "\n")
        for word, message in tuple(server.fail.items()):
            if word in statement:
                del server.fail[word]
                self.session.alive &= not message.startswith("ORA-03113")
                raise OracleDoubleError(message)
        if not self.session.alive:
            raise OracleDoubleError("DPY-1001: not connected to database")
        if statement.startswith("SELECT "):
            self._rows, self.description = _selected(server, statement), ("columns",)
        else:
            _done(server, statement)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._rows

    def close(self) -> None:
        self._rows = []


def _selected(server: OracleDouble, statement: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query; the number of the last change grows with each statement."""
    change = 5_000_000 + len(server.statements)
    known: dict[str, list[tuple[Any, ...]]] = {
        "SELECT version, status, archiver FROM v$instance": [(server.version, "OPEN", server.archiver)],
        "SELECT dbid, log_mode, database_role, open_mode, current_scn, resetlogs_change# FROM v$database": [
            (1234567890, server.log_mode, server.role, server.open_mode, change, server.resetlogs)
        ],
        "SELECT space_limit, space_used, space_reclaimable FROM v$recovery_file_dest": [server.area]
        if server.area
        else [],
        "SELECT privilege FROM session_privs WHERE privilege IN ('SYSBACKUP', 'SYSDBA')": [
            (row,) for row in server.privileges
        ],
        "SELECT COUNT(*) FROM v$backup WHERE status = 'ACTIVE'": [(4 * server.in_backup,)],
        "SELECT COUNT(*) FROM v$session WHERE program LIKE 'rman%'": [(server.rman_sessions,)],
        "SELECT COUNT(*) FROM v$version WHERE banner LIKE '%Enterprise Edition%'": [(server.enterprise,)],
        "SELECT current_scn FROM v$database": [(change,)],
        "SELECT TO_CHAR(SYSDATE, 'YYYY-MM-DD HH24:MI:SS') FROM dual": [("2026-11-25 03:00:00",)],
        "SELECT MAX(next_change#) FROM v$archived_log WHERE archived = 'YES' AND deleted = 'NO'": [
            (change if server.archives else None,)
        ],
    }
    if statement not in known:
        raise server.refused(statement)
    return known[statement]


def _done(server: OracleDouble, statement: str) -> None:
    """Carry out a statement that is no query."""
    if statement == "ALTER DATABASE BEGIN BACKUP":
        if server.log_mode != "ARCHIVELOG":
            raise OracleDoubleError("ORA-01123: cannot start online backup; media recovery not enabled")
        if server.in_backup:
            raise OracleDoubleError("ORA-01146: cannot start online backup - file 1 is already in backup")
        server.in_backup = True
    elif statement == "ALTER DATABASE END BACKUP":
        if not server.in_backup:
            raise OracleDoubleError("ORA-01142: cannot end online backup - none of the files are in backup")
        server.in_backup = False
    elif statement == "ALTER SYSTEM ARCHIVE LOG CURRENT":
        if server.archiver == "FAILED":
            raise OracleDoubleError("ORA-00257: archiver error. Connect internal only, until freed.")
    elif copy := (
        re.fullmatch(r"ALTER DATABASE BACKUP CONTROLFILE TO '([^']+\.ctl)' REUSE", statement)
        or re.fullmatch(r"CREATE PFILE = '([^']+\.ora)' FROM SPFILE", statement)
    ):
        Path(copy[1]).write_bytes(b"control file, or parameters")
    else:
        raise server.refused(statement)


if __name__ == "__main__":  # pragma: no cover - a process of its own, begun by the watchdog
    ended(OracleSession(Connection("watchdog"), OracleDouble(Path(sys.argv[1])).connect))
