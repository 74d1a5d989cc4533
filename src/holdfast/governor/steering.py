"""The governor of one run: a thread that looks, decides and sets limits, and answers on the control socket.

It never calls into the run. The run asks it, between two polls of the engine, whether to go on (:meth:`Governor.course`),
and takes its notes and alerts from it; so callbacks stay on the run's own thread.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol, Self

from holdfast.base.environment import Environment, format_time
from holdfast.base.events import Alert, Event, Note
from holdfast.errors import LocalStateError, PausedError
from holdfast.governor.baseline import Baseline
from holdfast.governor.budget import Budget, Limited, apply
from holdfast.governor.cgroups import ControlGroup
from holdfast.governor.clock import WindowClock
from holdfast.governor.control import Answer, ControlSocket
from holdfast.governor.controller import Action, Decision, State, decide, pressure
from holdfast.governor.deadline import Objective, Prospect, alert_of, prospect
from holdfast.governor.listening import Listening, silent_alert
from holdfast.governor.plan import Course, GovernorPlan, Order, Steer, order_of, share_of
from holdfast.governor.record import GovernorRecord, Rates, Recorder, sample_of
from holdfast.governor.registry import Entry, Registry, RunRow
from holdfast.governor.signals import Counters, ProbeReading, Signals, compare, read_counters
from holdfast.governor.windows import Standing

__all__ = ["Governed", "Governor", "Used"]

PEAK_DECAY = 0.995
SMOOTHING = 0.5
CHANGE_SHARE = 0.2
PROSPECT_SECONDS = 5.0
"""So often a run's end is foreseen: windows of ten days are looked at for it."""
WAITS = ("read", "write", "network", "operations", "cpu", "threads")
LIMITED_SHARE = 0.2
"""A limit is a reason for slowness when threads waited for it in more than this part of the time."""
RATES = tuple(field.name for field in fields(Rates))


class Used(Protocol):
    """What passed through limits so far: the engine's `LimitsUsed`."""

    read_bytes: int
    write_bytes: int
    network_bytes: int
    operations: int
    waited_s: list[float]
    """Summed over threads, by reason: read, write, network, operations, cpu, threads, pause."""


class Governed(Limited, Protocol):
    """The limits of a run, and its pause switch: the engine's `Limits`."""

    def pause(self) -> None:
        """Hold every read, write and computation."""
        ...

    def resume(self) -> None:
        """Go on."""
        ...

    def used(self) -> Used:
        """Return what passed so far."""
        ...


