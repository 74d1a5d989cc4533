"""A snapshot's trees, one per data class, read as if they were one. Classes without a key at hand are counted, not guessed.

Damage costs what it touches: a class whose part cannot be read is left out, and a walk passes over a part of a tree that
cannot be read. Whoever walks is told at the end, by `PartlyLostError`, after all that could be read.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, TypeVar

from holdfast import engine
from holdfast.base.patterns import literal_folder, matcher
from holdfast.errors import DamageError, NotPermittedError, PartlyLostError, PathMissingError
from holdfast.repository.listing import read_part
from holdfast.runs.results import Change, EntryInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from holdfast.repository.types import ClassPart, SealedPart, SnapshotInfo
    from holdfast.runs.assembly import OpenVault

T = TypeVar("T")


class Losses:
    """What a walk of several trees has left out so far."""

    def __init__(self, *trees: Trees) -> None:
        """Begin with the classes that cannot be read at all."""
        self._classes = {part.class_id for each in trees for part in each.lost}
        self._parts = 0

    def __bool__(self) -> bool:
        return bool(self._classes or self._parts)

    def note(self, _error: DamageError) -> None:
        """Take in one more part that cannot be read."""
        self._parts += 1

    def passing(self, stream: Iterable[T]) -> Iterator[T]:
        """Yield a stream whose last answer may be damage: the other streams go on."""
        try:
            with engine.translated():
                yield from stream
        except DamageError as error:
            self.note(error)

    def tell(self) -> None:
        """`PartlyLostError` if anything was left out."""
        if self:
            raise PartlyLostError(
                f"this is not all: {len(self._classes)} data classes of the snapshot, and parts of {self._parts} trees,"
                " cannot be read",
                classes=tuple(sorted(self._classes)),
                trees=self._parts,
            )


class Trees:
    """The readable class trees of one snapshot."""

    def __init__(self, vault: OpenVault, info: SnapshotInfo, classes: frozenset[int] | None = None) -> None:
        """Open what the keys at hand open, of `classes` if given.

        `NotPermittedError` if that is none of it, `DamageError` if none of it can be read.
        """
        wanted = [part for part in info.classes if classes is None or part.class_id in classes]
        self.reader = vault.reader(info.id)
        self.limits = vault.limits
        self.parts: dict[int, SealedPart] = {}
        self.trees: dict[int, engine.Tree] = {}
        self.lost: dict[ClassPart, DamageError] = {}
        """Classes whose part is damaged: what is in them cannot be said."""
        for row in wanted:
            if vault.repository.can_open(row.class_id, row.generation):
                try:
                    part = read_part(vault.repository, info, row.class_id)
                    self.trees[row.class_id] = self.reader.tree(part.root)
                except DamageError as error:
                    self.lost[row] = error
                else:
                    self.parts[row.class_id] = part
        self.missing = len(wanted) - len(self.trees) - len(self.lost)
        if wanted and not self.trees:
            for lost in self.lost.values():
                raise lost
            raise NotPermittedError("none of the snapshot's data classes can be read with this key")

    def lookup(self, path: bytes) -> tuple[int, engine.Entry] | None:
        """Return the class and entry of a path, or None.

        `DamageError` if no tree that can be read there has it, and one that cannot be may.
        """
        lost: DamageError | None = None
        for class_id, tree in self.trees.items():
            try:
                with engine.translated():
                    entry = tree.lookup(path)
            except DamageError as error:
                lost = error
                continue
            if entry is not None:
                return class_id, entry
        if lost is not None:
            raise lost
        return None

    def walk(self, prefix: bytes = b"") -> Iterator[EntryInfo]:
        """Yield all entries at and under a path, in tree order; `PartlyLostError` at the end if that was not all."""
        losses = Losses(self)
        yield from self._merged(losses, ((class_id, tree.walk(prefix)) for class_id, tree in self.trees.items()))
        losses.tell()

    def ls(self, path: bytes) -> Iterator[EntryInfo]:
        """Yield a folder's children, or the entry itself. `PathMissingError`; `PartlyLostError` as :meth:`walk`."""
        losses = Losses(self)
        try:
            found = self.lookup(path)
        except DamageError as error:
            losses.note(error)
            found = None
        if found is not None and found[1].kind != "folder":
            return iter([describe(*found)])
        children = self._merged(losses, ((class_id, tree.list(path)) for class_id, tree in self.trees.items()))
        first = next(children, None)
        if found is None and first is None and not losses:
            raise PathMissingError("the snapshot has no such path")
        return _chained(first, children, losses)

    def _merged(self, losses: Losses, streams: Iterable[tuple[int, Iterable[engine.Entry]]]) -> Iterator[EntryInfo]:
        return _merged(losses.passing(_described(class_id, entries)) for class_id, entries in streams)

    def read(self, path: bytes, fd: int) -> int:
        """Write one file's content to a descriptor, verified, within the vault's limits; return its bytes.

        `PathMissingError`, `DamageError`. What a signal's handler raises ends it between two writes.
        """
        found = self.lookup(path)
        if found is None or found[1].kind != "file":
            raise PathMissingError("the snapshot has no file of that path")
        with engine.translated(), engine.written_to_target():
            return engine.read_file(self.reader, found[1], fd, self.limits)

    def find(self, pattern: str) -> Iterator[EntryInfo]:
        """Yield entries whose name matches a glob, or whose whole path does if the pattern has a `/`."""
        prefix = literal_folder(pattern) if "/" in pattern else b""
        matches = matcher(pattern)
        return (entry for entry in self.walk(prefix) if matches(entry.path))


