"""What the repository hands out: frozen values without behaviour."""

from __future__ import annotations

from dataclasses import field, replace
from datetime import datetime

from holdfast.base.values import dataclass


@dataclass(frozen=True, slots=True)
class ClassPart:
    """What a snapshot holds of one data class. Readable without that class's key, hence buckets (powers of two)."""

    class_id: int
    class_name: str
    generation: int
    refs: str
    part: str
    segments: int
    bytes_bucket: int
    files_bucket: int


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """A committed snapshot. `label` and the fields after it need the key of its main class: empty without it."""

    id: str
    source: str
    parent: str
    writer: str
    started: datetime
    finished: datetime
    partial: bool
    findings: int
    anomaly: int
    retain_until: datetime | None
    admitted: datetime | None
    held: bool
    classes: tuple[ClassPart, ...]
    label: str = ""
    host: str = ""
    paths: tuple[bytes, ...] = ()
    tags: tuple[str, ...] = ()
    dropped: tuple[ClassPart, ...] = ()
    """Classes of it that were forgotten: retention differs by class, and the others are whole."""
    released: bool = False
    """A person released it: its anomaly, if it has one, pins nothing any more."""
    salvaged: bool = False
    """Its envelope cannot be read: this is what its decision and its parts say, and there may have been more classes."""

    def with_part(self, part: SealedPart | SnapshotDraft) -> SnapshotInfo:
        """Return the snapshot with what its main part says."""
        return replace(self, label=part.label, host=part.host, paths=part.paths, tags=part.tags)

    @property
    def counted_at(self) -> datetime:
        """The time retention counts: the admission time given by the pruner's side, the writer's own until there is one."""
        return self.admitted or self.finished


@dataclass(frozen=True, slots=True)
class PartFinding:
    """A finding as a sealed part keeps it."""

    path: bytes
    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class SealedPart:
    """The opened part of one class of a snapshot: what only restorers of that class see."""

    class_id: int
    generation: int
    root: str
    """Location of the tree's root as text, `HEX:segment:chunk`."""
    entries: int
    content_bytes: int
    program: str
    host: str = ""
    label: str = ""
    paths: tuple[bytes, ...] = ()
    tags: tuple[str, ...] = ()
    findings: tuple[PartFinding, ...] = ()
    evidence: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClassDraft:
    """One class tree of a snapshot about to be committed."""

    class_id: int
    root: str
    entries: int
    content_bytes: int
    refs_payload: bytes
    """The reference set's plaintext, full or as a delta; empty with `refs_same`."""
    refs_same: str = ""
    """SHA of the parent's reference set if nothing changed: it is named again, and no new one is put."""
    segments: int = 0
    findings: tuple[PartFinding, ...] = ()


@dataclass(frozen=True, slots=True)
class SnapshotDraft:
    """A snapshot about to be committed; `parent` is a snapshot id or empty."""

    classes: tuple[ClassDraft, ...]
    parent: str
    started: datetime
    partial: bool
    program: str
    host: str = ""
    label: str = ""
    paths: tuple[bytes, ...] = ()
    tags: tuple[str, ...] = ()
    evidence: dict[str, object] = field(default_factory=dict)
    anomaly: int = 0
    retain_until: datetime | None = None
