"""Instant recovery on PostgreSQL: first query after the command, pgbench on a filled mount against a plain folder, random reads.

    python bench/mount.py [--scale 100] [--seconds 20] [--folder DIR]

Scale 100 is 1.5 GB. Needs root (the server runs as its own user) and Debian's PostgreSQL 15. The cluster is backed up stopped, so
that the snapshot needs no WAL beside it. Prints one line per figure; each is of one run.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from tests.integration.mounts.test_postgresql import pgbench  # noqa: E402

import holdfast  # noqa: E402
from servers import fuse, postgresql  # noqa: E402

PAGE = 4096
READS = 50_000
READ_MIB = 64


def say(what: str, figure: str) -> None:
    """Print one figure."""
    print(f"{what:<58}{figure:>16}", flush=True)


def transactions(running: postgresql.Cluster, seconds: int) -> float:
    """Return pgbench's transactions per second with four clients."""
    done = pgbench(running, "-n", "-c", "4", "-j", "2", "-T", str(seconds))
    found = re.search(r"tps = ([0-9.]+)", done.stdout.decode())
    return float(found[1]) if found else 0.0


def reads(path: Path) -> float:
    """Return random reads of 4 KiB per second, each by `pread`, from a file that was read before."""
    draw = random.Random(1)
    fd = os.open(path, os.O_RDONLY)
    try:
        size = min(os.fstat(fd).st_size, READ_MIB << 20) // PAGE
        for page in range(0, size, 32):
            os.pread(fd, 32 * PAGE, page * PAGE)
        began = time.perf_counter()
        for _ in range(READS):
            os.pread(fd, PAGE, draw.randrange(size) * PAGE)
        return READS / (time.perf_counter() - began)
    finally:
        os.close(fd)


def uncached(path: Path, count: int = 3000) -> float:
    """Return random reads of 4 KiB per second that pass by the kernel's cache: each is answered by the mount's own."""
    draw = random.Random(2)
    fd = os.open(path, os.O_RDONLY)
    try:
        size = min(os.fstat(fd).st_size, READ_MIB << 20) // PAGE
        for page in range(0, size, 32):
            os.pread(fd, 32 * PAGE, page * PAGE)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        began = time.perf_counter()
        for _ in range(count):
            os.pread(fd, PAGE, draw.randrange(size) * PAGE)
        return count / (time.perf_counter() - began)
    finally:
        os.close(fd)


def largest(root: Path) -> Path:
    """Return the largest file under a folder."""
    return max((path for path in root.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="holdfast-bench-mount-", dir=given.folder))
    work.chmod(0o755)
    os.environ["HOLDFAST_STATE"] = str(work / "state")
    with postgresql.cluster(work / "pg") as cluster:
        pgbench(cluster, "-i", "-q", "-s", str(given.scale))
        cluster.sql("CHECKPOINT")
        ((size,),) = cluster.sql("SELECT sum(pg_database_size(oid)) FROM pg_database")
        say("cluster", f"{float(size) / 1e9:.2f} GB")
        say("pgbench, plain folder, transactions/s", f"{transactions(cluster, given.seconds):.0f}")
    with holdfast.Vault.create(work / "vault", key_file=work / "key") as vault:
        vault.backup(cluster.data)
    subprocess.run(["sync"], check=True)
    options = ["--vault", str(work / "vault"), "--key-file", str(work / "key")]
    socket = work / "socket"
    socket.mkdir()
    postgresql.give(socket)
    place = work / "m"
    data = place / str(cluster.data).lstrip("/")
    running = postgresql.Running(data, socket, cluster)
    began = time.perf_counter()
    with fuse.mounted(*options, "--writable", "--allow-other", "latest", place=place) as mount:
        say("mounted after the command", f"{time.perf_counter() - began:.2f} s")
        with running.started():
            running.sql("SELECT abalance FROM pgbench_accounts WHERE aid = 4711")
            say("first query after the command", f"{time.perf_counter() - began:.2f} s")
            mount.wait_for("mount-whole")
            say("filled after", f"{time.perf_counter() - began:.1f} s")
            say("pgbench, filled mount, transactions/s", f"{transactions(running, given.seconds):.0f}")
        mount.end()
    began = time.perf_counter()
    holdfast.finish_mount(place)
    say("switched over, unmount to folder", f"{time.perf_counter() - began:.2f} s")
    with running.started():
        say("pgbench, after the switch-over, transactions/s", f"{transactions(running, given.seconds):.0f}")
    with fuse.mounted(*options, "latest", place=work / "r"):
        file = largest(work / "r")
        say("random 4 KiB reads through the mount, kernel's cache", f"{reads(file):.0f}/s")
        say("random 4 KiB reads through the mount, its own cache", f"{uncached(file):.0f}/s")


if __name__ == "__main__":
    main()
