"""The alert book: every alert, who was told, by which channel, with which receipt. Durable before a call returns (SQLite).

Reports of equal (code, subject) are one alert until it is resolved; one that returns soon after goes on where it was. A book that
is damaged is set aside and a new one begun, with an alert that says so: a lost book must not silence what comes next.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from holdfast.base.alert_codes import next_of
from holdfast.base.environment import Environment, format_time, parse_time
from holdfast.base.events import Alert
from holdfast.errors import AlertMissingError, LocalStateError, Retry, Safety
from holdfast.reliability.alerts.records import AT_ONCE, SAFETY_RANK, AlertRecord, AlertState, Delivery, Telling

__all__ = ["BOOK_LOST", "AlertBook"]

BOOK_LOST = "alert-book-lost"
_TABLES = """
CREATE TABLE IF NOT EXISTS alert (
    number INTEGER PRIMARY KEY AUTOINCREMENT, code TEXT NOT NULL, subject TEXT NOT NULL, text TEXT NOT NULL,
    safety TEXT NOT NULL, retry TEXT NOT NULL, safe TEXT NOT NULL, next TEXT NOT NULL, origin TEXT NOT NULL,
    state TEXT NOT NULL, opened TEXT NOT NULL, waiting_since TEXT NOT NULL, last_seen TEXT NOT NULL,
    count INTEGER NOT NULL, level INTEGER NOT NULL DEFAULT 0, acknowledged_by TEXT NOT NULL DEFAULT '',
    acknowledged_at TEXT, note TEXT NOT NULL DEFAULT '', resolved_at TEXT, closing_told INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX IF NOT EXISTS alert_live ON alert (code, subject) WHERE state != 'resolved';
CREATE INDEX IF NOT EXISTS alert_ended ON alert (resolved_at) WHERE state = 'resolved';
CREATE TABLE IF NOT EXISTS telling (
    alert INTEGER NOT NULL, contact TEXT NOT NULL, tried_at TEXT, told_at TEXT, PRIMARY KEY (alert, contact)
);
CREATE TABLE IF NOT EXISTS delivery (
    at TEXT NOT NULL, contact TEXT NOT NULL, channel TEXT NOT NULL, kind TEXT NOT NULL, level INTEGER NOT NULL,
    delivered INTEGER NOT NULL, reference TEXT NOT NULL, alerts TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS delivery_at ON delivery (at);
CREATE TABLE IF NOT EXISTS reply (nonce TEXT PRIMARY KEY, at TEXT NOT NULL);
"""
_FIELDS = (
    "number, code, subject, text, safety, retry, safe, next, origin, state, opened, waiting_since, last_seen, count, level,"
    " acknowledged_by, acknowledged_at, note, resolved_at"
)
_TIMES = {
    "alert": ("state != 'resolved'", ("waiting_since", "last_seen", "acknowledged_at")),
    "telling": ("1", ("tried_at", "told_at")),
}
"""Times that something is waited for by. What is over, receipts, and when an alert was opened (its reference is made of that) keep
the times that the clock had."""
_TEXT_MAX = 4000
_BUSY_SECONDS = 30.0


def _next(alert: Alert) -> str:
    """Return what to do about an alert: what it says itself, or what is declared for its code."""
    return (alert.next or next_of(alert.code))[:_TEXT_MAX]


class AlertBook:
    """The book of one host. Several processes may use it at once: each change is one transaction."""

    def __init__(self, path: str | os.PathLike[str], env: Environment) -> None:
        """Open it, or make it (mode 0600). `:memory:` keeps nothing. `LocalStateError` if it cannot be opened."""
        self._env = env
        self._path = os.fspath(path)
        self._return_seconds = 3600.0
        try:
            self._connection = self._open()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
                raise LocalStateError(f"the alert book cannot be opened ({type(error).__name__})") from None
            try:
                os.replace(self._path, self._path + ".damaged")
                self._connection = self._open()
            except (OSError, sqlite3.Error) as again:
                reason = (isinstance(again, OSError) and again.strerror) or type(again).__name__
                raise LocalStateError(f"the alert book is damaged and no new one can be begun ({reason})") from None
            self.report(
                Alert(
                    BOOK_LOST,
                    "alert book",
                    "The book of alerts was damaged. It was set aside and a new one begun: open alerts were forgotten.",
                    Safety.INTACT,
                    Retry.NEVER,
                    "every backup is as it was; what is still wrong is reported again.",
                    "look into the file that ends in `.damaged`, and at the disk it lies on.",
                ),
                origin="channel",
            )
        self.heed_clock()

    def _open(self) -> sqlite3.Connection:
        if self._path != ":memory:":
            try:
                os.makedirs(os.path.dirname(self._path) or ".", mode=0o700, exist_ok=True)
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            except OSError as error:
                raise LocalStateError(f"the alert book cannot be opened ({error.strerror})") from None
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=_BUSY_SECONDS, check_same_thread=False)
        try:
            if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("malformed")  # noqa: TRY301 - handled where damage is
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(_TABLES)
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """One transaction. `LocalStateError` if the disk does not take it."""
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
            raise LocalStateError(f"the alert book does not take what is written ({type(error).__name__})") from error

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """A read, and what its rows say. `LocalStateError` if the disk does not give them, or they make no sense."""
        try:
            yield
        except (sqlite3.Error, ValueError) as error:
            raise LocalStateError(f"the alert book cannot be read ({type(error).__name__})") from error

    def heed_clock(self) -> bool:
        """Let times that have not come yet be now: they are of a clock that was ahead. Return whether there were any.

        Without it, what was reported, told or taken on by such a clock would be silent until it is that late. What was resolved
        then may come back, and is then waiting for an answer like any other.
        """
        resolved = "state = 'resolved' AND resolved_at > :now AND acknowledged_at IS NOT NULL"
        ahead = [("alert", "acknowledged_at", resolved, "NULL")]
        ahead += [
            (table, name, f"{which} AND {name} > :now", ":now")
            for table, (which, names) in _TIMES.items()
            for name in names
        ]
        values = {"now": format_time(self._env.now())}
        with self._reading():
            found = [
                each
                for each in ahead
                if self._connection.execute(f"SELECT 1 FROM {each[0]} WHERE {each[2]} LIMIT 1", values).fetchone()  # noqa: S608 - constants
            ]
        if found:
            with self._change() as db:
                values = {"now": format_time(self._env.now())}
                for table, name, where, value in found:
                    db.execute(f"UPDATE {table} SET {name} = {value} WHERE {where}", values)  # noqa: S608 - constants
        return bool(found)

    def report(self, alert: Alert, *, origin: str = "run", quiet_return_seconds: float | None = None) -> int:
        """Note that something was seen; return the alert's number.

        A new alert, or one more report of the one that is there. One that got worse waits for an answer anew, even if it was
        acknowledged. One that was resolved within `quiet_return_seconds` is taken up again with what was told of it.
        """
        with self._change() as db:
            now = self._env.now()
            live = self._find(db, "code = ? AND subject = ? AND state != 'resolved'", (alert.code, alert.subject))
            if live is not None:
                self._again(db, live, alert, now)
                return live.number
            since = format_time(now - timedelta(seconds=quiet_return_seconds or 0.0))
            old = self._find(
                db,
                "code = ? AND subject = ? AND state = 'resolved' AND resolved_at BETWEEN ? AND ? ORDER BY number DESC",
                (alert.code, alert.subject, since, format_time(now)),
            )
            if old is not None and quiet_return_seconds:
                state = AlertState.ACKNOWLEDGED if old.acknowledged_at else AlertState.OPEN
                db.execute(
                    "UPDATE alert SET state = ?, resolved_at = NULL, closing_told = 0 WHERE number = ?",
                    (state.value, old.number),
                )
                self._again(db, old, alert, now)
                return old.number
            moment = format_time(now)
            cursor = db.execute(
                "INSERT INTO alert (code, subject, text, safety, retry, safe, next, origin, state, opened, waiting_since,"
                " last_seen, count) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'open', ?, ?, ?, 1)",
                (
                    alert.code, alert.subject, alert.text[:_TEXT_MAX], alert.safety.value, alert.retry.value,
                    alert.safe[:_TEXT_MAX], _next(alert), origin, moment, moment, moment,
                ),
            )  # fmt: skip
            return cursor.lastrowid or 0

    def _again(self, db: sqlite3.Connection, record: AlertRecord, alert: Alert, now: datetime) -> None:
        """Count one more report; begin the wait anew if it got worse, or if each report of its kind is to be told."""
        worse = SAFETY_RANK[alert.safety] > SAFETY_RANK[record.safety] or (
            alert.safety is record.safety and alert.retry is not record.retry and record.retry is Retry.LATER
        )
        moment = format_time(now)
        safety, retry = (alert.safety, alert.retry) if worse else (record.safety, record.retry)
        db.execute(
            "UPDATE alert SET text = ?, safe = ?, next = ?, safety = ?, retry = ?, last_seen = ?, count = count + 1"
            " WHERE number = ?",
            (alert.text[:_TEXT_MAX], alert.safe[:_TEXT_MAX], _next(alert), safety.value, retry.value, moment, record.number),
        )  # fmt: skip
        if worse or alert.code in AT_ONCE:
            self._wait_anew(db, record.number, moment)

    @staticmethod
    def _wait_anew(db: sqlite3.Connection, number: int, moment: str) -> None:
        db.execute(
            "UPDATE alert SET state = 'open', waiting_since = ?, level = 0, acknowledged_at = NULL WHERE number = ?",
            (moment, number),
        )
        db.execute("DELETE FROM telling WHERE alert = ?", (number,))

    def acknowledge(self, number: int, by: str, note: str = "") -> AlertRecord:
        """Note that somebody took an alert on. One that is acknowledged or resolved already stays so. `AlertMissingError`."""
        with self._change() as db:
            record = self._get(db, number)
            if record.state is AlertState.OPEN:
                db.execute(
                    "UPDATE alert SET state = 'acknowledged', acknowledged_by = ?, acknowledged_at = ?, note = ? WHERE number = ?",
                    (by, format_time(self._env.now()), note[:_TEXT_MAX], number),
                )
            return self._get(db, number)

    def resolve(self, number: int, by: str = "", note: str = "") -> AlertRecord:
        """Note that an alert is over. `AlertMissingError`."""
        with self._change() as db:
            record = self._get(db, number)
            if record.state is not AlertState.RESOLVED:
                db.execute(
                    "UPDATE alert SET state = 'resolved', resolved_at = ?, note = ?,"
                    " acknowledged_by = CASE WHEN acknowledged_by = '' THEN ? ELSE acknowledged_by END WHERE number = ?",
                    (format_time(self._env.now()), note[:_TEXT_MAX] or record.note, by, number),
                )
            return self._get(db, number)

    def settle(self, *, origin: str, subject: str | None = None, keep: frozenset[tuple[str, str]] = frozenset()) -> int:
        """Resolve the live alerts of an origin (and subject) but those in `keep`, pairs of (code, subject); return how many."""
        found = [
            record
            for record in self.live()
            if record.origin == origin
            and (subject is None or record.subject == subject)
            and (record.code, record.subject) not in keep
        ]
        for record in found:
            self.resolve(record.number)
        return len(found)

    def reopen_overdue(self, acknowledged_seconds: float) -> int:
        """Open again what was acknowledged too long ago and is still there; return how many."""
        now = self._env.now()
        with self._change() as db:
            before = format_time(now - timedelta(seconds=acknowledged_seconds))
            rows = db.execute(
                "SELECT number FROM alert WHERE state = 'acknowledged' AND acknowledged_at <= ?", (before,)
            ).fetchall()
            for (number,) in rows:
                self._wait_anew(db, number, format_time(now))
        return len(rows)

    def get(self, number: int) -> AlertRecord:
        """Return one alert. `AlertMissingError`."""
        with self._reading():
            return self._get(self._connection, number)

    def live(self) -> tuple[AlertRecord, ...]:
        """Return the alerts that are not resolved, oldest first."""
        return self._select("state != 'resolved' ORDER BY number", ())

    def everything(self, limit: int = 1000) -> tuple[AlertRecord, ...]:
        """Return the newest alerts, resolved ones too, newest first."""
        return self._select("1 ORDER BY number DESC LIMIT ?", (limit,))

    def closing(self) -> tuple[AlertRecord, ...]:
        """Return resolved alerts that somebody was told of, and whose end nobody was told of yet."""
        return self._select(
            "state = 'resolved' AND closing_told = 0 AND number IN (SELECT alert FROM telling WHERE told_at IS NOT NULL)",
            (),
        )

    def note_closing(self, numbers: Sequence[int]) -> None:
        """Note that the end of alerts was told."""
        with self._change() as db:
            db.executemany("UPDATE alert SET closing_told = 1 WHERE number = ?", [(number,) for number in numbers])

    def tellings(self) -> dict[tuple[int, str], Telling]:
        """Return what was told, by alert and contact."""
        with self._reading():
            rows = self._connection.execute("SELECT alert, contact, tried_at, told_at FROM telling").fetchall()
            return {(row[0], row[1]): Telling(row[0], row[1], _time(row[2]), _time(row[3])) for row in rows}

    def note_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        """Note the tries of one message: their receipts, and that its contact was tried and (if one worked) told."""
        with self._change() as db:
            for each in deliveries:
                numbers = ",".join(map(str, each.alerts))
                moment = format_time(each.at)
                db.execute(
                    "INSERT INTO delivery VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        moment,
                        each.contact,
                        each.channel,
                        each.kind,
                        each.level,
                        each.delivered,
                        each.reference,
                        numbers,
                    ),
                )
                if each.contact and each.kind in {"alert", "collected"}:
                    told = moment if each.delivered else None
                    db.executemany(
                        "INSERT INTO telling VALUES (?, ?, ?, ?) ON CONFLICT (alert, contact) DO UPDATE SET"
                        " tried_at = excluded.tried_at, told_at = coalesce(excluded.told_at, told_at)",
                        [(number, each.contact, moment, told) for number in each.alerts],
                    )

    def note_levels(self, levels: dict[int, int]) -> None:
        """Note the level that each alert has reached."""
        with self._change() as db:
            db.executemany(
                "UPDATE alert SET level = ? WHERE number = ?", [(level, number) for number, level in levels.items()]
            )

    def deliveries(self, number: int | None = None, limit: int = 1000) -> tuple[Delivery, ...]:
        """Return the newest deliveries (of one alert), newest first."""
        with self._reading():
            where, values = ("1", ()) if number is None else ("',' || alerts || ',' LIKE ?", (f"%,{number},%",))
            rows = self._connection.execute(
                "SELECT at, contact, channel, kind, level, delivered, reference, alerts FROM delivery"  # noqa: S608 - constants
                f" WHERE {where} ORDER BY rowid DESC LIMIT ?",
                (*values, limit),
            ).fetchall()
            return tuple(
                Delivery(parse_time(at), contact, channel, kind, level, bool(delivered), reference, _numbers(alerts))
                for at, contact, channel, kind, level, delivered, reference, alerts in rows
            )

    def sent_since(self, since: datetime) -> dict[str, int]:
        """Return how many messages each contact got since a time; what a clock that was ahead says it got later is not counted."""
        with self._reading():
            rows = self._connection.execute(
                "SELECT contact, count(*) FROM delivery WHERE at > ? AND at <= ? AND delivered"
                " AND kind IN ('alert', 'collected') GROUP BY contact",
                (format_time(since), format_time(self._env.now())),
            ).fetchall()
            return dict(rows)

    def last_delivery(self, kind: str) -> datetime | None:
        """Return when a message of a kind was last tried; a time that has not come yet is none."""
        with self._reading():
            row = self._connection.execute(
                "SELECT max(at) FROM delivery WHERE kind = ? AND at <= ?", (kind, format_time(self._env.now()))
            ).fetchone()
            return _time(row[0])

    def take_nonce(self, nonce: str) -> bool:
        """Note a reply's nonce; return False if it was used before."""
        with self._change() as db:
            if db.execute("SELECT 1 FROM reply WHERE nonce = ?", (nonce,)).fetchone():
                return False
            db.execute("INSERT INTO reply VALUES (?, ?)", (nonce, format_time(self._env.now())))
            return True

    def drop_old(self, keep_days: int) -> None:
        """Drop what was resolved, delivered or replied longer ago. Nothing that is open is ever dropped."""
        before = format_time(self._env.now() - timedelta(days=keep_days))
        with self._change() as db:
            db.execute("DELETE FROM alert WHERE state = 'resolved' AND resolved_at < ?", (before,))
            db.execute("DELETE FROM telling WHERE alert NOT IN (SELECT number FROM alert)")
            db.execute("DELETE FROM delivery WHERE at < ?", (before,))
            db.execute("DELETE FROM reply WHERE at < ?", (before,))

    def _find(self, db: sqlite3.Connection, where: str, values: tuple[object, ...]) -> AlertRecord | None:
        row = db.execute(f"SELECT {_FIELDS} FROM alert WHERE {where} LIMIT 1", values).fetchone()  # noqa: S608 - constants
        return _record(row) if row else None

    def _get(self, db: sqlite3.Connection, number: int) -> AlertRecord:
        found = self._find(db, "number = ?", (number,))
        if found is None:
            raise AlertMissingError(f"there is no alert {number}")
        return found

    def _select(self, where: str, values: tuple[object, ...]) -> tuple[AlertRecord, ...]:
        with self._reading():
            rows = self._connection.execute(f"SELECT {_FIELDS} FROM alert WHERE {where}", values).fetchall()  # noqa: S608 - constants
            return tuple(map(_record, rows))


def _record(row: tuple[object, ...]) -> AlertRecord:
    values = list(row)
    values[4], values[5], values[9] = Safety(row[4]), Retry(row[5]), AlertState(row[9])
    for place in (10, 11, 12, 16, 18):
        values[place] = _time(row[place])
    return AlertRecord(*values)  # type: ignore[arg-type]  # the columns are the fields, in their order


def _time(text: object) -> datetime | None:
    return parse_time(text) if isinstance(text, str) else None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part)
