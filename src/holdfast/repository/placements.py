"""Which copy of which pack is on which store: this host's ledger, derived from the stores and rebuildable from them.

A row says that a store acknowledged a pack, or listed it. It is never a guess, and it never replaces the store's own
word where that can be had: it answers for a store that is down, tells a bad copy from a good one, and remembers when a pack
was stored and last restored from.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import LocalStateError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Copy", "PackRow", "Placements"]

VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS packs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL, class TEXT NOT NULL, size INTEGER NOT NULL,
    stored_at REAL, restored_at REAL, waits INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS copies (
    name TEXT NOT NULL, store TEXT NOT NULL, bad INTEGER NOT NULL DEFAULT 0, verified_at REAL,
    PRIMARY KEY (name, store)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of a pack. Times are Unix seconds; None: never."""

    store: str
    bad: bool
    verified_at: float | None


@dataclass(frozen=True, slots=True)
class PackRow:
    """One pack, and its copies. `stored_at` None: not known, which counts as just now.

    `waits`: a store was down when it was put, and it was not brought to all its stores since.
    """

    name: str
    class_name: str
    size: int
    stored_at: float | None
    restored_at: float | None
    waits: bool
    copies: tuple[Copy, ...]

    @property
    def sound_on(self) -> frozenset[str]:
        """Stores with a copy that is not known to be bad."""
        return frozenset(copy.store for copy in self.copies if not copy.bad)


