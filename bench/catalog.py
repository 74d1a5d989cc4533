"""The catalog at scale: a million files, thirty snapshots, one per cent churn; every query in a process of its own.

    python bench/catalog.py [--files 1000000] [--snapshots 30] [--churn 0.01] [--folder DIR]

Prints the cost of the first load and of each further snapshot, the file's size, and the wall time of each query with a cold start
(interpreter, imports, opening and proving the file, the query).
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

BATCH = 8192
FOLDER_FILES = 500
VAULT = "0" * 32
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Class:
    """One data class."""

    class_id: int = 1


@dataclass(frozen=True)
class Snapshot:
    """A made-up snapshot."""

    id: str
    finished: datetime
    source: str = "f" * 32
    classes: tuple[Class, ...] = (Class(),)


class Synthetic:
    """A feed of made-up trees: numbered files in folders; each snapshot changes, removes and adds some at random."""

    def __init__(self, files: int, snapshots: int, churn: float) -> None:
        """Plan all snapshots; nothing is kept but numbers."""
        self.files, self.churn = files, churn
        self.all = [Snapshot(f"{n:032x}", START + timedelta(days=n)) for n in range(snapshots)]
        self.known = 0
        self.removed: set[int] = set()
        self.next_file = files

    def snapshots(self) -> list[Snapshot]:
        """Return those shown so far."""
        return self.all[: self.known]

    def root(self, snapshot: Snapshot, _: int) -> str:
        """Return a stand-in for a root."""
        return snapshot.id

    def rows(self, root: str, base: str | None) -> Iterator[tuple[list[tuple[object, ...]], list[tuple[bytes, bytes]]]]:
        """Return the first tree whole, then changes."""
        return self._whole() if base is None else self._changes(int(root, 16))

    def _whole(self) -> Iterator[tuple[list[tuple[object, ...]], list[tuple[bytes, bytes]]]]:
        folders = [b"srv/ehr/inbox/%04d" % number for number in range(-(-self.files // FOLDER_FILES))]
        yield [(b"srv/ehr/inbox", folder[-4:], 2, 0, 0, 1) for folder in folders], []
        for at in range(0, self.files, BATCH):
            numbers = range(at, min(at + BATCH, self.files))
            yield [(folders[n // FOLDER_FILES], name(n), 1, 200 + n % 8000, n * 10**12, n * n) for n in numbers], []

    def _changes(self, number: int) -> Iterator[tuple[list[tuple[object, ...]], list[tuple[bytes, bytes]]]]:
        randomness = random.Random(number)
        picked = sorted(randomness.sample(range(self.files), round(self.files * self.churn)))
        present: list[tuple[object, ...]] = []
        gone: list[tuple[bytes, bytes]] = []
        for place, n in enumerate(picked):
            if place % 4 == 3 and n not in self.removed:
                self.removed.add(n)
                gone.append((folder(n), name(n)))
                self.next_file += 1
                n = self.next_file  # noqa: PLW2901
            elif n in self.removed:
                continue
            present.append((folder(n), name(n), 1, 300, number * 10**15 + n, number << 32 | n))
        yield present, gone


def folder(number: int) -> bytes:
    """Return a file's folder."""
    return b"srv/ehr/inbox/%04d" % (number // FOLDER_FILES)


def name(number: int) -> bytes:
    """Return a file's name."""
    return b"ADT%08d-%06x.hl7" % (number, number * 2654435761 & 0xFFFFFF)


QUERIES = {
    "snapshots": "c.snapshots()",
    "list a folder of 500": "c.list(first, b'srv/ehr/inbox/0100')",
    "list a folder of 2,000 folders": "c.list(last, b'srv/ehr/inbox')",
    "find a name over all snapshots": f"c.find({name(50_000).decode()!r})",
    "find *0077*, over all snapshots": "c.find('*0077*')",
    "find *77.hl7 at the newest": "c.find('*77.hl7', last)",
    "find srv/ehr/inbox/0042/**": "c.find('srv/ehr/inbox/0042/**')",
    "versions of one file": f"c.versions({folder(50_000) + b'/' + name(50_000)!r})",
    "changes of the last snapshot": "c.changes(before, last)",
    "changes over all snapshots": "c.changes(first, last)",
    "newest version before a time": f"[c.before({folder(50_000) + b'/' + name(50_000)!r}, middle)]",
}


def ask(path: str, query: str, snapshots: int) -> tuple[float, float, int]:
    """Ask in a new process; returns seconds of wall time, of CPU time, and the number of answers."""
    code = (
        "import sys, datetime\nfrom holdfast.catalog import Catalog\n"
        f"first, before, last = ['%032x' % n for n in (0, {snapshots - 2}, {snapshots - 1})]\n"
        f"middle = datetime.datetime.fromisoformat({(START + timedelta(days=snapshots // 2)).isoformat()!r})\n"
        f"c = Catalog.open({path!r}, {VAULT!r})\nprint(len(list({query})))\n"
    )
    before, start = os.times(), time.perf_counter()
    answers = int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - start, cpu, answers


def main() -> None:
    """Build, then ask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--snapshots", type=int, default=30)
    parser.add_argument("--churn", type=float, default=0.01)
    parser.add_argument("--folder", default=None, help="where the catalog is built; default: the temporary directory")
    options = parser.parse_args()
    from holdfast.catalog import Catalog

    feed = Synthetic(options.files, options.snapshots, options.churn)
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        path = os.path.join(place, "catalog.sqlite")
        start = time.process_time()
        rows = sum(len(present) for present, _ in feed._whole())  # noqa: SLF001
        print(f"making {rows:,} rows: {time.process_time() - start:.2f} s of CPU (not the catalog's)")
        with Catalog.open(path, VAULT) as catalog:
            for feed.known in range(1, options.snapshots + 1):
                wall, start = time.perf_counter(), time.process_time()
                update = catalog.update_from(feed)
                if feed.known in (1, 2, options.snapshots):
                    spent = time.process_time() - start
                    wall = time.perf_counter() - wall
                    print(
                        f"snapshot {feed.known}: {update.rows:,} rows, {spent:.2f} s of CPU, {wall:.2f} s, feed included"
                    )
        print(f"file: {os.path.getsize(path) / 1e6:.0f} MB")
        print(f"{'query, cold start':36} {'wall s':>7} {'CPU s':>6} {'answers':>9}")
        for title, query in QUERIES.items():
            wall, cpu, answers = min(ask(path, query, options.snapshots) for _ in range(3))
            print(f"{title:36} {wall:7.2f} {cpu:6.2f} {answers:9,}")


if __name__ == "__main__":
    main()
