"""What the PostgreSQL connector decides, without a server: what a server must be, what is copied, what belongs where."""

from __future__ import annotations

import dataclasses
import os
import shutil
import struct
import sys
import threading
from datetime import UTC, datetime, timedelta
from importlib.metadata import EntryPoint
from pathlib import Path

import psycopg
import pytest

from holdfast.base.environment import ManualClock
from holdfast.base.events import Finding
from holdfast.errors import (
    ApplicationAccessError,
    ApplicationChangedError,
    ApplicationUnsuitableError,
    CaptureError,
    ConfigError,
    DamageError,
    DriverMissingError,
    UsageError,
)
from holdfast.runs import start
from holdfast.runs.applications import read_evidence, spoiled, with_captures
from holdfast.runs.backup import BackupRequest
from holdfast.runs.conclusion import moves, under
from holdfast.runs.options import BackupOptions, ClassRule
from holdfast.runs.recovery import (
    RecoveryTarget,
    ended_before,
    map_rows,
    moved_map,
    prepare_recovery,
    recovery_settings,
)
from holdfast.sources import connectors
from holdfast.sources.connectors.postgresql import checks, control, layout, logical, pages, session, summaries
from holdfast.sources.connectors.postgresql.checks import Server
from holdfast.sources.connectors.postgresql.programs import client_programs
from holdfast.sources.connectors.protocol import Capture, CapturedStream, Connection, Evidence, Verdict

SERVER = Server(
    number=150020, user="bkr", in_recovery=False, wal_level="replica", archive_mode="on", archives=True,
    archiver_failing=False, page_checksums=True, page_bytes=8192, segment_bytes=16 << 20, system=7, timeline=1, started="now",
    skew_seconds=0.0, summarizes_wal=False, may_read_settings=True, missing=(), settings=(),
)  # fmt: skip


def problems(*, archived=True, **change):
    return list(checks.problems(dataclasses.replace(SERVER, **change), archived=archived))


def test_a_good_server_has_no_problems():
    assert problems() == []
    assert problems(archived=False, archive_mode="off", archives=False, archiver_failing=True) == []
    assert list(checks.notes(SERVER)) == []


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"number": 120010}, ApplicationUnsuitableError, "PostgreSQL 12.10"),
        ({"number": 190000}, ApplicationUnsuitableError, "versions 13 to 18"),
        ({"missing": ("pg_backup_stop(boolean)",)}, ApplicationAccessError, "1 rights"),
        ({"may_read_settings": False}, ApplicationAccessError, "settings"),
        ({"in_recovery": True}, ApplicationUnsuitableError, "replica"),
        ({"wal_level": "minimal"}, ApplicationUnsuitableError, "minimal"),
        ({"archive_mode": "off"}, ApplicationUnsuitableError, "does not archive"),
        ({"archives": False}, ApplicationUnsuitableError, "does not archive"),
        ({"archiver_failing": True}, ApplicationUnsuitableError, "failed"),
    ],
)
def test_each_problem_is_said_with_what_to_do(change, kind, words):
    (problem,) = problems(**change)
    assert isinstance(problem, kind)
    assert words in problem.what
    assert problem.next


def test_what_is_worth_a_note():
    server = dataclasses.replace(SERVER, page_checksums=False, skew_seconds=-45.0, number=130021)
    assert len(list(checks.notes(server))) == 3


@pytest.mark.parametrize(
    ("major", "name"),
    [(13, "pg_start_backup"), (14, "pg_stop_backup"), (15, "pg_backup_start"), (18, "pg_backup_stop")],
)
def test_the_grants_of_each_version(major, name):
    assert any(name in function for function in checks.functions(major))
    assert name in checks.grants("a", major)
    assert name in checks.grants("a")
    assert 'ROLE "odd""name"' in checks.grants('odd"name', major)


def test_what_of_a_data_directory_is_left_out():
    found = layout.excluded("/srv/pg [1]/main/", ["/fast"])
    assert r"/srv/pg \[1\]/main/pg_wal/*" in found
    assert r"/srv/pg \[1\]/main/global/pg_control" in found
    assert "/fast/**/pgsql_tmp*" in found
    assert not any("base" in pattern for pattern in found)


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("16384", 0), ("16384.1", 131_072), ("16384.12", 12 * 131_072), ("16384_fsm", 0), ("16384_vm.1", 131_072),
        ("16384_init", 0), ("pg_filenode.map", None), ("PG_VERSION", None), ("t3_16384", None), ("16384.x", None),
    ],
)  # fmt: skip
def test_the_first_block_of_a_file(name, block):
    assert layout.first_block(name, 8192) == block


