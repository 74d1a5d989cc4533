"""The book is durable, keeps one alert per (code, subject), and loses nothing that is open."""

from __future__ import annotations

import os
import sqlite3
import stat
from datetime import timedelta

import pytest

from holdfast import Alert
from holdfast.base.environment import ManualClock
from holdfast.errors import AlertMissingError, LocalStateError, Retry, Safety
from holdfast.reliability.alerts import AlertBook, AlertState, Delivery
from holdfast.reliability.alerts.book import BOOK_LOST

DAMAGE = Alert("damage", "ehr", "a pack is damaged", Safety.DEGRADED, Retry.NEVER, "the rest.", "verify.")


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def book(clock):
    found = AlertBook(":memory:", clock.environment())
    yield found
    found.close()


def told(book: AlertBook, clock: ManualClock, number: int, *, delivered: bool = True) -> None:
    book.note_deliveries([Delivery(clock.now(), "anna", "mail", "alert", 1, delivered, "r", (number,))])


def test_equal_reports_are_one_alert(book, clock):
    first = book.report(DAMAGE)
    clock.advance(timedelta(minutes=5))
    assert book.report(DAMAGE) == first
    assert book.report(Alert("damage", "pacs", "x")) != first
    record = book.get(first)
    assert (record.count, record.state, record.last_seen - record.opened) == (2, AlertState.OPEN, timedelta(minutes=5))
    assert (record.safe, record.next, record.origin) == ("the rest.", "verify.", "run")


def test_an_acknowledged_alert_is_open_again_when_it_gets_worse_or_takes_too_long(book, clock):
    number = book.report(DAMAGE)
    told(book, clock, number)
    assert book.acknowledge(number, "anna", "on it").acknowledged_by == "anna"
    assert book.acknowledge(number, "berta").acknowledged_by == "anna"
    book.report(DAMAGE)
    assert book.get(number).state is AlertState.ACKNOWLEDGED
    clock.advance(timedelta(hours=1))
    book.report(Alert("damage", "ehr", "two packs", Safety.AT_RISK))
    record = book.get(number)
    assert (record.state, record.safety, record.waiting_since) == (AlertState.OPEN, Safety.AT_RISK, clock.now())
    assert not book.tellings(), "it is told anew"
    book.report(DAMAGE)
    assert book.get(number).safety is Safety.AT_RISK, "the worst counts"
    book.acknowledge(number, "anna")
    clock.advance(timedelta(hours=23))
    assert book.reopen_overdue(86400) == 0
    clock.advance(timedelta(hours=1))
    assert book.reopen_overdue(86400) == 1
    assert book.get(number).state is AlertState.OPEN


def test_what_was_tried_in_vain_is_worse_than_what_may_end_by_itself(book):
    number = book.report(Alert("store-unreachable", "ehr", "x", retry=Retry.LATER))
    book.acknowledge(number, "anna")
    book.report(Alert("store-unreachable", "ehr", "x", retry=Retry.EXHAUSTED))
    record = book.get(number)
    assert (record.state, record.retry) == (AlertState.OPEN, Retry.EXHAUSTED)


def test_what_returns_soon_goes_on_where_it_was_and_later_is_new(book, clock):
    number = book.report(DAMAGE)
    told(book, clock, number)
    book.resolve(number)
    assert book.resolve(number).state is AlertState.RESOLVED
    clock.advance(timedelta(minutes=30))
    assert book.report(DAMAGE, quiet_return_seconds=3600) == number
    assert book.tellings(), "what was told stays told: no message"
    book.acknowledge(number, "anna")
    book.resolve(number)
    assert book.report(DAMAGE, quiet_return_seconds=3600) == number
    assert book.get(number).state is AlertState.ACKNOWLEDGED
    book.resolve(number)
    clock.advance(timedelta(minutes=61))
    assert book.report(DAMAGE, quiet_return_seconds=3600) != number


