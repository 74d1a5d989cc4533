"""Questions to the catalog. Each costs what it answers, or one pass over the versions where it must look at all names."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

from holdfast.base.data_classes import class_rank
from holdfast.base.patterns import has_glob, literal_folder, matcher
from holdfast.catalog.compare import differences
from holdfast.catalog.feed import split
from holdfast.catalog.records import (
    FOLDER,
    KIND_NAMES,
    CatalogChange,
    CatalogEntry,
    CatalogSnapshot,
    FileVersion,
)
from holdfast.errors import PathMissingError, SnapshotMissingError, UsageError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COLUMNS = "v.first, v.last, v.kind, v.size, v.mtime, v.mark"

Version: TypeAlias = tuple[int, int, int, int, int, int | None]
"""first, last, kind, size, mtime, mark"""


@dataclass(frozen=True, slots=True, eq=False)
class _Chain:
    """One data class of one source: the numbers of its known trees, in order, and the roots beside them."""

    id: int
    source: str
    class_id: int
    seqs: list[int]
    roots: list[str]

    def root(self, seq: int) -> str | None:
        """Return the root at a number; empty or None if the class was absent or is missing there."""
        at = bisect_left(self.seqs, seq)
        return self.roots[at] if at < len(self.seqs) and self.seqs[at] == seq else None


Held: TypeAlias = tuple[_Chain, tuple[int, int, int, int | None]]
"""A chain, and kind, size, mtime, mark of what it has."""


class Queries:
    """Questions to one open file. Call them within a read transaction that begins with `refresh`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Read the snapshots; thousands at most."""
        self._db = connection
        self._seqs: dict[str, tuple[str, int]] = {}
        self._by_seq: dict[tuple[str, int], CatalogSnapshot] = {}
        self._spans: dict[tuple[int, int, int], tuple[CatalogSnapshot, CatalogSnapshot, int] | None] = {}
        self._chains: list[_Chain] = []
        self._data_version = -1
        self.refresh()

    def refresh(self) -> None:
        """Read the snapshots again if another connection changed the file."""
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        if version != self._data_version:
            self._data_version = version
            for known in (self._seqs, self._by_seq, self._spans):
                known.clear()
            self._chains = self._read_chains()
            self._read_snapshots()

    def _read_chains(self) -> list[_Chain]:
        trees: dict[int, tuple[list[int], list[str]]] = defaultdict(lambda: ([], []))
        for chain, seq, root in self._db.execute("SELECT chain, seq, root FROM tree ORDER BY chain, seq"):
            trees[chain][0].append(seq)
            trees[chain][1].append(root)
        rows = self._db.execute("SELECT id, source, class FROM chain").fetchall()
        chains = [_Chain(number, source, class_id, *trees[number]) for number, source, class_id in rows]
        return sorted(chains, key=lambda chain: class_rank(chain.class_id))

    def _read_snapshots(self) -> None:
        for source, seq, snapshot_id, finished, missing in self._db.execute("SELECT * FROM snapshot"):
            classes = sorted(chain.class_id for chain in self._chains if chain.source == source and chain.root(seq))
            when = _EPOCH + timedelta(microseconds=finished)
            row = CatalogSnapshot(snapshot_id, source, when, tuple(classes), tuple(map(int, missing.split())))
            self._seqs[snapshot_id] = source, seq
            self._by_seq[source, seq] = row

    # ---- snapshots ----

    def snapshots(self) -> tuple[CatalogSnapshot, ...]:
        """Return all snapshots, oldest first."""
        return tuple(sorted(self._by_seq.values(), key=lambda row: (row.finished, row.id)))

    def _at(self, snapshot: str) -> tuple[list[_Chain], int]:
        """Return the chains that have a tree at a snapshot, lowest rank first, and its number."""
        if snapshot not in self._seqs:
            raise SnapshotMissingError(
                "the catalog does not have this snapshot", next="`holdfast catalog update` reads what is new."
            )
        source, seq = self._seqs[snapshot]
        return [chain for chain in self._chains if chain.source == source and chain.root(seq)], seq

    # ---- one place ----

    def children(self, snapshot: str, folder: bytes) -> tuple[CatalogEntry, ...]:
        """Return the children of a folder at a snapshot, by name. `PathMissingError` if it has no such folder."""
        folder = folder.strip(b"/")
        chains, seq = self._at(snapshot)
        number = self._folder(folder)
        prefix = folder + b"/" if folder else b""
        found: dict[bytes, CatalogEntry] = {}
        for chain in chains if number is not None else []:
            rows = self._db.execute(
                f"SELECT name, {_COLUMNS} FROM version v WHERE chain = ? AND folder = ? AND first <= ? AND last >= ?",
                (chain.id, number, seq, seq),
            )
            for row in rows:
                if row[0] and row[0] not in found:
                    found[row[0]] = _entry(prefix + row[0], chain, row[3:])
        if not found and self._held(chains, folder, seq) is None:
            raise PathMissingError("the snapshot has no such folder")
        return tuple(found[name] for name in sorted(found))

    def lookup(self, snapshot: str, path: bytes) -> CatalogEntry | None:
        """Return the entry of a path at a snapshot, None if it has none."""
        chains, seq = self._at(snapshot)
        path = path.strip(b"/")
        held = self._held(chains, path, seq)
        return held and _entry(path, *held)

    def versions(self, path: bytes) -> tuple[FileVersion, ...]:
        """Return every version of a path, of all sources, oldest first."""
        path = path.strip(b"/")
        found = []
        for chain in self._chains:
            found += [self._version(path, chain, row) for row in self._rows_of(chain, path)]
        rows = [row for row in found if row is not None]
        return tuple(sorted(rows, key=lambda row: (row.first_finished, row.source, row.class_id)))

    def before(self, path: bytes, time: datetime) -> tuple[CatalogSnapshot, FileVersion] | None:
        """Return the newest snapshot finished at or before a time that has the path, and its version there."""
        path = path.strip(b"/")
        best: tuple[CatalogSnapshot, FileVersion] | None = None
        for chain in self._chains:
            for row in self._rows_of(chain, path):
                version = self._version(path, chain, row)
                in_time = [s for s in self._alive_snapshots(chain, row) if s.finished <= time]
                newest = max(in_time, key=lambda s: s.finished, default=None)
                if version and newest and (best is None or newest.finished > best[0].finished):
                    best = newest, version
        return best

    def _folder(self, path: bytes) -> int | None:
        row = self._db.execute("SELECT id FROM folder WHERE path = ?", (path,)).fetchone()
        return None if row is None else int(row[0])

    def _rows_of(self, chain: _Chain, path: bytes) -> list[Version]:
        folder, name = split(path)
        rows: list[Version] = self._db.execute(
            f"SELECT {_COLUMNS} FROM folder f CROSS JOIN version v "
            "WHERE f.path = ? AND v.chain = ? AND v.folder = f.id AND v.name = ? ORDER BY v.first",
            (folder, chain.id, name),
        ).fetchall()
        return rows

    def _held(self, chains: list[_Chain], path: bytes, seq: int) -> Held | None:
        """Return what a path is at a number, in the first chain that has it there."""
        for chain in chains:
            if chain.root(seq):
                for row in self._rows_of(chain, path):
                    if row[0] <= seq <= row[1]:
                        return chain, row[2:]
        return None

    # ---- all names ----

    def find(self, pattern: str, snapshot: str | None = None) -> Iterator[FileVersion]:
        """Yield versions whose name (or, with a `/` in the pattern, whole path) matches, of one snapshot or of all.

        In no particular order, but the versions of one path follow each other.
        """
        chains, seq = self._at(snapshot) if snapshot is not None else (self._chains, None)
        matches = matcher(pattern)
        prefix = literal_folder(pattern) if "/" in pattern else b""
        condition, parameters = _name_filter(pattern)
        if seq is not None:
            condition += " AND v.first <= ? AND v.last >= ?"
            parameters += [seq, seq]
        for chain in chains:
            for row in self._scan(chain, prefix, condition, parameters):
                path = row[0] + b"/" + row[1] if row[0] else row[1]
                if matches(path):
                    version = self._version(path, chain, row[2:])
                    if version is not None:
                        yield version

    def _scan(self, chain: _Chain, prefix: bytes, condition: str, parameters: list[object]) -> sqlite3.Cursor:
        """All versions of a chain under a folder whose name passes a condition. The join's order is forced."""
        if not prefix:
            return self._db.execute(
                f"SELECT f.path, v.name, {_COLUMNS} FROM version v CROSS JOIN folder f "
                f"WHERE v.chain = ? AND f.id = v.folder AND {condition}",
                [chain.id, *parameters],
            )
        above, _ = split(prefix)
        return self._db.execute(
            f"SELECT f.path, v.name, {_COLUMNS} FROM folder f CROSS JOIN version v "
            f"WHERE (f.path IN (?, ?) OR f.path > ? AND f.path < ?) AND v.chain = ? AND v.folder = f.id AND {condition}",
            [above, prefix, prefix + b"/", prefix + b"0", chain.id, *parameters],
        )

    # ---- two snapshots ----

    def changes(self, before: str, after: str) -> Iterator[CatalogChange]:
        """Yield what differs between two snapshots of one source, in tree order; costs what the change does.

        `UsageError` if they are of different sources. Classes that are missing in one of them are left out.
        """
        for snapshot in (before, after):
            self._at(snapshot)
        (source, a), (other, b) = self._seqs[before], self._seqs[after]
        if source != other:
            raise UsageError("the two snapshots are of different sources: the catalog compares snapshots of one source")
        unknown = {*self._by_seq[source, a].missing, *self._by_seq[source, b].missing}
        chains = [chain for chain in self._chains if chain.source == source and chain.class_id not in unknown]
        differing = [chain for chain in chains if (chain.root(a) or "") != (chain.root(b) or "")]
        numbers = [chain.id for chain in differing]
        for key, low, high in differences(self._db, numbers, min(a, b), max(a, b)) if differing else ():
            path = key.replace(b"\0", b"/")
            sides = (low, high) if a < b else (high, low)
            old, new = (side and (differing[side[0]], side[1]) for side in sides)
            if len(chains) > 1 and FOLDER in {side[1][0] for side in (old, new) if side}:
                old, new = self._held(chains, path, a), self._held(chains, path, b)
                if old == new:
                    continue  # another class still has the folder
            kind = "added" if old is None else "removed" if new is None else "changed"
            yield CatalogChange(kind, path, old and _entry(path, *old), new and _entry(path, *new))

    # ---- values ----

    def _alive_snapshots(self, chain: _Chain, row: Version) -> list[CatalogSnapshot]:
        seqs = chain.seqs[bisect_left(chain.seqs, row[0]) : bisect_right(chain.seqs, row[1])]
        return [self._by_seq[chain.source, seq] for seq in seqs if (chain.source, seq) in self._by_seq]

    def _version(self, path: bytes, chain: _Chain, row: Version) -> FileVersion | None:
        key = (chain.id, row[0], row[1])
        if key not in self._spans:
            alive = sorted(self._alive_snapshots(chain, row), key=lambda snapshot: snapshot.finished)
            self._spans[key] = (alive[0], alive[-1], len(alive)) if alive else None
        span = self._spans[key]
        if span is None:
            return None
        first, last, count = span
        return FileVersion(
            path, KIND_NAMES[row[2]], row[3], row[4], chain.class_id, chain.source,
            first.id, last.id, first.finished, last.finished, count,
        )  # fmt: skip


def _entry(path: bytes, chain: _Chain, value: tuple[int, int, int, int | None]) -> CatalogEntry:
    return CatalogEntry(path, KIND_NAMES[value[0]], value[1], value[2], chain.class_id)


def _name_filter(pattern: str) -> tuple[str, list[object]]:
    """Return a condition on names that everything the pattern matches fulfils: SQLite sorts out most names by itself."""
    last = pattern.strip("/").rpartition("/")[2] if "/" in pattern else pattern
    if "/" in pattern and "**" in last:
        last = "*" + last.rpartition("**")[2]
    if not has_glob(last):
        return "v.name = ?", [os.fsencode(last)]
    last, bracket, _ = last.partition("[")
    glob = "".join(letter if letter.isascii() and letter != "?" else "*" for letter in last) + ("*" if bracket else "")
    while "**" in glob:
        glob = glob.replace("**", "*")
    return ("1", []) if glob == "*" else ("CAST(v.name AS TEXT) GLOB ?", [glob])
