"""A snapshot's trees, one per data class, read as if they were one. Classes without a key at hand are counted, not guessed."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.base.patterns import literal_folder, matcher
from holdfast.errors import NotPermittedError, PathMissingError
from holdfast.repository.listing import read_part
from holdfast.runs.results import Change, EntryInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from holdfast.repository.types import SealedPart, SnapshotInfo
    from holdfast.runs.assembly import OpenVault


class Trees:
    """The readable class trees of one snapshot."""

    def __init__(self, vault: OpenVault, info: SnapshotInfo, classes: frozenset[int] | None = None) -> None:
        """Open what the keys at hand open, of `classes` if given. `NotPermittedError` if that is none of it."""
        wanted = [part for part in info.classes if classes is None or part.class_id in classes]
        self.reader = vault.reader(info.id)
        self.parts: dict[int, SealedPart] = {}
        self.trees: dict[int, engine.Tree] = {}
        for row in wanted:
            if vault.repository.can_open(row.class_id, row.generation):
                part = read_part(vault.repository, info, row.class_id)
                self.parts[row.class_id] = part
                self.trees[row.class_id] = self.reader.tree(part.root)
        self.missing = len(wanted) - len(self.trees)
        if wanted and not self.trees:
            raise NotPermittedError("none of the snapshot's data classes can be read with this key")

    def lookup(self, path: bytes) -> tuple[int, engine.Entry] | None:
        """Return the class and entry of a path, or None."""
        for class_id, tree in self.trees.items():
            entry = tree.lookup(path)
            if entry is not None:
                return class_id, entry
        return None

    def walk(self, prefix: bytes = b"") -> Iterator[EntryInfo]:
        """Yield all entries at and under a path, in tree order."""
        return _merged(_described(class_id, tree.walk(prefix)) for class_id, tree in self.trees.items())

    def ls(self, path: bytes) -> Iterator[EntryInfo]:
        """Yield a folder's children, or the entry itself. `PathMissingError`."""
        found = self.lookup(path)
        if found is not None and found[1].kind != "folder":
            return iter([describe(*found)])
        children = _merged(_described(class_id, tree.list(path)) for class_id, tree in self.trees.items())
        if found is not None:
            return children
        first = next(children, None)
        if first is None:
            raise PathMissingError("the snapshot has no such path")
        return _chained(first, children)

    def read(self, path: bytes, fd: int) -> int:
        """Write one file's content to a descriptor, verified; return its bytes. `PathMissingError`, `DamageError`."""
        found = self.lookup(path)
        if found is None or found[1].kind != "file":
            raise PathMissingError("the snapshot has no file of that path")
        with engine.translated(), engine.written_to_target():
            return engine.read_file(self.reader, found[1], fd)

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


def _chained(first: EntryInfo, rest: Iterator[EntryInfo]) -> Iterator[EntryInfo]:
    yield first
    yield from rest


def changes(before: Trees, after: Trees) -> Iterator[Change]:
    """Yield what differs between two snapshots, in tree order, all classes merged."""
    streams = []
    for class_id in sorted(before.trees.keys() | after.trees.keys()):
        old, new = before.trees.get(class_id), after.trees.get(class_id)
        if old is not None and new is not None:
            streams.append(_described_changes(class_id, old.diff(new)))
        elif old is not None:
            streams.append(_all(class_id, old, "removed"))
        elif new is not None:
            streams.append(_all(class_id, new, "added"))
    return heapq.merge(*streams, key=lambda change: order(change.path))


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