def test_an_origin_settles_what_it_sees_no_more(book):
    seen = book.report(Alert("rpo-missed", "ehr", "x"), origin="objective")
    gone = book.report(Alert("rpo-missed", "pacs", "x"), origin="objective")
    other = book.report(DAMAGE, origin="run")
    assert book.settle(origin="objective", keep=frozenset({("rpo-missed", "ehr")})) == 1
    assert [record.number for record in book.live()] == [seen, other]
    assert book.get(gone).state is AlertState.RESOLVED
    assert book.settle(origin="run", subject="pacs") == 0


def test_deliveries_are_kept_with_their_receipts(book, clock):
    number = book.report(DAMAGE)
    told(book, clock, number, delivered=False)
    assert book.tellings()[number, "anna"].told_at is None
    told(book, clock, number)
    clock.advance(timedelta(minutes=1))
    told(book, clock, number, delivered=False)
    telling = book.tellings()[number, "anna"]
    assert telling.told_at is not None
    assert telling.tried_at == clock.now()
    assert [each.delivered for each in book.deliveries(number)] == [False, True, False]
    assert book.deliveries(99) == ()
    assert len(book.deliveries()) == 3
    assert book.sent_since(clock.now() - timedelta(hours=1)) == {"anna": 1}
    assert book.last_delivery("alert") == clock.now()
    assert book.last_delivery("heartbeat") is None


def test_the_end_of_an_alert_is_told_once_to_who_was_told_of_it(book, clock):
    number, silent = book.report(DAMAGE), book.report(Alert("x", "y", "z"))
    told(book, clock, number)
    book.resolve(number)
    book.resolve(silent)
    assert [record.number for record in book.closing()] == [number]
    book.note_closing([number])
    assert not book.closing()


def test_old_entries_go_and_open_ones_never(book, clock):
    old, live = book.report(DAMAGE), book.report(Alert("x", "y", "z"))
    told(book, clock, old)
    book.resolve(old)
    assert book.take_nonce("n")
    assert not book.take_nonce("n")
    clock.advance(timedelta(days=401))
    book.drop_old(400)
    assert [record.number for record in book.everything()] == [live]
    assert not book.deliveries()
    assert book.take_nonce("n")


def test_an_alert_that_there_is_not(book):
    for call in (book.get, book.resolve, lambda number: book.acknowledge(number, "x")):
        with pytest.raises(AlertMissingError, match="no alert 7"):
            call(7)


def test_two_processes_see_the_same_book(tmp_path, clock):
    path = tmp_path / "deep" / "alerts.sqlite"
    one, two = AlertBook(path, clock.environment()), AlertBook(path, clock.environment())
    number = one.report(DAMAGE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert two.report(DAMAGE) == number
    two.acknowledge(number, "anna")
    assert one.get(number).acknowledged_by == "anna"
    one.close()
    two.close()
    again = AlertBook(path, clock.environment())
    assert again.get(number).count == 2
    again.close()


@pytest.mark.parametrize("rest", [b"nonsense" * 1000, None])
def test_a_damaged_book_is_set_aside_and_said(tmp_path, clock, rest):
    path = tmp_path / "alerts.sqlite"
    book = AlertBook(path, clock.environment())
    for number in range(200):
        book.report(Alert("damage", f"job-{number}", "x" * 500))
    book.close()
    if rest is None:
        content = bytearray(path.read_bytes())
        content[4096:20480] = os.urandom(16384)
        path.write_bytes(content)
    else:
        path.write_bytes(rest)
    book = AlertBook(path, clock.environment())
    assert [record.code for record in book.live()] == [BOOK_LOST]
    assert (tmp_path / "alerts.sqlite.damaged").exists()
    book.close()


def test_a_book_that_cannot_be_opened_or_written_is_an_error(tmp_path, clock, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalStateError, match="cannot be opened"):
        AlertBook(tmp_path / "file" / "alerts.sqlite", clock.environment())
    book = AlertBook(tmp_path / "alerts.sqlite", clock.environment())
    book._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(LocalStateError, match="does not take"):
        book.report(DAMAGE)
    book.close()

    def refuse(*_args, **_kwargs):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    with pytest.raises(LocalStateError, match="cannot be opened"):
        AlertBook(tmp_path / "alerts.sqlite", clock.environment())
