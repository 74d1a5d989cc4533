"""The catalog: what was backed up when, by name. Derived from the vault, rebuilt from it whenever there is doubt."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

from holdfast.catalog.feed import VaultFeed
from holdfast.catalog.file import CatalogFile
from holdfast.catalog.load import Loader
from holdfast.catalog.query import Queries
from holdfast.catalog.records import CatalogUpdate
from holdfast.catalog.schema import SCHEMA_VERSION
from holdfast.errors import LocalStateError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from holdfast.catalog.feed import Feed, ReaderLike, RepositoryLike, SnapshotLike
    from holdfast.catalog.records import CatalogChange, CatalogEntry, CatalogSnapshot, FileVersion


class Catalog:
    """One vault's catalog on this machine. Not for several threads at once.

    It answers only while its file is, byte for byte, what was written: a file that is missing, damaged, of another vault or of another
    release is `stale`. A stale catalog refuses every question with `LocalStateError`; the next update builds it anew.
    """

    def __init__(self, path: str, vault_id: str) -> None:
        """Use `Catalog.open`."""
        self._file = CatalogFile(path)
        self._vault_id = vault_id
        self._connection: sqlite3.Connection | None = None
        self._queries: Queries | None = None

    @classmethod
    def open(cls, path: str, vault_id: str) -> Self:
        """Open the catalog of a vault (its id in hex) at a path; it may be stale, or not be there yet."""
        catalog = cls(path, vault_id)
        catalog._reopen()
        return catalog

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._queries = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def stale(self) -> bool:
        """Whether the catalog has to be built anew before it answers."""
        return self._queries is None

    # ---- keeping it up ----

    def update(self, repository: RepositoryLike, reader: ReaderLike) -> CatalogUpdate:
        """Take in new snapshots and drop forgotten ones. Idempotent; each snapshot goes in whole or not at all.

        `LocalStateError` if the file cannot be written; any error of reading the vault but damage: a class tree that is damaged, or
        whose key is not at hand, is counted as missing and left out.
        """
        return self.update_from(VaultFeed(repository, reader))

    def rebuild(self, repository: RepositoryLike, reader: ReaderLike) -> CatalogUpdate:
        """Build the catalog anew from the vault; the old one serves until the new one is complete."""
        return self.update_from(VaultFeed(repository, reader), rebuild=True)

    def update_from(self, feed: Feed, *, rebuild: bool = False) -> CatalogUpdate:
        """Do what `update` or `rebuild` do, from any feed."""
        try:
            with self._file.writing():
                self._reopen()
                if self.stale or rebuild:
                    return self._build(feed)
                return self._take_in(feed)
        except (sqlite3.Error, OSError) as error:
            self._distrust()
            raise LocalStateError(f"the catalog cannot be written: {type(error).__name__}") from error
        finally:
            self._reopen()

    def _build(self, feed: Feed) -> CatalogUpdate:
        snapshots = feed.snapshots()
        with self._file.building(self._vault_id) as connection:
            loader = Loader(connection, feed)
            for snapshot in snapshots:
                loader.add(snapshot)
        return CatalogUpdate(len(snapshots), 0, loader.missing, loader.rows, rebuilt=True)

    def _take_in(self, feed: Feed) -> CatalogUpdate:
        snapshots, known = feed.snapshots(), {snapshot.id for snapshot in self.snapshots()}
        gone = known - {snapshot.id for snapshot in snapshots}
        new: list[SnapshotLike] = [snapshot for snapshot in snapshots if snapshot.id not in known]
        if not gone and not new:
            return CatalogUpdate(0, 0, 0, 0, rebuilt=False)
        self.close()
        connection = self._file.connect(write=True)
        try:
            loader = Loader(connection, feed)
            if gone:
                loader.forget(sorted(gone))
                self._file.seal()
            for snapshot in new:
                loader.add(snapshot)
                self._file.seal()
        finally:
            connection.close()
        return CatalogUpdate(len(new), len(gone), loader.missing, loader.rows, rebuilt=False)

    def _reopen(self) -> None:
        self.close()
        if not self._file.sound():
            return
        try:
            self._connection = self._file.connect(write=False)
            meta = dict(self._connection.execute("SELECT key, value FROM meta"))
            if meta == {"schema": SCHEMA_VERSION, "vault": self._vault_id}:
                self._queries = Queries(self._connection)
        except sqlite3.Error:
            self._distrust()

    def _distrust(self) -> None:
        """Forget the sum: whatever the file holds is not believed any more."""
        self.close()
        with suppress(OSError):
            self._file.distrust()

    # ---- questions ----

    @contextmanager
    def _asking(self) -> Iterator[Queries]:
        """One question sees one state of the file; what another process took in meanwhile is read again first."""
        connection, queries = self._connection, self._queries
        if connection is None or queries is None:
            raise LocalStateError(
                "the catalog is not there, or not as it was written",
                next="`holdfast catalog rebuild` makes it again from the vault.",
            )
        try:
            outermost = not connection.in_transaction
            if outermost:
                connection.execute("BEGIN")
                queries.refresh()
            try:
                yield queries
            finally:
                if outermost and connection.in_transaction:
                    connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            self._distrust()
            raise LocalStateError(
                "the catalog cannot be read", next="`holdfast catalog rebuild` makes it again from the vault."
            ) from error

    def snapshots(self) -> tuple[CatalogSnapshot, ...]:
        """Return the snapshots that the catalog knows, oldest first."""
        with self._asking() as queries:
            return queries.snapshots()

    def list(self, snapshot: str, folder: bytes) -> tuple[CatalogEntry, ...]:
        """Return the children of a folder at a snapshot (its id), by name. `PathMissingError`, `SnapshotMissingError`."""
        with self._asking() as queries:
            return queries.children(snapshot, folder)

    def lookup(self, snapshot: str, path: bytes) -> CatalogEntry | None:
        """Return the entry of a path at a snapshot, or None. `SnapshotMissingError`."""
        with self._asking() as queries:
            return queries.lookup(snapshot, path)

    def find(self, pattern: str, snapshot: str | None = None) -> Iterator[FileVersion]:
        """Yield the versions whose name matches a glob (whose whole path, if it has a `/`), in one snapshot or all."""
        with self._asking() as queries:
            yield from queries.find(pattern, snapshot)

    def versions(self, path: bytes) -> tuple[FileVersion, ...]:
        """Return every version of a path over all snapshots, oldest first."""
        with self._asking() as queries:
            return queries.versions(path)

    def changes(self, before: str, after: str) -> Iterator[CatalogChange]:
        """Yield what differs between two snapshots of one source, in tree order. `SnapshotMissingError`, `UsageError`."""
        with self._asking() as queries:
            yield from queries.changes(before, after)

    def before(self, path: bytes, time: datetime) -> tuple[CatalogSnapshot, FileVersion] | None:
        """Return the newest snapshot finished at or before a time that has a path, and the path's version there."""
        with self._asking() as queries:
            return queries.before(path, time)