def describe(class_id: int, entry: engine.Entry) -> EntryInfo:
    """Return the public value of an engine's entry."""
    return EntryInfo(
        path=entry.path,
        kind=entry.kind,
        size=entry.size,
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        user=entry.user,
        group=entry.group,
        mtime_ns=entry.mtime_ns,
        class_id=class_id,
        target=entry.target or b"",
    )


def order(path: bytes) -> bytes:
    """Return the key of the tree's order: `/` sorts before every other byte."""
    return path.replace(b"/", b"\0")


def tree_path(path: bytes) -> bytes:
    """Return a path as trees have it: no leading or trailing slash."""
    return path.strip(b"/")


def _described(class_id: int, entries: Iterable[engine.Entry]) -> Iterator[EntryInfo]:
    return (describe(class_id, entry) for entry in entries)


def _merged(streams: Iterable[Iterator[EntryInfo]]) -> Iterator[EntryInfo]:
    """Merge ordered streams; a folder that several classes have comes once."""
    last: bytes | None = None
    for entry in heapq.merge(*streams, key=lambda entry: order(entry.path)):
        if entry.path != last:
            last = entry.path
            yield entry


def _chained(first: EntryInfo | None, rest: Iterator[EntryInfo], losses: Losses) -> Iterator[EntryInfo]:
    if first is not None:
        yield first
        yield from rest
    losses.tell()


def changes(before: Trees, after: Trees) -> Iterator[Change]:
    """Yield what differs between two snapshots, in tree order, all classes merged.

    Of what cannot be read in one of them nothing is said, and `PartlyLostError` at the end says that.
    """
    streams = []
    losses = Losses(before, after)
    unknown = {part.class_id for each in (before, after) for part in each.lost}
    for class_id in sorted((before.trees.keys() | after.trees.keys()) - unknown):
        old, new = before.trees.get(class_id), after.trees.get(class_id)
        if old is not None and new is not None:
            streams.append(_described_changes(class_id, old.diff(new)))
        elif old is not None:
            streams.append(_all(class_id, old, "removed"))
        elif new is not None:
            streams.append(_all(class_id, new, "added"))
    yield from heapq.merge(*map(losses.passing, streams), key=lambda change: order(change.path))
    losses.tell()


def _described_changes(class_id: int, found: Iterable[engine.Change]) -> Iterator[Change]:
    for change in found:
        yield Change(
            kind=change.kind,
            path=change.path,
            before=describe(class_id, change.before) if change.before is not None else None,
            after=describe(class_id, change.after) if change.after is not None else None,
        )


def _all(class_id: int, tree: engine.Tree, kind: str) -> Iterator[Change]:
    for entry in tree.walk(b""):
        info = describe(class_id, entry)
        yield Change(
            kind=kind,
            path=entry.path,
            before=info if kind == "removed" else None,
            after=info if kind == "added" else None,
        )
