"""The service: what ends is reported and settled, what is in danger is told, and no failing part stops the others."""

from __future__ import annotations

import io
import json
import socket
import threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from holdfast import Alert, Note, config
from holdfast.base.environment import ManualClock
from holdfast.base.events import Finding, Progress
from holdfast.base.logs import LogWriter
from holdfast.errors import InternalError, LocalStateError, Retry, Safety, StoreUnreachableError
from holdfast.reliability.alerts import AlertBook
from holdfast.reliability.alerts.configured import make_desk, policy_of
from holdfast.reliability.alerts.desk import AlertDesk, Outlet, Round
from holdfast.reliability.notify.protocol import Receipt
from holdfast.reliability.telemetry import Endpoint
from holdfast.runs.alerting import tell_by
from holdfast.runs.monitoring import gather
from holdfast.runs.monitoring.facts import StoreRoom, VaultFacts, unreadable
from holdfast.runs.monitoring.report import SourceStatus
from holdfast.runs.schedule import teller as teller_module
from holdfast.runs.schedule.book import ScheduleBook
from holdfast.runs.schedule.configured import entries_of
from holdfast.runs.schedule.exporter import Exporter
from holdfast.runs.schedule.launch import Ended
from holdfast.runs.schedule.records import Outcome, RunState
from holdfast.runs.schedule.scheduler import Scheduler
from holdfast.runs.schedule.sdnotify import Supervisor
from holdfast.runs.schedule.service import BackgroundReader, Service, Stop, service_lock
from holdfast.runs.schedule.teller import Direct, Teller
from holdfast.runs.status import Said
from unit.schedule.fakes import GOOD, LATER, NEVER, FakeLauncher

START = datetime(2026, 11, 23, tzinfo=UTC)
TEXT = """[vault]
url = "/v"
[jobs.ehr]
rpo_seconds = "25h"
paths = ["/srv"]
[schedule.nightly]
job = "ehr"
cron = "30 2 * * *"
[schedule.proof]
kind = "verify"
after = ["nightly"]
[monitoring]
textfile = "FILE"
certificates = ["CERT"]
drill_days = 30
[channels.log]
kind = "file"
path = "LOG"
[contacts.anna]
channels = ["log"]
"""


class Host:
    """A service on a manual clock, with a vault that a test describes."""

    def __init__(self, folder) -> None:
        self.folder = folder
        text = (
            TEXT.replace("FILE", f"{folder}/h.prom")
            .replace("CERT", f"{folder}/none.pem")
            .replace("LOG", f"{folder}/log")
        )
        self.settings = config.loads(text, environ={}).settings
        self.clock = ManualClock(START)
        env = self.clock.environment()
        self.book = ScheduleBook(":memory:", env)
        self.launcher = FakeLauncher(self.clock)
        self.lines = io.StringIO()
        self.age_days: float | None = 1.0
        self.facts = lambda: VaultFacts(
            self.clock.now(), "ab" * 16, sources=self.sources(), ages_days=(self.age_days,), first_days=90.0,
            rooms=(StoreRoom("vault", 500, 1000),),
        )  # fmt: skip
        self.service = Service(
            self.settings, entries_of(self.settings), self.book, make_desk(self.settings, ":memory:", env, {}), self.launcher, env,
            LogWriter(self.lines.write, env, as_json=True), lambda: self.facts(), Supervisor({}),
        )  # fmt: skip
        self.scheduler = Scheduler(
            self.service.entries,
            self.book,
            self.launcher,
            env,
            on_end=self.service._ended,
            on_clock=self.service.clock_stepped,
        )

    def sources(self) -> tuple[SourceStatus, ...]:
        good = self.book.last_good("nightly")
        other = SourceStatus("ward7@b", START, 1.0, None, "unwatched", 3)
        return (SourceStatus("ehr", good, None, None, "unwatched", 1), other) if good else (other,)

    def until(self, hours: float) -> None:
        end = START + timedelta(hours=hours)
        while self.clock.now() < end:
            self.service.turn(self.scheduler)
            self.clock.advance(timedelta(minutes=6))
        self.service.turn(self.scheduler)

    def codes(self) -> set[str]:
        return {record.code for record in self.service.desk.book.live()}

    def log(self) -> list[dict]:
        return [json.loads(line) for line in self.lines.getvalue().splitlines()]


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def test_all_is_seen(host):
    host.until(4)
    assert host.codes() == {"certificate-expiring", "drill-overdue"}
    assert host.book.last_good("proof") is not None
    report = host.service.report
    assert report is not None
    assert report.verdict == "attention"
    assert [(source.name, source.verdict) for source in report.sources] == [("ehr", "ok"), ("ward7@b", "unwatched")]
    assert report.scheduler_seen == host.clock.now()
    assert 'holdfast_source_rpo_missed{source="ehr"} 0.0' in (host.folder / "h.prom").read_text()
    assert host.book.room("vault")[0][1] == 500
    host.book.note_fact(gather.DRILL_FACT)
    host.until(5)
    assert host.codes() == {"certificate-expiring"}
    assert (host.folder / "log").exists()


