"""What a backup costs the wards: pgbench with and without one beside it, for Holdfast and its peers, in the same run.

    python bench/wards.py [--rounds 5] [--seconds 10] [--scale 50] [--folder DIR]

Each round measures pgbench alone, then beside each backup, at half of its highest rate and at full speed. Figures are those
beside the backup over those alone just before; medians of the rounds. Every tool is a process of its own with a repository of its
own on the database's disk, begins again while the time lasts, and is ended with it. `idle CPU used`: CPU seconds of the backup over
those that were idle with pgbench alone. Needs PostgreSQL 15 of Debian; peers as in `peers.py`. Only a quiet machine gives figures.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import pwd
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import peers

BIN = Path("/usr/lib/postgresql/15/bin")
MIB = 1 << 20
PORT = 54999
PROBE = "UPDATE probe SET x = x + 1 WHERE id = 1"
LEAD_SECONDS = 2.0
"""A backup runs so long before pgbench does: its start is not what a ward notices."""
ALONE_EVERY = 3
"""Backups that share one measurement of pgbench alone."""
PEER_MB_PER_S = 10
"""What peers are limited to by their own means: a tenth of what they do otherwise on such a machine."""
GOAL = "throughput ≥ 0.90, p50 ≤ 1.10, p99 ≤ 1.5; at half load ≥ 0.5 of the idle CPU"


@dataclasses.dataclass(frozen=True)
class Figures:
    """Of one stretch of pgbench: transactions a second, latencies in ms, CPU seconds that nobody used."""

    tps: float
    p50: float
    p99: float
    idle: float


@dataclasses.dataclass(frozen=True)
class Contender:
    """A backup beside the database: which tool, what stands before its command, and how it is limited."""

    name: str
    tool: peers.Tool
    prefix: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    """Added to the command of a backup."""
    config: str = ""
    """Holdfast's configuration."""
    throttle: tuple[str, ...] = ()
    """Done once in its repository."""


