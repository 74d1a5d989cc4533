"""A log is verified while runs append to it, begin new files and anchor heads, at whichever point of the verification: it is sound."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import holdfast
from holdfast.reliability.audit import files, verify
from holdfast.reliability.audit.log import AuditLog
from holdfast.reliability.audit.verify import verify_log
from holdfast.runs import audit, trail

from .logs import ENV, filled, record

POINTS: dict[str, tuple[object, str]] = {
    "the log's description": (files, "read_meta"),
    "what this host anchored": (trail.Trail, "anchored"),
    "the vault's heads": (audit, "anchor_numbers"),
    "one of the vault's heads": (audit, "anchors_of"),
    "how long the heads are": (files, "_size"),
    "which files there are": (files, "segments"),
    "the kept heads": (files, "read_heads"),
    "a file of records": (files, "lines_of"),
    "the walk's end": (verify._Walk, "end"),
    "the logs of this host": (audit, "logs_of_host"),
}


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("point", POINTS)
def test_a_run_that_appends_and_anchors_beside_it(place, monkeypatch, point, late):
    owner, name = POINTS[point]
    place.source.mkdir()
    with place.create() as vault, place.open() as other:
        for opened in (vault, other):
            opened._vault.trail.log().segment_bytes = 2_000
        for _ in range(4):
            place.backup(vault)
            vault.audit.head()
        at_work = False

        def run() -> None:
            nonlocal at_work
            if not at_work:
                at_work = True
                for number in range(4):
                    other._vault.trail.append([record(number)])
                    other._vault.trail.anchor(always=True, events=lambda _: None)
                at_work = False

        hook(monkeypatch, owner, name, run, late=late)
        before = len(files.segments(Path(vault.audit.folder)))
        at_work = False
        report = vault.audit.examine()
        assert report.problems == ()
        monkeypatch.undo()
        assert len(files.segments(Path(vault.audit.folder))) > before, "new files were begun"


def hook(monkeypatch, owner: object, name: str, run: Callable[[], None], *, late: bool) -> None:
    """Have a function do something before, or after, each of its calls."""
    real = getattr(owner, name)

    def call(*args, **kwargs):
        if not late:
            run()
        found = real(*args, **kwargs)
        if late:
            run()
        return found

    monkeypatch.setattr(owner, name, call)


def test_between_the_lines_of_a_file_and_its_heads(tmp_path, monkeypatch):
    """Files and heads are read piece by piece: what is added between two pieces is left for the next verification."""
    log, _ = filled(tmp_path / "a", 120, head_every=10)
    other = AuditLog.open(tmp_path / "a", ENV)
    other.segment_bytes = 4_000
    monkeypatch.setattr(files, "READ_BYTES", 700)
    real = files.lines_of

    def growing(path, offset=0, end=None):
        for batch in real(path, offset, end):
            if end is not None:
                other.append([record(1), record(2)])
                other.head()
            yield batch

    monkeypatch.setattr(files, "lines_of", growing)
    report = verify_log(tmp_path / "a", ENV, public=log.public)
    assert report.problems == ()
    assert (report.records, report.signed, report.torn_bytes) == (120, 120, 0)


def test_a_log_without_heads_has_an_extent(tmp_path):
    log = AuditLog.open(tmp_path / "a", ENV)
    assert files.extent(tmp_path / "a") == files.Extent(0, ())
    log.append([record(0)])
    found = files.extent(tmp_path / "a")
    assert [(first, size) for first, _, size in found.segments] == [(0, found.segments[0][1].stat().st_size)]
    (tmp_path / "a" / "heads").unlink()
    (tmp_path / "a" / "heads").symlink_to(tmp_path / "a" / "heads")
    with pytest.raises(holdfast.HoldfastError, match="cannot be read"):
        files.extent(tmp_path / "a")
