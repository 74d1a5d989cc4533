"""Errors of whole hosts: an inventory that is not there or not readable, and a restore to disks that is refused or stopped."""

from __future__ import annotations

from holdfast.errors.core import HoldfastError, MissingError, Safety

__all__ = ["HostError", "HostInventoryError", "HostProgramError", "HostRefusedError"]


class HostError(HoldfastError):
    """A host could not be restored to its disks."""

    code = "host"
    safety = Safety.INTACT
    meaning = "A step of a restore to whole disks failed: a partition table, a file system, a mount or a boot loader."
    safe = "the vault was only read; nothing is mounted any more, and what was done so far is kept for the next call."
    next = "remove the cause that the first line names, and give the same command again: it goes on where it stopped."


class HostInventoryError(MissingError):
    """The snapshot says nothing usable of its host."""

    code = "host-inventory"
    meaning = "The snapshot holds no inventory of its host, or one that cannot be understood: its disks are not known."
    safe = "nothing was written anywhere; the files of the snapshot are as restorable as ever."
    next = (
        "choose a snapshot of a job with `host_root`, or make the file systems by hand and give their place by --into."
    )


class HostProgramError(HostError):
    """A program is missing that the restore needs."""

    code = "host-program"
    meaning = (
        "A program that makes partitions or file systems is not on this machine; known before anything is written."
    )
    safe = "nothing was written to any disk."
    next = "install the package that the first line names, and give the same command again."


class HostRefusedError(HostError):
    """The disks that were named are not fit, or not free."""

    code = "host-refused"
    exit_code = 2
    safety = Safety.UNTOUCHED
    meaning = "A disk is too small, in use, not empty, or not named at all; known before anything is written."
    safe = "nothing was written to any disk."
    next = "name other disks by --disk NAME=PATH; `--dry-run` shows what each must hold, `--erase` gives up what is on them."