@contextlib.contextmanager
def database(scale: int, folder: Path) -> Iterator[None]:
    """Run a PostgreSQL with pgbench's tables and the probe's own."""
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    as_user = {"user": user, "group": user, "extra_groups": []} if os.geteuid() == 0 else {}
    folder.mkdir()
    if as_user:
        shutil.chown(folder, user)

    def run(program: str, *words: str) -> None:
        command = (str(BIN / program), *words)
        subprocess.run(command, check=True, capture_output=True, cwd="/", **as_user)  # type: ignore[call-overload]

    where = ("-h", "127.0.0.1", "-p", f"{PORT}", "-U", "postgres")
    run("initdb", "-D", f"{folder}/data", "-U", "postgres", "-A", "trust")
    options = f"-p {PORT} -k {folder} -c shared_buffers=256MB -c max_wal_size=4GB"
    run("pg_ctl", "-D", f"{folder}/data", "-w", "-l", f"{folder}/log", "-o", options, "start")
    try:
        run("pgbench", *where, "-i", "-q", "-s", f"{scale}", "postgres")
        run("psql", *where, "-c", "CREATE TABLE probe (id int PRIMARY KEY, x int); INSERT INTO probe VALUES (1, 0)")
        yield
    finally:
        run("pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "stop")


def idle_seconds() -> float:
    """Return the CPU seconds, of all cores, in which nobody ran since the machine started."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


def pgbench(seconds: int, rate: float | None = None) -> Figures:
    """Run TPC-B-like transactions from two clients, at full speed or at a rate."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            f"{BIN}/pgbench", "-h", "127.0.0.1", "-p", f"{PORT}", "-U", "postgres", "-n", "-c", "2", "-j", "2", "-l",
            "-T", f"{seconds}", *(("-R", f"{rate:.0f}") if rate else ()), "postgres",
        ]  # fmt: skip
        idle = idle_seconds()
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        idle = idle_seconds() - idle
        micros = sorted(int(line.split()[2]) for log in Path(folder).glob("pgbench_log*") for line in log.open())
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    if not found:
        sys.exit(done.stdout)
    return Figures(float(found[1]), micros[len(micros) // 2] / 1000, micros[len(micros) * 99 // 100] / 1000, idle)


def fill(source: Path, megabytes: int) -> None:
    """Write files that half compress."""
    source.mkdir()
    for number in range(max(1, megabytes // 16)):
        (source / f"{number}").write_bytes(os.urandom(8 * MIB) + bytes(range(256)) * (8 * MIB // 256))


def contenders() -> list[Contender]:
    """Return Holdfast with a probe, without one and without its governor; each peer as it is, polite, and limited."""
    sql = f'sql = "postgresql://postgres@127.0.0.1:{PORT}/postgres"'
    probe = f'[governor.probes.pg]\n{sql}\nstatement = "{PROBE}"\n'
    holdfast = peers.Holdfast()
    found = [
        Contender("holdfast, probe", holdfast, config=probe),
        Contender("holdfast, no probe", holdfast, config="[governor]\n"),
        Contender("holdfast, ungoverned", holdfast, config='[governor]\nenabled = false\npriority = "normal"\n'),
    ]
    polite = ("nice", "-n", "19", "ionice", "-c", "3")
    limits = {
        "restic": (("--limit-upload", f"{PEER_MB_PER_S * 1000}", "--read-concurrency", "1"), ()),
        "kopia": (
            ("--parallel", "1"),
            ("repository", "throttle", "set", f"--upload-bytes-per-second={PEER_MB_PER_S * 1_000_000}"),
        ),
        "rustic": ((), ()),
    }
    for tool in (peers.Restic(), peers.Kopia(), peers.Rustic()):
        if tool.available():
            words, throttle = limits[tool.name]
            found += [Contender(tool.name, tool), Contender(f"{tool.name}, nice and ionice", tool, polite)]
            if words or throttle:
                found.append(Contender(f"{tool.name}, own limits", tool, (), words, throttle=throttle))
    return found


class Beside:
    """Backups by one contender, again and again, until the block ends; then what CPU they took is known."""

    def __init__(self, contender: Contender, folder: Path, source: Path) -> None:
        """Nothing runs yet."""
        self.contender = contender
        self.folder = folder
        self.source = source
        self.cpu = 0.0
        self.seconds = 0.0

    def __enter__(self) -> Self:
        """Make a repository, begin the loop in a process group of its own."""
        place = peers.Place(self.folder / "place", self.source)
        tool = self.contender.tool
        env = {**tool.env(place), "HOLDFAST_CONFIG": str(self.folder / "config.toml")}
        if self.contender.config:
            (self.folder / "config.toml").write_text(
                f'[vault]\nurl = "{place.repository}"\n{self.contender.config}', encoding="utf-8"
            )
        steps = [*tool.init(place)]
        if self.contender.throttle:
            steps.append(tool.call(*self.contender.throttle))
        for step in steps:
            subprocess.run(step.argv, env=env, check=True, capture_output=True)
        command = [*self.contender.prefix, *tool.backup(place).argv, *self.contender.words]
        self.pid = os.fork()
        if not self.pid:
            self._loop(command, env)
        self.began = time.monotonic()
        time.sleep(LEAD_SECONDS)
        return self

    @staticmethod
    def _loop(command: list[str], env: dict[str, str]) -> None:
        """Run the command until killed. In a child: it ends with this."""
        os.setpgid(0, 0)
        while True:
            with open(os.devnull, "wb") as nowhere:
                done = subprocess.run(command, env=env, stdout=nowhere, stderr=subprocess.PIPE, check=False)
            if done.returncode not in (0, 3):
                os.write(2, done.stderr[-600:])
                os._exit(1)

    def __exit__(self, *_: object) -> None:
        """End the tool first, so that its parent counts what it took; then the parent."""
        self.seconds = time.monotonic() - self.began
        self.cpu = sum(cpu_of(pid) for pid in group(self.pid))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        _, status, _ = os.wait4(self.pid, 0)
        if os.WIFEXITED(status):
            sys.exit(f"{self.contender.name} failed")
        shutil.rmtree(self.folder / "place", ignore_errors=True)
        (self.folder / "config.toml").unlink(missing_ok=True)
        os.sync()


def group(leader: int) -> list[int]:
    """Return the processes of a group."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            if os.getpgid(int(entry.name)) == leader:
                found.append(int(entry.name))
    return found


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of a process and of those of its children that ended."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")
    return 0.0


Row = tuple[float, float, float, float]


def compare(rate: float | None, given: argparse.Namespace, folder: Path) -> dict[str, list[Row]]:
    """Return, by contender, the ratios of each round."""
    rows: dict[str, list[Row]] = {each.name: [] for each in contenders()}
    dice = random.Random(given.seed)
    for number in range(given.rounds):
        order = contenders()
        dice.shuffle(order)
        alone = pgbench(given.seconds, rate)
        for count, each in enumerate(order):
            if count and count % ALONE_EVERY == 0:
                alone = pgbench(given.seconds, rate)
            with Beside(each, folder, folder / "source") as backup:
                beside = pgbench(given.seconds, rate)
            used = backup.cpu / backup.seconds / (alone.idle / given.seconds) if alone.idle else 0.0
            rows[each.name].append((beside.tps / alone.tps, beside.p50 / alone.p50, beside.p99 / alone.p99, used))
            print(f"  round {number + 1}, {each.name}: {rows[each.name][-1]}", file=sys.stderr)
    return rows


def show(title: str, rows: dict[str, list[Row]]) -> None:
    """Print a table of medians."""
    print(f"\n{title}\n\n| beside pgbench | throughput | p50 | p99 | idle CPU used |\n|---|---|---|---|---|")
    for name, found in rows.items():
        columns = [statistics.median(column) for column in zip(*found, strict=True)]
        print(f"| {name} | " + " | ".join(f"{column:.2f}" for column in columns) + " |")


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--scale", type=int, default=50)
    parser.add_argument("--megabytes", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", default=None)
    given = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; wanted: {GOAL}")
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=given.folder) as name:
        folder = Path(name)
        folder.chmod(0o755)
        fill(folder / "source", given.megabytes)
        with database(given.scale, folder / "postgresql"):
            full = pgbench(given.seconds).tps
            show(f"At half load ({full / 2:.0f} a second):", compare(full / 2, given, folder))
            show("At full load:", compare(None, given, folder))


if __name__ == "__main__":
    main()
