"""What the catalog answers with: frozen values without behaviour."""

from __future__ import annotations

from datetime import datetime

from holdfast.base.values import dataclass

KIND_NAMES = ("", "file", "folder", "symlink", "fifo", "char-device", "block-device")
"""Kinds of entries by their number in the format."""
FOLDER = 2


@dataclass(frozen=True, slots=True)
class CatalogSnapshot:
    """A snapshot in the catalog. `classes` are those whose names it knows, `missing` those it could not read."""

    id: str
    source: str
    finished: datetime
    classes: tuple[int, ...]
    missing: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One entry at one snapshot."""

    path: bytes
    kind: str
    size: int
    mtime_ns: int
    class_id: int


@dataclass(frozen=True, slots=True)
class FileVersion:
    """One version of an entry: the same in every snapshot of its source from `first` to `last` (ids) that has it."""

    path: bytes
    kind: str
    size: int
    mtime_ns: int
    class_id: int
    source: str
    first: str
    last: str
    first_finished: datetime
    last_finished: datetime
    snapshots: int


@dataclass(frozen=True, slots=True)
class CatalogChange:
    """What became of one path between two snapshots: `kind` is "added", "removed" or "changed"."""

    kind: str
    path: bytes
    before: CatalogEntry | None
    after: CatalogEntry | None


@dataclass(frozen=True, slots=True)
class CatalogUpdate:
    """What an update did. `missing` counts class trees that could not be read; `rebuilt` says it started from nothing."""

    added: int
    forgotten: int
    missing: int
    rows: int
    rebuilt: bool
