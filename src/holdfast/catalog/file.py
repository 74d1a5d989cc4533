"""The catalog's file: derived data, so it is never repaired, but also never believed unless every byte is what was written.

Beside `catalog.sqlite` stands `catalog.sqlite-sum` with its size and SHA-256, written after every commit. Whoever opens the catalog
compares them (a tenth of a second for a million files): a file that does not match counts as absent, and the next update builds it
anew. A writer killed between commit and sum leaves such a file too; one killed before its commit leaves a journal, which brings
the old bytes back. A new catalog is built under another name and renamed when it is complete. Writers hold a lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from holdfast.catalog.schema import SCHEMA_VERSION, TABLES
from holdfast.errors import LocalStateError

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = "holdfast-catalog-1"
_BLOCK_BYTES = 1 << 20


class CatalogFile:
    """Where a catalog lies: the file, its sum, its lock."""

    def __init__(self, path: str) -> None:
        """Name the file; nothing is touched."""
        self.path = path
        self.sum_path = path + "-sum"
        self.journal_path = path + "-journal"
        self.new_path = path + ".new"
        self.lock_path = path + ".lock"
        self._held = False
        self._proved: tuple[object, ...] | None = None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the writer's lock, waiting for it; a block within a block is free. `LocalStateError`."""
        if self._held:
            yield
            return
        try:
            descriptor = os.open(self.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LocalStateError(f"the catalog's lock cannot be made: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._held = True
            yield
        finally:
            self._held = False
            os.close(descriptor)

    def sound(self) -> bool:
        """Return whether the file is there, byte for byte as the last writer left it. Undoes a commit that was cut short."""
        if os.path.exists(self.journal_path):
            with self.writing():
                self._roll_back()
        if self._matches():
            return True
        if not os.path.exists(self.path):
            return False
        with self.writing():  # a writer may have been between its commit and its sum
            return self._matches()

    def connect(self, *, write: bool) -> sqlite3.Connection:
        """Open the file as it is. Statements run outside transactions unless one is begun."""
        mode = "rw" if write else "ro"
        connection = sqlite3.connect(
            f"file:{_quoted(self.path)}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=60,
        )
        connection.execute("PRAGMA mmap_size = 268435456")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -32768")
        return connection

    def seal(self) -> None:
        """Record the file's sum; the writer's last step after a commit, under its lock."""
        line = self._sum(self.path)
        _write_private(self.sum_path, line)
        self._proved = self._state(line)

    def distrust(self) -> None:
        """Remove the sum: the file counts as absent."""
        with suppress(FileNotFoundError):
            os.unlink(self.sum_path)

    @contextmanager
    def building(self, vault_id: str) -> Iterator[sqlite3.Connection]:
        """Build a new catalog aside and put it in place when the block ends well; nothing changes if it does not.

        Until then it is written without a thought for crashes: what is left of it is never used. Needs the writer's lock.
        """
        for leftover in (self.new_path, self.new_path + "-journal"):
            with suppress(FileNotFoundError):
                os.unlink(leftover)
        os.close(os.open(self.new_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        connection = sqlite3.connect(self.new_path, isolation_level=None, check_same_thread=False)
        try:
            for setting in (
                "page_size = 8192",
                "journal_mode = MEMORY",
                "synchronous = OFF",
                "locking_mode = EXCLUSIVE",
            ):
                connection.execute(f"PRAGMA {setting}")
            connection.execute("PRAGMA cache_size = -65536")
            connection.executescript(TABLES)
            connection.executemany("INSERT INTO meta VALUES (?, ?)", [("schema", SCHEMA_VERSION), ("vault", vault_id)])
            yield connection
        finally:
            connection.close()
        self._put_in_place()

    def _put_in_place(self) -> None:
        """Old file away first: its journal and its sum must never meet the new one."""
        line = self._sum(self.new_path)
        for old in (self.path, self.journal_path):
            with suppress(FileNotFoundError):
                os.unlink(old)
        _write_private(self.sum_path, line)
        os.rename(self.new_path, self.path)
        self._proved = self._state(line)

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):
            connection = self.connect(write=True)
            try:
                connection.execute("SELECT count(*) FROM meta").fetchone()
            finally:
                connection.close()

    def _matches(self) -> bool:
        try:
            with open(self.sum_path, encoding="ascii", errors="replace") as stream:
                line = stream.read(256)
            state = self._state(line)
            if state == self._proved:
                return True  # proved by this very object, and not touched since
            if line != self._sum(self.path):
                return False
        except OSError:
            return False
        self._proved = state
        return True

    def _state(self, line: str) -> tuple[object, ...]:
        found = os.stat(self.path)
        return line, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    @staticmethod
    def _sum(path: str) -> str:
        digest = hashlib.sha256()
        size = 0
        with open(path, "rb", buffering=0) as stream:
            while block := stream.read(_BLOCK_BYTES):
                digest.update(block)
                size += len(block)
        return f"{HEAD} {size} {digest.hexdigest()}\n"


def _write_private(path: str, text: str) -> None:
    temporary = path + ".tmp"
    with suppress(FileNotFoundError):
        os.unlink(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="ascii") as stream:
        stream.write(text)
    os.rename(temporary, path)


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
