"""The scheduler: step by step, ends what ended, stops what must stop, starts what is due. It sleeps nowhere and decides nothing.

Decisions are `decide`'s; the book makes them durable before the launcher acts on them. Killed between the two, the next service
finds a run that nobody holds, and tries it again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from holdfast.base.calendar import in_windows
from holdfast.base.environment import Environment
from holdfast.base.events import Alert
from holdfast.errors import HoldfastError, Retry, Safety
from holdfast.runs.schedule.book import ScheduleBook
from holdfast.runs.schedule.decide import LIVE, after_attempt, decide, due_slot, newest_run
from holdfast.runs.schedule.launch import Ended, Launcher, outcome_of_error
from holdfast.runs.schedule.records import Entry, Outcome, RunRecord, RunState

__all__ = ["RUN_ALERTS", "Scheduler", "alert_of"]

_JUMP_SECONDS = 60.0
_WATCH_SECONDS = 60.0
_KNOWN_MAX = 64
_STOPPED = (9, 130, 143)
RUN_PARTIAL = "run-partial"
RUN_ALERTS = "run"
"""The origin of alerts about runs: those of an entry are over when a run of it succeeds."""


def alert_of(entry: Entry, outcome: Outcome, state: RunState) -> Alert | None:
    """Return the alert that an ended attempt is worth: none while it will be tried again by itself."""
    if state is RunState.FAILED:
        retry = Retry.EXHAUSTED if outcome.retry is Retry.LATER else outcome.retry
        return Alert(
            outcome.code or "failed", entry.name, outcome.what, outcome.safety, retry, outcome.safe, outcome.next
        )
    if state is RunState.DONE and outcome.incomplete:
        return Alert(
            RUN_PARTIAL, entry.name, "The run was committed without something that could not be read, twice in a row.",
            Safety.INTACT, Retry.NEVER, "what could be read is stored.", "`holdfast backup` by hand lists the findings.",
        )  # fmt: skip
    return None


class Scheduler:
    """Entries, their book, and what starts them."""

    def __init__(
        self,
        entries: Iterable[Entry],
        book: ScheduleBook,
        launcher: Launcher,
        env: Environment,
        *,
        concurrent: int = 2,
        on_end: Callable[[Entry, Ended, RunState], None] = lambda _entry, _ended, _state: None,
        on_clock: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        """Take up where the book stands: runs that were under way are watched, or counted as lost."""
        self.entries: Mapping[str, Entry] = {entry.name: entry for entry in entries}
        self._book = book
        self._launcher = launcher
        self._env = env
        self._concurrent = concurrent
        self._on_end = on_end
        self._on_clock = on_clock
        self._since = {name: book.since(name) for name in self.entries}
        self._known = {name: book.recent(name) for name in self.entries}
        self._wake: dict[str, datetime] = {}
        self._followers: dict[str, list[str]] = {}
        for entry in self.entries.values():
            for other in entry.after:
                self._followers.setdefault(other, []).append(entry.name)
        self._waiting: set[str] = set()
        """Entries that would start, but for the limit or their group."""
        self._running: dict[str, RunRecord] = {}
        self._ended: deque[Ended] = deque()
        """Attempts that ended and are not in the book yet."""
        self._offset: float | None = None
        self._began: dict[str, float] = {}
        for record in book.running():
            age = (env.now() - record.started).total_seconds() if record.started else 0.0
            self._began[record.name] = env.monotonic() - max(0.0, age)
            self._running[record.name] = record
            launcher.adopt(record)

    def renewed(self) -> None:
        """Go on with a new book: runs that are under way are noted in it, and no slot of the past is due."""
        for record in self._running.values():
            self._book.take_up(record)
        self._since = {name: self._book.since(name) for name in self.entries}
        self._known = {name: self._book.recent(name) for name in self.entries}
        self._wake.clear()

    @property
    def running(self) -> Mapping[str, RunRecord]:
        """The runs that are under way, by entry."""
        return self._running

    def step(self, *, start: bool = True) -> datetime:
        """Do all that is due now; return when to look again at the latest. Without `start`, nothing new begins."""
        now = self._env.now()
        self._heed_clock(now)
        self._ended.extend(self._launcher.poll())
        self._end_all()
        self._stop_what_must(now)
        if start:
            self._start_asked(now)
            for name in self._due(now):
                self._consider(self.entries[name], now)
        times = [*self._wake.values()] if start else []
        if self._running:
            times.append(now + timedelta(seconds=_WATCH_SECONDS))
        return max(now, min(times, default=now + timedelta(seconds=_WATCH_SECONDS)))

    def _heed_clock(self, now: datetime) -> None:
        """Look at everything again when the clock was set, or has stood still; say by how many seconds."""
        offset = now.timestamp() - self._env.monotonic()
        if self._offset is None:
            self._offset = offset
        elif abs(offset - self._offset) > _JUMP_SECONDS:
            self._wake.clear()
            self._known = {name: self._book.recent(name) for name in self.entries}
            self._on_clock(offset - self._offset)
            self._offset = offset

    def _due(self, now: datetime) -> list[str]:
        return [name for name in self.entries if name not in self._running and self._wake.get(name, now) <= now]

    def _start_asked(self, now: datetime) -> None:
        for name, slot in self._book.asked().items():
            entry = self.entries.get(name)
            if entry is None or name in self._running:
                self._book.answer(name)
            elif self._free(entry):
                self._book.answer(name)
                waiting = [known for known, record in self._known[name].items() if record.state is RunState.WAITING]
                self._start(entry, max(waiting, default=min(slot, now)))

    def _consider(self, entry: Entry, now: datetime) -> None:
        pending = frozenset(other for other in entry.after if self._is_pending(other, now))
        decision = decide(
            entry, self._known[entry.name], self._others(entry, now), now, self._since[entry.name], pending
        )
        if decision.action == "start" and decision.slot is not None:
            if self._free(entry):
                self._start(entry, decision.slot)
            else:
                self._waiting.add(entry.name)
                self._wake[entry.name] = now + timedelta(seconds=_WATCH_SECONDS)
        elif decision.action == "skip" and decision.slot is not None:
            self._book.skip(entry.name, decision.slot, decision.reason)
            self._remember(
                RunRecord(entry.name, decision.slot, RunState.SKIPPED, 0, None, now, None, None, "", decision.reason)
            )
            self._wake_followers(entry.name)
            self._wake[entry.name] = now + timedelta(seconds=1)
        else:
            self._wake[entry.name] = decision.until or now + timedelta(seconds=_WATCH_SECONDS)

    def _is_pending(self, name: str, now: datetime) -> bool:
        """Return whether an entry is due and has not begun."""
        entry = self.entries[name]
        slot = due_slot(entry, self._known[name], self._others(entry, now), now, self._since[name])
        return slot is not None

    def _others(self, entry: Entry, now: datetime) -> Mapping[str, RunRecord]:
        """Return the newest run of each entry that one follows: of no slot that is still to come."""
        return {
            name: newest for name in entry.after if (newest := newest_run(self._known.get(name, {}), now)) is not None
        }

    def _free(self, entry: Entry) -> bool:
        """Return whether one more run may begin, and none of the entry's group is under way."""
        if len(self._running) >= self._concurrent:
            return False
        groups = {self.entries[name].group for name in self._running if name in self.entries}
        return not entry.group or entry.group not in groups

    def _start(self, entry: Entry, slot: datetime) -> None:
        record = self._book.begin(entry.name, slot)
        if record is None:
            self._known[entry.name] = self._book.recent(entry.name)
            return
        self._remember(record)
        self._wake.pop(entry.name, None)
        self._waiting.discard(entry.name)
        self._running[entry.name] = record
        self._began[entry.name] = self._env.monotonic()
        try:
            self._launcher.start(entry, record)
        except (HoldfastError, OSError) as error:
            known = error if isinstance(error, HoldfastError) else None
            outcome = (
                outcome_of_error(known)
                if known is not None
                else Outcome(1, "run-not-started", "the run's process could not be started", retry=Retry.LATER)
            )
            self._ended.append(Ended(record, outcome))
            self._end_all()

    def _end_all(self) -> None:
        """Take up every attempt that ended. One that the book does not take is kept for the next step."""
        while self._ended:
            self._end(self._ended[0])
            self._ended.popleft()

    def _end(self, ended: Ended) -> None:
        record, outcome = ended.record, ended.outcome
        entry = self.entries.get(record.name) or Entry(record.name, "gone")
        now = self._env.now()
        state, next_at = after_attempt(entry, record, outcome, now)
        attempt = record.attempt - 1 if state is RunState.WAITING and outcome.exit_code in _STOPPED else record.attempt
        self._book.end(record, outcome, state, next_at, attempt=attempt)
        self._running.pop(record.name, None)
        if record.name in self.entries:
            self._remember(
                replace(
                    record, state=state, ended=now, next_at=next_at, exit_code=outcome.exit_code, code=outcome.code,
                    what=outcome.what, attempt=attempt,
                )
            )  # fmt: skip
        self._wake.pop(record.name, None)
        self._wake_followers(record.name)
        for name in self._waiting:
            self._wake.pop(name, None)
        self._waiting.clear()
        self._on_end(entry, ended, state)

    def _remember(self, record: RunRecord) -> None:
        known = self._known[record.name]
        known[record.slot] = record
        while len(known) > _KNOWN_MAX:
            # What is to come is of a clock that was ahead; the book knows it when its time comes.
            over = [slot for slot, each in known.items() if slot > self._env.now() and each.state not in LIVE]
            del known[max(over, default=min(known))]

    def _wake_followers(self, name: str) -> None:
        for follower in self._followers.get(name, ()):
            self._wake.pop(follower, None)

    def _stop_what_must(self, now: datetime) -> None:
        for name in self._running:
            entry = self.entries.get(name)
            if entry is None:
                continue
            if self._env.monotonic() - self._began[name] > entry.run_seconds_max:
                self._launcher.stop(name, overdue=True)
            elif entry.stop_at_window_end and not in_windows(entry.windows, now, entry.zone):
                self._launcher.stop(name)

    def stop_all(self) -> None:
        """Ask every run to stop and keep its checkpoint: the service is about to end."""
        for name in self._running:
            self._launcher.stop(name)
