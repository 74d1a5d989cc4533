"""A year of operation, simulated: the real scheduler, alert book, escalation and objectives, on a clock that runs ahead.

Hundreds of jobs start by their cron expressions; what strikes them is drawn from the catalogue of failures by its rates. People are
told by channels that are away now and then; they answer late, or never, repair what they took on, and sometimes forget it.
`simulate` counts what came of it; `python -m holdfast.testing.year --jobs 300 --days 365` prints it.

The machine's clock may be set ahead or back for some hours, and then right (`Step`): what is counted goes by the time that it really
is. What is not simulated: the failures' mechanics (the catalogue's own tests inject them).
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from holdfast.base.calendar import CronSlots, Window, zone_of
from holdfast.base.environment import Environment, ManualClock
from holdfast.errors import ChannelError, HoldfastError, Retry, Safety
from holdfast.reliability.alerts import AlertBook, AlertDesk, AlertRecord, AlertState, Contact, Level, Policy
from holdfast.reliability.alerts.desk import Outlet
from holdfast.reliability.notify.protocol import Message, Receipt
from holdfast.reliability.objectives import Facts, SourceFacts, endangered
from holdfast.runs.ahead import is_ahead
from holdfast.runs.monitoring.gather import start_facts
from holdfast.runs.schedule.book import ScheduleBook
from holdfast.runs.schedule.launch import Ended
from holdfast.runs.schedule.records import Entry, Outcome, RunRecord, RunState
from holdfast.runs.schedule.scheduler import RUN_ALERTS, Scheduler, alert_of
from holdfast.testing.failures import FAILURES, Failure
from holdfast.testing.year_report import YearReport

__all__ = ["Step", "Year", "YearReport", "main", "simulate"]

START = datetime(2026, 1, 1, tzinfo=UTC)
TOLD_WITHIN = timedelta(minutes=20)
"""How late a first message may be, beyond the patience of the table and quiet hours."""
FOLLOWERS = 5
"""So many entries have no time of their own: each follows one of the first jobs."""
_DESK_EVERY = timedelta(minutes=5)
_WATCH_EVERY = timedelta(hours=1)
_ACKNOWLEDGED_SECONDS = 86400.0
_RPO_SECONDS = 50 * 3600.0


@dataclass(frozen=True, slots=True)
class Step:
    """A clock that is wrong for a while: so much ahead (or behind, if negative) from `at` after the start on, for so long."""

    at: timedelta
    wrong: timedelta
    lasting: timedelta = timedelta(hours=3)


@dataclass(slots=True)
class _Trouble:
    """A failure that has struck a job: it lasts for so many attempts, or until a person repairs it."""

    failure: Failure
    job: str
    since: datetime
    attempts_left: int
    """-1: until it is repaired."""
    opened_at: datetime | None = None
    told_at: datetime | None = None
    repaired: bool = False
    person: bool = False


class Year:
    """One simulation. Everything random comes from its seed."""

    def __init__(self, jobs: int, days: int, seed: int, *, forget: float = 0.03, steps: Sequence[Step] = ()) -> None:
        """Set the stage: entries, books, people, channels. `forget`: how often what was taken on is forgotten."""
        self.wrong = timedelta()
        """By how much the machine's clock is ahead of the time that it really is."""
        self.sent_before: list[int] = []
        self.watches_starts = bool(steps)
        self.forget = forget
        self.random = random.Random(seed)
        self.clock = ManualClock(START)
        env = self.clock.environment()
        self.env = Environment(lambda: self.clock.now() + self.wrong, env.monotonic, env.sleep, self.random.randbytes)
        self.report = YearReport(seed, jobs, days)
        self.end = START + timedelta(days=days)
        self.events: list[tuple[datetime, int, Callable[[], None]]] = []
        self._order = 0
        self.desk_at = START
        self.book = ScheduleBook(":memory:", self.env)
        self.alerts = AlertBook(":memory:", self.env)
        self.away_until: dict[str, datetime] = {}
        self.troubles: dict[str, _Trouble] = {}
        self.snapshots: dict[str, list[datetime]] = {}
        """The times that the snapshots of each job carry: those of the machine's clock."""
        self.people = _People(self)
        self.desk = AlertDesk(
            self.alerts,
            _policy(),
            {name: Outlet(_SimulatedChannel(self, name), 2, 5.0) for name in ("mail", "sms", "log")},
            self.env,
        )
        self.launcher = _SimulatedLauncher(self)
        zone = zone_of("Europe/Berlin")
        entries = [
            Entry(
                f"job-{number:03d}", "backup", f"job-{number:03d}", zone=zone, jitter_seconds=600.0, grace_seconds=8 * 3600.0,
                slots=CronSlots.parse(f"{self.random.randrange(60)} {self.random.randrange(24)} * * *", zone),
                rpo_seconds=_RPO_SECONDS, retry_seconds=300.0, attempts=6,
            )
            for number in range(jobs)
        ]  # fmt: skip
        followers = [
            Entry(f"thin-{number}", "forget", after=(f"job-{number:03d}",), zone=zone, grace_seconds=8 * 3600.0)
            for number in range(min(jobs, FOLLOWERS) if steps else 0)
        ]
        for step in steps:
            self.at(START + step.at, lambda wrong=step.wrong: self._set_clock(wrong))  # type: ignore[misc]
            self.at(START + step.at + step.lasting, lambda: self._set_clock(timedelta()))
        self.watch_at = START
        self.scheduler = Scheduler(
            [*entries, *followers], self.book, self.launcher, self.env, concurrent=max(8, jobs // 8), on_end=self._ended
        )

    def at(self, moment: datetime, call: Callable[[], None]) -> None:
        """Do something later."""
        self._order += 1
        heapq.heappush(self.events, (moment, self._order, call))

    def _set_clock(self, wrong: timedelta) -> None:
        """Set the machine's clock: wall time moves, the monotonic one does not. The service then looks at everything at once."""
        self.wrong = wrong
        self.watch_at = self.desk_at = self.clock.now()
        self.sent_before.append(len(self.alerts.deliveries(limit=1_000_000)))

    def run(self) -> YearReport:
        """Let the time pass."""
        while (now := self.clock.now()) < self.end:
            while self.events and self.events[0][0] <= now:
                heapq.heappop(self.events)[2]()
            wake = self.scheduler.step() - self.wrong
            if now >= self.watch_at:
                self.watch_at = now + _WATCH_EVERY
                self._watch()
                self._look_for_the_lost(now)
            if now >= self.desk_at:
                self.desk.round()
                self.desk_at = now + (_DESK_EVERY if self.alerts.live() else _WATCH_EVERY)
            times = [wake, self.desk_at, self.watch_at, self.end]
            if self.events:
                times.append(self.events[0][0])
            self.clock.advance(max(timedelta(seconds=1), min(times) - now))
        self._count_slots()
        self._count_repeats()
        for trouble in self.troubles.values():
            self._judge(trouble)
        return self.report

    def _ended(self, entry: Entry, ended: Ended, state: RunState) -> None:
        """Do what the service does when a run ends, and keep the account of its trouble."""
        if state is RunState.DONE:
            self.report.runs += 1
            self.snapshots.setdefault(entry.name, []).append(self.env.now())
        worth = alert_of(entry, ended.outcome, state)
        if state is RunState.DONE:
            keep = frozenset({(worth.code, worth.subject)}) if worth else frozenset()
            self.alerts.settle(origin=RUN_ALERTS, subject=entry.name, keep=keep)
        trouble = self.troubles.get(entry.name)
        if worth is not None:
            self.desk.report(worth, origin=RUN_ALERTS)
            if trouble is not None and trouble.opened_at is None:
                trouble.opened_at = self.clock.now()
                trouble.person = True
            self.desk_at = self.clock.now()
        if trouble is not None and trouble.attempts_left == 0 and state is RunState.DONE and worth is None:
            self._judge(self.troubles.pop(entry.name))

    def _judge(self, trouble: _Trouble) -> None:
        """Count a trouble that is over (or that the year ended in)."""
        report = self.report
        if not trouble.person:
            if trouble.attempts_left == 0:
                report.recovered += 1
            else:
                report.failures -= 1  # it struck too late in the year to be judged
            return
        if trouble.opened_at is None:  # pragma: no cover - a person's trouble is opened when it is made one
            return
        report.for_a_person += 1
        alert_row = self.desk.policy.table[trouble.failure.safety, _retry_of(trouble)]
        allowed = trouble.opened_at + timedelta(seconds=alert_row.patience_seconds)
        if trouble.failure.safety is not Safety.AT_RISK:
            allowed = _quiet_end(self.desk.policy, allowed)
        if trouble.told_at is not None and trouble.told_at <= allowed + TOLD_WITHIN:
            report.alerted_in_time += 1
        elif trouble.told_at is None and self.clock.now() < allowed + TOLD_WITHIN:
            report.for_a_person -= 1
            report.failures -= 1
        else:
            report.late.append(trouble.failure.name)

    def _watch(self) -> None:
        """Look at objectives and starts, by the machine's clock. A snapshot of a time to come is no good one."""
        now = self.env.now()
        facts: list[Facts] = []
        for name, entry in self.scheduler.entries.items():
            good = (at for at in self.snapshots.get(name, ()) if not is_ahead(at, now))
            facts.append(SourceFacts(name, max(good, default=None), entry.rpo_seconds, START))
        if self.watches_starts:
            facts += start_facts(self.scheduler.entries.values(), self.book, now)
        self.desk.reconcile(endangered(facts, now))

    def _look_for_the_lost(self, now: datetime) -> None:
        """Look for what lasts while nobody works on it and nobody has been told of it for more than a day."""
        limit = timedelta(seconds=_ACKNOWLEDGED_SECONDS) + timedelta(hours=12)
        for name, trouble in self.troubles.items():
            if trouble.person and not trouble.repaired and not self.people.works_on(name):
                last = max(filter(None, (trouble.told_at, self.people.last_told.get(name), trouble.opened_at)))
                if now - last > limit:
                    self.report.acknowledged_lost += 1
                    self.people.last_told[name] = now

    def _count_slots(self) -> None:
        for name, entry in self.scheduler.entries.items():
            slots = [record.slot for record in self.book.runs(name, 10_000)]
            self.report.slots_doubled += len(slots) - len(set(slots))
            known, moment = set(slots), START
            if entry.slots is None:
                self._count_followed(name, entry)
            while entry.slots is not None and (slot := entry.slots.after(moment)) is not None:
                moment = slot
                if slot > self.end - timedelta(days=2):
                    break
                # A slot that passed while an earlier run still waited is made up for by the run that followed it.
                if slot not in known and not any(slot < other <= slot + timedelta(days=3) for other in known):
                    self.report.slots_lost += 1
        self.report.attempts = sum(self.book.counts(name)[2] for name in self.scheduler.entries)

    def _count_followed(self, name: str, entry: Entry) -> None:
        """Count the runs of an entry that another should have followed, and did not: within two days."""
        mine = sorted(record.slot for record in self.book.runs(name, 10_000))
        for record in self.book.runs(entry.after[0], 10_000):
            end = record.ended
            if record.state is RunState.DONE and end is not None and record.slot <= end <= self.end - timedelta(days=2):
                self.report.slots_lost += not any(end <= slot <= end + timedelta(days=2) for slot in mine)

    def _count_repeats(self) -> None:
        last: dict[tuple[str, int], datetime] = {}
        for place, each in enumerate(reversed(self.alerts.deliveries(limit=1_000_000))):
            if place in self.sent_before:  # times on both sides of a step cannot be compared
                last.clear()
            if each.delivered and each.kind in {"alert", "collected"}:
                for number in each.alerts:
                    before = last.get((each.contact, number))
                    last[each.contact, number] = each.at
                    self.report.repeated_early += before is not None and each.at - before < timedelta(minutes=59)

    def told(self, message: Message) -> None:
        """Account for a message that got through, and let whoever got it act on it."""
        now = self.clock.now()
        if message.kind not in {"alert", "collected"}:
            return
        self.report.messages += 1
        for number in message.numbers:
            record = self.alerts.get(number)
            trouble = self.troubles.get(record.subject)
            if record.origin == "channel":
                if self.away_until.get(record.subject, START) <= now - timedelta(minutes=15):
                    self._false(record)
                continue
            if trouble is None or not trouble.person:
                self._false(record)
                continue
            if trouble.told_at is None:
                trouble.told_at = now
            self.people.hear(number, record.subject)

    def _false(self, record: AlertRecord) -> None:
        if self.wrong:
            return  # by such a clock much seems to be missed
        code, now = record.code, self.env.now()
        if code.startswith("rpo-") and any(is_ahead(at, now) for at in self.snapshots.get(record.subject, ())):
            return  # it is so: what was made by a clock that was ahead is no good backup of today
        self.report.false_messages += 1
        self.report.false.append(code)


def _retry_of(trouble: _Trouble) -> Retry:
    return Retry.EXHAUSTED if trouble.failure.recovery == "rerun" else trouble.failure.retry


def _quiet_end(policy: Policy, moment: datetime) -> datetime:
    """Return the first time from `moment` on that is not in quiet hours."""
    while policy.quiet and policy.is_quiet("anna", moment):
        moment += timedelta(minutes=1)
    return moment


def _policy() -> Policy:
    """Return three levels of people: on call, their lead, the head of IT."""
    contacts = {
        "anna": Contact("anna", ("mail", "sms", "log")),
        "berta": Contact("berta", ("mail", "sms", "log")),
        "chief": Contact("chief", ("sms", "mail", "log")),
    }
    return Policy(
        levels=(Level(("anna",), 0, 3600), Level(("berta",), 1800, 3600), Level(("chief",), 3600, 7200)),
        contacts=contacts,
        quiet=(Window.parse("Sat,Sun 01:00-05:00"),),
        zone=zone_of("Europe/Berlin"),
        site="simulated",
        acknowledged_seconds=_ACKNOWLEDGED_SECONDS,
        messages_per_hour=30,
    )


class _SimulatedChannel:
    """A channel that is away now and then, by the catalogue's rate."""

    def __init__(self, year: Year, name: str) -> None:
        self._year = year
        self._name = name

    def send(self, message: Message) -> Receipt:
        """Take the message, or be away."""
        year = self._year
        now = year.clock.now()
        if self._name != "log" and year.random.random() < 0.02 and year.away_until.get(self._name, START) < now:
            year.away_until[self._name] = now + timedelta(minutes=year.random.expovariate(1 / 90))
            year.report.channel_failures += 1
        if year.away_until.get(self._name, START) > now:
            raise ChannelError(f"the channel {self._name} is away")
        year.told(message)
        return Receipt("simulated")


class _People:
    """Who hears of an alert answers after a while, or not; repairs after a while, or forgets."""

    def __init__(self, year: Year) -> None:
        self._year = year
        self._working: set[str] = set()
        self._thinking: set[int] = set()
        self._forgot: dict[str, datetime] = {}
        self.last_told: dict[str, datetime] = {}

    def works_on(self, subject: str) -> bool:
        """Return whether somebody has it in hand."""
        return subject in self._working

    def hear(self, number: int, subject: str) -> None:
        """Hear of an alert."""
        year = self._year
        now = year.clock.now()
        if subject in self._forgot and now - self._forgot[subject] >= timedelta(seconds=_ACKNOWLEDGED_SECONDS):
            del self._forgot[subject]
            year.report.forgotten_told_again += 1
        self.last_told[subject] = now
        if number in self._thinking or subject in self._working or year.random.random() < 0.2:
            return  # at it already, or asleep
        self._thinking.add(number)
        delay = timedelta(minutes=year.random.expovariate(1 / 20))
        year.at(now + delay, lambda: self._answer(number, subject))

    def _answer(self, number: int, subject: str) -> None:
        year = self._year
        self._thinking.discard(number)
        try:
            record = year.alerts.get(number)
        except HoldfastError:  # pragma: no cover - alerts are kept longer than people think
            return
        trouble = year.troubles.get(subject)
        if record.state is AlertState.RESOLVED or trouble is None or subject in self._working:
            return
        year.alerts.acknowledge(number, "on call")
        if year.random.random() < year.forget:
            year.report.forgotten += 1
            self._forgot[subject] = year.clock.now()
            return
        self._working.add(subject)
        year.at(
            year.clock.now() + timedelta(hours=year.random.expovariate(1 / 2)), lambda: self._repair(subject, trouble)
        )

    def _repair(self, subject: str, trouble: _Trouble) -> None:
        """Repair it and start the job by hand; its success ends the alert."""
        self._working.discard(subject)
        trouble.repaired = True
        trouble.attempts_left = 0
        self._year.book.ask(subject)


class _SimulatedLauncher:
    """Runs that take a lognormal time and are struck by failures at the catalogue's rates."""

    def __init__(self, year: Year) -> None:
        self._year = year
        self._live: list[tuple[datetime, int, Entry, RunRecord]] = []
        self._order = 0

    def start(self, entry: Entry, record: RunRecord) -> None:
        """Start a run; what strikes it is drawn once for each slot."""
        year = self._year
        if record.attempt <= 1 and entry.name not in year.troubles:
            self._strike(entry, record)
        minutes = min(300.0, year.random.lognormvariate(2.3, 0.8))
        end = year.clock.now() + timedelta(minutes=minutes)
        self._order += 1
        heapq.heappush(self._live, (end, self._order, entry, record))
        year.at(end, lambda: None)

    def _strike(self, entry: Entry, record: RunRecord) -> None:
        year = self._year
        struck = [failure for failure in FAILURES if year.random.random() * 1000 < failure.per_thousand_runs]
        for failure in struck:
            year.report.failures += 1
            if failure.recovery in ("retry", "self"):
                # Below the schedule: the call is repeated, or the run goes around it.
                year.report.recovered += 1
            elif entry.name in year.troubles:
                year.report.failures -= 1  # one trouble a run is enough
            else:
                # Most outages end within the retries; one in twenty outlasts them all.
                lasting = 20 if year.random.random() < 0.05 else year.random.choice((1, 1, 1, 2, 3))
                left = -1 if failure.recovery == "person" else lasting
                year.troubles[entry.name] = _Trouble(failure, entry.name, record.slot, left)

    def adopt(self, record: RunRecord) -> None:
        """Nothing is left by an earlier service."""

    def stop(self, name: str, *, overdue: bool = False) -> None:
        """Nothing must be stopped: no run is that long."""

    def poll(self) -> list[Ended]:
        """Return the runs that ended."""
        found = []
        while self._live and self._live[0][0] <= self._year.clock.now():
            _, _, entry, record = heapq.heappop(self._live)
            found.append(Ended(record, self._outcome(entry)))
        return found

    def _outcome(self, entry: Entry) -> Outcome:
        trouble = self._year.troubles.get(entry.name)
        if trouble is None or trouble.attempts_left == 0:
            return Outcome(0)
        if trouble.attempts_left > 0:
            trouble.attempts_left -= 1
        failure = trouble.failure
        if failure.code in {"unreadable", "stream-failed"}:
            return Outcome(3, incomplete=True)
        if failure.code == "interrupted":
            return Outcome(143, "interrupted", "asked to stop", retry=Retry.LATER)
        code = failure.code or "run-lost"
        retry = Retry.LATER if failure.recovery == "rerun" else failure.retry
        return Outcome(1, code, "It failed.", "the rest.", "repair it.", failure.safety, retry)


def simulate(
    jobs: int = 60, days: int = 30, seed: int = 1, *, forget: float = 0.03, steps: Sequence[Step] = ()
) -> YearReport:
    """Simulate so many daily jobs for so many days, on a clock that is wrong at times."""
    return Year(jobs, days, seed, forget=forget, steps=steps).run()


def main() -> None:
    """Print what comes of a year."""
    parser = argparse.ArgumentParser(description="Simulate a year of operation.")
    for name, value in (("jobs", 300), ("days", 365), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    print(simulate(given.jobs, given.days, given.seed).text())  # noqa: T201 - a program


if __name__ == "__main__":
    main()
