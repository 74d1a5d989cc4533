"""The reliability report: everything is tried, counted, and written to docs/reliability.md. Numbers come from the run, never by hand.

PYTHONPATH=tests:rescue:. uv run python bench/reliability.py [--seeds N] [--sweep-seconds S] [--flips N] [--jobs N] [--out FILE]

What is broken is listed in the page, and the command ends with 1. CI runs bounded parts of the same: tests/simulation, tests/attacks,
tests/property, tests/integration/test_damage.py, test_failures.py, test_anomaly.py and test_year.py.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from anomaly import figures, section, unseen
from reliability_page import page

import holdfast
from attacks.acts import ACTS
from holdfast.errors import HoldfastError
from holdfast.testing import year
from holdfast.testing.attacks import ATTACKS
from holdfast.testing.failures import FAILURES
from holdfast.testing.ransom import TREES, Row
from holdfast.testing.simulation.count import Totals
from holdfast.testing.simulation.world import simulate
from holdfast.testing.sweep import COMMANDS, WAYS, Command, sweep
from holdfast.testing.sweep.ground import Ground, ground
from integration import test_failures
from property.test_protocol_model import RULES, explore

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Facts:
    """What the run found."""

    command: str
    worlds: Totals = field(default_factory=Totals)
    strikes: list[tuple[str, str, int, int, int, int, int]] = field(default_factory=list)
    """Command, way, operations, strikes, died, failed, carried on."""
    restores: int = 0
    flips: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Kind of object: bits flipped, found."""
    attacks: list[tuple[str, bool]] = field(default_factory=list)
    states: list[tuple[str, int]] = field(default_factory=list)
    rules: list[tuple[str, int]] = field(default_factory=list)
    """Rule dropped, steps to the nearest loss."""
    year: year.YearReport | None = None
    anomaly: list[Row] = field(default_factory=list)
    shown: int = 0
    broken: list[str] = field(default_factory=list)
    seconds: float = 0.0


def part(seeds: range) -> Totals:
    """Run some worlds."""
    totals = Totals()
    for seed in seeds:
        try:
            totals.add(simulate(seed))
        except Exception as error:  # noqa: BLE001 - whatever breaks, it is reported
            totals.broken.append(seed)
            sys.stderr.write(f"seed {seed}: {error}\n")
    return totals


def strike(
    which: tuple[int, str], share: float
) -> tuple[list[tuple[str, str, int, int, int, int, int]], int, list[str]]:
    """Strike one command in one way; the first strikes say how many there is time for."""
    command: Command = COMMANDS[which[0]]
    way = which[1]
    began = time.monotonic()
    try:
        probe = sweep(command, ways=[way], step=1 << 20)
        took = max(0.05, time.monotonic() - began)
        count = probe.operations.get(way, 0)
        step = max(1, round(count * took / 2 / max(share, 0.1)))
        report = sweep(command, ways=[way], step=step) if count else probe
    except Exception as error:  # noqa: BLE001 - whatever breaks, it is reported
        return [], 0, [f"{command.name}, {way}: {error} {' '.join(getattr(error, '__notes__', ()))}"]
    row = (command.name, way, count, report.strikes, report.died, report.failed, report.carried_on)
    return [row], report.restores, []


def lived_in(place: Ground) -> None:
    """A vault with every kind of object."""
    for name in ("phi/a", "phi/b", "imaging/c"):
        place.write(name)
    place.create()
    with place.open() as vault:
        for version in range(4):
            place.write("phi/a", version)
            place.backup(vault)
            place.pass_days(1)
        vault.hold("latest", reason="a report")
        vault.forget(holdfast.RetentionPolicy(last=2))
        vault.prune(undo_days=0, repack_below=0.9)
        vault.enroll_writer("host")
        vault.verify()


def flips(number: int) -> dict[str, tuple[int, int]]:
    """Flip a bit in every kind of object in turn; `check` or `verify` on a fresh host must find each. Counts by kind."""
    dice, counts = random.Random(number), {}
    with ground() as place:
        lived_in(place)
        objects = place.stores["home"].objects
        kinds: dict[str, list[str]] = {}
        for name in sorted(objects):
            if not name.startswith("probe/"):
                kinds.setdefault(name.split("/")[0], []).append(name)
        for kind, names in kinds.items():
            name = dice.choice(names)
            good, at = objects[name], dice.randrange(len(objects[name]))
            objects[name] = good[:at] + bytes([good[at] ^ 1 << dice.randrange(8)]) + good[at + 1 :]
            counts[kind] = (1, int(inspected(place)))
            objects[name] = good
    return counts


def inspected(place: Ground) -> bool:
    """Whether a host that knows nothing of the vault finds damage."""
    state = os.environ["HOLDFAST_STATE"]
    with tempfile.TemporaryDirectory() as fresh:
        os.environ["HOLDFAST_STATE"] = fresh
        try:
            with place.open() as vault:
                return not (vault.check().sound and vault.verify(mark_damaged=False).sound)
        except HoldfastError:
            return True
        finally:
            os.environ["HOLDFAST_STATE"] = state


