"""MongoDB: fsyncLock around a volume snapshot, a volume snapshot without a lock, or `mongodump --oplog` as a stream.

`mode`: `dump` (the default), `lock`, `snapshot`. A lock stops every write of the server, so it is for a hidden secondary; the
primary is refused unless `primary = "allowed"`, a sharded cluster always: its shards would be of different moments. The lock
is counted: one that somebody else holds is found before, and never taken back. `snapshot` needs data and journal on one volume.

Source: MongoDB Manual 8 (fsync, fsyncUnlock, hello) and Database Tools. Tried against a double only, never on the real product.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from holdfast.errors import (
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
    VolumeUnsuitableError,
)
from holdfast.sources.connectors.mongodb_session import PORT, Connect, MongoSession, driver, unlock_command, unlocked
from holdfast.sources.connectors.options import needed, options_of, password_of
from holdfast.sources.connectors.protocol import (
    Capture,
    CapturedStream,
    Conclusion,
    Connection,
    Facts,
    Found,
    ThawOrder,
    Verdict,
)
from holdfast.sources.programs import SystemPrograms
from holdfast.sources.volumes.choose import VOLUME_OPTIONS, provider_of
from holdfast.sources.volumes.held import HeldVolumes

if TYPE_CHECKING:
    from holdfast.base.environment import Environment
    from holdfast.sources.programs import Programs

__all__ = ["FACTORY", "MongoConnector", "MongoFactory"]

OPTIONS = {**VOLUME_OPTIONS, "mode": "dump", "primary": "refused", "program": "mongodump"}
MODES = ("dump", "lock", "snapshot")
OLDEST = (4, 4)
"""The first version whose answer to `hello` names the server's process: a restart in between is seen."""
LOCK_TIMEOUT = (7, 1)
"""The first version that takes a time limit for acquiring the lock."""
UNLOCK_SECONDS = 40.0


