"""The controller, on a simulated machine: a step in load is answered, the way back is quick, and a steady load is left in peace."""

from __future__ import annotations

import itertools
import random

import pytest

from holdfast.governor.controller import Action, Pressure, Rules, State, decide, pressure
from holdfast.governor.signals import ProbeReading, Signals
from holdfast.testing.load import simulate

SEEDS = range(100)


def probe(latency: float | None, usual: float | None = 1.0, state="well") -> Signals:
    return Signals(probes=(ProbeReading("ehr", state, latency, usual),))


def step(before: float, after: float, at: float):
    """A load that changes once."""
    return lambda now: after if now >= at else before


def slowed(moment, run_share=0.5) -> float:
    """How much slower the application is than it would be without the run, without noise."""
    return float((1 - moment.load) / (1 - min(0.98, moment.load + run_share * moment.level)) - 1)


def test_ninety_five_of_a_hundred_steps_in_load_are_answered_within_five_seconds():
    answered = []
    for seed in SEEDS:
        dice = random.Random(seed)
        low, high, at = dice.uniform(0.0, 0.1), dice.uniform(0.4, 0.9), dice.uniform(20, 40)
        share = dice.choice((0.08, 0.2, 0.5))
        moments = simulate(step(low, high, at), 60, seed=seed, run_share=share)
        late = [m.at - at for m in moments if m.at >= at and slowed(m, share) <= 0.15]
        answered.append(late[0] if late else 99.0)
    answered.sort()
    assert answered[94] <= 5, answered
    print("steps answered: median", answered[49], "95th", answered[94])  # noqa: T201 - the figure of the ADR


def test_full_speed_is_back_within_thirty_seconds():
    for seed in SEEDS:
        dice = random.Random(seed)
        high = dice.uniform(0.3, 0.9)
        # Load that leaves nothing for the run, then none at all.
        moments = simulate(step(high, 0.0, 60), 100, seed=seed, run_share=0.05)
        back = [m.at - 60 for m in moments if m.at >= 60 and m.level >= 0.99]
        assert back, seed
        assert back[0] <= 30, (seed, back[0])


def changes_of(moments):
    """Return when the level left a fifth around where it was a second before (a fifth of a twentieth, below that)."""
    found = []
    for before, after in zip(moments, moments[2:], strict=False):
        moved = abs(after.level - before.level) > 0.2 * max(before.level, 0.05)
        if moved and (not found or after.at - found[-1] > 1):
            found.append(after.at)
    return found


def test_in_steady_load_the_level_changes_by_a_fifth_at_most_once_in_ten_seconds():
    stretches, close = 0, 0
    for seed in SEEDS:
        steady = random.Random(seed).uniform(0.0, 0.9)
        found = changes_of(simulate(step(steady, steady, 0), 180, seed=seed)[120:])
        close += sum(after - before < 10 for before, after in itertools.pairwise(found))
        stretches += 12
    assert close == 0, (close, stretches)


def test_the_application_keeps_its_budget_and_the_run_gets_the_rest():
    for steady in (0.1, 0.3, 0.5):
        moments = simulate(step(steady, steady, 0), 200, seed=7)[100:]
        mean = sum(map(slowed, moments)) / len(moments)
        assert mean <= 0.12, (steady, mean)
        # What the run could take at ten percent, in the long run: at least half of it.
        possible = min(1.0, (1 - steady - (1 - steady) / 1.1) / 0.5)
        assert sum(m.level for m in moments) / len(moments) >= 0.5 * possible


def test_without_a_probe_stalls_are_answered_too():
    moments = simulate(step(0.1, 0.9, 20), 40, seed=1, by_probe=False)
    assert moments[30].level == 1
    assert next(m.at for m in moments if m.at >= 20 and m.level <= 0.3) <= 25


@pytest.mark.parametrize(
    ("signals", "value", "reason"),
    [
        (Signals(), 0.0, ""),
        (probe(1.05), 0.5, "probe ehr"),
        (probe(1.2), 2.0, "probe ehr"),
        (probe(0.5), 0.0, ""),
        (probe(None, None, "hanging"), 4.0, "probe ehr"),
        (probe(None, None, "failing"), 4.0, "probe ehr"),
        (probe(9.0, None, "learning"), 0.0, ""),
        (Signals(io_stall=0.6), 2.0, "io"),
        (Signals(cpu_stall=0.15), 0.5, "cpu"),
        (Signals(disk_latency=0.1), 2.0, "disk"),
        (Signals(memory_stall=0.2), 2.0, "memory"),
        (Signals(memory_available=0.01), 5.0, "memory"),
        (Signals(memory_available=0.5), 0.0, ""),
    ],
)
def test_pressure_is_the_worst_of_all_that_is_seen(signals, value, reason):
    found = pressure(signals, Rules())
    assert found.value == pytest.approx(value)
    assert found.reason == reason


def test_a_probe_that_knows_what_is_usual_goes_before_stalls_of_the_cpu():
    signals = Signals(cpu_stall=1.0, io_stall=1.0, probes=(ProbeReading("ehr", "well", 1.0, 1.0),))
    assert pressure(signals, Rules()).value == 0
    learning = Signals(io_stall=0.6, probes=(ProbeReading("ehr", "learning", 1.0, None),))
    assert pressure(learning, Rules()).value == pytest.approx(2)


def through(state: State, value: float, seconds: float, start: float, rules=Rules()):  # noqa: B008 - frozen
    decision = None
    for step in range(int(seconds * 2)):
        state, decision = decide(state, Pressure(value, "io"), rules, start + step / 2)
    return state, decision


def test_one_odd_reading_decides_nothing():
    state, _ = through(State(), 0.1, 5, 0)
    state, decision = decide(state, Pressure(50, "io"), Rules(), 5)
    assert decision.level == 1
    assert decision.reason == ""
    _, decision = decide(state, Pressure(0.1, "io"), Rules(), 5.5)
    assert decision.level == 1


def test_load_far_beyond_the_budget_holds_the_run_still_and_calm_lets_it_go():
    rules = Rules()
    state, decision = through(State(), 20, 15, 0)
    assert decision.action is Action.HOLD
    assert decision.level == rules.level_min
    state, decision = through(state, 0.9, 5, 15)
    assert decision.action is Action.HOLD, "between the marks nothing changes"
    state, decision = through(state, 0.1, rules.calm_after - 1, 20)
    assert decision.action is Action.HOLD
    state, decision = through(state, 0.1, 3, 23)
    assert decision.action is Action.RUN
    _, decision = through(state, 0.1, 29, 26)
    assert decision.level == 1


def test_the_same_arguments_give_the_same_answer():
    state, _ = through(State(), 2, 5, 0)
    assert decide(state, Pressure(1.5, "io"), Rules(), 9) == decide(state, Pressure(1.5, "io"), Rules(), 9)