def test_a_failure_is_told_and_settled_by_the_next_success(host):
    host.launcher.outcome = lambda entry, _record: NEVER if entry and entry.kind == "backup" else GOOD
    host.until(4)
    assert "store-full" in host.codes()
    (record,) = [record for record in host.service.desk.book.live() if record.code == "store-full"]
    assert (record.subject, record.origin) == ("nightly", "run")
    host.launcher.outcome = lambda _entry, _record: GOOD
    host.until(28)
    assert "store-full" not in host.codes()
    ended = [line for line in host.log() if line["event"] == "run-ended"]
    assert [(line["entry"], line["level"]) for line in ended][:2] == [("nightly", "error"), ("nightly", "info")]


def test_what_is_missed_is_told_until_it_is_made_up_for(host):
    host.launcher.outcome = lambda _entry, _record: LATER
    host.until(26)
    assert "rpo-missed" in host.codes()
    host.launcher.outcome = lambda _entry, _record: GOOD
    host.until(30)
    assert "rpo-missed" not in host.codes()


def test_a_service_that_starts_nothing_is_told_of(host):
    host.settings = host.settings
    host.scheduler.step = lambda *, start=True: host.clock.now()
    host.until(4)
    assert "run-missing" in host.codes()


def test_a_vault_that_is_down_is_an_alert_and_says_nothing_of_the_rest(host):
    host.age_days = 40.0
    host.until(0.1)
    assert "verification-overdue" in host.codes()
    good = host.facts
    host.facts = lambda: unreadable(StoreUnreachableError("away"), host.clock.now())
    host.until(1)
    assert {"verification-overdue", "store-unreachable"} <= host.codes(), "what cannot be seen is not over"
    assert host.service.report.vault_error == "store-unreachable"
    assert host.service.report.exit_code == 7
    host.facts = good
    host.age_days = 1.0
    host.until(2)
    assert not {"verification-overdue", "store-unreachable"} & host.codes()


def test_alerts_of_a_run_s_own_are_passed_on(host):
    alert = Alert("freeze-long", "ehr", "x", Safety.AT_RISK)
    entry = host.service.entries[0]
    record = host.book.begin("nightly", START)
    assert record is not None
    host.service._ended(entry, Ended(record, Outcome(0), (alert,)), RunState.DONE)
    assert "freeze-long" in host.codes()
    host.service._ended(entry, Ended(record, LATER), RunState.WAITING)
    assert "freeze-long" in host.codes()
    host.service._ended(entry, Ended(record, Outcome(0)), RunState.DONE)
    assert "freeze-long" not in host.codes(), "the next good run did not give it any more"


