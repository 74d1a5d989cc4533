"""EBS: crash-consistent snapshots of several disks of one instance at one instant (`aws ec2 create-snapshots`).

The point in time is when the call is made; copying goes on in the background. The content is not readable on this host: such
a snapshot is an additional copy, made inside the same freeze window, never the backup. Credentials are those of the `aws`
program's own configuration.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

from holdfast.base.environment import Environment, system
from holdfast.errors import VolumeBusyError, VolumeSnapshotError, VolumeUnsuitableError
from holdfast.sources.programs import Programs, SystemPrograms
from holdfast.sources.volumes.protocol import Capabilities, Prepared, Tag, View, VolumeSnapshot

__all__ = ["Ebs"]

SECONDS = 60.0
BUSY = (b"SnapshotCreationPerVolumeRateExceeded", b"RequestLimitExceeded", b"InUse", b"PendingSnapshotLimitExceeded")


class Ebs:
    """Snapshots of the disks of one EC2 instance."""

    name: ClassVar[str] = "ebs"

    def __init__(self, instance: str, *, programs: Programs | None = None, env: Environment | None = None) -> None:
        """`instance` is its id."""
        self._instance = instance
        self._env = env or system()
        self._programs = programs or SystemPrograms(self._env)

    def capabilities(self) -> Capabilities:
        """Say what its snapshots are like."""
        return Capabilities(
            atomic_group=True,
            crash_consistent=True,
            writable_clone=False,
            stalls_writes=False,
            age_seconds_max=None,
            cost="the provider's price for each stored gigabyte and month",
        )

    def _call(self, action: str, *arguments: str) -> dict[str, Any]:
        done = self._programs.run(["aws", "ec2", action, "--output", "json", *arguments], timeout=SECONDS)
        if not done.ok:
            busy = any(word in done.err for word in BUSY)
            raise (VolumeBusyError if busy else VolumeSnapshotError)(
                f"aws ec2 {action} ended with {'a time-out' if done.timed_out else done.code}"
            )
        try:
            found: dict[str, Any] = json.loads(done.out or b"{}")
        except ValueError as error:
            raise VolumeSnapshotError(f"aws ec2 {action} printed no JSON") from error
        return found

    def prepare(self, targets: Sequence[bytes]) -> Prepared:
        """Look at the instance's disks; all but the one it boots from are caught."""
        found = self._call("describe-volumes", "--filters", f"Name=attachment.instance-id,Values={self._instance}")
        ids = tuple(sorted(str(row["VolumeId"]) for row in found.get("Volumes", [])))
        if not ids:
            raise VolumeUnsuitableError("the instance has no disks that can be caught")
        return Prepared(self.name, tuple(targets), ids)

    def create(self, prepared: Prepared, tag: Tag) -> VolumeSnapshot:
        """Ask for all disks at once; tagged while they are made, so that none is ever without an owner."""
        began = self._env.monotonic()
        found = self._call(
            "create-snapshots",
            "--instance-specification",
            f"InstanceId={self._instance},ExcludeBootVolume=true",
            "--tag-specifications",
            f"ResourceType=snapshot,Tags=[{{Key=holdfast,Value={tag}}}]",
        )
        ids = tuple(str(row["SnapshotId"]) for row in found.get("Snapshots", []))
        if not ids:
            raise VolumeSnapshotError("the provider made no snapshot")
        return VolumeSnapshot(self.name, ids, tag, prepared, (self._env.monotonic() - began) * 1000)

    def views(self, snapshot: VolumeSnapshot) -> tuple[View, ...]:
        """Refuse, as `where`."""
        return self.where(snapshot)

    def where(self, snapshot: VolumeSnapshot) -> tuple[View, ...]:
        """Refuse: the content is not here."""
        raise VolumeUnsuitableError(
            f"a snapshot of {snapshot.provider} cannot be read on this host; it is an additional copy"
        )

    def clone(self, snapshot: VolumeSnapshot) -> tuple[View, ...]:
        """Refuse, as `where`."""
        return self.where(snapshot)

    def delete(self, snapshot: VolumeSnapshot) -> None:
        """Delete each part that is still there."""
        there = {each for row in self.tagged() if row.tag == snapshot.tag for each in row.ids}
        for each in snapshot.ids:
            if each in there:
                self._call("delete-snapshot", "--snapshot-id", each)

    def tagged(self) -> tuple[VolumeSnapshot, ...]:
        """List what carries our tag."""
        found = self._call("describe-snapshots", "--owner-ids", "self", "--filters", "Name=tag-key,Values=holdfast")
        ids: dict[Tag, list[str]] = {}
        for row in found.get("Snapshots", []):
            for label in row.get("Tags", []):
                tag = Tag.find(str(label.get("Value", ""))) if label.get("Key") == "holdfast" else None
                if tag is not None:
                    ids.setdefault(tag, []).append(str(row["SnapshotId"]))
        return tuple(VolumeSnapshot(self.name, tuple(parts), tag) for tag, parts in ids.items())
