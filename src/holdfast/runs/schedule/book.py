"""The schedule's book: every run of every entry, one row per slot, durable before the run begins (SQLite).

The primary key (entry, slot) is what makes a second start impossible, whoever asks and however often the service is killed.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from holdfast.base.environment import Environment, format_time, parse_time
from holdfast.errors import LocalStateError
from holdfast.runs.schedule.records import Outcome, RunRecord, RunState

__all__ = ["Access", "ScheduleBook"]

_TABLES = """
CREATE TABLE IF NOT EXISTS run (
    name TEXT NOT NULL, slot TEXT NOT NULL, state TEXT NOT NULL, attempt INTEGER NOT NULL, started TEXT, ended TEXT,
    next_at TEXT, exit_code INTEGER, code TEXT NOT NULL DEFAULT '', what TEXT NOT NULL DEFAULT '',
    token TEXT NOT NULL DEFAULT '', PRIMARY KEY (name, slot)
);
CREATE INDEX IF NOT EXISTS run_state ON run (state);
CREATE TABLE IF NOT EXISTS entry (
    name TEXT PRIMARY KEY, since TEXT NOT NULL, last_good TEXT, runs_done INTEGER NOT NULL DEFAULT 0,
    runs_failed INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS room (store TEXT NOT NULL, at TEXT NOT NULL, free INTEGER NOT NULL, PRIMARY KEY (store, at));
CREATE TABLE IF NOT EXISTS request (name TEXT PRIMARY KEY, at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, at TEXT NOT NULL);
"""
_FIELDS = "name, slot, state, attempt, started, ended, next_at, exit_code, code, what, token"
Access = Literal["own", "write", "read"]
_RECENT = 64
_SAMPLES_MAX = 60


class ScheduleBook:
    """The book of one host."""

    def __init__(self, path: str | os.PathLike[str], env: Environment, access: Access = "own") -> None:
        """Open it, or make it (mode 0600). `:memory:` keeps nothing. `LocalStateError` if it cannot be opened.

        One that is damaged is set aside by the service, whose `own` it is, a new one begun, and `lost` says so: no slot of the
        past is due in a new book. Who would only `write` or `read` is refused: the service may be at work with it. A reader
        makes and changes nothing; a book that is not there yet is empty.
        """
        self._env = env
        self._path = os.fspath(path)
        self._access = access
        self.lost = False
        self.damaged_since: float | None = None
        """Since when (of the monotonic clock) SQLite finds it damaged; None: it does not."""
        try:
            try:
                self._connection = _read(self._path) if access == "read" else _opened(self._path)
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:
                if access != "own":
                    raise _damaged() from None
                self._set_aside()
        except (OSError, sqlite3.Error) as error:
            reason = error.strerror if isinstance(error, OSError) else type(error).__name__
            raise LocalStateError(f"the schedule's book cannot be opened ({reason})") from None

    def _set_aside(self) -> None:
        os.replace(self._path, f"{self._path}.damaged")
        self.lost = True
        self._connection = _opened(self._path)

    def renew(self) -> None:
        """Set a book aside that was damaged while it was open, and begin a new one. `LocalStateError`."""
        try:
            self._connection.close()
            self._set_aside()
        except (OSError, sqlite3.Error) as error:
            reason = error.strerror if isinstance(error, OSError) else type(error).__name__
            raise LocalStateError(f"the schedule's book is damaged and no new one can be begun ({reason})") from None
        self.damaged_since = None

    def take_up(self, record: RunRecord) -> None:
        """Note a run that is under way, and that a new book does not know."""
        with self._change() as db:
            db.execute(
                "INSERT OR IGNORE INTO run (name, slot, state, attempt, started, token) VALUES (?, ?, 'running', ?, ?, ?)",
                (
                    record.name,
                    format_time(record.slot),
                    record.attempt,
                    format_time(record.started or self._env.now()),
                    record.token,
                ),
            )

    def _failed(self, error: Exception, said: str) -> LocalStateError:
        """Return what to raise for an error; note that the book is damaged, if SQLite says so."""
        if type(error) is sqlite3.DatabaseError:
            if self._access == "read":
                return _damaged()
            if self.damaged_since is None:
                self.damaged_since = self._env.monotonic()
        return LocalStateError(f"the schedule's book {said} ({type(error).__name__})")

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        except (sqlite3.Error, ValueError) as error:
            raise self._failed(error, "does not take what is written") from error
        self.damaged_since = None

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError) as error:
            raise self._failed(error, "cannot be read") from error

    def since(self, name: str) -> datetime:
        """Return when an entry was first seen; the first call is that time."""
        with self._reading():
            row = self._connection.execute("SELECT since FROM entry WHERE name = ?", (name,)).fetchone()
            if self._access == "read":
                return min(parse_time(row[0]), self._env.now()) if row is not None else self._env.now()
            if row is None:
                with self._change() as db:
                    db.execute(
                        "INSERT OR IGNORE INTO entry (name, since) VALUES (?, ?)", (name, format_time(self._env.now()))
                    )
                row = self._connection.execute("SELECT since FROM entry WHERE name = ?", (name,)).fetchone()
            now = self._env.now()
            if parse_time(row[0]) <= now:
                return parse_time(row[0])
            # A clock that was ahead when the entry was first seen must not keep it from starting ever after, nor its wait young.
            with self._change() as db:
                db.execute("UPDATE entry SET since = ? WHERE name = ?", (format_time(now), name))
            return now

    def recent(self, name: str) -> dict[datetime, RunRecord]:
        """Return an entry's newest runs by their slots, those of now and before, and all that are not over.

        Slots to come are of a clock that was ahead; a hundred of them must not hide the runs of today.
        """
        with self._reading():
            rows = self._connection.execute(
                f"SELECT * FROM (SELECT {_FIELDS} FROM run WHERE name = :name AND slot <= :now ORDER BY slot DESC LIMIT {_RECENT})"  # noqa: S608 - constants
                f" UNION SELECT {_FIELDS} FROM run WHERE name = :name AND state IN ('running', 'waiting')",
                {"name": name, "now": format_time(self._env.now())},
            ).fetchall()
            return {record.slot: record for record in map(_record, rows)}

    def runs(self, name: str = "", limit: int = 100) -> tuple[RunRecord, ...]:
        """Return the newest runs (of one entry), newest first."""
        with self._reading():
            where, values = ("name = ?", (name,)) if name else ("1", ())
            rows = self._connection.execute(
                f"SELECT {_FIELDS} FROM run WHERE {where} ORDER BY slot DESC LIMIT ?",  # noqa: S608 - constants
                (*values, limit),
            ).fetchall()
            return tuple(map(_record, rows))

    def newest(self) -> dict[str, RunRecord]:
        """Return the newest run of each entry. One of a slot to come, by a clock that was ahead, is none."""
        with self._reading():
            rows = self._connection.execute(
                f"SELECT {_FIELDS} FROM run JOIN (SELECT name AS n, max(slot) AS s FROM run WHERE slot <= ? GROUP BY name)"  # noqa: S608 - constants
                " ON name = n AND slot = s",
                (format_time(self._env.now()),),
            ).fetchall()
            return {record.name: record for record in map(_record, rows)}

    def running(self) -> tuple[RunRecord, ...]:
        """Return the runs that are under way, or were when their service died."""
        with self._reading():
            rows = self._connection.execute(f"SELECT {_FIELDS} FROM run WHERE state = 'running'").fetchall()  # noqa: S608 - constants
            return tuple(map(_record, rows))

    def begin(self, name: str, slot: datetime) -> RunRecord | None:
        """Note that an attempt begins; None if the slot's run is under way or over already."""
        with self._change() as db:
            row = db.execute(
                f"SELECT {_FIELDS} FROM run WHERE name = ? AND slot = ?",  # noqa: S608 - constants
                (name, format_time(slot)),
            ).fetchone()
            old = _record(row) if row else None
            if old is not None and old.state is not RunState.WAITING:
                return None
            token = self._env.random_id()
            now = self._env.now()
            attempt = old.attempt + 1 if old else 1
            db.execute(
                "INSERT INTO run (name, slot, state, attempt, started, token) VALUES (?, ?, 'running', ?, ?, ?)"
                " ON CONFLICT (name, slot) DO UPDATE SET state = 'running', attempt = excluded.attempt,"
                " started = excluded.started, ended = NULL, next_at = NULL, token = excluded.token",
                (name, format_time(slot), attempt, format_time(now), token),
            )
            db.execute("UPDATE entry SET attempts = attempts + 1 WHERE name = ?", (name,))
        return RunRecord(name, slot, RunState.RUNNING, attempt, now, None, None, None, "", "", token)

    def end(
        self,
        record: RunRecord,
        outcome: Outcome,
        state: RunState,
        next_at: datetime | None,
        *,
        attempt: int | None = None,
    ) -> None:
        """Note how an attempt ended. `attempt` corrects the count where the attempt was none of its own fault."""
        now = format_time(self._env.now())
        with self._change() as db:
            db.execute(
                "UPDATE run SET state = ?, ended = ?, next_at = ?, exit_code = ?, code = ?, what = ?, attempt = ?"
                " WHERE name = ? AND slot = ?",
                (
                    state.value, now, format_time(next_at) if next_at else None, outcome.exit_code, outcome.code,
                    outcome.what, record.attempt if attempt is None else attempt, record.name, format_time(record.slot),
                ),
            )  # fmt: skip
            if state is RunState.DONE:
                db.execute(
                    "UPDATE entry SET runs_done = runs_done + 1, last_good = ? WHERE name = ?", (now, record.name)
                )
            elif state is RunState.FAILED:
                db.execute("UPDATE entry SET runs_failed = runs_failed + 1 WHERE name = ?", (record.name,))

    def skip(self, name: str, slot: datetime, reason: str) -> None:
        """Note that a slot's run was left out."""
        moment = format_time(self._env.now())
        with self._change() as db:
            db.execute(
                "INSERT OR IGNORE INTO run (name, slot, state, attempt, ended, what) VALUES (?, ?, 'skipped', 0, ?, ?)",
                (name, format_time(slot), moment, reason),
            )

    def ask(self, name: str) -> datetime:
        """Ask the service to start an entry now; return the slot that its run will have."""
        now = self._env.now()
        with self._change() as db:
            db.execute("INSERT OR REPLACE INTO request VALUES (?, ?)", (name, format_time(now)))
        return now

    def asked(self) -> dict[str, datetime]:
        """Return what was asked for and has not begun."""
        with self._reading():
            rows = self._connection.execute("SELECT name, at FROM request").fetchall()
            return {name: parse_time(at) for name, at in rows}

    def answer(self, name: str) -> None:
        """Note that what was asked for has begun, or cannot begin."""
        with self._change() as db:
            db.execute("DELETE FROM request WHERE name = ?", (name,))

    def last_good(self, name: str) -> datetime | None:
        """Return when a run of an entry last succeeded."""
        with self._reading():
            row = self._connection.execute("SELECT last_good FROM entry WHERE name = ?", (name,)).fetchone()
            return parse_time(row[0]) if row and row[0] else None

    def counts(self, name: str) -> tuple[int, int, int]:
        """Return how many runs of an entry succeeded, how many failed for good, and how many attempts there were."""
        with self._reading():
            row = self._connection.execute(
                "SELECT runs_done, runs_failed, attempts FROM entry WHERE name = ?", (name,)
            ).fetchone()
            return (row[0], row[1], row[2]) if row else (0, 0, 0)

    def note_room(self, store: str, free: int) -> None:
        """Note a store's free bytes, at most one sample an hour is kept."""
        hour = self._env.now().replace(minute=0, second=0, microsecond=0)
        with self._change() as db:
            db.execute("INSERT OR REPLACE INTO room VALUES (?, ?, ?)", (store, format_time(hour), free))

    def room(self, store: str) -> tuple[tuple[datetime, int], ...]:
        """Return samples of a store's free bytes, oldest first, spread over the time there are any of (at most sixty)."""
        with self._reading():
            rows = self._connection.execute(
                "SELECT at, free FROM room WHERE store = ? ORDER BY at", (store,)
            ).fetchall()
            step = -(-len(rows) // _SAMPLES_MAX) or 1
            chosen = rows[::-1][::step][::-1]
            return tuple((parse_time(at), free) for at, free in chosen)

    def note_fact(self, name: str, at: datetime | None = None) -> None:
        """Note when something was last so: the service's sign of life, a finished verification."""
        with self._change() as db:
            db.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, format_time(at or self._env.now())))

    def fact(self, name: str) -> datetime | None:
        """Return when something was last so."""
        with self._reading():
            row = self._connection.execute("SELECT at FROM fact WHERE name = ?", (name,)).fetchone()
            return parse_time(row[0]) if row else None

    def drop_old(self, keep_days: int) -> None:
        """Drop ended runs of long ago, but the newest of each entry."""
        before = format_time(self._env.now() - timedelta(days=keep_days))
        with self._change() as db:
            db.execute(
                "DELETE FROM run WHERE state NOT IN ('running', 'waiting') AND slot < ?"
                " AND slot < (SELECT max(slot) FROM run AS other WHERE other.name = run.name AND other.slot <= ?)",
                (before, format_time(self._env.now())),
            )
            db.execute("DELETE FROM room WHERE at < ?", (before,))


