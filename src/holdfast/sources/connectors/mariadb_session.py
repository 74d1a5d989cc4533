"""One connection to a MariaDB or MySQL server: every call has a time limit, every refusal becomes an error of the tree."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

from holdfast.errors import (
    ApplicationAccessError,
    ApplicationChangedError,
    ApplicationError,
    ApplicationUnreachableError,
    DriverMissingError,
    FreezeOverrunError,
)
from holdfast.sources.connectors.options import password_of

if TYPE_CHECKING:
    from holdfast.sources.connectors.protocol import Connection

__all__ = ["BACKUP_NOT_STARTED", "STAGE_HELD", "ServerError", "Session"]

CONNECT_SECONDS = 10
CALL_SECONDS = 30.0
BACKUP_NOT_STARTED = 4146
"""`You must start backup with "BACKUP STAGE START"`: this session holds no stage."""
STAGE_HELD = 4147
"""`Backup stage 'X' is same or before current backup stage`: this session holds it."""
_TIMED_OUT = frozenset({1205, 1969, 3024})
"""Lock wait time-out; `max_statement_time`; MySQL's `MAX_EXECUTION_TIME`."""
_REFUSED = frozenset({1044, 1045, 1142, 1227, 1698})
_LOST = frozenset({1053, 1927, 2006, 2013, 2055, 0})


class ServerError(ApplicationError):
    """The server refused a statement for a reason with this number; never raised to a caller of a connector."""

    def __init__(self, number: int) -> None:
        """Say the number; the server's own text may name tables."""
        super().__init__(f"the server refused a statement (error {number})", number=number)
        self.number = number


class Session:
    """One connection. `ApplicationUnreachableError`, `ApplicationAccessError`, `DriverMissingError` when it is made."""

    def __init__(self, connection: Connection, *, call_seconds: float = CALL_SECONDS) -> None:
        """Connect."""
        try:
            import pymysql
        except ImportError:
            raise DriverMissingError(
                "the driver for MariaDB is not installed", next="install the extra: `pip install holdfast[mariadb]`."
            ) from None
        self._driver = pymysql
        self._socket = _connected(connection)
        self._connection = pymysql.connect(
            user=connection.user or None,
            password=password_of(connection),
            autocommit=True,
            charset="utf8mb4",
            read_timeout=call_seconds,
            write_timeout=call_seconds,
            defer_connect=True,
        )
        try:
            self._connection.connect(self._socket)
        except pymysql.err.Error as error:
            self.close()
            number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
            if number in _REFUSED:
                raise ApplicationAccessError("the server refuses the account: a wrong name or password") from None
            raise ApplicationUnreachableError("the database server does not answer") from None
        self.id = int(self._connection.thread_id())
        self.closed = False

    def fileno(self) -> int:
        """Return the socket's descriptor, for the watchdog."""
        return self._socket.fileno()

    def rows(self, statement: str, *values: object) -> tuple[tuple[Any, ...], ...]:
        """Run a statement. `ServerError` for a refusal, `FreezeOverrunError` after its time, `ApplicationChangedError` if lost."""
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return tuple(cursor.fetchall())
        except self._driver.err.Error as error:
            number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
            if number in _TIMED_OUT:
                raise FreezeOverrunError(
                    "the server did not grant a lock in time: a long statement or another backup"
                ) from None
            if number in _LOST:
                self.close()
                raise ApplicationChangedError("the server ended the session of the backup") from None
            raise ServerError(number) from None

    def value(self, statement: str, *values: object) -> Any:  # noqa: ANN401 - whatever the column holds
        """Return the first column of the first row; None if there is none."""
        rows = self.rows(statement, *values)
        return rows[0][0] if rows and rows[0] else None

    def close(self) -> None:
        """End it, with all its locks. Never raises."""
        self.closed = True
        with contextlib.suppress(Exception):
            self._connection._force_close()  # noqa: SLF001 - `close` would wait for the server
        self._socket.close()


def _connected(connection: Connection) -> socket.socket:
    """Connect a socket of our own: the driver does not close one whose server refuses it."""
    try:
        if not connection.host.startswith("/"):
            place = (connection.host or "127.0.0.1", connection.port or 3306)
            return socket.create_connection(place, timeout=CONNECT_SECONDS)
        found = socket.socket(socket.AF_UNIX)
        try:
            found.settimeout(CONNECT_SECONDS)
            found.connect(connection.host)
        except OSError:
            found.close()
            raise
    except OSError as error:
        raise ApplicationUnreachableError(
            f"the database server does not answer ({error.strerror or 'time-out'})"
        ) from None
    return found
