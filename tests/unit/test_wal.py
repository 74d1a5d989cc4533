"""WAL names, positions and heads; the spool's promises to PostgreSQL, one by one, and what it does when it is full."""

from __future__ import annotations

import errno
import os
import struct
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.base.environment import ManualClock
from holdfast.errors import StoreFullError, StoreRefusedError, UsageError, WalConflictError, WalMissingError
from holdfast.repository.retention import ForgetDecision, ForgetPlan
from holdfast.repository.types import SnapshotInfo
from holdfast.runs.wal import keep_logs
from holdfast.sources import spool as spools
from holdfast.sources import wal
from holdfast.sources.spool import Spool, must_drop

MIB = 1 << 20
ENV = ManualClock().environment()


def segment(number: int, *, timeline: int = 1, system: int = 7, filling: bytes = b"x") -> tuple[str, bytes]:
    head = struct.pack("<HHIQI4xQII", 0xD110, 2, timeline, number * MIB, 0, system, MIB, 8192)
    return wal.segment_name(timeline, number, MIB), head + filling * (MIB - len(head))


@pytest.fixture
def server(tmp_path):
    """A server's own folder of WAL."""
    (tmp_path / "pg_wal" / "archive_status").mkdir(parents=True)
    return tmp_path / "pg_wal"


@pytest.fixture
def spool(tmp_path):
    (tmp_path / "spool").mkdir()
    return Spool(tmp_path / "spool", ENV)


def put(server, number, **more):
    name, content = segment(number, **more)
    (server / name).write_bytes(content)
    return server / name


