"""VSS: shadow copies of a Windows host's volumes, made by its `diskshadow` over SSH, exposed under a folder of that host.

Writers (SQL Server among them) are frozen by Windows itself, which thaws by itself: 60 s after the freeze it aborts. A host with
more than 35 databases should not use it (Microsoft's KB 943471). The script is handed over on standard input. A shadow copy
has no labels: the owner and the deadline are in the folder's name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from holdfast.base.environment import Environment, system
from holdfast.errors import VolumeBusyError, VolumeSnapshotError, VolumeUnsuitableError
from holdfast.sources.programs import Done, Programs, SystemPrograms
from holdfast.sources.volumes.protocol import Capabilities, Prepared, Tag, View, VolumeSnapshot

__all__ = ["Vss"]

SECONDS = 120.0
_DRIVE = re.compile(rb"([A-Za-z]):[\\/]")
_SHADOW = re.compile(r"Shadow copy ID = \{([0-9a-fA-F-]{36})\}")
_EXPOSED = re.compile(r"Shadow copy ID = \{([0-9a-fA-F-]{36})\}.*?Exposed locally as: (\S+)", re.DOTALL)


class Vss:
    """Shadow copies of one Windows host."""

    name: ClassVar[str] = "vss"

    def __init__(
        self, shell: Sequence[str], folder: str, *, programs: Programs | None = None, env: Environment | None = None
    ) -> None:
        r"""`shell` reaches the host, as `("ssh", "backup@host")`; `folder` is where copies are exposed, as `C:\holdfast`."""
        self._shell, self._folder = tuple(shell), folder.rstrip("\\")
        self._env = env or system()
        self._programs = programs or SystemPrograms(self._env)

    def capabilities(self) -> Capabilities:
        """Say what its snapshots are like."""
        return Capabilities(
            atomic_group=True,
            crash_consistent=True,
            writable_clone=False,
            stalls_writes=True,
            age_seconds_max=24 * 3600,
            cost="room in the shadow storage; Windows drops old copies when it fills",
        )

    def _run(self, *lines: str) -> Done:
        script = "\r\n".join((*lines, "exit", "")).encode()
        done = self._programs.run([*self._shell, "diskshadow"], timeout=SECONDS, stdin=script)
        if not done.ok:
            if b"VSS_E_INSUFFICIENT_STORAGE" in done.out or b"VSS_E_SNAPSHOT_SET_IN_PROGRESS" in done.out:
                raise VolumeBusyError("the host has no room for a shadow copy, or makes another at this moment")
            raise VolumeSnapshotError(f"diskshadow ended with {'a time-out' if done.timed_out else done.code}")
        return done

    def prepare(self, targets: Sequence[bytes]) -> Prepared:
        """Find the drives, and see that every writer is stable."""
        found = [_DRIVE.match(target) for target in targets]
        drives = sorted({match[1].upper().decode() for match in found if match is not None})
        if not drives or None in found:
            raise VolumeUnsuitableError("a path of a shadow copy begins with a drive, as C:")
        states = re.findall(r"State: \[?\d*\]?\s*(\w+)", self._run("list writers status").text)
        failed = sum(state != "Stable" for state in states)
        if failed:
            raise VolumeBusyError(f"{failed} of {len(states)} VSS writers are not stable")
        return Prepared(self.name, tuple(targets), tuple(f"{drive}:" for drive in drives))

    def create(self, prepared: Prepared, tag: Tag) -> VolumeSnapshot:
        """Make one set of copies of all drives and expose each."""
        began = self._env.monotonic()
        done = self._run(
            "set context persistent",
            "begin backup",
            *(f"add volume {drive} alias holdfast{drive[0]}" for drive in prepared.volumes),
            "create",
            *(f"expose %holdfast{drive[0]}% {self._place(tag, drive)}" for drive in prepared.volumes),
            "end backup",
        )
        ids = tuple(dict.fromkeys(_SHADOW.findall(done.text)))
        if len(ids) != len(prepared.volumes):
            raise VolumeSnapshotError(f"the host made {len(ids)} shadow copies of {len(prepared.volumes)}")
        return VolumeSnapshot(self.name, ids, tag, prepared, (self._env.monotonic() - began) * 1000)

    def _place(self, tag: Tag, drive: str) -> str:
        return f"{self._folder}\\{tag}-{drive[0]}"

    def views(self, snapshot: VolumeSnapshot) -> tuple[View, ...]:
        """They are exposed already."""
        return self.where(snapshot)

    def where(self, snapshot: VolumeSnapshot) -> tuple[View, ...]:
        """Say where the host exposes them."""
        if snapshot.prepared is None:
            raise VolumeUnsuitableError("a snapshot that was only found has no targets")
        return tuple(
            View(target, self._place(snapshot.tag, target[:1].upper().decode()).encode() + target[2:])
            for target in snapshot.prepared.targets
        )

    def clone(self, snapshot: VolumeSnapshot) -> tuple[View, ...]:
        """Refuse: shadow copies are read-only."""
        raise VolumeUnsuitableError(f"a snapshot of {snapshot.provider} is read-only")

    def delete(self, snapshot: VolumeSnapshot) -> None:
        """Delete the copies that are still there."""
        there = {each for row in self.tagged() if row.tag == snapshot.tag for each in row.ids}
        lines = [f"delete shadows id {{{each}}}" for each in snapshot.ids if each in there]
        if lines:
            self._run(*lines)

    def tagged(self) -> tuple[VolumeSnapshot, ...]:
        """List the copies that are exposed under one of our names."""
        ids: dict[Tag, list[str]] = {}
        for shadow, place in _EXPOSED.findall(self._run("list shadows all").text):
            tag = Tag.find(place)
            if tag is not None:
                ids.setdefault(tag, []).append(shadow)
        return tuple(VolumeSnapshot(self.name, tuple(parts), tag) for tag, parts in ids.items())
