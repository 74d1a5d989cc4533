"""A budget: how much of each resource may be taken. Frozen values and the arithmetic on them; None is no limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Protocol

from holdfast.base.values import dataclass

__all__ = ["UNLIMITED", "Budget", "Limited", "apply", "fair_share", "tightest"]

_WHOLE = frozenset(
    {"read_bytes_per_s", "write_bytes_per_s", "network_bytes_per_s", "operations_per_s", "threads", "memory_bytes"}
)
MEMORY_BYTES_MIN = 8 << 20
"""The engine takes no less room for packs than this."""


class Limited(Protocol):
    """What has limits that can be set while it runs: the engine's `Limits`."""

    read_bytes_per_s: int | None
    write_bytes_per_s: int | None
    network_bytes_per_s: int | None
    operations_per_s: int | None
    cpu_cores: float | None
    threads: int | None
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be taken. A rate of zero means: nothing, the run must pause."""

    read_bytes_per_s: float | None = None
    """Reading from sources and packs."""
    write_bytes_per_s: float | None = None
    """Writing to local stores and to restored files."""
    network_bytes_per_s: float | None = None
    """To and from stores over a network."""
    operations_per_s: float | None = None
    """Calls that a disk must answer."""
    cpu_cores: float | None = None
    """CPU time of the process per second: 0.5 is half a core."""
    threads: int | None = None
    """Threads that compute at the same time."""
    memory_bytes: int | None = None
    """Packs in memory; the program, its index and its queues take about 100 MiB besides."""

    @property
    def is_nothing(self) -> bool:
        """Whether any resource is down to zero, so that a run can only wait."""
        return any(value is not None and value <= 0 for value in (getattr(self, field.name) for field in fields(self)))

    @property
    def is_unlimited(self) -> bool:
        """Whether nothing is limited."""
        return self == UNLIMITED

    def scaled(self, share: float) -> Budget:
        """Return the budget with each rate multiplied; threads and memory are not rates and stay."""
        return replace(
            self,
            **{
                name: value * share
                for name in _RATES
                if (value := getattr(self, name)) is not None
            },
        )  # fmt: skip


UNLIMITED = Budget()
_RATES = ("read_bytes_per_s", "write_bytes_per_s", "network_bytes_per_s", "operations_per_s", "cpu_cores")


def tightest(*budgets: Budget) -> Budget:
    """Return the budget that keeps within all of the given ones."""
    found: dict[str, float] = {}
    for budget in budgets:
        for field in fields(Budget):
            value = getattr(budget, field.name)
            if value is not None:
                found[field.name] = min(found.get(field.name, value), value)
    return Budget(**found)  # type: ignore[arg-type]


def apply(limits: Limited, budget: Budget) -> None:
    """Set what differs. A rate below one is set to one: a run that may take nothing is paused, not starved in debt."""
    for field in fields(Budget):
        value = getattr(budget, field.name)
        wanted = value if value is None or field.name not in _WHOLE else max(1, int(value))
        if field.name == "memory_bytes" and wanted is not None:
            wanted = max(MEMORY_BYTES_MIN, wanted)
        if getattr(limits, field.name) != wanted:
            setattr(limits, field.name, wanted)


def fair_share(total: float, demands: Sequence[float], mine: int) -> float:
    """Return what one of several runs may take of a total: equal parts, and what others leave of theirs goes round.

    `demands` are the rates that the runs could use (infinite: all they get). Max-min fairness by water-filling; the sum
    of all shares is at most `total`, and no run gets less than its demand while another gets more than its own part.
    """
    left, given = total, [0.0] * len(demands)
    for place, index in enumerate(sorted(range(len(demands)), key=demands.__getitem__)):
        given[index] = min(demands[index], left / (len(demands) - place))
        left -= given[index]
    # What nobody asked for is for whoever wants more after all: a run's demand is an estimate from its past.
    return given[mine] + left / len(demands)