def test_no_failing_part_stops_the_others(host, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise LocalStateError("the disk is full")

    monkeypatch.setattr(host.service.desk, "reconcile", refuse)
    monkeypatch.setattr(host.service.desk, "report", refuse)
    monkeypatch.setattr(host.service, "read_vault", refuse)
    monkeypatch.setattr(host.book, "note_fact", refuse)
    host.launcher.outcome = lambda _entry, _record: NEVER
    host.until(4)
    assert host.launcher.started
    failed = {line["part"] for line in host.log() if line["event"] == "service-part-failed"}
    assert failed == {"book", "vault", "objectives", "alerts"}
    assert host.service.report is not None


def test_replies_that_are_refused_are_logged(host):
    (host.folder / "a.reply").write_bytes(b"nonsense")
    host.service.desk._reply_folder = str(host.folder)
    host.until(1)
    assert [line["replies"] for line in host.log() if line["event"] == "replies-refused"] == [1]
    assert "reply-refused" in host.codes()


def test_messages_that_nobody_takes_are_logged(host):
    (host.folder / "log").mkdir()
    host.until(1)
    assert any(line["event"] == "messages-failed" for line in host.log())


def test_a_clock_that_is_set_or_stands_still_is_told(host):
    host.until(1)
    assert "clock-stepped" not in host.codes()
    host.clock._now += timedelta(days=1)
    host.service.turn(host.scheduler)
    assert "clock-stepped" in host.codes()
    host.until(24 + 4)
    assert "clock-stepped" not in host.codes()
    host.service._round_at = float("-inf")
    for _ in range(30):
        host.clock._seconds += 5  # time passes, and the clock does not see it
        host.service.turn(host.scheduler)
    assert "clock-stepped" in host.codes()


def test_a_vault_that_hangs_holds_nothing_up():
    clock = ManualClock(START)
    release, started = threading.Event(), []

    def hang() -> VaultFacts:
        started.append(1)
        release.wait(30)
        return VaultFacts(clock.now(), "v")

    reader = BackgroundReader(hang, clock.environment(), patience_seconds=0.01)
    assert reader() is None
    clock.advance(timedelta(seconds=500))
    assert reader() is None
    clock.advance(timedelta(seconds=101))
    found = reader()
    assert found is not None
    assert found.error == "store-unreachable"
    assert len(started) == 1, "it is not asked again before it has answered"
    release.set()
    assert reader._thread is not None
    reader._thread.join()
    answered = reader()
    assert answered is not None
    assert answered.vault == "v"


def test_what_breaks_the_reader_is_said():
    def broken() -> VaultFacts:
        raise KeyError("secret")

    found = BackgroundReader(broken, ManualClock(START).environment())()
    assert found is not None
    assert found.error == "internal"
    assert found.alert is not None
    assert "secret" not in found.alert.text


def test_a_damaged_book_is_set_aside_and_told(host, tmp_path):
    (tmp_path / "s.sqlite").write_bytes(b"nonsense" * 1000)
    host.service.book = ScheduleBook(tmp_path / "s.sqlite", host.clock.environment())
    assert host.service.book.lost
    assert (tmp_path / "s.sqlite.damaged").exists()
    stop = threading.Event()
    stop.set()
    host.service.run(Stop(stop, lambda _seconds: None))
    assert "schedule-book-lost" in host.codes()


def test_old_runs_are_dropped_once_a_day(host):
    host.until(4)
    host.clock.advance(timedelta(days=500))
    host.until(24 * 500 + 5)
    assert len(host.book.runs("nightly")) <= 2


def test_the_loop_ends_in_order(host):
    stop = threading.Event()
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        host.clock.advance(timedelta(minutes=10))
        if host.launcher.live:
            stop.set()

    host.service.run(Stop(stop, wait))
    assert all(0.05 <= seconds <= 2 for seconds in waited)
    assert host.launcher.stopped
    words = [line["event"] for line in host.log()]
    assert words[0] == "started"
    assert words[-1] == "stopped"


def test_a_watchdog_shortens_the_sleep(host, tmp_path):
    address = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        supervisor = Supervisor({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "600000"})
        supervisor.tell(READY=1, STATUS="x y")
        assert manager.recv(100) == b"READY=1\nSTATUS=x y"
    supervisor.tell(READY=1)  # nobody listens any more
    assert supervisor.watchdog_seconds == 0.6
    host.service.manager = supervisor
    assert host.service._sleep_max() == pytest.approx(0.2)
    assert Supervisor({"WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"}).watchdog_seconds is None
    Supervisor({"NOTIFY_SOCKET": "@nobody"}).tell(READY=1)


def test_the_folder_of_the_service_must_be_usable(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalStateError, match="folder cannot be used"), service_lock(tmp_path / "file" / "x"):
        pass


def test_a_book_that_cannot_be_opened_or_written(tmp_path):
    env = ManualClock().environment()
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalStateError, match="cannot be opened"):
        ScheduleBook(tmp_path / "file" / "x", env)
    (tmp_path / "folder").mkdir()
    with pytest.raises(LocalStateError, match="cannot be opened"):
        ScheduleBook(tmp_path / "folder", env)
    book = ScheduleBook(tmp_path / "good", env)
    with pytest.raises(RuntimeError), book._change() as db:  # noqa: PT012 - what is undone comes first
        db.execute("INSERT INTO request VALUES ('x', 'y')")
        raise RuntimeError
    assert not book.asked(), "half a change is none"
    book._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(LocalStateError, match="does not take"):
        book.ask("x")
    book.close()


