"""The start of a recovered server, on programs that are stand-ins: each way to end badly is said in words, and ends the process."""

from __future__ import annotations

import dataclasses
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from holdfast.base.environment import ManualClock
from holdfast.errors import (
    AmbiguousSnapshotError,
    DamageError,
    NotPermittedError,
    RecoveryError,
    RevokedError,
    SnapshotMissingError,
)
from holdfast.runs import applications, recovery, start
from holdfast.runs.backup import BackupRequest
from holdfast.runs.options import BackupOptions
from holdfast.runs.recovery import Prepared, RecoveryTarget
from holdfast.runs.results import BackupResult, BackupStats, RestoreResult
from holdfast.runs.start import RunningCopy
from holdfast.sources.connectors.protocol import Beside, Capture, Evidence, Member, Verdict
from holdfast.sources.consistency import Concluded
from holdfast.sources.wal import segment_name
from holdfast.testing.applications import FileApplication, FileConnector

EVIDENCE = Evidence("db", "postgresql", "15.1", Verdict.APPLICATION, proofs=(("stop-lsn", "0/1"),))


def program(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def prepared(tmp_path: Path) -> Prepared:
    (tmp_path / "data").mkdir(exist_ok=True)
    return Prepared(
        "ab" * 16,
        "db",
        "15.1",
        tmp_path,
        tmp_path / "data",
        tmp_path / "wal",
        1,
        RecoveryTarget("latest"),
        EVIDENCE,
        0.0,
        0,
    )


def server(tmp_path: Path, script: str) -> Path:
    version = 'if [ "$1" = --version ]; then echo "postgres (PostgreSQL) 15.1"; exit 0; fi'
    program(tmp_path, "postgres", f"{version}\n{script}")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("FATAL:  recovery ended before configured recovery target was reached", "the WAL ends before the target"),
        (
            "FATAL:  requested recovery stop point is before consistent recovery point",
            "before the end of the base backup",
        ),
        ("PANIC:  could not locate a valid checkpoint record", "WAL of the base backup is missing"),
        ("FATAL:  database files are incompatible with server", "version"),
        ("FATAL:  a patient's name", "its log says why"),
    ],
)
def test_a_server_that_ends_says_why_and_nothing_of_its_log(line, words, tmp_path):
    place = server(tmp_path, f'echo "{line}" >&2; exit 1')
    with (
        pytest.raises(RecoveryError, match=words) as caught,
        start.started(prepared(tmp_path), env=ManualClock().environment(), bin_folder=place),
    ):
        pass
    assert "patient" not in str(caught.value)


def test_a_server_that_never_answers_is_given_up(tmp_path, monkeypatch):
    place = server(tmp_path, "trap '' INT QUIT; sleep 60 & wait; wait")
    monkeypatch.setattr(start, "STOP_SECONDS_MAX", 0.2)
    clock = ManualClock()
    with (
        pytest.raises(RecoveryError, match="within 30 s"),
        start.started(prepared(tmp_path), env=clock.environment(), bin_folder=place, seconds=30.0),
    ):
        pass
    assert sum(clock.slept) > 30


def test_a_log_that_is_not_there(tmp_path):
    assert start._reason(tmp_path) == "it left no log"


def test_a_server_that_does_not_stop_cleanly_is_no_recovery(tmp_path, monkeypatch):
    place = server(tmp_path, "exit 3")
    copy = RunningCopy(tmp_path, 5432, "postgres", 0.0, 0.0, 2, "0/1", ())
    monkeypatch.setattr(start, "_wait", lambda *_: copy)
    with (
        pytest.raises(RecoveryError, match="did not stop cleanly"),
        start.started(prepared(tmp_path), env=ManualClock().environment(), bin_folder=place),
    ):
        pass
    done = subprocess.Popen(["true"])
    done.wait()
    start._stop(done)


def test_what_the_tools_of_a_version_find(tmp_path):
    copy = RunningCopy(tmp_path, 5432, "postgres", 0.0, 0.0, 2, "0/1", ())
    assert start._amcheck(tmp_path, copy) == "no tool"
    assert start._checksums(tmp_path, tmp_path) == "no tool"
    program(tmp_path, "pg_amcheck", "exit 2")
    with pytest.raises(RecoveryError, match="damaged"):
        start._amcheck(tmp_path, copy)
    program(tmp_path, "pg_checksums", "exit 1")
    with pytest.raises(RecoveryError, match="page checksums"):
        start._checksums(tmp_path, tmp_path)
    program(
        tmp_path, "pg_checksums", "echo 'pg_checksums: error: data checksums are not enabled in cluster' >&2; exit 1"
    )
    assert start._checksums(tmp_path, tmp_path) == "off"
    program(tmp_path, "pg_checksums", "exit 0")
    assert start._checksums(tmp_path, tmp_path) == "clean"


def open_vault(folder: Path) -> Any:
    return Vault(folder)


class Vault:
    """As much of an open vault as these functions look at."""

    def __init__(self, folder):
        self.env = ManualClock().environment()
        self.root = folder

    def folder(self, name):
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path


INFO: Any = type("Info", (), {"id": "ab" * 16, "label": "ehr", "source": "s", "started": None, "finished": None})()


def test_base_backups_that_cannot_be_read_are_passed_over_unless_asked_for(tmp_path, monkeypatch):
    def unreadable(_vault, _info):
        raise kind("x")

    monkeypatch.setattr(recovery, "read_evidence", unreadable)
    for kind in (DamageError, NotPermittedError):
        with pytest.raises(SnapshotMissingError):
            recovery._base(open_vault(tmp_path), [INFO], "db", RecoveryTarget("latest"), None)
        with pytest.raises(kind):
            recovery._base(open_vault(tmp_path), [INFO], "db", RecoveryTarget("latest"), INFO)


