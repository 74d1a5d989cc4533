"""InterSystems IRIS and Caché: ExternalFreeze, a volume snapshot, ExternalThaw; exit code 5 is success, 3 is failure.

Only the write daemon stands still: users work on in memory until the buffers fill. The snapshot has installation, databases,
journals and WIJ (`paths`), and journals are switched in the freeze. After the thaw it is checked that the freeze had not run out by
itself, which would void the snapshot. New logins may be impossible while frozen: `iris stat -W` lets the watchdog resume the daemon.

Source: GCDI_backup_methods_ext and the class Backup.General. Tried against a double only, never on the real product.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from typing import TYPE_CHECKING

from holdfast.errors import (
    ApplicationBusyError,
    ApplicationChangedError,
    ApplicationError,
    ApplicationUnreachableError,
    ApplicationUnsuitableError,
    CaptureError,
    FreezeOverrunError,
    StillFrozenError,
    VolumeSnapshotError,
    VolumeUnsuitableError,
)
from holdfast.sources.connectors.options import needed, options_of
from holdfast.sources.connectors.protocol import Capture, Conclusion, Connection, Facts, Found, ThawOrder, Verdict
from holdfast.sources.programs import Done, Programs, SystemPrograms
from holdfast.sources.volumes.choose import VOLUME_OPTIONS, provider_of
from holdfast.sources.volumes.held import HeldVolumes

if TYPE_CHECKING:
    from holdfast.base.environment import Environment

__all__ = ["FACTORY", "IrisConnector", "IrisFactory"]

OPTIONS = {**VOLUME_OPTIONS, "program": "iris", "instance": "IRIS", "paths": "", "freeze-timeout": "60"}
SUCCESS, FAILURE = 5, 3
SECONDS = 30.0


class IrisConnector:
    """One instance."""

    kind = "iris"
    freezes = True
    unfrozen = Verdict.CRASH

    def __init__(
        self, connection: Connection, options: dict[str, str], volumes: HeldVolumes, programs: Programs
    ) -> None:
        """Run nothing yet."""
        self.name = connection.name
        self._options, self._volumes, self._programs = options, volumes, programs
        self._frozen = self._early = False
        self._codes: dict[str, str] = {}

    def _session(self, call: str) -> list[str]:
        return [
            self._options["program"],
            "session",
            self._options["instance"],
            "-U%SYS",
            f"##class(Backup.General).{call}",
        ]

    def _call(self, call: str, seconds: float = SECONDS) -> Done:
        done = self._programs.run(self._session(call), timeout=seconds)
        self._codes[call.partition("(")[0]] = "timeout" if done.timed_out else str(done.code)
        return done

    def _suspended(self) -> bool:
        done = self._call("IsWDSuspendedExt()")
        if done.code not in {SUCCESS, FAILURE} or done.timed_out:
            raise ApplicationUnreachableError("IRIS does not say whether its write daemon is suspended")
        return done.code == SUCCESS

    def check(self) -> Facts:
        """See that it runs and is not frozen; find the volume."""
        done = self._programs.run([self._options["program"], "qlist", self._options["instance"]], timeout=SECONDS)
        parts = done.text.strip().split("^")
        if not done.ok or len(parts) < 4 or not parts[3].startswith("running"):  # noqa: PLR2004 - name, folder, version, state
            raise ApplicationUnreachableError("the IRIS instance does not run")
        if self._suspended():
            raise ApplicationBusyError("the write daemon is suspended already: somebody else froze IRIS")
        try:
            self._volumes.prepare()
        except VolumeUnsuitableError as error:
            raise ApplicationUnsuitableError(error.what) from error
        return Facts(parts[2], (("state", parts[3].partition(",")[0]),))

    def thaw_orders(self) -> tuple[ThawOrder, ...]:
        """ExternalThaw, and the last resort that needs no login. Both are harmless on an instance that is not frozen."""
        thaw = tuple(self._session("ExternalThaw()"))
        resume = (self._options["program"], "stat", self._options["instance"], "-W")
        return (
            ThawOrder("command", argv=thaw, succeeds=(SUCCESS, FAILURE), timeout_seconds=SECONDS),
            ThawOrder("command", argv=resume, succeeds=(0, 1), timeout_seconds=SECONDS),
        )

    def freeze(self, seconds: float) -> None:
        """Freeze, and switch the journal."""
        self._early = False
        if seconds <= 0:
            raise FreezeOverrunError("no time was left to freeze IRIS")
        self._frozen = True
        limit = self._options["freeze-timeout"]
        done = self._call(f'ExternalFreeze("","holdfast",1,10,0,0,{limit})', seconds)
        if done.timed_out:
            raise FreezeOverrunError("ExternalFreeze took longer than it may")
        if done.code != SUCCESS:
            raise ApplicationError(
                f"ExternalFreeze ended with {done.code}, not {SUCCESS}", next="read messages.log of the instance."
            )

    def verify_frozen(self) -> None:
        """The write daemon is suspended."""
        if not self._suspended():
            raise ApplicationChangedError("the write daemon runs, though IRIS was to stand still")

    def capture(self, seconds: float) -> Capture:  # noqa: ARG002 - the provider keeps its own limit
        """Take the volume snapshot."""
        try:
            paths = self._volumes.take()
            if not self._frozen:
                self._volumes.show()
        except VolumeSnapshotError as error:
            raise CaptureError(error.what, next=error.next) from error
        return Capture(paths=paths)

    def thaw(self) -> None:
        """Thaw; a freeze that had run out by itself voids the snapshot."""
        if not self._frozen:
            return
        with contextlib.suppress(ApplicationUnreachableError):
            self._early |= not self._suspended()
        done = self._call("ExternalThaw()")
        if (done.code != SUCCESS or done.timed_out) and not self._early:
            self._programs.run([self._options["program"], "stat", self._options["instance"], "-W"], timeout=SECONDS)
            if self._suspended():
                raise StillFrozenError("ExternalThaw did not succeed, and the write daemon is still suspended")
            self._early = True
        self._frozen = False

    def verify_thawed(self) -> None:
        """The write daemon runs again, and it was we who let it."""
        if self._suspended():
            raise StillFrozenError("the write daemon is still suspended after the thaw")
        if self._early:
            raise ApplicationChangedError("IRIS ended the freeze before the snapshot was complete")
        self._volumes.show()

    def conclude(self) -> Conclusion:
        """Tell IRIS that a backup was made, so that it may purge journals."""
        done = self._call('ExternalSetHistory("","holdfast")')
        notes = () if done.code == SUCCESS else ("IRIS did not take note of the backup: it keeps its journals",)
        codes = tuple((f"exit-{name}", code) for name, code in self._codes.items())
        return Conclusion(Verdict.APPLICATION, (*codes, *self._volumes.proofs), notes=notes)

    def close(self) -> None:
        """Thaw what is still frozen; let go of the snapshot."""
        with contextlib.suppress(ApplicationError):
            self.thaw()
        with contextlib.suppress(VolumeSnapshotError, OSError):
            self._volumes.release()

    def without_freeze(self) -> None:
        """There is none."""
        return


class IrisFactory:
    """Makes connectors to IRIS instances; `path` and `paths` are what the snapshot must hold."""

    kind = "iris"

    def __init__(self, programs: Programs | None = None) -> None:
        """Use the programs of the machine, or doubles."""
        self._programs = programs

    def make(self, connection: Connection, env: Environment) -> IrisConnector:
        """Make one."""
        needed(connection, "path")
        options = options_of(connection, OPTIONS)
        programs = self._programs or SystemPrograms(env)
        targets = tuple(os.fsencode(path) for path in (connection.path, *shlex.split(options["paths"])))
        provider = provider_of(options, targets, env=env, programs=programs)
        volumes = HeldVolumes(provider, targets, name=connection.name, env=env, programs=programs)
        return IrisConnector(connection, options, volumes, programs)

    def grants(self, connection: Connection) -> str:
        """Return what the account needs."""
        return f"# {connection.name}: an account of the operating system's authentication with the role %Admin_Operate, and no other"

    def discover(self, env: Environment) -> tuple[Found, ...]:  # noqa: ARG002 - discovery looks at all applications at once
        """See `holdfast.sources.discovery`."""
        return ()


FACTORY = IrisFactory()
