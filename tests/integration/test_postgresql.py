"""PostgreSQL as it is met at night: wrong password, missing right, down, restarted, replica, archive stuck, two backups at once.

For each: a three-line error with what to do, the server untouched, nothing committed that is no restore point.
"""

from __future__ import annotations

import os
import signal
import time

import pytest

import holdfast
from holdfast.base.environment import ManualClock, system
from holdfast.base.events import Alert
from holdfast.cli import main
from holdfast.config import SecretRef
from holdfast.errors import (
    ApplicationAccessError,
    ApplicationBusyError,
    ApplicationChangedError,
    ApplicationUnreachableError,
    ApplicationUnsuitableError,
    CaptureError,
    ConfigError,
    LocalStateError,
    StoreFullError,
    UsageError,
    WalMissingError,
)
from holdfast.runs import applications, wal
from holdfast.runs.applications import read_evidence
from holdfast.runs.backup import run_backup
from holdfast.runs.start import check_recovery
from holdfast.sources.connectors import factory
from holdfast.sources.connectors.postgresql import connector as connectors
from holdfast.sources.connectors.postgresql import logical
from holdfast.sources.connectors.protocol import Connection, Member
from holdfast.sources.consistency import consistent
from holdfast.sources.spool import Spool
from servers import postgresql, process


@pytest.fixture(scope="module")
def cluster():
    with (
        postgresql.place() as place,
        postgresql.cluster(place / "pg", archiving=True, segment_mb=1, wal_keep_size="64MB") as made,
    ):
        made.make_role(password="secret")
        yield made


@pytest.fixture
def env():
    return system()


def connection(cluster, **more):
    usual = {
        "host": str(cluster.folder), "port": cluster.port, "user": "bkr", "options": {"spool": str(cluster.spool)},
    }  # fmt: skip
    return Connection("ehr-db", **(usual | more))


def check(found, env):
    made = factory("postgresql").make(found, env)
    try:
        return made.check()
    finally:
        made.close()


def in_backup(cluster):
    """Return how many sessions of Holdfast the server has."""
    return cluster.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holdfast'")[0][0]


def test_the_printed_grants_are_all_that_is_needed(cluster, env):
    facts = dict(check(connection(cluster), env).facts)
    assert facts["role"] == "primary"
    assert cluster.sql("SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = 'bkr'") == [(False,)]
    assert in_backup(cluster) == 0


def test_a_password_is_taken_by_reference_and_a_wrong_one_is_said(cluster, env, monkeypatch):
    monkeypatch.setenv("PGSECRET", "secret")
    reference = SecretRef("env", "PGSECRET")
    over_tcp = connection(cluster, host="127.0.0.1", password=reference)
    assert check(over_tcp, env).version.startswith("15.")
    monkeypatch.setenv("PGSECRET", "hunter2")
    with pytest.raises(ApplicationAccessError, match="refuses the backup's account") as caught:
        check(over_tcp, env)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ApplicationAccessError):
        check(connection(cluster, host="127.0.0.1", password=None), env)
    with pytest.raises(ApplicationAccessError):
        check(connection(cluster, user="nobody"), env)


def test_a_missing_right_is_named_with_the_statement_that_grants_it(cluster, env):
    cluster.sql("CREATE ROLE weak LOGIN")
    weak = connection(cluster, user="weak")
    for _ in range(2):
        with pytest.raises(ApplicationAccessError) as caught:
            check(weak, env)
        statement = caught.value.facts["statement"]
        assert str(statement) in caught.value.next
        cluster.sql(str(statement))
    assert check(weak, env).version


def test_a_server_that_is_down(cluster, env):
    with pytest.raises(ApplicationUnreachableError):
        check(connection(cluster, host="127.0.0.1", port=process.free_port()), env)
    with pytest.raises(ApplicationUnreachableError):
        check(connection(cluster, host=str(cluster.folder / "nowhere")), env)


def test_a_second_backup_waits_its_turn(cluster, env):
    members = [Member(factory("postgresql").make(connection(cluster), env))]
    with consistent(members, env=env), pytest.raises(ApplicationBusyError):
        check(connection(cluster), env)
    assert check(connection(cluster), env).version


