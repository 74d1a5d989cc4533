"""The one connection that a backup of PostgreSQL lives on: dedicated, kept alive, and its loss noticed."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from holdfast.errors import (
    ApplicationAccessError,
    ApplicationChangedError,
    ApplicationError,
    ApplicationUnreachableError,
    CaptureError,
    DriverMissingError,
)

if TYPE_CHECKING:
    from types import ModuleType

    from holdfast.sources.connectors.protocol import Connection

__all__ = ["HEARTBEAT_SECONDS", "Session", "driver"]

CONNECT_SECONDS = 10
STATEMENT_SECONDS = 60.0
HEARTBEAT_SECONDS = 20.0
DEFAULT_PORT = 5432
APPLICATION_NAME = "holdfast"
_DENIED = ("password authentication failed", "no password supplied", "pg_hba.conf", "does not exist", "not permitted")


def driver() -> ModuleType:
    """Return psycopg. `DriverMissingError` where it is not installed."""
    try:
        import psycopg
    except ImportError:
        raise DriverMissingError(
            "the driver for PostgreSQL is not installed", next="install the extra: pip install 'holdfast[postgresql]'."
        ) from None
    return psycopg


class Session:
    """A connection in autocommit. Statements have time limits; the loss of the connection is `ApplicationChangedError`."""

    def __init__(self, connection: Connection) -> None:
        """Connect. `ApplicationUnreachableError`, `ApplicationAccessError`, `DriverMissingError`."""
        psycopg = driver()
        self._psycopg = psycopg
        password = connection.password.reveal(os.environ) if connection.password is not None else None
        try:
            self._connection = psycopg.connect(
                host=connection.host or None,
                port=connection.port or DEFAULT_PORT,
                user=connection.user or None,
                password=password,
                dbname=connection.database or "postgres",
                application_name=APPLICATION_NAME,
                autocommit=True,
                connect_timeout=CONNECT_SECONDS,
                keepalives=1,
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=3,
                tcp_user_timeout=30_000,
            )
        except psycopg.OperationalError as error:
            raise _not_connected(error) from None
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.lost = False

    def rows(self, statement: str, *arguments: object, seconds: float = STATEMENT_SECONDS) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows; at most `seconds`.

        `ApplicationAccessError` (a right is missing), `CaptureError` (it took too long), `ApplicationChangedError`.
        """
        errors = self._psycopg.errors
        try:
            with self._lock:  # the heartbeat has a limit of its own
                self._connection.execute(f"SET statement_timeout = {int(seconds * 1000)}")
                found: list[tuple[Any, ...]] = self._connection.execute(statement, arguments or None).fetchall()
        except errors.InsufficientPrivilege:
            raise ApplicationAccessError("PostgreSQL refuses a statement to the backup's account") from None
        except errors.QueryCanceled:
            raise CaptureError(f"PostgreSQL did not finish a statement within {seconds:.0f} s") from None
        except self._psycopg.OperationalError as error:
            raise self._gone(error) from None
        except self._psycopg.Error as error:
            state = getattr(error, "sqlstate", None) or "no state"
            raise ApplicationChangedError(f"PostgreSQL answered a statement with an error ({state})") from None
        return found

    def one(self, statement: str, *arguments: object, seconds: float = STATEMENT_SECONDS) -> tuple[Any, ...]:
        """Return the only row."""
        (row,) = self.rows(statement, *arguments, seconds=seconds)
        return row

    def _gone(self, error: BaseException) -> ApplicationError:
        self.lost = True
        state = getattr(error, "sqlstate", None) or "connection lost"
        return ApplicationChangedError(f"PostgreSQL ended the backup's session ({state})")

    def keep_alive(self, seconds: float = HEARTBEAT_SECONDS) -> None:
        """Ask something every so often, so that no firewall drops the silent connection and its loss is noticed early."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat, args=(seconds,), name="holdfast-postgresql", daemon=True)
            self._thread.start()

    def _beat(self, seconds: float) -> None:
        while not self._stop.wait(seconds):
            try:
                self.one("SELECT 1")
            except ApplicationError:
                self.lost = True
                return

    @property
    def raw(self) -> Any:  # noqa: ANN401 - the driver's own
        """The driver's connection."""
        return self._connection

    def close(self) -> None:
        """End the session; a backup that is under way in it ends without a result, and nothing else."""
        self._stop.set()
        self._connection.close()
        if self._thread is not None:
            self._thread.join(HEARTBEAT_SECONDS)


def _not_connected(error: Any) -> ApplicationError:  # noqa: ANN401 - the driver's own
    """Tell a refusal from silence. libpq gives no state for a failed connection, only text and what it used."""
    text = str(error)
    pgconn = getattr(error, "pgconn", None)
    used = bool(pgconn is not None and (pgconn.used_password or pgconn.needs_password))
    if used or any(words in text for words in _DENIED):
        return ApplicationAccessError(
            "PostgreSQL refuses the backup's account: no such role or database, a wrong password, or no line in pg_hba.conf",
            next="check user, password and database in the configuration; `holdfast connectors grants NAME` prints the role.",
        )
    return ApplicationUnreachableError("PostgreSQL does not answer, or is still starting")
