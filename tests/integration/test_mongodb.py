"""MongoDB against its double, around a ZFS double: a counted lock that the watchdog takes back, and all that goes wrong."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import holdfast
from holdfast import errors
from holdfast.base.environment import system
from holdfast.config.secrets import SecretRef
from holdfast.sources.connectors import factory, mongodb, mongodb_session
from holdfast.sources.connectors.mongodb import MongoFactory
from holdfast.sources.connectors.mongodb_session import MongoSession, main, unlock_command, unlocked
from holdfast.sources.connectors.protocol import Connection, Verdict
from holdfast.sources.programs import Done
from holdfast.testing.connectors import ConnectorSuite
from holdfast.testing.mongodb import MongoDouble
from holdfast.testing.volumes import UnknownCallError, ZfsDouble

NAME = f"fhir-{os.getpid()}"
"""Snapshots are shown in one folder for each name: processes that run tests together need names of their own."""


class Mounted(ZfsDouble):
    """ZFS, and mounts that succeed."""

    def answer(self, words, stdin):
        return Done(0) if words[0] in ("mount", "umount") else super().answer(words, stdin)


@pytest.fixture
def double(tmp_path):
    double = MongoDouble(tmp_path / "mongo")
    yield double
    assert not (double.folder / "unknown").exists()


@pytest.fixture
def made(double):
    """Make a connector of some mode."""
    program = double.folder / "mongodump"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)

    def make(mode="lock", programs=None, *, user="holdfast", password=None, **options):
        options = {"mode": mode, "program": str(program), "volume": "zfs", **options}
        connection = Connection(NAME, user=user, password=password, path="/srv/db", options=options)
        return MongoFactory(double.connect, programs or Mounted(), double.unlock).make(connection, system())

    return make


class _Suite(ConnectorSuite):
    mode = "lock"

    def frozen(self, make):
        return self.double.locks > 0

    @pytest.fixture
    def make(self, made, double):
        self.double = double
        return lambda: made(self.mode)


class TestLock(_Suite):
    pass


class TestDump(_Suite):
    mode = "dump"


class TestSnapshot(_Suite):
    mode = "snapshot"
    verdict = Verdict.CRASH


@pytest.mark.parametrize(("version", "limit"), [("8.0.4", {"fsyncLockAcquisitionTimeoutMillis": 5000}), ("6.0.11", {})])
def test_the_lock_is_taken_once_with_a_time_limit_and_given_back_by_the_same_connection(made, double, version, limit):
    double.version = version
    connector = made()
    assert connector.check().facts == (("role", "hidden secondary"), ("mode", "lock"))
    connector.freeze(5)
    connector.verify_frozen()
    connector.capture(5)
    connector.thaw()
    connector.verify_thawed()
    end = connector.conclude()
    connector.close()
    assert [row for row in double.commands if next(iter(row)).startswith("fsync")] == [
        {"fsync": 1, "lock": True, **limit},
        {"fsyncUnlock": 1},
    ]
    proofs = dict(end.proofs)
    assert proofs["oplog"] < proofs["oplog-after"]
    assert proofs["oplog"].endswith(".3.7")
    assert connector.without_freeze() is None


def test_a_dump_is_a_stream_with_the_oplog_and_its_password_is_in_a_file(made, monkeypatch):
    monkeypatch.setenv("P", 'se"cret')
    connector = made("dump", password=SecretRef("env", "P"))
    connector.check()
    (stream,) = connector.capture(60).streams
    connector.capture(60)
    config = next(word for word in stream.command if word.startswith("--config="))
    assert "cret" not in " ".join(stream.command)
    assert stream.command[1:4] == ("--quiet", "--archive", "--oplog")
    connector = made("dump", password=SecretRef("env", "P"))
    connector.check()
    (stream,) = connector.capture(60).streams
    config = Path(next(word for word in stream.command if word.startswith("--config=")).partition("=")[2])
    assert config.read_text() == 'password: "se\\"cret"\n'
    assert config.stat().st_mode & 0o077 == 0
    connector.close()
    assert not config.exists()


def test_a_server_alone_has_no_oplog_and_its_dump_is_worth_nothing_certain(made, double):
    double.role = "alone"
    connector = made("dump", primary="allowed", user="")
    assert any("no oplog" in note for note in connector.check().notes)
    (stream,) = connector.capture(60).streams
    assert "--oplog" not in stream.command
    assert not any(word.startswith(("--config", "--username")) for word in stream.command)
    end = connector.conclude()
    assert end.verdict is Verdict.NONE
    assert dict(end.proofs) == {"mode": "dump"}
    connector.close()


def test_roles_are_named_and_a_visible_secondary_is_noted(made, double):
    double.role = "secondary"
    assert "not hidden" in made().check().notes[0]
    double.role = "primary"
    assert made(primary="allowed").check().facts[0] == ("role", "primary")


@pytest.mark.parametrize(
    ("change", "mode", "error", "words"),
    [
        ({"role": "mongos"}, "dump", errors.ApplicationUnsuitableError, "sharded"),
        ({"role": "shard"}, "lock", errors.ApplicationUnsuitableError, "sharded"),
        ({"role": "primary"}, "lock", errors.ApplicationUnsuitableError, "primary"),
        ({"role": "alone"}, "lock", errors.ApplicationUnsuitableError, "stands alone"),
        ({"role": "recovering"}, "dump", errors.ApplicationUnsuitableError, "neither"),
        ({"version": "4.2.9"}, "dump", errors.ApplicationUnsuitableError, "4.4"),
        ({"locks": 1}, "lock", errors.ApplicationBusyError, "already"),
        ({"up": False}, "lock", errors.ApplicationUnreachableError, "does not answer"),
        ({"fail": {"hello": 18}}, "lock", errors.ApplicationAccessError, "error 18"),
        ({"fail": {"currentOp": 13}}, "lock", errors.ApplicationAccessError, "error 13"),
        ({"fail": {"buildInfo": 59}}, "lock", errors.ApplicationUnsuitableError, "error 59"),
        ({"fail": {"hello": 4711}}, "lock", errors.CaptureError, "error 4711"),
    ],
)
def test_a_check_says_what_is_wrong_and_changes_nothing(made, double, change, mode, error, words):
    for name, value in change.items():
        setattr(double, name, value)
    with pytest.raises(error, match=words) as caught:
        made(mode).check()
    assert "patients" not in str(caught.value)
    assert not any("fsync" in row or "fsyncUnlock" in row for row in double.commands)


def test_a_lock_of_somebody_else_is_never_taken_back(made, double):
    connector = made()
    connector.check()
    double.locks = 1
    with pytest.raises(errors.ApplicationBusyError, match="same time"):
        connector.freeze(5)
    connector.thaw()
    assert double.locks == 1
    with pytest.raises(errors.StillFrozenError, match="still locked"):
        connector.verify_thawed()
    double.locks = 0
    double.fail["fsync"] = 12590
    with pytest.raises(errors.ApplicationBusyError):
        connector.freeze(5)
    connector.close()


def test_a_lock_that_comes_after_the_driver_gave_up_is_taken_back(made, double):
    connector = made()
    connector.check()
    double.late_lock, double.fail["fsync"] = True, "timeout"
    with pytest.raises(errors.FreezeOverrunError):
        connector.freeze(0.25)
    assert double.locks == 1
    connector.thaw()
    assert double.locks == 0
    double.late_lock, double.fail["fsync"] = False, 50
    with pytest.raises(errors.FreezeOverrunError):
        connector.freeze(0.25)
    with pytest.raises(errors.FreezeOverrunError):
        connector.freeze(0)
    connector.close()


def test_a_connection_that_is_lost_leaves_the_lock_to_a_new_one(made, double):
    connector = made()
    connector.check()
    connector.freeze(5)
    double.fail["fsyncUnlock"] = "lost"
    connector.thaw()
    assert double.locks == 0
    connector.freeze(5)
    double.fail.update({"currentOp": 13})
    with pytest.raises(errors.StillFrozenError, match="error 13"):
        connector.thaw()
    double.up = False
    with pytest.raises(errors.StillFrozenError, match="does not answer"):
        connector.thaw()
    double.up = True
    with pytest.raises(errors.StillFrozenError, match="still locked"):
        connector.verify_thawed()
    connector.close()
    assert double.locks == 0


def test_a_lock_that_is_gone_too_early_voids_the_snapshot(made, double):
    connector = made()
    connector.check()
    connector.freeze(5)
    double.locks = 0
    with pytest.raises(errors.ApplicationChangedError, match="somebody else"):
        connector.verify_frozen()
    connector.thaw()
    with pytest.raises(errors.ApplicationChangedError, match="before the snapshot"):
        connector.verify_thawed()
    connector.close()


def test_a_restart_or_a_failover_gives_no_backup(made, double):
    connector = made("dump")
    connector.check()
    connector.capture(60)
    double.process = "65f1"
    with pytest.raises(errors.ApplicationChangedError, match="restarted"):
        connector.conclude()
    double.process, double.role = "65f0", "primary"
    with pytest.raises(errors.ApplicationChangedError, match="role"):
        connector.conclude()
    connector.close()


def test_a_snapshot_that_fails_or_cannot_be_is_said(made):
    programs = Mounted()
    connector = made("snapshot", programs)
    connector.check()
    programs.failing["snapshot"] = Done(1)
    with pytest.raises(errors.CaptureError):
        connector.capture(60)
    connector.close()
    programs.datasets.clear()
    with pytest.raises(errors.ApplicationUnsuitableError):
        made("lock", programs).check()


def test_settings_that_cannot_work_are_refused(made):
    for options, words in (({"mode": "magic"}, "mode = one of"), ({"primary": "yes"}, "refused or allowed")):
        with pytest.raises(errors.ConfigError) as caught:
            made(**options)
        assert words in caught.value.problems[0]
    with pytest.raises(errors.ConfigError, match="lacks settings"):
        MongoFactory().make(Connection("fhir", options={"mode": "lock", "volume": "zfs"}), system())
    with pytest.raises(errors.DriverMissingError, match="mongodump"):
        made("dump", program="no-such-mongodump").check()
    found = factory("mongodb")
    assert isinstance(found, MongoFactory)
    assert '"unlock"' in found.grants(Connection("fhir"))
    assert found.discover(system()) == ()


def test_the_watchdog_s_program_takes_back_one_lock_and_knows_no_password(double):
    connection = Connection("fhir", "db.ward", 27018, "holdfast", SecretRef("env", "P"), "admin")
    command = unlock_command(connection)
    assert command == (sys.executable, "-m", mongodb_session.__name__, "db.ward", "27018", "admin", "holdfast", "env:P")
    seen = []

    def connect(connection):
        seen.append(connection)
        return double.connect(connection)

    double.locks = 2
    assert main(list(command[3:]), connect) == 0
    assert double.locks == 1
    assert seen[0].password == SecretRef("env", "P")
    double.locks = 0
    assert main(["", "0", "", "", ""], connect) == 0, "nothing to do"
    double.up = False
    assert main(["", "0", "", "", ""], connect) == 1
    assert main(["", "x", "", "", ""], connect) == 64
    assert main(["", "0", "", "", "secret"], connect) == 64


def test_a_race_for_the_unlock_is_no_error(double):
    session = MongoSession(Connection("fhir"), double.connect)
    double.locks = 1
    double.fail["fsyncUnlock"] = 125
    assert unlocked(session) == -1
    double.fail["fsyncUnlock"] = 4711
    with pytest.raises(errors.CaptureError):
        unlocked(session)
    assert unlocked(session) == 0


def test_the_real_driver_finds_no_server_and_one_that_is_missing_is_said(monkeypatch):
    session = MongoSession(Connection("fhir", "127.0.0.1", 1, "holdfast"))
    with pytest.raises(errors.ApplicationUnreachableError):
        session.run({"hello": 1}, 0.2)
    session.close()
    with pytest.raises(errors.ApplicationUnreachableError):
        MongoSession(Connection("fhir", "127.0.0.1", 1)).run({"hello": 1}, 0.2)
    monkeypatch.setitem(sys.modules, "pymongo", None)
    with pytest.raises(errors.DriverMissingError, match="MongoDB"):
        MongoSession(Connection("fhir")).run({"hello": 1})


def test_the_double_refuses_what_it_does_not_know(tmp_path):
    double = MongoDouble(tmp_path / "strange")
    run = double.connect(None)
    for command in ({"dropDatabase": 1}, {"hello": 1, "x": 1}, {"fsync": 1}):
        with pytest.raises(UnknownCallError):
            run(command, 1)


def test_a_whole_run_stores_the_dump_as_it_is_printed(double, tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(mongodb, "FACTORY", MongoFactory(double.connect))
    program = tmp_path / "mongodump"
    program.write_text('#!/bin/sh\nprintf "dumped with %s" "$*"\n')
    program.chmod(0o755)
    (tmp_path / "holdfast.toml").write_text(
        f'[vault]\nurl = "{tmp_path}/vault"\nkey_file = "file:{tmp_path}/key"\n'
        f'[applications.fhir]\nconnector = "mongodb"\nport = 27018\noptions = {{program = "{program}"}}\n'
    )
    holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key").close()
    with holdfast.Vault.open(tmp_path / "holdfast.toml") as vault:
        result = vault.backup([], label="fhir", applications=["fhir"])
        assert result.evidence[0].verdict is Verdict.APPLICATION
        vault.snapshot(result.snapshot.id).restore(tmp_path / "back")
    (dump,) = [path for path in (tmp_path / "back").rglob("*") if path.is_file()]
    assert dump.name == "dump.mongodump"
    assert dump.read_text() == "dumped with --quiet --archive --oplog --host=127.0.0.1 --port=27018"