def test_room_is_kept_by_the_hour_and_thinned_out():
    clock = ManualClock()
    book = ScheduleBook(":memory:", clock.environment())
    for hour in range(200):
        book.note_room("vault", 1000 - hour)
        clock.advance(timedelta(hours=1))
    samples = book.room("vault")
    assert 50 <= len(samples) <= 60
    assert samples[-1][1] == 801
    assert book.room("other") == ()
    assert book.fact("x") is None
    clock.advance(timedelta(days=500))
    book.drop_old(400)
    assert book.room("vault") == ()


def test_log_lines_are_for_people_or_programs_and_hold_no_path():
    env = ManualClock().environment()
    out = io.StringIO()
    log = LogWriter(out.write, env)
    log.event(Alert("damage", "ehr", "a pack\nis damaged", Safety.AT_RISK, Retry.NEVER))
    log.event(Note("resumed", "resume"))
    log.event(Note("resumed"))
    log.event(Finding(b"srv/secret", "unreadable", "permission denied"))
    log.event(Progress("scan"))
    assert out.getvalue().splitlines() == [
        "2026-11-23T03:00:00.000000Z CRITICAL alert damage ehr at risk: a pack is damaged",
        "2026-11-23T03:00:00.000000Z INFO note resume: resumed",
        "2026-11-23T03:00:00.000000Z INFO note: resumed",
        "2026-11-23T03:00:00.000000Z WARNING finding unreadable: permission denied",
    ]
    out = io.StringIO()
    LogWriter(out.write, env, as_json=True).event(Alert("damage", "ehr", "x"))
    assert json.loads(out.getvalue())["subject"] == "ehr"


def test_however_many_channels_hang_runs_start_at_their_time(host):
    """The round of messages is held until the test lets it go: meanwhile a run starts, ends, and the manager hears of life."""
    let_go, began = threading.Event(), threading.Event()

    class Hangs:
        def send(self, message):
            began.set()
            assert let_go.wait(60)
            return Receipt(message.kind)

    env = host.clock.environment()
    book = AlertBook(host.folder / "alerts.sqlite", env)
    policy = policy_of(host.settings)
    host.service.desk = AlertDesk(book, policy, {}, env)
    own: list[AlertDesk] = []

    def made():
        own.append(
            AlertDesk(AlertBook(host.folder / "alerts.sqlite", env), policy, {"log": Outlet(Hangs(), 1, 60.0)}, env)
        )
        return own[0].round

    host.service.teller = Teller(made, patience_seconds=0.01)
    host.service.turn(host.scheduler)
    assert began.wait(60)
    host.until(4)
    assert host.book.last_good("nightly") is not None, "the run did not wait for the messages"
    assert host.book.last_good("proof") is not None
    assert not book.deliveries()
    let_go.set()
    thread = host.service.teller._thread
    assert thread is not None
    thread.join()
    host.service._log_round(host.service.teller.last())
    assert {delivery.reference for delivery in book.deliveries() if delivery.delivered} >= {"alert"}
    for each in (book, own[0].book):
        each.close()


def test_what_ends_a_round_is_said_once_and_the_next_one_is_done():
    outcomes: list[object] = [LocalStateError("the disk is full"), KeyError("secret"), Round(1, 0, 0)]

    def made():
        def one():
            found = outcomes.pop(0)
            if isinstance(found, Exception):
                raise found
            return found

        return one

    teller = Teller(made, patience_seconds=60.0)
    with pytest.raises(LocalStateError, match="the disk is full"):
        teller()
    with pytest.raises(InternalError, match="people could not be told: KeyError"):
        teller()
    assert teller() == Round(1, 0, 0)
    outcomes.append(Round(2, 0, 0))
    assert teller.last() == Round(2, 0, 0)


def test_a_round_that_hangs_does_not_hold_up_the_end(monkeypatch):
    monkeypatch.setattr(teller_module, "LAST_SECONDS", 0.01)
    let_go = threading.Event()

    def hangs():
        let_go.wait(60)
        return Round(1, 0, 0)

    teller = Teller(lambda: hangs, patience_seconds=0.01)
    assert teller() is None
    assert teller.last() is None
    let_go.set()
    assert teller._thread is not None
    teller._thread.join()
    teller._patience_seconds = 60.0
    assert teller() == Round(2, 0, 0), "what ended meanwhile, and the one that was begun at once"
    assert teller._ended(0) is None


