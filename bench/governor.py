"""What a backup costs a database beside it, and how fast and how exactly the governor answers. Needs PostgreSQL 15 of Debian.

    python bench/governor.py pgbench --pairs 5 --seconds 15     # throughput and latency with and without a backup, alternating
    python bench/governor.py limits --seconds 10                # configured rates against what passed, in windows of 5 s
    python bench/governor.py step --steps 10                    # from a step in load to the first lower level
    python bench/governor.py overhead                           # CPU seconds of a backup with and without the governor's thread

On a machine with other load the figures say little: it prints the load average with them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import re
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
from holdfast.governor.probes import SqlProbe
from holdfast.runs import steer
from holdfast.runs.options import BackupOptions

BIN = Path("/usr/lib/postgresql/15/bin")
MIB = 1 << 20
PROBE = "UPDATE probe SET x = x + 1 WHERE id = 1"


@contextlib.contextmanager
def database(scale: int) -> Iterator[int]:
    """Yield the port of a PostgreSQL with pgbench's tables and the probe's own."""
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    as_user = {"user": user, "group": user, "extra_groups": []} if os.geteuid() == 0 else {}
    folder, port = Path(tempfile.mkdtemp(prefix="holdfast-bench-")), 54999
    folder.chmod(0o755)
    if as_user:
        shutil.chown(folder, user)

    def run(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, cwd="/", **as_user)  # type: ignore[call-overload]

    try:
        run(f"{BIN}/initdb", "-D", f"{folder}/data", "-U", "postgres", "-A", "trust", "-N")
        options = f"-p {port} -k {folder} -c shared_buffers=128MB"
        run(f"{BIN}/pg_ctl", "-D", f"{folder}/data", "-w", "-l", f"{folder}/log", "-o", options, "start")
        where = ("-h", "127.0.0.1", "-p", f"{port}", "-U", "postgres")
        run(f"{BIN}/pgbench", *where, "-i", "-q", "-s", f"{scale}", "postgres")
        run(
            f"{BIN}/psql",
            *where,
            "-c",
            "CREATE TABLE probe (id int PRIMARY KEY, x int); INSERT INTO probe VALUES (1, 0)",
        )
        yield port
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            run(f"{BIN}/pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def pgbench(port: int, seconds: int, rate: float | None = None) -> tuple[float, float, float]:
    """Return transactions per second, and the median and 99th percentile of their latency in ms."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            f"{BIN}/pgbench", "-h", "127.0.0.1", "-p", f"{port}", "-U", "postgres", "-n", "-c", "2", "-j", "2", "-l",
            "-T", f"{seconds}", *(("-R", f"{rate:.0f}") if rate else ()), "postgres",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        micros = sorted(int(line.split()[2]) for log in Path(folder).glob("pgbench_log*") for line in log.open())
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    if not found:
        raise SystemExit(done.stdout)
    return float(found[1]), micros[len(micros) // 2] / 1000, micros[len(micros) * 99 // 100] / 1000


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


def bench_pgbench(source: Source, given: argparse.Namespace) -> None:
    """Compare pgbench alone and beside a backup, alternating; with the governor and without."""
    with database(given.scale) as port:
        full = pgbench(port, given.seconds)[0]
        for rate in (full / 2, None):
            rows: dict[str, list[tuple[float, float, float]]] = {"governed": [], "free": []}
            for _ in range(given.pairs):
                for name, found in rows.items():
                    alone = pgbench(port, given.seconds, rate)
                    probe = SqlProbe("pg", 5, f"postgresql://postgres@127.0.0.1:{port}/postgres", PROBE)
                    active = GovernorPlan(active=True, probes=(probe,), priority="idle")
                    with backup_beside(source, active if name == "governed" else GovernorPlan()):
                        beside = pgbench(port, given.seconds, rate)
                    found.append(tuple(b / a for a, b in zip(alone, beside, strict=True)))  # type: ignore[arg-type]
            for name, found in rows.items():
                tps, p50, p99 = (statistics.median(column) for column in zip(*found, strict=True))
                load = "at full load" if rate is None else f"at {rate:.0f} tps"
                print(
                    f"{load:>16}, {name:>8}: throughput {tps:.2f}, p50 {p50:.2f}, p99 {p99:.2f} (medians of {len(found)})"
                )


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
    parser.add_argument("which", choices=("pgbench", "limits", "step", "overhead", "waits"))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--scale", type=int, default=50)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--megabytes", type=int, default=512)
    given = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if given.which == "waits":
        bench_waits()
        return
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder:
        os.environ["HOLDFAST_STATE"] = f"{folder}/state"
        run = {"pgbench": bench_pgbench, "limits": bench_limits, "step": bench_step, "overhead": bench_overhead}
        run[given.which](Source(Path(folder), given.megabytes), given)


if __name__ == "__main__":
    main()
