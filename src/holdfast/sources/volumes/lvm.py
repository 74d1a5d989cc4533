"""LVM: thin snapshots, and thick ones with room of their own, mounted read-only to be read.

The device mapper freezes the file system itself while it makes the snapshot. A thin pool that fills up stops every volume
in it, the application's too, so a pool beyond `pool_percent_max` of data or metadata gets no snapshot. Several volumes are
not caught at one instant.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import ClassVar

from holdfast.base.environment import Environment, system
from holdfast.errors import VolumeBusyError, VolumeSnapshotError, VolumeUnsuitableError
from holdfast.sources.programs import Done, Programs, SystemPrograms
from holdfast.sources.volumes.mounts import Mount, mount_of, mount_read_only, unmount
from holdfast.sources.volumes.protocol import Capabilities, Prepared, Tag, View, VolumeSnapshot

__all__ = ["Lvm"]

SECONDS = 30.0
POOL_PERCENT_MAX = 80.0
THICK_PERCENT = 20
FIELDS = "lv_full_name,lv_path,lv_tags,lv_layout,pool_lv,data_percent,metadata_percent"


class Lvm:
    """Snapshots of logical volumes."""

    name: ClassVar[str] = "lvm"

    def __init__(
        self,
        folder: bytes,
        *,
        programs: Programs | None = None,
        env: Environment | None = None,
        among: tuple[Mount, ...] | None = None,
        pool_percent_max: float = POOL_PERCENT_MAX,
    ) -> None:
        """`folder`: where snapshots are mounted. `among`: mounts to believe in instead of the kernel's."""
        self._folder, self._among, self._pool_percent_max = folder, among, pool_percent_max
        self._env = env or system()
        self._programs = programs or SystemPrograms(self._env)

    def capabilities(self) -> Capabilities:
        """Say what its snapshots are like."""
        return Capabilities(
            atomic_group=False,
            crash_consistent=True,
            writable_clone=False,
            stalls_writes=True,
            age_seconds_max=6 * 3600,
            cost="room in the pool for what is overwritten; each write to an old block costs one more",
        )

    def _run(self, *command: str) -> Done:
        done = self._programs.run(command, timeout=SECONDS)
        if not done.ok:
            raise VolumeSnapshotError(f"{command[0]} ended with {'a time-out' if done.timed_out else done.code}")
        return done

    def _volumes(self) -> list[dict[str, str]]:
        done = self._run("lvs", "--reportformat", "json", "--all", "-o", FIELDS)
        try:
            found: list[dict[str, str]] = json.loads(done.out)["report"][0]["lv"]
        except (ValueError, KeyError, IndexError) as error:
            raise VolumeSnapshotError("lvs printed no report") from error
        return found

    def prepare(self, targets: Sequence[bytes]) -> Prepared:
        """Find the volume below the targets and look at its pool."""
        found = {mount_of(target, self._among) for target in targets}
        mount = found.pop() if found else None
        if found or mount is None:
            raise VolumeUnsuitableError(
                "the data lies on several file systems, which LVM does not catch at one instant"
            )
        volumes = self._volumes()
        device = os.path.realpath(mount.device)
        row = next((row for row in volumes if row["lv_path"] and os.path.realpath(row["lv_path"]) == device), None)
        if row is None:
            raise VolumeUnsuitableError("a path of the application lies on no logical volume")
        self._check_pool(row, volumes)
        thin = "yes" if row["pool_lv"] else "no"
        details = (("thin", thin), ("kind", mount.kind), ("place", os.fsdecode(mount.place)))
        return Prepared(self.name, tuple(targets), (row["lv_full_name"],), details)

    def _check_pool(self, row: dict[str, str], volumes: Sequence[dict[str, str]]) -> None:
        if not row["pool_lv"]:
            return
        group = row["lv_full_name"].partition("/")[0]
        for pool in volumes:
            if pool["lv_full_name"] == f"{group}/{row['pool_lv']}":
                used = max(float(pool["data_percent"] or 0), float(pool["metadata_percent"] or 0))
                if used > self._pool_percent_max:
                    raise VolumeBusyError(
                        f"the thin pool is {used:.0f} % full; beyond {self._pool_percent_max:.0f} % no snapshot is made"
                    )

    def create(self, prepared: Prepared, tag: Tag) -> VolumeSnapshot:
        """Make the snapshot; it carries the tag as an LVM tag and in its name."""
        details = dict(prepared.details)
        room = [] if details["thin"] == "yes" else ["-l", f"{THICK_PERCENT}%ORIGIN"]
        began = self._env.monotonic()
        self._run("lvcreate", "-s", "-n", str(tag), *room, "--addtag", str(tag), prepared.volumes[0])
        took = (self._env.monotonic() - began) * 1000
        group = prepared.volumes[0].partition("/")[0]
        return VolumeSnapshot(self.name, (f"{group}/{tag}",), tag, prepared, took)

    def views(self, snapshot: VolumeSnapshot) -> tuple[View, ...]:
        """Activate and mount it, read-only."""
        found = self.where(snapshot)
        place = self._place(snapshot)
        if not os.path.isdir(place) and snapshot.prepared is not None:
            kind = dict(snapshot.prepared.details)["kind"]
            self._run("lvchange", "-ay", "-K", snapshot.ids[0])
            mount_read_only(self._programs, f"/dev/{snapshot.ids[0]}", kind, place)
        return found

    def where(self, snapshot: VolumeSnapshot) -> tuple[View, ...]:
        """Point into the folder that it will be mounted on."""
        if snapshot.prepared is None:
            raise VolumeUnsuitableError("a snapshot that was only found has no targets")
        place, top = self._place(snapshot), os.fsencode(dict(snapshot.prepared.details)["place"])
        return tuple(
            View(target, os.path.normpath(os.path.join(place, os.path.relpath(target, top))))
            for target in snapshot.prepared.targets
        )

    def _place(self, snapshot: VolumeSnapshot) -> bytes:
        return os.path.join(self._folder, str(snapshot.tag).encode())

    def clone(self, snapshot: VolumeSnapshot) -> tuple[View, ...]:
        """Refuse: a drill restores from the vault."""
        raise VolumeUnsuitableError(f"{snapshot.provider} makes no writable copies here")

    def delete(self, snapshot: VolumeSnapshot) -> None:
        """Unmount and remove it; only a volume with its own tag in the name is ever removed."""
        if Tag.find(snapshot.ids[0]) != snapshot.tag:
            raise VolumeUnsuitableError("a volume without this tag in its name is never removed")
        unmount(self._programs, self._place(snapshot))
        if any(row["lv_full_name"] == snapshot.ids[0] for row in self._volumes()):
            self._run("lvremove", "-f", snapshot.ids[0])

    def tagged(self) -> tuple[VolumeSnapshot, ...]:
        """List the volumes that carry our tag."""
        found = []
        for row in self._volumes():
            tag = Tag.find(row["lv_tags"])
            if tag is not None:
                found.append(VolumeSnapshot(self.name, (row["lv_full_name"],), tag))
        return tuple(found)
