"""Exit codes: what each says, and which one counts when several apply."""

from __future__ import annotations

__all__ = ["EXIT_CODES", "combined"]

EXIT_CODES = {
    0: "complete",
    1: "failed",
    2: "usage or configuration",
    3: "partial: committed, with findings",
    4: "damage found",
    5: "no such vault or snapshot",
    6: "wrong key or not permitted",
    7: "store unreachable, full or refusing",
    8: "drill missed its objective",
    9: "paused by its window or an operator, checkpoint kept",
    130: "interrupted by SIGINT, checkpoint kept",
    143: "interrupted by SIGTERM, checkpoint kept",
}

_ORDER = (130, 143, 4, 7, 1, 6, 5, 2, 8, 9, 3)


def combined(*codes: int) -> int:
    """Return the code that counts: damage before store before failure before partial; a signal before all."""
    for code in _ORDER:
        if code in codes:
            return code
    return max(codes, default=0)
