"""The place of a mount: what is refused before anything is mounted, and how one is cleared of a mount whose process died."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.errors import (
    FuseMissingError,
    MountBusyError,
    MountError,
    TargetInsideVaultError,
    TargetNotEmptyError,
    UsageError,
)

if TYPE_CHECKING:
    from holdfast.runs.assembly import OpenVault

__all__ = ["check_place", "is_dead", "is_mount", "mounting", "unmount"]

DEVICE = Path("/dev/fuse")
_DEAD = {errno.ENOTCONN, errno.ECONNABORTED}


def check_place(vault: OpenVault, place: Path) -> None:
    """Refuse a place that cannot be mounted on, or must not be. A mount of ours whose process died is cleared away."""
    if not DEVICE.exists():
        raise FuseMissingError("this machine has no FUSE device")
    if is_dead(place):
        unmount(place, lazily=True)
    if vault.owns(os.fsencode(place)):
        raise TargetInsideVaultError("the place to mount on lies in the vault or in Holdfast's own state")
    try:
        found = place.lstat()
    except FileNotFoundError:
        raise UsageError("the place to mount on is not there", next="make the folder, and mount again.") from None
    if not stat.S_ISDIR(found.st_mode):
        raise UsageError("the place to mount on is not a folder", next="name an empty folder.")
    if is_mount(place):
        raise MountBusyError("something is mounted at that place already")
    with os.scandir(place) as rows:
        if any(rows):
            raise TargetNotEmptyError("the place to mount on holds something, which would be hidden")


def is_dead(place: Path) -> bool:
    """Return whether a mount stands there that nobody answers for: its process was killed."""
    try:
        place.lstat()
    except OSError as error:
        return error.errno in _DEAD
    return False


def is_mount(place: Path) -> bool:
    """Return whether something is mounted at a place."""
    return os.path.ismount(place)


def unmount(place: Path, *, lazily: bool = False) -> None:
    """Unmount a place. `MountBusyError` while it is in use."""
    try:
        engine.unmount_place(os.fspath(place), lazily)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise MountBusyError("the mount is in use") from error
        raise mounting(error) from error


def mounting(error: OSError) -> MountError:
    """Return the error of a mount or unmount that the system refused."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return MountError(f"the system refused to mount or unmount ({reason})", errno=error.errno or 0)