def test_a_label_is_read():
    label = layout.parse_label(
        b"START WAL LOCATION: 1A/28000028 (file 000000020000001A00000028)\nCHECKPOINT LOCATION: 1A/28000060\n"
    )
    assert (label.start, label.timeline, label.checkpoint) == (0x1A28000028, 2, "1A/28000060")
    with pytest.raises(CaptureError):
        layout.parse_label(b"nonsense")


def crc(data):
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def control_file(length=288, system=7):
    body = struct.pack("<Q", system) + bytes(range(1, 200)) * 3
    return (body[:length] + struct.pack("<I", crc(body[:length]))).ljust(8192, b"\0")


@pytest.mark.parametrize("length", [240, 288, 292, 296, 500])
def test_a_control_file_is_sound_wherever_its_sum_is(length):
    content = control_file(length)
    assert control.sound(content)
    assert not control.sound(content[:10] + b"\xff" + content[11:])
    assert not control.sound(content[:100])
    assert control.system_of(content) == 7
    assert control.system_of(b"") == 0


def test_a_control_file_that_is_being_written_is_read_again(tmp_path, monkeypatch):
    clock = ManualClock()
    (tmp_path / "global").mkdir()
    path = tmp_path / "global" / "pg_control"
    path.write_bytes(b"torn" * 2048)
    env = dataclasses.replace(clock.environment(), sleep=lambda _: path.write_bytes(control_file()))
    assert control.read_control(tmp_path, env) == control_file()
    path.write_bytes(b"torn" * 2048)
    with pytest.raises(CaptureError):
        control.read_control(tmp_path, clock.environment())


def test_only_changed_files_are_verified_again(tmp_path):
    data = tmp_path / "data"
    (data / "base" / "5").mkdir(parents=True)
    (data / "pg_wal").mkdir()
    for name in ("base/5/16384", "base/5/16385.1", "base/5/PG_VERSION", "pg_wal/000000010000000000000001"):
        (data / name).write_bytes(b"\0" * 8192)
    clock = ManualClock(datetime.now(UTC) + timedelta(days=1))
    state = tmp_path / "state" / "pages"
    report = pages.check_cluster([str(data)], 8192, 100, state, clock.environment())
    assert (report.files, report.pages, report.bad_pages) == (2, 2, 0)
    assert report.proofs
    assert not report.problems
    assert pages.check_cluster([str(data)], 8192, 100, state, clock.environment()) == pages.PageReport()
    assert pages.PageReport().proofs == ()
    assert pages.check_cluster([str(data)], 8192, 100, None, clock.environment()).files == 2
    (data / "base" / "5" / "16384").write_bytes(b"\0" * 8191 + b"\1")
    (data / "base" / "5" / "16386").symlink_to("gone")
    state.write_text("nonsense")
    report = pages.check_cluster([str(data)], 8192, 100, state, clock.environment())
    assert (report.bad_pages, report.bad_files) == (1, 1)
    assert report.problems
    assert state.read_text() == "nonsense"


@pytest.mark.parametrize(
    ("row", "path"),
    [
        ((1663, 5, 16384, 0, 0), "base/5/16384"),
        ((1663, 5, 16384, 1, 0), "base/5/16384_fsm"),
        ((1663, 5, 16384, 0, 2), "base/5/16384.2"),
        ((1664, 0, 1260, 2, 0), "global/1260_vm"),
        ((16390, 5, 16384, 0, 1), "pg_tblspc/16390/*/5/16384.1"),
    ],
)
def test_a_summary_s_relation_has_its_file(row, path):
    assert summaries.file_of(*row) == path


@pytest.mark.parametrize(
    ("ranges", "whole"),
    [
        ([(0, 50), (50, 120)], True),
        ([(60, 120), (0, 70)], True),
        ([(0, 50), (51, 120)], False),
        ([(20, 120)], False),
        ([(0, 99)], False),
        ([], False),
    ],
)
def test_summaries_must_cover_everything_between(ranges, whole):
    assert summaries.covered(ranges, 10, 100) is whole


def test_a_file_that_changed_behind_its_time_is_counted(tmp_path):
    base = summaries.Base(7, 1, 0, 1_000_000.0)
    for name, moment in (("base/5/1", 999_000), ("base/5/2", 1_000_500), ("pg_tblspc/9/PG_17/5/3", 999_000)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (moment, moment))
    changes = summaries.Changes(True, 4, ("base/5/1", "base/5/2", "base/5/gone", "pg_tblspc/9/*/5/3"))
    assert summaries.compare(changes, base, tmp_path) == 2
    state = tmp_path / "state" / "base"
    assert summaries.read_base(state, 7, 1) is None
    summaries.write_base(state, base)
    assert summaries.read_base(state, 7, 1) == base
    assert summaries.read_base(state, 7, 2) is None
    state.write_text("{}")
    assert summaries.read_base(state, 7, 1) is None


