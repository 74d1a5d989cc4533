"""What a restore of a whole host would do, and what it did."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.services.hosts.plan import DiskPlan, FileSystemPlan
from holdfast.services.judge import Outcome

__all__ = ["HostPhase", "HostPlan", "HostRestore"]

EXIT_FAILED = 1
EXIT_PARTIAL = 3
EXIT_DAMAGE = 4


@dataclass(frozen=True, slots=True)
class HostPlan:
    """What a host is made of and what its new disks would become. Nothing was written."""

    snapshot: str
    started: str
    system: str
    architecture: str
    firmware: str
    loader: str
    packages: int
    services: int
    entries: int
    """Files, folders and all else that would be restored."""
    bytes: int
    disks: tuple[DiskPlan, ...]
    file_systems: tuple[FileSystemPlan, ...]
    missing: tuple[str, ...]
    """What the inventory could not find out when the host was backed up."""
    resumes: bool
    """An interrupted restore of this snapshot to these disks would be gone on with."""


@dataclass(frozen=True, slots=True)
class HostPhase:
    """One step and how long it took."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class HostRestore:
    """A host on its new disks, and what the check of it by chroot came to."""

    snapshot: str
    files: int
    bytes: int
    seconds: float
    phases: tuple[HostPhase, ...]
    outcomes: tuple[Outcome, ...]
    findings: int
    damaged: bool
    resumed: bool
    by_hand: str = ""
    """What is left to a person before it boots; empty: nothing."""

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Checks that did not come out as they should."""
        return tuple(outcome for outcome in self.outcomes if outcome.state == "failed")

    @property
    def exit_code(self) -> int:
        """0 whole and checked; 4 damage in the vault; 1 a check failed; 3 partial."""
        if self.damaged:
            return EXIT_DAMAGE
        return EXIT_FAILED if self.failed else EXIT_PARTIAL if self.findings else 0
