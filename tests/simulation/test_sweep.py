"""Every command that writes dies at operations on its stores, in four ways; HOLDFAST_SWEEP=1 strikes every operation.

By default a few operations of each command are struck in two ways, others with each HOLDFAST_SEED. What is judged:
`holdfast.testing.sweep`.
"""

from __future__ import annotations

import os
import random

import pytest

from holdfast.errors import DamageError, StoreFullError, StoreUnreachableError
from holdfast.testing.sweep import COMMANDS, WAYS, Command, sweep
from holdfast.testing.sweep import __main__ as command_line
from holdfast.testing.sweep.run import CLAIMS, SweptError
from holdfast.testing.sweep.strike import Strike

EVERY = os.environ.get("HOLDFAST_SWEEP", "")
SEED = int(os.environ.get("HOLDFAST_SEED", "1"))
STEP = {"cable": 61, "answer-lost": 61, "torn": 9, "killed": 13}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_command_that_is_struck_loses_nothing_and_says_nothing_untrue(command):
    dice = random.Random(f"{SEED} {command.name}")
    for way in WAYS if EVERY else dice.sample(WAYS, 2):
        step = 1 if EVERY else STEP[way]
        report = sweep(command, ways=[way], step=step, first=dice.randrange(step))
        assert report.strikes == report.died + report.failed + report.carried_on
        assert report.claims <= CLAIMS.keys()


def test_names_are_unique():
    assert len({command.name for command in COMMANDS}) == len(COMMANDS)


def backup(**more):
    command = next(command for command in COMMANDS if command.name == "backup")
    told = {name: getattr(command, name) for name in ("name", "do", "done", "prepare")}
    return Command(**(told | more))


def test_a_run_that_lies_is_found_out():
    with pytest.raises(SweptError, match=r"did not|does not do") as caught:
        sweep(backup(do=lambda _g, v: v.check(), done=lambda _g, _v: False), ways=["cable"], step=40, first=39)
    assert "backup: cable at operation" in "".join(caught.value.__notes__)


def test_a_claim_that_is_not_true_is_found_out():
    def loses(ground, vault):
        for name in [n for n in ground.stores["home"].objects if n.startswith("data/")]:
            ground.stores["home"].objects.pop(name)
        return ground.backup(vault)

    with pytest.raises((SweptError, DamageError)):
        sweep(backup(do=loses), ways=["killed"], step=50, first=2)


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (DamageError("it is damaged"), "damage is told"),
        (StoreFullError("full", safe="all is well."), "nothing proves"),
        (StoreFullError("full", safe="nothing was read or written."), "not true"),
    ],
)
def test_what_an_error_says_is_proved(error, found):
    def fails(ground, vault):
        try:
            return ground.backup(vault)
        except StoreUnreachableError:
            ground.stores["home"].objects["odd/name"] = b""
            raise error from None

    with pytest.raises(SweptError, match=found):
        sweep(backup(do=fails), ways=["cable"], step=1000, first=30)


def test_the_command_line_sweeps_what_it_is_asked(capsys):
    assert command_line.main(["--step", "60", "hold"]) == 0
    assert "hold: " in capsys.readouterr().out
    assert command_line.main(["--step", "60", "no such command"]) == 2


def test_a_strike_counts_what_it_can_strike():
    assert Strike("killed").counts("put", "data/00/a")
    assert not Strike("killed").counts("get", "data/00/a")
    assert Strike("cable").counts("get", "data/00/a")
    assert Strike("torn").counts("put_new", "snapshot/a")
    assert not Strike("torn").counts("put_new", "keyring/00000000")