def test_a_missing_driver_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DriverMissingError, match="driver for PostgreSQL") as caught:
        session.driver()
    assert "holdfast[postgresql]" in caught.value.next


def test_the_registry_names_what_there_is_and_what_others_bring(monkeypatch):
    point = EntryPoint("files-double", "holdfast.testing.applications:FACTORY", "holdfast.connectors")
    monkeypatch.setattr(connectors, "_others", lambda: (point,))
    assert {"postgresql", "postgresql-dump", "files-double"} <= set(connectors.kinds())
    assert connectors.factory("files-double").kind == "files-double"
    with pytest.raises(ConfigError, match="no connector nothing"):
        connectors.factory("nothing")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (psycopg.errors.InsufficientPrivilege(), ApplicationAccessError),
        (psycopg.errors.QueryCanceled(), CaptureError),
        (psycopg.errors.ObjectNotInPrerequisiteState(), ApplicationChangedError),
        (psycopg.OperationalError("gone"), ApplicationChangedError),
    ],
)
def test_what_a_server_answers_becomes_an_error_of_ours(error, kind):
    class Connection:
        def execute(self, *_):
            raise error

        def close(self):
            pass

    made = object.__new__(session.Session)
    made._psycopg, made._connection, made._lock, made._stop = (
        psycopg,
        Connection(),
        threading.RLock(),
        threading.Event(),
    )
    made._thread, made.lost = None, False
    with pytest.raises(kind):
        made.one("SELECT 1")
    made.close()


