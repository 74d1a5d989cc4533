"""What a volume snapshot provider promises, and how snapshots that nobody took away are found.

A **volume snapshot** is a point in time on the source: btrfs, LVM, ZFS, VSS, a cloud's disk. It serves one backup and is
never the only copy. Everything slow belongs into `prepare`, before an application is frozen; `create` alone runs inside the
freeze window. Each snapshot carries a :class:`Tag` with its owner and a deadline, so that :func:`sweep` removes what a run
that died has left.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from holdfast.base.environment import Environment
from holdfast.errors import VolumeSnapshotError

__all__ = [
    "Capabilities",
    "Prepared",
    "Swept",
    "Tag",
    "View",
    "VolumeProvider",
    "VolumeSnapshot",
    "leaks",
    "sweep",
]

_TAG = re.compile(r"holdfast-([0-9a-f]{32})-(\d{1,12})")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What snapshots of a provider are like."""

    atomic_group: bool
    """Several volumes are caught at one instant."""
    crash_consistent: bool
    """Writes keep their order: what the snapshot shows is what a power failure would have left."""
    writable_clone: bool
    """A copy that an application can be started on costs no time."""
    stalls_writes: bool
    """Writers wait while it is made, so it belongs under the watchdog."""
    age_seconds_max: int | None
    """It may not be kept longer: it fills up, or it costs; None without such a limit."""
    cost: str
    """What it costs to have one, in a sentence."""


@dataclass(frozen=True, slots=True)
class Tag:
    """Whose snapshot it is, and when at the latest it should be gone."""

    owner: str
    """The run: 32 hex digits."""
    deadline: int
    """Seconds since 1970 on this host's clock. It decides only when a snapshot without an owner is called a leak."""

    def __str__(self) -> str:
        return f"holdfast-{self.owner}-{self.deadline}"

    @classmethod
    def find(cls, text: str) -> Tag | None:
        """Return the tag in a name or a label; None if there is none, which means that the snapshot is not ours."""
        match = _TAG.search(text)
        return cls(match[1], int(match[2])) if match else None

    @classmethod
    def of(cls, env: Environment, seconds: int) -> Tag:
        """Return a new tag that is good for so many seconds from now."""
        return cls(env.random_id(), int(env.now().timestamp()) + seconds)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `create` needs and what took long to find out."""

    provider: str
    targets: tuple[bytes, ...]
    volumes: tuple[str, ...]
    """The volumes that hold the targets, in the provider's own words."""
    details: tuple[tuple[str, str], ...] = ()
    """What else the provider wants to remember."""


@dataclass(frozen=True, slots=True)
class VolumeSnapshot:
    """One point in time of one or several volumes."""

    provider: str
    ids: tuple[str, ...]
    """What the provider calls its parts, one for each volume."""
    tag: Tag
    prepared: Prepared | None = None
    """None for a snapshot that was found, not made, by this process."""
    create_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class View:
    """Where the content of a target at the point in time can be read."""

    target: bytes
    path: bytes


@runtime_checkable
class VolumeProvider(Protocol):
    """A maker of volume snapshots. Methods raise `VolumeSnapshotError` and leave nothing behind when they do."""

    @property
    def name(self) -> str:
        """Its word in configuration and evidence."""
        ...

    def capabilities(self) -> Capabilities:
        """Say what its snapshots are like."""
        ...

    def prepare(self, targets: Sequence[bytes]) -> Prepared:
        """Find the volumes and check their room. Slow; before the freeze. `VolumeUnsuitableError` if a target lies on none."""
        ...

    def create(self, prepared: Prepared, tag: Tag) -> VolumeSnapshot:
        """Make the snapshot, inside the freeze window. All volumes or none."""
        ...

    def where(self, snapshot: VolumeSnapshot) -> tuple[View, ...]:
        """Say where the content will be readable, without making it so: takes no time, for use inside the freeze window."""
        ...

    def views(self, snapshot: VolumeSnapshot) -> tuple[View, ...]:
        """Make the snapshot readable, read-only, and say where; a second call says the same."""
        ...

    def clone(self, snapshot: VolumeSnapshot) -> tuple[View, ...]:
        """Make a writable copy for a drill. `VolumeUnsuitableError` where there is no such thing."""
        ...

    def delete(self, snapshot: VolumeSnapshot) -> None:
        """Take away the snapshot, its views and its clones; what is gone already is no error."""
        ...

    def tagged(self) -> tuple[VolumeSnapshot, ...]:
        """List the snapshots of this provider that carry a tag of Holdfast, whoever made them."""
        ...


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did."""

    removed: int
    failed: int
    """Leaks that are still there; the next sweep tries again."""
    kept: int
    """Snapshots of runs that live, or whose deadline has not come."""
    reasons: tuple[str, ...] = field(default=())


def leaks(
    found: Iterable[VolumeSnapshot], *, now: int, alive: Callable[[str], bool]
) -> tuple[tuple[VolumeSnapshot, ...], int]:
    """Return the snapshots to remove, past their deadline or without a living owner, and the count of the others."""
    gone, kept = [], 0
    for snapshot in found:
        if alive(snapshot.tag.owner) and now < snapshot.tag.deadline:
            kept += 1
        else:
            gone.append(snapshot)
    return tuple(gone), kept


def sweep(provider: VolumeProvider, env: Environment, alive: Callable[[str], bool]) -> Swept:
    """Remove what dead runs left. `alive` says whether a run with that owner id still runs on this host."""
    plan, kept = leaks(provider.tagged(), now=int(env.now().timestamp()), alive=alive)
    reasons = []
    for snapshot in plan:
        try:
            provider.delete(snapshot)
        except VolumeSnapshotError as error:
            reasons.append(error.what)
    return Swept(len(plan) - len(reasons), len(reasons), kept, tuple(reasons))
