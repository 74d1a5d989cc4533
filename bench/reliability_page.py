"""What a run of bench/reliability.py found, as the page docs/reliability.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from holdfast.testing.attacks import ATTACKS
from holdfast.testing.claims import SENTENCES, row_of
from holdfast.testing.failures import FAILURES, unrecovered
from holdfast.testing.sweep import COMMANDS, WAYS, ways_of

if TYPE_CHECKING:
    from reliability import Facts

HEAD = """# Reliability: what was tried, and what came of it

Written by one command, never by hand; it goes on where it was stopped, by what is kept in `reliability.json` beside it:

    PYTHONPATH=tests:rescue:. uv run python {command}

Its parts were tried from {since} to {until}; `--anew` tries all of them again.

{verdict}

CI runs a bounded part of each and fails on any violation: `pytest tests/simulation tests/attacks tests/property
tests/integration/test_damage.py tests/integration/test_failures.py tests/integration/test_kill.py`.
"""
WORLDS = """
Hosts and pruners on one vault, interleaved at every operation on the store, over lines that fail and clocks that jump; a
fifth of the
worlds on a disk that lies about durability ([adr/0023](adr/0023-what-a-simulation-may-do.md)). After each world every
acknowledged
snapshot was whole, the next run of every host completed, a prune closed, and `check` found nothing but what a lying disk had
torn.
A world again: `python -m holdfast.testing.simulation --seed N`; more: `--first A --seeds N`.
"""
STRIKES = """
Every command is run again and again, and one operation on its stores is struck: the network ends before it (*cable*), or the way to
that store alone, where there are several (*away*), or after it took effect (*answer lost*: only what writes, for a read without
an answer is a read that was not answered), the machine loses power in it and half of an object stays (*torn*), the process dies
(*killed*: before a write, for between two writes nothing on a store differs). After each strike a host that opens the vault afresh
restored every acknowledged snapshot byte for byte (where no byte on a store had changed, the newest); a run that ended without an
error had done what was asked; what an error said after `SAFE:` was proved; the next run completed; `check` found nothing. Which
operation of the library and of the command line each of them stands for, and why the rest need none, is declared in
`holdfast.testing.sweep.surface`, and a test holds it to be complete. More: `python -m holdfast.testing.sweep [--step N] [NAME …]`.
*All* means every operation; else they are spread evenly.
"""
CLAIMS = """
What each sentence promises is declared in `holdfast.testing.claims`, as predicates over what lies on the stores and in the
target before and after, and a test holds the table complete. They are evaluated after every strike of the sweeps, and whenever
an operation fails in a test under watch (`holdfast.testing.claim_watch`); one that is not so fails the test. A sentence that
speaks of something else than a vault names who proves it instead. What could not be seen, such as a store behind a network,
counts as said only.