def test_two_applications_of_one_name_are_not_guessed_between(tmp_path, monkeypatch):
    monkeypatch.setattr(recovery, "read_evidence", lambda *_: applications.Sealed((EVIDENCE,)))
    other: Any = type("Info", (), {"id": "cd" * 16, "label": "lab", "source": "t", "started": None, "finished": None})()
    with pytest.raises(AmbiguousSnapshotError, match="2 sources"):
        recovery._base(open_vault(tmp_path), [INFO, other], "db", RecoveryTarget("latest"), None)
    found, _, evidence = recovery._base(open_vault(tmp_path), [INFO, other], "db", RecoveryTarget("latest"), other)
    assert (found.id, evidence) == (other.id, EVIDENCE)
    assert recovery._base(open_vault(tmp_path), [INFO, INFO], "db", RecoveryTarget("latest"), None)[0].id == INFO.id


def test_wal_that_recovery_cannot_use_is_left_out(tmp_path):
    def segment(number, system=7, timeline=1):
        path = tmp_path / segment_name(timeline, number)
        head = struct.pack("<HHIQI4xQII", 0xD110, 2, timeline, number << 24, 0, system, 1 << 24, 8192)
        path.write_bytes(head + b"\0" * 24)
        return path

    first = segment_name(1, 5)
    assert recovery._wanted(segment(5), first, "7")
    assert recovery._wanted(segment(6), first, "7")
    assert recovery._wanted(segment(4, timeline=2), first, "7")
    assert not recovery._wanted(segment(4), first, "7")
    assert not recovery._wanted(segment(6, system=8), first, "7")
    (tmp_path / "00000002.history").touch()
    assert recovery._wanted(tmp_path / "00000002.history", first, "7")
    (tmp_path / segment_name(1, 9)).write_bytes(b"torn")
    assert not recovery._wanted(tmp_path / segment_name(1, 9), first, "7")


def whole(**change):
    return dataclasses.replace(RestoreResult("ab" * 16, 1, 1, 1, 0, 0.0), **change)


def test_a_base_backup_that_is_not_whole_is_not_started(tmp_path, monkeypatch):
    sealed = applications.Sealed((EVIDENCE,), (Beside(b"srv/pg/backup_label", b"x"),))
    monkeypatch.setattr(recovery, "_base", lambda *_: (INFO, sealed, EVIDENCE))
    monkeypatch.setattr(recovery, "run_restore", lambda *_, **__: whole(classes_missing=1))
    arguments = (open_vault(tmp_path), [], "db", tmp_path / "out")
    with pytest.raises(RecoveryError, match="could not be restored whole"):
        recovery.prepare_recovery(*arguments, target=RecoveryTarget("latest"))

    def restore(*_, **__):
        (tmp_path / "out" / "srv" / "pg").mkdir(parents=True)
        return whole()

    monkeypatch.setattr(recovery, "run_restore", restore)
    with pytest.raises(RecoveryError, match="no WAL"):
        recovery.prepare_recovery(*arguments, target=RecoveryTarget("latest"))


def test_links_of_the_original_are_not_followed_by_the_copy(tmp_path):
    data, live = tmp_path / "out" / "pg", tmp_path / "live"
    data.mkdir(parents=True)
    live.mkdir()
    (live / "000000010000000000000001").touch()
    (data / "pg_wal").symlink_to(live)
    (data / "postmaster.pid").touch()
    recovery._make_ready(data, tmp_path / "out")
    assert not (data / "pg_wal").is_symlink()
    assert not list((data / "pg_wal").iterdir())
    assert list(live.iterdir())
    assert not (data / "postmaster.pid").exists()
    (data / "tablespace_map").write_bytes(b"16384 /fast\n")
    with pytest.raises(RecoveryError, match="tablespace"):
        recovery._make_ready(data, tmp_path / "out")


def test_a_run_is_captured_anew_when_its_session_was_revoked(tmp_path, monkeypatch):
    application = FileApplication(tmp_path / "app").create()
    made: list[FileConnector] = []
    answers: list[Any] = [RevokedError("gone"), BackupResult(None, False, BackupStats())]

    def members():
        made.append(FileConnector(application, freezes=False))
        return (Member(made[-1]),)

    def run(_vault, request, **_):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        end = request.conclude([])
        return dataclasses.replace(answer, evidence=end.evidence)

    monkeypatch.setattr(applications, "run_backup", run)
    request = BackupRequest((), "ehr", BackupOptions())
    result = applications.run_application_backup(open_vault(tmp_path), request, members)
    assert len(made) == 2
    assert result.evidence[0].verdict is Verdict.APPLICATION
    assert all(row.steps[-1] == "close" for row in made)
    answers += [RevokedError("gone"), RevokedError("again")]
    with pytest.raises(RevokedError, match="again"):
        applications.run_application_backup(open_vault(tmp_path), request, members)


def test_a_log_that_is_not_stored_whole_is_worth_nothing(tmp_path, monkeypatch):
    run = applications._Run(
        open_vault(tmp_path), BackupRequest((), "ehr", BackupOptions()), lambda _: None, None, (Capture(),)
    )
    monkeypatch.setattr(applications, "store_log", lambda *_, **__: BackupResult(None, True, BackupStats()))
    end = run._conclude([Concluded(EVIDENCE, follow=(b"/spool",))], [])
    assert (end.evidence[0].verdict, end.evidence[0].error) == (Verdict.NONE, "log-partial")
    assert [finding.kind for finding in end.findings] == [applications.DEGRADED]
