"""What many worlds came to, added up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields

from holdfast.testing.simulation.world import WorldReport

__all__ = ["Totals"]


@dataclass(slots=True)
class Totals:
    """Sums over worlds that held, and the seeds of those that did not."""

    worlds: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    broken: list[int] = field(default_factory=list)

    def add(self, report: WorldReport) -> None:
        """Add a world."""
        self.worlds += 1
        self.faults.update({name: count for name, count in report.faults.items() if count})
        for each in fields(report):
            value = getattr(report, each.name)
            if isinstance(value, int) and each.name != "seed":
                self.counts[each.name] += value

    def text(self) -> str:
        """Return it as lines."""
        lines = [
            f"worlds: {self.worlds + len(self.broken)}",
            f"broken: {len(self.broken)} {self.broken or ''}".rstrip(),
        ]
        lines += [f"{name}: {count}" for name, count in sorted(self.counts.items())]
        lines += [f"fault {name}: {count}" for name, count in sorted(self.faults.items())]
        return "\n".join(lines) + "\n"
