"""The audit log at scale: records appended in durable batches, then all of them verified offline with the public key.

    python bench/audit.py [--records 10000000] [--batch 1000] [--folder DIR]

A folder that already holds a log is only verified: appending ten million records takes a quarter of an hour. Floors: 100,000
records appended a minute; 10,000,000 verified in 60 s.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

from holdfast.base.environment import system
from holdfast.reliability.audit import AuditLog, AuditRecord
from holdfast.reliability.audit.record import this_actor
from holdfast.reliability.audit.verify import verify_log


def cpu_seconds() -> float:
    """Return what this process used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def append(folder: Path, records: int, batch: int) -> None:
    """Append records as a run of a backup writes them, and say how fast."""
    env = system()
    log = AuditLog.open(folder, env)
    actor = this_actor("bench", "writer", "ab" * 16)
    began, used = time.perf_counter(), cpu_seconds()
    for first in range(0, records, batch):
        log.append([
            AuditRecord(
                kind="backup",
                phase="end",
                operation=f"{number:032x}",
                time=env.now(),
                actor=actor,
                vault="cd" * 16,
                outcome="success",
                subject=f"{number:032x}",
                facts={"files": number, "bytes": number * 4096},
            )
            for number in range(first, min(first + batch, records))
        ])  # fmt: skip
    wall = time.perf_counter() - began
    spent = f"{wall:.1f} s wall, {cpu_seconds() - used:.1f} s CPU, {records / wall * 60:.0f} a minute"
    print(f"appended {records} records in batches of {batch}: {spent}")


def verify(folder: Path) -> None:
    """Verify a log and say how fast."""
    used = cpu_seconds()
    report = verify_log(folder, system())
    state = "sound" if report.sound else "NOT SOUND"
    spent = f"{report.seconds:.1f} s wall, {cpu_seconds() - used:.1f} s CPU"
    print(f"verified {report.records} records, {report.heads} heads: {spent}, {state}")


def main() -> None:
    """Append, unless there is a log, and verify."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary) / "log"
        if not folder.exists():
            folder.mkdir()
            append(folder, options.records, options.batch)
        verify(folder)


if __name__ == "__main__":
    main()
