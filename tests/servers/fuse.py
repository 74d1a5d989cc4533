"""Mounts of snapshots for tests: `holdfast mount` in a process of its own, and nothing left mounted, whatever happened to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from servers import install

READY_SECONDS_MAX = 60.0


class Mounted:
    """One process that has something mounted."""

    def __init__(self, place: Path, process: subprocess.Popen[bytes], log: Path) -> None:
        self.place = place
        self.process = process
        self.log = log

    def records(self) -> list[dict[str, object]]:
        """Return what it printed with --json."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def wait_for(self, code: str) -> None:
        """Wait for a note of that code."""
        until = time.monotonic() + READY_SECONDS_MAX
        while not any(row.get("code") == code for row in self.records()):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()[-2000:]
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill it; its mount stays, and nobody answers for it."""
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        """Ask it to unmount, and wait for its end."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(READY_SECONDS_MAX)


def ready() -> None:
    """Install what mounting needs."""
    install.debian("fusermount3", "fuse3")
    assert Path("/dev/fuse").exists()


@contextmanager
def mounted(*arguments: str | os.PathLike[str], place: Path) -> Iterator[Mounted]:
    """Run `holdfast mount … PLACE`, wait until it is there, and leave nothing mounted."""
    ready()
    place.mkdir(exist_ok=True)
    log = place.with_name(f"{place.name}.{time.monotonic_ns()}.log")
    command = [
        sys.executable,
        "-m",
        "holdfast",
        "mount",
        "--json",
        *(os.fspath(argument) for argument in arguments),
        str(place),
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    found = Mounted(place, process, log)
    try:
        found.wait_for("mounted")
        yield found
    finally:
        sweep(place)
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        sweep(place)


def sweep(place: Path) -> None:
    """Take away what is mounted at a place, alive or dead."""
    with suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            if line.split()[4] == str(place):
                subprocess.run(["fusermount3", "-u", "-z", "--", str(place)], check=False, capture_output=True)
