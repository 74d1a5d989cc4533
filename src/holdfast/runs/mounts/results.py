"""What a mount came to."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MountFinished", "MountResult"]

EXIT_PARTIAL = 3
EXIT_DAMAGED = 4


@dataclass(frozen=True, slots=True)
class MountResult:
    """A mount that ended."""

    snapshots: int
    writable: bool
    seconds: float
    classes_missing: int = 0
    """Data classes that need a key that is not at hand: what they hold was not to be seen."""
    fetched_bytes: int = 0
    whole: bool = False
    """Of a writable mount: everything is on the local disk."""
    lost_files: int = 0
    """Of a writable mount: files that could not be filled, their content is damaged or missing in the vault."""

    classes_lost: int = 0
    """Data classes of which nothing was to be seen: the object that names what is in them is damaged."""

    snapshots_lost: int = 0
    """Of a mount of all snapshots: those that were not there, because they cannot be read."""

    unread: int = 0
    """Answers that damage did not allow: reads, lookups and listings that ended with an input/output error."""

    unread_snapshots: tuple[str, ...] = ()
    """The snapshots in which that was."""

    @property
    def exit_code(self) -> int:
        """0; 3 a class could not be read; 4 damage found."""
        lost = self.lost_files or self.classes_lost or self.snapshots_lost or self.unread
        return EXIT_DAMAGED if lost else EXIT_PARTIAL if self.classes_missing else 0


@dataclass(frozen=True, slots=True)
class MountFinished:
    """A writable mount that became a plain folder."""

    snapshot: str
    seconds: float
    """From the end of the mount to the folder in its place."""
