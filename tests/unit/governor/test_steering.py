"""The governor of a run on a clock of its own: what it sets, holds, says and records, tick by tick, without a thread of its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from holdfast.base.environment import ManualClock
from holdfast.base.events import Alert, Note
from holdfast.errors import ConfigError, PausedError
from holdfast.governor.budget import Budget
from holdfast.governor.plan import Course, GovernorPlan
from holdfast.governor.registry import PauseMark, Registry
from holdfast.governor.signals import Counters
from holdfast.governor.steering import Governor
from holdfast.governor.windows import Calendar, Window, parse_days

CLOSED_AT_NOON = Window("noon", "closed", parse_days(["daily"]), time(12), time(13), ZoneInfo("UTC"))


class FakeLimits:
    """Limits that note what was set, and what a run used."""

    read_bytes_per_s: int | None = None
    write_bytes_per_s: int | None = None
    network_bytes_per_s: int | None = None
    operations_per_s: int | None = None
    cpu_cores: float | None = None
    threads: int | None = None
    memory_bytes: int | None = None

    def __init__(self) -> None:
        self.paused = False
        self.passed = SimpleNamespace(read_bytes=0, write_bytes=0, network_bytes=0, operations=0, waited_s=[0.0] * 7)

    def pause(self):
        self.paused = True

    def resume(self):
        self.paused = False

    def used(self) -> Any:
        return SimpleNamespace(**vars(self.passed))


class Machine:
    """A machine whose stalls are set by the test."""

    def __init__(self) -> None:
        self.stalled = 0.0
        self.share = 0.0
        self.last = 0.0

    def read(self, at: float) -> Counters:
        self.stalled += self.share * (at - self.last)
        self.last = at
        return Counters(at, {"io": self.stalled}, {})


class Ear:
    """A probe that answers as the test says, on the test's clock."""

    name = "ehr"
    timeout = 5.0

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.latency, self.fails, self.closed = clock, 0.01, False, False

    def ask(self):
        self.clock.advance(timedelta(seconds=self.latency))
        if self.fails:
            raise OSError

    def close(self):
        self.closed = True


class Place:
    def __init__(self, tmp_path) -> None:
        self.folder = tmp_path / "governor"
        self.clock = ManualClock(datetime(2026, 11, 23, 3, tzinfo=UTC))
        self.limits, self.machine, self.stopped = FakeLimits(), Machine(), False

    def governor(self, plan=None, **more) -> Governor:
        return Governor(
            self.limits,
            plan or GovernorPlan(),
            self.clock.environment(),
            self.folder,
            kind="backup",
            label="ehr",
            read=self.machine.read,
            is_stopped=lambda: self.stopped,
            **more,
        )

    def run(self, governor: Governor, seconds: float, read_bytes_per_s: float = 0.0) -> None:
        for _ in range(round(seconds * 2)):
            self.clock.advance(timedelta(seconds=0.5))
            self.limits.passed.read_bytes += int(read_bytes_per_s / 2)
            governor.tick()


@pytest.fixture
def place(tmp_path) -> Place:
    return Place(tmp_path)


def test_a_plan_without_anything_sets_nothing(place):
    governor = place.governor()
    place.machine.share = 1.0
    place.run(governor, 10)
    assert governor.course() is Course.RUN
    assert place.limits.read_bytes_per_s is None
    assert place.limits.threads is None
    assert governor.events() == []
    assert governor.record().slowed_seconds == 0
    assert "cpu stalls" in governor.record().missing


def test_load_slows_a_run_and_its_end_speeds_it_up_and_the_record_says_why(place):
    governor = place.governor(GovernorPlan(active=True))
    place.run(governor, 20, read_bytes_per_s=100e6)
    assert place.limits.read_bytes_per_s is None
    assert place.limits.threads is not None
    place.machine.share = 0.9
    place.run(governor, 6, read_bytes_per_s=100e6)
    assert place.limits.read_bytes_per_s == pytest.approx(25e6, rel=0.05), (
        "without a probe no further: the stall may be the run's own"
    )
    assert governor.course() is Course.RUN
    place.machine.share = 0.0
    place.run(governor, 30, read_bytes_per_s=100e6)
    assert place.limits.read_bytes_per_s is None
    record = governor.record()
    assert record.reasons == ("io",)
    assert record.slowed_seconds > 5
    assert record.changes >= 1
    assert max(sample.pressure for sample in record.samples) > 1
    assert any(sample.read_allowed is not None for sample in record.samples)


def listening(place, **more) -> tuple[Governor, Ear]:
    ear = Ear(place.clock)
    governor = place.governor(GovernorPlan(active=True, probes=(ear,), **more))
    return governor, ear


def hear(governor: Governor, times: int = 3) -> None:
    (watch,) = governor._listening._watches
    for _ in range(times):
        watch.once()


def start(governor: Governor) -> None:
    """Begin as entering does, without threads."""
    (watch,) = governor._listening._watches
    watch.start = lambda: None  # type: ignore[method-assign]
    governor._listening.start()
    governor.tick()


