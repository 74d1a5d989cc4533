"""The last good snapshot of a source: the newest that does not look like the work of ransomware.

A snapshot is suspect if its own anomaly score says so (and nobody released it), or if it changed against the one before as no
ordinary day does: most files gone or replaced at once. Where a suspect one was followed by ordinary ones, those are suspect too,
until a person releases them: an attacker goes on backing up. Pure but for reading two trees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.repository.retention import suspicious
from holdfast.runs.trees import Trees, changes

if TYPE_CHECKING:
    from holdfast.repository.types import SnapshotInfo
    from holdfast.runs.assembly import OpenVault

__all__ = ["Turnover", "last_good", "suspect", "turnover"]

CHANGED_MAX = 0.5
"""More than this part of the files before gone or with other content is no ordinary day."""
FILES_MIN = 1


@dataclass(frozen=True, slots=True)
class Turnover:
    """What became of the files of a snapshot in the next one."""

    files: int
    removed: int
    changed: int
    added: int

    @property
    def fraction(self) -> float:
        """The part of the files that are gone or have other content."""
        return (self.removed + self.changed) / self.files if self.files else 0.0


def suspect(info: SnapshotInfo, found: Turnover | None) -> bool:
    """Whether a snapshot is suspect, by its score or by what changed since the one before. Pure."""
    if info.released:
        return False
    if suspicious(info):
        return True
    return found is not None and found.files >= FILES_MIN and found.fraction > CHANGED_MAX


def turnover(vault: OpenVault, before: SnapshotInfo, after: SnapshotInfo) -> Turnover:
    """Return what changed between two snapshots; costs what the change does, and one walk of the older tree."""
    old, new = Trees(vault, before), Trees(vault, after)
    files = sum(entry.kind == "file" for entry in old.walk())
    counts = dict.fromkeys(("removed", "changed", "added"), 0)
    for change in changes(old, new):
        entry = change.before or change.after
        if entry is not None and entry.kind == "file" and change.kind in counts:
            counts[change.kind] += 1
    return Turnover(files, counts["removed"], counts["changed"], counts["added"])


def last_good(vault: OpenVault, history: Sequence[SnapshotInfo]) -> SnapshotInfo | None:
    """Return the newest snapshot before the first suspect one; the newest of all if none is suspect; None without any.

    `history`: the snapshots of one source, oldest first.
    """
    found: SnapshotInfo | None = None
    for place, info in enumerate(history):
        # The score costs nothing: trees are read only where it says nothing.
        changed = turnover(vault, history[place - 1], info) if place and not suspicious(info) else None
        if suspect(info, changed):
            return found
        found = info
    return found
