"""A double of SQL Server behind a DB-API connection: databases that are suspended by a session and thaw when it ends.

It keeps every statement, answers only what it knows, and refuses the rest (`UnknownCallError`): a mock that says yes to everything
proves nothing. `fail` makes the next statement that holds a word fail with an error number; number 0 ends the session.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.testing.volumes import UnknownCallError

__all__ = ["DoubleError", "SqlServerDouble"]


class DoubleError(Exception):
    """A driver's error: its first argument is the server's number."""


@dataclass
class SqlServerDouble:
    """One server with one database `ehr`."""

    version: str = "16.0.4100.1"
    state: str = "ONLINE"
    model: str = "FULL"
    operator: bool = True
    password_ok: bool = True
    up: bool = True
    suspended_by: object = None
    statements: list[str] = field(default_factory=list)
    fail: dict[str, int] = field(default_factory=dict)

    def connect(self, _connection: object) -> _Session:
        """Return a session."""
        if not self.up:
            raise DoubleError(20009)
        if not self.password_ok:
            raise DoubleError(18456)
        return _Session(self)


class _Session:
    """One session. Ending it thaws what it suspended."""

    def __init__(self, server: SqlServerDouble) -> None:
        self.server, self.alive = server, True

    def cursor(self) -> _Cursor:
        return _Cursor(self)

    def close(self) -> None:
        self.alive = False
        if self.server.suspended_by is self:
            self.server.suspended_by = None


class _Cursor:
    """A cursor whose backup takes effect only when its result sets are drained."""

    def __init__(self, session: _Session) -> None:
        self.session, self.rows, self.pending, self.description = session, [], 0, None
        self.effect: Path | None = None

    rows: list[tuple[Any, ...]]
    description: object

    def execute(self, statement: str) -> None:
        server = self.session.server
        server.statements.append(statement)
        for word, number in tuple(server.fail.items()):
            if word in statement:
                del server.fail[word]
                if number == 0:
                    self.session.close()
                raise DoubleError(number)
        if not self.session.alive:
            raise DoubleError(0)
        self._answer(server, statement)

    def _answer(self, server: SqlServerDouble, statement: str) -> None:  # noqa: C901, PLR0912 - one arm for each statement
        disk = re.search(r"DISK = N'([^']*)'", statement)
        if statement.startswith("SELECT CAST(SERVERPROPERTY"):
            self._give([(server.version, server.state, server.model, int(server.operator), 0)])
        elif "IsDatabaseSuspendedForSnapshotBackup" in statement:
            self._give([(int(server.suspended_by is not None),)])
        elif statement.startswith("SET LOCK_TIMEOUT "):
            self.pending = 0
        elif statement == "ALTER DATABASE [ehr] SET SUSPEND_FOR_SNAPSHOT_BACKUP = ON (MODE = COPY_ONLY)":
            if server.suspended_by is not None:
                raise DoubleError(3023)
            server.suspended_by = self.session
        elif statement == "ALTER DATABASE [ehr] SET SUSPEND_FOR_SNAPSHOT_BACKUP = OFF":
            server.suspended_by = None
        elif re.fullmatch(
            r"BACKUP DATABASE \[ehr\] TO DISK = N'[^']*' WITH METADATA_ONLY, COPY_ONLY, FORMAT", statement
        ):
            if server.suspended_by is not self.session:
                raise DoubleError(3049)
            server.suspended_by = None
        elif re.fullmatch(r"BACKUP (DATABASE|LOG) \[ehr\] TO DISK = N'[^']*' WITH .*CHECKSUM.*", statement) and disk:
            self.pending, self.effect = 20, Path(disk[1])
        elif statement.startswith("RESTORE VERIFYONLY FROM DISK = ") and disk:
            if not Path(disk[1]).exists():
                raise DoubleError(3201)
        elif statement.startswith("SELECT TOP 1 first_lsn"):
            self._give([(34000000012300001, 34000000014500001, 34000000012300001, 1)])
        else:
            raise UnknownCallError(f"the double of SQL Server does not know: {statement}")

    def _give(self, rows: list[tuple[Any, ...]]) -> None:
        self.rows, self.description = rows, ("columns",)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self.rows

    def nextset(self) -> bool:
        self.rows, self.description = [], None
        if self.pending:
            self.pending -= 1
            if not self.pending and self.effect is not None:
                self.effect.write_bytes(b"TAPE")
            return True
        return False

    def close(self) -> None:
        self.pending = 0
