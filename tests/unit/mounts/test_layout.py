"""Where mounted snapshots stand: pure."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from holdfast.repository.types import SnapshotInfo
from holdfast.runs.mounts.layout import rows_of, upper_of
from holdfast.runs.mounts.results import MountResult


def info(number: int, label: str, minute: int = 0) -> SnapshotInfo:
    time = datetime(2026, 1, 2, 3, minute, tzinfo=UTC)
    return SnapshotInfo(
        id=f"{number:032x}", source="c0ffee" * 6, parent="", writer="", started=time, finished=time, partial=False,
        findings=0, anomaly=0, retain_until=None, admitted=None, held=False, classes=(), label=label,
    )  # fmt: skip


def paths(*infos: SnapshotInfo) -> dict[bytes, object]:
    return {row.path: row.target if row.snapshot is None else row.snapshot for row in rows_of(infos)}


def test_each_snapshot_has_a_folder_and_each_source_its_newest():
    assert paths(info(1, "ehr"), info(2, "lab", 1), info(3, "ehr", 2)) == {
        b"snapshots/ehr/2026-01-02T03-00-00Z": 0,
        b"snapshots/lab/2026-01-02T03-01-00Z": 1,
        b"snapshots/ehr/2026-01-02T03-02-00Z": 2,
        b"snapshots/ehr/latest": b"2026-01-02T03-02-00Z",
        b"snapshots/lab/latest": b"2026-01-02T03-01-00Z",
        b"latest": b"snapshots/ehr/2026-01-02T03-02-00Z",
    }
    assert rows_of([]) == []


def test_two_of_one_second_stand_beside_each_other():
    found = paths(info(0xAB << 120, "ehr"), info(0xCD << 120, "ehr"))
    assert b"snapshots/ehr/2026-01-02T03-00-00Z-cd000000" in found


def test_labels_that_are_no_names():
    for label, name in (
        ("a/b", b"a_b"),
        ("..", b"_.."),
        ("latest", b"_latest"),
        ("", b"c0ffeec0ffee"),
        ("x" * 300, b"x" * 200),
    ):
        assert rows_of([info(1, label)])[0].path.split(b"/")[1] == name


def test_the_upper_folder_lies_beside_the_mount():
    folder = upper_of(Path("/srv/pg"), None)
    assert (folder.root, folder.tree) == (Path("/srv/pg.holdfast"), Path("/srv/pg.holdfast/tree"))
    assert upper_of(Path("/srv/pg"), Path("/fast/x")).whole == Path("/fast/x/state/whole")


def test_exit_codes():
    assert MountResult(1, writable=False, seconds=1).exit_code == 0
    assert MountResult(1, writable=False, seconds=1, classes_missing=1).exit_code == 3
    assert MountResult(1, writable=True, seconds=1, classes_missing=1, lost_files=1).exit_code == 4
