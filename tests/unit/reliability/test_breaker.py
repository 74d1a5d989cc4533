"""A breaker's transitions are pure; under any sequence of calls it lets through what it should and no more."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from holdfast.base.environment import ManualClock
from holdfast.errors import BreakerOpenError, StoreFullError, StoreUnreachableError
from holdfast.reliability.breaker import Breaker, BreakerPolicy, BreakerState, admitted, failed, succeeded

POLICY = BreakerPolicy(failures=3, open_seconds=10, longest_seconds=35)


def away():
    raise StoreUnreachableError("away")


def test_it_opens_tries_once_and_closes():
    clock = ManualClock()
    heard = []
    breaker = Breaker(clock.environment(), POLICY, heard=heard.append)
    for _ in range(3):
        with pytest.raises(StoreUnreachableError):
            breaker.call(away)
    with pytest.raises(BreakerOpenError) as caught:
        breaker.call(lambda: "never called")
    assert caught.value.facts["retry_in_seconds"] == 10
    clock.advance(timedelta(seconds=10))
    with pytest.raises(StoreUnreachableError):
        breaker.call(away)  # the one that was let through
    assert breaker.state.pause == 20
    clock.advance(timedelta(seconds=19))
    with pytest.raises(BreakerOpenError):
        breaker.call(lambda: 1)
    clock.advance(timedelta(seconds=1))
    assert breaker.call(lambda: "back") == "back"
    assert breaker.state == BreakerState()
    assert heard == [True, False]


def test_other_errors_say_that_it_answers():
    clock = ManualClock()
    breaker = Breaker(clock.environment(), POLICY)

    def full():
        raise StoreFullError("full")

    for _ in range(9):
        with pytest.raises(StoreFullError):
            breaker.call(full)
    assert not breaker.state.is_open


def test_only_one_call_passes_half_open():
    state = BreakerState(3, open_until=10, pause=10)
    assert admitted(state, 9)[0] is False
    passes, probing = admitted(state, 10)
    assert passes
    assert admitted(probing, 11)[0] is False
    assert succeeded(probing) == BreakerState()
    assert failed(state, 11, POLICY).pause == 10, "a call from before it opened does not lengthen the pause"


def test_pauses_double_up_to_the_longest():
    state = BreakerState(3, open_until=0, pause=10)
    pauses = []
    for _ in range(4):
        state = failed(admitted(state, state.open_until)[1], state.open_until, POLICY)
        pauses.append(state.pause)
    assert pauses == [20, 35, 35, 35]


def test_whatever_happens_an_outage_costs_few_calls_and_recovery_is_found():
    dice = random.Random(11)
    for _ in range(200):
        state, now, calls = BreakerState(), 0.0, 0
        until = dice.uniform(100, 2000)
        while now < until:
            passes, state = admitted(state, now)
            if passes:
                calls += 1
                state = failed(state, now, POLICY)
            now += dice.uniform(0.1, 2)
        assert calls <= 3 + until / POLICY.open_seconds
        while True:
            passes, state = admitted(state, now)
            if passes:
                break
            now += 1
        assert now <= until + POLICY.longest_seconds + 2