def test_a_collector_that_takes_nothing_is_logged_once(host, monkeypatch):
    answers = {"now": "status 503"}
    monkeypatch.setattr("holdfast.runs.schedule.exporter.post", lambda *_: answers["now"])
    host.service.exporter = Exporter(Endpoint("http://otel"), START)

    def rounds(count: int) -> list[str]:
        for _ in range(count):
            host.service._round()
            host.service.exporter.wait()
        return [line["event"] for line in host.log() if line["event"].startswith("telemetry-")]

    assert rounds(4) == ["telemetry-failed"]
    answers["now"] = ""
    assert rounds(3) == ["telemetry-failed", "telemetry-sent"]


class Disk:
    """The books of a host as files, on a disk that a test breaks and mends."""

    def __init__(self, host: Host) -> None:
        env = host.clock.environment()
        self.paths = (host.folder / "schedule.sqlite", host.folder / "alerts.sqlite")
        host.book = host.service.book = ScheduleBook(self.paths[0], env)
        host.service.desk = make_desk(host.settings, self.paths[1], env, {})
        host.service.direct = Direct(lambda alert: tell_by(host.settings, alert, env), env)
        host.scheduler = Scheduler(
            host.service.entries,
            host.book,
            host.launcher,
            env,
            on_end=host.service._ended,
            on_clock=host.service.clock_stepped,
        )
        self.host = host

    def damage(self) -> None:
        self.good = [path.read_bytes() for path in self.paths]
        for path in self.paths:
            path.write_bytes(b"\x5a" * 8192)

    def mend(self) -> None:
        for path, data in zip(self.paths, self.good, strict=True):
            path.write_bytes(data)

    def turns(self, minutes: int) -> None:
        for _ in range(minutes):
            self.host.service.turn(self.host.scheduler)
            self.host.service.direct.wait()
            self.host.clock.advance(timedelta(minutes=1))

    def told(self) -> list[str]:
        path = self.host.folder / "log"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [code for line in lines for code in line["codes"] if code == "local-state"]


@pytest.mark.parametrize("start", [pytest.param(60, id="at-rest"), pytest.param(155, id="while-a-run-is-under-way")])
def test_a_disk_that_breaks_under_the_service_is_told_once_an_hour_and_runs_go_on_when_it_is_mended(host, start):
    disk = Disk(host)
    disk.turns(start)
    under_way = set(host.launcher.live)
    assert bool(under_way) is (start == 155)
    disk.damage()
    disk.turns(59)
    assert disk.told() == ["local-state"], "one message, however many parts fail how often"
    disk.turns(60)
    assert disk.told() == ["local-state"] * 2
    failed = {line["part"] for line in host.log() if line["event"] == "service-part-failed"}
    assert failed >= {"schedule", "book", "objectives", "alerts", "metrics"}
    disk.mend()
    disk.turns(120)
    assert host.book.last_good("nightly") is not None
    assert [record.state for record in host.book.runs("nightly")] == [RunState.DONE], "no run was lost or made twice"
    assert len(disk.told()) == 2


def test_what_a_run_was_worth_is_reported_when_the_book_takes_it_again(host):
    host.launcher.outcome = lambda entry, _record: NEVER if entry and entry.kind == "backup" else GOOD
    disk = Disk(host)
    disk.turns(155)
    good = disk.paths[1].read_bytes()
    disk.paths[1].write_bytes(b"\x5a" * 8192)
    disk.turns(20)
    assert host.book.runs("nightly")[0].state is RunState.FAILED
    disk.paths[1].write_bytes(good)
    disk.turns(2)
    assert "store-full" in host.codes()


def test_no_fault_of_a_step_ends_the_service(host):
    faults: list[Exception] = [OSError(5, "Input/output error"), KeyError("secret")]
    steps: list[float] = []

    def step(*, start=True):
        steps.append(host.clock.now().timestamp())
        if faults:
            raise faults.pop(0)
        return host.clock.now()

    host.scheduler.step = step
    for _ in range(130):
        host.service.turn(host.scheduler)
        host.clock.advance(timedelta(seconds=1))
    assert [moment - steps[0] for moment in steps[:4]] == [0, 60, 120, 121], "it is tried again in a minute"
    said = [line["text"] for line in host.log() if line.get("part") == "schedule"]
    assert said == [
        "the schedule's local state cannot be used (Input/output error)",
        "a part of the service failed: KeyError",
    ]


def test_a_service_that_ends_on_a_broken_disk_ends(host):
    stop = threading.Event()

    def wait(_seconds: float) -> None:
        host.clock.advance(timedelta(minutes=10))
        if host.launcher.live:
            host.book._connection.close()
            stop.set()

    host.service.run(Stop(stop, wait))
    assert host.log()[-1]["event"] == "stopped"


