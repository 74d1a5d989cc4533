"""What the machine says about its load: stalls, disks, run queue, memory, network; and what probes measured.

Each source may be absent (an old kernel, a container, no permission): its field is None and its name in `missing`; the
controller works with the rest. Sources: `Documentation/accounting/psi.rst` and `Documentation/admin-guide/iostats.rst`
of the Linux kernel, proc(5).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Literal

from holdfast.base.values import dataclass

__all__ = ["Counters", "ProbeReading", "ProbeState", "Signals", "compare", "read_counters", "read_text"]

ProbeState = Literal["learning", "well", "hanging", "failing"]
_WHOLE_DISK = re.compile(r"(sd[a-z]+|vd[a-z]+|xvd[a-z]+|nvme\d+n\d+|mmcblk\d+|dasd[a-z]+)")
_FILE_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class ProbeReading:
    """What a probe of the application found last."""

    name: str
    state: ProbeState
    """`learning`: it answers, and what is usual is not known yet; `hanging`: it has not answered within its time-out."""
    latency: float | None = None
    """Seconds that the application took."""
    usual: float | None = None
    """Seconds that it takes at this hour of the week without a run; None while that is not known."""
    scatter: float = 0.0
    """Seconds that it often takes longer even so, by itself: so much is nobody's doing."""

    @property
    def slowdown(self) -> float | None:
        """How much longer it took than is usual, as a part of the usual: 0.1 is 10 % slower, 0 no slower than it often is."""
        if self.latency is None or not self.usual or self.state != "well":
            return None
        return max(0.0, self.latency - self.usual - self.scatter) / self.usual


@dataclass(frozen=True, slots=True)
class Signals:
    """The load over the last interval. Shares are 0 … 1, latencies seconds; None where the machine does not say."""

    cpu_stall: float | None = None
    """Part of the time in which some task waited for a CPU."""
    io_stall: float | None = None
    memory_stall: float | None = None
    disk_busy: float | None = None
    """Part of the time in which the busiest disk had requests."""
    disk_latency: float | None = None
    """Mean time of a request at the slowest disk."""
    cpu_busy: float | None = None
    """Part of all cores' time that was used, this process included."""
    run_queue: int | None = None
    """Tasks that run or could run."""
    memory_available: float | None = None
    """Part of the memory that can be had without swapping."""
    network_bytes_per_s: float | None = None
    """Through all interfaces but the loopback."""
    probes: tuple[ProbeReading, ...] = ()
    missing: tuple[str, ...] = ()
    """Sources that are absent here."""


@dataclass(frozen=True, slots=True)
class Counters:
    """The kernel's counters at one moment. Only differences mean anything."""

    at: float
    stalls: Mapping[str, float]
    """Seconds of `cpu`, `io`, `memory` in which some task stalled."""
    disks: Mapping[str, tuple[int, float, float]]
    """Per disk: requests done, seconds that they took in sum, seconds in which there were any."""
    cpu: tuple[float, float] | None = None
    """Ticks busy and in all."""
    run_queue: int | None = None
    memory_available: float | None = None
    network_bytes: int | None = None


