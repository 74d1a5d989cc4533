"""Plain files and disk images at one instant: a volume snapshot, with the file system held still (FIFREEZE) where asked for.

Of what runs on them it knows nothing: what comes back is what a power cut would have left, so the verdict is `crash`, never
more. In a group with a database it catches the files of the same moment. `freeze = "yes"` is for XFS and ext4 on storage that
is snapshot below the file system: the frozen system stays frozen when the run dies, and the watchdog thaws it.
"""

from __future__ import annotations

import contextlib
import os

from holdfast.base.environment import Environment
from holdfast.errors import (
    ApplicationBusyError,
    ApplicationChangedError,
    ApplicationError,
    ApplicationUnsuitableError,
    CaptureError,
    FrozenElsewhereError,
    StillFrozenError,
    VolumeSnapshotError,
    VolumeUnsuitableError,
)
from holdfast.sources.connectors.options import needed, options_of
from holdfast.sources.connectors.protocol import Capture, Conclusion, Connection, Facts, Found, ThawOrder, Verdict
from holdfast.sources.programs import Programs, SystemPrograms
from holdfast.sources.volumes import frozen
from holdfast.sources.volumes.choose import VOLUME_OPTIONS, provider_of
from holdfast.sources.volumes.held import HeldVolumes

__all__ = ["FACTORY", "VolumeConnector", "VolumeFactory"]

OPTIONS = {**VOLUME_OPTIONS, "freeze": "no", "storage": ""}


class VolumeConnector:
    """Files at one instant."""

    kind = "volume"
    unfrozen = Verdict.CRASH

    def __init__(self, name: str, volumes: HeldVolumes, targets: tuple[bytes, ...], *, freeze: bool) -> None:
        """`targets` are the files; `freeze` holds their file systems still."""
        self.name, self.freezes = name, freeze
        self._volumes, self._targets = volumes, targets
        self._places: tuple[bytes, ...] = ()
        self._frozen: list[bytes] = []
        self._fds: list[int] = []
        self._early = False
        self._taken = False

    def check(self) -> Facts:
        """Find the volumes, and whether the file systems can be frozen."""
        try:
            self._volumes.prepare()
            self._places = frozen.places_to_freeze(self._targets) if self.freezes else ()
        except VolumeUnsuitableError as error:
            raise ApplicationUnsuitableError(error.what) from error
        return Facts(
            self._volumes.provider.name,
            (("file-systems", str(len(self._places))), ("cost", self._volumes.provider.capabilities().cost)),
        )

    def thaw_orders(self) -> tuple[ThawOrder, ...]:
        """Thaw each file system, through a descriptor that is open before the freeze."""
        while len(self._fds) < len(self._places):
            self._fds.append(os.open(self._places[len(self._fds)], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        return tuple(
            ThawOrder("fithaw", fd=fd, target=os.fsdecode(place))
            for fd, place in zip(self._fds, self._places, strict=True)
        )

    def freeze(self, seconds: float) -> None:  # noqa: ARG002 - the kernel takes no time limit; the watchdog keeps it
        """Freeze them, one after another."""
        self._early = False
        for place in self._places:
            try:
                frozen.freeze(place)
            except FrozenElsewhereError as error:
                raise ApplicationBusyError(error.what) from error
            except VolumeSnapshotError as error:
                raise ApplicationError(error.what) from error
            self._frozen.append(place)

    def verify_frozen(self) -> None:
        """The kernel refuses a second freeze."""
        if not all(map(frozen.is_frozen, self._places)):
            raise ApplicationChangedError("a file system was thawed by somebody else while it was to stand still")

    def capture(self, seconds: float) -> Capture:  # noqa: ARG002 - the provider keeps its own limit
        """Take the snapshot."""
        try:
            paths = self._volumes.take()
            self._taken = True
            if not self._frozen:
                self._volumes.show()
        except VolumeSnapshotError as error:
            raise CaptureError(error.what, next=error.next) from error
        return Capture(paths=paths)

    def thaw(self) -> None:
        """Thaw all that this run froze, the last first; one that fails keeps no other frozen."""
        failed = 0
        for place in reversed(tuple(self._frozen)):
            try:
                self._early |= not frozen.thaw(place)
                self._frozen.remove(place)
            except VolumeSnapshotError:
                failed += 1
        if failed:
            raise StillFrozenError(f"{failed} file systems could not be thawed")

    def verify_thawed(self) -> None:
        """See that it was we who thawed; only now is the snapshot mounted."""
        if self._early:
            raise ApplicationChangedError("a file system was thawed by somebody else before the snapshot was complete")
        if self._frozen:
            raise StillFrozenError("a file system is still frozen")
        if self._taken:
            self._volumes.show()

    def conclude(self) -> Conclusion:
        """Nobody vouches for the content: the verdict is `crash`."""
        return Conclusion(Verdict.CRASH, self._volumes.proofs)

    def close(self) -> None:
        """Let go of the snapshot; one that is in use is left to the sweeper."""
        with contextlib.suppress(ApplicationError):
            self.thaw()
        while self._fds:
            os.close(self._fds.pop())
        with contextlib.suppress(VolumeSnapshotError, OSError):
            self._volumes.release()

    def without_freeze(self) -> VolumeConnector | None:
        """The same snapshot, of a file system that is not held still."""
        if not self.freezes:
            return None
        return VolumeConnector(self.name, self._volumes, self._targets, freeze=False)


class VolumeFactory:
    """Makes connectors to volumes; `path` is what is captured."""

    kind = "volume"

    def __init__(self, programs: Programs | None = None) -> None:
        """Use the programs of the machine, or doubles."""
        self._programs = programs

    def make(self, connection: Connection, env: Environment) -> VolumeConnector:
        """Make one."""
        needed(connection, "path")
        options = options_of(connection, OPTIONS)
        programs = self._programs or SystemPrograms(env)
        target = os.fsencode(connection.path)
        storage = (os.fsencode(options["storage"]),) if options["storage"] else (target,)
        provider = provider_of(options, storage, env=env, programs=programs)
        volumes = HeldVolumes(provider, storage, name=connection.name, env=env, programs=programs)
        return VolumeConnector(connection.name, volumes, (target,), freeze=options["freeze"] == "yes")

    def grants(self, connection: Connection) -> str:
        """Say what the system must allow."""
        return (
            f"# {connection.name}: volume snapshots and FIFREEZE need CAP_SYS_ADMIN: run the backup of this job as root, or\n"
            "# AmbientCapabilities=CAP_SYS_ADMIN CAP_DAC_READ_SEARCH in its systemd unit."
        )

    def discover(self, env: Environment) -> tuple[Found, ...]:  # noqa: ARG002 - volumes are not applications
        """Find none: volumes are not applications."""
        return ()


FACTORY = VolumeFactory()
