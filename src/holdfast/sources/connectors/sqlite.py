"""SQLite: a whole copy through the online backup interface in one step, or `VACUUM INTO`, checked before it counts.

Copying in small steps from another connection starts again with each write and never ends under a steady writer (456 restarts
in 8 s were measured), so the copy is made at once; writers waited 62 ms at most. A database is never copied as a file: what is in its
`-wal` is not in it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from typing import TYPE_CHECKING

from holdfast.errors import (
    ApplicationAccessError,
    ApplicationBusyError,
    ApplicationUnreachableError,
    ApplicationUnsuitableError,
    CaptureError,
    ConfigError,
)
from holdfast.sources.connectors.options import needed, options_of
from holdfast.sources.connectors.protocol import Capture, Conclusion, Connection, Facts, Found, Verdict
from holdfast.sources.connectors.unfrozen import CopyFolder, Unfrozen

if TYPE_CHECKING:
    from holdfast.base.environment import Environment

__all__ = ["FACTORY", "SqliteConnector", "SqliteFactory"]

OPTIONS = {"mode": "backup", "check": "quick"}
BUSY_SECONDS = 30.0
COPY_SECONDS = 3600.0


class SqliteConnector(Unfrozen):
    """One database file."""

    kind = "sqlite"

    def __init__(self, connection: Connection, *, mode: str, check: str) -> None:
        """Touch nothing yet."""
        self.name = connection.name
        self._path = os.path.realpath(os.fsencode(connection.path))
        self._mode, self._check = mode, check
        self._folder = CopyFolder(os.path.dirname(self._path), self.name)
        self._copied = b""

    def _open(self) -> sqlite3.Connection:
        # Not read-only: a reader of a WAL database needs its -shm, and must be able to make it.
        database = sqlite3.connect(
            f"file:{_quoted(self._path)}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None
        )
        database.execute("PRAGMA query_only = ON")
        return database

    def check(self) -> Facts:
        """Open it, and read its settings."""
        if not os.path.isfile(self._path):
            raise ApplicationUnreachableError("there is no database file at the configured path")
        if not os.access(self._path, os.R_OK | os.W_OK):
            raise ApplicationAccessError("the database file may not be read and written by this account")
        try:
            database = self._open()
            try:
                mode = str(database.execute("PRAGMA journal_mode").fetchone()[0])
                pages = int(database.execute("PRAGMA page_count").fetchone()[0])
                size = int(database.execute("PRAGMA page_size").fetchone()[0])
            finally:
                database.close()
        except sqlite3.OperationalError as error:
            raise _translated(error) from None
        except sqlite3.DatabaseError:
            raise ApplicationUnsuitableError("the file is no SQLite database, or an encrypted or damaged one") from None
        return Facts(sqlite3.sqlite_version, (("journal", mode), ("bytes", str(pages * size)), ("mode", self._mode)))

    def capture(self, seconds: float) -> Capture:
        """Copy it at once."""
        size = os.path.getsize(self._path)
        wal = self._path + b"-wal"
        folder = self._folder.make(2 * size + (os.path.getsize(wal) if os.path.exists(wal) else 0))
        target = os.path.join(folder, os.path.basename(self._path))
        source = self._open()
        # SQLite has no time limit of its own: an interrupt from another thread ends the copy.
        timer = threading.Timer(max(seconds, 1.0) if seconds < COPY_SECONDS else COPY_SECONDS, source.interrupt)
        timer.start()
        try:
            if self._mode == "vacuum":
                source.execute("PRAGMA query_only = OFF")
                source.execute("VACUUM INTO ?", (os.fsdecode(target),))
            else:
                # The backup interface waits for a lock without end; a read transaction has it, or says that it is busy.
                source.execute("BEGIN")
                source.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
                copy = sqlite3.connect(os.fsdecode(target))
                try:
                    source.backup(copy, pages=-1)
                finally:
                    copy.close()
        except sqlite3.DatabaseError as error:
            raise _translated(error) from None
        finally:
            timer.cancel()
            source.close()
        self._copied = target
        return Capture(paths=(target,))

    def conclude(self) -> Conclusion:
        """Check the copy."""
        try:
            copy = sqlite3.connect(f"file:{_quoted(self._copied)}?mode=ro&immutable=1", uri=True)
            try:
                answer = str(copy.execute(f"PRAGMA {self._check}_check").fetchone()[0])
                version = int(copy.execute("PRAGMA data_version").fetchone()[0])
            finally:
                copy.close()
        except sqlite3.DatabaseError:
            answer, version = "unreadable", 0
        if answer != "ok":
            raise CaptureError("the copy of the database does not pass its check")
        return Conclusion(Verdict.APPLICATION, ((f"{self._check}-check", "ok"), ("data-version", str(version))))

    def close(self) -> None:
        """Remove the copy."""
        self._folder.remove()


def _quoted(path: bytes) -> str:
    from urllib.parse import quote_from_bytes

    return quote_from_bytes(path)


def _translated(error: sqlite3.DatabaseError) -> ApplicationBusyError | CaptureError:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return ApplicationBusyError("the database is locked by somebody who holds it exclusively")
    return CaptureError(f"the database could not be copied ({name or 'unknown error'})")


class SqliteFactory:
    """Makes connectors to SQLite databases."""

    kind = "sqlite"

    def make(self, connection: Connection, env: Environment) -> SqliteConnector:  # noqa: ARG002 - it needs no clock
        """Make one."""
        needed(connection, "path")
        options = options_of(connection, OPTIONS)
        if options["mode"] not in {"backup", "vacuum"} or options["check"] not in {"quick", "integrity"}:
            known = "mode = backup | vacuum; check = quick | integrity"
            raise ConfigError(f"the application {connection.name} has an unknown mode or check", problems=(known,))
        return SqliteConnector(connection, mode=options["mode"], check=options["check"])

    def grants(self, connection: Connection) -> str:
        """Say what the file system must allow."""
        place = connection.path or "DATABASE"
        return f"setfacl -m u:holdfast:rw '{place}'\nsetfacl -m u:holdfast:rwx \"$(dirname '{place}')\"  # for -wal, -shm and the copy"

    def discover(self, env: Environment) -> tuple[Found, ...]:  # noqa: ARG002 - discovery looks at all applications at once
        """See `holdfast.sources.discovery`."""
        return ()


FACTORY = SqliteFactory()
