"""How well the signs of ransomware tell attacks from ordinary days: simulated statistics of six kinds of trees.

uv run python bench/anomaly.py [--seeds N] [--days N] [--jobs N] [--real N]

Prints one row per tree and kind of attack. With `--real`, so many trees of each kind are made of files, churned, encrypted and backed
up, too. `bench/reliability.py` takes `figures`, `unseen` and `section` from here for its page.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from unittest.mock import patch

import holdfast
from holdfast.repository.retention import ANOMALY_PINS_FROM
from holdfast.runs.options import BackupOptions
from holdfast.testing.ransom import ATTACK, ATTACKS, ORDINARY, PLAIN, SLOW_DAYS, SLOW_PART, SLOWLY, TREES, Row
from holdfast.testing.ransom import figures as _figures
from holdfast.testing.ransom_trees import KINDS, WAYS, RealTree

__all__ = ["figures", "section", "unseen"]

PARTS = (0.01, 0.05, 0.25, 1.0)
MUST_PART = 0.05
"""From this part on, plain encryption must be seen."""
TEXT = """
## Ransomware signs

Simulated statistics of six kinds of trees ([anomaly.md](anomaly.md)): {days:,} runs on ordinary days of 1 to 5 % churn, with month-end
bursts, moved folders, exports, rotated logs and packed archives among them, and {attacks:,} attacks after 0, 15 and 30 such days.
How many attacks were suspicious before they were over; a slow one takes {slow_part:.0%} of the files in {slow_days} days.
`bench/anomaly.py` prints every row.

"""


def figures(seeds: int, tree: str, days: int = 100) -> list[Row]:
    """Return the rows of one kind of tree."""
    return list(_figures(seeds, trees=[tree], days=days, parts=PARTS))


def unseen(rows: Iterable[Row]) -> list[str]:
    """Return what must not be: false alarms, and attacks in plain ways that nothing saw."""
    found = [f"{row.found} false alarms on {row.tree}" for row in rows if row.what == ORDINARY and row.found]
    for row in rows:
        must = row.what == SLOWLY or (row.what == ATTACK and row.way in PLAIN and row.part >= MUST_PART)
        if must and row.found < row.runs:
            found.append(f"{row.runs - row.found} attacks unseen: {row.tree}, {row.part:.0%} {row.way}")
    return found


def section(rows: Sequence[Row]) -> str:
    """Return the part of the page on reliability."""
    attacks = sum(row.runs for row in rows if row.what != ORDINARY)
    days = sum(row.runs for row in rows if row.what == ORDINARY)
    head = ["encrypted", *(f"{part:.0%}" for part in PARTS)]
    lines = [_line(head), "|---" * len(head) + "|"]
    for way in ATTACKS:
        mine = [row for row in rows if (row.what, row.way) == (ATTACK, way)]
        lines += [_line([way, *(_part([row for row in mine if row.part == part]) for part in PARTS)])]
    head = ["tree", "ordinary runs / suspicious", "highest score", "slow attacks seen"]
    more = [_line(head), "|---" * len(head) + "|"]
    for tree in TREES:
        usual = [row for row in rows if (row.tree, row.what) == (tree, ORDINARY)]
        slow = [row for row in rows if (row.tree, row.what) == (tree, SLOWLY)]
        runs, false = sum(r.runs for r in usual), sum(r.found for r in usual)
        highest = max((r.highest for r in usual), default=0)
        more.append(_line([tree, f"{runs:,} / {false}", f"{highest}", _part(slow)]))
    text = TEXT.format(days=days, attacks=attacks, slow_part=SLOW_PART, slow_days=SLOW_DAYS)
    return text + "\n".join(lines) + "\n\n" + "\n".join(more) + "\n"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _part(rows: Sequence[Row]) -> str:
    return f"{sum(row.found for row in rows)} of {sum(row.runs for row in rows)}"


def real(kind: str, seed: int, days: int = 4) -> list[tuple[str, str, float, int, int]]:
    """Live and attack real trees of one kind; return tree, way, part, highest score before and score of the attack."""
    options, found = BackupOptions(update_catalog=False, paranoid=True), []
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.dict(os.environ, {"HOLDFAST_STATE": f"{folder}/state"}),
        holdfast.Vault.create(f"{folder}/vault", key_file=f"{folder}/key") as vault,
    ):
        for way, part in itertools.product(WAYS, (0.02, *PARTS[1:])):
            tree = RealTree(Path(folder, f"{way} {part}"), kind, seed)
            scores = []
            for _ in range(days):
                scores.append(vault.backup(tree.root, label=f"{way} {part}", options=options).anomaly.score)
                tree.churn()
            tree.attack(way, part)
            score = vault.backup(tree.root, label=f"{way} {part}", options=options).anomaly.score
            found.append((kind, way, part, max(scores), score))
    return found


def _real_lines(rows: Sequence[tuple[str, str, float, int, int]]) -> list[str]:
    highest = max(row[3] for row in rows)
    lines = [f"\nreal trees: {len(rows)}, highest score before an attack {highest}\n"]
    parts = sorted({row[2] for row in rows})
    lines += [_line(["encrypted", *(f"{part:.0%}" for part in parts)]) + "\n", "|---" * (len(parts) + 1) + "|\n"]
    for way in WAYS:
        scores = [[row[4] for row in rows if (row[1], row[2]) == (way, part)] for part in parts]
        seen = [f"{sum(score >= ANOMALY_PINS_FROM for score in each)} of {len(each)}" for each in scores]
        lines += [_line([way, *seen]) + "\n"]
    return lines


def main() -> int:
    """Print every row; 1 if something must not be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--days", type=int, default=100)
    parser.add_argument("--real", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    with ProcessPoolExecutor(asked.jobs) as pool:
        every = pool.map(figures, [asked.seeds] * len(TREES), TREES, [asked.days] * len(TREES))
        kinds = [*KINDS, "mixed"] * asked.real
        lived = pool.map(real, kinds, [at // (len(KINDS) + 1) for at in range(len(kinds))])
        rows = [row for part in every for row in part]
        trees = [row for part in lived for row in part]
    for row in rows:
        what = row.what if row.what == ORDINARY else f"{row.what}: {row.part:.0%} {row.way}"
        sys.stdout.write(
            f"{row.tree:18} {what:50} {row.found:5} of {row.runs:5}  scores {row.lowest:4} to {row.highest}\n"
        )
    sys.stdout.write(section(rows))
    if trees:
        sys.stdout.writelines(_real_lines(trees))
    wrong = unseen(rows)
    sys.stderr.write("".join(f"WRONG: {line}\n" for line in wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