def test_what_is_usual_is_learned_while_the_run_holds_still(place):
    governor, ear = listening(place)
    start(governor)
    assert place.limits.paused
    assert governor.order.reason == "learning what is usual"
    for _ in range(3):
        hear(governor)
        place.run(governor, 2.5)
    assert not place.limits.paused
    hear(governor)
    governor.tick()
    assert governor.order.course is Course.RUN
    ear.latency = 0.013
    for _ in range(10):
        hear(governor)
        place.run(governor, 0.5)
    assert place.limits.cpu_cores is not None
    assert governor.order.reason == "probe ehr"
    assert governor._listening.close()
    assert ear.closed is False, "its thread closes it, and there was none"
    # The next run knows, and does not hold still.
    again, _ = listening(place)
    start(again)
    assert not place.limits.paused


def test_now_and_then_it_is_learned_anew(place):
    governor, _ = listening(place, learn_every_seconds=30.0)
    start(governor)
    for _ in range(3):
        hear(governor)
        place.run(governor, 2.5)
    assert not place.limits.paused
    hear(governor)
    held = []
    for _ in range(70):
        place.run(governor, 0.5)
        held.append(place.limits.paused)
    assert sum(held) == 4, "two seconds, once"
    place.run(governor, 25)
    while not place.limits.paused:
        place.run(governor, 0.5)
    hear(governor)
    place.run(governor, 2.5)
    assert not place.limits.paused


def test_a_probe_that_fails_is_load_and_an_alert_once(place):
    governor, ear = listening(place)
    ear.fails = True
    start(governor)
    hear(governor)
    place.run(governor, 3)
    place.run(governor, 10)
    alerts = [event for event in governor.events() if isinstance(event, Alert)]
    assert [alert.code for alert in alerts] == ["probe-silent"]
    assert alerts[0].subject == "ehr"
    assert governor.course() is Course.HOLD
    assert place.limits.paused
    ear.fails = False
    for _ in range(20):
        hear(governor)
        place.run(governor, 1)
    assert governor.course() is Course.RUN
    ear.fails = True
    hear(governor)
    place.run(governor, 1)
    assert [event.code for event in governor.events() if isinstance(event, Alert)] == ["probe-silent"]


def test_a_window_that_closes_ends_the_run_with_its_checkpoint(place):
    governor = place.governor(GovernorPlan(calendar=Calendar((CLOSED_AT_NOON,), usual=Budget(read_bytes_per_s=5e6))))
    place.run(governor, 1)
    assert place.limits.read_bytes_per_s == 5_000_000
    place.clock.advance(timedelta(hours=9))
    governor.tick()
    assert governor.course() is Course.LEAVE
    assert not place.limits.paused, "the checkpoint must be written"
    error = governor.paused()
    assert error.exit_code == 9
    assert "window noon" in error.what
    assert "2026-11-23T13:00Z" in error.what
    place.clock.advance(timedelta(hours=1))
    governor.tick()
    assert governor.course() is Course.RUN


def test_a_run_may_wait_for_its_window_and_gives_its_memory_back_meanwhile(place):
    governor = place.governor(GovernorPlan(calendar=Calendar((CLOSED_AT_NOON,)), wait_for_window=True))
    place.clock.advance(timedelta(hours=9, minutes=1))
    place.run(governor, 59)
    assert governor.course() is Course.HOLD
    assert place.limits.paused
    place.run(governor, 3)
    assert governor.course() is Course.YIELD
    assert not place.limits.paused
    place.clock.advance(timedelta(hours=1))
    governor.tick()
    assert governor.wait(lambda: False)
    assert governor.record().yields == 1


def test_waiting_ends_when_the_run_is_stopped_or_its_window_is_over(place):
    governor = place.governor(GovernorPlan(hold_seconds=0))
    governor.handle({"do": "pause"})
    governor.tick()
    governor.tick()
    assert governor.course() is Course.YIELD
    assert not governor.wait(lambda: True)
    leaving = place.governor(GovernorPlan(calendar=Calendar((CLOSED_AT_NOON,))))
    place.clock.advance(timedelta(hours=9, minutes=1))
    leaving.tick()
    with pytest.raises(PausedError):
        leaving.wait(lambda: False)


def test_a_run_that_may_not_begin_says_so(place):
    registry = Registry(place.folder)
    registry.pause(PauseMark("2026", 0, "upgrade"))
    with pytest.raises(PausedError, match="paused by an operator: upgrade"):
        place.governor().__enter__()
    registry.resume()
    place.clock.advance(timedelta(hours=9, minutes=1))
    with pytest.raises(PausedError, match="window"):
        place.governor(GovernorPlan(calendar=Calendar((CLOSED_AT_NOON,)))).__enter__()
    with pytest.raises(ConfigError, match="no time in which anything may run"):
        place.governor(GovernorPlan(calendar=Calendar(only_in_maintenance=True)))


