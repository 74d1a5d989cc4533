"""Seeded worlds in which everything goes wrong, and an oracle that says what must be true all the same.

`simulate` runs one world on the stand-in engine: hosts and pruners that interleave at every operation on the store
(:mod:`.world`). The real engine is struck command by command in :mod:`holdfast.testing.sweep`.

A seed that breaks an invariant is named by the error, and comes again by one command::

    python -m holdfast.testing.simulation --seed 4711
    python -m holdfast.testing.simulation --seeds 10000 --first 0
"""

from __future__ import annotations

from holdfast.testing.simulation.oracle import ViolationError
from holdfast.testing.simulation.world import WorldReport, simulate

__all__ = ["ViolationError", "WorldReport", "simulate"]
