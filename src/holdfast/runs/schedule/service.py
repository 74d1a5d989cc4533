"""The service: scheduler, objectives, alerts and metrics in one loop. Each part may fail by itself; none stops the others.

One service a host (a lock says so). On SIGTERM it asks its runs to keep their checkpoints and waits for them a while; a run that
goes on is found by the next service.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.base.events import Alert
from holdfast.base.logs import LogWriter
from holdfast.base.units import format_seconds
from holdfast.errors import (
    HoldfastError,
    InternalError,
    LocalStateError,
    Retry,
    Safety,
    ScheduleBusyError,
    StoreUnreachableError,
    UsageError,
)
from holdfast.reliability.objectives import endangered
from holdfast.runs.alerting import origin_of
from holdfast.runs.monitoring.endpoint import serving
from holdfast.runs.monitoring.facts import VaultFacts, unreadable
from holdfast.runs.monitoring.gather import SERVICE_FACT, host_facts, make_report, vault_alerts
from holdfast.runs.monitoring.metrics import write_textfile
from holdfast.runs.schedule.exporter import Exporter
from holdfast.runs.schedule.launch import Ended, Launcher
from holdfast.runs.schedule.records import Entry, RunState
from holdfast.runs.schedule.scheduler import RUN_ALERTS, Scheduler, alert_of
from holdfast.runs.schedule.sdnotify import Supervisor
from holdfast.runs.schedule.teller import Direct, Teller
from holdfast.runs.trail import AUDIT_LOG, AUDIT_UNSOUND

if TYPE_CHECKING:
    from holdfast.base.environment import Environment
    from holdfast.config import Settings
    from holdfast.reliability.alerts import AlertDesk
    from holdfast.reliability.alerts.desk import Round
    from holdfast.runs.monitoring.report import StatusReport
    from holdfast.runs.options import Cancel
    from holdfast.runs.schedule.book import ScheduleBook

__all__ = ["BackgroundReader", "Service", "Stop", "service_lock", "state_alert"]

ROUND_SECONDS = 60.0
AGAIN_SECONDS = 60.0
"""A step of the scheduler that failed is tried again after this."""
RENEW_SECONDS = 3 * 3600.0
"""A book that stays damaged for so long under the service is set aside: a disk that comes back sooner loses no run."""
VAULT_SECONDS = 900.0
SLEEP_SECONDS_MAX = 2.0
END_SECONDS_MAX = 150.0
_KEEP_SECONDS = 86400.0
_VAULT_ORIGIN = "vault"
_REACH_ORIGIN = "reach"
_CLOCK_ORIGIN = "clock"
_METRICS_ORIGIN = "metrics"
_CLOCK_SECONDS = 3600.0
_READ_SECONDS_MAX = 600.0
_UNREPORTED_MAX = 1000


class Stop:
    """What the loop sleeps on: an event of threading, or a test's own."""

    def __init__(self, event: Cancel, wait: Callable[[float], object]) -> None:
        """Take the event and what waits for it."""
        self.is_set = event.is_set
        self.wait = wait


class BackgroundReader:
    """Reads the vault's facts aside: a store that hangs must not hold up the schedule and the alerts.

    Calling it returns the facts, or None while they are being read; after ten minutes, that the vault does not answer.
    """

    def __init__(self, read: Callable[[], VaultFacts], env: Environment, *, patience_seconds: float = 5.0) -> None:
        """Take what reads, and how long a call waits for it."""
        self._read = read
        self._env = env
        self._patience_seconds = patience_seconds
        self._thread: threading.Thread | None = None
        self._began = 0.0
        self._found: list[VaultFacts] = []

    def __call__(self) -> VaultFacts | None:
        """Return the facts."""
        if self._thread is None:
            self._found.clear()
            self._began = self._env.monotonic()
            self._thread = threading.Thread(target=self._work, name="vault-facts", daemon=True)
            self._thread.start()
        self._thread.join(self._patience_seconds)
        if not self._thread.is_alive():
            self._thread = None
            return self._found[0]
        if self._env.monotonic() - self._began > _READ_SECONDS_MAX:
            return unreadable(StoreUnreachableError("the vault gives no answer"), self._env.now())
        return None

    def _work(self) -> None:
        try:
            self._found.append(self._read())
        except Exception as error:  # noqa: BLE001 - a thread's failure must be seen; its text may hold a path
            fault = InternalError(f"the vault's facts could not be read: {type(error).__name__}")
            self._found.append(unreadable(fault, self._env.now()))


