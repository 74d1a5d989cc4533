"""What is usual: the application's latency per hour of the week without a run beside it, learned and kept across restarts."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from statistics import median

__all__ = ["Baseline", "slot_of"]

HOURS = 168
SAMPLES_KEPT = 32
SAMPLES_ENOUGH = 5
"""Fewer say nothing about what is usual."""
FILE_BYTES_MAX = 8 << 20
SECONDS_MAX = 3600.0


def slot_of(local: datetime) -> int:
    """Return the hour of the week of a local time: 0 is Monday from midnight to one."""
    return local.weekday() * 24 + local.hour


class Baseline:
    """Samples per probe and hour of the week, the newest of each. A file that cannot be read is an empty one."""

    def __init__(self, path: Path) -> None:
        """Read what is there."""
        self._path = path
        self._samples: dict[str, dict[int, list[float]]] = {}
        self._load()

    def learn(self, probe: str, slot: int, latency: float) -> None:
        """Note a latency measured while no run pressed."""
        samples = self._samples.setdefault(probe, {}).setdefault(slot, [])
        samples.append(latency)
        del samples[:-SAMPLES_KEPT]

    def usual(self, probe: str, slot: int) -> float | None:
        """Return the median at that hour of the week; else at that hour of all days; else of all; None if too few."""
        samples = self._chosen(probe, slot)
        return median(samples) if samples else None

    def scatter(self, probe: str, slot: int) -> float:
        """Return by how much the slowest tenth of the same samples exceeds the median, at least; 0 if nothing is known."""
        samples = sorted(self._chosen(probe, slot))
        return samples[len(samples) * 9 // 10] - median(samples) if samples else 0.0

    def _chosen(self, probe: str, slot: int) -> list[float]:
        slots = self._samples.get(probe, {})
        same_hour = [sample for other, samples in slots.items() if other % 24 == slot % 24 for sample in samples]
        every = [sample for samples in slots.values() for sample in samples]
        for samples in (slots.get(slot, []), same_hour, every):
            if len(samples) >= SAMPLES_ENOUGH:
                return samples
        return []

    def by_hour(self, probe: str) -> Mapping[int, float]:
        """Return the median of each hour of the week that has enough samples."""
        slots = self._samples.get(probe, {})
        return {slot: median(samples) for slot, samples in sorted(slots.items()) if len(samples) >= SAMPLES_ENOUGH}

    def probes(self) -> tuple[str, ...]:
        """Return the names of the probes that anything is known of."""
        return tuple(sorted(self._samples))

    def save(self) -> bool:
        """Write the file, whole or not at all; return whether that could be done: it is derived, and may be lost."""
        text = json.dumps(
            {name: {str(slot): each for slot, each in slots.items()} for name, slots in self._samples.items()}
        )
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            temporary.write_text(text)
            temporary.replace(self._path)
        except OSError:
            temporary.unlink(missing_ok=True)
            return False
        return True

    def _load(self) -> None:
        try:
            if self._path.stat().st_size > FILE_BYTES_MAX:
                return
            document = json.loads(self._path.read_text())
            self._samples = {
                str(name): {
                    int(slot) % HOURS: [_sample(each) for each in samples][-SAMPLES_KEPT:]
                    for slot, samples in slots.items()
                }
                for name, slots in document.items()
            }
        except (OSError, ValueError, AttributeError, TypeError):
            self._samples = {}


def _sample(value: object) -> float:
    if not isinstance(value, int | float) or not 0 <= value <= SECONDS_MAX:
        message = "no latency"
        raise ValueError(message)
    return float(value)