def test_the_data_of_another_cluster_is_not_taken_for_this_one(cluster, env, tmp_path):
    (tmp_path / "global").mkdir()
    content = bytearray((cluster.data / "global" / "pg_control").read_bytes())
    (tmp_path / "global" / "pg_control").write_bytes(content)
    assert check(connection(cluster, path=str(tmp_path)), env).version
    content[0] ^= 1
    (tmp_path / "global" / "pg_control").write_bytes(content)
    with pytest.raises(CaptureError, match="read whole"):
        check(connection(cluster, path=str(tmp_path)), ManualClock().environment())
    with pytest.raises(ApplicationUnsuitableError, match="cannot be read from here"):
        check(connection(cluster, path=str(tmp_path / "none")), env)
    with pytest.raises(ApplicationUnsuitableError, match="spool is not there"):
        check(connection(cluster, options={"spool": str(tmp_path / "none")}), env)


def test_the_session_s_end_ends_the_backup(cluster, env):
    made = factory("postgresql").make(connection(cluster), env)
    with (  # noqa: PT012 - the end of the backup is what fails
        pytest.raises(ApplicationChangedError, match="ended the backup's session"),
        consistent([Member(made)], env=env) as group,
    ):
        cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holdfast'")
        group.conclude()


def test_a_heartbeat_notices_the_session_s_end(cluster, env):
    made = connectors.PostgreSQL(connection(cluster), env)
    made.check()
    session = made._open()
    session.keep_alive(0.01)
    cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holdfast'")
    while not session.lost:
        time.sleep(0.01)
    with pytest.raises(ApplicationChangedError):
        made.conclude()
    made.close()


def test_wal_that_does_not_come_is_not_waited_for_for_ever(cluster, monkeypatch):
    clock = ManualClock()
    made = factory("postgresql").make(connection(cluster), clock.environment())
    monkeypatch.setattr(Spool, "missing", lambda _self, names: names)
    with (
        pytest.raises(CaptureError, match="did not come to the spool"),
        consistent([Member(made)], env=clock.environment()) as group,
    ):
        group.conclude()


def test_wal_that_was_removed_before_it_was_copied(cluster, env, tmp_path, monkeypatch):
    made = factory("postgresql").make(
        connection(cluster, options={"wal": "copy", "spool": str(tmp_path / "copied")}), env
    )

    def gone(*_, **__):
        raise WalMissingError("gone")

    monkeypatch.setattr(Spool, "push", gone)
    with pytest.raises(CaptureError, match="wal_keep_size"), consistent([Member(made)], env=env) as group:
        group.conclude()


def test_options_are_checked_before_anything(cluster, env):
    for options in ({}, {"spool": "/s", "speed": "1"}, {"wal": "perhaps"}, {"spool": "/s", "pages": "some"}):
        with pytest.raises(ConfigError):
            factory("postgresql").make(connection(cluster, options=options), env)
    with pytest.raises(ConfigError):
        factory("postgresql-dump").make(connection(cluster, options={"x": "y"}), env)
    with pytest.raises(ConfigError, match="no connector oracle-of-delphi"):
        factory("oracle-of-delphi")


def config_text(cluster, place, kind="postgresql", options="", job=""):
    return f"""
[vault]
url = "{place}/vault"
key_file = "file:{place}/key"
[jobs.ehr]
applications = ["ehr-db"]
{job}
[applications.ehr-db]
connector = "{kind}"
host = "{cluster.folder}"
port = {cluster.port}
user = "bkr"
{options or f'options = {{spool = "{cluster.spool}"}}'}
"""


@pytest.fixture
def vault_of(tmp_path, monkeypatch):
    """Return a function that opens a vault configured for a cluster."""
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    opened = []

    def make(cluster, **more):
        config = tmp_path / "holdfast.toml"
        config.write_text(config_text(cluster, tmp_path, **more))
        holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key").close()
        opened.append(holdfast.Vault.open(config))
        return opened[-1]

    yield make
    for vault in opened:
        vault.close()


