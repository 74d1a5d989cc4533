"""Bringing the catalog up to the vault: one transaction per snapshot, rows only for what changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.catalog.schema import OPEN
from holdfast.errors import DamageError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable
    from datetime import datetime

    from holdfast.catalog.feed import Feed, Row, SnapshotLike

FOLDERS_KEPT_MAX = 100_000
_INT64_MAX = 2**63 - 1

_INSERT = "INSERT INTO version VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_CLOSE = f"UPDATE version SET last = ? WHERE chain = ? AND folder = ? AND name = ? AND last = {OPEN}"


class Folders(dict[bytes, int]):
    """Ids of folders by path, made when first met; holds a bounded number of them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Look up and insert through this connection."""
        super().__init__()
        self._connection = connection

    def __missing__(self, path: bytes) -> int:
        row = self._connection.execute("SELECT id FROM folder WHERE path = ?", (path,)).fetchone()
        if row is None:
            row = self._connection.execute("INSERT INTO folder (path) VALUES (?) RETURNING id", (path,)).fetchone()
        if len(self) >= FOLDERS_KEPT_MAX:
            self.clear()
        self[path] = int(row[0])
        return self[path]


class Loader:
    """Writes snapshots into one catalog file."""

    def __init__(self, connection: sqlite3.Connection, feed: Feed) -> None:
        """Write through `connection`, outside of any transaction; read from `feed`."""
        self._db = connection
        self._feed = feed
        self._folders = Folders(connection)
        self.rows = 0
        self.missing = 0

    def add(self, snapshot: SnapshotLike) -> None:
        """Add a snapshot; all of it or nothing. A class tree that cannot be read is recorded as missing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            (seq,) = self._db.execute(
                "SELECT coalesce(max(seq), 0) + 1 FROM (SELECT seq FROM snapshot WHERE source = ?1 UNION ALL "
                "SELECT seq FROM tree WHERE chain IN (SELECT id FROM chain WHERE source = ?1))",
                (snapshot.source,),
            ).fetchone()
            present = sorted(row.class_id for row in snapshot.classes)
            missing = [class_id for class_id in present if not self._add_class(snapshot, seq, class_id)]
            self._close_absent(snapshot.source, seq, present)
            self._db.execute(
                "INSERT INTO snapshot VALUES (?, ?, ?, ?, ?)",
                (snapshot.source, seq, snapshot.id, microseconds(snapshot.finished), " ".join(map(str, missing))),
            )
            self._db.execute("COMMIT")
            self.missing += len(missing)
        except BaseException:
            self._folders.clear()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _add_class(self, snapshot: SnapshotLike, seq: int, class_id: int) -> bool:
        self._db.execute("SAVEPOINT class")
        rows = self.rows
        try:
            root = self._feed.root(snapshot, class_id)
            if root is not None:
                self._add_tree(self._chain(snapshot.source, class_id), seq, root)
        except DamageError:
            self._db.execute("ROLLBACK TO class")
            self._folders.clear()
            self.rows, root = rows, None
        self._db.execute("RELEASE class")
        return root is not None

    def _chain(self, source: str, class_id: int) -> int:
        self._db.execute("INSERT OR IGNORE INTO chain (source, class) VALUES (?, ?)", (source, class_id))
        row = self._db.execute("SELECT id FROM chain WHERE source = ? AND class = ?", (source, class_id)).fetchone()
        return int(row[0])

    def _add_tree(self, chain: int, seq: int, root: str) -> None:
        before = self._newest(chain)
        if before is None or before[1] == "":
            for present, _ in self._feed.rows(root, None):
                self._insert(chain, seq, present)
        elif before[1] != root:
            self._apply_difference(chain, seq, root, *before)
        self._db.execute("INSERT INTO tree VALUES (?, ?, ?)", (chain, seq, root))

    def _apply_difference(self, chain: int, seq: int, root: str, base_seq: int, base: str) -> None:
        self._db.execute("SAVEPOINT difference")
        try:
            for present, removed in self._feed.rows(root, base):
                folders = self._folders
                gone = [(base_seq, chain, folders[row[0]], row[1]) for row in present]
                gone += [(base_seq, chain, folders[folder], name) for folder, name in removed]
                self._db.executemany(_CLOSE, gone)
                self._insert(chain, seq, present)
        except DamageError:  # it may be the base that cannot be read: compare the whole tree with what the catalog has
            self._db.execute("ROLLBACK TO difference")
            self._folders.clear()
            self._compare_whole(chain, seq, root, base_seq)
        self._db.execute("RELEASE difference")

    def _insert(self, chain: int, seq: int, present: list[Row]) -> None:
        folders = self._folders
        try:
            self._db.executemany(
                _INSERT,
                [
                    (chain, folders[folder], name, seq, OPEN, kind, size, mtime, mark)
                    for folder, name, kind, size, mtime, mark in present
                ],
            )
        except OverflowError:
            self._insert(chain, seq, [_clamped(row) for row in present])
            return
        self.rows += len(present)

    def _compare_whole(self, chain: int, seq: int, root: str, base_seq: int) -> None:
        db = self._db
        db.execute(
            "CREATE TEMP TABLE whole (folder INTEGER, name BLOB, mark INTEGER, PRIMARY KEY (folder, name)) WITHOUT ROWID"
        )
        try:
            for present, _ in self._feed.rows(root, None):
                self._compare_batch(chain, seq, base_seq, present)
            db.execute(
                f"UPDATE version SET last = ?1 WHERE chain = ?2 AND last = {OPEN} AND NOT EXISTS "
                "(SELECT 1 FROM whole WHERE whole.folder = version.folder AND whole.name = version.name)",
                (base_seq, chain),
            )
        finally:
            db.execute("DROP TABLE whole")

    def _compare_batch(self, chain: int, seq: int, base_seq: int, present: list[Row]) -> None:
        """Only an equal mark proves that an entry is the same; without marks it counts as changed."""
        folders, changed = self._folders, []
        self._db.executemany("INSERT INTO whole VALUES (?, ?, ?)", [(folders[r[0]], r[1], r[5]) for r in present])
        for row in present:
            same = self._db.execute(
                f"SELECT 1 FROM version WHERE chain = ? AND folder = ? AND name = ? AND last = {OPEN} AND mark = ?",
                (chain, folders[row[0]], row[1], row[5]),
            ).fetchone()
            if same is None:
                changed.append(row)
        self._db.executemany(_CLOSE, [(base_seq, chain, folders[row[0]], row[1]) for row in changed])
        self._insert(chain, seq, changed)

    def _close_absent(self, source: str, seq: int, present: Iterable[int]) -> None:
        """A class that the snapshot does not have has an empty tree there."""
        there = set(present)
        for chain, class_id in self._db.execute("SELECT id, class FROM chain WHERE source = ?", (source,)).fetchall():
            before = self._newest(chain)
            if class_id not in there and before is not None:
                if before[1]:
                    self._db.execute(
                        f"UPDATE version SET last = ? WHERE chain = ? AND last = {OPEN}", (before[0], chain)
                    )
                self._db.execute("INSERT INTO tree VALUES (?, ?, '')", (chain, seq))

    def _newest(self, chain: int) -> tuple[int, str] | None:
        row: tuple[int, str] | None = self._db.execute(
            "SELECT seq, root FROM tree WHERE chain = ? ORDER BY seq DESC LIMIT 1", (chain,)
        ).fetchone()
        return row

    # ---- forgetting ----

    def forget(self, ids: Iterable[str]) -> None:
        """Remove snapshots and the versions that no other has; all of it or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for snapshot_id in ids:
                row = self._db.execute("SELECT source, seq FROM snapshot WHERE id = ?", (snapshot_id,)).fetchone()
                if row is not None:
                    self._forget(*row)
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def _forget(self, source: str, seq: int) -> None:
        self._db.execute("DELETE FROM snapshot WHERE source = ? AND seq = ?", (source, seq))
        for (chain,) in self._db.execute("SELECT id FROM chain WHERE source = ?", (source,)).fetchall():
            removed = self._db.execute("DELETE FROM tree WHERE chain = ? AND seq = ?", (chain, seq)).rowcount
            if removed:
                self._drop_versions(chain, seq)

    def _drop_versions(self, chain: int, seq: int) -> None:
        """Versions that only tree `seq` had go; if it was the newest, the one before is the newest again."""
        before, after = self._db.execute(
            "SELECT max(seq) FILTER (WHERE seq < ?1), min(seq) FILTER (WHERE seq > ?1) FROM tree WHERE chain = ?2",
            (seq, chain),
        ).fetchone()
        if after is not None:
            self._db.execute(
                f"DELETE FROM version WHERE chain = ? AND last <> {OPEN} AND last < ? AND first > ?",
                (chain, after, before or 0),
            )
        elif before is None:
            self._db.execute("DELETE FROM version WHERE chain = ?", (chain,))
        else:
            self._db.execute("DELETE FROM version WHERE chain = ? AND first <> 1 AND first > ?", (chain, before))
            self._db.execute(
                f"UPDATE version SET last = {OPEN} WHERE chain = ? AND last <> {OPEN} AND last >= ?", (chain, before)
            )


def microseconds(moment: datetime) -> int:
    """Return a time as the catalog keeps it."""
    return round(moment.timestamp() * 1_000_000)


def _clamped(row: Row) -> Row:
    folder, name, kind, size, mtime, mark = row
    return folder, name, kind, min(size, _INT64_MAX), max(-_INT64_MAX, min(mtime, _INT64_MAX)), mark