def _damaged() -> LocalStateError:
    return LocalStateError(
        "the schedule's book is damaged",
        safe="every backup is as it was; the service may still run: what it did and will do cannot be said.",
        next="restart the service, which sets the book aside (`.damaged`) and begins a new one; then look at the disk.",
    )


def _read(name: str) -> sqlite3.Connection:
    """Open a book to read it; one that is not there yet is empty."""
    if name == ":memory:" or not os.path.exists(name) or not os.path.getsize(name):
        return _opened(":memory:")
    # Not `mode=ro`: what a killed service left half done is undone by whoever reads next.
    uri = f"{Path(os.path.abspath(name)).as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30.0, check_same_thread=False)
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("SELECT count(*) FROM run").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _opened(name: str) -> sqlite3.Connection:
    if name != ":memory:":
        os.makedirs(os.path.dirname(name) or ".", mode=0o700, exist_ok=True)
        os.close(os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(name, isolation_level=None, timeout=30.0, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(_TABLES)
    except BaseException:
        connection.close()
        raise
    return connection


def _record(row: tuple[object, ...]) -> RunRecord:
    values = list(row)
    for place in (1, 4, 5, 6):
        text = row[place]
        values[place] = parse_time(text) if isinstance(text, str) else None
    values[2] = RunState(row[2])
    return RunRecord(*values)  # type: ignore[arg-type]  # the columns are the fields, in their order