class Placements:
    """The ledger. Thread-safe. `LocalStateError` if its file cannot be used; one that is no ledger is made anew."""

    def __init__(self, path: Path) -> None:
        """Open or make it."""
        self.path = path
        self._lock = threading.RLock()
        self.fresh = not path.exists()
        with _usable():
            try:
                self._rows = self._open()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:
                path.unlink()
                self.fresh = True
                self._rows = self._open()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=30.0, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            _check_version(connection)
            connection.executescript(_SCHEMA)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        except sqlite3.DatabaseError:
            connection.close()
            raise
        self.path.chmod(0o600)
        return connection

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._rows.close()

    @contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        """One change as a whole."""
        with self._lock, _usable():
            self._rows.execute("BEGIN IMMEDIATE")
            try:
                yield self._rows
            except BaseException:
                self._rows.execute("ROLLBACK")
                raise
            self._rows.execute("COMMIT")

    def note_pack(self, name: str, class_name: str, size: int, stored_at: float | None) -> None:
        """Note a pack; one that is known keeps its time unless that is unknown or later."""
        with self._use() as rows:
            rows.execute(
                "INSERT INTO packs (name, class, size, stored_at) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
                " class = excluded.class, size = excluded.size,"
                " stored_at = MIN(COALESCE(stored_at, excluded.stored_at), COALESCE(excluded.stored_at, stored_at))",
                (name, class_name, size, stored_at),
            )

    def note_waiting(self, name: str, *, waits: bool) -> None:
        """Note whether a pack waits for a store that was down."""
        with self._use() as rows:
            rows.execute("UPDATE packs SET waits = ? WHERE name = ?", (waits, name))

    def note_copy(self, name: str, store: str, *, verified_at: float | None = None) -> None:
        """Note that a store has a copy which is sound as far as is known."""
        with self._use() as rows:
            rows.execute(
                "INSERT INTO copies (name, store, bad, verified_at) VALUES (?, ?, 0, ?) ON CONFLICT (name, store) DO"
                " UPDATE SET bad = 0, verified_at = COALESCE(excluded.verified_at, verified_at)",
                (name, store, verified_at),
            )

    def note_bad(self, name: str, store: str) -> None:
        """Note that a store's copy is not what its name says."""
        with self._use() as rows:
            rows.execute(
                "INSERT INTO copies (name, store, bad) VALUES (?, ?, 1) ON CONFLICT (name, store) DO UPDATE SET bad = 1",
                (name, store),
            )

    def drop_copy(self, name: str, store: str) -> None:
        """Forget a copy that is gone."""
        with self._use() as rows:
            rows.execute("DELETE FROM copies WHERE name = ? AND store = ?", (name, store))

    def drop_pack(self, name: str) -> None:
        """Forget a pack that is gone everywhere."""
        with self._use() as rows:
            rows.execute("DELETE FROM copies WHERE name = ?", (name,))
            rows.execute("DELETE FROM packs WHERE name = ?", (name,))

    def note_restored(self, packs: Iterable[str], moment: float) -> None:
        """Note that something was restored from packs."""
        with self._use() as rows:
            rows.executemany("UPDATE packs SET restored_at = ? WHERE name = ?", [(moment, name) for name in packs])

    def adopt(self, seen: Mapping[str, Mapping[str, int]], asked: Iterable[str]) -> None:
        """Bring the rows of the stores that were asked in line with what they listed (pack to store to size).

        What is known of a copy stays. A copy that was known and is not listed counts as bad while the pack has another;
        a pack that is nowhere any more was pruned, and is forgotten.
        """
        wanted = {(name, store) for name, stores in seen.items() for store in stores}
        with self._use() as rows:
            for store in asked:
                known = {name for (name,) in rows.execute("SELECT name FROM copies WHERE store = ?", (store,))}
                present = {name for name, each in wanted if each == store}
                gone = [(name, store) for name in known - present]
                rows.executemany("UPDATE copies SET bad = 1 WHERE name = ? AND store = ?", gone)
                new = [(name, store) for name in present - known]
                rows.executemany("INSERT INTO copies (name, store) VALUES (?, ?)", new)
            pruned = [(name,) for (name,) in rows.execute("SELECT name FROM packs") if name not in seen]
            rows.executemany("DELETE FROM copies WHERE name = ?", pruned)
            rows.executemany("DELETE FROM packs WHERE name = ?", pruned)

    def row(self, name: str) -> PackRow | None:
        """Return one pack, None if it is not known."""
        found = self._query("WHERE p.name = ?", (name,))
        return found[0] if found else None

    def rows(self) -> tuple[PackRow, ...]:
        """Return every pack, in the order in which they were noted."""
        return tuple(self._query("", ()))

    def copies(self, name: str) -> tuple[Copy, ...]:
        """Return the copies of a pack, whether or not more is known of it."""
        with self._lock, _usable():
            found = self._rows.execute("SELECT store, bad, verified_at FROM copies WHERE name = ?", (name,))
            return tuple(Copy(store, bool(bad), verified) for store, bad, verified in found)

    def _query(self, where: str, values: tuple[str, ...]) -> list[PackRow]:
        statement = (
            "SELECT p.name, p.class, p.size, p.stored_at, p.restored_at, p.waits, c.store, c.bad, c.verified_at"  # noqa: S608 - constants
            f" FROM packs p LEFT JOIN copies c ON c.name = p.name {where} ORDER BY p.seq, c.store"
        )
        with self._lock, _usable():
            found = self._rows.execute(statement, values).fetchall()
        packs: dict[str, tuple[tuple[str, str, int, float | None, float | None, bool], list[Copy]]] = {}
        for *facts, store, bad, verified in found:
            name, class_name, size, stored_at, restored_at, waits = facts
            known = packs.setdefault(name, ((name, class_name, size, stored_at, restored_at, bool(waits)), []))
            if store is not None:
                known[1].append(Copy(store, bool(bad), verified))
        return [PackRow(*facts, copies=tuple(copies)) for facts, copies in packs.values()]


def _check_version(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA user_version").fetchone()[0] not in {0, VERSION}:
        message = "another version"
        raise sqlite3.DatabaseError(message)


@contextmanager
def _usable() -> Iterator[None]:
    """Raise `LocalStateError` where the ledger's file cannot be used."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise LocalStateError(f"the placement ledger cannot be used ({error})") from error
    except OSError as error:
        raise LocalStateError(f"the placement ledger cannot be used ({os.strerror(error.errno or 0)})") from error
