"""The controller: how hard a run may press, as a pure function of what is seen and what was decided before.

`pressure` is how much of the application's budget for slowdown is used up: 1 is all of it. Above 1 the level is cut at once,
by as much as the pressure is too high; below the calm mark its logarithm grows along a cubic curve (as TCP CUBIC's window
does, RFC 9438): quickly back to just below where the trouble was, slowly around it, quickly beyond. Between the two marks it holds.
The simulation is in `holdfast.testing.load`, its results in docs/adr/0012.
"""

from __future__ import annotations

import math
from dataclasses import replace
from enum import Enum

from holdfast.base.values import dataclass
from holdfast.governor.signals import Signals

__all__ = ["Action", "Decision", "Pressure", "Rules", "State", "decide", "pressure"]


class Action(Enum):
    """What a run should do now."""

    RUN = "run"
    """Go on, at the decision's level."""
    HOLD = "hold"
    """Read, write and compute nothing for the moment."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the controller keeps to. Seconds; shares are 0 … 1."""

    slowdown_max: float = 0.10
    """The part of its speed that the application may lose."""
    cpu_stall_max: float = 0.30
    """Pressure stall of the CPU (some) that counts as all of the budget, where no probe speaks for the application."""
    io_stall_max: float = 0.30
    """The same for I/O."""
    memory_stall_max: float = 0.10
    """The same for memory; always, since a machine that swaps slows everything."""
    disk_latency_max: float = 0.050
    """Mean time of a disk's requests that counts as all of the budget, where no probe speaks for the application."""
    memory_available_min: float = 0.05
    """Less of the memory than this available counts as overload."""
    level_min: float = 0.01
    """The least part of full speed, short of holding still."""
    calm: float = 0.75
    """Below this part of the budget the level grows."""
    hold_pressure: float = 3.0
    """So far beyond the budget at the least level, for `hold_after`, the run holds still."""
    hold_after: float = 1.5
    calm_after: float = 3.0
    """So long below the calm mark before a run that held still goes on."""
    calm_after_again: float = 10.0
    """The same if it had hardly gone on when it had to hold still again."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """How much of the budget for slowdown is used, and by what."""

    value: float
    reason: str
    """`probe NAME`, `cpu`, `io`, `memory`, `disk`, or `` when nothing was seen."""


@dataclass(frozen=True, slots=True)
class State:
    """What the controller remembers. Times are monotonic seconds."""

    level: float = 1.0
    """Part of full speed that is allowed."""
    level_before: float = 1.0
    """The level that was too much the last time."""
    level_after: float = 1.0
    """What the last cut left of it."""
    cut_at: float | None = None
    grown: float = 0.0
    """Seconds of growth since then."""
    at: float | None = None
    """When it was last decided."""
    recent: tuple[float, ...] = ()
    """The newest pressures, at most three: one odd reading decides nothing."""
    smooth: float = 0.0
    """Their mean, the newer the heavier."""
    over_since: float | None = None
    """Since when the least level was far too much."""
    calm_since: float | None = None
    holding: bool = False
    resumed_at: float | None = None
    """When it last went on after holding still."""
    again: bool = False
    """It held still soon after it had gone on."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a run should do, how hard it may press (1: as hard as the budget says), and why."""

    action: Action
    level: float
    pressure: float
    reason: str


def pressure(signals: Signals, rules: Rules) -> Pressure:
    """Return how much of the budget is used: the worst of all that was seen.

    A probe that knows what is usual speaks for the application, and then stalls of the CPU, which the run itself suffers at its low
    priority, do not count. A probe that hangs or fails is load: the application could not answer.
    """
    found = [Pressure(0.0, "")]
    heard = False
    for probe in signals.probes:
        if probe.state in ("hanging", "failing"):
            found.append(Pressure(rules.hold_pressure + 1, f"probe {probe.name}"))
        elif probe.slowdown is not None:
            heard = True
            found.append(Pressure(max(0.0, probe.slowdown) / max(rules.slowdown_max, 0.001), f"probe {probe.name}"))
    if not heard:
        found += [
            Pressure(value / most, name)
            for name, value, most in (
                ("cpu", signals.cpu_stall, rules.cpu_stall_max),
                ("io", signals.io_stall, rules.io_stall_max),
                ("disk", signals.disk_latency, rules.disk_latency_max),
            )
            if value is not None
        ]
    if signals.memory_stall is not None:
        found.append(Pressure(signals.memory_stall / rules.memory_stall_max, "memory"))
    if signals.memory_available is not None and signals.memory_available < rules.memory_available_min:
        found.append(Pressure(rules.memory_available_min / max(signals.memory_available, 0.001), "memory"))
    return max(found, key=lambda each: each.value)


