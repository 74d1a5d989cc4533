"""The reliability report: everything is tried, counted, and written to docs/reliability.md. Numbers come from the run, never by hand.

PYTHONPATH=tests:rescue:. uv run python bench/reliability.py [--seeds N] [--step N] [--flips N] [--jobs N] [--anew] [--out FILE]

What each part came to is kept beside the page (`reliability.json`) as soon as it is over: the same command goes on where it was
stopped, and tries again what broke. `--anew` begins from nothing: so it must after the code changed. `--step 1` strikes every
operation of every command. What is broken is listed in the page, and the command ends with 1. CI runs bounded parts of the same:
tests/simulation, tests/attacks, tests/property, tests/integration/test_damage.py, test_failures.py, test_anomaly.py, test_year.py.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from anomaly import figures, section, unseen
from reliability_page import page
from tests.watched import WATCHED

import holdfast
from attacks.acts import ACTS
from holdfast.errors import HoldfastError
from holdfast.testing import year
from holdfast.testing.attacks import ATTACKS
from holdfast.testing.failures import FAILURES
from holdfast.testing.ransom import TREES, Row
from holdfast.testing.simulation.count import Totals
from holdfast.testing.simulation.world import simulate
from holdfast.testing.sweep import COMMANDS, sweep, ways_of
from holdfast.testing.sweep.ground import Ground, ground
from integration import test_failures
from property.test_protocol_model import RULES, explore

ROOT = Path(__file__).resolve().parents[1]


Result = dict[str, Any]
"""What one part came to, as the file keeps it; `broken` names what broke."""
WORLDS = 50
"""Worlds in one part."""


@dataclass
class Facts:
    """What all parts found."""

    command: str
    since: str = ""
    until: str = ""
    worlds: Totals = field(default_factory=Totals)
    strikes: list[tuple[str, str, int, int, int, int, int]] = field(default_factory=list)
    """Command, way, operations, strikes, died, failed, carried on."""
    restores: int = 0
    claims: frozenset[str] = frozenset()
    """Sentences after `SAFE:` that were said and proved in sweeps."""
    said: Counter[str] = field(default_factory=Counter)
    """The same where tests make operations fail: how often, and how often something could be looked at and all of it was so."""
    held: Counter[str] = field(default_factory=Counter)
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


class Kept:
    """The file of parts that are over."""

    def __init__(self, path: Path, *, anew: bool) -> None:
        """Read it, or begin another."""
        self.path = path
        self.rows: dict[str, Result] = {} if anew or not path.exists() else json.loads(path.read_text())

    def lacks(self, key: str) -> bool:
        """Return whether a part is still to be tried: it never was, or it broke."""
        return key not in self.rows or bool(self.rows[key].get("broken"))

    def keep(self, key: str, row: Result) -> None:
        """Keep what a part came to."""
        self.rows[key] = row | {"on": f"{datetime.now(UTC):%Y-%m-%d}"}
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(self.rows[name])}" for name in sorted(self.rows))
        new = self.path.with_suffix(".new")
        new.write_text("{\n" + lines + "\n}\n")
        new.replace(self.path)


def told(error: BaseException) -> str:
    """Return an error as a line."""
    return " ".join((f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ()))).replace("\n", " ")


def worlds(first: int, number: int) -> Result:
    """Run some worlds."""
    totals, broken = Totals(), []
    for seed in range(first, first + number):
        try:
            totals.add(simulate(seed))
        except Exception as error:  # noqa: BLE001 - whatever breaks, it is reported
            totals.broken.append(seed)
            broken.append(f"world {seed}: {told(error)}")
    counts, faults = dict(totals.counts), dict(totals.faults)
    return {"worlds": totals.worlds, "counts": counts, "faults": faults, "seeds": totals.broken, "broken": broken}


def strike(name: str, way: str, step: int) -> Result:
    """Strike one command in one way."""
    command = next(each for each in COMMANDS if each.name == name)
    try:
        report = sweep(command, ways=[way], step=step)
    except Exception as error:  # noqa: BLE001 - whatever breaks, it is reported
        return {"broken": [f"{name}, {way}: {told(error)}"]}
    # Runs differ by a few operations; that every operation was struck is known when the last one did not come.
    operations = report.strikes if step == 1 else report.operations[way]
    row = (name, way, operations, report.strikes, report.died, report.failed, report.carried_on)
    return {"row": row, "restores": report.restores, "claims": sorted(report.claims)}


def saying(tests: str) -> Result:
    """Run some tests, and count what errors said in them and how much of it was so."""
    said: Counter[str] = Counter()
    held: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        noted = Path(folder, "claims")
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/{tests}"]
        told_so = {"HOLDFAST_TEST_CLAIMS": str(noted)}
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | told_so, capture_output=True, check=False, timeout=1800
        )
        for line in noted.read_text().splitlines() if noted.exists() else ():
            row = json.loads(line)
            said.update(row["said"])
            held.update(row["held"])
    broken = [f"tests/{tests}: {done.stdout.decode(errors='replace')[-500:]}"] if done.returncode else []
    return {"said": said, "held": held, "broken": broken}


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


def flips(number: int) -> Result:
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
    missed = [f"a flipped bit in {kind}/ was not found ({number})" for kind, (n, found) in counts.items() if found < n]
    return {"counts": counts, "broken": missed}


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


def carried_out(name: str) -> Result:
    """Carry out an attack; it is broken if it was not refused."""
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {"HOLDFAST_STATE": f"{folder}/state"}):
        scene = Path(folder, "attack")
        scene.mkdir()
        try:
            ACTS[name](scene)
        except Exception as error:  # noqa: BLE001 - whatever breaks, it is reported
            return {"broken": [f"attack {name}: {told(error)}"]}
    return {"refused": True}


MODELS = ((2, 2, 1), (2, 1, 2), (1, 2, 2))


def model(writers: int, pruners: int, rounds: int) -> Result:
    """Explore the protocol, whole."""
    states, steps = explore(writers=writers, pruners=pruners, rounds=rounds)
    return {"states": states, "broken": ["the model loses data"] if steps else []}


def rule(name: str) -> Result:
    """Explore the protocol without a rule."""
    _, steps = explore(name)
    return {"steps": len(steps), "broken": [] if steps else [f"the model loses nothing without {name!r}"]}


def season(jobs: int, days: int) -> Result:
    """Simulate a season over the catalogue of failures."""
    report = year.simulate(jobs=jobs, days=days, seed=1)
    misses = report.recovered_part < 0.95 or report.alerted_in_time < report.for_a_person or report.acknowledged_lost
    return asdict(report) | {"broken": ["the simulated year misses its goals"] if misses else []}


ANOMALY_SEEDS = 20


def signs(tree: str) -> Result:
    """Encrypt a simulated tree in every way, and live ordinary days on it."""
    rows = figures(ANOMALY_SEEDS, tree)
    return {"rows": [asdict(row) for row in rows], "broken": unseen(rows)}


Part = tuple[str, Any, tuple[Any, ...]]
"""Its key, its function and what that takes."""


def parts(asked: argparse.Namespace) -> Iterator[Part]:
    """Yield every part that is asked for."""
    for command in COMMANDS:
        for way in ways_of(command):
            yield f"sweep {command.name}, {way}, {asked.step}", strike, (command.name, way, asked.step)
    for first in range(asked.first, asked.first + asked.seeds, WORLDS):
        number = min(WORLDS, asked.first + asked.seeds - first)
        yield f"worlds {first:07d} {number}", worlds, (first, number)
    yield f"year {asked.year_jobs} {asked.year_days}", season, (asked.year_jobs, asked.year_days)
    for at in range(asked.flips):
        yield f"flips {at}", flips, (at,)
    for attack in ATTACKS:
        yield f"attack {attack.name}", carried_out, (attack.name,)
    for tree in TREES:
        yield f"signs {tree}", signs, (tree,)
    for tests in WATCHED:
        yield f"saying {tests}", saying, (tests,)
    for each in MODELS:
        yield f"model {each}", model, each
    for name in RULES:
        yield f"rule {name}", rule, (name,)


def _add_worlds(totals: Totals, row: Result) -> None:
    totals.worlds += row["worlds"]
    totals.counts += Counter(row["counts"])
    totals.faults += Counter(row["faults"])
    totals.broken += row["seeds"]


def _add_counts(facts: Facts, row: Result) -> None:
    facts.said.update(row.get("said", {}))
    facts.held.update(row.get("held", {}))
    for where, (tried, found) in row.get("counts", {}).items():
        before = facts.flips.get(where, (0, 0))
        facts.flips[where] = (before[0] + tried, before[1] + found)


def summed(facts: Facts, rows: dict[str, Result]) -> None:
    """Add up what the parts came to."""
    facts.shown = sum(f.name in test_failures.SHOWN or f.inject.startswith("store:") for f in FAILURES)
    days = sorted(row["on"] for row in rows.values())
    facts.since, facts.until = (days[0], days[-1]) if days else ("", "")
    for key, row in rows.items():
        facts.broken += row.get("broken", ())
        kind, _, name = key.partition(" ")
        if kind == "worlds":
            _add_worlds(facts.worlds, row)
        elif kind == "attack":
            facts.attacks.append((name, bool(row.get("refused"))))
        elif kind == "rule":
            facts.rules.append((name, row["steps"]))
        elif kind == "model":
            writers, pruners, rounds = name.strip("()").split(", ")
            facts.states.append((f"{writers} writers, {pruners} pruners, {rounds} rounds", row["states"]))
        elif kind == "signs":
            facts.anomaly += [Row(**each) for each in row["rows"]]
        elif kind == "year":
            known = {field: value for field, value in row.items() if field not in {"broken", "on"}}
            facts.year = year.YearReport(**known)
        elif kind in {"flips", "saying"}:
            _add_counts(facts, row)
        elif "row" in row:
            facts.strikes.append(tuple(row["row"]))
            facts.restores += row["restores"]
            facts.claims |= set(row["claims"])


def main() -> int:
    """Run what is not known yet; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3000)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--flips", type=int, default=20)
    parser.add_argument("--year-jobs", type=int, default=100)
    parser.add_argument("--year-days", type=int, default=90)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--anew", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "reliability.md")
    asked = parser.parse_args()
    facts = Facts(
        f"bench/reliability.py --first {asked.first} --seeds {asked.seeds} --step {asked.step}"
        f" --flips {asked.flips} --year-jobs {asked.year_jobs} --year-days {asked.year_days}"
    )
    kept, wanted, began = Kept(asked.out.with_suffix(".json"), anew=asked.anew), list(parts(asked)), time.monotonic()
    left = [part for part in wanted if kept.lacks(part[0])]
    with ProcessPoolExecutor(asked.jobs) as pool:
        running = {pool.submit(do, *given): key for key, do, given in left}
        for number, future in enumerate(as_completed(running), 1):
            key = running[future]
            kept.keep(key, future.result())
            sys.stderr.write(f"{time.monotonic() - began:7.0f} s  {number} of {len(left)}: {key}\n")
    summed(facts, {key: kept.rows[key] for key, _, _ in wanted})
    asked.out.write_text(page(facts) + section(facts.anomaly))
    sys.stderr.write("".join(f"BROKEN: {line}\n" for line in facts.broken))
    return 1 if facts.broken else 0


if __name__ == "__main__":
    sys.exit(main())
