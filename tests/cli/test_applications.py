"""`connectors`, `wal` and `recover` on the command line: what they call, print, and exit with."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from holdfast.runs.recovery import Prepared, RecoveryTarget
from holdfast.runs.results import BackupResult, BackupStats
from holdfast.runs.start import RecoveryReport
from holdfast.sources.connectors.protocol import Attempt, Evidence, Verdict
from holdfast.testing.applications import FACTORY, FileApplication

from .conftest import ID, INFO

EVIDENCE = Evidence(
    "ehr-db", "postgresql", "15.1", Verdict.APPLICATION, (Attempt(1.0, 250.0, 3.0, Verdict.APPLICATION),),
    (("stop-lsn", "0/1"),),
)  # fmt: skip
PREPARED = Prepared(
    ID, "ehr-db", "15.1", Path("/restore"), Path("/restore/data"), Path("/restore/wal"), 7, RecoveryTarget("latest"),
    EVIDENCE, 3.0, 4096,
)  # fmt: skip
REPORT = RecoveryReport(ID, "ehr-db", "15.1", "latest", 2, "0/1", 3, 400, "clean", "clean", 3.0, 1.0, 2.0, 0.5, 7, 4096)


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """A configuration with an application of the double, whose kind the registry knows here."""
    from holdfast.sources import connectors

    application = FileApplication(tmp_path / "app").create()
    monkeypatch.setattr(connectors, "_OWN", connectors._OWN | {"files-double": "postgresql"})
    real = connectors.factory
    monkeypatch.setattr(connectors, "factory", lambda kind: FACTORY if kind == "files-double" else real(kind))
    config = tmp_path / "holdfast.toml"
    config.write_text(
        f'[vault]\nurl = "/v"\n[jobs.ehr]\napplications = ["files"]\n'
        f'[applications.files]\nconnector = "files-double"\npath = "{application.folder}"\n'
    )
    return str(config), application


def test_connectors_are_listed_and_their_grants_printed(run):
    code, out, _ = run("connectors", "list")
    assert code == 0
    assert "postgresql" in out.split()
    code, out, _ = run("connectors", "grants", "postgresql", "--user", "bkr")
    assert code == 0
    assert 'GRANT pg_monitor TO "bkr";' in out
    code, out, _ = run("connectors", "grants", "postgresql-dump", "--json")
    assert "pg_read_all_data" in json.loads(out)["statements"]
    code, _, err = run("connectors", "grants", "nonsense")
    assert code == 2
    assert "there is no connector nonsense" in err


def test_configured_applications_are_checked(run, configured):
    config, application = configured
    code, out, _ = run("connectors", "check", "--config", config)
    assert (code, out.strip()) == (0, "files: files-double 1.0 can be backed up.")
    code, out, _ = run("connectors", "check", "files", "--config", config, "--json")
    assert json.loads(out)["version"] == "1.0"
    code, out, _ = run("connectors", "grants", "files", "--config", config)
    assert "chown holdfast" in out
    application.flag.touch()
    code, _, err = run("connectors", "check", "--config", config)
    assert code == 1
    assert "frozen already" in err
    code, _, err = run("connectors", "check", "other", "--config", config)
    assert code == 2
    assert "no application other" in err
    assert run("connectors", "check")[0] == 2


def test_a_job_s_applications_go_with_it(run, vault, configured):
    config, _ = configured
    vault.answers["backup"] = BackupResult(INFO, False, BackupStats(), evidence=(EVIDENCE,))
    code, out, _ = run("backup", "--config", config)
    assert code == 0
    assert vault.asked("backup")["applications"] == ("files",)
    assert "ehr-db (postgresql 15.1): verdict application, held for 250 ms" in out
    code, out, _ = run("backup", "--config", config, "--json")
    assert json.loads(out.splitlines()[-1])["evidence"][0]["verdict"] == "application"


def test_wal_is_pushed_got_and_shown(run, tmp_path):
    spool, source = tmp_path / "spool", tmp_path / "00000002.history"
    spool.mkdir()
    source.write_text("1\t0/3000000\tx\n")
    assert run("wal", "push", str(source), "--spool", str(spool)) == (0, "00000002.history: stored.\n", "")
    code, out, _ = run("wal", "push", str(source), "--spool", str(spool), "--json")
    assert (code, json.loads(out)["outcome"]) == (0, "identical")
    source.write_text("2\n")
    code, _, err = run("wal", "push", str(source), "--spool", str(spool), "--quiet")
    assert code == 1
    assert "other content" in err
    assert run("wal", "get", "00000002.history", str(tmp_path / "got"), "--spool", str(spool))[0] == 0
    assert (tmp_path / "got").read_text() == "1\t0/3000000\tx\n"
    assert run("wal", "get", "00000003.history", str(tmp_path / "got"), "--spool", str(spool))[0] == 5
    code, out, _ = run("wal", "status", "--spool", str(spool))
    assert code == 0
    assert out.startswith("0 segments,")
    code, out, _ = run("wal", "status", "--spool", str(spool), "--json")
    assert json.loads(out)["others"] == 1


def test_a_gap_and_what_was_let_go_are_shown_and_exit_4(run, tmp_path, monkeypatch):
    from holdfast.sources.spool import Pushed, Spool
    from holdfast.sources.wal import segment_name

    for number in (3, 5):
        (tmp_path / segment_name(1, number)).write_bytes(b"x")
    monkeypatch.setattr(Spool, "_segment_bytes", lambda *_: 16 << 20)
    (tmp_path / ".dropped").write_text(f"{segment_name(1, 4)}\n")
    code, out, _ = run("wal", "status", "--spool", str(tmp_path))
    assert code == 4
    assert f"GAP: 1 segments from {segment_name(1, 4)}" in out
    assert "LET GO: 1 files" in out
    monkeypatch.setattr(Spool, "push", lambda *_, **__: Pushed("dropped", 0))
    code, _, err = run(
        "wal", "push", str(tmp_path / "x"), "--spool", str(tmp_path), "--protect", "primary", "--queue-max", "1GiB"
    )
    assert code == 0
    assert "make a new base backup now" in err


def test_a_spool_is_stored(run, vault, configured):
    config, _ = configured
    vault.answers["store_wal"] = BackupResult(INFO, False, BackupStats())
    code, out, _ = run("wal", "store", "ehr-db", "--config", config)
    assert code == 0
    assert "is stored" in out
    assert vault.asked("store_wal")["args"] == ("ehr-db",)
    assert vault.asked("open")["config"].settings.applications["files"].connector == "files-double"


@pytest.mark.parametrize(
    ("words", "kind", "value"),
    [
        (("--time", "2026-11-25T13:00:00+01:00"), "time", "2026-11-25T12:00:00.000000Z"),
        (("--lsn", "16/B374D848"), "lsn", "16/B374D848"),
        (("--name", "before-upgrade"), "name", "before-upgrade"),
        (("--snapshot", "abcd"), "snapshot", ""),
        ((), "latest", ""),
    ],
)
def test_a_recovery_is_prepared_for_its_target(words, kind, value, run, vault):
    vault.answers["prepare_recovery"] = PREPARED
    code, out, _ = run("recover", "ehr-db", "--to", "/restore", "--exclusive", "--timeline", "3", *words)
    assert code == 0
    assert "postgres -D /restore/data" in out
    target = vault.asked("prepare_recovery")["target"]
    assert (target.kind, target.value, target.timeline) == (kind, value, "3")
    assert target.inclusive is (kind not in ("time", "lsn"))


def test_a_recovery_is_tried_out(run, vault, monkeypatch):
    from holdfast.runs import start

    asked = []
    monkeypatch.setattr(start, "check_recovery", lambda prepared, **more: (asked.append(more), REPORT)[1])
    vault.answers["prepare_recovery"] = PREPARED
    code, out, _ = run(
        "recover", "ehr-db", "--to", "/restore", "--check", "--programs", "/opt/pg", "--superuser", "admin"
    )
    assert code == 0
    assert "3 databases, 400 relations" in out
    assert asked[0]["user"] == "admin"
    code, out, _ = run("recover", "ehr-db", "--to", "/restore", "--check", "--json")
    assert json.loads(out.splitlines()[-1])["structure"] == "clean"
    code, out, _ = run("recover", "ehr-db", "--to", "/restore", "--json")
    assert json.loads(out.splitlines()[-1])["wal_files"] == 7
    assert dataclasses.is_dataclass(REPORT)


def test_a_target_that_makes_no_sense(run, vault):
    for words in (
        ("--lsn", "x"),
        ("--time", "tomorrow"),
        ("--time", "2026-11-25T13:00:00"),
        ("--lsn", "0/1", "--name", "x"),
    ):
        code, _, err = run("recover", "ehr-db", "--to", "/restore", *words)
        assert code == 2, err
