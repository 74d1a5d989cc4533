"""One session with an Oracle database as SYSBACKUP: every call has a time limit, every refusal becomes an error of the tree.

Messages of the server name files and tables, so only their numbers (`ORA-01017`, `DPY-4011`, `RMAN-06059`) get into an error.
`python -m holdfast.sources.connectors.oracle_session …` is what the watchdog runs: it ends backup mode and does nothing else.
Backup mode does not end with the session that began it, and a data file left in it keeps a crashed database from opening.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable
from typing import Any

from holdfast.errors import (
    ApplicationAccessError,
    ApplicationBusyError,
    ApplicationChangedError,
    ApplicationError,
    ApplicationUnreachableError,
    ApplicationUnsuitableError,
    CaptureError,
    DriverMissingError,
    FreezeOverrunError,
    HoldfastError,
)
from holdfast.sources.connectors.options import arguments_of, connection_of, password_of
from holdfast.sources.connectors.protocol import Connection

__all__ = ["ACTIVE", "END_BACKUP", "Connect", "OracleSession", "driver", "end_command", "ended", "main", "refusal"]

CONNECT_SECONDS = 15.0
CALL_SECONDS = 60.0
PORT = 1521
ACTIVE = "SELECT COUNT(*) FROM v$backup WHERE status = 'ACTIVE'"
"""How many data files are in backup mode."""
END_BACKUP = "ALTER DATABASE END BACKUP"
NOT_IN_BACKUP = "ORA-01142"
"""`cannot end online backup - none of the files are in backup`."""
_CODE = re.compile(r"\b((?:ORA|RMAN|DPY)-\d{4,5})\b")
_LOST = frozenset(
    {"DPY-4011", "DPY-1001", "ORA-03113", "ORA-03114", "ORA-03135", "ORA-00028", "ORA-02396", "ORA-01092"}
)
_LOGIN = frozenset({"ORA-01005", "ORA-01017", "ORA-01045", "ORA-28000", "ORA-28001", "ORA-28009"})
_RIGHTS = frozenset({"ORA-01031", "ORA-00942", "ORA-01039"})
_DOWN = frozenset(
    {
        "ORA-01034",
        "ORA-12514",
        "ORA-12541",
        "ORA-12154",
        "ORA-12505",
        "ORA-27101",
        "RMAN-04014",
        "RMAN-06171",
        "RMAN-06403",
    }
)
_FULL = frozenset({"ORA-00257", "ORA-16014", "ORA-19804", "ORA-19809", "ORA-19815"})
_UNWRITTEN = frozenset({"ORA-19502", "ORA-19504", "ORA-27037", "ORA-27040", "ORA-27072"})
_BUSY = frozenset({"ORA-01146", "ORA-00230", "ORA-19573", "ORA-01154"})
_UNSUITABLE = frozenset({"ORA-01123", "ORA-19602", "RMAN-06149", "ORA-01109", "ORA-01507", "ORA-16000"})
_DAMAGED = frozenset({"ORA-01578", "ORA-19566", "ORA-19599"})
_GAP = frozenset({"RMAN-06059", "RMAN-20242", "RMAN-06025", "RMAN-06026", "RMAN-06023"})
Connect = Callable[[Connection, float], Any]
"""Makes a DB-API connection with the role SYSBACKUP: from the connection's settings, within so many seconds."""


def refusal(codes: str) -> ApplicationError:
    """Return the error for what a driver or RMAN said: the first number that is known decides; its text is dropped."""
    found = _CODE.findall(codes)
    known = (
        (_DAMAGED, CaptureError, "Oracle found damaged blocks", "run VALIDATE CHECK LOGICAL DATABASE in RMAN."),
        (_GAP, CaptureError, "an archived log or a backup that is needed is missing", "run CROSSCHECK in RMAN, then a full backup."),
        (_FULL, CaptureError, "there is no room for logs or backup", "make room now: a full archive stops the database."),
        (_UNWRITTEN, CaptureError, "RMAN's folder cannot be written", "see that Oracle's own account may write there, and the room."),
        (_LOGIN, ApplicationAccessError, "Oracle refuses the account", None),
        (_RIGHTS, ApplicationAccessError, "the account lacks SYSBACKUP", "GRANT SYSBACKUP TO the account."),
        (_BUSY, ApplicationBusyError, "another backup is under way, or left files in backup mode", None),
        (_UNSUITABLE, ApplicationUnsuitableError, "the database's mode does not allow it", None),
        (_DOWN, ApplicationUnreachableError, "Oracle is not open for connections", None),
        (_LOST, ApplicationChangedError, "Oracle ended the session of the backup", None),
    )  # fmt: skip
    for group, kind, what, then in known:
        for code in found:
            if code in group:
                return kind(f"{what} ({code})", **({"next": then} if then else {}))
    if "DPY-4024" in found:
        return FreezeOverrunError("a statement to Oracle took longer than it may (DPY-4024)")
    if any(code.startswith("DPY-6") for code in found):
        return ApplicationUnreachableError(f"Oracle does not answer ({found[0]})")
    return CaptureError(f"Oracle refused a statement ({found[0] if found else 'without a number'})")