def test_an_operator_steers_through_questions(place):
    governor = place.governor()
    answer = governor.handle({"do": "limits", "set": {"read_bytes_per_s": 2e6, "cpu_cores": 0.5}})
    assert answer["limits"]["read_bytes_per_s"] == 2e6
    assert place.limits.read_bytes_per_s == 2_000_000
    assert place.limits.cpu_cores == 0.5
    governor.handle({"do": "limits", "set": {"read_bytes_per_s": None}})
    assert place.limits.read_bytes_per_s is None
    assert place.limits.cpu_cores == 0.5
    assert governor.handle({"do": "pause", "reason": "rounds"})["course"] == "hold"
    assert place.limits.paused
    place.stopped = True
    governor.tick()
    assert not place.limits.paused, "a run that was told to stop comes to its end"
    place.stopped = False
    assert governor.handle({"do": "resume"})["course"] == "run"
    assert governor.handle({"do": "status"})["run"]["kind"] == "backup"
    governor.handle({"do": "limits", "set": {"operations_per_s": 0}})
    assert governor.order.reason == "budget of zero"
    governor.release()
    assert not place.limits.paused


@pytest.mark.parametrize(
    "question",
    [
        {},
        {"do": "explode"},
        {"do": "limits"},
        {"do": "limits", "set": {}},
        {"do": "limits", "set": {"speed": 1}},
        {"do": "limits", "set": {"threads": "two"}},
        {"do": "limits", "set": {"threads": True}},
        {"do": "limits", "set": {"threads": -1}},
    ],
)
def test_what_cannot_be_meant_is_refused_and_changes_nothing(place, question):
    governor = place.governor()
    with pytest.raises(ValueError, match=r"unknown|limits are|threads is"):
        governor.handle(question)
    assert place.limits.threads is None


def test_runs_of_a_machine_share_its_budget(place):
    plan = GovernorPlan(machine=Budget(read_bytes_per_s=10e6))
    with place.governor(plan) as first:
        place.run(first, 2)
        assert place.limits.read_bytes_per_s == 10_000_000
        other = Place(place.folder.parent)
        other.clock = place.clock
        with other.governor(plan) as second:
            assert {row.id for row in Registry(place.folder).live()} == {first.id, second.id}
            place.run(first, 4, read_bytes_per_s=10e6)
            other.run(second, 1)
            # The first uses its part, the second none yet: it leaves nearly all of its own.
            assert place.limits.read_bytes_per_s >= 5_000_000
            assert other.limits.read_bytes_per_s == 5_000_000
    assert Registry(place.folder).live() == ()


def test_a_limit_that_holds_a_run_back_is_a_reason(place):
    governor = place.governor(GovernorPlan(calendar=Calendar(usual=Budget(write_bytes_per_s=1e6))))
    for _ in range(4):
        place.limits.passed.waited_s = [0.0, place.limits.passed.waited_s[1] + 0.4, 0, 0, 0, 0, 0]
        place.run(governor, 0.5)
    assert governor.record().reasons == ("limit write",)


def test_an_objective_in_danger_raises_the_budget_and_alerts(place):
    plan = GovernorPlan(active=True, rpo=timedelta(hours=1), slowdown_max_for_rpo=0.5)
    last_good = place.clock.now() - timedelta(minutes=50)
    governor = place.governor(plan, last_good=last_good)
    governor.progress(10, 1000)
    place.run(governor, 30)
    (alert,) = [event for event in governor.events() if isinstance(event, Alert)]
    assert (alert.code, alert.subject) == ("rpo-danger", "ehr")
    assert governor._prospect is not None
    assert governor._prospect.in_danger


def test_a_first_backup_may_take_as_long_as_it_needs(place):
    governor = place.governor(GovernorPlan(active=True, rpo=timedelta(hours=1), slowdown_max_for_rpo=0.5))
    governor.progress(10, 1000)
    place.run(governor, 30)
    assert not [event for event in governor.events() if isinstance(event, Alert)]


def test_a_clock_that_was_set_is_noted_once(place):
    governor = place.governor(GovernorPlan(calendar=Calendar((CLOSED_AT_NOON,))))
    place.run(governor, 1)
    place.clock._now += timedelta(hours=9, minutes=30)
    governor.tick()
    assert governor.course() is Course.LEAVE
    place.run(governor, 5)
    notes = [event for event in governor.events() if isinstance(event, Note)]
    assert [note.code for note in notes] == ["clock"]


def test_a_socket_that_cannot_be_opened_is_a_note(place, monkeypatch):
    def refuse(*_):
        raise OSError(28, "no space")

    monkeypatch.setattr("holdfast.governor.steering.ControlSocket", refuse)
    with place.governor() as governor:
        assert "cannot be steered" in str(governor.events())


def test_what_was_learned_and_cannot_be_kept_is_a_note(place, monkeypatch):
    governor, _ = listening(place)
    with replaced(governor, monkeypatch):
        pass
    assert "could not be saved" in str(governor.events())


def replaced(governor, monkeypatch):
    monkeypatch.setattr(governor._listening._baseline, "save", lambda: False)
    governor.plan = replace(governor.plan, tick_seconds=0.05)
    return governor
