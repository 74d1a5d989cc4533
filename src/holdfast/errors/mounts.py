"""Errors of mounted snapshots. What a mounted file's damage costs is told to whoever reads it, as `EIO`."""

from __future__ import annotations

from holdfast.errors.core import HoldfastError, MissingError, Retry, Safety

__all__ = ["FuseMissingError", "MountBusyError", "MountError", "MountMissingError", "MountNotWholeError"]


class MountError(HoldfastError):
    """A snapshot could not be mounted."""

    code = "mount"
    safety = Safety.UNTOUCHED
    meaning = "A snapshot could not be mounted, or what a writable mount needs on the local disk is not as it was left."
    safe = "the vault was only read; nothing that was written to a mount before is lost."
    next = "remove the cause that the first line names, and mount again."


class FuseMissingError(MountError):
    """The machine has no FUSE."""

    code = "fuse-missing"
    meaning = "The machine has no FUSE device, so nothing can be mounted; in a container it must be passed in."
    next = "load it (`modprobe fuse`; who is not root needs the package fuse3), or use `holdfast restore`."


class MountBusyError(MountError):
    """The place is in use."""

    code = "mount-busy"
    retry = Retry.LATER
    meaning = "A place to mount on, or a mount to be ended, is in use: something is mounted there, or has files open."
    next = "stop what uses it (`fuser -vm PATH` shows what), and try again."


class MountNotWholeError(MountError):
    """Not everything is here yet."""

    code = "mount-not-whole"
    retry = Retry.LATER
    meaning = "A writable mount cannot be switched over before everything of the snapshot is on the local disk."
    next = "leave it mounted until it says that everything is here, or mount it again so that it goes on."


class MountMissingError(MissingError):
    """There is no such mount."""

    code = "mount-missing"
    meaning = "Beside this path there is no folder of a writable mount."
    next = "name the path that was mounted with --writable, and its --upper folder if it had one of its own."