def test_telling_past_the_book_is_tried_again_until_somebody_is_told():
    clock = ManualClock(START)
    outcomes: list[object] = [KeyError("secret"), LocalStateError("no room"), 0, 1]

    def tell(_alert: Alert) -> int:
        found = outcomes.pop(0)
        if isinstance(found, Exception):
            raise found
        assert isinstance(found, int)
        return found

    direct = Direct(tell, clock.environment())
    for failure in ("KeyError", "no room", "no channel took the message", "", ""):
        direct(Alert("local-state", "schedule", "x"))
        direct.wait()
        assert direct.failure == failure
    assert not outcomes


def test_a_port_that_is_free_again_is_listened_at(host):
    stop = threading.Event()
    codes: list[bool] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monitoring = host.settings.monitoring.model_copy(update={"listen": f"127.0.0.1:{port}"})
        host.service.settings = host.settings.model_copy(update={"monitoring": monitoring})

        def wait(_seconds: float) -> None:
            codes.append("metrics-not-served" in host.codes())
            host.clock.advance(timedelta(seconds=40))
            taken.close()
            if len(codes) == 4:
                with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
                    client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                    assert b"200" in client.recv(100)
                stop.set()

        host.service.run(Stop(stop, wait))
    assert codes == [True, True, False, False]


def test_only_the_service_sets_a_damaged_book_aside(tmp_path):
    env = ManualClock().environment()
    path = tmp_path / "s.sqlite"
    assert ScheduleBook(path, env, "read").runs() == ()
    assert not path.exists(), "who reads makes nothing"
    ScheduleBook(path, env).close()
    reader = ScheduleBook(path, env, "read")
    assert reader.since("nightly") == env.now()
    assert reader._connection.execute("SELECT count(*) FROM entry").fetchone() == (0,), "nor changes anything"
    reader._connection.close()
    path.write_bytes(b"nonsense" * 1000)
    for access in ("read", "write"):
        with pytest.raises(LocalStateError, match="book is damaged"):
            ScheduleBook(path, env, access)
    assert [each.name for each in tmp_path.iterdir()] == ["s.sqlite"]


def test_a_book_that_is_damaged_while_it_is_read_says_so(tmp_path):
    env = ManualClock().environment()
    path = tmp_path / "s.sqlite"
    ScheduleBook(path, env).close()
    reader = ScheduleBook(path, env, "read")
    path.write_bytes(b"nonsense" * 2000)
    with pytest.raises(LocalStateError, match="is damaged"):
        reader.newest()
    reader.close()


def test_a_book_that_stays_damaged_for_hours_is_set_aside_by_the_service_and_runs_go_on(host):
    disk = Disk(host)
    disk.turns(155)
    (under_way,) = host.launcher.live
    path = disk.paths[0]
    path.write_bytes(b"\x5a" * 8192)
    host.launcher.minutes = 10_000
    host.launcher.live[under_way] = (*host.launcher.live[under_way][:2], host.clock.now() + timedelta(hours=4))
    disk.turns(170)
    assert not path.with_suffix(".sqlite.damaged").exists()
    disk.turns(20)
    assert path.with_suffix(".sqlite.damaged").exists()
    assert [record.name for record in host.book.running()] == [under_way]
    (lost,) = [record for record in host.service.desk.book.live() if record.code == "schedule-book-lost"]
    assert lost.safety is Safety.DEGRADED
    started = len(host.launcher.started)
    host.launcher.minutes = 10
    disk.turns(60 * 30)
    assert len(host.launcher.started) > started
    assert host.book.last_good(under_way) is not None


def test_a_book_that_cannot_be_renewed_is_tried_again(host, tmp_path):
    disk = Disk(host)
    disk.turns(2)
    disk.paths[0].unlink()
    with pytest.raises(LocalStateError, match="no new one can be begun"):
        host.book.renew()


def test_what_lasts_is_logged_ever_more_rarely():
    clock = ManualClock()
    said = Said(clock.environment())
    times = []
    for _ in range(2 * 60 * 24 * 3):
        if said.again("no room"):
            times.append(clock.now())
        clock.advance(timedelta(seconds=30))
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[:3] == [timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=4)]
    assert len(times) < 15
    assert max(gaps) <= timedelta(days=1)
    assert said.again("another thing")
    assert said.again("no room"), "it is new again"