def driver(connection: Connection, seconds: float) -> Any:  # noqa: ANN401 - a DB-API connection
    """Connect by python-oracledb, thin: no client of Oracle is needed."""
    try:
        import oracledb
    except ImportError:
        raise DriverMissingError(
            "the driver for Oracle is not installed", next="install the extra: `pip install holdfast[oracle]`."
        ) from None
    return oracledb.connect(
        user=connection.user,
        password=password_of(connection),
        host=connection.host or "127.0.0.1",
        port=connection.port or PORT,
        service_name=connection.database,
        mode=oracledb.AUTH_MODE_SYSBKP,
        tcp_connect_timeout=seconds,
    )


class OracleSession:
    """One connection, made when it is first used and again after it was lost."""

    def __init__(self, connection: Connection, connect: Connect = driver) -> None:
        """Connect to nothing yet."""
        self._connection, self._connect = connection, connect
        self._held: Any = None

    def rows(self, statement: str, seconds: float = CALL_SECONDS) -> list[tuple[Any, ...]]:
        """Run a statement for at most `seconds`; return its rows. The errors are those of :func:`refusal`."""
        session = self._open()
        try:
            session.call_timeout = max(1, int(seconds * 1000))
            with contextlib.closing(session.cursor()) as cursor:
                cursor.execute(statement)
                return [tuple(row) for row in cursor.fetchall()] if cursor.description else []
        except Exception as error:  # noqa: BLE001 - the driver has a tree of its own
            found = refusal(str(error))
            if isinstance(found, ApplicationChangedError | FreezeOverrunError):
                self.close()
            raise found from None

    def number(self, statement: str) -> int:
        """Return the one number that a statement selects; 0 if it is null."""
        rows = self.rows(statement)
        return int(rows[0][0] or 0) if rows else 0

    def _open(self) -> Any:  # noqa: ANN401 - a DB-API connection
        if self._held is None:
            try:
                self._held = self._connect(self._connection, CONNECT_SECONDS)
            except HoldfastError:
                raise
            except Exception as error:  # noqa: BLE001 - as above
                found = refusal(str(error))
                if isinstance(found, ApplicationChangedError | CaptureError):
                    found = ApplicationUnreachableError("Oracle does not answer")
                raise found from None
        return self._held

    def close(self) -> None:
        """End it. Never raises."""
        held, self._held = self._held, None
        if held is not None:
            with contextlib.suppress(Exception):
                held.close()


def ended(session: OracleSession) -> bool:
    """End backup mode if a file is in it; return whether one was. Harmless on a database that is not in it."""
    if not session.number(ACTIVE):
        return False
    try:
        session.rows(END_BACKUP)
    except CaptureError as error:
        if NOT_IN_BACKUP not in error.what:
            raise
    return True


def end_command(connection: Connection) -> tuple[str, ...]:
    """Return the program that ends backup mode: it gets the reference to the password, never the password."""
    return (sys.executable, "-m", __name__, *arguments_of(connection))


def main(arguments: list[str], connect: Connect = driver) -> int:
    """End backup mode; return the exit code: 0 done or nothing to do, 1 not done, 64 wrong arguments."""
    try:
        connection = connection_of(arguments)
    except ValueError:
        return os.EX_USAGE
    session = OracleSession(connection, connect)
    try:
        ended(session)
    except HoldfastError:
        return 1
    finally:
        session.close()
    return 0


if __name__ == "__main__":  # pragma: no cover - a process of its own, begun by the watchdog
    sys.exit(main(sys.argv[1:]))
