"""The driver of a consistency group, on doubles: the order of its steps, its budgets, its policies, and the truth it records.

The watchdog here is a fake that follows the same clock; the real process is in `test_watchdog.py` and the conformance suite.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from holdfast.base.environment import ManualClock
from holdfast.base.events import Alert
from holdfast.errors import (
    ApplicationChangedError,
    ApplicationUnreachableError,
    CaptureError,
    FreezeOverrunError,
    HoldfastError,
    InternalError,
    StillFrozenError,
    WatchdogError,
)
from holdfast.sources import consistency
from holdfast.sources.connectors.protocol import Attempt, Budgets, Evidence, Member, Verdict, worst
from holdfast.sources.watchdog import Fired, Swept
from holdfast.testing.applications import FileApplication, FileConnector


class Watchdog:
    """Armed and told as the real one; `fires` says why it acted, if it did."""

    said: list[str]
    fires = ""
    alive = True

    @classmethod
    def arm(cls, orders, seconds, *, env, folder=None):
        cls.said.append(f"arm {len(orders)} {seconds:.2f}")
        return cls()

    def holding(self, seconds):
        if not self.alive:
            raise WatchdogError("gone")
        self.said.append(f"hold {seconds:.2f}")

    def disarm(self):
        self.said.append("disarm")
        return Fired(self.fires)

    def fire(self):
        self.said.append("fire")
        return Fired("asked", ("",))


@pytest.fixture
def watchdog(monkeypatch):
    class Fresh(Watchdog):
        said: list[str] = []  # noqa: RUF012 - one class per test

    monkeypatch.setattr(consistency, "Watchdog", Fresh)
    return Fresh


@pytest.fixture
def clock():
    return ManualClock()


def application(tmp_path, name="files"):
    made = FileApplication(tmp_path / name).create()
    made.write("one")
    return made


def connector(tmp_path, name="files", **more):
    return FileConnector(application(tmp_path, name), name, **more)


def raising(error):
    def fail():
        raise error

    return fail


def taking(clock, seconds):
    return lambda: clock.advance(timedelta(seconds=seconds))


def run(members, clock, events=lambda _: None):
    with consistency.consistent(members, env=clock.environment(), events=events) as group:
        return group.conclude()


def test_the_steps_come_in_their_order_and_the_times_are_measured(tmp_path, watchdog, clock):
    files = connector(
        tmp_path, faults={"freeze": taking(clock, 0.1), "capture": taking(clock, 0.2), "thaw": taking(clock, 0.05)}
    )
    (end,) = run([Member(files)], clock)
    assert files.steps == [
        "check", "thaw_orders", "freeze", "verify_frozen", "capture", "thaw", "verify_thawed", "conclude", "close",
    ]  # fmt: skip
    assert watchdog.said == ["arm 1 0.75", "hold 0.50", "disarm"]
    (attempt,) = end.evidence.attempts
    assert attempt.acquire_ms == pytest.approx(100)
    assert attempt.hold_ms == pytest.approx(250)
    assert attempt.thaw_ms == pytest.approx(50)
    assert (attempt.verdict, attempt.cut) == (Verdict.APPLICATION, "")
    assert end.evidence.verdict is Verdict.APPLICATION
    assert end.evidence.hold_ms == pytest.approx(250)
    assert end.beside[0].content == b"1"


def test_a_group_freezes_in_order_captures_together_and_thaws_in_reverse(tmp_path, watchdog, clock):
    said = []
    first, second = connector(tmp_path, "a"), connector(tmp_path, "b")
    for row in (first, second):
        row.faults = {
            step: (lambda s=step, n=row.name: said.append(f"{n}.{s}")) for step in ("freeze", "capture", "thaw")
        }
    third = connector(tmp_path, "c", freezes=False)
    ends = run([Member(first), Member(third), Member(second, Budgets(hold_seconds=0.3))], clock)
    assert said == ["a.freeze", "b.freeze", "a.capture", "b.capture", "b.thaw", "a.thaw"]
    assert [end.evidence.application for end in ends] == ["a", "c", "b"]
    assert all(end.evidence.verdict is Verdict.APPLICATION for end in ends)
    assert watchdog.said[:2] == ["arm 2 0.55", "hold 0.30"]
    assert ends[1].evidence.attempts == ()


def test_nothing_is_touched_if_any_check_fails(tmp_path, watchdog, clock):
    first = connector(tmp_path, "a")
    second = connector(tmp_path, "b", faults={"check": raising(ApplicationUnreachableError("down"))})
    with pytest.raises(ApplicationUnreachableError):
        run([Member(first), Member(second)], clock)
    assert first.steps == ["check", "close"]
    assert watchdog.said == []


def test_without_a_freeze_there_is_no_watchdog(tmp_path, watchdog, clock):
    files = connector(tmp_path, freezes=False)
    (end,) = run([Member(files)], clock)
    assert files.steps == ["check", "capture", "conclude", "close"]
    assert watchdog.said == []
    assert end.evidence.hold_ms == 0


@pytest.mark.parametrize("step", ["freeze", "verify_frozen", "capture"])
def test_a_failure_is_thawed_first_tried_again_and_then_comes_out(step, tmp_path, watchdog, clock):
    files = connector(tmp_path, faults={step: raising(FreezeOverrunError("too slow"))})
    with pytest.raises(FreezeOverrunError):
        run([Member(files, Budgets(attempts=3))], clock)
    assert files.steps.count("freeze") == 3
    assert files.steps.count("thaw") == 3
    assert watchdog.said.count("disarm") == 3
    assert not files.application.frozen


def test_an_error_that_is_no_application_s_comes_out_at_once(tmp_path, watchdog, clock):
    files = connector(tmp_path, faults={"capture": raising(InternalError("a bug"))})
    with pytest.raises(InternalError):
        run([Member(files, Budgets(attempts=3), "crash")], clock)
    assert files.steps.count("freeze") == 1
    assert not files.application.frozen
    assert files.steps[-1] == "close"


def test_an_interruption_is_thawed_first(tmp_path, watchdog, clock):
    files = connector(tmp_path, faults={"verify_frozen": raising(KeyboardInterrupt())})
    with pytest.raises(KeyboardInterrupt):
        run([Member(files)], clock)
    assert not files.application.frozen


def test_an_overrun_of_the_hold_budget_does_not_count_and_the_next_attempt_may(tmp_path, watchdog, clock):
    slow = iter([0.6, 0.1])
    files = connector(tmp_path, faults={"capture": lambda: clock.advance(timedelta(seconds=next(slow)))})
    (end,) = run([Member(files)], clock)
    assert [attempt.cut for attempt in end.evidence.attempts] == ["hold", ""]
    assert end.evidence.verdict is Verdict.APPLICATION
    assert end.evidence.hold_ms == pytest.approx(600)


def test_the_acquire_budget_is_shared_by_a_group(tmp_path, watchdog, clock):
    first = connector(tmp_path, "a", faults={"freeze": taking(clock, 0.3)})
    second = connector(tmp_path, "b")
    with pytest.raises(FreezeOverrunError, match="could not all be frozen"):
        run([Member(first, Budgets(attempts=1)), Member(second)], clock)
    assert "freeze" not in second.steps
    assert not first.application.frozen


def test_what_the_watchdog_thawed_is_no_application_consistent_capture(tmp_path, watchdog, clock):
    watchdog.fires = "deadline"
    with pytest.raises(FreezeOverrunError, match="watchdog"):
        run([Member(connector(tmp_path))], clock)


def test_a_lost_watchdog_means_thaw_at_once(tmp_path, watchdog, clock):
    watchdog.alive = False
    files = connector(tmp_path)
    with pytest.raises(WatchdogError):
        run([Member(files)], clock)
    assert not files.application.frozen


def test_a_watchdog_lost_while_frozen_is_noticed_before_the_capture(tmp_path, watchdog, clock, monkeypatch):
    files = connector(tmp_path, faults={"verify_frozen": lambda: setattr(watchdog, "alive", False)})
    with pytest.raises(WatchdogError, match="gone, or had to act"):
        run([Member(files, Budgets(attempts=1))], clock)
    assert "capture" not in files.steps
    assert not files.application.frozen


def test_somebody_else_s_thaw_spoils_the_capture(tmp_path, watchdog, clock):
    files = connector(tmp_path, faults={"verify_thawed": raising(ApplicationChangedError("early"))})
    with pytest.raises(FreezeOverrunError, match="somebody else"):
        run([Member(files, Budgets(attempts=1))], clock)


@pytest.mark.parametrize("unfrozen", [Verdict.CRASH, Verdict.NONE])
def test_the_policy_crash_stores_what_it_is_worth_and_says_so(unfrozen, tmp_path, watchdog, clock):
    told = []
    files = connector(tmp_path, unfrozen=unfrozen, faults={"freeze": raising(FreezeOverrunError("busy"))})
    (end,) = run([Member(files, degrade="crash")], clock, told.append)
    assert end.evidence.verdict is unfrozen
    assert end.evidence.error == "freeze-overrun"
    assert [attempt.cut for attempt in end.evidence.attempts] == ["freeze-overrun"] * 2
    assert [event.code for event in told if isinstance(event, Alert)] == ["freeze-overrun"]
    assert not files.application.frozen


def test_the_policy_fallback_takes_the_connector_without_a_freeze(tmp_path, watchdog, clock):
    other = connector(tmp_path, freezes=False)
    files = connector(tmp_path, faults={"freeze": raising(FreezeOverrunError("busy"))}, fallback=other)
    (end,) = run([Member(files, degrade="fallback")], clock)
    assert end.evidence.verdict is Verdict.APPLICATION
    assert end.evidence.error == "freeze-overrun"
    assert other.steps == ["check", "capture", "conclude", "close"]
    assert files.steps[-1] == "close"
    files = connector(tmp_path, faults={"freeze": raising(FreezeOverrunError("busy"))})
    with pytest.raises(FreezeOverrunError):
        run([Member(files, degrade="fallback")], clock)


def test_an_application_that_does_not_come_back_is_fired_for_alerted_and_said(tmp_path, watchdog, clock):
    told = []
    files = connector(tmp_path, faults={"thaw": raising(ApplicationChangedError("no answer"))})
    files.faults["verify_thawed"] = raising(StillFrozenError("it stands"))
    with pytest.raises(StillFrozenError, match="it stands"):
        run([Member(files, degrade="crash")], clock, told.append)
    assert "fire" in watchdog.said
    assert [event.code for event in told if isinstance(event, Alert)] == ["still-frozen"]
    assert files.steps[-1] == "close"


def test_a_thaw_that_failed_and_came_back_by_the_watchdog_is_an_attempt_that_does_not_count(tmp_path, watchdog, clock):
    files = connector(tmp_path, faults={"thaw": raising(StillFrozenError("no answer"))})
    files.faults["verify_thawed"] = lambda: files.application.flag.unlink(missing_ok=True)
    with pytest.raises(FreezeOverrunError, match="watchdog"):
        run([Member(files, Budgets(attempts=1))], clock)


@pytest.mark.parametrize("degrade", ["fail", "crash"])
def test_a_check_after_the_copy_that_fails(degrade, tmp_path, watchdog, clock):
    files = connector(tmp_path, faults={"conclude": raising(CaptureError("torn"))})
    told = []
    if degrade == "fail":
        with pytest.raises(CaptureError):
            run([Member(files)], clock)
    else:
        (end,) = run([Member(files, degrade="crash")], clock, told.append)
        assert (end.evidence.verdict, end.evidence.error) == (Verdict.NONE, "capture")
        assert [event.code for event in told if isinstance(event, Alert)] == ["capture"]
    assert files.steps[-1] == "close"


def test_what_a_lost_run_left_is_swept_and_told(tmp_path, watchdog, clock, monkeypatch):
    told = []
    monkeypatch.setattr(consistency, "sweep", lambda _: (Swept(("",)), Swept(("timeout",))))
    with consistency.consistent([], env=clock.environment(), folder=tmp_path, events=told.append) as group:
        assert group.captures == ()
        assert group.verdict is Verdict.APPLICATION
    assert [event.code for event in told] == ["freeze-swept", "still-frozen"]


def test_the_worst_verdict_of_a_group(tmp_path, watchdog, clock):
    assert worst() is Verdict.APPLICATION
    assert worst(Verdict.APPLICATION, Verdict.CRASH) is Verdict.CRASH
    assert worst(Verdict.CRASH, Verdict.NONE, Verdict.APPLICATION) is Verdict.NONE
    files = connector(tmp_path, unfrozen=Verdict.CRASH, faults={"freeze": raising(FreezeOverrunError("busy"))})
    with consistency.consistent([Member(files, degrade="crash")], env=clock.environment()) as group:
        assert group.verdict is Verdict.CRASH


def test_evidence_survives_the_sealed_part():
    evidence = Evidence(
        "ehr-db", "postgresql", "15.1", Verdict.CRASH, (Attempt(1.5, 250.25, 3.0, Verdict.CRASH, "hold"),),
        (("lsn", "0/1"),), (("role", "primary"),), ("a note",), "freeze-overrun", 2.5, "ab" * 16,
    )  # fmt: skip
    assert Evidence.decode(evidence.encode()) == evidence
    with pytest.raises((KeyError, ValueError, TypeError)):
        Evidence.decode({**evidence.encode(), "verdict": "splendid"})
    assert issubclass(StillFrozenError, HoldfastError)