def test_a_dump_needs_a_version_and_its_programs(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(DriverMissingError, match="pg_dumpall of PostgreSQL 99"):
        client_programs(99, "", "pg_dumpall")
    (tmp_path / "pg_dumpall").touch()
    assert client_programs(99, str(tmp_path), "pg_dumpall") == tmp_path
    monkeypatch.setattr(shutil, "which", lambda _: str(tmp_path / "pg_dumpall"))
    assert client_programs(99, "", "pg_dumpall") == tmp_path
    with pytest.raises(DriverMissingError):
        client_programs(99, "/nowhere", "pg_dumpall")
    made = logical.PostgreSQLDump(Connection("x", host="h", port=5, user="u"), ManualClock().environment())
    monkeypatch.setattr(
        made, "_session", type("Old", (), {"one": lambda *_: (120000, "u", True), "close": lambda _: None})()
    )
    with pytest.raises(ApplicationUnsuitableError, match="older than 13"):
        made.check()
    streams = made.capture(1.0).streams
    assert {"--host=h", "--port=5", "--username=u"} <= set(streams[0].command)
    secrets = made._password_file().parent
    assert (secrets / "pgpass").stat().st_mode & 0o77 == 0
    made.close()
    assert not secrets.exists()
    assert "pg_read_all_data" in logical.FACTORY.grants(Connection("x"))
    assert logical.FACTORY.discover(ManualClock().environment()) == ()
    assert made.without_freeze() is None


CAPTURE = Capture(
    paths=(b"/srv/pg", b"/fast"), exclude=("/srv/pg/pg_wal/*",), streams=(CapturedStream("/dump.sql", ("d",), "database"),),
    moving=(b"/srv/pg",), class_name="database",
)  # fmt: skip


def test_a_capture_becomes_part_of_the_request():
    before = BackupRequest((b"/etc",), "ehr", BackupOptions(exclude=("*.tmp",), class_rules=(ClassRule("/x", "phi"),)))
    after = with_captures(before, [CAPTURE, Capture()])
    assert after.paths == (b"/etc", b"/srv/pg", b"/fast")
    assert after.moving == (b"/srv/pg",)
    assert after.options.exclude == ("*.tmp", "/srv/pg/pg_wal/*")
    assert [rule.class_name for rule in after.options.class_rules] == ["phi", "database", "database"]
    assert [stream.path for stream in after.options.streams] == ["/dump.sql"]
    with pytest.raises(UsageError):
        with_captures(before, [Capture(paths=(b"/\xff",), class_name="database")])


EVIDENCE = Evidence("ehr-db", "postgresql", "15.1", Verdict.APPLICATION, facts=(("setting.max_connections", "30"),))


@pytest.mark.parametrize(
    ("finding", "verdict"),
    [
        (Finding(b"srv/pg/base/1", "unreadable", ""), "none"),
        (Finding(b"dump.sql", "stream-failed", ""), "none"),
        (Finding(b"srv/pg/.s.PGSQL", "socket-skipped", ""), "application"),
        (Finding(b"srv/pgsql", "unreadable", ""), "application"),
        (Finding(b"", "damaged", ""), "application"),
    ],
)
def test_what_is_not_stored_whole_takes_the_verdict_back(finding, verdict):
    found = spoiled(EVIDENCE, CAPTURE, [finding])
    assert found.verdict == verdict
    assert found.error == (finding.kind if verdict == "none" else "")


def test_a_folder_s_own_log_makes_good_what_moves_in_it():
    assert moves(Finding(b"srv/pg/base/1", "vanished", ""), [b"/srv/pg"])
    assert moves(Finding(b"srv/pg", "changed-while-reading", ""), [b"/srv/pg/"])
    assert not moves(Finding(b"srv/pg/base/1", "unreadable", ""), [b"/srv/pg"])
    assert not moves(Finding(b"srv/pg2", "vanished", ""), [b"/srv/pg"])
    assert under(b"anything", [b"/"])


def test_a_target_is_what_postgresql_understands(tmp_path):
    moment = datetime(2026, 11, 25, 13, 0, 0, 5, tzinfo=UTC)
    found = dict(recovery_settings(RecoveryTarget.at_time(moment, inclusive=False), tmp_path / "it's 100%", EVIDENCE))
    assert found["recovery_target_time"] == "2026-11-25 13:00:00.000005+00"
    assert found["recovery_target_inclusive"] == "off"
    assert found["archive_mode"] == "off"
    assert found["max_connections"] == "30"
    assert "it'\\''s 100%%'/%f" in found["restore_command"]
    assert dict(recovery_settings(RecoveryTarget("snapshot"), tmp_path, EVIDENCE))["recovery_target"] == "immediate"
    named = dict(recovery_settings(RecoveryTarget.at_name("x"), tmp_path, EVIDENCE))
    assert named["recovery_target_name"] == "x"
    assert "recovery_target_inclusive" not in named
    assert "recovery_target" not in dict(recovery_settings(RecoveryTarget("latest"), tmp_path, EVIDENCE))
    with pytest.raises(ValueError, match="two hex numbers"):
        RecoveryTarget.at_lsn("later")
    with pytest.raises(ValueError, match="without a zone"):
        RecoveryTarget.at_time(datetime(2026, 1, 1))  # noqa: DTZ001 - that is what is refused


def test_a_base_backup_must_have_ended_before_its_target():
    evidence = dataclasses.replace(EVIDENCE, proofs=(("stop-lsn", "0/200"),))
    finished = datetime(2026, 11, 25, tzinfo=UTC)
    assert ended_before(finished, evidence, RecoveryTarget.at_lsn("0/200"))
    assert not ended_before(finished, evidence, RecoveryTarget.at_lsn("0/1FF"))
    assert ended_before(finished, evidence, RecoveryTarget.at_time(finished))
    assert not ended_before(finished, evidence, RecoveryTarget.at_time(finished - timedelta(seconds=1)))
    for target in (RecoveryTarget("latest"), RecoveryTarget("snapshot"), RecoveryTarget.at_name("x")):
        assert ended_before(finished, evidence, target)


def test_tablespaces_move_with_the_restore():
    content = b"16384 /fast/a\\\nb\n16385 /slow\\\\x\n"
    assert map_rows(content) == [("16384", b"/fast/a\nb"), ("16385", b"/slow\\x")]
    moved = moved_map(content, Path("/out"))
    assert map_rows(moved) == [("16384", b"/out/fast/a\nb"), ("16385", b"/out/slow\\x")]
    assert moved_map(b"", Path("/out")) == b""


def test_programs_must_be_of_the_version(tmp_path):
    with pytest.raises(DriverMissingError, match="PostgreSQL 15"):
        start.programs(15, tmp_path)
    (tmp_path / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 16.2'\n")
    (tmp_path / "postgres").chmod(0o755)
    assert start.programs(16, tmp_path) == tmp_path
    with pytest.raises(DriverMissingError):
        start.programs(15, tmp_path)


def test_a_connector_that_was_not_checked_captures_nothing():
    from holdfast.sources.connectors.postgresql.connector import PostgreSQL

    made = PostgreSQL(Connection("x", options={"wal": "copy", "spool": "/s"}), ManualClock().environment())
    with pytest.raises(ApplicationChangedError):
        made._known()
    assert made.without_freeze() is None
    assert made.thaw_orders() == ()


def test_sealed_evidence_that_is_malformed_is_damage(monkeypatch):
    from holdfast.runs import applications

    class Part:
        evidence = {"applications": [{"application": "x"}]}  # noqa: RUF012 - a stand-in

    class Vault:
        repository = None

    class Info:
        classes = ()

    monkeypatch.setattr(applications, "read_part", lambda *_: Part)
    with pytest.raises(DamageError, match="malformed"):
        read_evidence(Vault(), Info())  # type: ignore[arg-type]
    assert callable(prepare_recovery)
    assert issubclass(ConfigError, UsageError)