class Governor:
    """Governs one run. Use as a context manager around the run; every method is safe from any thread.

    Its failures never end a run: a socket that cannot be opened, a group that cannot be made, a baseline that cannot be saved
    are notes in the run's record. `PausedError` at the beginning, if an operator or a window forbids it.
    """

    def __init__(
        self,
        limits: Governed,
        plan: GovernorPlan,
        env: Environment,
        folder: Path,
        *,
        kind: str,
        label: str = "",
        read: Callable[[float], Counters] = read_counters,
        last_good: datetime | None = None,
        is_stopped: Callable[[], bool] = lambda: False,
        devices: Sequence[str] = (),
    ) -> None:
        """Govern what has these limits; `folder` is the machine's own for runs, `last_good` when the newest snapshot began.

        A run that `is_stopped` is held no longer: it has to come to its end. `devices`: the disks, as `major:minor`, that a control
        group limits.
        """
        self._limits, self.plan, self._env, self._read = limits, plan, env, read
        self._is_stopped, self._devices = is_stopped, tuple(devices)
        self._registry = Registry(folder)
        plan.calendar.check(env.now())
        self.id = env.random_id()[:8]
        self._row = RunRow(self.id, kind, label, os.getpid(), env.timestamp())
        self._objective = (
            Objective(plan.rpo, last_good, plan.slowdown_max_for_rpo)
            if plan.rpo is not None and last_good is not None
            else None
        )
        self._listening = Listening(
            plan.probes,
            Baseline(folder / "baseline.json"),
            env,
            self._is_alone,
            probe_seconds=plan.probe_seconds,
            learn_seconds=plan.learn_seconds,
            learn_every_seconds=plan.learn_every_seconds,
        )
        self._lock = threading.RLock()
        self._end = threading.Event()
        self._wake_read, self._wake_write = -1, -1
        self._thread: threading.Thread | None = None
        self._socket: ControlSocket | None = None
        self._entry: Entry | None = None
        self._group: ControlGroup | None = None
        self._events: list[Event] = []
        self._told: set[str] = set()
        self._steer = Steer()
        self._state = State()
        self._recorder = Recorder()
        self._began = self._last_at = env.monotonic()
        self._last_used: tuple[float, ...] = self._used()
        self._last_waited = [*limits.used().waited_s]
        self._counters = read(self._began)
        self._rates, self._peaks = Rates(), Rates()
        self._held_since: float | None = None
        self._clock = WindowClock(plan.calendar, env.now(), self._began)
        self._run_seconds = self._until_prospect = 0.0
        self._done_bytes = 0
        self._total_bytes: int | None = None
        self._prospect: Prospect | None = None
        self._levels: list[tuple[float, float]] = []
        self.order = Order(Course.RUN, Budget(), "")

    # --- the run's side -------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Begin to govern: limits hold from here on."""
        self._refuse_to_begin()
        try:
            self._entry = self._registry.enter(self._row)
        except LocalStateError as error:
            # A full disk of the local state is no reason to leave a hospital without its backup, or its restore.
            self._say(
                Note(f"{error.what}: `holdfast limits` does not show it, nor do others make room for it", "governor")
            )
        try:
            self._socket = ControlSocket(self._registry.folder, self.id)
        except OSError as error:
            self._say(Note(f"the run cannot be steered while it runs: {os.strerror(error.errno or 0)}", "governor"))
        if self.plan.cgroup:
            self._group = ControlGroup(self.id)
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._listening.start()
        self.tick()
        self._thread = threading.Thread(target=self._loop, name="holdfast-governor", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop governing; the limits that hold stay as they are, and a pause ends."""
        self._end.set()
        self._wake()
        if self._thread is not None:
            self._thread.join()
        self._limits.resume()
        if not self._listening.close():
            self._say(Note("what was learned of the application could not be saved", "governor"))
        if self._group is not None:
            self._group.close()
        if self._socket is not None:
            self._socket.close()
        if self._entry is not None:
            self._entry.close()
        for descriptor in (self._wake_read, self._wake_write):
            os.close(descriptor)

    def course(self) -> Course:
        """Return what the run is to do now."""
        with self._lock:
            return self.order.course

    def events(self) -> list[Event]:
        """Return notes and alerts since the last call."""
        with self._lock:
            found, self._events = self._events, []
        return found

    def progress(self, done_bytes: int, total_bytes: int | None) -> None:
        """Say how far the run is, for its deadline."""
        with self._lock:
            self._done_bytes, self._total_bytes = done_bytes, total_bytes

    def release(self) -> None:
        """Let the run come to its end: it stops, keeps a checkpoint or cleans up, within its limits but without a pause."""
        with self._lock:
            self._held_since = None
            self._limits.resume()

    def wait(self, is_stopped: Callable[[], bool]) -> bool:
        """Wait until the run may go on; return False if it was told to stop meanwhile. For a run that yielded."""
        with self._lock:
            self._recorder.yields += 1
        while not is_stopped():
            if self.course() is Course.RUN:
                return True
            if self.course() is Course.LEAVE:
                raise self.paused()
            self._end.wait(self.plan.tick_seconds)
        return False

    def paused(self) -> PausedError:
        """Return the error that a run ends with which has to leave."""
        moment = self.plan.calendar.next_open(self._env.now())
        until = f" until {format_time(moment)[:16]}Z" if moment is not None else ""
        with self._lock:
            reason = self.order.reason
        return PausedError(f"the run pauses ({reason}){until}", until=until)

    def record(self) -> GovernorRecord:
        """Return what was used against what was allowed so far."""
        with self._lock:
            group = tuple(self._group.refused) if self._group is not None else ()
            self._recorder.missing = tuple(dict.fromkeys((*self._recorder.missing, *group)))
            return self._recorder.record()

    def _refuse_to_begin(self) -> None:
        mark = self._registry.paused()
        if mark is not None and not self.plan.wait_for_window:
            raise PausedError(
                f"runs of this machine are paused by an operator: {mark.reason or 'no reason given'}",
                next="`holdfast resume` ends the pause; then run the same command again.",
            )
        if self.plan.calendar.at(self._env.now()).closed and not self.plan.wait_for_window:
            self.order = Order(Course.LEAVE, Budget(), "window")
            raise self.paused()

    # --- the thread -----------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        while not self._end.is_set():
            waiting: list[int | ControlSocket] = [self._wake_read]
            if self._socket is not None:
                waiting.append(self._socket)
            ready, _, _ = select.select(waiting, [], [], self.plan.tick_seconds)
            if self._wake_read in ready:
                os.read(self._wake_read, 64)
            if self._socket is not None and self._socket in ready:
                self._socket.serve(self.handle)
            self.tick()

    def _wake(self) -> None:
        if self._wake_write >= 0:
            os.write(self._wake_write, b".")

    def tick(self) -> None:
        """Look, decide, set limits. Called by the thread; by tests directly."""
        with self._lock:
            now, wall = self._env.monotonic(), self._env.now()
            seconds = now - self._last_at
            self._measure(now, seconds)
            heard = self._readings()
            counters = self._read(now)
            signals = compare(self._counters, counters, heard)
            if seconds > 0:
                self._counters = counters
            self._recorder.missing = signals.missing
            standing = self._standing(now, wall)
            decision = self._decision(signals, standing, now)
            self._listening.learn(now, may_hold=self.order.course is Course.RUN)
            steer = self._operator()
            rows = self._registry.live() if not self.plan.machine.is_unlimited else ()
            order = order_of(
                self.plan,
                standing,
                decision,
                steer,
                share_of(self.plan.machine, self.id, rows),
                peaks=self._peaks,
                cores=os.cpu_count() or 1,
                held_seconds=now - self._held_since if self._held_since is not None else 0.0,
            )
            if self._listening.is_learning and order.course is Course.RUN:
                order = replace(order, course=Course.HOLD, reason="learning what is usual")
            self._carry_out(order, now)
            self._deadline(wall, seconds, order)
            self._note(order, decision, now, seconds)
            self._last_at = now

    def _measure(self, now: float, seconds: float) -> None:
        used = self._used()
        if seconds <= 0:
            return
        fresh = [max(0.0, after - before) / seconds for before, after in zip(self._last_used, used, strict=True)]
        self._last_used = used
        old = [getattr(self._rates, name) for name in RATES]
        self._rates = Rates(*(SMOOTHING * new + (1 - SMOOTHING) * last for new, last in zip(fresh, old, strict=True)))
        # Full speed is what was seen while the controller held nothing back; it is forgotten slowly.
        free = self._state.level >= 1
        self._peaks = Rates(
            *(
                max(getattr(self._peaks, name) * PEAK_DECAY, getattr(self._rates, name)) if free else getattr(self._peaks, name)
                for name in RATES
            )
        )  # fmt: skip
        if self._entry is not None and now - self._began >= 1:
            with suppress(OSError):  # a full disk: others see what it took before
                self._entry.update(replace(self._row, **asdict(self._rates)))

    def _used(self) -> tuple[float, ...]:
        used, times = self._limits.used(), os.times()
        return (used.read_bytes, used.write_bytes, used.network_bytes, used.operations, times.user + times.system)

    def _readings(self) -> tuple[ProbeReading, ...]:
        found = self._listening.readings()
        for reading in found:
            if reading.state in ("hanging", "failing"):
                self._alert(silent_alert(reading))
            else:
                self._told.discard(f"probe-silent {reading.name}")
        return found

    def _standing(self, now: float, wall: datetime) -> Standing:
        standing, was_set = self._clock.at(wall, now)
        if was_set:
            text = "the clock was set while the run runs; for ten minutes the stricter window of both times holds"
            self._say(Note(text, "clock"))
        return standing

    def _decision(self, signals: Signals, standing: Standing, now: float) -> Decision:
        if not self.plan.active or self._listening.is_learning:
            return Decision(Action.RUN, 1.0, 0.0, "")
        most = standing.slowdown_max if standing.slowdown_max is not None else self.plan.rules.slowdown_max
        if self._prospect is not None and self._prospect.in_danger and self._objective is not None:
            most = max(most, self._objective.slowdown_max)
        rules = replace(self.plan.rules, slowdown_max=most)
        if not self._listening.has_probes:
            # Nobody says how the application fares: a stall may be the run's own doing, so it is not starved for it.
            rules = replace(rules, level_min=max(rules.level_min, 0.25), hold_after=float("inf"))
        self._state, decision = decide(self._state, pressure(signals, rules), rules, now)
        return decision

    def _is_alone(self) -> bool:
        """Return whether no other run presses on the machine: only then is what is heard usual."""
        return all(row.id == self.id for row in self._registry.live())

    def _operator(self) -> Steer:
        mark = self._registry.paused()
        if mark is not None:
            return replace(self._steer, paused=True, pause_reason=mark.reason)
        return self._steer

    def _carry_out(self, order: Order, now: float) -> None:
        is_held = order.course is not Course.RUN
        if is_held and self._held_since is None:
            self._held_since = now
        elif not is_held:
            self._held_since = None
        self.order = order
        apply(self._limits, order.budget)
        if self._group is not None:
            self._group.limit(order.budget, self._devices)
        if order.course is Course.HOLD and not self._is_stopped():
            self._limits.pause()
        else:
            # A run that yields or leaves must be able to finish its checkpoint.
            self._limits.resume()

    def _deadline(self, wall: datetime, seconds: float, order: Order) -> None:
        if self._objective is None:
            return
        if order.course is Course.RUN:
            self._run_seconds += seconds
        self._until_prospect -= seconds
        if self._until_prospect > 0 and self._prospect is not None:
            return
        self._until_prospect = PROSPECT_SECONDS
        self._prospect = prospect(
            self._objective,
            wall,
            done_bytes=self._done_bytes,
            total_bytes=self._total_bytes,
            seconds=self._run_seconds,
            calendar=self.plan.calendar,
        )
        if self._prospect.in_danger:
            self._alert(alert_of(self._row.label or self._row.kind, self._prospect, wall))

    def _note(self, order: Order, decision: Decision, now: float, seconds: float) -> None:
        if seconds <= 0:
            return
        held = 0.0 if order.course is Course.RUN else 1.0
        sample = sample_of(now - self._began, decision.level, decision.pressure, held, self._rates, order.budget)
        waited = [*self._limits.used().waited_s]
        spent = [after - before for before, after in zip(self._last_waited, waited, strict=True)]
        self._last_waited = waited
        kind, longest = max(zip(WAITS, spent, strict=False), key=lambda each: each[1])
        reason = order.reason or (f"limit {kind}" if longest > LIMITED_SHARE * seconds else "")
        self._recorder.note(sample, seconds, reason)
        self._levels = [(at, level) for at, level in self._levels if now - at <= 1] + [(now, decision.level)]
        before = self._levels[0][1]
        if abs(decision.level - before) > CHANGE_SHARE * max(before, 1e-9):
            self._recorder.changes += 1
            self._levels = [(now, decision.level)]

    def _say(self, event: Event) -> None:
        with self._lock:
            self._events.append(event)

    def _alert(self, alert: Alert) -> None:
        key = f"{alert.code} {alert.subject}"
        if key not in self._told:
            self._told.add(key)
            self._say(alert)

    # --- the control socket ---------------------------------------------------------------------------------------

    def handle(self, question: Answer) -> Answer:
        """Answer a question of the control socket. `ValueError` for what cannot be meant."""
        with self._lock:
            match question.get("do"):
                case "status":
                    pass
                case "limits":
                    self._steer = replace(self._steer, limits=_limits_of(self._steer.limits, question.get("set")))
                case "pause":
                    self._steer = replace(self._steer, paused=True, pause_reason=str(question.get("reason", ""))[:200])
                case "resume":
                    self._steer = replace(self._steer, paused=False, pause_reason="")
                case _:
                    message = "unknown question"
                    raise ValueError(message)
            if question.get("do") != "status":
                self.tick()
            return {
                "run": asdict(replace(self._row, **asdict(self._rates))),
                "course": self.order.course.value,
                "reason": self.order.reason,
                "level": self._state.level,
                "limits": asdict(self.order.budget),
                "steered": asdict(self._steer.limits),
            }


def _limits_of(before: Budget, wanted: object) -> Budget:
    """Return limits changed as asked: a number sets one, null lifts it. `ValueError` for anything else."""
    known = {field.name for field in fields(Budget)}
    if not isinstance(wanted, dict) or not wanted or wanted.keys() - known:
        message = f"limits are {', '.join(sorted(known))}"
        raise ValueError(message)
    for name, value in wanted.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
            message = f"{name} is a number that is not negative, or null"
            raise ValueError(message)
    return replace(before, **wanted)
