"""Which pause follows which failure is a pure function; the layer that sleeps keeps to it, on a clock of the test's own."""

from __future__ import annotations

import random

import pytest

from holdfast.base.environment import ManualClock
from holdfast.errors import (
    BreakerOpenError,
    DamageError,
    HoldfastError,
    InternalError,
    Retry,
    StoreFullError,
    StoreRefusedError,
    StoreUnreachableError,
)
from holdfast.reliability.retry import POLICIES, Retrying, RetryPolicy, kind_of_failure, pause_before

POLICY = RetryPolicy(attempts=4, first_seconds=1, longest_seconds=8, budget_seconds=20)


class BusyError(HoldfastError):
    code = "application-busy"
    retry = Retry.LATER


class SlowDownError(HoldfastError):
    code = "slow-down"
    retry = Retry.LATER


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (StoreUnreachableError("x"), "store-unreachable"),
        (StoreUnreachableError("x", retry_after_seconds=3), "store-throttled"),
        (StoreUnreachableError("x", retry_after_seconds=-3), "store-unreachable"),
        (StoreUnreachableError("x", retry_after_seconds="soon"), "store-unreachable"),
        (StoreUnreachableError("x", retry_after_seconds=float("nan")), "store-unreachable"),
        (BreakerOpenError("x"), "final"),
        (StoreFullError("x", retry_after_seconds=3), "final"),
        (StoreRefusedError("x"), "final"),
        (BusyError("x"), "application-busy"),
        (SlowDownError("x", retry_after_seconds=1), "store-throttled"),
        (SlowDownError("x"), "final"),
        (DamageError("x"), "final"),
        (InternalError("x"), "final"),
        (ValueError("x"), "final"),
    ],
)
def test_every_failure_has_a_kind(error, kind):
    assert kind_of_failure(error) == kind
    assert kind in POLICIES


@pytest.mark.parametrize(
    ("attempt", "elapsed", "dice", "asked", "pause"),
    [
        (1, 0, 1.0, 0, 1),
        (1, 0, 0.0, 0, 0.5),
        (2, 0, 1.0, 0, 2),
        (3, 0, 1.0, 0, 4),
        (4, 0, 1.0, 0, None),  # attempts are over
        (1, 19.5, 1.0, 0, None),  # the budget is over
        (1, 19, 1.0, 0, 1),
        (1, 0, 0.0, 7.5, 7.5),  # what was asked for is kept
        (1, 0, 0.0, 21, None),  # and does not fit
        (3, 0, 1.0, 1, 4),
    ],
)
def test_the_pause_is_a_table(attempt, elapsed, dice, asked, pause):
    found = pause_before(POLICY, attempt=attempt, elapsed_seconds=elapsed, dice=dice, asked_seconds=asked)
    assert found == pause


def test_no_policy_waits_longer_than_its_budget_or_tries_more_than_its_attempts():
    dice = random.Random(7)
    for policy in POLICIES.values():
        for _ in range(200):
            waited, attempt = 0.0, 1
            while (
                pause := pause_before(policy, attempt=attempt, elapsed_seconds=waited, dice=dice.random())
            ) is not None:
                assert 0 < pause <= policy.longest_seconds
                waited, attempt = waited + pause, attempt + 1
            assert waited <= policy.budget_seconds
            assert attempt <= policy.attempts


def failing(errors):
    left = list(errors)

    def action():
        if left:
            raise left.pop(0)
        return "done"

    return action


def test_it_tries_sleeps_and_tells():
    clock = ManualClock()
    heard = []
    retrying = Retrying(clock.environment(), {"store-unreachable": POLICY}, lambda *told: heard.append(told))
    errors = [StoreUnreachableError("a"), StoreUnreachableError("b", retry_after_seconds=5)]
    assert retrying.call(failing(errors)) == "done"
    assert len(clock.slept) == 2
    assert clock.slept[1] >= 5
    assert [(code, attempt) for code, attempt, _ in heard] == [("store-unreachable", 1), ("store-unreachable", 2)]


def test_it_gives_up_with_the_last_error_and_says_how_often_it_tried():
    clock = ManualClock()
    retrying = Retrying(clock.environment(), {"store-unreachable": POLICY})
    with pytest.raises(StoreUnreachableError, match="3") as caught:
        retrying.call(failing([StoreUnreachableError(str(n)) for n in range(9)]))
    assert caught.value.facts["attempts"] == 4
    clock.slept.clear()
    with pytest.raises(StoreFullError) as full:
        retrying.call(failing([StoreFullError("full")]))
    assert full.value.facts["attempts"] == 1
    with pytest.raises(ValueError, match="not ours"):
        retrying.call(failing([ValueError("not ours")]))
    assert clock.slept == []