@contextmanager
def service_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of this host's schedule. `ScheduleBusyError` if another process does."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / "service.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LocalStateError(f"the schedule's folder cannot be used ({error.strerror})") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ScheduleBusyError("another `holdfast schedule run` is at work on this host") from None
        except OSError as error:
            raise LocalStateError(f"the schedule's lock cannot be used ({error.strerror})") from None
        yield
    finally:
        os.close(lock)


def state_alert(error: HoldfastError) -> Alert:
    """Return the alert of what keeps the service's books from being used."""
    next_step = "see to the disk of the state directory, then restart the service: it sets a damaged book aside."
    return Alert(error.code, "schedule", error.what, error.safety, Retry.NEVER, error.safe, next_step)


@dataclass(slots=True)
class Service:
    """All that the loop works with. `read_vault` returns the vault's facts, errors included; None: they are being read."""

    settings: Settings
    entries: tuple[Entry, ...]
    book: ScheduleBook
    desk: AlertDesk
    launcher: Launcher
    env: Environment
    log: LogWriter
    read_vault: Callable[[], VaultFacts | None]
    manager: Supervisor = field(default_factory=lambda: Supervisor(os.environ))
    teller: Teller | None = None
    """Who tells people aside; None: the desk does it in the loop."""
    exporter: Exporter | None = None
    """Where spans of runs and figures go, if a collector is configured."""
    direct: Direct | None = None
    """Who tells people of what keeps the books from being used."""
    facts: VaultFacts | None = None
    report: StatusReport | None = None
    _vault_read_at: float = float("-inf")
    _round_at: float = float("-inf")
    _kept_at: float = float("-inf")
    _clock_at: float = float("-inf")
    _step_at: float = float("-inf")
    _serve_at: float = float("-inf")
    _is_serving: bool = False
    _unsent: bool = False
    _unreported: deque[tuple[Entry, Ended, RunState]] = field(default_factory=lambda: deque(maxlen=_UNREPORTED_MAX))
    """Runs that ended and that the alert book has not taken."""

    def run(self, stop: Stop) -> None:
        """Work until `stop` is set."""
        scheduler = Scheduler(
            self.entries,
            self.book,
            self.launcher,
            self.env,
            concurrent=self.settings.scheduler.concurrent,
            on_end=self._ended,
            on_clock=self.clock_stepped,
        )
        self.desk.alive = lambda: self.manager.tell(WATCHDOG=1)
        if self.book.lost:
            self._report_lost_book()
        with ExitStack() as stack:
            self._serve(stack)
            self.manager.tell(READY=1, STATUS=f"{len(self.entries)} entries")
            self.log.say("info", "started", f"{len(self.entries)} entries, {len(scheduler.running)} runs under way")
            while not stop.is_set():
                wake = self.turn(scheduler)
                self._serve(stack)
                seconds = (wake - self.env.now()).total_seconds()
                stop.wait(min(self._sleep_max(), max(0.05, seconds)))
            self._stop(scheduler)

    def _serve(self, stack: ExitStack) -> None:
        """Give out metrics where the configuration says. A port that cannot be had is an alert, and tried again in a minute."""
        now = self.env.monotonic()
        if self._is_serving or not self.settings.monitoring.listen or now - self._serve_at < AGAIN_SECONDS:
            return
        self._serve_at = now
        alerts = []
        try:
            stack.enter_context(serving(self.settings.monitoring.listen, lambda: self.report))
            self._is_serving = True
        except UsageError as error:
            alerts.append(
                Alert(
                    "metrics-not-served", "metrics", error.what, Safety.UNTOUCHED, Retry.NEVER,
                    "runs start and alerts are told as ever; only who fetches figures from here gets none.", error.next,
                )
            )  # fmt: skip
            self.log.event(alerts[0])
        with self._guarded("metrics"):
            self.desk.reconcile(alerts, origin=_METRICS_ORIGIN)

    def turn(self, scheduler: Scheduler) -> datetime:
        """Do one turn of the loop; return when the scheduler has something to do again."""
        wake = self._step(scheduler)
        now = self.env.monotonic()
        if now - self._round_at >= ROUND_SECONDS:
            self._round_at = now
            self._round()
        self.manager.tell(WATCHDOG=1, STATUS=f"{len(scheduler.running)} runs under way")
        return wake

    def _step(self, scheduler: Scheduler) -> datetime:
        """Let the scheduler do its step; one that fails (a full disk, a book that is damaged) is tried again in a minute."""
        now = self.env.monotonic()
        if now >= self._step_at:
            wakes: list[datetime] = []
            with self._guarded("schedule"):
                wakes.append(scheduler.step())
            if wakes:
                return wakes[0]
            self._step_at = now + AGAIN_SECONDS
            self._renew_book(scheduler)
        return self.env.now() + timedelta(seconds=self._step_at - now)

    def _renew_book(self, scheduler: Scheduler) -> None:
        """Begin a new book once the old one has been damaged for hours: no backup may wait for somebody to restart the service."""
        since = self.book.damaged_since
        if since is not None and self.env.monotonic() - since >= RENEW_SECONDS:
            with self._guarded("schedule"):
                self.book.renew()
                scheduler.renewed()
                self._report_lost_book()

    def _sleep_max(self) -> float:
        watchdog = self.manager.watchdog_seconds
        return SLEEP_SECONDS_MAX if watchdog is None else min(SLEEP_SECONDS_MAX, watchdog / 3)

    def _ended(self, entry: Entry, ended: Ended, state: RunState) -> None:
        """Log how a run ended, report what it is worth, and look at everything at once."""
        outcome = ended.outcome
        level = "info" if outcome.succeeded else "error" if state is RunState.FAILED else "warning"
        self.log.say(
            level, "run-ended", outcome.what or state.value, entry=entry.name, state=state.value, code=outcome.code,
            attempt=ended.record.attempt, exit_code=outcome.exit_code,
        )  # fmt: skip
        if self.exporter is not None:
            self.exporter.run_ended(entry, ended, self.env.now())
        worth = alert_of(entry, outcome, state)
        if worth is not None:
            self.log.event(worth)
        self._unreported.append((entry, ended, state))
        self._report_ended()
        self._vault_read_at = self._round_at = float("-inf")

    def _report_ended(self) -> None:
        """Report what ended runs are worth; what the alert book does not take now is reported in a later round."""
        for _ in range(len(self._unreported)):
            ended, taken = self._unreported.popleft(), False
            with self._guarded("alerts"):
                self._report_end(*ended)
                taken = True
            if not taken:
                self._unreported.append(ended)

    def _report_end(self, entry: Entry, ended: Ended, state: RunState) -> None:
        given = frozenset((alert.code, alert.subject) for alert in ended.alerts)
        for alert in ended.alerts:
            self.desk.report(alert, origin=origin_of(entry.name))
        worth = alert_of(entry, ended.outcome, state)
        if state is RunState.DONE:
            self.desk.book.settle(origin=origin_of(entry.name), keep=given)
            keep = frozenset({(worth.code, worth.subject)}) if worth is not None else frozenset()
            self.desk.book.settle(origin=RUN_ALERTS, subject=entry.name, keep=keep)
        # What the run itself told of the audit log need not be told once more by the name of its entry.
        if worth is not None and not (worth.code == AUDIT_UNSOUND and (worth.code, AUDIT_LOG) in given):
            self.desk.report(worth, origin=RUN_ALERTS)

    def _report_lost_book(self) -> None:
        with self._guarded("alerts"):
            self.desk.report(
                Alert(
                    "schedule-book-lost", "schedule", "The schedule's book was damaged. It was set aside and a new one begun.",
                    Safety.DEGRADED, Retry.NEVER, "every backup is as it was; entries start again from their next time on.",
                    "look into the file that ends in `.damaged`, and at the disk it lies on.",
                ),
                origin="schedule",
            )  # fmt: skip

    def clock_stepped(self, seconds: float) -> None:
        """Report that the clock was set, or stood still: nothing starts at its time by a clock that is wrong."""
        self._clock_at = self.env.monotonic()
        way = "forward" if seconds > 0 else "back"
        with self._guarded("alerts"):
            self.desk.report(
                Alert(
                    "clock-stepped", "clock", f"The machine's clock went {way} by {format_seconds(abs(seconds))} at once.",
                    Safety.UNTOUCHED, Retry.NEVER, "no run is started twice; snapshots carry the times that the clock had.",
                    "see that the time service works: `timedatectl`.",
                ),
                origin=_CLOCK_ORIGIN,
            )  # fmt: skip
        self._round_at = float("-inf")

    def _round(self) -> None:
        """See what is in danger, tell who must know, give out figures. What fails is logged, and the rest goes on."""
        now = self.env.now()
        with self._guarded("book"):
            self.book.note_fact(SERVICE_FACT)
        with self._guarded("vault"):
            self._read_vault()
        facts = self.facts or VaultFacts(now, error="unread")
        with self._guarded("objectives"):
            self._reconcile(facts, now)
        self._report_ended()
        with self._guarded("alerts"):
            self._log_round(self.teller() if self.teller is not None else self.desk.round())
        with self._guarded("metrics"):
            live = self.desk.book.live()
            self.report = make_report(self.settings, self.entries, facts, self.book, live, now)
            if self.exporter is not None:
                self.exporter.figures(self.report)
                self._log_exporter(self.exporter)
            if self.settings.monitoring.textfile:
                write_textfile(self.report, self.settings.monitoring.textfile)
        if self.env.monotonic() - self._kept_at >= _KEEP_SECONDS:
            self._kept_at = self.env.monotonic()
            with self._guarded("book"):
                self.book.drop_old(self.settings.scheduler.keep_days)

    def _log_exporter(self, exporter: Exporter) -> None:
        """Log that the collector takes nothing, once, and that it takes what it gets again."""
        failure = exporter.failure
        if bool(failure) is not self._unsent:
            self._unsent = bool(failure)
            level, text = (
                ("warning", f"the collector takes nothing ({failure})") if failure else ("info", "it is sent again")
            )
            self.log.say(level, "telemetry-failed" if failure else "telemetry-sent", text, dropped=exporter.dropped)

    def _log_round(self, done: Round | None) -> None:
        if done is not None and done.failed:
            self.log.say("error", "messages-failed", "no channel took some messages", messages=done.failed)
        if done is not None and done.refused:
            self.log.say("warning", "replies-refused", "replies to alerts were refused", replies=done.refused)

    def _read_vault(self) -> None:
        now = self.env.monotonic()
        if now - self._vault_read_at >= VAULT_SECONDS:
            found = self.read_vault()
            if found is None:
                return
            self._vault_read_at = now
            self.facts = found
            for room in self.facts.rooms:
                self.book.note_room(room.name, room.free_bytes)

    def _reconcile(self, facts: VaultFacts, now: datetime) -> None:
        self.desk.reconcile(endangered(host_facts(self.settings, self.entries, facts, self.book, now), now))
        if self.env.monotonic() - self._clock_at > _CLOCK_SECONDS:
            self.desk.reconcile((), origin=_CLOCK_ORIGIN)
        if facts.alert is not None:
            self.desk.reconcile([facts.alert], origin=_REACH_ORIGIN)
        elif not facts.error:
            self.desk.reconcile((), origin=_REACH_ORIGIN)
            self.desk.reconcile(vault_alerts(self.settings, facts, self.book), origin=_VAULT_ORIGIN)

    @contextmanager
    def _guarded(self, part: str) -> Iterator[None]:
        """Log what a part of the loop failed with, and tell people if it is this host's disk; the loop must go on."""
        try:
            yield
        except HoldfastError as error:
            self._failed(part, error)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            self._failed(part, LocalStateError(f"the schedule's local state cannot be used ({reason})"))
        except Exception as error:  # noqa: BLE001 - no fault of one part ends the service; its text may hold a path
            self._failed(part, InternalError(f"a part of the service failed: {type(error).__name__}"))

    def _failed(self, part: str, error: HoldfastError) -> None:
        self.log.say("critical", "service-part-failed", error.what, part=part, code=error.code)
        if self.direct is not None and isinstance(error, LocalStateError | InternalError):
            # The book of alerts lies on the same disk, or is what fails.
            self.direct(state_alert(error))

    def _stop(self, scheduler: Scheduler) -> None:
        """End in order: runs keep their checkpoints; what does not end in time is left to the next service."""
        self.manager.tell(STOPPING=1)
        scheduler.stop_all()
        deadline = self.env.monotonic() + END_SECONDS_MAX
        while scheduler.running and self.env.monotonic() < deadline:
            self.env.sleep(0.2)
            self.manager.tell(WATCHDOG=1)
            stepped = False
            with self._guarded("schedule"):
                scheduler.step(start=False)
                stepped = True
            if not stepped:
                break
        self.log.say("info", "stopped", f"{len(scheduler.running)} runs go on without the service")
        with self._guarded("alerts"):
            self._log_round(self.teller.last() if self.teller is not None else self.desk.round())
