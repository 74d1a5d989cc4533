"""`holdfast alerts`, `schedule` and `status`: each parses, calls the library, prints, and returns its exit code."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
from datetime import UTC, datetime

import pytest

from holdfast import Alert
from holdfast.cli.output import alert_of
from holdfast.errors import Interrupted, Retry, Safety, StoreUnreachableError
from holdfast.reliability.alerts.messages import reference
from holdfast.runs.alerting import open_book
from holdfast.runs.monitoring.report import SourceStatus
from holdfast.runs.results import CheckReport
from holdfast.runs.schedule.configured import open_schedule_book, schedule_path
from holdfast.runs.schedule.records import Outcome, RunState
from unit.monitoring.reports import full_report

TEXT = """[vault]
url = "/nowhere"
key_file = "file:/none"
[jobs.ehr]
paths = ["/srv"]
[schedule.nightly]
job = "ehr"
cron = "30 2 * * *"
[schedule.proof]
kind = "verify"
after = ["nightly"]
[channels.log]
kind = "file"
path = "LOG"
[channels.dead]
kind = "webhook"
url = "env:NOT_SET"
[contacts.anna]
channels = ["log"]
public_key = "KEY"
"""


@pytest.fixture
def place(tmp_path, monkeypatch, run):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("HOLDFAST_CONFIG", str(tmp_path / "site.toml"))
    code, out, _ = run("alerts", "key", "--out", str(tmp_path / "anna.key"))
    assert code == 0
    found = re.fullmatch(r'public_key = "([0-9a-f]{64})"\n', out)
    assert found
    (tmp_path / "site.toml").write_text(TEXT.replace("LOG", str(tmp_path / "log")).replace("KEY", found[1]))
    return tmp_path


@pytest.fixture
def alert(place):
    with open_book() as book:
        number = book.report(
            Alert("damage", "ehr", "A pack is damaged.", Safety.DEGRADED, Retry.NEVER, "the rest.", "verify.")
        )
        return book.get(number)


def test_no_alerts(place, run):
    assert run("alerts", "list") == (0, "No alerts are open.\n", "")
    assert run("alerts", "list", "--all") == (0, "No alerts.\n", "")
    assert run("alerts", "show", "1")[0] == 5


def test_alerts_are_listed_shown_acknowledged_and_resolved(alert, run):
    code, out, _ = run("alerts", "list")
    assert code == 3
    assert "damage" in out
    code, out, _ = run("alerts", "list", "--json")
    assert json.loads(out)["safety"] == "degraded"
    assert run("alerts", "ack", "1", "--by", "anna", "--note", "disk ordered")[1] == "alert 1 is acknowledged by anna\n"
    assert run("alerts", "list")[0] == 0
    code, out, _ = run("alerts", "show", "1")
    assert code == 0
    for text in ("A pack is damaged.", "SAFE: the rest.", "NEXT: verify.", "taken on by anna: disk ordered"):
        assert text in out
    code, out, _ = run("alerts", "resolve", "1", "--json")
    assert json.loads(out)["state"] == "resolved"
    assert "damage" in run("alerts", "list", "--all")[1]
    assert run("alerts", "ack", "9")[0] == 5


def test_channels_are_tested(place, run):
    code, out, _ = run("alerts", "test", "log")
    assert code == 0
    assert "test by log: accepted (byte " in out
    code, out, _ = run("alerts", "test")
    assert code == 1
    assert "test by dead: FAILED" in out
    assert "NOT_SET" in out
    code, _, err = run("alerts", "test", "drum")
    assert code == 2
    assert "the configured channels are: dead, log." in err
    with open_book() as book:
        assert [record.subject for record in book.live()] == ["dead"]
    assert "dead: FAILED" in run("alerts", "show", "1")[1] or run("alerts", "show", "1")[0] == 0


def test_replies_are_signed_and_taken(alert, place, run):
    name = reference(alert)
    reply = str(place / "1.reply")
    code, _, _ = run(
        "alerts", "reply", name, "--by", "anna", "--key", str(place / "anna.key"), "--out", reply, "--note", "x"
    )
    assert code == 0
    assert run("alerts", "receive", reply)[1] == "alert 1 is acknowledged by anna\n"
    code, _, err = run("alerts", "receive", reply)
    assert code == 6
    assert "taken before" in err
    assert run("alerts", "key", "--out", str(place / "anna.key"))[0] == 2


def test_a_reply_to_what_is_no_reference_is_not_signed(place, run):
    reply = place / "1.reply"
    for name in ("1-zzz", "1", "x", "0-3f9a2c01", "1-3f9a2c01x"):
        code, _, err = run(
            "alerts", "reply", name, "--by", "anna", "--key", str(place / "anna.key"), "--out", str(reply)
        )
        assert code == 2
        assert "no reference of an alert" in err
        assert not reply.exists()


def test_a_damaged_schedule_book_is_reported_by_who_looks_at_it_and_left_where_it_is(place, run):
    with open_schedule_book() as book:
        book.since("nightly")
    path = schedule_path()
    path.write_bytes(b"nonsense" * 2000)
    for command in (("schedule", "list"), ("status",), ("schedule", "now", "nightly")):
        code, _, err = run(*command)
        assert code == 1
        assert "the schedule's book is damaged" in err
    assert path.read_bytes() == b"nonsense" * 2000


def test_the_schedule_is_listed(place, run):
    code, out, _ = run("schedule", "list")
    assert code == 0
    assert re.search(r"nightly +backup +never", out)
    slot = datetime(2026, 11, 23, 2, 30, tzinfo=UTC)
    with open_schedule_book() as book:
        book.since("nightly")
        record = book.begin("nightly", slot)
        assert record is not None
        assert book.begin("nightly", slot) is None
        book.end(record, Outcome(7, "store-unreachable", "x"), RunState.WAITING, datetime(2030, 1, 1, tzinfo=UTC))
        again = book.begin("nightly", slot)
        assert again is not None
        assert again.attempt == 2
        book.end(again, Outcome(7, "store-unreachable", "x"), RunState.FAILED, None)
    assert re.search(r"nightly +backup +failed \(2\).*store-unreachable", run("schedule", "list")[1])
    code, out, _ = run("schedule", "list", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [(row["name"], row["runs_failed"], row["attempts"]) for row in rows] == [("nightly", 1, 2), ("proof", 0, 0)]


def test_the_next_times(place, run):
    code, out, _ = run("schedule", "next", "--count", "3", "--json")
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["name"] for row in rows] == ["nightly"] * 3
    assert all(row["due"].endswith("T02:30:00.000000Z") for row in rows)
    assert "02:30Z  nightly" in run("schedule", "next")[1]


def test_a_run_is_asked_for(place, run):
    code, out, _ = run("schedule", "now", "nightly")
    assert code == 0
    assert "does not run now" in out
    with open_schedule_book() as book:
        assert set(book.asked()) == {"nightly"}
    assert json.loads(run("schedule", "now", "proof", "--json")[1])["name"] == "proof"
    code, _, err = run("schedule", "now", "weekly")
    assert code == 2
    assert "nightly, proof" in err


def test_an_empty_schedule_and_a_missing_configuration(place, run, monkeypatch):
    (place / "empty.toml").write_text('[vault]\nurl = "/v"\n')
    assert "schedules nothing" in run("schedule", "list", "--config", str(place / "empty.toml"))[1]
    assert run("alerts", "test", "--config", str(place / "empty.toml"))[0] == 2
    monkeypatch.delenv("HOLDFAST_CONFIG")
    for words in (("schedule", "list"), ("schedule", "run"), ("status",), ("alerts", "test")):
        code, _, err = run(*words)
        assert code == 2
        assert "no configuration was named" in err
    code, out, _ = run("status", "--check")
    assert code == 3
    assert out == "HOLDFAST UNKNOWN - no configuration was named\n"


def test_status_shows_everything(place, run, monkeypatch):
    monkeypatch.setattr("holdfast.runs.status.status", lambda _config: full_report())
    code, out, _ = run("status")
    assert code == 3
    for text in (
        "Something needs attention.", "rpo-missed pacs", "MISSED", "never", "running", "8 of 10 packs within 35 days (40.0 days ago",
        "Last drill that passed: 12 days ago. Copies: 1 of 2.",
            "4 GB of 10 GB free, full in 12 days.", "1 open, 2 acknowledged, 0 at risk",
    ):  # fmt: skip
        assert text in out
    code, out, _ = run("status", "--json")
    assert code == 3
    assert json.loads(out)["sources"][1]["verdict"] == "missed"
    code, out, _ = run("status", "--check")
    assert code == 1
    assert out.startswith(
        "HOLDFAST WARNING - rpo-missed pacs; the newest snapshots of 1 sources have findings; 1 alerts wait for an answer |"
        " rpo_missed=1;;0 alerts_open=1;0"
    )
    assert "# HELP holdfast_copies " in run("status", "--metrics")[1]


def test_status_of_little_and_of_the_worst(place, run, monkeypatch):
    little = full_report(
        verdict="ok", dangers=(), entries=(), sources=(), stores=(), classes=(),
        drill_days=None, verified_oldest_days=None, alerts_open=0,
        scheduler_seen=None,
    )  # fmt: skip
    monkeypatch.setattr("holdfast.runs.status.status", lambda _config: little)
    code, out, _ = run("status")
    assert code == 0
    assert "All is well." in out
    assert "never all" in out
    assert "passed: none." in out
    assert run("status", "--check")[1].startswith("HOLDFAST OK - 0 sources, no alert | ")
    waiting = full_report(
        sources=(SourceStatus("new", None, None, None, "never", suspicious=2),),
        packs_pending=3,
        bytes_pending=5000,
        scheduler_silent=True,
        nobody_told=True,
    )
    monkeypatch.setattr("holdfast.runs.status.status", lambda _config: waiting)
    assert "PENDING: 3 packs (5 kB) wait for a store" in run("status")[1]
    assert "SUSPICIOUS: 2 snapshots" in run("status")[1]
    assert "IT DOES NOT RUN" in run("status")[1]
    assert "NOBODY IS TOLD" in run("status")[1]
    line = run("status", "--check")[1]
    for said in (
        "1 sources were never backed up",
        "2 snapshots are suspicious",
        "service does not run",
        "3 packs wait for",
    ):
        assert said in line
    code, out, _ = run("status", "--config", str(place / "site.toml"))
    worst = full_report(verdict="critical", vault_error="store-unreachable")
    monkeypatch.setattr("holdfast.runs.status.status", lambda _config: worst)
    code, out, _ = run("status")
    assert code == 7
    assert "CRITICAL. The vault cannot be read (store-unreachable)." in out
    assert run("status", "--check")[0] == 2
    assert full_report(verdict="critical").exit_code == 1


def test_status_of_a_vault_that_is_not_there(place, run):
    code, out, _ = run("status")
    assert code == 7
    assert "The vault cannot be read (vault-missing)." in out or "cannot be read (" in out


@pytest.mark.parametrize("words", [("check",), ("check", "--json"), ("check", "-q")])
def test_an_alert_of_a_run_is_kept_whoever_started_it(vault, tmp_path, run, monkeypatch, words):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))

    def check(events, show_paths):
        events(Alert("probe-hanging", "ehr", "The probe hangs."))
        return CheckReport(1, 1, 1, 1)

    vault.answers["check"] = check
    code, out, err = run(*words)
    assert code == 0
    assert "The probe hangs." in (out if "--json" in words else err), (
        "an alert is neither progress nor summary: quiet or not"
    )
    with open_book() as book:
        assert [(record.code, record.origin) for record in book.live()] == [("probe-hanging", "stream")]
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "file"))
    code, _, err = run(*words)
    assert code == 0
    assert "the alert could not be kept" in err


def test_the_failure_of_a_run_that_nobody_watches_is_told_until_it_succeeds(vault, tmp_path, run, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    good = CheckReport(1, 1, 1, 1)

    def told():
        with open_book() as book:
            return [(record.code, record.subject, record.safety.value, record.origin) for record in book.live()]

    vault.answers["check"] = good
    assert run("check")[0] == 0
    assert not (tmp_path / "state").exists(), "what never failed writes no book"
    vault.answers["check"] = StoreUnreachableError("the store does not answer")
    assert run("check")[0] == 7
    assert told() == [("store-unreachable", "check", "intact", "command:check")]
    vault.answers["check"] = dataclasses.replace(good, problems=("a pack is missing",))
    assert run("check", "--json")[0] == 4
    assert told() == [("damage-found", "check", "degraded", "command:check")]
    vault.answers["check"] = Interrupted()
    assert run("check")[0] == 130
    assert [code for code, *_ in told()] == ["damage-found"], "who stops a run knows"
    vault.answers["check"] = good
    assert run("check")[0] == 0
    assert told() == []
    failed = alert_of("migrate", 7)
    assert failed is not None
    assert failed.code == "run-failed"
    monkeypatch.setenv("HOLDFAST_SCHEDULE_ENTRY", "nightly")
    vault.answers["check"] = StoreUnreachableError("the store does not answer")
    assert run("check")[0] == 7
    assert told() == [], "the schedule tells of its own"
    monkeypatch.delenv("HOLDFAST_SCHEDULE_ENTRY")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "file"))
    code, _, err = run("check")
    assert code == 7
    assert "the alert could not be kept" in err


def test_a_failure_that_the_book_cannot_take_is_told_at_once(place, vault, run, monkeypatch):
    vault.answers["check"] = StoreUnreachableError("the store does not answer")
    (place / "file").write_text("")
    monkeypatch.setenv("HOLDFAST_STATE", str(place / "file"))
    code, _, err = run("check")
    assert code == 7
    assert "the alert could not be kept" in err
    assert "it was told at once: 1 messages" in err
    (message,) = [json.loads(line) for line in (place / "log").read_text().splitlines()]
    assert message["codes"] == ["store-unreachable"]
    vault.answers["check"] = CheckReport(1, 1, 1, 1)
    assert run("check")[0] == 0
    assert len((place / "log").read_text().splitlines()) == 1


def test_a_second_signal_ends_the_service_at_once(place, run, monkeypatch):
    def interrupted(_config, _path, stop):
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.is_set()
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("holdfast.runs.status.run_service", interrupted)
    assert run("schedule", "run")[0] == 143
    monkeypatch.setattr("holdfast.runs.status.run_service", lambda *_: None)
    assert run("schedule", "run") == (0, "The schedule ended.\n", "")