class MongoConnector:
    """One server."""

    kind = "mongodb"

    def __init__(
        self,
        connection: Connection,
        options: dict[str, str],
        *,
        session: MongoSession,
        volumes: HeldVolumes | None,
        unlock: tuple[str, ...],
    ) -> None:
        """Connect to nothing yet. `unlock` is the program that takes back the lock without this process."""
        self.name = connection.name
        self._mode = options["mode"]
        self.freezes = self._mode == "lock"
        self.unfrozen = Verdict.APPLICATION if self._mode == "dump" else Verdict.CRASH
        self._connection, self._options = connection, options
        self._session, self._volumes, self._unlock = session, volumes, unlock
        self._version: tuple[int, ...] = ()
        self._process = ""
        self._member = False
        self._locked = self._early = False
        self._position = ""
        self._secrets: str | None = None

    # ---- before

    def check(self) -> Facts:
        """Look at version, topology, role, rights and locks."""
        hello = self._session.run({"hello": 1})
        if hello.get("msg") == "isdbgrid" or self._shard():
            raise ApplicationUnsuitableError(
                "a sharded cluster cannot be captured one server at a time", next="use the cluster's own backup."
            )
        version = str(self._session.run({"buildInfo": 1})["version"])
        self._version = tuple(int(part) for part in version.partition("-")[0].split(".")[:2])
        if self._version < OLDEST:
            raise ApplicationUnsuitableError("MongoDB 4.4 or later is needed")
        role, notes = self._role(hello)
        if self._session.locked:
            raise ApplicationBusyError("the server is locked already: somebody else froze it")
        if self._mode == "dump":
            self._program()
        if self._volumes is not None:
            try:
                self._volumes.prepare()
            except VolumeUnsuitableError as error:
                raise ApplicationUnsuitableError(error.what) from error
        self._process = _process_of(hello)
        return Facts(version, (("role", role), ("mode", self._mode)), notes)

    def _shard(self) -> bool:
        try:
            return bool(self._session.run({"shardingState": 1}).get("enabled"))
        except ApplicationUnsuitableError:  # a server that stands alone does not know the command
            return False

    def _role(self, hello: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        self._member = "setName" in hello
        writable = bool(hello.get("isWritablePrimary"))
        if not writable and not hello.get("secondary"):
            raise ApplicationUnsuitableError("the server is neither primary nor secondary: it recovers, or has no set")
        if writable and self._options["primary"] != "allowed":
            raise ApplicationUnsuitableError(
                "the server is the primary, or stands alone: a backup of it presses on the application",
                next='configure a hidden secondary, or set `primary = "allowed"`.',
            )
        if writable:
            alone = (
                () if self._member else ("a server without a set has no oplog: a dump of it is of different moments",)
            )
            return ("primary" if self._member else "alone"), alone
        if hello.get("hidden"):
            return "hidden secondary", ()
        return "secondary", ("the secondary is not hidden: those who read from it wait while it is locked",)

    def _program(self) -> str:
        found = shutil.which(self._options["program"])
        if found is None:
            raise DriverMissingError("the program mongodump is not installed", next="install MongoDB's Database Tools.")
        return found

    def thaw_orders(self) -> tuple[ThawOrder, ...]:
        """Take back the lock by a process of its own: it does not end with a connection."""
        return (ThawOrder("command", argv=self._unlock, timeout_seconds=UNLOCK_SECONDS),) if self.freezes else ()

    # ---- the lock

    def freeze(self, seconds: float) -> None:
        """Write everything out and lock."""
        self._early = False
        if seconds <= 0:
            raise FreezeOverrunError("no time was left to lock MongoDB")
        command: dict[str, Any] = {"fsync": 1, "lock": True}
        if self._version >= LOCK_TIMEOUT:
            command["fsyncLockAcquisitionTimeoutMillis"] = max(1, int(seconds * 1000))
        self._locked = True
        count = int(self._session.run(command, seconds)["lockCount"])
        if count != 1:
            raise ApplicationBusyError("somebody else locked the server at the same time")

    def verify_frozen(self) -> None:
        """The server says that it is locked."""
        if not self._session.locked:
            raise ApplicationChangedError("somebody else took back the lock")

    def thaw(self) -> None:
        """Take back our lock, and no other."""
        if not self._locked:
            return
        try:
            self._early |= unlocked(self._session) < 0
        except (ApplicationUnreachableError, FreezeOverrunError):
            try:
                self._early |= unlocked(self._session) < 0
            except ApplicationError as error:
                raise StillFrozenError(f"MongoDB could not be unlocked: {error.what}") from error
        except ApplicationError as error:
            raise StillFrozenError(f"MongoDB could not be unlocked: {error.what}") from error
        self._locked = False

    def verify_thawed(self) -> None:
        """It is not locked, and it was we who unlocked it."""
        if self._session.locked:
            raise StillFrozenError(
                "MongoDB is still locked", next="db.fsyncUnlock() until lockCount is 0, then look who else locks it."
            )
        if self._early:
            raise ApplicationChangedError("the lock was gone before the snapshot was complete, or the server restarted")
        if self._volumes is not None:
            self._volumes.show()

    # ---- capture

    def capture(self, seconds: float) -> Capture:  # noqa: ARG002 - the provider and the run keep limits of their own
        """Take the volume snapshot, or name the stream."""
        self._position = self._oplog(self._session.run({"hello": 1}))
        if self._volumes is None:
            return Capture(streams=(CapturedStream(f"{self.name}/dump.mongodump", self._dump()),))
        try:
            paths = self._volumes.take()
            if not self._locked:
                self._volumes.show()
        except VolumeSnapshotError as error:
            raise CaptureError(error.what, next=error.next) from error
        return Capture(paths=paths)

    def _oplog(self, hello: Mapping[str, Any]) -> str:
        """Return the position in the oplog as `seconds.number.term`; empty for a server without one."""
        place = hello.get("lastWrite", {}).get("opTime") if self._member else None
        return f"{place['ts'].time}.{place['ts'].inc}.{place['t']}" if place else ""

    def _dump(self) -> tuple[str, ...]:
        row = self._connection
        account: tuple[str, ...] = ()
        if row.user:
            account = (f"--username={row.user}", f"--authenticationDatabase={row.database or 'admin'}", self._config())
        oplog = ("--oplog",) if self._member else ()
        address = (f"--host={row.host or '127.0.0.1'}", f"--port={row.port or PORT}")
        return (self._program(), "--quiet", "--archive", *oplog, *address, *account)

    def _config(self) -> str:
        """Write the password where only this account can read it, until `close`; return the option that names the file."""
        if self._secrets is None:
            self._secrets = tempfile.mkdtemp(prefix="holdfast-")
        place = os.path.join(self._secrets, "mongodump.yaml")
        with open(place, "w", opener=lambda path, flags: os.open(path, flags, 0o600), encoding="utf-8") as file:
            file.write(f"password: {json.dumps(password_of(self._connection))}\n")
        return f"--config={place}"

    # ---- after

    def conclude(self) -> Conclusion:
        """See that it is the same process in the same role still."""
        hello = self._session.run({"hello": 1})
        if _process_of(hello) != self._process:
            raise ApplicationChangedError("MongoDB was restarted or changed its role while it was being backed up")
        positions = (("oplog", self._position), ("oplog-after", self._oplog(hello)))
        proofs = (("mode", self._mode), *((name, value) for name, value in positions if value))
        if self._volumes is None:
            return Conclusion(Verdict.APPLICATION if self._member else Verdict.NONE, proofs)
        verdict = Verdict.APPLICATION if self.freezes else Verdict.CRASH
        return Conclusion(verdict, (*proofs, *self._volumes.proofs))

    def close(self) -> None:
        """Take back the lock; let go of everything."""
        with contextlib.suppress(ApplicationError):
            self.thaw()
        self._session.close()
        if self._volumes is not None:
            with contextlib.suppress(VolumeSnapshotError, OSError):
                self._volumes.release()
        if self._secrets is not None:
            shutil.rmtree(self._secrets, ignore_errors=True)
            self._secrets = None

    def without_freeze(self) -> None:
        """There is none: a snapshot or a dump is configured as such."""
        return


def _process_of(hello: Mapping[str, Any]) -> str:
    """Return what changes with a restart or with a change of role."""
    role = bool(hello.get("isWritablePrimary"))
    return f"{hello.get('topologyVersion', {}).get('processId', '')} {role}"


class MongoFactory:
    """Makes connectors to MongoDB servers; `path` is the data folder (`lock`, `snapshot`), `database` where the account is."""

    kind = "mongodb"

    def __init__(
        self,
        connect: Connect = driver,
        programs: Programs | None = None,
        unlock: Callable[[Connection], tuple[str, ...]] = unlock_command,
    ) -> None:
        """`connect` makes something that runs commands; `unlock` names the program that takes back the lock."""
        self._connect, self._programs, self._unlock = connect, programs, unlock

    def make(self, connection: Connection, env: Environment) -> MongoConnector:
        """Make one."""
        options = options_of(connection, OPTIONS)
        problems = []
        if options["mode"] not in MODES:
            problems.append(f"mode = one of {', '.join(MODES)}")
        if options["primary"] not in {"refused", "allowed"}:
            problems.append("primary = refused or allowed")
        if problems:
            raise ConfigError(f"the application {connection.name} has faults", problems=tuple(problems))
        volumes = None
        if options["mode"] != "dump":
            needed(connection, "path")
            programs = self._programs or SystemPrograms(env)
            targets = (os.fsencode(connection.path),)
            provider = provider_of(options, targets, env=env, programs=programs)
            volumes = HeldVolumes(provider, targets, name=connection.name, env=env, programs=programs)
        session, unlock = MongoSession(connection, self._connect), self._unlock(connection)
        return MongoConnector(connection, options, session=session, volumes=volumes, unlock=unlock)

    def grants(self, connection: Connection) -> str:
        """Return the statements for the account: the built-in role for dumps, and a role of four actions for the rest."""
        account = connection.user or "holdfast"
        return (
            "use admin\n"
            'db.createRole({role: "holdfast", roles: [], privileges: [{resource: {cluster: true},\n'
            '  actions: ["fsync", "inprog", "shardingState", "unlock"]}]})\n'
            f'db.createUser({{user: {json.dumps(account)}, pwd: passwordPrompt(), roles: ["holdfast", "backup"]}})\n'
            '// mode = lock or snapshot: without "backup"; mode = dump: without "fsync" and "unlock"'
        )

    def discover(self, env: Environment) -> tuple[Found, ...]:  # noqa: ARG002 - discovery looks at all applications at once
        """See `holdfast.sources.discovery`."""
        return ()


FACTORY = MongoFactory()
