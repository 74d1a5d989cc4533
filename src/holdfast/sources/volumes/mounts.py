"""Which file system a path lies on, as the kernel says it; and mounting a volume snapshot to read it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from holdfast.errors import VolumeSnapshotError
from holdfast.sources.programs import Programs

__all__ = ["Mount", "mount_of", "mount_read_only", "mounts", "unmount"]

MOUNT_SECONDS = 60.0
_ESCAPE = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted file system."""

    place: bytes
    kind: str
    """`ext4`, `xfs`, `btrfs`, …"""
    device: str


def mounts(text: bytes | None = None) -> tuple[Mount, ...]:
    """Return what is mounted, from `/proc/self/mountinfo` (or from `text`), in the order of mounting."""
    if text is None:
        with open("/proc/self/mountinfo", "rb") as file:
            text = file.read()
    found = []
    for line in text.splitlines():
        before, _, after = line.partition(b" - ")
        words, rest = before.split(), after.split()
        if len(words) > 4 and len(rest) > 1:  # noqa: PLR2004 - five fields stand before the optional ones: proc(5)
            place = _ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), words[4])
            found.append(Mount(place, rest[0].decode(), rest[1].decode(errors="replace")))
    return tuple(found)


def mount_of(path: bytes, among: tuple[Mount, ...] | None = None) -> Mount | None:
    """Return the mount that a path lies on: the longest that holds it, the last of those at one place."""
    real = os.path.realpath(path)
    best: Mount | None = None
    for mount in mounts() if among is None else among:
        prefix = mount.place.rstrip(b"/") + b"/"
        holds = (real + b"/").startswith(prefix)
        if holds and (best is None or len(mount.place) >= len(best.place)):
            best = mount
    return best


def mount_read_only(programs: Programs, device: str, kind: str, place: bytes) -> None:
    """Mount a snapshot's device: no journal is replayed, and XFS accepts a second file system of the same identity."""
    options = {"xfs": "ro,nouuid,norecovery", "ext4": "ro,noload", "ext3": "ro,noload"}.get(kind, "ro")
    os.makedirs(place, mode=0o700, exist_ok=True)
    done = programs.run(["mount", "-t", kind, "-o", options, device, os.fsdecode(place)], timeout=MOUNT_SECONDS)
    if not done.ok:
        os.rmdir(place)
        raise VolumeSnapshotError(f"a volume snapshot could not be mounted (mount ended with {done.code})")


def unmount(programs: Programs, place: bytes) -> None:
    """Unmount and remove the folder; nothing to do is no error. `VolumeSnapshotError` while it is in use."""
    if os.path.ismount(place):
        done = programs.run(["umount", os.fsdecode(place)], timeout=MOUNT_SECONDS)
        if not done.ok:
            raise VolumeSnapshotError("a volume snapshot is still in use and could not be unmounted")
    if os.path.isdir(place):
        os.rmdir(place)
