"""MariaDB (10.4.1 and newer), and MySQL as a logical stream.

How (`mode`): `snapshot` holds commits with the backup stages while a volume snapshot is made: the physical files at one
moment, with the binary log's position of that moment. `hold` does the same and captures nothing: a `volume` in the same group does.
`dump` is a logical stream without a freeze. `mariadb-backup` is the server's own tool as a stream; it holds commits by itself
for as long as it likes (1,056 ms were measured on 60 MB), beyond any budget, and must be asked for by `unsafe-stall`.

The stages: `START` and `FLUSH` disturb nobody, `BLOCK_DDL` stops DDL, `BLOCK_COMMIT` stops commits. A lock is waited for as
`max_statement_time` allows: the server's own `lock_wait_timeout` knows whole seconds only, and a waiting backup makes others
wait. The stages end with their session: the watchdog needs only to end the connection. `FLUSH TABLES WITH READ LOCK` is never used.

Source: MariaDB's documentation of `BACKUP STAGE` and `mariadb-dump`; the costs were measured on 10.11.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from typing import TYPE_CHECKING

from holdfast.errors import (
    ApplicationAccessError,
    ApplicationChangedError,
    ApplicationError,
    ApplicationUnsuitableError,
    CaptureError,
    ConfigError,
    DriverMissingError,
    FreezeOverrunError,
    StillFrozenError,
    VolumeSnapshotError,
    VolumeUnsuitableError,
)
from holdfast.sources.connectors.mariadb_session import BACKUP_NOT_STARTED, STAGE_HELD, ServerError, Session
from holdfast.sources.connectors.options import options_of, password_of
from holdfast.sources.connectors.protocol import (
    Beside,
    Capture,
    CapturedStream,
    Conclusion,
    Connection,
    Facts,
    Found,
    ThawOrder,
    Verdict,
)
from holdfast.sources.programs import Programs, SystemPrograms
from holdfast.sources.volumes.choose import VOLUME_OPTIONS, provider_of
from holdfast.sources.volumes.held import HeldVolumes

if TYPE_CHECKING:
    from holdfast.base.environment import Environment

__all__ = ["FACTORY", "MariaDbConnector", "MariaDbFactory"]

OPTIONS = {**VOLUME_OPTIONS, "mode": "snapshot", "databases": "", "unsafe-stall": "no"}
MODES = ("dump", "hold", "mariadb-backup", "snapshot")
STAGES = ("START", "FLUSH", "BLOCK_DDL", "BLOCK_COMMIT")
EXCLUDE = ("ibtmp1", "*.pid", "*.sock", "holdfast_binlog_info")
POSITION = "holdfast_binlog_info"
"""The binary log's position, beside the files: name, position and GTID between tabs, as MariaDB's own tools write it."""
SECONDS_MIN = 0.001
RIGHTS = {
    "snapshot": ("RELOAD", "PROCESS", "BINLOG MONITOR"),
    "hold": ("RELOAD", "PROCESS", "BINLOG MONITOR"),
    "mariadb-backup": ("RELOAD", "PROCESS", "LOCK TABLES", "BINLOG MONITOR"),
    "dump": ("SELECT", "RELOAD", "PROCESS", "SHOW VIEW", "TRIGGER", "EVENT", "LOCK TABLES", "BINLOG MONITOR"),
}
_PLAIN_ENGINES = "'InnoDB','SEQUENCE','PERFORMANCE_SCHEMA','MEMORY','BLACKHOLE','FEDERATED'"
_UNSAFE_TABLES = (
    "SELECT COUNT(*) FROM information_schema.tables WHERE table_type = 'BASE TABLE'"  # noqa: S608 - constants only
    f" AND engine NOT IN ({_PLAIN_ENGINES}) AND table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')"
)


class MariaDbConnector:
    """One server."""

    kind = "mariadb"

    def __init__(
        self, connection: Connection, env: Environment, *, mode: str, options: dict[str, str], programs: Programs
    ) -> None:
        """Connect to nothing yet."""
        self.name = connection.name
        self.freezes = mode in {"snapshot", "hold"}
        self.unfrozen = Verdict.CRASH if mode == "snapshot" else Verdict.NONE
        self._connection, self._env, self._mode, self._options = connection, env, mode, options
        self._programs = programs
        self._session: Session | None = None
        self._volumes: HeldVolumes | None = None
        self._data = b""
        self._outside: tuple[bytes, ...] = ()
        self._binlogs: bytes | None = None
        self._held = self._early = False
        self._position: tuple[str, str, str] = ("", "", "")
        self._started = 0.0
        self._non_transactional = 0
        self._secrets: str | None = None

    # ---- before

    def check(self) -> Facts:
        """See version, rights, role and settings; find the volume."""
        session = self._open()
        version = str(session.value("SELECT @@version"))
        maria = "MariaDB" in version
        if not maria and self._mode != "dump":
            raise ApplicationUnsuitableError(
                "this is no MariaDB server: it has no backup stages", next='set `mode = "dump"` for this application.'
            )
        self._check_rights(session, maria=maria)
        notes = self._notes(session)
        self._places(session)
        self._started = self._env.monotonic() - float(session.rows("SHOW GLOBAL STATUS LIKE 'Uptime'")[0][1])
        if self._mode == "snapshot":
            self._prepare_volumes()
        if self._mode in {"dump", "mariadb-backup"}:
            self._program()
        role = "replica" if session.value("SELECT @@read_only") else "primary"
        return Facts(
            version, (("mode", self._mode), ("role", role), ("binlog", str(bool(self._binlogs)).lower())), notes
        )

    def _open(self) -> Session:
        if self._session is None or self._session.closed:
            self._session = Session(self._connection)
        return self._session

    def _check_rights(self, session: Session, *, maria: bool) -> None:
        rows = session.rows(
            "SELECT privilege_type FROM information_schema.user_privileges WHERE REPLACE(grantee, '''', '') = CURRENT_USER()"
        )
        granted = {str(row[0]) for row in rows}
        needed = RIGHTS[self._mode] if maria else RIGHTS["dump"][:-1]
        missing = [right for right in needed if right not in granted and "SUPER" not in granted]
        if missing:
            raise ApplicationAccessError(
                f"the account lacks {', '.join(missing)}",
                next=f"as an administrator: GRANT {', '.join(missing)} ON *.* TO CURRENT_ACCOUNT; (`holdfast connectors grants`).",
                missing=tuple(missing),
            )

    def _notes(self, session: Session) -> tuple[str, ...]:
        notes = []
        if not session.value("SELECT @@log_bin"):
            notes.append(
                "the server writes no binary log: it comes back as of its backups only, to no moment between them"
            )
        if self._mode == "dump":
            self._non_transactional = int(session.value(_UNSAFE_TABLES) or 0)
            if self._non_transactional:
                notes.append(
                    f"{self._non_transactional} tables have no transactions: a dump catches them at no one moment"
                )
        if self._mode == "mariadb-backup":
            notes.append(
                "mariadb-backup holds commits by itself, beyond any budget: no freeze of it is measured or bounded"
            )
        return tuple(notes)

    def _places(self, session: Session) -> None:
        """Ask where data and binary log are."""
        row = session.rows(
            "SELECT @@datadir, @@log_bin_basename, @@innodb_log_group_home_dir, @@innodb_undo_directory"
        )[0]
        asked = os.fsencode(self._connection.path or str(row[0]))
        self._data = os.path.realpath(asked)
        places = [os.path.realpath(os.path.join(self._data, os.fsencode(str(place)))) for place in row[2:] if place]
        self._outside = tuple(sorted({place for place in places if not _inside(place, self._data)}))
        self._binlogs = os.path.dirname(os.path.realpath(os.fsencode(str(row[1])))) if row[1] else None

    def _prepare_volumes(self) -> None:
        if self._volumes is None:
            targets = (self._data, *self._outside)
            provider = provider_of(self._options, targets, env=self._env, programs=self._programs)
            self._volumes = HeldVolumes(provider, targets, name=self.name, env=self._env, programs=self._programs)
        try:
            self._volumes.prepare()
        except VolumeUnsuitableError as error:
            raise ApplicationUnsuitableError(error.what) from error

    def thaw_orders(self) -> tuple[ThawOrder, ...]:
        """End the connection: its stages end with it."""
        return (ThawOrder("shutdown", fd=self._open().fileno()),) if self.freezes else ()

    # ---- the freeze window

    def freeze(self, seconds: float) -> None:
        """Go through the stages, each within what is left."""
        session = self._open()
        end = self._env.monotonic() + seconds
        self._early = False
        for stage in STAGES:
            left = end - self._env.monotonic()
            if left < SECONDS_MIN:
                raise FreezeOverrunError(f"no time was left for the backup stage {stage}")
            session.rows(f"SET SESSION max_statement_time = {left:.3f}")
            self._held = True
            session.rows(f"BACKUP STAGE {stage}")
        # The engine's commit record is written lazily behind the binary log's: without this an acknowledged commit would be
        # only prepared on disk, and rolled back when the copy is settled.
        session.rows("FLUSH NO_WRITE_TO_BINLOG ENGINE LOGS")
        session.rows("SET SESSION max_statement_time = 0")

    def verify_frozen(self) -> None:
        """Ask for the stage again: the server refuses it because this session has it."""
        if not self._holds(self._open()):
            raise ApplicationChangedError("the backup stages had ended before the capture")

    def _holds(self, session: Session) -> bool:
        try:
            session.rows("BACKUP STAGE BLOCK_COMMIT")
        except ServerError as error:
            return error.number == STAGE_HELD
        return True

    def capture(self, seconds: float) -> Capture:  # noqa: ARG002 - the watchdog keeps the limit
        """Note the position and take the snapshot; or say what to stream."""
        session = self._open()
        if self._mode in {"dump", "mariadb-backup"}:
            return self._stream()
        self._position = self._asked_position(session)
        if self._volumes is None:
            return Capture(paths=self._log_paths(), moving=self._log_paths())
        try:
            paths = self._volumes.take()
            if not self._held:
                self._volumes.show()
        except VolumeSnapshotError as error:
            raise CaptureError(error.what, next=error.next) from error
        return Capture(paths=(*paths, *self._log_paths()), exclude=EXCLUDE, moving=self._log_paths())

    def _log_paths(self) -> tuple[bytes, ...]:
        """Return the folder of the binary log, if the data folder does not hold it: its files only grow."""
        if self._binlogs is None or (self._mode == "snapshot" and _inside(self._binlogs, self._data)):
            return ()
        return () if self._binlogs == self._data else (self._binlogs,)

    def _asked_position(self, session: Session) -> tuple[str, str, str]:
        rows = session.rows("SHOW MASTER STATUS")
        if not rows:
            return ("", "", "")
        return (str(rows[0][0]), str(rows[0][1]), str(session.value("SELECT @@gtid_binlog_pos") or ""))

    def thaw(self) -> None:
        """End the stages; where the session is gone, see that the server has let go of them."""
        if not self._held:
            return
        session = self._session
        try:
            if session is None or session.closed:
                raise ApplicationChangedError("the session of the backup is gone")
            session.rows("BACKUP STAGE END")
        except ServerError as error:
            self._early = error.number == BACKUP_NOT_STARTED
            session = self._gone(session) if error.number != BACKUP_NOT_STARTED else session
        except ApplicationError:
            self._early = True
            session = self._gone(session)
        self._held = False
        self._session = session

    def _gone(self, session: Session | None) -> Session:
        """End a session from another one, and prove that its locks are gone. `StillFrozenError`."""
        try:
            if session is not None:
                session.close()
            other = Session(self._connection)
            if session is not None:
                with contextlib.suppress(ServerError):
                    other.rows(f"KILL CONNECTION {session.id}")
            other.rows("SET SESSION max_statement_time = 5")
            other.rows("BACKUP STAGE START")
            other.rows("BACKUP STAGE END")
            other.rows("SET SESSION max_statement_time = 0")
        except ApplicationError as error:
            raise StillFrozenError("whether the server lets writers commit again could not be established") from error
        return other

    def verify_thawed(self) -> None:
        """See that no stage is held; only now is the snapshot shown."""
        session = self._open()
        if self._holds(session):
            raise StillFrozenError("the backup stages are still held")
        if self._early:
            raise ApplicationChangedError("the backup stages ended before the capture did")
        if self._volumes is not None and self._volumes.snapshot is not None:
            self._volumes.show()

    # ---- streams

    def _program(self) -> str:
        names = ("mariadb-dump", "mysqldump") if self._mode == "dump" else ("mariadb-backup", "mariabackup")
        for name in names:
            found = shutil.which(name)
            if found is not None:
                return found
        raise DriverMissingError(
            f"the program {names[0]} is not installed", next=f"install the package that has {names[0]}."
        )

    def _stream(self) -> Capture:
        file = f"--defaults-extra-file={self._secret_file()}"
        if self._mode == "dump":
            names = self._options["databases"].split()
            which = ["--databases", *names] if names else ["--all-databases"]
            source = ["--master-data=2"] if self._binlogs else []
            flags = [
                "--single-transaction",
                "--quick",
                "--routines",
                "--events",
                "--triggers",
                "--hex-blob",
                "--skip-dump-date",
            ]
            command = (self._program(), file, *flags, *source, *which)
            return Capture(streams=(CapturedStream(f"{self.name}/dump.sql", command),))
        command = (self._program(), file, "--backup", "--stream=mbstream", f"--datadir={os.fsdecode(self._data)}")
        return Capture(streams=(CapturedStream(f"{self.name}/backup.mbstream", command),))

    def _secret_file(self) -> str:
        """Write the account to a file that only this user can read; `close` removes it."""
        if self._secrets is None:
            self._secrets = tempfile.mkdtemp(prefix="holdfast-mariadb-")
            place = (
                f"socket={self._connection.host}"
                if self._connection.host.startswith("/")
                else f"host={self._connection.host or '127.0.0.1'}\nport={self._connection.port or 3306}\nprotocol=tcp"
            )
            secret = password_of(self._connection).replace("\\", "\\\\").replace('"', '\\"')
            text = f'[client]\nuser="{self._connection.user}"\npassword="{secret}"\n{place}\n'
            path = os.path.join(self._secrets, "client.cnf")
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)
        return os.path.join(self._secrets, "client.cnf")

    # ---- after

    def conclude(self) -> Conclusion:
        """See that the server was not restarted under a stream, and that the snapshot has what the server starts from."""
        if self._mode in {"dump", "mariadb-backup"}:
            return self._concluded_stream()
        missing = self._missing()
        if missing:
            raise CaptureError(f"{missing} of the files that the server starts from are not in the volume snapshot")
        names = ("binlog-file", "binlog-position", "gtid")
        proofs = [(name, value) for name, value in zip(names, self._position, strict=True) if value]
        content = "\t".join(self._position).encode() + b"\n"
        place = os.path.join(self._data, POSITION.encode()).lstrip(b"/")
        beside = (Beside(place, content),) if self._position[0] else ()
        shown = self._volumes.proofs if self._volumes is not None else (("captured-by", "the group's volume"),)
        return Conclusion(Verdict.APPLICATION, (*proofs, *shown), beside)

    def _missing(self) -> int:
        if self._volumes is None or self._volumes.snapshot is None:
            return 0
        shown = self._volumes.shown()[0]
        return sum(not os.path.lexists(os.path.join(shown, name)) for name in (b"ibdata1", b"mysql"))

    def _concluded_stream(self) -> Conclusion:
        session = Session(self._connection)
        try:
            uptime = float(session.rows("SHOW GLOBAL STATUS LIKE 'Uptime'")[0][1])
            position = self._asked_position(session)
        finally:
            session.close()
        if self._env.monotonic() - uptime > self._started + 5:
            raise ApplicationChangedError("the server was restarted while it was being dumped")
        verdict = Verdict.NONE if self._mode == "dump" and self._non_transactional else Verdict.APPLICATION
        return Conclusion(verdict, (("mode", self._mode), ("binlog-position-after", ":".join(position[:2]))))

    def close(self) -> None:
        """Let go of everything."""
        with contextlib.suppress(ApplicationError):
            self.thaw()
        if self._session is not None:
            self._session.close()
        if self._volumes is not None:
            with contextlib.suppress(VolumeSnapshotError, OSError):
                self._volumes.release()
        if self._secrets is not None:
            shutil.rmtree(self._secrets, ignore_errors=True)
            self._secrets = None

    def without_freeze(self) -> MariaDbConnector | None:
        """A dump."""
        if not self.freezes:
            return None
        return MariaDbConnector(
            self._connection, self._env, mode="dump", options=self._options, programs=self._programs
        )


def _inside(path: bytes, place: bytes) -> bool:
    return (path.rstrip(b"/") + b"/").startswith(place.rstrip(b"/") + b"/")


class MariaDbFactory:
    """Makes connectors to MariaDB and MySQL servers."""

    kind = "mariadb"

    def __init__(self, programs: Programs | None = None) -> None:
        """Use the programs of the machine, or doubles."""
        self._programs = programs

    def make(self, connection: Connection, env: Environment) -> MariaDbConnector:
        """Make one."""
        options = options_of(connection, OPTIONS)
        if options["mode"] not in MODES:
            known = f"mode = one of {', '.join(MODES)}"
            raise ConfigError(f"the application {connection.name} has an unknown mode", problems=(known,))
        if options["mode"] == "mariadb-backup" and options["unsafe-stall"] != "accepted":
            raise ConfigError(
                "mariadb-backup holds commits for longer than any budget allows",
                problems=('unsafe-stall = "accepted" says that this is known; `mode = "snapshot"` keeps the budget',),
            )
        return MariaDbConnector(
            connection, env, mode=options["mode"], options=options, programs=self._programs or SystemPrograms(env)
        )

    def grants(self, connection: Connection) -> str:
        """Return the statements for the account."""
        mode = connection.options.get("mode", "snapshot")
        account = f"'{connection.user or 'holdfast'}'@'localhost'"
        return (
            f"CREATE USER IF NOT EXISTS {account} IDENTIFIED BY '…';\n"
            f"GRANT {', '.join(RIGHTS.get(mode, RIGHTS['snapshot']))} ON *.* TO {account};"
        )

    def discover(self, env: Environment) -> tuple[Found, ...]:  # noqa: ARG002 - discovery looks at all applications at once
        """See `holdfast.sources.discovery`."""
        return ()


FACTORY = MariaDbFactory()
