"""`python -m holdfast.testing.simulation`: run seeds, print what happened, end with 1 and the seed if an invariant breaks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from holdfast.testing.simulation.count import Totals
from holdfast.testing.simulation.world import simulate

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m holdfast.testing.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this seed alone and print its last operations if it fails")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    asked = parser.parse_args(arguments)
    seeds = range(asked.first, asked.first + asked.seeds) if asked.seed is None else [asked.seed]
    totals = Totals()
    for seed in seeds:
        try:
            totals.add(simulate(seed))
        except Exception as error:  # noqa: BLE001 - whatever breaks, its seed is what counts
            totals.broken.append(seed)
            sys.stderr.write(f"seed {seed}: {type(error).__name__}: {error}\n")
            if asked.seed is not None:
                sys.stderr.write("\n".join(getattr(error, "__notes__", ())) + "\n")
            sys.stderr.write(f"again: python -m holdfast.testing.simulation --seed {seed}\n")
    sys.stdout.write(totals.text())
    return 1 if totals.broken else 0


if __name__ == "__main__":  # pragma: no cover - the line that calls main
    sys.exit(main())
