"""btrfs: read-only snapshots of one subvolume, in a hidden folder at its top.

One subvolume is caught at one instant; two are not, so a group of targets on several subvolumes is refused. Nested
subvolumes are not part of a snapshot (they show as empty folders): a target that holds one is refused too.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import ClassVar

from holdfast.base.environment import Environment, system
from holdfast.errors import VolumeSnapshotError, VolumeUnsuitableError
from holdfast.sources.programs import Programs, SystemPrograms
from holdfast.sources.volumes.mounts import mount_of
from holdfast.sources.volumes.protocol import Capabilities, Prepared, Tag, View, VolumeSnapshot

__all__ = ["Btrfs"]

SUBVOLUME_INODE = 256
"""The number of the top folder of each subvolume: BTRFS_FIRST_FREE_OBJECTID."""
FOLDER = b".holdfast-snapshots"
SECONDS = 30.0


class Btrfs:
    """Snapshots of btrfs subvolumes."""

    name: ClassVar[str] = "btrfs"

    def __init__(
        self, roots: Sequence[bytes] = (), *, programs: Programs | None = None, env: Environment | None = None
    ) -> None:
        """`roots` are the subvolumes that `tagged` looks into, beside those prepared by this object."""
        self._env = env or system()
        self._programs = programs or SystemPrograms(self._env)
        self._roots = {*map(os.path.realpath, roots)}

    def capabilities(self) -> Capabilities:
        """Say what its snapshots are like."""
        return Capabilities(
            atomic_group=False,
            crash_consistent=True,
            writable_clone=True,
            stalls_writes=False,
            age_seconds_max=None,
            cost="space for what is overwritten while it exists",
        )

    def prepare(self, targets: Sequence[bytes]) -> Prepared:
        """Find the one subvolume that holds all targets."""
        paths = tuple(os.path.realpath(target) for target in targets)
        tops = sorted({self._top(path) for path in paths})
        if len(tops) != 1:
            raise VolumeUnsuitableError(f"the data lies on {len(tops)} btrfs subvolumes, which no one snapshot catches")
        top = tops[0]
        nested = self._nested(top, paths)
        if nested:
            raise VolumeUnsuitableError(f"{nested} nested btrfs subvolumes would be empty in the snapshot")
        os.makedirs(os.path.join(top, FOLDER), mode=0o700, exist_ok=True)
        self._roots.add(top)
        return Prepared(self.name, paths, (os.fsdecode(top),))

    def _top(self, path: bytes) -> bytes:
        mount = mount_of(path)
        if mount is None or mount.kind != "btrfs" or not os.path.exists(path):
            raise VolumeUnsuitableError("a path of the application lies on no btrfs file system")
        while os.stat(path).st_ino != SUBVOLUME_INODE:
            path = os.path.dirname(path)
        return path

    def _nested(self, top: bytes, paths: tuple[bytes, ...]) -> int:
        done = self._programs.run(["btrfs", "subvolume", "list", "-o", os.fsdecode(top)], timeout=SECONDS)
        if not done.ok:
            raise VolumeSnapshotError(f"btrfs does not list its subvolumes (exit code {done.code})")
        prefix = self._path_in_file_system(top)
        places = [line.split(b" path ", 1)[1] for line in done.out.splitlines() if b" path " in line]
        inside = [os.path.join(top, place.removeprefix(prefix).lstrip(b"/")) for place in places]
        ours = os.path.join(top, FOLDER) + b"/"
        return sum(
            any((place + b"/").startswith(path.rstrip(b"/") + b"/") for path in paths)
            for place in inside
            if not place.startswith(ours)
        )

    def _path_in_file_system(self, top: bytes) -> bytes:
        """Return the subvolume's own path, with which `subvolume list` begins those of its children."""
        done = self._programs.run(["btrfs", "subvolume", "show", os.fsdecode(top)], timeout=SECONDS)
        first = done.out.splitlines()[0].strip() if done.ok and done.out else b"/"
        return b"" if first == b"/" else first

    def create(self, prepared: Prepared, tag: Tag) -> VolumeSnapshot:
        """Snapshot the subvolume, read-only."""
        top = os.fsencode(prepared.volumes[0])
        place = os.path.join(top, FOLDER, str(tag).encode())
        began = self._env.monotonic()
        self._snapshot(top, place, read_only=True)
        return VolumeSnapshot(self.name, (os.fsdecode(place),), tag, prepared, (self._env.monotonic() - began) * 1000)

    def _snapshot(self, source: bytes, place: bytes, *, read_only: bool) -> None:
        flags = ["-r"] if read_only else []
        command = ["btrfs", "subvolume", "snapshot", *flags, os.fsdecode(source), os.fsdecode(place)]
        done = self._programs.run(command, timeout=SECONDS)
        if not done.ok:
            raise VolumeSnapshotError(f"btrfs made no snapshot (exit code {done.code})")

    def where(self, snapshot: VolumeSnapshot) -> tuple[View, ...]:
        """Point into the snapshot."""
        return self._inside(snapshot, os.fsencode(snapshot.ids[0]))

    def views(self, snapshot: VolumeSnapshot) -> tuple[View, ...]:
        """Point into the snapshot: nothing needs mounting."""
        return self.where(snapshot)

    def clone(self, snapshot: VolumeSnapshot) -> tuple[View, ...]:
        """Snapshot the snapshot, writable."""
        place = os.fsencode(snapshot.ids[0]) + b"-clone"
        if not os.path.exists(place):
            self._snapshot(os.fsencode(snapshot.ids[0]), place, read_only=False)
        return self._inside(snapshot, place)

    def _inside(self, snapshot: VolumeSnapshot, place: bytes) -> tuple[View, ...]:
        if snapshot.prepared is None:
            raise VolumeUnsuitableError("a snapshot that was only found has no targets")
        top = os.fsencode(snapshot.prepared.volumes[0])
        return tuple(
            View(target, os.path.normpath(os.path.join(place, os.path.relpath(target, top))))
            for target in snapshot.prepared.targets
        )

    def delete(self, snapshot: VolumeSnapshot) -> None:
        """Delete the snapshot and its clone."""
        place = os.fsencode(snapshot.ids[0])
        for each in (place + b"-clone", place):
            if os.path.exists(each):
                done = self._programs.run(["btrfs", "subvolume", "delete", os.fsdecode(each)], timeout=SECONDS)
                if not done.ok:
                    raise VolumeSnapshotError(f"btrfs did not delete a snapshot (exit code {done.code})")

    def tagged(self) -> tuple[VolumeSnapshot, ...]:
        """List what stands in the folders of the known subvolumes."""
        found = []
        for top in sorted(self._roots):
            folder = os.path.join(top, FOLDER)
            for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
                tag = Tag.find(os.fsdecode(name))
                if tag is not None and not name.endswith(b"-clone"):
                    found.append(VolumeSnapshot(self.name, (os.fsdecode(os.path.join(folder, name)),), tag))
        return tuple(found)

    @staticmethod
    def available() -> bool:
        """Return whether the machine has the program."""
        return shutil.which("btrfs") is not None