def carried_out(name: str) -> str:
    """Carry out an attack; return what went wrong, empty if it was refused."""
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {"HOLDFAST_STATE": f"{folder}/state"}):
        scene = Path(folder, "attack")
        scene.mkdir()
        try:
            ACTS[name](scene)
        except Exception as error:  # noqa: BLE001 - whatever breaks, it is reported
            return f"attack {name}: {type(error).__name__}: {error}"
    return ""


MODELS = ((2, 2, 1), (2, 1, 2), (1, 2, 2))


def explored(which: tuple[int, int, int] | str) -> tuple[int, int]:
    """Explore the protocol, whole or without a rule; return the states, and the steps to the nearest loss."""
    if isinstance(which, str):
        states, steps = explore(which)
    else:
        states, steps = explore(writers=which[0], pruners=which[1], rounds=which[2])
    return states, len(steps)


def judge_models(facts: Facts, found: list[tuple[int, int]]) -> None:
    """Judge what was explored."""
    for (writers, pruners, rounds), (states, steps) in zip(MODELS, found, strict=False):
        facts.states.append((f"{writers} writers, {pruners} pruners, {rounds} rounds", states))
        if steps:
            facts.broken.append("the model loses data")
    for rule, (_, steps) in zip(RULES, found[len(MODELS) :], strict=True):
        facts.rules.append((rule, steps))
        if not steps:
            facts.broken.append(f"the model loses nothing without {rule!r}")


def failures(facts: Facts, jobs: int, days: int) -> None:
    """Simulate a season over the catalogue of failures."""
    facts.year = year.simulate(jobs=jobs, days=days, seed=1)
    shown = Counter(f.name in test_failures.SHOWN or f.inject.startswith("store:") for f in FAILURES)
    facts.shown = shown[True]
    report = facts.year
    if report.recovered_part < 0.95 or report.alerted_in_time < report.for_a_person or report.acknowledged_lost:
        facts.broken.append("the simulated year misses its goals")


def main() -> int:
    """Run everything; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3000)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--sweep-seconds", type=float, default=240)
    parser.add_argument("--flips", type=int, default=20)
    parser.add_argument("--year-jobs", type=int, default=100)
    parser.add_argument("--year-days", type=int, default=90)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "reliability.md")
    asked = parser.parse_args()
    facts = Facts(
        f"bench/reliability.py --first {asked.first} --seeds {asked.seeds} --sweep-seconds {asked.sweep_seconds:g}"
        f" --flips {asked.flips} --year-jobs {asked.year_jobs} --year-days {asked.year_days}"
    )
    began = time.monotonic()
    pairs = [(command, way) for command in range(len(COMMANDS)) for way in WAYS]
    parts = [range(asked.first + at, asked.first + asked.seeds, 50) for at in range(min(50, asked.seeds))]
    share = asked.sweep_seconds * asked.jobs / len(pairs)
    with ProcessPoolExecutor(asked.jobs) as pool:
        models = pool.map(explored, [*MODELS, *RULES])
        struck = pool.map(strike, pairs, [share] * len(pairs))
        lived = pool.map(part, parts)
        flipped = pool.map(flips, range(asked.flips))
        attacked = pool.map(carried_out, [row.name for row in ATTACKS])
        judged = pool.map(figures, [20] * len(TREES), TREES)
        failures(facts, asked.year_jobs, asked.year_days)
        for rows, restores, broken in struck:
            facts.strikes += rows
            facts.restores += restores
            facts.broken += broken
        for totals in lived:
            facts.worlds.worlds += totals.worlds
            facts.worlds.counts += totals.counts
            facts.worlds.faults += totals.faults
            facts.worlds.broken += totals.broken
        for counts in flipped:
            for kind, (tried, found) in counts.items():
                before = facts.flips.get(kind, (0, 0))
                facts.flips[kind] = (before[0] + tried, before[1] + found)
        results = list(attacked)
        facts.anomaly = [row for rows in judged for row in rows]
        facts.attacks = [(row.name, not wrong) for row, wrong in zip(ATTACKS, results, strict=True)]
        judge_models(facts, list(models))
    facts.broken += [wrong for wrong in results if wrong]
    facts.broken += unseen(facts.anomaly)
    facts.broken += [f"world {seed}" for seed in facts.worlds.broken]
    facts.broken += [f"flipped bits in {kind}/ were not found" for kind, (n, found) in facts.flips.items() if found < n]
    facts.seconds = time.monotonic() - began
    asked.out.write_text(page(facts) + section(facts.anomaly))
    sys.stderr.write("".join(f"BROKEN: {line}\n" for line in facts.broken))
    return 1 if facts.broken else 0


if __name__ == "__main__":
    sys.exit(main())