def test_evidence_is_sealed_in_the_snapshot_and_the_spool_is_emptied(cluster, vault_of):
    vault = vault_of(cluster)
    cluster.sql("SELECT pg_switch_wal()")
    result = vault.backup("ehr")
    assert result.exit_code == 0
    sealed = read_evidence(vault._vault, result.snapshot)
    assert sealed.of("ehr-db").verdict == "application"
    assert sealed.of("ehr-db").proofs == result.evidence[0].proofs
    assert sealed.of("other") is None
    assert {row.path.rpartition(b"/")[2] for row in sealed.beside} == {b"backup_label", b"pg_control"}
    (log,) = vault.snapshots("ehr-db.wal")
    assert log.id == result.evidence[0].follow
    assert Spool(cluster.spool, system()).state().segments <= 2
    assert read_evidence(vault._vault, log.info).evidence == ()
    assert in_backup(cluster) == 0
    assert vault.backup("ehr").exit_code == 0
    plan = vault.plan_forget(holdfast.RetentionPolicy(last=1), source="ehr-db.wal")
    assert {row.snapshot: row.reasons for row in plan.decisions}[log.id] == ("wal",)
    assert vault.plan_forget(holdfast.RetentionPolicy(last=1), source="ehr").forget == (result.snapshot.id,)


def test_the_command_line_backs_up_stores_wal_and_recovers(cluster, vault_of, tmp_path, capfd):
    vault = vault_of(cluster)
    config = ["--config", str(tmp_path / "holdfast.toml")]
    assert main(["backup", "--quiet", *config]) == 0
    cluster.sql("CREATE TABLE after_base (id int)")
    segment = cluster.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")[0][0]
    cluster.sql("SELECT pg_switch_wal()")
    while Spool(cluster.spool, system()).missing([segment]):
        time.sleep(0.05)
    assert main(["wal", "store", "ehr-db", *config]) == 0
    assert len(list(vault.snapshots("ehr-db.wal"))) == 2
    assert len(list(vault.snapshots("ehr"))) == 1
    with postgresql.place() as place:
        code = main(
            ["recover", "ehr-db", "--to", str(place / "out"), "--check", "--programs", str(cluster.bin), *config]
        )
        assert code == 0, capfd.readouterr()
    assert "structure clean, pages clean" in capfd.readouterr().out
    cluster.sql("DROP TABLE after_base")


def test_without_archiving_a_base_backup_brings_its_own_wal(cluster, vault_of, tmp_path):
    spool = tmp_path / "copied"
    vault = vault_of(cluster, options=f'options = {{spool = "{spool}", wal = "copy"}}')
    result = vault.backup("ehr")
    assert result.exit_code == 0, result.findings
    assert result.evidence[0].verdict == "application"
    with postgresql.place() as place:
        target = holdfast.RecoveryTarget("snapshot")
        prepared = vault.prepare_recovery("ehr-db", place / "out", target=target)
        report = check_recovery(prepared, env=system(), bin_folder=cluster.bin, durable=False)
    assert (report.structure, report.page_checksums) == ("clean", "clean")


def test_two_runs_of_one_spool_wait_for_each_other(cluster, vault_of, monkeypatch):
    vault = vault_of(cluster)
    clock = ManualClock()
    real, calls = run_backup, []

    def busy_first(*arguments, **more):
        calls.append(1)
        if len(calls) < 3:
            raise LocalStateError("another run of this source is under way on this host")
        return real(*arguments, **more)

    monkeypatch.setattr(wal, "run_backup", busy_first)
    monkeypatch.setattr(vault._vault, "env", clock.environment())
    assert vault.store_wal("ehr-db").exit_code == 0
    assert clock.slept[:2] == [wal.BUSY_SECONDS] * 2
    calls.clear()
    monkeypatch.setattr(wal, "BUSY_TRIES", 2)
    with pytest.raises(LocalStateError):
        vault.store_wal("ehr-db")


def test_a_run_with_an_application_is_dry_too(cluster, vault_of):
    vault = vault_of(cluster, job='paths = ["/etc/hostname"]')
    assert vault.backup("ehr", dry_run=True).stats.files == 1
    assert vault.backup([], applications=["ehr-db"], dry_run=True).dry_run
    assert in_backup(cluster) == 0
    assert not list(vault.snapshots())


