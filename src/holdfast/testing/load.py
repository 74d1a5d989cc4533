"""A simulated machine: an application with a load of its own beside a run, and what probes and stalls of it would say.

The application's requests queue at one resource whose utilisation is its own load plus what the run takes; latency grows as
1 / (1 - utilisation) (an M/M/1 queue), times log-normal noise. The controller is run against it tick by tick.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from holdfast.governor.controller import Action, Rules, State, decide, pressure
from holdfast.governor.signals import ProbeReading, Signals

__all__ = ["Moment", "simulate"]

UTILISATION_MAX = 0.98


@dataclass(frozen=True, slots=True)
class Moment:
    """One tick of a simulation."""

    at: float
    load: float
    """What the application takes of the resource, 0 … 1."""
    level: float
    """What the run was allowed in the tick that follows; 0 while it holds still."""
    slowdown: float
    """How much slower the application was than without the run."""


def simulate(
    load: Callable[[float], float],
    seconds: float,
    *,
    seed: int,
    run_share: float = 0.5,
    noise: float = 0.03,
    tick: float = 0.5,
    delay: float = 0.5,
    rules: Rules | None = None,
    by_probe: bool = True,
) -> list[Moment]:
    """Return what happens when the application's load follows `load(t)`.

    `run_share` is what the run takes at full speed, `noise` the standard deviation of the latency's logarithm, `delay` how old
    an answer of the probe is. Without a probe the stall of the resource is what is seen: the part of the time it was overfull.
    """
    rules = rules or Rules()
    dice = random.Random(seed)
    state, level, found = State(), 1.0, list[Moment]()
    old: list[tuple[float, float]] = []
    for step in range(int(seconds / tick)):
        now = step * tick
        busy = min(UTILISATION_MAX, load(now) + run_share * level)
        usual = 1 / (1 - min(UTILISATION_MAX, load(now)))
        latency = 1 / (1 - busy) * dice.lognormvariate(0, noise)
        slowdown = latency / usual - 1
        old.append((now, slowdown))
        seen = next((value for at, value in reversed(old) if at <= now - delay), old[0][1])
        signals = (
            Signals(probes=(ProbeReading("app", "well", 1 + seen, 1.0),))
            if by_probe
            else Signals(io_stall=max(0.0, min(1.0, (busy - 0.7) / 0.3)))
        )
        state, decision = decide(state, pressure(signals, rules), rules, now)
        level = 0.0 if decision.action is Action.HOLD else decision.level
        found.append(Moment(now, load(now), level, slowdown))
    return found
