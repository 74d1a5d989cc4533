"""A launcher whose runs take as long and end as a test says, on a manual clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from holdfast.base.environment import ManualClock
from holdfast.errors import Retry, ScheduleBusyError
from holdfast.runs.schedule.book import ScheduleBook
from holdfast.runs.schedule.launch import Ended
from holdfast.runs.schedule.records import Entry, Outcome, RunRecord
from holdfast.runs.schedule.scheduler import Scheduler

GOOD = Outcome(0)
LATER = Outcome(7, "store-unreachable", "the store does not answer", "all.", "wait.", retry=Retry.LATER)
NEVER = Outcome(7, "store-full", "the store is full", "all.", "make room.")


class FakeLauncher:
    def __init__(self, clock: ManualClock, minutes: float = 10.0) -> None:
        self.clock = clock
        self.minutes = minutes
        self.outcome: Callable[[Entry | None, RunRecord], Outcome] = lambda _entry, _record: GOOD
        self.live: dict[str, tuple[Entry | None, RunRecord, datetime]] = {}
        self.started: list[tuple[str, datetime, datetime]] = []
        self.stopped: list[tuple[str, bool]] = []
        self.busy = False

    def start(self, entry: Entry, record: RunRecord) -> None:
        if self.busy:
            raise ScheduleBusyError("busy")
        assert entry.name not in self.live, "two runs of one entry"
        now = self.clock.now()
        self.started.append((entry.name, record.slot, now))
        self.live[entry.name] = (entry, record, now + timedelta(minutes=self.minutes))

    def adopt(self, record: RunRecord) -> None:
        self.live.setdefault(record.name, (None, record, self.clock.now()))

    def poll(self) -> list[Ended]:
        now = self.clock.now()
        ended = [name for name, (_, _, end) in self.live.items() if end <= now]
        return [Ended(record, self.outcome(entry, record)) for entry, record, _ in map(self.live.pop, ended)]

    def stop(self, name: str, *, overdue: bool = False) -> None:
        self.stopped.append((name, overdue))
        entry, record, _ = self.live[name]
        self.live[name] = (entry, record, self.clock.now())


class Service:
    """A scheduler with its book on a manual clock, which goes on until a time."""

    def __init__(self, *entries: Entry, start: datetime, minutes: float = 10.0, concurrent: int = 2) -> None:
        self.clock = ManualClock(start)
        self.book = ScheduleBook(":memory:", self.clock.environment())
        self.launcher = FakeLauncher(self.clock, minutes)
        self.entries = entries
        self.concurrent = concurrent
        self.ends: list[tuple[str, Outcome, str]] = []
        self.most = 0
        self.restart()

    def restart(self) -> None:
        """Be killed and start again: what is in memory is lost, runs go on."""
        self.scheduler = Scheduler(
            self.entries, self.book, self.launcher, self.clock.environment(), concurrent=self.concurrent,
            on_end=lambda entry, ended, state: self.ends.append((entry.name, ended.outcome, state.value)),
        )  # fmt: skip

    def until(self, moment: datetime, *, restart_every: int = 0) -> None:
        steps = 0
        while self.clock.now() < moment:
            wake = self.scheduler.step()
            self.most = max(self.most, len(self.launcher.live))
            ends = [end for _, _, end in self.launcher.live.values()]
            following = min([wake, moment, *ends])
            self.clock.advance(max(timedelta(seconds=1), following - self.clock.now()))
            steps += 1
            if restart_every and steps % restart_every == 0:
                self.restart()
        self.scheduler.step()

    def slots(self, name: str) -> list[datetime]:
        return [slot for started, slot, _ in self.launcher.started if started == name]
