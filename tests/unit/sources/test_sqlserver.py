"""SQL Server against its double: the statements, the ownership of the chain, and everything that the real server refuses."""

from __future__ import annotations

import pytest

from holdfast import errors
from holdfast.base.environment import ManualClock
from holdfast.sources.connectors.protocol import Connection, Verdict
from holdfast.sources.connectors.sqlserver import SqlServerConnector, SqlServerFactory, quoted, restore_statements, text
from holdfast.sources.volumes.held import HeldVolumes
from holdfast.sources.volumes.zfs import Zfs
from holdfast.testing.sqlserver import SqlServerDouble
from holdfast.testing.volumes import UnknownCallError, ZfsDouble

ENV = ManualClock().environment()


@pytest.fixture
def server():
    return SqlServerDouble()


def made(server, tmp_path, **options):
    return SqlServerFactory(server.connect).make(
        Connection("sql", database="ehr", path=str(tmp_path), options=options), ENV
    )


def suspended(server, tmp_path, double=None):
    double = double or ZfsDouble()
    volumes = HeldVolumes(Zfs(programs=double, env=ENV), [b"/srv/db"], name="sql", env=ENV, programs=double, bind=False)
    connector = made(server, tmp_path)
    options = {**connector._options, "mode": "snapshot"}
    return SqlServerConnector(connector._connection, options, volumes, server.connect)


WORDS = "CHECKSUM, FORMAT, NO_COMPRESSION, STATS = 5, NAME = N'holdfast'"


@pytest.mark.parametrize(
    ("options", "what", "first"),
    [
        ({}, "DATABASE", "COPY_ONLY, "),
        ({"owns-chain": "yes"}, "DATABASE", ""),
        ({"mode": "differential", "owns-chain": "yes"}, "DATABASE", "DIFFERENTIAL, "),
        ({"mode": "log", "owns-chain": "yes"}, "LOG", ""),
    ],
)
def test_a_backup_is_streamed_drained_verified_and_keeps_to_the_chain(server, tmp_path, options, what, first):
    connector = made(server, tmp_path, **options)
    assert connector.check().version == server.version
    (path,) = connector.capture(60).paths
    with open(path, "rb") as file:
        assert file.read() == b"TAPE", "the double writes it only when every result set was read"
    end = connector.conclude()
    connector.close()
    assert f"BACKUP {what} [ehr] TO DISK = N'{path.decode()}' WITH {first}{WORDS}" in server.statements
    assert f"RESTORE VERIFYONLY FROM DISK = N'{path.decode()}' WITH CHECKSUM" in server.statements
    assert end.verdict is Verdict.APPLICATION
    assert dict(end.proofs)["last-lsn"] == "34000000014500001"
    assert connector.without_freeze() is None
    assert not connector.thaw_orders()


def test_a_chain_that_is_not_ours_is_not_touched(server, tmp_path):
    for mode in ("differential", "log"):
        with pytest.raises(errors.ConfigError, match="no other tool"):
            made(server, tmp_path, mode=mode)
    with pytest.raises(errors.ConfigError, match="mode = one of"):
        made(server, tmp_path, mode="magic")


def test_suspend_snapshot_and_metadata_are_one_session(server, tmp_path):
    connector = suspended(server, tmp_path)
    connector.check()
    connector.thaw_orders()
    connector.freeze(0.25)
    connector.verify_frozen()
    assert server.suspended_by is connector._session
    assert len(connector.capture(0.5).paths) == 3
    assert server.suspended_by is None, "the metadata backup thaws"
    connector.thaw()
    connector.verify_thawed()
    assert dict(connector.conclude().proofs)["volume-provider"] == "zfs"
    connector.close()
    assert "SET LOCK_TIMEOUT 250" in server.statements
    fallback = connector.without_freeze()
    assert fallback is not None
    assert not fallback.freezes


def test_a_session_that_ends_thaws_the_database_and_voids_the_snapshot(server, tmp_path):
    connector = suspended(server, tmp_path)
    connector.check()
    connector.freeze(1)
    server.fail["IsDatabaseSuspended"] = 0
    with pytest.raises(errors.ApplicationChangedError):
        connector.verify_frozen()
    assert server.suspended_by is None
    connector.thaw()
    with pytest.raises(errors.ApplicationChangedError, match="its session ended"):
        connector.verify_thawed()