def read_text(path: str) -> str | None:
    """Return the text of a kernel's file, or None if it is not there or may not be read. Never blocks."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(descriptor, _FILE_BYTES_MAX).decode(errors="replace")
    except OSError:
        # PSI that was switched off at boot opens, and refuses to be read.
        return None
    finally:
        os.close(descriptor)


def read_counters(at: float, read: Callable[[str], str | None] = read_text) -> Counters:
    """Read all that is there. `at` is the monotonic time of the reading."""
    stalls = {}
    for name in ("cpu", "io", "memory"):
        found = re.search(r"^some .*total=(\d+)", read(f"/proc/pressure/{name}") or "", re.MULTILINE)
        if found:
            stalls[name] = int(found[1]) / 1e6
    loads = re.match(r"\S+ \S+ \S+ (\d+)/", read("/proc/loadavg") or "")
    return Counters(
        at=at,
        stalls=stalls,
        disks=_disks(read("/proc/diskstats") or ""),
        cpu=_cpu(read("/proc/stat") or ""),
        run_queue=int(loads[1]) if loads else None,
        memory_available=_memory(read("/proc/meminfo") or ""),
        network_bytes=_network(read("/proc/net/dev")),
    )


def compare(before: Counters, after: Counters, probes: tuple[ProbeReading, ...] = ()) -> Signals:
    """Return the load between two readings. Pure. A counter that ran backwards (a disk that was replaced) counts as absent."""
    seconds = max(after.at - before.at, 1e-3)
    stalls = {name: _share(before.stalls.get(name), value, seconds) for name, value in after.stalls.items()}
    busy, latency = _disk_load(before, after, seconds)
    present = {
        "cpu stalls": stalls.get("cpu"),
        "io stalls": stalls.get("io"),
        "memory stalls": stalls.get("memory"),
        "disks": busy,
        "cpu": _cpu_busy(before, after),
        "memory": after.memory_available,
    }
    network = None
    if before.network_bytes is not None and after.network_bytes is not None:
        network = max(0, after.network_bytes - before.network_bytes) / seconds
    return Signals(
        cpu_stall=present["cpu stalls"],
        io_stall=present["io stalls"],
        memory_stall=present["memory stalls"],
        disk_busy=busy,
        disk_latency=latency,
        cpu_busy=present["cpu"],
        run_queue=after.run_queue,
        memory_available=after.memory_available,
        network_bytes_per_s=network,
        probes=probes,
        missing=tuple(name for name, value in present.items() if value is None),
    )


def _share(before: float | None, after: float, seconds: float) -> float | None:
    if before is None or after < before:
        return None
    return min(1.0, (after - before) / seconds)


def _disks(text: str) -> dict[str, tuple[int, float, float]]:
    """Read whole disks: reads, writes (and discards and flushes where the kernel counts them) are requests."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) < 14 or not _WHOLE_DISK.fullmatch(words[2]):  # noqa: PLR2004 - the fields that every kernel has
            continue
        numbers = [int(word) for word in words[3:]]
        found[words[2]] = (numbers[0] + numbers[4], (numbers[3] + numbers[7]) / 1e3, numbers[9] / 1e3)
    return found


def _disk_load(before: Counters, after: Counters, seconds: float) -> tuple[float | None, float | None]:
    busy: list[float] = []
    latency: list[float] = []
    for name, (requests, taken, active) in after.disks.items():
        if name not in before.disks or requests < before.disks[name][0]:
            continue
        done = requests - before.disks[name][0]
        busy.append(min(1.0, max(0.0, active - before.disks[name][2]) / seconds))
        latency.append(max(0.0, taken - before.disks[name][1]) / done if done else 0.0)
    return (max(busy), max(latency)) if busy else (None, None)


def _cpu(text: str) -> tuple[float, float] | None:
    found = re.match(r"cpu +([\d ]+)", text)
    if not found:
        return None
    ticks = [int(word) for word in found[1].split()][:8]
    idle = sum(ticks[3:5])
    return float(sum(ticks) - idle), float(sum(ticks))


def _cpu_busy(before: Counters, after: Counters) -> float | None:
    if before.cpu is None or after.cpu is None or after.cpu[1] <= before.cpu[1]:
        return None
    return min(1.0, max(0.0, (after.cpu[0] - before.cpu[0]) / (after.cpu[1] - before.cpu[1])))


def _memory(text: str) -> float | None:
    values = {name: int(number) for name, number in re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)}
    if "MemAvailable" not in values or not values.get("MemTotal"):
        return None
    return values["MemAvailable"] / values["MemTotal"]


def _network(text: str | None) -> int | None:
    if text is None:
        return None
    total = 0
    for name, rest in re.findall(r"^ *([^:\n]+):(.*)$", text, re.MULTILINE):
        words = rest.split()
        if name != "lo" and len(words) >= 9:  # noqa: PLR2004 - received bytes first, sent bytes ninth
            total += int(words[0]) + int(words[8])
    return total
