"""A volume snapshot in the hands of one capture: prepared before the freeze, taken inside it, shown after it, let go at the end.

Volume snapshots have a new name each time. So that files keep their names from run to run (what did not change is then not
read again), the snapshot is bound to one lasting folder for each application, where the system allows it (root).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence

from holdfast.base.environment import Environment
from holdfast.errors import VolumeSnapshotError
from holdfast.sources.programs import Programs, SystemPrograms
from holdfast.sources.volumes.mounts import MOUNT_SECONDS, unmount
from holdfast.sources.volumes.protocol import Prepared, Tag, View, VolumeProvider, VolumeSnapshot, sweep

__all__ = ["HeldVolumes"]

KEEP_SECONDS = 24 * 3600
VIEWS = b"/run/holdfast/views"


class HeldVolumes:
    """One provider's snapshots of one application's targets."""

    def __init__(
        self,
        provider: VolumeProvider,
        targets: Sequence[bytes],
        *,
        name: str,
        env: Environment,
        programs: Programs | None = None,
        folder: bytes = VIEWS,
        bind: bool | None = None,
    ) -> None:
        """`name` of the application names the lasting folder in `folder`. `bind`: whether to use it; by default root does."""
        self._provider, self._targets, self._env = provider, tuple(targets), env
        self._programs = programs or SystemPrograms(env)
        self._root = os.path.join(folder, name.encode())
        self._bind = os.geteuid() == 0 if bind is None else bind
        self._prepared: Prepared | None = None
        self.snapshot: VolumeSnapshot | None = None

    @property
    def provider(self) -> VolumeProvider:
        """Who makes the snapshots."""
        return self._provider

    def prepare(self, alive: Callable[[str], bool] = lambda _owner: True) -> None:
        """Do what is slow: find the volumes; take away what dead runs left. Changes nothing that the application sees."""
        if self.snapshot is None:
            self._hide()
        self._prepared = self._provider.prepare(self._targets)
        sweep(self._provider, self._env, alive)

    def take(self) -> tuple[bytes, ...]:
        """Make the snapshot; return where the targets can be read after :meth:`show`. Lets go of one taken before."""
        if self._prepared is None:
            self.prepare()
        if self.snapshot is not None:
            self.release()
        assert self._prepared is not None  # noqa: S101 - prepared above
        self.snapshot = self._provider.create(self._prepared, Tag.of(self._env, KEEP_SECONDS))
        return self.shown()

    def shown(self) -> tuple[bytes, ...]:
        """Return where what was taken can be read."""
        return tuple(self._shown(view) for view in self._provider.where(self.snapshot)) if self.snapshot else ()

    def _shown(self, view: View) -> bytes:
        if not self._bind:
            return view.path
        return os.path.join(
            self._root, hashlib.sha256(view.target).hexdigest()[:8].encode(), os.path.basename(view.target)
        )

    def show(self) -> None:
        """Make readable what was taken: mount it where `take` said. Twice is no harm."""
        if self.snapshot is None:
            return
        for view in self._provider.views(self.snapshot):
            place = self._shown(view)
            if place != view.path and not os.path.ismount(place):
                self._bind_to(view.path, place)

    def _bind_to(self, path: bytes, place: bytes) -> None:
        if os.path.isdir(path):
            os.makedirs(place, mode=0o700, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
            with open(place, "ab"):
                pass
        done = self._programs.run(["mount", "--bind", os.fsdecode(path), os.fsdecode(place)], timeout=MOUNT_SECONDS)
        if not done.ok:
            raise VolumeSnapshotError(f"a volume snapshot could not be shown (mount ended with {done.code})")

    def _hide(self) -> None:
        """Undo what `show` did, in this run or in one that was lost."""
        if not self._bind or not os.path.isdir(self._root):
            return
        for name in sorted(os.listdir(self._root)):
            folder = os.path.join(self._root, name)
            for each in sorted(os.listdir(folder)):
                place = os.path.join(folder, each)
                if os.path.isdir(place):
                    unmount(self._programs, place)
                else:
                    self._programs.run(["umount", os.fsdecode(place)], timeout=MOUNT_SECONDS)
                    os.unlink(place)
            os.rmdir(folder)
        os.rmdir(self._root)

    def release(self) -> None:
        """Let go of it, shown or not. `VolumeSnapshotError` while it is in use: its deadline is left to the sweeper."""
        if self.snapshot is None:
            return
        self._hide()
        snapshot, self.snapshot = self.snapshot, None
        self._provider.delete(snapshot)

    @property
    def proofs(self) -> tuple[tuple[str, str], ...]:
        """What evidence says of it."""
        if self.snapshot is None:
            return ()
        return (
            ("volume-provider", self._provider.name),
            ("volume-snapshot", str(self.snapshot.tag)),
            ("volume-snapshot-ms", f"{self.snapshot.create_ms:.1f}"),
        )
