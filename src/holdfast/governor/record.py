"""What a run used against what it was allowed, over time, and why it slowed: the evidence in its result. Bounded."""

from __future__ import annotations

from collections import Counter
from dataclasses import field

from holdfast.base.values import dataclass
from holdfast.governor.budget import Budget

__all__ = ["GovernorRecord", "Rates", "Recorder", "Sample", "sample_of"]

SAMPLES_MAX = 120
"""Twice as many are merged in pairs: a run of any length has a chart of at most so many points."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A stretch of the run: means of what was used, and the limits at its end. None: no limit."""

    seconds: float
    """Its end, in seconds since the run began."""
    level: float
    """Part of full speed that the controller allowed, mean."""
    pressure: float
    """Part of the application's budget for slowdown that was used, the highest; 1 is all of it."""
    held: float
    """Part of the stretch in which the run held still."""
    read_bytes_per_s: float
    write_bytes_per_s: float
    network_bytes_per_s: float
    operations_per_s: float
    cpu_cores: float
    """CPU seconds per second of the whole process."""
    read_allowed: float | None
    write_allowed: float | None
    network_allowed: float | None
    operations_allowed: float | None
    cpu_allowed: float | None


@dataclass(frozen=True, slots=True)
class GovernorRecord:
    """How a run was governed: enough for a chart, and for the question why it took so long."""

    samples: tuple[Sample, ...]
    reasons: tuple[str, ...]
    """What slowed it, most often first: `probe NAME`, `io`, `window NAME`, `operator`, `limit read`, …"""
    slowed_seconds: float
    """Time in which it was held below full speed."""
    held_seconds: float
    """Time in which it held still."""
    yields: int
    """How often it kept a checkpoint, gave its memory back and began again later."""
    changes: int
    """How often the controller changed the level by more than a fifth within a second."""
    missing: tuple[str, ...]
    """Signals that this machine does not give."""


@dataclass(slots=True)
class Recorder:
    """Collects a record while a run runs."""

    samples: list[tuple[float, Sample]] = field(default_factory=list)
    """With the seconds that each covers."""
    reasons: Counter[str] = field(default_factory=Counter)
    slowed: float = 0.0
    held: float = 0.0
    yields: int = 0
    changes: int = 0
    missing: tuple[str, ...] = ()
    stretch: float = 0.0
    """Samples shorter than this are merged with the one before."""

    def note(self, sample: Sample, seconds: float, reason: str) -> None:
        """Add what a tick saw."""
        if sample.level < 1 or sample.held > 0:
            self.slowed += seconds
        self.held += sample.held * seconds
        if reason:
            self.reasons[reason] += 1
        if self.samples and self.samples[-1][0] + seconds <= self.stretch:
            self.samples[-1] = _merged(self.samples[-1], (seconds, sample))
        else:
            self.samples.append((seconds, sample))
        if len(self.samples) >= 2 * SAMPLES_MAX:
            pairs = zip(self.samples[::2], self.samples[1::2], strict=False)
            self.samples = [_merged(first, second) for first, second in pairs]
            self.stretch = max(seconds for seconds, _ in self.samples)

    def record(self) -> GovernorRecord:
        """Return what was collected."""
        shown = self.samples
        if len(shown) > SAMPLES_MAX:
            pairs = [*zip(shown[::2], shown[1::2], strict=False)]
            shown = [_merged(first, second) for first, second in pairs] + ([shown[-1]] if len(shown) % 2 else [])
        return GovernorRecord(
            samples=tuple(sample for _, sample in shown),
            reasons=tuple(reason for reason, _ in self.reasons.most_common(10)),
            slowed_seconds=round(self.slowed, 3),
            held_seconds=round(self.held, 3),
            yields=self.yields,
            changes=self.changes,
            missing=self.missing,
        )


def _merged(first: tuple[float, Sample], second: tuple[float, Sample]) -> tuple[float, Sample]:
    (before, a), (after, b) = first, second
    total = max(before + after, 1e-9)

    def mean(name: str) -> float:
        return float((getattr(a, name) * before + getattr(b, name) * after) / total)

    return before + after, Sample(
        seconds=b.seconds,
        level=mean("level"),
        pressure=max(a.pressure, b.pressure),
        held=mean("held"),
        read_bytes_per_s=mean("read_bytes_per_s"),
        write_bytes_per_s=mean("write_bytes_per_s"),
        network_bytes_per_s=mean("network_bytes_per_s"),
        operations_per_s=mean("operations_per_s"),
        cpu_cores=mean("cpu_cores"),
        read_allowed=b.read_allowed,
        write_allowed=b.write_allowed,
        network_allowed=b.network_allowed,
        operations_allowed=b.operations_allowed,
        cpu_allowed=b.cpu_allowed,
    )


@dataclass(frozen=True, slots=True)
class Rates:
    """What a run took lately, per second."""

    read_bytes_per_s: float = 0.0
    write_bytes_per_s: float = 0.0
    network_bytes_per_s: float = 0.0
    operations_per_s: float = 0.0
    cpu_cores: float = 0.0


def sample_of(seconds: float, level: float, pressure: float, held: float, rates: Rates, budget: Budget) -> Sample:
    """Return a sample of one tick."""
    return Sample(
        seconds=round(seconds, 3),
        level=level,
        pressure=pressure,
        held=held,
        read_bytes_per_s=rates.read_bytes_per_s,
        write_bytes_per_s=rates.write_bytes_per_s,
        network_bytes_per_s=rates.network_bytes_per_s,
        operations_per_s=rates.operations_per_s,
        cpu_cores=rates.cpu_cores,
        read_allowed=budget.read_bytes_per_s,
        write_allowed=budget.write_bytes_per_s,
        network_allowed=budget.network_bytes_per_s,
        operations_allowed=budget.operations_per_s,
        cpu_allowed=budget.cpu_cores,
    )
