"""What a base backup costs a working PostgreSQL, and that it always comes back.

    uv run python bench/postgresql.py stall --backups 200     # commit latency with and without backups; nobody may wait
    uv run python bench/postgresql.py pitr --targets 50       # fifty random targets, checked as in the tests
    uv run python bench/postgresql.py change --scale 50       # 1 % of the rows changed: what is stored, and how long it takes

Figures go to standard output. Servers are those of the tests.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests")]

import holdfast  # noqa: E402 - as above
from servers import postgresql  # noqa: E402 - found by the line above


class Writer(threading.Thread):
    """Commits without end; `seconds` keeps how long each commit took."""

    def __init__(self, cluster: postgresql.Cluster, number: int) -> None:
        """Write to rows of its own."""
        super().__init__()
        self.cluster, self.number = cluster, number
        self.seconds: list[float] = []
        self.stop = threading.Event()

    def run(self) -> None:
        """Commit until told to stop."""
        with self.cluster.connect() as connection:
            while not self.stop.is_set():
                began = time.perf_counter()
                connection.execute("INSERT INTO load VALUES (%s, repeat('x', 500))", (self.number,))
                self.seconds.append(time.perf_counter() - began)


def latencies(cluster: postgresql.Cluster, work: object) -> list[float]:
    """Run some work beside four writers; return the commits' times in milliseconds."""
    writers = [Writer(cluster, number) for number in range(4)]
    for writer in writers:
        writer.start()
    try:
        work()  # type: ignore[operator]
    finally:
        for writer in writers:
            writer.stop.set()
            writer.join()
    return sorted(1000 * value for writer in writers for value in writer.seconds)


def show(name: str, found: list[float]) -> None:
    """Print quantiles."""
    cut = statistics.quantiles(found, n=1000)
    print(
        f"{name:<10} {len(found):>8} commits  p50 {cut[499]:7.1f}  p99 {cut[989]:7.1f}  p99.9 {cut[998]:7.1f}  max {found[-1]:7.1f} ms"
    )


def stall(backups: int) -> None:
    """Compare commits without and with base backups one after the other."""
    with postgresql.place() as place, postgresql.cluster(place / "pg", archiving=True) as cluster:
        os.environ["HOLDFAST_STATE"] = str(place / "state")
        cluster.make_role()
        cluster.sql("CREATE TABLE load (writer int, note text)")
        config = place / "holdfast.toml"
        config.write_text(postgresql.configuration(cluster, place))
        holdfast.Vault.create(place / "vault", key_file=place / "key").close()
        held, cut, seconds = [], 0, []

        def back_up() -> None:
            nonlocal cut
            with holdfast.Vault.open(config) as vault:
                for _ in range(backups):
                    result = vault.backup("ehr")
                    held.append(result.evidence[0].hold_ms)
                    cut += result.exit_code != 0
                    seconds.append(result.stats.seconds)

        began = time.monotonic()
        during = latencies(cluster, back_up)
        took = time.monotonic() - began
        show("without", latencies(cluster, lambda: time.sleep(took)))
        show("with", during)
        print(
            f"{backups} backups, {cut} not complete, longest hold {max(held):.0f} ms, {statistics.median(seconds):.1f} s each"
        )


def pitr(targets: int) -> int:
    """Run the test of point-in-time recovery with more targets."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "tests/integration/test_postgresql_recovery.py",
        "-k",
        "random_target",
    ]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | {"HOLDFAST_TEST_TARGETS": str(targets)}, check=False
    ).returncode


def change(scale: int) -> None:
    """Back a pgbench cluster up, change 1 % of its accounts' pages, back it up again."""
    with (
        postgresql.place() as place,
        postgresql.cluster(
            place / "pg", archiving=True, shared_buffers="256MB", max_wal_size="4GB", autovacuum="off"
        ) as cluster,
    ):
        os.environ["HOLDFAST_STATE"] = str(place / "state")
        cluster.make_role()
        where = ["-h", str(cluster.folder), "-p", str(cluster.port), "-U", "postgres", "postgres"]
        subprocess.run([cluster.bin / "pgbench", "-i", "-q", "-s", str(scale), *where], check=True, capture_output=True)
        cluster.sql("CHECKPOINT")
        config = place / "holdfast.toml"
        config.write_text(postgresql.configuration(cluster, place))
        holdfast.Vault.create(place / "vault", key_file=place / "key").close()
        with holdfast.Vault.open(config) as vault:
            for name in ("first", "unchanged", "1 % changed"):
                if name == "1 % changed":
                    pages = cluster.sql("SELECT relpages FROM pg_class WHERE relname = 'pgbench_accounts'")[0][0]
                    cluster.sql(
                        "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE ctid = ANY (SELECT format('(%%s,1)', g)::tid"
                        " FROM generate_series(0, %s - 1, 100) AS g)",
                        pages,
                    )
                result = vault.backup("ehr")
                stats = result.stats
                print(
                    f"{name:<12} {stats.seconds:6.1f} s  read {stats.bytes / 1e6:9.1f} MB  new {stats.new_bytes / 1e6:9.1f} MB"
                    f"  stored {stats.stored_bytes / 1e6:9.1f} MB  pages {dict(result.evidence[0].proofs).get('pages-verified', '0')}"
                )


def main() -> int:
    """Run one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("stall").add_argument("--backups", type=int, default=200)
    kinds.add_parser("pitr").add_argument("--targets", type=int, default=50)
    kinds.add_parser("change").add_argument("--scale", type=int, default=50)
    options = parser.parse_args()
    if options.kind == "stall":
        stall(options.backups)
    elif options.kind == "change":
        change(options.scale)
    else:
        return pitr(options.targets)
    return 0


if __name__ == "__main__":
    sys.exit(main())
