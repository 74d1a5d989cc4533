"""Oracle against its doubles, around a ZFS double: backup mode that the watchdog ends, RMAN's scripts, all that goes wrong."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import holdfast
from holdfast import errors
from holdfast.base.environment import system
from holdfast.config.secrets import SecretRef
from holdfast.sources.connectors import factory, oracle, oracle_session
from holdfast.sources.connectors.oracle import OracleFactory
from holdfast.sources.connectors.oracle_session import OracleSession, end_command, ended, main, refusal
from holdfast.sources.connectors.protocol import Connection, Verdict
from holdfast.sources.programs import Done, SystemPrograms
from holdfast.testing.connectors import ConnectorSuite
from holdfast.testing.oracle import OracleDouble
from holdfast.testing.volumes import UnknownCallError, ZfsDouble

NAME = f"lis-{os.getpid()}"
"""Snapshots are shown in one folder for each name: processes that run tests together need names of their own."""


class Both(ZfsDouble):
    """ZFS is a double; everything else is run."""

    def run(self, command, *, timeout, environ=None, stdin=b""):
        if command[0] in ("zfs", "mount", "umount"):
            return super().run(command, timeout=timeout, environ=environ, stdin=stdin)
        return SystemPrograms().run(command, timeout=timeout, environ=environ, stdin=stdin)

    def answer(self, words, stdin):
        return Done(0) if words[0] in ("mount", "umount") else super().answer(words, stdin)


@pytest.fixture
def double(tmp_path):
    double = OracleDouble(tmp_path / "oracle")
    yield double
    assert not (double.folder / "unknown").exists()


@pytest.fixture
def made(double, tmp_path):
    """Make a connector of some mode."""
    place = tmp_path / "place"
    place.mkdir(exist_ok=True)
    double.rman()

    def make(mode="hot", **options):
        options = {"mode": mode, "program": str(double.folder / "rman"), "volume": "zfs", "paths": "/srv/db", **options}
        connection = Connection(NAME, user="holdfast", database="EHR", path=str(place), options=options)
        return OracleFactory(double.connect, Both(), double.end).make(connection, system())

    return make


class _Suite(ConnectorSuite):
    mode = "hot"

    def frozen(self, make):
        return self.double.in_backup

    @pytest.fixture
    def make(self, made, double):
        self.double = double
        return lambda: made(self.mode)


class TestHot(_Suite):
    pass


class TestRman(_Suite):
    mode = "rman"


class TestSnapshot(_Suite):
    mode = "snapshot"
    verdict = Verdict.CRASH


def test_the_steps_of_a_hot_backup_are_those_of_the_manual(made, double):
    connector = made()
    connector.check()
    connector.freeze(60)
    connector.verify_frozen()
    assert connector.capture(60).paths
    connector.thaw()
    connector.verify_thawed()
    end = connector.conclude()
    connector.close()
    changing = [row for row in double.statements if not row.startswith("SELECT")]
    place = end.follow[0].decode() + f"/holdfast-{NAME}"
    assert changing == [
        "ALTER DATABASE BEGIN BACKUP",
        "ALTER DATABASE END BACKUP",
        "ALTER SYSTEM ARCHIVE LOG CURRENT",
        f"ALTER DATABASE BACKUP CONTROLFILE TO '{place}.ctl' REUSE",
        f"CREATE PFILE = '{place}.ora' FROM SPFILE",
    ]
    proofs = dict(end.proofs)
    assert int(proofs["scn-before"]) < int(proofs["scn-end"]) <= int(proofs["scn-archived"])
    assert proofs["volume-provider"] == "zfs"
    assert connector.without_freeze() is None


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, "  BACKUP TAG 'HOLDFAST' DATABASE;"),
        ({"level": "0", "owns-chain": "yes"}, "  BACKUP INCREMENTAL LEVEL 0 TAG 'HOLDFAST' DATABASE;"),
        ({"level": "1", "owns-chain": "yes"}, "  BACKUP INCREMENTAL LEVEL 1 CUMULATIVE TAG 'HOLDFAST' DATABASE;"),
    ],
)
def test_rman_is_given_a_script_and_validates_what_it_wrote(made, double, options, line):
    connector = made("rman", **options)
    connector.check()
    (folder,) = connector.capture(600).paths
    assert len(list(Path(folder.decode()).glob("holdfast_EHR_*"))) == 4
    end = connector.conclude()
    connector.close()
    assert line in double.scripts.splitlines()
    assert "ALTER SYSTEM ARCHIVE LOG CURRENT" in double.scripts
    assert double.scripts.endswith(
        "RESTORE DATABASE VALIDATE;\nRESTORE CONTROLFILE VALIDATE;\nRESTORE SPFILE VALIDATE;\n"
    )
    assert dict(end.proofs)["validate"] == "ok"
    assert end.verdict is Verdict.APPLICATION


def test_a_standby_is_backed_up_by_rman_only_and_switches_no_log(made, double):
    double.role, double.open_mode = "PHYSICAL STANDBY", "MOUNTED"
    connector = made("rman")
    assert any("standby" in note for note in connector.check().notes)
    connector.capture(600)
    assert "ARCHIVE LOG CURRENT" not in double.scripts
    for mode in ("hot", "snapshot"):
        with pytest.raises(errors.ApplicationUnsuitableError, match="open primary"):
            made(mode).check()


@pytest.mark.parametrize(
    ("change", "mode", "error", "words"),
    [
        ({"up": False}, "rman", errors.ApplicationUnreachableError, "DPY-6005"),
        ({"password_ok": False}, "rman", errors.ApplicationAccessError, "ORA-01017"),
        ({"privileges": ()}, "rman", errors.ApplicationAccessError, "SYSBACKUP"),
        ({"log_mode": "NOARCHIVELOG"}, "rman", errors.ApplicationUnsuitableError, "archive its logs"),
        ({"archiver": "FAILED"}, "hot", errors.ApplicationUnsuitableError, "cannot archive"),
        ({"area": (1000, 990, 5)}, "hot", errors.ApplicationUnsuitableError, "98 % full"),
        ({"rman_sessions": 1}, "rman", errors.ApplicationBusyError, "RMAN"),
        ({"in_backup": True}, "rman", errors.ApplicationBusyError, "backup mode already"),
        ({"in_backup": True}, "hot", errors.ApplicationBusyError, "backup mode already"),
        ({"version": "11.2.0.4.0"}, "snapshot", errors.ApplicationUnsuitableError, "12c"),
        ({"enterprise": 0}, "snapshot", errors.ApplicationUnsuitableError, "Enterprise"),
        ({"fail": {"v$backup": "ORA-00942: table or view"}}, "hot", errors.ApplicationAccessError, "ORA-00942"),
        ({"fail": {"v$backup": "ORA-03113: end-of-file"}}, "hot", errors.ApplicationChangedError, "ORA-03113"),
        ({"fail": {"v$backup": "ORA-99999: patients.dbf"}}, "hot", errors.CaptureError, "ORA-99999"),
    ],
)
def test_a_check_says_what_is_wrong_and_changes_nothing(made, double, change, mode, error, words):
    for name, value in change.items():
        setattr(double, name, value)
    with pytest.raises(error, match=words) as caught:
        made(mode).check()
    assert "patients" not in str(caught.value)
    assert all(row.startswith("SELECT") for row in double.statements)


def test_what_an_administrator_should_know_is_noted(made, double):
    double.area, double.privileges = (1000, 900, 0), ("SYSBACKUP", "SYSDBA")
    notes = made("rman").check().notes
    assert any("90 %" in note for note in notes)
    assert any("SYSDBA" in note for note in notes)
    for area in (None, (0, 0, 0)):
        double.area, double.privileges = area, ("SYSBACKUP",)
        assert made("rman").check().notes == ()
    with pytest.raises(errors.ApplicationUnsuitableError):
        made(paths="/elsewhere").check()


def test_a_session_that_is_lost_leaves_backup_mode_to_a_new_one(made, double):
    connector = made()
    connector.check()
    connector.freeze(60)
    double.fail["v$backup"] = "ORA-03113: end-of-file on communication channel"
    connector.thaw()
    assert not double.in_backup, "a new session ended it"
    connector.verify_thawed()
    connector.freeze(60)
    double.fail["END BACKUP"] = "ORA-03113: end-of-file on communication channel"
    double.password_ok = False
    with pytest.raises(errors.StillFrozenError, match="ORA-01017"):
        connector.thaw()
    assert double.in_backup
    with pytest.raises(errors.ApplicationAccessError):
        connector.verify_thawed()
    double.password_ok = True
    double.fail["END BACKUP"] = "ORA-00600: internal error"
    with pytest.raises(errors.StillFrozenError, match="ORA-00600"):
        connector.thaw()
    with pytest.raises(errors.StillFrozenError, match="still in backup mode"):
        connector.verify_thawed()
    connector.close()
    assert not double.in_backup


def test_backup_mode_that_somebody_else_ends_voids_the_snapshot(made, double):
    connector = made()
    connector.check()
    connector.freeze(60)
    double.in_backup = False
    with pytest.raises(errors.ApplicationChangedError, match="somebody else"):
        connector.verify_frozen()
    connector.thaw()
    with pytest.raises(errors.ApplicationChangedError, match="before the snapshot"):
        connector.verify_thawed()
    connector.close()


def test_backup_mode_that_does_not_begin_is_ended_all_the_same(made, double):
    connector = made()
    connector.check()
    double.fail["BEGIN BACKUP"] = "DPY-4024: call timeout of 250 ms exceeded"
    with pytest.raises(errors.FreezeOverrunError):
        connector.freeze(0.25)
    connector.thaw()
    double.in_backup = True
    with pytest.raises(errors.ApplicationBusyError, match="ORA-01146"):
        connector.freeze(1)
    double.in_backup, double.log_mode = False, "NOARCHIVELOG"
    with pytest.raises(errors.ApplicationUnsuitableError, match="ORA-01123"):
        connector.freeze(1)
    with pytest.raises(errors.FreezeOverrunError):
        connector.freeze(0)
    connector.close()
    assert not double.in_backup


def test_a_database_that_changes_or_cannot_archive_after_the_copy_gives_no_backup(made, double):
    connector = made("snapshot")
    connector.check()
    connector.capture(60)
    double.archiver = "FAILED"
    with pytest.raises(errors.CaptureError, match="ORA-00257"):
        connector.conclude()
    double.archiver, double.archives = "STARTED", False
    with pytest.raises(errors.CaptureError, match="did not archive"):
        connector.conclude()
    double.resetlogs = 2
    with pytest.raises(errors.ApplicationChangedError, match="RESETLOGS"):
        connector.conclude()
    connector.close()


def test_a_snapshot_that_fails_is_said(double, tmp_path):
    programs = Both()
    connection = Connection(
        NAME,
        user="h",
        database="EHR",
        path=str(tmp_path),
        options={"mode": "snapshot", "volume": "zfs", "paths": "/srv/db"},
    )
    connector = OracleFactory(double.connect, programs, double.end).make(connection, system())
    connector.check()
    programs.failing["snapshot"] = Done(1)
    with pytest.raises(errors.CaptureError):
        connector.capture(60)
    connector.close()


@pytest.mark.parametrize(
    ("stack", "error", "words"),
    [
        (
            "RMAN-03009: failure of backup\nORA-19809: limit exceeded for recovery files",
            errors.CaptureError,
            "ORA-19809",
        ),
        ("RMAN-06059: expected archived log not found", errors.CaptureError, "RMAN-06059"),
        ("RMAN-03009: failure\nORA-19566: exceeded limit of 0 corrupt blocks", errors.CaptureError, "damaged"),
        (
            "RMAN-04014: startup failed\nORA-01034: ORACLE not available",
            errors.ApplicationUnreachableError,
            "RMAN-04014",
        ),
        ("ORA-01031: insufficient privileges", errors.ApplicationAccessError, "ORA-01031"),
        ("RMAN-06403: could not\nORA-01017: invalid username", errors.ApplicationAccessError, "ORA-01017"),
        (
            "ORA-19583: conversation terminated\nORA-19504: failed to create file",
            errors.CaptureError,
            "cannot be written",
        ),
        ("RMAN-08137: unknown", errors.CaptureError, "RMAN-08137"),
        ("quietly", errors.CaptureError, "ORA-19502"),
        ("no number", errors.CaptureError, "without a number"),
    ],
)
def test_what_rman_says_is_an_error_by_its_number(made, double, stack, error, words):
    connector = made("rman")
    connector.check()
    (double.folder / "fail-rman").write_text(stack)
    with pytest.raises(error, match=words):
        connector.capture(600)
    assert connector.capture(600).paths


def test_rman_that_is_missing_or_hangs_is_said(made, double):
    with pytest.raises(errors.DriverMissingError, match="rman"):
        made("rman", program="/nowhere/rman").capture(600)
    hangs = double.folder / "hangs"
    hangs.write_text("#!/bin/sh\nexec sleep 60\n")
    hangs.chmod(0o755)
    with pytest.raises(errors.CaptureError, match="rman-seconds"):
        made("rman", program=str(hangs), **{"rman-seconds": "1"}).capture(600)
    with pytest.raises(errors.CaptureError, match="RMAN-06026"):
        made("rman")._rman("RESTORE DATABASE VALIDATE;\n")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "magic"}, "mode = one of"),
        ({"level": "2"}, "level = one of"),
        ({"level": "1"}, "no other tool"),
        ({"rman-seconds": "0"}, "whole seconds"),
        ({"target": "holdfast/secret@ehr AS SYSBACKUP"}, "no password"),
        ({"target": '/" LOG "x'}, "no password"),
        ({"mode": "hot", "volume": "zfs"}, "folders of the data files"),
        ({"mode": "hot", "paths": "/srv/db"}, "volume = one of"),
        ({"hot": "yes"}, "there are"),
    ],
)
def test_settings_that_cannot_work_are_refused(options, words):
    connection = Connection("lis", user="h", database="EHR", path="/stage", options=options)
    with pytest.raises(errors.ConfigError) as caught:
        OracleFactory().make(connection, system())
    assert words in " ".join(caught.value.problems)


def test_a_path_that_would_end_a_literal_is_refused():
    with pytest.raises(errors.ConfigError, match="has faults"):
        OracleFactory().make(Connection("lis", user="h", database="EHR", path="/a'b"), system())
    assert isinstance(factory("oracle"), OracleFactory)
    assert "GRANT SYSBACKUP TO HOLDFAST" in OracleFactory().grants(Connection("lis"))
    assert OracleFactory().discover(system()) == ()


def test_the_watchdog_s_program_ends_backup_mode_and_knows_no_password(double):
    connection = Connection("lis", "db.ward", 1522, "holdfast", SecretRef("env", "P"), "EHR")
    command = end_command(connection)
    assert command == (sys.executable, "-m", oracle_session.__name__, "db.ward", "1522", "EHR", "holdfast", "env:P")
    seen = []

    def connect(connection, seconds):
        seen.append(connection)
        return double.connect(connection, seconds)

    double.in_backup = True
    assert main(list(command[3:]), connect) == 0
    assert not double.in_backup
    assert seen[0].password == SecretRef("env", "P")
    assert main(["", "0", "EHR", "holdfast", ""], connect) == 0, "nothing to do"
    double.up = False
    assert main(["", "0", "EHR", "holdfast", ""], connect) == 1
    assert main(["", "x", "EHR", "holdfast", ""], connect) == 64
    assert main(["", "0", "EHR", "holdfast", "secret"], connect) == 64


def test_a_race_for_the_end_of_backup_mode_is_no_error(double):
    session = OracleSession(Connection("lis"), double.connect)
    double.in_backup = True
    double.fail["END BACKUP"] = "ORA-01142: cannot end online backup - none of the files are in backup"
    assert ended(session)
    double.fail["END BACKUP"] = "ORA-00600: internal"
    with pytest.raises(errors.CaptureError):
        ended(session)
    double.in_backup = False
    assert not ended(session)


def test_the_real_driver_is_thin_and_a_server_that_is_not_there_is_unreachable(monkeypatch):
    connection = Connection("lis", "127.0.0.1", 1, "holdfast", None, "EHR")
    with pytest.raises(errors.ApplicationUnreachableError):
        OracleSession(connection).rows("SELECT 1 FROM dual")
    monkeypatch.setitem(sys.modules, "oracledb", None)
    with pytest.raises(errors.DriverMissingError, match="Oracle"):
        OracleSession(connection).rows("SELECT 1 FROM dual")

    def strange(_connection, _seconds):
        raise ValueError("nothing with a number")

    with pytest.raises(errors.ApplicationUnreachableError):
        OracleSession(connection, strange).rows("SELECT 1 FROM dual")
    assert isinstance(refusal("DPY-6001: no such service"), errors.ApplicationUnreachableError)


def test_the_double_refuses_what_it_does_not_know(tmp_path):
    double = OracleDouble(tmp_path / "strange")
    session = double.connect(None, 1)
    session.call_timeout = 1000
    for statement in ("SELECT name FROM patients", "DROP DATABASE"):
        with pytest.raises(UnknownCallError):
            session.cursor().execute(statement)
    rman = SystemPrograms().run(
        [double.rman(), "TARGET", '"/ AS SYSBACKUP"', "CMDFILE", str(tmp_path / "script")], timeout=30
    )
    assert not rman.ok
    (tmp_path / "script").write_text("DELETE NOPROMPT OBSOLETE;\n")
    rman = SystemPrograms().run(
        [double.rman(), "TARGET", '"/ AS SYSBACKUP"', "CMDFILE", str(tmp_path / "script")], timeout=30
    )
    assert "RMAN-01009" in rman.text
    assert (double.folder / "unknown").read_text() == "DELETE NOPROMPT OBSOLETE;"


class Placed(Both):
    """ZFS whose snapshots are there to be read, of one dataset at `place`."""

    def __init__(self, place):
        super().__init__(datasets={"tank": str(place)})
        self.place = place

    def answer(self, words, stdin):
        if words[:2] == ("zfs", "snapshot"):
            (self.place / ".zfs" / "snapshot" / words[-1].partition("@")[2]).mkdir(parents=True)
        return super().answer(words, stdin)


def test_whole_runs_store_what_rman_wrote_and_the_logs_of_a_hot_backup(double, tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    for folder in ("stage", "logs", "data"):
        (tmp_path / folder).mkdir()
    (tmp_path / "logs" / "1_17_99.arc").write_bytes(b"archived log")
    monkeypatch.setattr(oracle, "FACTORY", OracleFactory(double.connect, Placed(tmp_path / "data"), double.end))
    hot = f"{NAME}-hot"
    common = 'connector = "oracle"\nuser = "holdfast"\ndatabase = "EHR"\n'
    (tmp_path / "holdfast.toml").write_text(
        f'[vault]\nurl = "{tmp_path}/vault"\nkey_file = "file:{tmp_path}/key"\n'
        f'[applications.{NAME}]\n{common}path = "{tmp_path}/stage"\noptions = {{program = "{double.rman()}"}}\n'
        f'[applications.{hot}]\n{common}path = "{tmp_path}/logs"\nacquire_ms = 10000\nhold_ms = 10000\n'
        f'options = {{mode = "hot", volume = "zfs", paths = "{tmp_path}/data"}}\n'
    )
    holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key").close()
    with holdfast.Vault.open(tmp_path / "holdfast.toml") as vault:
        result = vault.backup([], label="rman", applications=[NAME])
        assert result.evidence[0].verdict is Verdict.APPLICATION
        vault.snapshot(result.snapshot.id).restore(tmp_path / "back")
        assert len(list((tmp_path / "back").rglob("holdfast_EHR_*"))) == 4
        result = vault.backup([], label="hot", applications=[hot])
        (evidence,) = result.evidence
        assert (evidence.verdict, evidence.error) == (Verdict.APPLICATION, "")
        assert evidence.hold_ms > 0
        vault.snapshot(evidence.follow).restore(tmp_path / "logs-back")
    found = {path.name for path in (tmp_path / "logs-back").rglob("*") if path.is_file()}
    assert found == {"1_17_99.arc", f"holdfast-{hot}.ctl", f"holdfast-{hot}.ora"}
    assert (tmp_path / "logs" / "1_17_99.arc").exists(), "Oracle's logs are Oracle's to remove"
    assert not double.in_backup
