"""How fast and how exactly the governor answers, and what it costs. What a backup costs a database beside it: `wards.py`.

    python bench/governor.py limits --seconds 10                # configured rates against what passed, in windows of 5 s
    python bench/governor.py step --steps 10                    # from a step in load to the first lower level
    python bench/governor.py overhead                           # CPU seconds of a backup with and without the governor's thread

On a machine with other load the figures say little: it prints the load average with them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import holdfast
from holdfast import engine
from holdfast.base.environment import system
from holdfast.governor.controller import Rules
from holdfast.governor.plan import GovernorPlan
from holdfast.runs import steer
from holdfast.runs.options import BackupOptions

MIB = 1 << 20


class Source:
    """Files to back up, on the database's disk, and a new vault for each run."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        """Fill a folder with files that half compress."""
        self.folder = folder
        (folder / "source").mkdir()
        for number in range(max(1, megabytes // 16)):
            half = os.urandom(8 * MIB)
            (folder / "source" / f"{number}").write_bytes(half + bytes(range(256)) * (8 * MIB // 256))
        self.runs = 0

    def vault(self) -> holdfast.Vault:
        """Return a new vault."""
        self.runs += 1
        return holdfast.Vault.create(self.folder / f"vault{self.runs}", key_file=self.folder / "key")


@contextlib.contextmanager
def backup_beside(source: Source, plan: GovernorPlan) -> Iterator[list[object]]:
    """Back up again and again while the block runs."""
    end, results = threading.Event(), list[object]()

    def work() -> None:
        while not end.is_set():
            with source.vault() as vault, contextlib.suppress(holdfast.HoldfastError):
                vault._vault.governor = lambda: plan  # noqa: SLF001 - the bench is inside
                results.append(vault.backup([source.folder / "source"], stop=end).governor)
            shutil.rmtree(source.folder / f"vault{source.runs}", ignore_errors=True)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield results
    finally:
        end.set()
        thread.join()


def bench_limits(source: Source, given: argparse.Namespace) -> None:
    """Measure what passes under a limit, in windows of five seconds."""
    for name, value, counter in (
        ("read_bytes_per_s", 8_000_000, "read_bytes"),
        ("operations_per_s", 20, "operations"),
        ("cpu_cores", 0.2, ""),
    ):
        with source.vault() as vault:
            options = BackupOptions(limits=holdfast.Limits(**{name: value}))  # type: ignore[arg-type]
            samples: list[tuple[float, float]] = []
            stop = threading.Event()

            def watch(
                vault: holdfast.Vault = vault,
                counter: str = counter,
                stop: threading.Event = stop,
                samples: list[tuple[float, float]] = samples,
            ) -> None:
                began = time.monotonic()
                while time.monotonic() - began < given.seconds + 2:
                    used = vault._vault.limits.used()  # noqa: SLF001 - the bench is inside
                    samples.append((time.monotonic(), getattr(used, counter) if counter else time.process_time()))
                    time.sleep(0.25)
                stop.set()

            thread = threading.Thread(target=watch)
            thread.start()
            with contextlib.suppress(holdfast.HoldfastError):
                vault.backup([source.folder / "source"], options=options, stop=stop)
            stop.set()
            thread.join()
        rates = [
            (later[1] - first[1]) / (later[0] - first[0]) / value
            for first, later in zip(samples[8:], samples[28:], strict=False)
        ]
        print(f"{name}: {min(rates):.3f} … {max(rates):.3f} of the limit in {len(rates)} windows of 5 s")


def bench_step(source: Source, given: argparse.Namespace) -> None:
    """Measure the time from a step in the machine's load to a lower level, without a probe."""
    answers = []
    for _ in range(given.steps):
        plan = GovernorPlan(active=True, rules=replace(Rules(), cpu_stall_max=0.2))
        with backup_beside(source, plan):
            time.sleep(6)
            command = [sys.executable, "-c", "while True: pass"]
            burners = [subprocess.Popen(command) for _ in range(2 * (os.cpu_count() or 1))]
            began = time.monotonic()
            while time.monotonic() - began < 15:
                if any(row.level < 0.9 for row in steer.run_status()):
                    break
                time.sleep(0.05)
            answers.append(time.monotonic() - began)
            for burner in burners:
                burner.kill()
                burner.wait()
    answers.sort()
    print(f"steps: median {statistics.median(answers):.2f} s, slowest of {len(answers)} {answers[-1]:.2f} s")


def bench_overhead(source: Source, given: argparse.Namespace) -> None:
    """Compare CPU seconds of backups with the governor active and with it ticking once an hour."""
    seconds: dict[str, list[float]] = {"active": [], "asleep": []}
    for _ in range(given.pairs):
        for name, plan in (("active", GovernorPlan()), ("asleep", GovernorPlan(tick_seconds=3600.0))):
            with source.vault() as vault:
                vault._vault.governor = lambda plan=plan: plan  # type: ignore[misc]  # noqa: SLF001 - the bench is inside
                before = time.process_time()
                vault.backup([source.folder / "source"])
                seconds[name].append(time.process_time() - before)
    best = {name: min(each) for name, each in seconds.items()}
    print(
        f"overhead: {best['active']:.3f} s of CPU, {best['asleep']:.3f} without: {best['active'] / best['asleep'] - 1:+.1%}"
    )


def bench_waits() -> None:
    """Print how long an unlimited request takes to pass the limits."""
    limits, env = engine.Limits(), system()
    began = env.monotonic()
    for _ in range(100_000):
        limits.take_network(1)
    print(f"one pass without a limit, through Python: {(env.monotonic() - began) * 10:.2f} µs")


def main() -> None:
    """Run one of the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=("limits", "step", "overhead", "waits"))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--megabytes", type=int, default=512)
    given = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if given.which == "waits":
        bench_waits()
        return
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder:
        os.environ["HOLDFAST_STATE"] = f"{folder}/state"
        run = {"limits": bench_limits, "step": bench_step, "overhead": bench_overhead}
        run[given.which](Source(Path(folder), given.megabytes), given)


if __name__ == "__main__":
    main()