def test_a_snapshot_that_fails_resumes_and_one_after_an_overrun_is_shown_at_once(server, tmp_path):
    double = ZfsDouble()
    connector = suspended(server, tmp_path, double)
    connector.check()
    connector.freeze(1)
    server.suspended_by = None
    with pytest.raises(errors.ApplicationChangedError, match="not suspended"):
        connector.capture(1)
    connector.thaw()
    connector.verify_thawed()
    assert connector.capture(1).paths
    connector.freeze(1)
    from holdfast.sources.programs import Done

    double.failing["snapshot"] = Done(1)
    with pytest.raises(errors.CaptureError):
        connector.capture(1)
    connector.close()
    assert server.suspended_by is None
    with pytest.raises(errors.FreezeOverrunError):
        connector.freeze(0)


def test_a_database_that_stays_suspended_is_an_alarm(server, tmp_path):
    connector = suspended(server, tmp_path)
    server.suspended_by = object()
    with pytest.raises(errors.StillFrozenError):
        connector.verify_thawed()
    with pytest.raises(errors.ApplicationBusyError, match="already"):
        connector.check()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"up": False}, errors.ApplicationUnreachableError),
        ({"password_ok": False}, errors.ApplicationAccessError),
        ({"operator": False}, errors.ApplicationAccessError),
        ({"state": "RESTORING"}, errors.ApplicationUnsuitableError),
        ({"fail": {"SELECT CAST": 229}}, errors.ApplicationAccessError),
        ({"fail": {"SELECT CAST": 3023}}, errors.ApplicationBusyError),
        ({"fail": {"SELECT CAST": 4711}}, errors.CaptureError),
    ],
)
def test_what_the_server_refuses_is_said(server, tmp_path, change, error):
    for name, value in change.items():
        setattr(server, name, value)
    with pytest.raises(error):
        made(server, tmp_path).check()


def test_settings_of_the_database_that_do_not_allow_it_are_said(server, tmp_path):
    server.model = "SIMPLE"
    with pytest.raises(errors.ApplicationUnsuitableError, match="SIMPLE"):
        made(server, tmp_path, mode="log", **{"owns-chain": "yes"}).check()
    server.version = "15.0.4"
    with pytest.raises(errors.ApplicationUnsuitableError, match="2022"):
        suspended(server, tmp_path).check()


def test_the_way_back_to_a_moment_is_a_sequence_of_statements():
    found = restore_statements(
        "e]hr", "/b/f.bak", differential="/b/d.bak", logs=("/b/1.trn", "/b/2.trn"), stop_at="2026-11-25T03:00:00.000"
    )
    assert found == (
        "RESTORE DATABASE [e]]hr] FROM DISK = N'/b/f.bak' WITH CHECKSUM, NORECOVERY, STATS = 5",
        "RESTORE DATABASE [e]]hr] FROM DISK = N'/b/d.bak' WITH CHECKSUM, NORECOVERY, STATS = 5",
        "RESTORE LOG [e]]hr] FROM DISK = N'/b/1.trn' WITH CHECKSUM, NORECOVERY, STOPAT = N'2026-11-25T03:00:00.000'",
        "RESTORE LOG [e]]hr] FROM DISK = N'/b/2.trn' WITH CHECKSUM, NORECOVERY, STOPAT = N'2026-11-25T03:00:00.000'",
        "RESTORE DATABASE [e]]hr] WITH RECOVERY",
        "DBCC CHECKDB ([e]]hr]) WITH NO_INFOMSGS, PHYSICAL_ONLY",
    )
    assert restore_statements("ehr", "/f")[0].endswith("STATS = 5")
    assert (quoted("a]b"), text("o'x")) == ("[a]]b]", "N'o''x'")
    assert "db_backupoperator" in SqlServerFactory().grants(Connection("sql"))


def test_the_double_refuses_statements_that_it_does_not_know(server):
    with pytest.raises(UnknownCallError):
        server.connect(None).cursor().execute("DROP DATABASE ehr")
