"""ZFS: one atomic snapshot of a dataset and all datasets below it (`zfs snapshot -r`), read through `.zfs/snapshot`.

Owner and deadline are in the name, and held as user properties for people who look. Datasets of different parents share no
instant: they are refused as one group.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import ClassVar

from holdfast.base.environment import Environment, system
from holdfast.errors import VolumeBusyError, VolumeSnapshotError, VolumeUnsuitableError
from holdfast.sources.programs import Done, Programs, SystemPrograms
from holdfast.sources.volumes.protocol import Capabilities, Prepared, Tag, View, VolumeSnapshot

__all__ = ["Zfs"]

SECONDS = 30.0


class Zfs:
    """Snapshots of ZFS datasets."""

    name: ClassVar[str] = "zfs"

    def __init__(self, *, programs: Programs | None = None, env: Environment | None = None) -> None:
        """Use the machine's `zfs`, or a double."""
        self._env = env or system()
        self._programs = programs or SystemPrograms(self._env)

    def capabilities(self) -> Capabilities:
        """Say what its snapshots are like."""
        return Capabilities(
            atomic_group=True,
            crash_consistent=True,
            writable_clone=True,
            stalls_writes=False,
            age_seconds_max=None,
            cost="space in the pool for what is overwritten while it exists",
        )

    def _run(self, *arguments: str) -> Done:
        done = self._programs.run(["zfs", *arguments], timeout=SECONDS)
        if not done.ok:
            word = "a time-out" if done.timed_out else done.code
            if b"out of space" in done.err or b"busy" in done.err or b"dependent clones" in done.err:
                raise VolumeBusyError(f"zfs {arguments[0]} ended with {word}: no room, or still in use")
            raise VolumeSnapshotError(f"zfs {arguments[0]} ended with {word}")
        return done

    def _datasets(self) -> list[tuple[str, bytes]]:
        lines = self._run("list", "-H", "-t", "filesystem", "-o", "name,mountpoint").out.splitlines()
        rows = [line.split(b"\t") for line in lines]
        return [(row[0].decode(), row[1]) for row in rows if len(row) == 2 and row[1].startswith(b"/")]  # noqa: PLR2004 - two columns were asked for

    def prepare(self, targets: Sequence[bytes]) -> Prepared:
        """Find each target's dataset, those mounted inside it, and the one above them all."""
        datasets = self._datasets()
        details: list[tuple[str, str]] = []
        for target in targets:
            holds = [row for row in datasets if _under(target, row[1])]
            if not holds:
                raise VolumeUnsuitableError("a path of the application lies on no ZFS dataset")
            below = [row for row in datasets if _under(row[1], target) and row[1] != target]
            details += [(name, os.fsdecode(place)) for name, place in (max(holds, key=lambda row: len(row[1])), *below)]
        names = sorted({name for name, _ in details})
        top = os.path.commonprefix([f"{name}/" for name in names]).rpartition("/")[0]
        if top not in dict(datasets):
            raise VolumeUnsuitableError("the datasets have no common parent, and so no common instant")
        return Prepared(self.name, tuple(targets), (top,), tuple(dict.fromkeys(details)))

    def create(self, prepared: Prepared, tag: Tag) -> VolumeSnapshot:
        """Snapshot the dataset and all below it at one instant."""
        name = f"{prepared.volumes[0]}@{tag}"
        began = self._env.monotonic()
        self._run(
            "snapshot", "-r", "-o", f"holdfast:owner={tag.owner}", "-o", f"holdfast:deadline={tag.deadline}", name
        )
        return VolumeSnapshot(self.name, (name,), tag, prepared, (self._env.monotonic() - began) * 1000)

    def views(self, snapshot: VolumeSnapshot) -> tuple[View, ...]:
        """Point into `.zfs/snapshot`: ZFS mounts it when it is first looked at."""
        return self.where(snapshot)

    def where(self, snapshot: VolumeSnapshot) -> tuple[View, ...]:
        """Point into `.zfs/snapshot` of each dataset: of the targets' own, and of those mounted inside them."""
        if snapshot.prepared is None:
            raise VolumeUnsuitableError("a snapshot that was only found has no targets")
        found = []
        for _name, text in snapshot.prepared.details:
            place = os.fsencode(text)
            inside = os.path.join(place, b".zfs", b"snapshot", str(snapshot.tag).encode())
            for target in snapshot.prepared.targets:
                if _under(target, place):
                    found.append(View(target, os.path.normpath(os.path.join(inside, os.path.relpath(target, place)))))
                elif _under(place, target):
                    found.append(View(place, inside))
        return tuple(dict.fromkeys(found))

    def clone(self, snapshot: VolumeSnapshot) -> tuple[View, ...]:
        """Clone the targets' datasets; the clones are mounted where the pool mounts new datasets."""
        if snapshot.prepared is None:
            raise VolumeUnsuitableError("a snapshot that was only found has no targets")
        found = []
        for number, (name, text) in enumerate(snapshot.prepared.details):
            clone = f"{name.partition('/')[0]}/{snapshot.tag}-{number}"
            self._run("clone", f"{name}@{snapshot.tag}", clone)
            found.append(View(os.fsencode(text), dict(self._datasets())[clone]))
        return tuple(found)

    def delete(self, snapshot: VolumeSnapshot) -> None:
        """Destroy the clones, then the snapshots; only a name with its own tag is ever destroyed."""
        if not snapshot.ids[0].endswith(f"@{snapshot.tag}"):
            raise VolumeUnsuitableError("a snapshot without this tag in its name is never destroyed")
        for name, _place in self._datasets():
            if Tag.find(name) == snapshot.tag:
                self._run("destroy", name)
        if snapshot.ids[0] in self._snapshots():
            self._run("destroy", "-r", snapshot.ids[0])

    def _snapshots(self) -> list[str]:
        return self._run("list", "-H", "-t", "snapshot", "-o", "name").text.splitlines()

    def tagged(self) -> tuple[VolumeSnapshot, ...]:
        """List the topmost snapshot of each tag."""
        found: dict[Tag, str] = {}
        for name in sorted(self._snapshots(), key=len):
            tag = Tag.find(name.partition("@")[2])
            if tag is not None:
                found.setdefault(tag, name)
        return tuple(VolumeSnapshot(self.name, (name,), tag) for tag, name in found.items())


def _under(path: bytes, place: bytes) -> bool:
    """Return whether a path is a place or lies below it."""
    return (path.rstrip(b"/") + b"/").startswith(place.rstrip(b"/") + b"/")
