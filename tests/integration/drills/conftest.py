"""A site of its own for each test: a vault, its configuration, a place for drills, where other users may pass through."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import holdfast
from holdfast.runs.drill.drills import DrillReport
from holdfast.testing import trees
from servers import databases


@dataclass
class Site:
    """A hospital's backup host, small."""

    root: Path
    services: str = ""
    drill: str = ""

    @property
    def source(self) -> Path:
        return self.root / "srv"

    @property
    def place(self) -> Path:
        return self.root / "drills"

    @property
    def evidence(self) -> Path:
        return self.root / "evidence"

    def configuration(self) -> Path:
        """Write the configuration and return its path."""
        path = self.root / "holdfast.toml"
        path.write_text(
            f'[vault]\nurl = "{self.root}/vault"\nkey_file = "file:{self.root}/key"\n'
            f'[drill]\nplace = "{self.place}"\nevidence = "{self.evidence}"\n{self.drill}\n{self.services}\n'
        )
        return path

    def create(self) -> None:
        self.source.mkdir(exist_ok=True)
        holdfast.Vault.create(self.root / "vault", key_file=self.root / "key", label="site").close()

    def open(self) -> holdfast.Vault:
        return holdfast.Vault.open(self.configuration())

    def backup(self, label: str, *paths: Path) -> holdfast.SnapshotInfo:
        with self.open() as vault:
            snapshot = vault.backup(list(paths or [self.source]), label=label).snapshot
        assert snapshot is not None
        return snapshot

    def nothing_left(self) -> None:
        """Assert that no folder, process or mount of a drill is there."""
        assert list(self.place.iterdir()) == []
        assert str(self.place) not in Path("/proc/self/mountinfo").read_text()
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    command = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                assert f"{self.place}/".encode() not in command, command


@contextmanager
def a_site():
    """Yield a site with a vault; its local state is there as long as it is."""
    with databases.folder() as root, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOLDFAST_STATE", str(root / "state"))
        found = Site(root)
        found.create()
        yield found
        trees.empty(root)


@pytest.fixture
def site():
    with a_site() as found:
        yield found


def sqlite_records(path: Path, rows: int = 300) -> None:
    """Make a small database of a laboratory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as database:
        database.execute("create table results (id integer primary key, patient text, value real)")
        database.execute("create index by_patient on results (patient)")
        database.executemany(
            "insert into results (patient, value) values (?, ?)", ((f"P{n % 50}", n / 7) for n in range(rows))
        )
    database.close()


def outcome(report: DrillReport, name: str):
    """Return the only outcome of that name."""
    (found,) = [each for each in report.record.outcomes if each.name == name]
    return found


def flip(path, offset: int = 8192 + 4000) -> None:
    """Change one byte of a file."""
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0xFF]))