@pytest.mark.parametrize(
    ("lsn", "size", "name"),
    [
        (0, 16 * MIB, "000000010000000000000000"),
        (0x16B374D848, 16 * MIB, "0000000100000016000000B3"),
        (0x100000000, 16 * MIB, "000000010000000100000000"),
        (0xFFFFFFFF, 16 * MIB, "0000000100000000000000FF"),
        (0x100000000, 1024 * MIB, "000000010000000100000000"),
        (0xFFFFFFFF, 1024 * MIB, "000000010000000000000003"),
    ],
)
def test_a_position_has_its_segment(lsn, size, name):
    assert wal.segment_name(1, lsn // size, size) == name
    assert wal.segment_start(name, size) == lsn // size * size
    assert wal.segments_between(1, lsn, lsn + 1, size) == (name,)
    assert wal.parse_lsn(wal.lsn_text(lsn)) == lsn


def test_a_range_ends_before_its_stop():
    size = 16 * MIB
    assert len(wal.segments_between(1, 0, size, size)) == 1
    assert len(wal.segments_between(1, 0, size + 1, size)) == 2
    assert wal.segments_between(2, 5, 5, size) == ("000000020000000000000000",)


@pytest.mark.parametrize("text", ["", "16", "16/", "/1", "G/1", "1/2/3", "123456789/0", "-1/0"])
def test_what_is_no_position_is_refused(text):
    with pytest.raises(ValueError, match="two hex numbers"):
        wal.parse_lsn(text)


def test_names_are_told_apart():
    assert wal.is_segment("0000000100000016000000B3")
    for name in ("00000002.history", "0000000100000016000000B3.partial", "0000000100000016000000B3.00000028.backup"):
        assert wal.is_wal_name(name)
        assert not wal.is_segment(name)
    for name in ("", "x", "0000000100000016000000b3", "../0000000100000016000000B3", "0000000100000016000000B3.tmp"):
        assert not wal.is_wal_name(name)


def test_gaps_are_between_segments_of_one_timeline():
    names = [wal.segment_name(1, number, MIB) for number in (4095, 4096, 4099)]
    names += [wal.segment_name(2, number, MIB) for number in (4097, 4098)]
    assert wal.gaps_in(names, MIB) == (wal.Gap(1, wal.segment_name(1, 4097, MIB), 2),)
    assert wal.gaps_in([], MIB) == ()


def test_a_head_says_what_a_segment_is():
    _, content = segment(5, timeline=3, system=99)
    assert wal.parse_head(content) == wal.SegmentHead(3, 5 * MIB, 99, MIB)
    assert wal.parse_head(content[:20]) is None
    assert wal.parse_head(b"\0" * 64) is None
    for at, change in ((0, 0x00), (2, 0x00), (8, 0x01), (34, 0x07)):
        broken = bytearray(content[:64])
        broken[at] = change
        assert wal.parse_head(bytes(broken)) is None, at


def test_a_segment_is_stored_once_and_known_for_ever(server, spool):
    path = put(server, 3)
    assert spool.push(path).outcome == "stored"
    assert spool.push(path).outcome == "identical"
    assert (spool.folder / path.name).read_bytes() == path.read_bytes()
    assert spool.missing([path.name, "none"]) == ("none",)
    assert spool.stored([path.name], keep=0) == 1
    assert spool.names() == ()
    assert spool.push(path).outcome == "identical"
    assert spool.names() == ()


def test_other_content_under_a_known_name_is_refused_and_changes_nothing(server, spool):
    path = put(server, 3)
    spool.push(path)
    before = (spool.folder / path.name).read_bytes()
    put(server, 3, filling=b"y")
    with pytest.raises(WalConflictError, match="other content"):
        spool.push(path)
    assert (spool.folder / path.name).read_bytes() == before
    spool.stored([path.name], keep=0)
    with pytest.raises(WalConflictError, match="other content"):
        spool.push(path)


def test_what_is_not_what_its_name_says_is_refused(server, spool):
    path = put(server, 3)
    path.rename(server / segment(4)[0])
    with pytest.raises(WalConflictError, match="not the segment"):
        spool.push(server / segment(4)[0])
    path.write_bytes(segment(3)[1][: MIB // 2])
    with pytest.raises(WalConflictError, match="not the segment"):
        spool.push(path)
    path.write_bytes(b"\0" * MIB)
    with pytest.raises(WalConflictError, match="not the segment"):
        spool.push(path)
    assert spool.names() == ()


def test_another_cluster_is_refused(server, spool):
    spool.push(put(server, 3))
    with pytest.raises(WalConflictError, match="another cluster"):
        spool.push(put(server, 4, system=8))


def test_a_name_that_is_none_and_a_file_that_is_not_there(server, spool, tmp_path):
    with pytest.raises(UsageError):
        spool.push(tmp_path / "passwd")
    with pytest.raises(WalMissingError):
        spool.push(server / segment(3)[0])
    with pytest.raises(WalMissingError):
        Spool(tmp_path / "nowhere", ENV).push(put(server, 3))
    assert Spool(tmp_path / "nowhere", ENV).names() == ()


def test_a_history_file_is_taken_as_it_is(server, spool):
    (server / "00000002.history").write_text("1\t0/3000000\tno recovery target specified\n")
    assert spool.push(server / "00000002.history").outcome == "stored"
    assert spool.state().others == 1


def failing(monkeypatch, number):
    def fail(_fd):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_spool_leaves_the_wal_with_the_server(number, server, spool, monkeypatch):
    path = put(server, 3)
    with monkeypatch.context() as patch:
        failing(patch, number)
        with pytest.raises(StoreFullError, match="no room"):
            spool.push(path)
        assert spool.names() == ()
    assert spool.push(path).outcome == "stored"


def test_a_spool_that_cannot_be_written_is_said(server, spool, monkeypatch):
    failing(monkeypatch, errno.EIO)
    with pytest.raises(StoreRefusedError, match="cannot be written"):
        spool.push(put(server, 3))


def test_the_primary_is_protected_only_when_asked_and_only_over_the_limit(server, spool, monkeypatch):
    path = put(server, 3)
    (server / "archive_status" / f"{path.name}.ready").touch()
    (server / "archive_status" / f"{segment(4)[0]}.ready").touch()
    with monkeypatch.context() as patch:
        failing(patch, errno.ENOSPC)
        with pytest.raises(StoreFullError):
            spool.push(path, protect="primary", queue_bytes_max=2 * MIB)
        assert spool.push(path, protect="primary", queue_bytes_max=2 * MIB - 1).outcome == "dropped"
    assert spool.state().dropped == (path.name,)
    assert not must_drop("pitr", 1 << 50, 0)
    assert must_drop("primary", 2, 1)
    assert not must_drop("primary", 1, 1)


def test_a_dropped_segment_shows_as_a_gap_even_if_it_could_not_be_noted(server, spool, monkeypatch):
    spool.push(put(server, 3))
    (server / "archive_status" / f"{segment(4)[0]}.ready").touch()
    with monkeypatch.context() as patch:
        failing(patch, errno.ENOSPC)
        patch.setattr(Spool, "_append", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        assert spool.push(put(server, 4), protect="primary").outcome == "dropped"
    spool.push(put(server, 5))
    (gap,) = spool.state().gaps
    assert (gap.first, gap.segments) == (segment(4)[0], 1)


def test_the_state_of_a_spool(server, spool):
    assert spool.state().segments == 0
    for number in (3, 4, 5):
        spool.push(put(server, number))
    assert spool.stored([segment(number)[0] for number in (3, 4)], keep=1) == 1
    state = spool.state()
    assert (state.segments, state.bytes, state.timelines, state.gaps) == (2, 2 * MIB, (1,), ())
    assert (state.first, state.last) == (segment(4)[0], segment(5)[0])


def test_only_what_was_pushed_whole_is_ever_removed(server, spool):
    spool.push(put(server, 3))
    stranger = segment(9)[0]
    (spool.folder / stranger).write_bytes(b"not by push")
    assert spool.stored([segment(3)[0], stranger], keep=0) == 1
    assert spool.names() == (stranger,)


def test_a_file_that_goes_while_it_is_counted_counts_for_nothing(server, spool):
    assert spool._size("gone") == 0
    assert spools._waiting_bytes(spool.folder / segment(3)[0]) == 0


def test_a_torn_ledger_and_a_left_part_do_no_harm(server, spool):
    path = put(server, 3)
    (spool.folder / f".{path.name}.dead.part").write_bytes(b"half")
    (spool.folder / spools.LEDGER).write_text(f"{path.name} abc")
    assert spool.push(path).outcome == "stored"
    assert not list(spool.folder.glob(".*.part"))
    assert spool.push(path).outcome == "identical"


def test_a_crash_between_name_and_ledger_is_made_good(server, spool):
    path = put(server, 3)
    spool.push(path)
    (spool.folder / spools.LEDGER).unlink()
    assert spool.missing([path.name]) == (path.name,)
    assert spool.push(path).outcome == "identical"
    assert spool.missing([path.name]) == ()


def test_a_file_is_got_whole_or_not_at_all(server, spool, tmp_path):
    path = put(server, 3)
    spool.push(path)
    spool.get(path.name, tmp_path / "RECOVERYXLOG")
    assert (tmp_path / "RECOVERYXLOG").read_bytes() == path.read_bytes()
    for name in (segment(4)[0], "../passwd", ".ledger"):
        with pytest.raises(WalMissingError):
            spool.get(name, tmp_path / "none")
    assert not (tmp_path / "none").exists()


NOW = datetime(2026, 11, 25, tzinfo=UTC)


def snapshot(name: str, begin: float, end: float, label: str, host: str = "db1") -> SnapshotInfo:
    """A snapshot that was made `begin` to `end` days ago."""
    return SnapshotInfo(
        id=name, source=label, parent="", writer="w", started=NOW - timedelta(days=begin),
        finished=NOW - timedelta(days=end), partial=False, findings=0, anomaly=0, retain_until=None, admitted=None,
        held=False, classes=(), label=label, host=host,
    )  # fmt: skip


BASES = [snapshot("b400", 400, 399.9, "ehr"), snapshot("b20", 20, 19.9, "ehr"), snapshot("b2", 2, 1.9, "ehr")]
LOGS = [
    snapshot("l500", 500, 500, "db.wal"),
    snapshot("l400", 399.95, 399.94, "db.wal"),
    snapshot("l300", 300, 300, "db.wal"),
    snapshot("l21", 21, 21, "db.wal"),
    snapshot("l19", 19, 19, "db.wal"),
    snapshot("l0", 0.1, 0.1, "db.wal"),
    snapshot("other", 19, 19, "db.wal", host="db2"),
]


@pytest.mark.parametrize(
    ("going", "days", "kept"),
    [
        ((), 30, {"l400", "l19", "l0"}),
        ((), 10, {"l400", "l0"}),
        ((), 0, {"l400"}),
        ((), 1000, {"l400", "l300", "l21", "l19", "l0"}),
        (("b20",), 30, {"l400", "l0"}),
        (("b400",), 30, {"l19", "l0"}),
        (("b400", "b20", "b2"), 30, set()),
    ],
)
def test_logs_are_kept_as_long_as_a_kept_base_backup_needs_them(going, days, kept):
    rows = [ForgetDecision(row.id, keep=row.id not in going, reasons=()) for row in BASES]
    rows += [ForgetDecision(row.id, keep=False, reasons=()) for row in LOGS]
    plan = keep_logs(ForgetPlan(tuple(rows)), [*BASES, *LOGS], days, NOW)
    assert {row.snapshot for row in plan.decisions if row.reasons == ("wal",)} == kept
    assert set(plan.forget) == {row.id for row in LOGS} - kept | set(going)