def test_applications_need_a_configuration(tmp_path, monkeypatch, cluster, vault_of):
    vault_of(cluster)
    with holdfast.Vault.open(tmp_path / "vault", key_file=tmp_path / "key") as bare:
        with pytest.raises(UsageError):
            bare.backup([tmp_path], applications=["ehr-db"])
        with pytest.raises(UsageError):
            bare.store_wal("ehr-db")
    (tmp_path / "other.toml").write_text(config_text(cluster, tmp_path, options="# none"))
    with holdfast.Vault.open(tmp_path / "other.toml") as vault, pytest.raises(ConfigError, match="has no spool"):
        vault.store_wal("ehr-db")
    with holdfast.Vault.open(tmp_path / "holdfast.toml") as vault, pytest.raises(ConfigError, match="no application"):
        vault.backup([tmp_path / "key"], applications=["other"])


def test_a_damaged_page_of_the_cluster_is_found_told_and_makes_the_run_partial(cluster, vault_of):
    vault = vault_of(cluster)
    cluster.sql("CREATE TABLE damaged AS SELECT g, repeat('x', 500) FROM generate_series(1, 1000) g")
    cluster.sql("CHECKPOINT")
    path = cluster.data / cluster.sql("SELECT pg_relation_filepath('damaged')")[0][0]
    with path.open("r+b") as file:
        file.seek(3 * 8192 + 4000)
        file.write(b"\xff\xfe")
    told = []
    result = vault.backup("ehr", events=told.append)
    assert result.exit_code == 3
    assert dict(result.evidence[0].proofs)["pages-bad"] == "1"
    assert [finding.kind for finding in result.findings] == ["application-damage"]
    assert [event.code for event in told if isinstance(event, Alert)] == ["application-damage"]
    cluster.sql("DROP TABLE damaged")


def test_a_run_that_is_killed_leaves_the_server_out_of_backup_mode_and_the_next_one_succeeds(
    cluster, vault_of, tmp_path
):
    vault = vault_of(cluster)
    pid = os.fork()
    if pid == 0:  # pragma: no cover - it is killed
        try:
            real = connectors.PostgreSQL.capture

            def then_wait(self, seconds):
                found = real(self, seconds)
                (tmp_path / "captured").touch()
                signal.pause()
                return found

            connectors.PostgreSQL.capture = then_wait  # type: ignore[method-assign]
            with holdfast.Vault.open(tmp_path / "holdfast.toml") as other:
                other.backup("ehr")
        finally:
            os._exit(99)
    while not (tmp_path / "captured").exists():
        time.sleep(0.02)
    assert in_backup(cluster) == 1
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    while in_backup(cluster):
        time.sleep(0.02)
    assert not list(vault.snapshots())
    assert vault.backup("ehr").exit_code == 0


def test_a_log_that_cannot_be_stored_makes_the_capture_worth_nothing_and_says_so(cluster, vault_of, monkeypatch):
    vault = vault_of(cluster)

    def full(*_, **__):
        raise StoreFullError("no room")

    monkeypatch.setattr(applications, "store_log", full)
    told = []
    result = vault.backup("ehr", events=told.append)
    assert result.exit_code == 3
    assert (result.evidence[0].verdict, result.evidence[0].error) == ("none", "store-full")
    assert [finding.kind for finding in result.findings] == ["application-degraded"]


def test_dumps_are_streams_of_every_database(cluster, vault_of, tmp_path):
    cluster.sql("GRANT pg_read_all_data TO bkr")
    cluster.sql('CREATE DATABASE "odd/name=x"')
    vault = vault_of(cluster, kind="postgresql-dump", options="database = 'postgres'")
    result = vault.backup("ehr")
    assert result.exit_code == 0, result.findings
    assert result.evidence[0].verdict == "application"
    vault.snapshot(result.snapshot.id).restore(to=tmp_path / "out")
    found = {path.name: path.read_text() for path in (tmp_path / "out").rglob("*.sql")}
    assert set(found) == {"globals.sql", "postgres.sql", "template1.sql", "odd%2Fname%3Dx.sql"}
    assert "CREATE ROLE bkr" in found["globals.sql"]
    assert "PostgreSQL database dump complete" in found["postgres.sql"]
    cluster.sql("REVOKE pg_read_all_data FROM bkr")
    with pytest.raises(ApplicationAccessError, match="read all tables"):
        vault.backup("ehr")
    cluster.sql('DROP DATABASE "odd/name=x"')