CUBIC = 1e-3
"""The curve's steepness, of the level's logarithm: from any level back to full speed within 27 s after the last cut."""
CUT_MIN, CUT_MAX = 0.1, 0.85
"""A cut leaves at least the first part of the level, and the second where the pressure is hardly too high."""
SETTLE_SECONDS, SETTLE_SECONDS_URGENT = 2.0, 1.0
"""A cut shows its effect in three readings before the next one; sooner where the pressure is beyond `hold_pressure`."""
GROWTH = 0.18
"""Of the logarithm per second, at most: a change of less than a fifth."""
STRONG, STRONG_EACH = 1.75, 1.5
"""The median of three pressures beyond the one, and each beyond the other, is load, not noise: it is answered in full."""
ANOTHER_LOAD = 4.0
"""Beyond so many times the level of the last trouble the load is another one, and the curve is followed as steep as it is."""
AGAIN_SECONDS = 15.0
SMOOTHING = 0.2
"""Weight of the newest reading in the mean, at two readings a second: a memory of about two seconds."""


def decide(state: State, seen: Pressure, rules: Rules, now: float) -> tuple[State, Decision]:
    """Return the new state and what to do. Pure: same arguments, same answer."""
    recent = (*state.recent[-2:], seen.value)
    # The median of three: one reading proves neither load nor calm, two in a row do.
    value = sorted(recent)[len(recent) // 2]
    smooth = state.smooth + SMOOTHING * (value - state.smooth) if state.recent else value
    state = replace(state, recent=recent, smooth=smooth)
    strong = value > STRONG and min(recent) > STRONG_EACH
    if strong or (value > 1 and smooth > 1):
        state = _cut(state, value, rules, now, strong=strong)
    elif smooth < rules.calm or (state.holding and value < rules.calm):
        state = _grown(state, rules, now)
    else:
        # It is right as it is: from here it grows slowly.
        state = replace(
            state, over_since=None, calm_since=None, level_before=state.level, level_after=state.level, grown=0
        )
    state = replace(state, at=now)
    action = Action.HOLD if state.holding else Action.RUN
    reason = seen.reason if state.level < 1 or state.holding else ""
    return state, Decision(action, state.level, value, reason)


def _cut(state: State, value: float, rules: Rules, now: float, *, strong: bool) -> State:
    state = replace(state, calm_since=None)
    if value < rules.hold_pressure or state.level > rules.level_min:
        state = replace(state, over_since=None)
    elif state.over_since is None:
        state = replace(state, over_since=now)
    elif now - state.over_since >= rules.hold_after:
        soon = state.resumed_at is not None and now - state.resumed_at < AGAIN_SECONDS
        state = replace(state, holding=True, again=soon or (state.holding and state.again))
    if state.level <= rules.level_min:
        # It can fall no lower; the way back begins when the load ends.
        return replace(state, level=rules.level_min, level_after=rules.level_min, cut_at=now, grown=0)
    settle = SETTLE_SECONDS_URGENT if strong and value > rules.hold_pressure else SETTLE_SECONDS
    if state.cut_at is not None and now - state.cut_at < settle:
        return state
    kept = max(CUT_MIN, 1 / value) if strong else CUT_MAX
    level = max(rules.level_min, state.level * kept)
    return replace(state, level=level, level_before=state.level, level_after=level, cut_at=now, grown=0)


def _grown(state: State, rules: Rules, now: float) -> State:
    state = replace(state, over_since=None, calm_since=now if state.calm_since is None else state.calm_since)
    if state.holding:
        enough = rules.calm_after_again if state.again else rules.calm_after
        if state.calm_since is not None and now - state.calm_since < enough:
            return replace(state, cut_at=now, grown=0)
        least = rules.level_min
        state = replace(state, holding=False, cut_at=now, level=least, level_after=least, resumed_at=now)
    if state.cut_at is None or state.level >= 1:
        return replace(state, level=1.0)
    cut = math.log(max(state.level_before, 1e-6) / max(state.level_after, 1e-6))
    origin = (max(0.0, cut) / CUBIC) ** (1 / 3)
    passed = now - state.at if state.at is not None else 0.0
    since = state.grown + passed
    curve = state.level_before * math.exp(min(10.0, CUBIC * (since - origin) ** 3))
    # On the way back to where the trouble was, and beyond, in steps of less than a fifth a second.
    if since < origin:
        curve = min(curve, state.level_after * math.exp(GROWTH * since))
    elif curve < ANOTHER_LOAD * state.level_before:
        curve = min(curve, state.level * math.exp(GROWTH * passed))
    return replace(state, level=min(1.0, max(state.level, curve)), grown=since)
