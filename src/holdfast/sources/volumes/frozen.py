"""File systems held still (FIFREEZE) around another provider's snapshot: XFS and ext4 on storage that snapshots below them.

A frozen file system stays frozen when the process that froze it ends: it is the one freeze that outlives everything. So the
caller hands in a `guard`, entered before the first freeze and left after the last thaw, that arms the watchdog.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from fcntl import ioctl

from holdfast.base.environment import Environment, system
from holdfast.errors import FrozenElsewhereError, VolumeSnapshotError, VolumeUnsuitableError
from holdfast.sources.volumes.mounts import mount_of
from holdfast.sources.volumes.protocol import Capabilities, Prepared, Tag, View, VolumeProvider, VolumeSnapshot

__all__ = ["FIFREEZE", "FITHAW", "FrozenFileSystems", "freeze", "thaw"]

FIFREEZE = 0xC0045877
FITHAW = 0xC0045878
FREEZABLE = frozenset({"xfs", "ext4", "ext3", "btrfs", "f2fs"})
Guard = Callable[[tuple[bytes, ...]], AbstractContextManager[object]]
"""Given the mount points, returns what is armed before they are frozen and disarmed after they are thawed."""


def freeze(place: bytes) -> None:
    """Freeze the file system mounted at a place. `FrozenElsewhereError` if it is frozen already."""
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        ioctl(descriptor, FIFREEZE, 0)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise FrozenElsewhereError("a file system is frozen already, by somebody else") from error
        raise VolumeSnapshotError(f"a file system could not be frozen: {error.strerror}") from error
    finally:
        os.close(descriptor)


def thaw(place: bytes) -> bool:
    """Thaw it; return False if it was not frozen, which after an own freeze means that somebody else thawed it."""
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        ioctl(descriptor, FITHAW, 0)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        raise VolumeSnapshotError(f"a file system could not be thawed: {error.strerror}") from error
    finally:
        os.close(descriptor)
    return True


def _thaw_all(places: Sequence[bytes]) -> bool:
    """Thaw every one, the last frozen first, whatever happens with another; return whether one was thawed before."""
    early = False
    failed: VolumeSnapshotError | None = None
    for place in reversed(places):
        try:
            early |= not thaw(place)
        except VolumeSnapshotError as error:
            failed = error
    if failed is not None:
        raise failed
    return early


class FrozenFileSystems:
    """A provider whose `create` freezes the targets' file systems, snapshots the storage below, and thaws them."""

    def __init__(
        self, inner: VolumeProvider, guard: Guard, *, storage: Sequence[bytes] = (), env: Environment | None = None
    ) -> None:
        """Wrap a provider. `storage`: what the inner one takes a snapshot of, where that is not the targets themselves."""
        self.name = f"frozen+{inner.name}"
        self._inner, self._guard, self._storage = inner, guard, tuple(storage)
        self._env = env or system()
        self.hold_ms = 0.0
        """How long the last `create` held writers."""

    def capabilities(self) -> Capabilities:
        """The inner provider's, and writers wait."""
        inner = self._inner.capabilities()
        return Capabilities(
            atomic_group=True,
            crash_consistent=True,
            writable_clone=inner.writable_clone,
            stalls_writes=True,
            age_seconds_max=inner.age_seconds_max,
            cost=inner.cost,
        )

    def prepare(self, targets: Sequence[bytes]) -> Prepared:
        """Find the mount points; a frozen root would freeze the program that thaws."""
        found = {mount_of(target) for target in targets}
        places = sorted({mount.place for mount in found if mount is not None and mount.kind in FREEZABLE})
        if not places or any(mount is None or mount.kind not in FREEZABLE for mount in found):
            raise VolumeUnsuitableError("a path of the application lies on a file system that cannot be frozen")
        if b"/" in places:
            raise VolumeUnsuitableError("the application shares the root file system, which is never frozen")
        below = self._inner.prepare(self._storage or targets)
        details = (*below.details, *(("freeze", os.fsdecode(place)) for place in places))
        return Prepared(self.name, below.targets, below.volumes, details)

    def create(self, prepared: Prepared, tag: Tag) -> VolumeSnapshot:
        """Freeze all, snapshot, thaw all; a snapshot during which somebody else thawed is deleted again."""
        places = tuple(os.fsencode(value) for name, value in prepared.details if name == "freeze")
        frozen: list[bytes] = []
        early = False
        snapshot: VolumeSnapshot | None = None
        with self._guard(places):
            began = self._env.monotonic()
            try:
                for place in places:
                    freeze(place)
                    frozen.append(place)
                snapshot = self._inner.create(prepared, tag)
            finally:
                early = _thaw_all(frozen)
                self.hold_ms = (self._env.monotonic() - began) * 1000
        if early:
            self._inner.delete(snapshot)
            raise FrozenElsewhereError("a file system was thawed before the snapshot was complete, by somebody else")
        return snapshot

    def views(self, snapshot: VolumeSnapshot) -> tuple[View, ...]:
        """Where the inner provider shows the storage."""
        return self._inner.views(snapshot)

    def clone(self, snapshot: VolumeSnapshot) -> tuple[View, ...]:
        """A writable copy of the storage."""
        return self._inner.clone(snapshot)

    def delete(self, snapshot: VolumeSnapshot) -> None:
        """Delete the inner snapshot."""
        self._inner.delete(snapshot)

    def tagged(self) -> tuple[VolumeSnapshot, ...]:
        """List the inner provider's."""
        return self._inner.tagged()