def test_a_dump_that_fails_takes_the_verdict_back(cluster, vault_of, monkeypatch):
    cluster.sql("GRANT pg_read_all_data TO bkr")
    cluster.sql("CREATE TABLE locked (id int)")
    vault = vault_of(cluster, kind="postgresql-dump", options="database = 'postgres'")
    holder = cluster.connect()
    holder.autocommit = False
    holder.execute("LOCK TABLE locked IN ACCESS EXCLUSIVE MODE")
    monkeypatch.setattr(logical, "LOCK_WAIT_MS", 100)
    result = vault.backup("ehr")
    holder.rollback()
    holder.close()
    assert result.exit_code == 3
    assert (result.evidence[0].verdict, result.evidence[0].error) == ("none", "stream-failed")
    cluster.sql("DROP TABLE locked")


def test_a_stuck_archiver_a_restart_and_a_replica(env, vault_of):
    """One cluster of its own, for what would disturb the others."""
    with postgresql.place() as place:
        made = postgresql.Cluster(place / "pg", 15, process.free_port(), {"archive_mode": "off"}, 1).create()
        made.spool.mkdir()
        postgresql.give(made.spool)
        with made.started():
            made.make_role()
            with pytest.raises(ApplicationUnsuitableError, match="does not archive"):
                check(connection(made), env)
        made.settings = {"archive_mode": "on", "archive_command": "false"}
        with made.started():
            made.sql("SELECT pg_switch_wal()")
            while not made.sql("SELECT failed_count FROM pg_stat_archiver")[0][0]:
                time.sleep(0.05)
            with pytest.raises(ApplicationUnsuitableError, match="last attempt to archive"):
                check(connection(made), env)
        made.settings = made.archiving()
        with made.started():
            while not made.sql("SELECT archived_count FROM pg_stat_archiver")[0][0]:
                time.sleep(0.05)
            taken = factory("postgresql").make(connection(made), env)
            with (  # noqa: PT012 - as above
                pytest.raises(ApplicationChangedError),
                consistent([Member(taken)], env=env) as group,
            ):
                made.running.send_signal(signal.SIGINT)
                made.running.wait()
                group.conclude()
        (made.data / "standby.signal").touch()
        postgresql.give(made.data / "standby.signal")
        with made.started(), pytest.raises(ApplicationUnsuitableError, match="replica"):
            check(connection(made), env)


def test_a_server_of_17_says_what_changed_and_the_files_times_agree(env, tmp_path):
    with (
        postgresql.place() as place,
        postgresql.cluster(place / "pg", 17, segment_mb=1, summarize_wal="on", wal_keep_size="64MB") as made,
    ):
        made.make_role()
        made.sql("CREATE TABLE t AS SELECT g AS id, repeat('x', 500) AS note FROM generate_series(1, 5000) g")
        found = connection(made, options={"wal": "copy", "spool": str(place / "copied")}, state=str(tmp_path / "state"))

        def proofs():
            with consistent([Member(factory("postgresql").make(found, env))], env=env) as group:
                (end,) = group.conclude()
            return dict(end.evidence.proofs), end.problems

        first, problems = proofs()
        assert "blocks-changed" not in first
        assert problems == ()
        made.sql("UPDATE t SET note = 'y' WHERE id % 1000 = 0")
        second, problems = proofs()
        assert 0 < int(second["blocks-changed"]) < 500
        assert problems == ()
        path = made.data / made.sql("SELECT pg_relation_filepath('t')")[0][0]
        made.sql("UPDATE t SET note = 'z'")
        made.sql("CHECKPOINT")
        os.utime(path, (1, 1))
        _, problems = proofs()
        assert "behind an unchanged time" in problems[0]
