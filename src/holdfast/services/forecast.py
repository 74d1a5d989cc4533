"""How long a service would take to come back at a given size, from the drills there have been. Pure arithmetic.

The model is one line per drill phase, ``seconds = fixed + bytes x slope``, both at least zero, fitted by least squares over
the drills (the newest weigh more, by half per `HALF_LIFE` drills). Where the sizes drilled differ too little to tell the two
apart, the phases that move data are taken as proportional, and the others (locate, keys, start of the application, service
check) as fixed: an error of that assumption makes the forecast longer, not shorter, for a growing service. Within one drill
the time before the first byte arrived is known and counts as fixed.

The uncertainty is the larger of what the fit leaves (a prediction interval of about 90 %, Student's t with n - 2 degrees of
freedom) and a floor that grows with how far the size lies outside what was drilled: 10 % inside, 10 % more per factor of ten.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["MOVING", "Forecast", "Sample", "forecast"]

MOVING = frozenset({"fetch", "rehydrate"})
"""Phases that take longer with more data when nothing else is known."""
HALF_LIFE = 6
SPREAD_MIN = 1.5
"""Sizes must differ by this factor before a slope is fitted."""
FLOOR = 0.10
FLOOR_PER_DECADE = 0.10
ALONE = 0.25
"""The least uncertainty with fewer than three drills."""
T90 = (6.31, 2.92, 2.35, 2.13, 2.02, 1.94, 1.89, 1.86, 1.83, 1.81)
"""Student's t, 90 % two-sided, for 1, 2, … degrees of freedom."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One drill: how much data, and how long each phase took. `first_byte` is the part of `fetch` before data arrived."""

    bytes: int
    phases: Mapping[str, float]
    first_byte: float = 0.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """How long it would take, and between which bounds that is believed with about 90 %. Seconds."""

    seconds: float
    low: float
    high: float
    bytes: int
    samples: int

    @property
    def uncertainty(self) -> float:
        """Half the width of the interval, as a fraction of the forecast."""
        return (self.high - self.low) / 2 / self.seconds if self.seconds > 0 else 0.0

    def at_risk(self, objective: float) -> bool:
        """Whether the objective may be missed: the upper bound lies beyond it."""
        return self.high > objective


def forecast(samples: Sequence[Sample], size: int) -> Forecast | None:
    """Return the forecast for `size` bytes from drills, oldest first; None without any."""
    if not samples:
        return None
    names = sorted({name for sample in samples for name in sample.phases})
    seconds, variance = 0.0, 0.0
    for name in names:
        phase, error = _phase(name, [sample for sample in samples if name in sample.phases], size)
        seconds += phase
        variance += error * error
    largest, smallest = max(sample.bytes for sample in samples), min(sample.bytes for sample in samples)
    beyond = max(size / largest if largest else 1.0, smallest / size if size else 1.0, 1.0)
    floor = (FLOOR if len(samples) >= 3 else ALONE) + FLOOR_PER_DECADE * math.log10(beyond)  # noqa: PLR2004 - two points leave no rest
    half = max(math.sqrt(variance), floor * seconds)
    return Forecast(seconds, max(0.0, seconds - half), seconds + half, size, len(samples))


def _phase(name: str, samples: Sequence[Sample], size: int) -> tuple[float, float]:
    """Return the forecast of one phase and the half width of its interval."""
    weights = [0.5 ** ((len(samples) - 1 - place) / HALF_LIFE) for place in range(len(samples))]
    sizes = [float(sample.bytes) for sample in samples]
    times = [sample.phases[name] for sample in samples]
    if max(sizes) >= SPREAD_MIN * max(1.0, min(sizes)):
        fixed, slope = _line(sizes, times, weights)
    elif name in MOVING and max(sizes) > 0:
        heads = [min(sample.first_byte, sample.phases[name]) for sample in samples]
        fixed = _mean(heads, weights)
        slope = (_mean(times, weights) - fixed) / _mean(sizes, weights)
    else:
        fixed, slope = _mean(times, weights), 0.0
    return fixed + slope * size, _interval(sizes, times, fixed, slope, size)


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    return sum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)


def _line(sizes: Sequence[float], times: Sequence[float], weights: Sequence[float]) -> tuple[float, float]:
    """Fit a line with neither a negative time at nothing nor a negative slope."""
    x, y = _mean(sizes, weights), _mean(times, weights)
    spread = sum(w * (size - x) ** 2 for w, size in zip(weights, sizes, strict=True))
    slope = sum(w * (size - x) * (time - y) for w, size, time in zip(weights, sizes, times, strict=True)) / spread
    if slope <= 0:
        return y, 0.0
    fixed = y - slope * x
    if fixed >= 0:
        return fixed, slope
    # Through the origin: a time below nothing at no data at all makes no sense.
    through = sum(w * size * time for w, size, time in zip(weights, sizes, times, strict=True))
    return 0.0, through / sum(w * size * size for w, size in zip(weights, sizes, strict=True))


def _interval(sizes: Sequence[float], times: Sequence[float], fixed: float, slope: float, size: float) -> float:
    """Return the half width of the prediction interval; 0 where nothing is left to estimate it from."""
    degrees = len(sizes) - 2
    if degrees < 1:
        return 0.0
    rest = sum((time - fixed - slope * at) ** 2 for at, time in zip(sizes, times, strict=True))
    mean = sum(sizes) / len(sizes)
    spread = sum((at - mean) ** 2 for at in sizes)
    lever = 1 + 1 / len(sizes) + ((size - mean) ** 2 / spread if spread > 0 and slope > 0 else 0.0)
    return T90[min(degrees, len(T90)) - 1] * math.sqrt(rest / degrees * lever)
