"""Run a command and say what it cost: wall time with everything synced, CPU of its whole process tree, peak memory."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

SAMPLE_SECONDS = 0.02
OUTPUT_BYTES_MAX = 4000


@dataclass(frozen=True)
class Cost:
    """What one step cost."""

    wall_s: float
    cpu_s: float
    anonymous_mib: float
    """Peak of anonymous memory, summed over the process tree, sampled every 20 ms."""
    resident_mib: float
    written_mb: float
    """Bytes the processes dirtied in the page cache or wrote past it (`ru_oublock`)."""
    exit_code: int
    output: str = ""

    def as_dict(self) -> dict[str, float | int | str]:
        """Turn into JSON."""
        return asdict(self)


class CommandFailedError(Exception):
    """A step of the benchmark failed: its figures would mean nothing."""


def run(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, accept: Sequence[int] = (0,), shell: bool = False
) -> Cost:
    """Run a command, sync all file systems within the time, and return its cost. `CommandFailedError` unless accepted."""
    words = ["sh", "-c", argv[0]] if shell else list(argv)
    os.sync()
    with tempfile.TemporaryFile() as output:
        begin = time.monotonic()
        process = subprocess.Popen(words, env=dict(env or os.environ), stdout=output, stderr=subprocess.STDOUT)
        sampler = _Sampler(process.pid)
        sampler.start()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        sampler.stop()
        os.sync()
        wall = time.monotonic() - begin
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - OUTPUT_BYTES_MAX))
        tail = output.read().decode(errors="replace")
    if process.returncode not in accept:
        message = f"{words} ended with {process.returncode}: {tail}"
        raise CommandFailedError(message)
    return Cost(
        wall_s=round(wall, 3),
        cpu_s=round(usage.ru_utime + usage.ru_stime, 3),
        anonymous_mib=round(sampler.anonymous_kib / 1024, 1),
        resident_mib=round(sampler.resident_kib / 1024, 1),
        written_mb=round(usage.ru_oublock * 512 / 1e6, 3),
        exit_code=process.returncode,
        output=tail,
    )


class _Sampler(threading.Thread):
    """Watches the memory of a process and its descendants."""

    def __init__(self, pid: int) -> None:
        super().__init__(name="memory", daemon=True)
        self.pid = pid
        self.anonymous_kib = 0
        self.resident_kib = 0
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            anonymous = resident = 0
            for pid in _tree(self.pid):
                fields = _memory(pid)
                anonymous += fields.get("RssAnon", 0)
                resident += fields.get("VmRSS", 0)
            self.anonymous_kib = max(self.anonymous_kib, anonymous)
            self.resident_kib = max(self.resident_kib, resident)

    def stop(self) -> None:
        self._done.set()
        self.join()


def _tree(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        try:
            for task in os.listdir(f"/proc/{one}/task"):
                found += map(int, Path(f"/proc/{one}/task/{task}/children").read_text().split())
        except OSError:
            continue
    return found


def _memory(pid: int) -> dict[str, int]:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in text.splitlines() if line.startswith(("RssAnon", "VmRSS")))
    return {name: int(value.split()[0]) for name, value in pairs}


def folder_bytes(folder: Path) -> int:
    """Sum the apparent sizes of all files under a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
