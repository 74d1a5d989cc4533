"""File systems held still (FIFREEZE): XFS and ext4 on storage that is snapshot below them.

A frozen file system stays frozen when the process that froze it ends: it is the one freeze that outlives everything but a
restart. Nothing here is called without the watchdog's `fithaw` order armed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from fcntl import ioctl

from holdfast.errors import FrozenElsewhereError, VolumeSnapshotError, VolumeUnsuitableError
from holdfast.sources.volumes.mounts import Mount, mount_of

__all__ = ["FIFREEZE", "FITHAW", "freeze", "is_frozen", "places_to_freeze", "thaw"]

FIFREEZE = 0xC0045877
FITHAW = 0xC0045878
FREEZABLE = frozenset({"xfs", "ext4", "ext3", "btrfs", "f2fs"})


def places_to_freeze(targets: Sequence[bytes], among: tuple[Mount, ...] | None = None) -> tuple[bytes, ...]:
    """Return the mount points of the targets. `VolumeUnsuitableError` where freezing is impossible, or would freeze us."""
    found = {mount_of(target, among) for target in targets}
    if not found or any(mount is None or mount.kind not in FREEZABLE for mount in found):
        raise VolumeUnsuitableError("a path of the application lies on a file system that cannot be frozen")
    places = sorted({mount.place for mount in found if mount is not None})
    if b"/" in places:
        raise VolumeUnsuitableError("the application shares the root file system, which is never frozen")
    return tuple(places)


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


def is_frozen(place: bytes) -> bool:
    """Return whether it stands still. The kernel answers only by refusing a second freeze; one that succeeds is undone."""
    try:
        freeze(place)
    except FrozenElsewhereError:
        return True
    thaw(place)
    return False
