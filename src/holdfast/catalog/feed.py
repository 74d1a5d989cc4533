"""Where the catalog learns what changed: the differences between a snapshot's tree and the one before, in batches of rows."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from holdfast.catalog.records import KIND_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

BATCH_ROWS = 8192
_KINDS = {name: number for number, name in enumerate(KIND_NAMES)}

Row: TypeAlias = tuple[bytes, bytes, int, int, int, int | None]
"""An entry: folder, name, kind, size, mtime in ns, mark. Equal marks mean that nothing at all differs; None: unknown."""
Batch: TypeAlias = tuple[list[Row], list[tuple[bytes, bytes]]]
"""Entries added or changed, and (folder, name) of entries removed."""


class SnapshotLike(Protocol):
    """What the catalog needs of a snapshot."""

    @property
    def id(self) -> str:
        """Return its id."""

    @property
    def source(self) -> str:
        """Return the opaque id of its source."""

    @property
    def finished(self) -> datetime:
        """Return when it was finished."""

    @property
    def classes(self) -> Iterable[ClassLike]:
        """Return its data classes."""


class ClassLike(Protocol):
    """A data class in a snapshot."""

    @property
    def class_id(self) -> int:
        """Return its number."""


class Feed(Protocol):
    """A vault as the catalog reads it."""

    def snapshots(self) -> Sequence[SnapshotLike]:
        """Return all committed snapshots, oldest first."""

    def root(self, snapshot: SnapshotLike, class_id: int) -> str | None:
        """Return the root of a class tree; None if it cannot be read with the keys at hand, or is damaged."""

    def rows(self, root: str, base: str | None) -> Iterator[Batch]:
        """Yield what a tree has that `base` has not (None: everything it has), in tree order. `DamageError`."""


class VaultFeed:
    """A feed from an open repository and the engine's reader."""

    def __init__(self, repository: RepositoryLike, reader: ReaderLike) -> None:
        """Use both as they are; they stay open as long as the feed is used."""
        self._repository = repository
        self._reader = reader

    def snapshots(self) -> Sequence[SnapshotLike]:
        """Return the repository's snapshots."""
        return self._repository.snapshots()

    def root(self, snapshot: SnapshotLike, class_id: int) -> str | None:
        """Open the sealed part, if the key is at hand."""
        if not self._repository.can_read(class_id):
            return None
        return self._repository.part(snapshot, class_id).root

    def rows(self, root: str, base: str | None) -> Iterator[Batch]:
        """Walk the tree, or compare it with its base."""
        from holdfast import engine

        with engine.translated():
            tree = self._reader.tree(root)
            if isinstance(tree, FastTree):
                yield from tree.catalog_rows(self._reader.tree(base) if base else None, BATCH_ROWS)
            elif base is None:
                yield from _walked(tree.walk(b""))
            else:
                yield from _compared(self._reader.tree(base).diff(tree))


class RepositoryLike(Protocol):
    """What the feed needs of a repository."""

    def snapshots(self) -> Sequence[SnapshotLike]:
        """Return all committed snapshots, oldest first."""

    def can_read(self, class_id: int) -> bool:
        """Return whether a key for the class's content is at hand."""

    def part(self, snapshot: SnapshotLike, class_id: int) -> PartLike:
        """Return the opened part of a class."""


class PartLike(Protocol):
    """An opened part."""

    @property
    def root(self) -> str:
        """Return the root of its tree."""


class EntryLike(Protocol):
    """An entry as the engine gives it."""

    @property
    def path(self) -> bytes:
        """Return its path."""

    @property
    def kind(self) -> str:
        """Return the name of its kind."""

    @property
    def size(self) -> int:
        """Return the bytes of its content."""

    @property
    def mtime_ns(self) -> int:
        """Return its modification time."""


class ChangeLike(Protocol):
    """A difference as the engine gives it."""

    @property
    def path(self) -> bytes:
        """Return the path."""

    @property
    def after(self) -> EntryLike | None:
        """Return the entry, None if it was removed."""


class TreeLike(Protocol):
    """A tree as the engine gives it."""

    def walk(self, prefix: bytes = b"") -> Iterator[EntryLike]:
        """Yield its entries."""

    def diff(self, other: TreeLike) -> Iterator[ChangeLike]:
        """Yield the differences."""


class ReaderLike(Protocol):
    """What opens trees."""

    def tree(self, root: str) -> TreeLike:
        """Return the tree of a root."""


@runtime_checkable
class FastTree(Protocol):
    """A tree that makes the catalog's rows itself, several times faster."""

    def catalog_rows(self, base: object | None, batch: int) -> Iterator[Batch]:
        """Yield what it has that `base` has not."""


def split(path: bytes) -> tuple[bytes, bytes]:
    """Return folder and name of a path; the root is the entry without a name in the folder without a name."""
    folder, _, name = path.rpartition(b"/")
    return folder, name


def _row(entry: EntryLike) -> Row:
    return (*split(entry.path), _KINDS[entry.kind], entry.size, entry.mtime_ns, None)


def _walked(entries: Iterator[EntryLike]) -> Iterator[Batch]:
    while batch := list(islice(entries, BATCH_ROWS)):
        yield [_row(entry) for entry in batch], []


def _compared(changes: Iterator[ChangeLike]) -> Iterator[Batch]:
    while batch := list(islice(changes, BATCH_ROWS)):
        present = [_row(change.after) for change in batch if change.after is not None]
        yield present, [split(change.path) for change in batch if change.after is None]
