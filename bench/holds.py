"""How long applications stand still under load: `python bench/holds.py [COUNT]`, as root. MariaDB and a frozen XFS, on btrfs."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from holdfast.base.environment import system
from holdfast.errors import ApplicationError
from holdfast.sources.connectors.mariadb import FACTORY
from holdfast.sources.connectors.protocol import Budgets, Connection, Connector, Member
from holdfast.sources.connectors.volume import FACTORY as VOLUMES
from holdfast.sources.consistency import consistent
from servers import loops, mariadb


def captures(make: Callable[[], Connector], count: int) -> None:
    """Capture so often at the default budgets; print how long it took to freeze, and how long it stood."""
    acquired, held, cut = [], [], Counter[str]()
    for _ in range(count):
        try:
            with consistent([Member(make(), Budgets(attempts=1), "crash")], env=system()) as group:
                for attempt in group.conclude()[0].evidence.attempts:
                    cut[attempt.cut or "none"] += 1
                    acquired.append(attempt.acquire_ms)
                    held.append(attempt.hold_ms)
        except ApplicationError as error:
            cut[error.code] += 1
    say("  acquire", acquired)
    say("  hold", held)
    print("  cut", dict(cut))


def say(name: str, figures: Sequence[float]) -> None:
    """Print count, median, 99th percentile and maximum."""
    row = sorted(figures)
    print(
        f"{name}: n {len(row)}, p50 {row[len(row) // 2]:.0f}, p99 {row[int(len(row) * 0.99) - 1]:.0f}, max {row[-1]:.0f} ms"
    )


class Load:
    """Threads that write until the end, and how long each write took."""

    def __init__(self, write: Callable[[], Callable[[], object]], threads: int) -> None:
        """`write` makes each thread's own writer."""
        self.took: list[float] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(write,)) for _ in range(threads)]

    def _run(self, write: Callable[[], Callable[[], object]]) -> None:
        once = write()
        while not self._stop.wait(0.005):
            began = time.monotonic()
            once()
            self.took.append((time.monotonic() - began) * 1000)

    def __enter__(self) -> Self:
        """Start."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and print what the writers saw."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        say("  writers waited", self.took)


def main() -> None:
    """Measure both."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    root = Path(tempfile.mkdtemp())
    with (
        loops.mounted("btrfs", root / "one", root / "fs", mib=4000) as place,
        mariadb.mariadb(place / "server") as server,
    ):
        server.run(
            "CREATE DATABASE ehr", "CREATE TABLE ehr.log (id BIGINT AUTO_INCREMENT PRIMARY KEY, said VARCHAR(200))"
        )

        def insert() -> Callable[[], object]:
            cursor = server.connect().cursor()
            return lambda: cursor.execute("INSERT INTO ehr.log (said) VALUES (REPEAT('x', 200))")

        print("MariaDB, backup stages and btrfs")
        connection = Connection("ehr", host=str(server.socket), user="root", options={"volume": "btrfs"})
        with Load(insert, 2):
            captures(lambda: FACTORY.make(connection, system()), count)
    with loops.mounted("btrfs", root / "two", root / "fs2", mib=3000) as place:
        loops.run("btrfs", "subvolume", "create", str(place / "v"))
        image = place / "v" / "image"
        with loops.mounted("xfs", image, root / "xfs") as frozen:
            file = os.open(frozen / "log", os.O_RDWR | os.O_CREAT)

            def write() -> Callable[[], object]:
                return lambda: (os.pwrite(file, b"x" * 4096, 0), os.fsync(file))

            print("XFS, FIFREEZE and btrfs below")
            options = {"volume": "btrfs", "freeze": "yes", "storage": str(image)}
            with Load(write, 1):
                captures(
                    lambda: VOLUMES.make(Connection("f", path=str(frozen / "log"), options=options), system()), count
                )
            os.close(file)


if __name__ == "__main__":
    main()
