"""What came of a simulated year: counts, and the share of failures that no person was needed for."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

__all__ = ["YearReport"]


@dataclass(slots=True)
class YearReport:
    """What came of a simulated year. Counts of failures are of those that struck a run, a host or a channel."""

    seed: int
    jobs: int
    days: int
    runs: int = 0
    attempts: int = 0
    failures: int = 0
    recovered: int = 0
    """Failures that ended without a person: nobody was told, and the slot's run succeeded."""
    for_a_person: int = 0
    """Failures that only a person could end, and long ones that outlasted every retry."""
    alerted_in_time: int = 0
    """Of those: told to a contact of the right level, within the table's patience and twenty minutes."""
    messages: int = 0
    false_messages: int = 0
    """Messages about something that ended by itself, or that nothing was wrong with."""
    repeated_early: int = 0
    """Messages of an alert to a contact who was told within its repeat, though nothing had changed."""
    channel_failures: int = 0
    forgotten: int = 0
    """Alerts that somebody took on and did nothing about."""
    forgotten_told_again: int = 0
    """Of those that lasted a day: told anew."""
    acknowledged_lost: int = 0
    """Failures that last, that nobody works on, and that nobody was told of for more than a day: there must be none."""
    slots_lost: int = 0
    """Slots without a run or a skip in the book."""
    slots_doubled: int = 0
    late: list[str] = field(default_factory=list)
    """The failures that were not told in time, by name."""
    false: list[str] = field(default_factory=list)
    """The false messages, by code."""

    @property
    def recovered_part(self) -> float:
        """The part of all failures that ended without a person, 0 to 1."""
        return self.recovered / self.failures if self.failures else 1.0

    def text(self) -> str:
        """Return it as lines."""
        lines = [f"{each.name}: {getattr(self, each.name)}" for each in fields(self)]
        return "\n".join([*lines, f"recovered without a person: {self.recovered_part:.2%}"])
