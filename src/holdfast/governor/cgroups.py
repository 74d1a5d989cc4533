"""A control group of a run's own, where the system permits it: CPU and disk limits that hold for children too.

Version 2 (`cpu.max`, `io.max`) and version 1 (`cpu.cfs_quota_us`, `blkio.throttle.*`); see `Documentation/admin-guide/cgroup-v2.rst`
and `cgroup-v1/` of the Linux kernel. What is not writable is left out and said; the engine's own limits hold in any case.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from holdfast.base.values import dataclass
from holdfast.governor.budget import Budget

__all__ = ["ControlGroup", "Write", "device_of", "plan_writes"]

PERIOD_US = 100_000
QUOTA_US_MIN = 1_000
ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Write:
    """One value for one file of a group."""

    controller: str
    """`cpu` or `blkio` (version 1), empty (version 2)."""
    file: str
    value: str


def plan_writes(budget: Budget, devices: Sequence[str], *, version: int) -> tuple[Write, ...]:
    """Return what to write for a budget; no limit is written too, so that a limit can be lifted. Pure.

    `devices` are `major:minor` of the disks that the run reads from and writes to.
    """
    cores = budget.cpu_cores
    quota = max(QUOTA_US_MIN, int(cores * PERIOD_US)) if cores is not None else None
    rates = {
        "read_bps": budget.read_bytes_per_s,
        "write_bps": budget.write_bytes_per_s,
        "read_iops": budget.operations_per_s,
        "write_iops": budget.operations_per_s,
    }
    if version == 1:
        writes = [
            Write("cpu", "cpu.cfs_period_us", f"{PERIOD_US}"),
            Write("cpu", "cpu.cfs_quota_us", f"{quota if quota is not None else -1}"),
        ]
        writes += [
            Write("blkio", f"blkio.throttle.{name}_device", f"{device} {max(1, int(rate)) if rate is not None else 0}")
            for device in devices
            for name, rate in rates.items()
        ]
        return tuple(writes)
    short = {"read_bps": "rbps", "write_bps": "wbps", "read_iops": "riops", "write_iops": "wiops"}
    writes = [Write("", "cpu.max", f"{quota if quota is not None else 'max'} {PERIOD_US}")]
    for device in devices:
        words = [f"{short[name]}={max(1, int(rate)) if rate is not None else 'max'}" for name, rate in rates.items()]
        writes.append(Write("", "io.max", f"{device} {' '.join(words)}"))
    return tuple(writes)


def device_of(path: str | bytes) -> str | None:
    """Return `major:minor` of the disk that holds a path, None if it cannot be said (a network file system)."""
    try:
        device = os.stat(path).st_dev
    except OSError:
        return None
    number = f"{os.major(device)}:{os.minor(device)}"
    block = Path("/sys/dev/block", number)
    if not block.exists():
        return None
    if (block / "partition").exists():
        try:
            return (block.resolve().parent / "dev").read_text().strip()
        except OSError:
            return None
    return number


class ControlGroup:
    """A group with this process in it. :meth:`close` puts it back where it was. Use as a context manager.

    `refused` names what could not be done, and grows.
    """

    def __init__(self, run: str, *, root: Path = ROOT, pid: int | None = None) -> None:
        """Make the group of a run, as far as the system permits, and join it."""
        self.refused: list[str] = []
        self.version = 2 if (root / "cgroup.controllers").exists() else 1
        self._pid = pid if pid is not None else os.getpid()
        self._homes = _homes(self._pid, root, self.version)
        self._groups: dict[str, Path] = {}
        for controller, home in self._homes.items():
            group = home / f"holdfast-{run}"
            try:
                if self.version == 2:  # noqa: PLR2004 - the version's number
                    _delegate(home)
                group.mkdir(exist_ok=True)
                (group / "cgroup.procs").write_text(f"{self._pid}")
            except OSError as error:
                self.refused.append(f"cgroup {controller or 'v2'}: {os.strerror(error.errno or 0)}")
                _removed(group)
                continue
            self._groups[controller] = group
        if not self._homes:
            self.refused.append("cgroup: no hierarchy is mounted")

    @property
    def is_member(self) -> bool:
        """Whether any group holds the process."""
        return bool(self._groups)

    def limit(self, budget: Budget, devices: Sequence[str] = ()) -> None:
        """Set the limits. What the system refuses (a controller that is off) is noted, and the rest is set."""
        for write in plan_writes(budget, devices, version=self.version):
            group = self._groups.get(write.controller)
            if group is None:
                continue
            try:
                (group / write.file).write_text(write.value)
            except OSError as error:
                text = f"cgroup {write.file}: {os.strerror(error.errno or 0)}"
                if text not in self.refused:
                    self.refused.append(text)

    def close(self) -> None:
        """Leave the group and remove it."""
        for controller, group in self._groups.items():
            try:
                (self._homes[controller] / "cgroup.procs").write_text(f"{self._pid}")
            except OSError:
                continue  # the group stays, empty of limits' meaning once the process ends
            _removed(group)
        self._groups = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _removed(group: Path) -> None:
    try:
        group.rmdir()
    except OSError:
        return


def _homes(pid: int, root: Path, version: int) -> Mapping[str, Path]:
    """Return the group that the process is in now, per controller."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        number, names, place = [*line.split(":", 2), "", ""][:3]
        if version == 2 and number == "0":  # noqa: PLR2004 - the version's number
            found[""] = root / place.lstrip("/")
        for name in names.split(","):
            if version == 1 and name in ("cpu", "blkio") and (root / name).is_dir():
                found[name] = root / name / place.lstrip("/")
    return {name: home for name, home in found.items() if home.is_dir()}


def _delegate(home: Path) -> None:
    """Switch the controllers on for children, as far as they are there."""
    offered = (home / "cgroup.controllers").read_text().split()
    wanted = [f"+{name}" for name in ("cpu", "io") if name in offered]
    if wanted:
        (home / "cgroup.subtree_control").write_text(" ".join(wanted))
