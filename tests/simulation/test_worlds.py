"""Seeded worlds: hosts and pruners interleaved at every operation, over lines that fail and clocks that jump; nothing is lost.

HOLDFAST_SEEDS=20000 tries more, HOLDFAST_SEED=N begins elsewhere. A failing seed is in the error, and comes again by
`python -m holdfast.testing.simulation --seed N`.
"""

from __future__ import annotations

import os
import random

import pytest

from holdfast.errors import StoreFullError, StoreUnreachableError
from holdfast.repository.prune import PruneOptions
from holdfast.repository.prune_plan import plan_deletion
from holdfast.testing.faults import Crash
from holdfast.testing.simulation import ViolationError, simulate
from holdfast.testing.simulation import __main__ as command
from holdfast.testing.simulation import world as worlds
from holdfast.testing.simulation.baton import Baton
from holdfast.testing.simulation.count import Totals
from holdfast.testing.simulation.store import FAULTS, Disk, Line, Rates

FIRST = int(os.environ.get("HOLDFAST_SEED", "1"))
SEEDS = int(os.environ.get("HOLDFAST_SEEDS", "2000"))
PARTS = 10


@pytest.mark.parametrize("part", range(PARTS))
def test_no_world_loses_anything(part):
    totals = Totals()
    for seed in range(FIRST + part, FIRST + SEEDS, PARTS):
        totals.add(simulate(seed))
    counts = totals.counts
    assert totals.worlds == len(range(FIRST + part, FIRST + SEEDS, PARTS))
    if totals.worlds >= 100:
        # Something happened of each kind, or the worlds prove less than they seem to.
        assert set(totals.faults) >= set(FAULTS) - {"undeleted", "lost-unsynced", "torn-unsynced"}
        for name in ("acknowledged", "killed", "slept", "prunes", "packs_deleted", "forgotten", "clock_jumps"):
            assert counts[name] > 0, name


def test_the_same_seed_is_the_same_world():
    first, again, other = simulate(7), simulate(7), simulate(8)
    assert first == again
    assert first.digest != other.digest


def test_a_pruner_that_does_not_mark_again_is_found_out(monkeypatch):
    """The oracle sees what it is there to see: without the second mark, a pack that is needed goes."""

    def everything(table, live, condemned):
        plan_deletion(table, live, condemned)
        return tuple(sorted(set(condemned)))

    monkeypatch.setattr("holdfast.repository.prune.plan_deletion", everything)

    def many():
        for seed in range(1, 400):
            simulate(seed)

    with pytest.raises(ViolationError, match=r"needs it|lacks|damage was told"):
        many()


def test_a_command_names_the_seed_that_breaks(monkeypatch, capsys):
    def broken(seed):
        if seed == 3:
            error = ViolationError("a snapshot is gone")
            error.add_note("the last operations: none")
            raise error
        return simulate(seed)

    monkeypatch.setattr(command, "simulate", broken)
    assert command.main(["--first", "2", "--seeds", "2"]) == 1
    out = capsys.readouterr()
    assert "--seed 3" in out.err
    assert "worlds: 2\nbroken: 1 [3]" in out.out
    assert command.main(["--seed", "3"]) == 1
    assert "the last operations: none" in capsys.readouterr().err
    assert command.main(["--seed", "5"]) == 0
    assert "broken: 0" in capsys.readouterr().out


def line(disk: Disk) -> Line:
    return Line(disk, Baton(), lambda _what, _outcome: None)


@pytest.mark.parametrize(
    ("fault", "raised", "there"),
    [
        ("away", True, False),
        ("dropped", True, False),
        ("answer_lost", True, True),
        ("late", True, False),
        ("twice", False, True),
    ],
)
def test_each_fault_is_what_it_says(fault, raised, there):
    disk = Disk(random.Random(1), {})
    setattr(disk.rates, fault, 1.0)
    if raised:
        with pytest.raises(StoreUnreachableError):
            line(disk).put("data/00/a", b"x")
    else:
        line(disk).put("data/00/a", b"x")
    assert ("data/00/a" in disk.objects) is there
    disk.objects.pop("data/00/a", None)
    disk.arrive(everything=True)
    assert ("data/00/a" in disk.objects) is (fault in {"late", "twice"})


def test_storms_and_full_disks_pass():
    disk = Disk(random.Random(1), {})
    disk.storm = 1
    with pytest.raises(StoreUnreachableError):
        line(disk).size("vault")
    disk.full = 1
    with pytest.raises(StoreFullError):
        line(disk).put("data/00/a", b"x")
    line(disk).put("data/00/a", b"x")
    assert line(disk).get_range("data/00/a", 0, 9) == b"x"
    assert line(disk).exists()


def test_a_disk_that_lies_loses_only_what_was_not_flushed():
    fates = set()
    for seed in range(30):
        disk = Disk(random.Random(seed), {"data/00/old": b"old", "data/00/going": b"going"}, lies=True)
        disk.put("data/00/kept", b"kept")
        disk.flush()
        disk.put("data/00/new", b"new")
        disk.delete("data/00/going")
        disk.power_cut()
        assert disk.objects["data/00/old"] == b"old"
        assert disk.objects["data/00/kept"] == b"kept"
        fates.add(
            (disk.objects.get("data/00/new") == b"new", "data/00/new" in disk.torn, "data/00/going" in disk.objects)
        )
    assert len(fates) >= 4
    with pytest.raises(AssertionError, match="loses nothing"):
        Disk(random.Random(1), {}).power_cut()


def test_the_baton_has_one_holder_and_a_dead_actor_acts_no_more():
    baton, done = Baton(), list[int | str]()

    def action():
        try:
            for step in range(3):
                baton.pause()
                done.append(step)
        finally:
            baton.pause()  # a handler of a dead process: it has no effect
            done.append("after")

    actor = baton.start("one", action)
    assert baton.turn(actor)
    assert baton.turn(actor)
    baton.kill(actor)
    assert done == [0]
    assert actor.over
    assert not baton.turn(actor)
    baton.pause()  # nobody holds the baton: the caller goes on

    def failing():
        raise ViolationError("broken")

    with pytest.raises(ViolationError):
        baton.turn(baton.start("two", failing))
    never = baton.start("three", action)
    baton.kill(never)
    assert done == [0]
    with pytest.raises(Crash):
        raise Crash


def test_a_world_that_does_not_come_to_rest_is_a_violation(monkeypatch):
    monkeypatch.setattr(worlds, "TURNS_MAX", 10)
    with pytest.raises(ViolationError, match="come to rest") as caught:
        simulate(1)
    assert "seed 1; the last operations" in "\n".join(caught.value.__notes__)


def test_the_options_are_those_of_an_operator():
    assert isinstance(worlds.PATIENT, PruneOptions)
    assert worlds.PATIENT.unsafe_undo_delay.days == 7
    assert Rates().away == 0
