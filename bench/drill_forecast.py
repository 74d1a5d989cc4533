"""How good a drill's forecast is, and what a drill costs over a bare restore: three services, drilled small, then ten times larger.

PYTHONPATH=tests:. uv run python bench/drill_forecast.py [MEGABYTES]      (as root, for namespaces)
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import holdfast
from holdfast.runs.drill.options import DrillOptions
from holdfast.runs.drill.verdict import forecast_of
from servers import databases

SIZES = (1, 1, 2, 3)
"""Multiples of the smallest size that are drilled before the forecast."""
LARGE = 10
ROWS = """
insert into patients (note) select string_agg(md5(random()::text), '')
from generate_series(1, 1000) n, generate_series(1, 30) m group by n
"""
"""A megabyte of them."""
SERVICES = """
[services.files]
paths = ["{root}/files"]
rto = "1h"
[services.lab]
application = "sqlite"
paths = ["{root}/lab"]
data = "{root}/lab"
rto = "1h"
[[services.lab.checks]]
name = "results"
query = "select count(*) from results"
at_least = 1
[services.ehr]
application = "postgresql"
paths = ["{root}/pgdata"]
data = "{root}/pgdata"
rto = "1h"
[[services.ehr.checks]]
name = "patients"
query = "select count(*) from patients"
at_least = 1
"""


def fill_files(folder: Path, count: int, seed: int) -> None:
    """Add files of 4 to 64 KiB that do not compress."""
    rng = random.Random(seed)
    folder.mkdir(exist_ok=True)
    for number in range(count):
        (folder / f"{seed}-{number}").write_bytes(rng.randbytes(rng.randrange(4096, 65536)))


def fill_sqlite(folder: Path, megabytes: int, seed: int) -> None:
    """Add rows of a kilobyte."""
    folder.mkdir(exist_ok=True)
    rng = random.Random(seed)
    with sqlite3.connect(folder / "lab.sqlite") as database:
        database.execute("create table if not exists results (id integer primary key, value blob)")
        database.executemany(
            "insert into results (value) values (?)", ((rng.randbytes(1000),) for _ in range(megabytes * 1000))
        )
    database.close()


def fill_postgresql(cluster: databases.PostgreSQL, megabytes: int) -> None:
    """Add rows of a kilobyte."""
    with cluster.running():
        cluster.sql("create table if not exists patients (id serial primary key, note text)")
        for _ in range(megabytes):
            cluster.sql(ROWS)
        cluster.sql("checkpoint")


def main() -> int:
    """Grow, drill, forecast, grow to ten times, drill, compare."""
    base = int(sys.argv[1]) if len(sys.argv) > 1 else 16
    root = Path(tempfile.mkdtemp(prefix="hf-", dir="/var/tmp"))
    root.chmod(0o755)
    os.environ["HOLDFAST_STATE"] = str(root / "state")
    configuration = root / "holdfast.toml"
    configuration.write_text(f'[vault]\nurl = "{root}/vault"\nkey_file = "file:{root}/key"\n[drill]\nplace = "{root}/drills"\n'
                             + SERVICES.format(root=root))  # fmt: skip
    holdfast.Vault.create(root / "vault", key_file=root / "key").close()
    cluster = databases.postgresql(root)
    paths = {"files": root / "files", "lab": root / "lab", "ehr": root / "pgdata"}
    have, seed = 0, 0
    try:
        for size in (*SIZES, LARGE):
            more, seed = size - have, seed + 1
            if more > 0:
                fill_files(paths["files"], more * base * 1000 // 34, seed)
                fill_sqlite(paths["lab"], more * base, seed)
                fill_postgresql(cluster, more * base)
                have = size
            drill(configuration, paths, size)
    finally:
        shutil.rmtree(root)
    return 0


def drill(configuration: Path, paths: dict[str, Path], size: int) -> None:
    """Back each service up and drill it; at the largest size compare with the forecast and with a bare restore."""
    for name, path in paths.items():
        with holdfast.Vault.open(configuration) as vault:
            vault.backup([path], label=name)
            history = vault.drills(name)
            record = vault.drill(name, DrillOptions(deep=False)).record
            line = f"{name:6} x{size:<3} {record.bytes / 1e6:8.1f} MB  back in {record.rto_achieved:6.2f} s"
            if size == LARGE:
                expected = forecast_of(history, record.bytes)
                if expected is None:
                    raise SystemExit("no forecast")
                off = expected.seconds / record.rto_achieved - 1
                line += f"  forecast {expected.seconds:6.2f} s ({expected.low:.2f} to {expected.high:.2f}), off by {off:+.0%}"
                target = path.parent / "bare"
                began = time.monotonic()
                vault.snapshots(name).latest().restore(target)
                bare = time.monotonic() - began
                shutil.rmtree(target)
                own = record.phase("fetch") + record.phase("locate") + record.phase("keys")
                line += (
                    f"  bare restore {bare:.2f} s, in the drill {own:.2f} s, set-up {record.phase('setting up'):.2f} s"
                )
            print(line, record.verdict, record.cause)


if __name__ == "__main__":
    raise SystemExit(main())
