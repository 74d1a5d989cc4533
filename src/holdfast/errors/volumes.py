"""Errors of volume snapshots: what stands between an application and the copy of its volume."""

from __future__ import annotations

from holdfast.errors.core import HoldfastError, Retry, Safety

__all__ = ["FrozenElsewhereError", "VolumeBusyError", "VolumeSnapshotError", "VolumeUnsuitableError"]


class VolumeSnapshotError(HoldfastError):
    """A volume snapshot could not be made, read or removed."""

    code = "volume-snapshot"
    safety = Safety.UNTOUCHED
    retry = Retry.LATER
    meaning = "A volume snapshot could not be made, read or removed."
    safe = "the volume and every snapshot acknowledged before are as they were; nothing is left frozen."
    next = "read what the provider said above; free space on the volume or its pool, then run the same command again."


class VolumeUnsuitableError(VolumeSnapshotError):
    """A path lies on nothing that this provider can take a snapshot of, or not in one piece."""

    code = "volume-unsuitable"
    retry = Retry.NEVER
    meaning = "A path cannot be held in one volume snapshot of this provider."
    safe = "nothing was frozen, read or written."
    next = "name another provider for the application, or put its data on one volume."


class VolumeBusyError(VolumeSnapshotError):
    """The pool is too full for another snapshot, or a snapshot is held by someone."""

    code = "volume-busy"
    meaning = "A snapshot pool has no room for one more, or a snapshot is still in use."
    next = "extend the pool or let old snapshots go; the next run sweeps those that Holdfast left."


class FrozenElsewhereError(VolumeSnapshotError):
    """A file system was frozen, or thawed, by somebody else: what was captured proves nothing."""

    code = "frozen-elsewhere"
    meaning = "A file system was frozen or thawed by somebody else while it was to be held still."
    safe = "what was captured is discarded; the file system is not frozen by this run."
    next = "find the other freezer (`fsfreeze`, a hypervisor's agent, another backup) and keep the two apart in time."