"""
FLIPS = """
Single bits flipped at random in every kind of object, each looked for by `check` and `verify` on a host that holds nothing
of the vault.
"""
FAILED = """
The catalogue `holdfast.testing.failures` is the denominator, fixed before measuring: {kinds} kinds of failure in {phases} phases,
of which {shown} are injected by tests (`tests/integration/test_failures.py` names the test of each). By their rates, {part:.1%} of
all failures need no person. In a simulated season ({jobs} jobs, {days} days, {runs} runs) of real scheduler, alert book and
escalation:
"""


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += [
        "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row) + " |" for row in rows
    ]
    return "\n".join(lines) + "\n"


def page(facts: Facts) -> str:
    """Return the page."""
    return "\n".join(
        (
            HEAD.format(command=facts.command, since=facts.since, until=facts.until, verdict=_verdict(facts)),
            "## Summary\n",
            _summary(facts),
            "## Simulated worlds",
            WORLDS,
            _worlds(facts),
            "## Every command, struck",
            STRIKES,
            _strikes(facts),
            "## What errors said",
            _claims(facts),
            "## Corruption",
            FLIPS,
            table(
                ("object", "bits flipped", "found"),
                [(f"`{k}/`", n, found) for k, (n, found) in sorted(facts.flips.items())],
            ),
            "## Attacks\n",
            _attacks(facts),
            "## The protocol's model\n",
            _model(facts),
            "## Failures",
            _failures(facts),
        )
    )


def _verdict(facts: Facts) -> str:
    if not facts.broken:
        return "**Nothing was lost, nothing was wrong, nothing was untrue.**"
    return "**Broken:**\n\n" + "\n".join(f"- {line}" for line in facts.broken)


def _summary(facts: Facts) -> str:
    counts, year = facts.worlds.counts, facts.year
    flipped, found = (sum(row[at] for row in facts.flips.values()) for at in (0, 1))
    rows: list[tuple[str, object, object]] = [
        ("worlds simulated / that broke", facts.worlds.worlds + len(facts.worlds.broken), len(facts.worlds.broken)),
        ("operations in them / faults injected", counts["operations"], facts.worlds.faults.total()),
        (
            "snapshots acknowledged in them / lost",
            counts["acknowledged"],
            0 if not facts.worlds.broken else "see above",
        ),
        ("commands struck / strikes", len({row[0] for row in facts.strikes}), sum(row[3] for row in facts.strikes)),
        ("of them at every operation, in every way", *_every(facts)),
        (
            "sentences after `SAFE:` that errors can say / said where something was made to fail",
            len(SENTENCES),
            len({_template(each) for each in facts.claims | facts.said.keys()}),
        ),
        (
            "times they were said there, sweeps left out / looked at and so",
            facts.said.total(),
            facts.held.total(),
        ),
        ("restores after strikes / that differed", facts.restores, 0 if not facts.broken else "see above"),
        ("bits flipped / found", flipped, found),
        ("attacks tried / refused", len(facts.attacks), sum(refused for _, refused in facts.attacks)),
        (
            "states of the protocol's model / that lose data",
            sum(n for _, n in facts.states),
            0 if not facts.broken else "see above",
        ),
        ("rules dropped from it / that then lose data", len(facts.rules), sum(bool(steps) for _, steps in facts.rules)),
    ]
    if year is not None:
        rows.append(
            (
                "failures simulated / recovered without a person",
                year.failures,
                f"{year.recovered} ({year.recovered_part:.1%})",
            )
        )
        rows.append(("failures for a person / told in time", year.for_a_person, year.alerted_in_time))
    return table(("what", "tried", "found"), rows)


def _template(sentence: str) -> str:
    """Return the row of the table that a sentence is of."""
    row = row_of(sentence)
    return next((text for text, known in SENTENCES.items() if known is row and "{}" in text), sentence)


def _claims(facts: Facts) -> str:
    said: Counter[str] = Counter()
    held: Counter[str] = Counter()
    for sentence, times in facts.said.items():
        said[_template(sentence)] += times
        held[_template(sentence)] += facts.held[sentence]
    rows = []
    for sentence, row in SENTENCES.items():
        promised = ", ".join(claim.name.lower().replace("_", " ") for claim in row.claims)
        swept = "all so" if sentence in facts.claims else "–"
        rows.append((sentence, said[sentence] or "–", held[sentence] or "–", swept, promised or row.apart))
    return CLAIMS + table(("`SAFE:`", "said", "looked at and so", "in sweeps", "what must be so"), rows)


def _every(facts: Facts) -> tuple[int, int]:
    """Return the number of commands, and of those that were struck at every operation in all ways."""
    ways: dict[str, list[bool]] = {}
    for name, _, operations, struck, *_ in facts.strikes:
        ways.setdefault(name, []).append(struck >= operations)
    every = [len(ways.get(each.name, ())) == len(ways_of(each)) and all(ways[each.name]) for each in COMMANDS]
    return len(COMMANDS), sum(every)


def _worlds(facts: Facts) -> str:
    counts = facts.worlds.counts
    names = {
        "acknowledged": "snapshots acknowledged",
        "killed": "processes killed",
        "slept": "suspensions, up to 30 simulated days",
        "clock_jumps": "clocks that jumped, up to 11 years",
        "power_cuts": "power cuts on a disk that lied",
        "told_lost": "snapshots that such a disk lost, each told by `check`",
        "runs_failed": "runs that ended with an error",
        "prunes": "prunes",
        "packs_deleted": "packs deleted",
        "repacked": "packs rewritten",
        "revoked": "sessions revoked",
        "forgotten": "snapshots forgotten",
    }
    done = table(("what happened", "times"), [(text, counts[name]) for name, text in names.items()])
    faults = table(("fault", "injected"), sorted(facts.worlds.faults.items()))
    return done + "\n" + faults


def _strikes(facts: Facts) -> str:
    by_command: dict[str, Counter[str]] = {}
    for name, way, operations, struck, died, failed, on in facts.strikes:
        row = by_command.setdefault(name, Counter())
        row.update(
            {f"{way}/n": operations, f"{way}/s": struck, "struck": struck, "died": died, "failed": failed, "on": on}
        )
    rows = []
    for command in COMMANDS:
        row = by_command.get(command.name, Counter())
        ways = [_of(row[f"{way}/s"], row[f"{way}/n"]) for way in WAYS]
        rows.append((command.name, *ways, row["died"], row["failed"], row["on"]))
    head = ("command", *(way.replace("-", " ") for way in WAYS), "died", "ended with an error", "carried on")
    return table(head, rows)


def _of(struck: int, operations: int) -> str:
    if not operations:
        return "–"
    return f"all {operations}" if struck >= operations else f"{struck} of {operations}"


def _attacks(facts: Facts) -> str:
    done = dict(facts.attacks)
    text = "Each is carried out by a function of `tests/attacks`: by whom, what, and where it is refused.\n\n"
    rows = [
        (row.name, row.holds, row.does, row.refused, "refused" if done.get(row.name) else "**not refused**")
        for row in ATTACKS
    ]
    return text + table(("attack", "who holds", "does", "refused by", "outcome"), rows)


def _model(facts: Facts) -> str:
    text = "`tests/property/test_protocol_model.py` explores every interleaving; without any one of its rules data is lost.\n\n"
    states = table(("model", "states, none of which loses data"), facts.states)
    return text + states + "\n" + table(("rule dropped", "steps to the nearest loss"), facts.rules)


def _failures(facts: Facts) -> str:
    year = facts.year
    if year is None:
        return ""
    phases = len({failure.phase for failure in FAILURES})
    text = FAILED.format(
        kinds=len(FAILURES), phases=phases, shown=facts.shown, part=1 - unrecovered(), jobs=year.jobs, days=year.days, runs=year.runs
    )  # fmt: skip
    rows = [
        ("failures that struck", year.failures),
        ("of them recovered without a person", year.recovered),
        ("for a person", year.for_a_person),
        ("of them told in time, at the right level", year.alerted_in_time),
        ("false messages", year.false_messages),
        ("lost: nobody works on it and nobody was told for a day", year.acknowledged_lost),
        ("slots without a run or a skip", year.slots_lost),
    ]
    return text + "\n" + table(("what", "number"), rows)
