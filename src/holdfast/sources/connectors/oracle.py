"""Oracle: RMAN to a folder, backup mode around a volume snapshot, or a storage snapshot without backup mode.

`mode`: `rman` (the default; level 0 and 1 only if `owns-chain = "yes"`, for they belong to one incremental chain), `hot`
(BEGIN BACKUP, volume snapshot, END BACKUP), `snapshot` (12c and later, Enterprise Edition: recovered with `SNAPSHOT TIME`).
No mode makes a commit wait. The hold of `hot` is the time in backup mode, in which nothing stands still but whole blocks go to the
redo log; backup mode outlives its session and would keep a crashed database from opening, so it is kept under the watchdog.

Source: Backup and Recovery User's Guide 19c and 26. Tried against a double only, never on the real product.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING

from holdfast.errors import (
    ApplicationAccessError,
    ApplicationBusyError,
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
from holdfast.sources.connectors.options import needed, options_of
from holdfast.sources.connectors.oracle_rman import LEVELS, backup_script, validate_script
from holdfast.sources.connectors.oracle_session import (
    ACTIVE,
    Connect,
    OracleSession,
    driver,
    end_command,
    ended,
    refusal,
)
from holdfast.sources.connectors.protocol import Capture, Conclusion, Connection, Facts, Found, ThawOrder, Verdict
from holdfast.sources.programs import NOT_FOUND, NOT_STARTED, Programs, SystemPrograms
from holdfast.sources.volumes.choose import VOLUME_OPTIONS, provider_of
from holdfast.sources.volumes.held import HeldVolumes

if TYPE_CHECKING:
    from holdfast.base.environment import Environment

__all__ = ["FACTORY", "OracleConnector", "OracleFactory"]

OPTIONS = {
    **VOLUME_OPTIONS,
    "mode": "rman",
    "level": "full",
    "owns-chain": "no",
    "program": "rman",
    "target": "/ AS SYSBACKUP",
    "rman-seconds": "21600",
    "paths": "",
}
MODES = ("hot", "rman", "snapshot")
OPTIMISED_VERSION = 12
FULL_PERCENT, FILLING_PERCENT = 97, 85
END_SECONDS = 30.0
INSTANCE = "SELECT version, status, archiver FROM v$instance"
DATABASE = "SELECT dbid, log_mode, database_role, open_mode, current_scn, resetlogs_change# FROM v$database"
RECOVERY_AREA = "SELECT space_limit, space_used, space_reclaimable FROM v$recovery_file_dest"
PRIVILEGES = "SELECT privilege FROM session_privs WHERE privilege IN ('SYSBACKUP', 'SYSDBA')"
RMAN_SESSIONS = "SELECT COUNT(*) FROM v$session WHERE program LIKE 'rman%'"
EDITION = "SELECT COUNT(*) FROM v$version WHERE banner LIKE '%Enterprise Edition%'"
SCN = "SELECT current_scn FROM v$database"
MOMENT = "SELECT TO_CHAR(SYSDATE, 'YYYY-MM-DD HH24:MI:SS') FROM dual"
ARCHIVED = "SELECT MAX(next_change#) FROM v$archived_log WHERE archived = 'YES' AND deleted = 'NO'"
_FORBIDDEN = frozenset("'\";\r\n")
"""What would end a literal of SQL or of RMAN."""
BEGIN_BACKUP = "ALTER DATABASE BEGIN BACKUP"
SWITCH = "ALTER SYSTEM ARCHIVE LOG CURRENT"


class OracleConnector:
    """One database."""

    kind = "oracle"

    def __init__(
        self,
        connection: Connection,
        options: dict[str, str],
        *,
        session: OracleSession,
        volumes: HeldVolumes | None,
        programs: Programs,
        end: tuple[str, ...],
    ) -> None:
        """Connect to nothing yet. `end` is the program that ends backup mode without this process."""
        self.name = connection.name
        self._mode = options["mode"]
        self.freezes = self._mode == "hot"
        self.unfrozen = Verdict.APPLICATION if self._mode == "rman" else Verdict.CRASH
        self._connection, self._options, self._session = connection, options, session
        self._volumes, self._programs, self._end = volumes, programs, end
        self._primary = True
        self._in_backup = self._early = False
        self._resetlogs = 0
        self._proofs: dict[str, str] = {}

    # ---- before

    def check(self) -> Facts:
        """Look at role, archiving, room, rights, and whether anybody else is at it."""
        privileges = {row[0] for row in self._session.rows(PRIVILEGES)}
        if not privileges:
            raise ApplicationAccessError(
                "the session has not the role SYSBACKUP", next="GRANT SYSBACKUP TO the account."
            )
        version, status, archiver = map(str, self._session.rows(INSTANCE)[0])
        dbid, log_mode, role, open_mode, scn, resetlogs = self._session.rows(DATABASE)[0]
        if log_mode != "ARCHIVELOG":
            raise ApplicationUnsuitableError(
                "the database does not archive its logs", next="ALTER DATABASE ARCHIVELOG, while it is mounted."
            )
        if archiver == "FAILED":
            raise ApplicationUnsuitableError(
                "Oracle cannot archive: the place of its archived logs is full or gone",
                next="make room there now: the database stops when its logs are full.",
            )
        self._primary = role == "PRIMARY"
        self._check_role(version, str(open_mode))
        self._check_nobody_else()
        notes = self._room()
        if "SYSDBA" in privileges:
            notes += ("the account has SYSDBA, which is more than a backup needs",)
        if not self._primary:
            notes += ("a standby: logs that it has not yet received are not in the backup",)
        if self._volumes is not None:
            try:
                self._volumes.prepare()
            except VolumeUnsuitableError as error:
                raise ApplicationUnsuitableError(error.what) from error
        self._resetlogs = int(resetlogs)
        self._proofs = {"dbid": str(dbid), "resetlogs-scn": str(resetlogs), "scn-before": str(scn)}
        return Facts(version, (("mode", self._mode), ("role", str(role)), ("status", status)), notes)

    def _check_role(self, version: str, open_mode: str) -> None:
        if self._mode == "rman":
            return
        if not self._primary or open_mode != "READ WRITE":
            raise ApplicationUnsuitableError(
                "only an open primary can be captured by a snapshot", next='for a standby set `mode = "rman"`.'
            )
        if self._mode == "snapshot":
            if int(version.partition(".")[0]) < OPTIMISED_VERSION:
                raise ApplicationUnsuitableError(
                    "a snapshot without backup mode needs Oracle 12c", next='set `mode = "hot"`.'
                )
            if not self._session.number(EDITION):
                raise ApplicationUnsuitableError(
                    "recovery from a snapshot without backup mode is licensed for the Enterprise Edition only",
                    next='set `mode = "hot"`.',
                )

    def _check_nobody_else(self) -> None:
        if self._session.number(ACTIVE):
            raise ApplicationBusyError(
                "data files are in backup mode already",
                next="if no backup is under way, one was lost: ALTER DATABASE END BACKUP.",
            )
        if self._mode == "rman" and self._session.number(RMAN_SESSIONS):
            raise ApplicationBusyError("RMAN is at work on this database already")

    def _room(self) -> tuple[str, ...]:
        """Return notes on the recovery area. `ApplicationUnsuitableError` if it is full."""
        for limit, used, reclaimable in self._session.rows(RECOVERY_AREA):
            percent = 100 * (int(used) - int(reclaimable)) // int(limit) if limit else 0
            if percent >= FULL_PERCENT:
                raise ApplicationUnsuitableError(
                    f"the recovery area is {percent} % full: archiving is about to stop",
                    next="make room in it now, or raise DB_RECOVERY_FILE_DEST_SIZE.",
                )
            if percent >= FILLING_PERCENT:
                return (f"the recovery area is {percent} % full",)
        return ()

    def thaw_orders(self) -> tuple[ThawOrder, ...]:
        """End backup mode by a process of its own: it does not end with a session."""
        return (ThawOrder("command", argv=self._end, timeout_seconds=END_SECONDS),) if self.freezes else ()

    # ---- backup mode

    def freeze(self, seconds: float) -> None:
        """Begin backup mode: it waits for a checkpoint, and nobody waits for it."""
        self._early = False
        if seconds <= 0:
            raise FreezeOverrunError("no time was left to begin backup mode")
        self._in_backup = True
        self._session.rows(BEGIN_BACKUP, seconds)

    def verify_frozen(self) -> None:
        """Data files are in backup mode."""
        if not self._session.number(ACTIVE):
            raise ApplicationChangedError("somebody else ended backup mode")

    def thaw(self) -> None:
        """End backup mode, by a new session if the one that began it is gone."""
        if not self._in_backup:
            return
        try:
            self._early |= not ended(self._session)
        except ApplicationChangedError:
            try:
                self._early |= not ended(self._session)
            except ApplicationError as error:
                raise StillFrozenError(f"backup mode could not be ended: {error.what}") from error
        except ApplicationError as error:
            raise StillFrozenError(f"backup mode could not be ended: {error.what}") from error
        self._in_backup = False

    def verify_thawed(self) -> None:
        """No data file is in backup mode, and it was we who ended it."""
        if self._session.number(ACTIVE):
            raise StillFrozenError(
                "data files are still in backup mode", next="ALTER DATABASE END BACKUP, before the database restarts."
            )
        if self._early:
            raise ApplicationChangedError("backup mode ended before the snapshot was complete")
        if self._volumes is not None:
            self._volumes.show()

    # ---- capture

    def capture(self, seconds: float) -> Capture:  # noqa: ARG002 - RMAN and the provider keep limits of their own
        """Have RMAN write its backup, or take the volume snapshot."""
        if self._volumes is None:
            self._rman(backup_script(self._connection.path, self._options["level"], primary=self._primary))
            return Capture(paths=(os.fsencode(self._connection.path),))
        try:
            paths = self._volumes.take()
            if not self._in_backup:
                self._volumes.show()
        except VolumeSnapshotError as error:
            raise CaptureError(error.what, next=error.next) from error
        if not self._in_backup:
            self._proofs["snapshot-time"] = str(self._session.rows(MOMENT)[0][0])
        return Capture(paths=paths)

    def _rman(self, script: str) -> None:
        """Run a script by RMAN. It logs in through the operating system or a wallet: it is given no password."""
        folder = tempfile.mkdtemp(prefix="holdfast-")
        try:
            place = os.path.join(folder, "script.rman")
            with open(place, "w", encoding="utf-8") as file:
                file.write(script)
            command = [self._options["program"], "TARGET", f'"{self._options["target"]}"', "CMDFILE", place]
            environ = {
                name: os.environ[name] for name in ("ORACLE_HOME", "ORACLE_SID", "TNS_ADMIN") if name in os.environ
            }
            done = self._programs.run(command, timeout=float(self._options["rman-seconds"]), environ=environ)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if done.code in {NOT_FOUND, NOT_STARTED}:
            raise DriverMissingError(
                "the program rman cannot be started",
                next="set `options.program` to the one of the database's own home.",
            )
        if done.timed_out:
            raise CaptureError("RMAN took longer than `rman-seconds` allows and was ended")
        if not done.ok or "RMAN-00569" in done.text:
            found = refusal(
                done.text.replace("RMAN-00569", "").replace("RMAN-00571", "") + done.err.decode(errors="replace")
            )
            raise found

    # ---- after

    def conclude(self) -> Conclusion:
        """See that it is the same database still; switch and keep the logs; have RMAN read what it wrote."""
        resetlogs = int(self._session.rows(DATABASE)[0][5])
        if resetlogs != self._resetlogs:
            raise ApplicationChangedError("the database was opened with RESETLOGS while it was being backed up")
        self._proofs["scn-end"] = str(self._session.number(SCN))
        if self._volumes is None:
            self._rman(validate_script())
            self._proofs |= {"scn-archived": str(self._session.number(ARCHIVED)), "validate": "ok"}
            return Conclusion(Verdict.APPLICATION, tuple(self._proofs.items()))
        self._session.rows(SWITCH)
        place = f"{self._connection.path.rstrip('/')}/holdfast-{self.name}"
        self._session.rows(f"ALTER DATABASE BACKUP CONTROLFILE TO '{place}.ctl' REUSE")
        self._session.rows(f"CREATE PFILE = '{place}.ora' FROM SPFILE")
        self._proofs["scn-archived"] = str(self._session.number(ARCHIVED))
        if int(self._proofs["scn-archived"]) < int(self._proofs["scn-end"]):
            raise CaptureError("Oracle did not archive the log that the copy needs")
        verdict = Verdict.APPLICATION if self.freezes else Verdict.CRASH
        proofs = (*self._proofs.items(), *self._volumes.proofs)
        return Conclusion(verdict, proofs, follow=(os.fsencode(self._connection.path),))

    def close(self) -> None:
        """End backup mode, the session, the snapshot."""
        with contextlib.suppress(ApplicationError):
            self.thaw()
        self._session.close()
        if self._volumes is not None:
            with contextlib.suppress(VolumeSnapshotError, OSError):
                self._volumes.release()

    def without_freeze(self) -> None:
        """There is none: RMAN wants a folder of its own."""
        return


class OracleFactory:
    """Makes connectors to Oracle databases.

    `path`: for `rman` the folder that it writes to; else the folder of the archived logs, which gets control file and parameters
    too. `paths` are the folders of the data files for `hot` and `snapshot`.
    """

    kind = "oracle"

    def __init__(
        self,
        connect: Connect = driver,
        programs: Programs | None = None,
        end: Callable[[Connection], tuple[str, ...]] = end_command,
    ) -> None:
        """`connect` makes a DB-API connection; `end` names the program that ends backup mode."""
        self._connect, self._programs, self._end = connect, programs, end

    def make(self, connection: Connection, env: Environment) -> OracleConnector:
        """Make one. `ConfigError` for a chain that is not ours."""
        needed(connection, "path", "database", "user")
        options = options_of(connection, OPTIONS)
        problems = []
        if options["mode"] not in MODES:
            problems.append(f"mode = one of {', '.join(MODES)}")
        if options["level"] not in LEVELS:
            problems.append(f"level = one of {', '.join(LEVELS)}")
        elif options["level"] != "full" and options["owns-chain"] != "yes":
            problems.append(
                'owns-chain = "yes" says that no other tool makes incremental backups: a level 1 builds on any level 0'
            )
        if not options["rman-seconds"].isdecimal() or not int(options["rman-seconds"]):
            problems.append("rman-seconds = whole seconds")
        if not options["target"].startswith(("/ ", "/@")) or _FORBIDDEN & set(options["target"]):
            problems.append("target = / AS SYSBACKUP, or /@ALIAS AS SYSBACKUP with a wallet: RMAN is given no password")
        if options["mode"] in {"hot", "snapshot"} and not options["paths"]:
            problems.append("paths = the folders of the data files")
        if _FORBIDDEN & set(connection.path + connection.name):
            problems.append("path without quotation marks and semicolons")
        if problems:
            raise ConfigError(f"the application {connection.name} has faults", problems=tuple(problems))
        programs = self._programs or SystemPrograms(env)
        volumes = None
        if options["mode"] != "rman":
            targets = tuple(map(os.fsencode, shlex.split(options["paths"])))
            provider = provider_of(options, targets, env=env, programs=programs)
            volumes = HeldVolumes(provider, targets, name=connection.name, env=env, programs=programs)
        session, end = OracleSession(connection, self._connect), self._end(connection)
        return OracleConnector(connection, options, session=session, volumes=volumes, programs=programs, end=end)

    def grants(self, connection: Connection) -> str:
        """Return the statements for the account, and what RMAN needs of the system."""
        account = (connection.user or "holdfast").upper()
        return (
            f'CREATE USER {account} IDENTIFIED BY "…";  -- C##{account} in the root of a container database\n'
            f"GRANT SYSBACKUP TO {account};  -- no SYSDBA, no SELECT ANY TABLE: it reads no row of a table\n"
            "-- for mode = rman, the system's account that runs the backup:  usermod -a -G backupdba,oinstall holdfast"
        )

    def discover(self, env: Environment) -> tuple[Found, ...]:  # noqa: ARG002 - discovery looks at all applications at once
        """See `holdfast.sources.discovery`."""
        return ()


FACTORY = OracleFactory()
