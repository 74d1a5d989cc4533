"""SQL Server over the wire: `BACKUP` to a folder that both sides see, or the snapshot suspend of 2022 around a volume snapshot.

`mode`: `full` (with `COPY_ONLY`, unless the chain is ours), `differential` and `log` (only if `owns-chain = "yes"`: they break the
chain of any other tool), `snapshot`. Always `CHECKSUM`; every result set is drained, for a `BACKUP` whose messages are not read is
cancelled; never in a transaction. Suspending, snapshot and `METADATA_ONLY` backup happen in one session: if it ends, the
databases thaw at once and the snapshot is void. `VERIFYONLY` proves readability, not structure: a drill runs `DBCC CHECKDB`.

Source: backup-transact-sql.md and create-a-transact-sql-snapshot-backup.md. Tried against a double only, never on the real product.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from holdfast.errors import (
    ApplicationAccessError,
    ApplicationBusyError,
    ApplicationChangedError,
    ApplicationError,
    ApplicationUnreachableError,
    ApplicationUnsuitableError,
    CaptureError,
    ConfigError,
    DriverMissingError,
    FreezeOverrunError,
    StillFrozenError,
    VolumeSnapshotError,
)
from holdfast.sources.connectors.options import needed, options_of, password_of
from holdfast.sources.connectors.protocol import Capture, Conclusion, Connection, Facts, Found, ThawOrder, Verdict
from holdfast.sources.programs import SystemPrograms
from holdfast.sources.volumes.choose import VOLUME_OPTIONS, provider_of
from holdfast.sources.volumes.held import HeldVolumes

if TYPE_CHECKING:
    from holdfast.base.environment import Environment

__all__ = ["FACTORY", "SqlServerConnector", "SqlServerFactory", "quoted", "restore_statements", "text"]

OPTIONS = {**VOLUME_OPTIONS, "mode": "full", "owns-chain": "no", "server-folder": ""}
MODES = ("differential", "full", "log", "snapshot")
SNAPSHOT_VERSION = 16
"""SQL Server 2022."""
SETS_MAX = 10_000
Connect = Callable[[Connection], Any]


def quoted(name: str) -> str:
    """Return an identifier as T-SQL takes it whatever is in it."""
    return f"[{name.replace(']', ']]')}]"


def text(value: str) -> str:
    """Return a literal as T-SQL takes it."""
    return "N'{}'".format(value.replace("'", "''"))


def restore_statements(
    database: str, full: str, *, differential: str = "", logs: Sequence[str] = (), stop_at: str = ""
) -> tuple[str, ...]:
    """Return the statements that bring a database back, to `stop_at` (`YYYY-MM-DDThh:mm:ss.fff`, server's zone) where given."""
    name = quoted(database)
    found = [f"RESTORE DATABASE {name} FROM DISK = {text(full)} WITH CHECKSUM, NORECOVERY, STATS = 5"]
    if differential:
        found.append(f"RESTORE DATABASE {name} FROM DISK = {text(differential)} WITH CHECKSUM, NORECOVERY, STATS = 5")
    stop = f", STOPAT = {text(stop_at)}" if stop_at else ""
    found += [f"RESTORE LOG {name} FROM DISK = {text(log)} WITH CHECKSUM, NORECOVERY{stop}" for log in logs]
    return (*found, f"RESTORE DATABASE {name} WITH RECOVERY", f"DBCC CHECKDB ({name}) WITH NO_INFOMSGS, PHYSICAL_ONLY")


def _driver(connection: Connection) -> Any:  # noqa: ANN401 - a DB-API connection
    try:
        import pymssql
    except ImportError:
        raise DriverMissingError(
            "the driver for SQL Server is not installed", next="install the extra: `pip install holdfast[sqlserver]`."
        ) from None
    return pymssql.connect(
        server=connection.host or "127.0.0.1",
        port=str(connection.port or 1433),
        user=connection.user,
        password=password_of(connection),
        autocommit=True,
        login_timeout=15,
        timeout=3600,
    )


class SqlServerConnector:
    """One database."""

    kind = "sqlserver"

    def __init__(
        self, connection: Connection, options: dict[str, str], volumes: HeldVolumes | None, connect: Connect
    ) -> None:
        """Connect to nothing yet."""
        self.name = connection.name
        self.freezes = options["mode"] == "snapshot"
        self.unfrozen = Verdict.CRASH if self.freezes else Verdict.APPLICATION
        self._connection, self._options, self._volumes, self._connect = connection, options, volumes, connect
        self._session: Any = None
        self._fd = -1
        self._suspended = self._early = False
        self._file = f"{connection.name}.{'bkm' if self.freezes else options['mode']}.bak"

    # ---- the session

    def _open(self) -> Any:  # noqa: ANN401 - a DB-API connection
        if self._session is None:
            before = _sockets()
            try:
                self._session = self._connect(self._connection)
            except ApplicationError:
                raise
            except Exception as error:  # noqa: BLE001 - each driver has a tree of its own
                if _number(error) in {18456, 4060, 18452}:
                    raise ApplicationAccessError("SQL Server refuses the account: a wrong name or password") from None
                raise ApplicationUnreachableError("SQL Server does not answer") from None
            self._fd = max(_sockets() - before, default=-1)
        return self._session

    def _rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement and read everything that it says."""
        session = self._open()
        rows: list[tuple[Any, ...]] = []
        try:
            cursor = session.cursor()
            cursor.execute(statement)
            for _ in range(SETS_MAX):
                if cursor.description:
                    rows += [tuple(row) for row in cursor.fetchall()]
                if not cursor.nextset():
                    break
            cursor.close()
        except Exception as error:  # noqa: BLE001 - as above
            raise self._translated(_number(error)) from None
        return rows

    def _translated(self, number: int) -> ApplicationError:
        if number in {229, 262, 297, 300, 916, 3702, 15247}:
            return ApplicationAccessError(
                f"the account lacks a right (error {number})",
                next="`holdfast connectors grants NAME` prints the statements.",
            )
        if number in {3023, 3041, 3013, 3049}:
            return ApplicationBusyError(f"another backup or a change of files is under way (error {number})")
        if number in {0, 10054, 20004, 20006, 233}:
            self._drop()
            return ApplicationChangedError("SQL Server ended the session of the backup")
        return CaptureError(f"SQL Server refused a statement (error {number})")

    def _drop(self) -> None:
        session, self._session, self._fd = self._session, None, -1
        if session is not None:
            with contextlib.suppress(Exception):
                session.close()

    # ---- the protocol

    @property
    def _name(self) -> str:
        return quoted(self._connection.database)

    def check(self) -> Facts:
        """Look at version, state, recovery model and rights."""
        rows = self._rows(
            "SELECT CAST(SERVERPROPERTY('ProductVersion') AS NVARCHAR(64)), d.state_desc, d.recovery_model_desc,"  # noqa: S608 - quoted
            " IS_ROLEMEMBER('db_backupoperator'), IS_SRVROLEMEMBER('sysadmin')"
            f" FROM sys.databases AS d WHERE d.name = {text(self._connection.database)}"
        )
        if not rows:
            raise ApplicationUnsuitableError("SQL Server has no such database, or does not show it to the account")
        version, state, model, operator, admin = rows[0]
        if state != "ONLINE":
            raise ApplicationUnsuitableError("the database is not online")
        if not operator and not admin:
            raise ApplicationAccessError(
                "the account is no backup operator",
                next="ALTER ROLE db_backupoperator ADD MEMBER [account]; in the database.",
            )
        if self._options["mode"] == "log" and model == "SIMPLE":
            raise ApplicationUnsuitableError("the database keeps no log: its recovery model is SIMPLE")
        if self.freezes:
            if int(str(version).partition(".")[0]) < SNAPSHOT_VERSION:
                raise ApplicationUnsuitableError(
                    "suspending for a snapshot needs SQL Server 2022", next='set `mode = "full"`.'
                )
            if self._is_suspended():
                raise ApplicationBusyError("the database is suspended already: somebody else froze it")
        if self._volumes is not None:
            self._volumes.prepare()
        return Facts(str(version), (("recovery", str(model)), ("mode", self._options["mode"])))

    def _is_suspended(self) -> bool:
        rows = self._rows(
            f"SELECT DATABASEPROPERTYEX({text(self._connection.database)}, 'IsDatabaseSuspendedForSnapshotBackup')"
        )
        return bool(rows and rows[0][0])

    def thaw_orders(self) -> tuple[ThawOrder, ...]:
        """End the session: the database thaws with it."""
        self._open()
        return (ThawOrder("shutdown", fd=self._fd),) if self.freezes and self._fd >= 0 else ()

    def freeze(self, seconds: float) -> None:
        """Suspend; COPY_ONLY, or the differential bitmap would be cleared even by an attempt that fails."""
        if seconds <= 0:
            raise FreezeOverrunError("no time was left to suspend the database")
        self._early, self._suspended = False, True
        self._rows(f"SET LOCK_TIMEOUT {max(1, int(seconds * 1000))}")
        self._rows(f"ALTER DATABASE {self._name} SET SUSPEND_FOR_SNAPSHOT_BACKUP = ON (MODE = COPY_ONLY)")

    def verify_frozen(self) -> None:
        """Ask from the same session."""
        if not self._is_suspended():
            raise ApplicationChangedError("the database is not suspended any more")

    def capture(self, seconds: float) -> Capture:  # noqa: ARG002 - the driver's time-out and the watchdog keep the limits
        """Write the backup, or take the snapshot and write its metadata, which thaws."""
        here = os.path.join(self._connection.path, self._file)
        there = f"{self._options['server-folder'] or self._connection.path}/{self._file}"
        if self._volumes is None:
            self._rows(self._statement(there))
            return Capture(paths=(os.fsencode(here),))
        try:
            paths = self._volumes.take()
        except VolumeSnapshotError as error:
            raise CaptureError(error.what, next=error.next) from error
        if self._suspended:
            self.verify_frozen()
            self._rows(f"BACKUP DATABASE {self._name} TO DISK = {text(there)} WITH METADATA_ONLY, COPY_ONLY, FORMAT")
            self._suspended = False
        else:
            self._volumes.show()
        return Capture(paths=(*paths, os.fsencode(here)))

    def _statement(self, place: str) -> str:
        mode, ours = self._options["mode"], self._options["owns-chain"] == "yes"
        what = "LOG" if mode == "log" else "DATABASE"
        words = ["CHECKSUM", "FORMAT", "NO_COMPRESSION", "STATS = 5", f"NAME = {text('holdfast')}"]
        if mode == "differential":
            words.insert(0, "DIFFERENTIAL")
        elif not ours:
            words.insert(0, "COPY_ONLY")
        return f"BACKUP {what} {self._name} TO DISK = {text(place)} WITH {', '.join(words)}"

    def thaw(self) -> None:
        """Resume. If the session is gone, the database thawed with it, and the snapshot is void."""
        if not self._suspended:
            return
        try:
            if self._session is None:
                raise ApplicationChangedError("the session of the backup is gone")
            self._rows(f"ALTER DATABASE {self._name} SET SUSPEND_FOR_SNAPSHOT_BACKUP = OFF")
        except ApplicationError:
            self._early = True
            self._drop()
        self._suspended = False

    def verify_thawed(self) -> None:
        """Ask again, from whatever session there is."""
        if self._is_suspended():
            raise StillFrozenError("the database is still suspended")
        if self._early:
            raise ApplicationChangedError("the database thawed before the snapshot was complete: its session ended")
        if self._volumes is not None:
            self._volumes.show()

    def conclude(self) -> Conclusion:
        """Have the server verify what it wrote."""
        there = f"{self._options['server-folder'] or self._connection.path}/{self._file}"
        if self._volumes is None:
            self._rows(f"RESTORE VERIFYONLY FROM DISK = {text(there)} WITH CHECKSUM")
        rows = self._rows(
            "SELECT TOP 1 first_lsn, last_lsn, database_backup_lsn, is_copy_only FROM msdb.dbo.backupset"  # noqa: S608 - quoted
            f" WHERE database_name = {text(self._connection.database)} ORDER BY backup_set_id DESC"
        )
        names = ("first-lsn", "last-lsn", "database-backup-lsn", "copy-only")
        proofs = tuple((name, str(value)) for name, value in zip(names, rows[0] if rows else (), strict=False))
        verified = ("verify-only", "no" if self._volumes else "ok")
        shown = self._volumes.proofs if self._volumes else ()
        return Conclusion(Verdict.APPLICATION, (*proofs, verified, *shown))

    def close(self) -> None:
        """Resume what is suspended, end the session, let go of the snapshot."""
        with contextlib.suppress(ApplicationError):
            self.thaw()
        self._drop()
        if self._volumes is not None:
            with contextlib.suppress(VolumeSnapshotError, OSError):
                self._volumes.release()

    def without_freeze(self) -> SqlServerConnector | None:
        """A full copy-only backup."""
        if not self.freezes:
            return None
        return SqlServerConnector(self._connection, {**self._options, "mode": "full"}, None, self._connect)


def _number(error: BaseException) -> int:
    """Return the server's number of a driver's error; 0 for a lost connection."""
    found = error.args[0] if error.args else 0
    if isinstance(found, tuple) and found:
        found = found[0]
    return found if isinstance(found, int) else 0


def _sockets() -> set[int]:
    """Return the descriptors of this process that are sockets: the driver does not tell which is its own."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                found.add(int(name))
    return found


class SqlServerFactory:
    """Makes connectors to SQL Server databases; `path` is the folder where backups appear on this host."""

    kind = "sqlserver"

    def __init__(self, connect: Connect = _driver) -> None:
        """`connect` makes a DB-API connection in autocommit mode."""
        self._connect = connect

    def make(self, connection: Connection, env: Environment) -> SqlServerConnector:
        """Make one. `ConfigError` for a chain that is not ours."""
        needed(connection, "path", "database")
        options = options_of(connection, OPTIONS)
        problems = []
        if options["mode"] not in MODES:
            problems.append(f"mode = one of {', '.join(MODES)}")
        if options["mode"] in {"differential", "log"} and options["owns-chain"] != "yes":
            problems.append(
                'owns-chain = "yes" says that no other tool makes backups of this database: they would break each other'
            )
        if problems:
            raise ConfigError(f"the application {connection.name} has faults", problems=tuple(problems))
        volumes = None
        if options["mode"] == "snapshot":
            targets, programs = (os.fsencode(connection.path),), SystemPrograms(env)
            provider = provider_of(options, targets, env=env, programs=programs)
            volumes = HeldVolumes(provider, targets, name=connection.name, env=env, programs=programs)
        return SqlServerConnector(connection, options, volumes, self._connect)

    def grants(self, connection: Connection) -> str:
        """Return the statements for the account, and what the server's own account needs."""
        account = quoted(connection.user or "holdfast")
        return (
            f"CREATE LOGIN {account} WITH PASSWORD = N'…';\nUSE {quoted(connection.database or 'DATABASE')};\n"
            f"CREATE USER {account} FOR LOGIN {account};\nALTER ROLE db_backupoperator ADD MEMBER {account};\n"
            "USE master;\nGRANT VIEW SERVER STATE TO "
            + account
            + ";  -- and, for VERIFYONLY: GRANT CREATE ANY DATABASE\n"
            "-- the account of the service itself needs to write to the folder"
        )

    def discover(self, env: Environment) -> tuple[Found, ...]:  # noqa: ARG002 - discovery looks at all applications at once
        """See `holdfast.sources.discovery`."""
        return ()


FACTORY = SqlServerFactory()
