"""What must be true, whatever happens: the judge of a simulation, who sees everything and shares no code with what is judged.

It knows what each acknowledged snapshot must hold, and watches the disk itself: the moment a pack goes that an acknowledged
snapshot needs and no other pack carries, the simulation ends.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from holdfast.testing.fake_engine import FRONT, Segment

__all__ = ["Oracle", "ViolationError", "segments_of"]


class ViolationError(AssertionError):
    """An invariant is broken."""


@dataclass(slots=True)
class Oracle:
    """Acknowledged snapshots, by id: for each file and version the segment that holds it."""

    objects: dict[str, bytes]
    """What is on the disk."""
    must_hold: dict[str, dict[tuple[str, int], Segment]] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)
    """Snapshots that somebody began to forget."""
    acknowledged: int = 0
    _known: dict[tuple[str, int], frozenset[Segment]] = field(default_factory=dict)
    """By name and length of a pack."""

    def acknowledge(self, snapshot: str, files: dict[tuple[str, int], Segment]) -> None:
        """A writer was told that its snapshot is committed."""
        self.acknowledged += 1
        if f"snapshot/{snapshot}" not in self.objects and snapshot not in self.forgotten:
            raise ViolationError(f"snapshot {snapshot} was acknowledged and is not there")
        if snapshot not in self.forgotten:
            self.must_hold[snapshot] = dict(files)
            self.whole(snapshot)

    def forget(self, snapshot: str) -> None:
        """Somebody is about to forget a snapshot: from now on nothing is promised about it."""
        self.forgotten.add(snapshot)
        self.must_hold.pop(snapshot, None)

    def gone(self, name: str, data: bytes) -> None:
        """An object was deleted."""
        if not name.startswith(("data/", "meta/")):
            return
        lost = segments_of(name, data, self._known) - self.carried()
        for snapshot, files in self.must_hold.items():
            if lost & set(files.values()):
                raise ViolationError(f"{name} was deleted, and acknowledged snapshot {snapshot} needs it")

    def carried(self) -> frozenset[Segment]:
        """Return every segment that some pack on the disk holds."""
        found: set[Segment] = set()
        for name, data in self.objects.items():
            if name.startswith(("data/", "meta/")):
                found |= segments_of(name, data, self._known)
        return frozenset(found)

    def whole(self, snapshot: str) -> None:
        """Raise if a segment of an acknowledged snapshot is in no pack."""
        lacking = set(self.must_hold[snapshot].values()) - self.carried()
        if lacking:
            raise ViolationError(f"acknowledged snapshot {snapshot} lacks {len(lacking)} segments")


def segments_of(name: str, data: bytes, known: dict[tuple[str, int], frozenset[Segment]]) -> frozenset[Segment]:
    """Return the segments in a pack of the stand-in engine, none if it is not whole."""
    found = known.get((name, len(data)))
    if found is not None:
        return found
    try:
        head, _, _ = data[len(FRONT) :].partition(b"\n")
        _, _, listed = json.loads(head)
        whole = len(data) == len(FRONT) + len(head) + 1 + sum(size for _, _, size in listed)
    except ValueError:
        return frozenset()
    if not whole:
        return frozenset()
    found = frozenset((bytes.fromhex(nonce)[:16], ordinal) for nonce, ordinal, _ in listed)
    known[name, len(data)] = found
    return found
