"""What an operator configured for a run, and the order that follows from all that is known: pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import timedelta
from enum import Enum

from holdfast.base.values import dataclass
from holdfast.governor.budget import UNLIMITED, Budget, fair_share, tightest
from holdfast.governor.controller import Action, Decision, Rules
from holdfast.governor.priority import Priority
from holdfast.governor.probes import Probe
from holdfast.governor.record import Rates
from holdfast.governor.registry import RunRow
from holdfast.governor.windows import Calendar, Standing

__all__ = ["Course", "GovernorPlan", "Order", "Steer", "order_of", "share_of"]

_RATES = ("read_bytes_per_s", "write_bytes_per_s", "network_bytes_per_s", "operations_per_s", "cpu_cores")
_PEAK_MIN = {"read_bytes_per_s": 8e6, "write_bytes_per_s": 8e6, "network_bytes_per_s": 4e6, "operations_per_s": 200.0}
"""What full speed is at least taken to be, before a run has shown it."""
DEMAND_GROWTH = 1.25
"""A run could use so much more than it took lately, if it was held back by nothing."""


@dataclass(frozen=True, slots=True)
class GovernorPlan:
    """How a run is to be governed. The default limits nothing, and can be steered."""

    active: bool = False
    """Whether load makes the run yield. Windows, limits and pauses hold in any case."""
    rules: Rules = field(default_factory=Rules)
    calendar: Calendar = field(default_factory=Calendar)
    machine: Budget = UNLIMITED
    """Shared by all runs of this machine."""
    probes: tuple[Probe, ...] = ()
    probe_seconds: float = 0.5
    """Time between two questions to the application."""
    objectives: Mapping[str, timedelta] = field(default_factory=dict)
    """How old the newest snapshot of each job may become."""
    rpo: timedelta | None = None
    """The objective of the run that is governed."""
    slowdown_max_for_rpo: float = 0.25
    priority: Priority = "normal"
    cgroup: bool = False
    tick_seconds: float = 0.5
    hold_seconds: float = 60.0
    """A run that had to hold still for so long keeps a checkpoint and gives its memory back."""
    learn_seconds: float = 2.0
    """How long a run holds still to learn what is usual for the application, where that is not known."""
    learn_every_seconds: float = 300.0
    wait_for_window: bool = False
    """Wait in the process for the next window instead of ending with exit code 9."""


class Course(Enum):
    """What a run is to do."""

    RUN = "run"
    HOLD = "hold"
    """Stay as it is and do nothing."""
    YIELD = "yield"
    """Keep a checkpoint, give the memory back, and begin again when it may."""
    LEAVE = "leave"
    """Keep a checkpoint and end: exit code 9."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a run is to do, within which limits, and why."""

    course: Course
    budget: Budget
    reason: str


@dataclass(frozen=True, slots=True)
class Steer:
    """What an operator said of this run while it runs."""

    limits: Budget = UNLIMITED
    paused: bool = False
    pause_reason: str = ""


def share_of(machine: Budget, mine: str, rows: Sequence[RunRow]) -> Budget:
    """Return this run's part of the machine's budget. Threads and memory are divided evenly."""
    if not any(row.id == mine for row in rows):
        rows = [*rows, RunRow(mine, "", "", 0, "", *[math.inf] * 5)]
    position = [row.id for row in rows].index(mine)
    found: dict[str, float | int] = {}
    for name in _RATES:
        total = getattr(machine, name)
        if total is not None:
            demands = [_demand(getattr(row, name), total / len(rows), mine=row.id == mine) for row in rows]
            found[name] = fair_share(total, demands, position)
    for name in ("threads", "memory_bytes"):
        total = getattr(machine, name)
        if total is not None:
            found[name] = max(1, total // len(rows)) if total else 0
    return Budget(**found)  # type: ignore[arg-type]


def _demand(used: float, part: float, *, mine: bool) -> float:
    """Return what a run could use: all it gets if it already uses its part, little more than it does if not."""
    return math.inf if mine or used >= 0.9 * part else used * DEMAND_GROWTH


def order_of(
    plan: GovernorPlan,
    standing: Standing,
    decision: Decision,
    steer: Steer,
    share: Budget,
    *,
    peaks: Rates,
    cores: int,
    held_seconds: float,
) -> Order:
    """Return what a run is to do: the operator goes before windows, and windows before the controller."""
    budget = tightest(standing.budget, share, steer.limits)
    if plan.active:
        # A limit of something, even if it binds nothing, has files flushed in small steps.
        budget = tightest(budget, Budget(threads=cores))
    window = " ".join(("window", *standing.windows)) if standing.windows else "window"
    if steer.paused:
        return Order(_while_held(plan, held_seconds), budget, "operator")
    if standing.closed:
        return Order(_while_held(plan, held_seconds) if plan.wait_for_window else Course.LEAVE, budget, window)
    if budget.is_nothing:
        return Order(_while_held(plan, held_seconds), budget, "budget of zero")
    if decision.action is Action.HOLD:
        return Order(_while_held(plan, held_seconds), budget, decision.reason)
    if decision.level < 1:
        at_full = {name: max(least, getattr(peaks, name)) for name, least in _PEAK_MIN.items()}
        full = Budget(**at_full, cpu_cores=float(cores))
        return Order(Course.RUN, tightest(budget, full.scaled(decision.level)), decision.reason)
    reason = window if standing.windows and not standing.budget.is_unlimited else ""
    return Order(Course.RUN, budget, reason)


def _while_held(plan: GovernorPlan, held_seconds: float) -> Course:
    return Course.YIELD if held_seconds >= plan.hold_seconds else Course.HOLD
