"""Point-in-time recovery, for real: a writer commits without end and notes each acknowledgement; targets are drawn at random.

For each target: every transaction acknowledged before it is there, none that was begun after it, and PostgreSQL's own checks
(pg_amcheck with heapallindexed, pg_checksums) find nothing. `bench/postgresql.py pitr` runs the same with fifty targets.
"""

from __future__ import annotations

import os
import random
import threading
from dataclasses import dataclass
from datetime import datetime

import holdfast_rescue
import pytest

import holdfast
from holdfast.base.environment import system
from holdfast.errors import RecoveryError, SnapshotMissingError
from holdfast.runs import recovery
from holdfast.runs.applications import Sealed
from holdfast.runs.recovery import RecoveryTarget
from holdfast.runs.start import check_recovery, started
from holdfast.sources.connectors.protocol import Beside
from servers import postgresql

TARGETS = int(os.environ.get("HOLDFAST_TEST_TARGETS", "5"))


@dataclass(frozen=True)
class Acknowledged:
    """One transaction: when its commit was asked for, and when it was acknowledged, by the server's own clock and log."""

    number: int
    asked_lsn: int
    done_lsn: int
    asked_at: datetime
    done_at: datetime


class Writer:
    """Commits one row after the other, until told to stop."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.rows: list[Acknowledged] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        state = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint, clock_timestamp()"
        with self.cluster.connect("ehr") as connection:
            while not self.stop.is_set():
                number = len(self.rows) + 1
                before = connection.execute(state).fetchone()
                connection.execute("INSERT INTO admission VALUES (%s, repeat('x', 2000))", (number,))
                connection.execute("UPDATE counter SET value = %s", (number,))
                after = connection.execute(state).fetchone()
                self.rows.append(Acknowledged(number, before[0], after[0], before[1], after[1]))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


@pytest.fixture(scope="module")
def place():
    with postgresql.place() as folder:
        yield folder


@pytest.fixture(scope="module")
def history(place):
    """A cluster with a tablespace, two base backups and WAL of a writer that never stopped; then the cluster is gone."""
    spaces = place / "space"
    with (
        pytest.MonkeyPatch.context() as patch,
        postgresql.cluster(place / "pg", archiving=True, segment_mb=1) as cluster,
    ):
        patch.setenv("HOLDFAST_STATE", str(place / "state"))
        cluster.make_role()
        spaces.mkdir()
        postgresql.give(spaces)
        cluster.sql(f"CREATE TABLESPACE fast LOCATION '{spaces}'")
        cluster.sql("CREATE DATABASE ehr")
        with cluster.connect("ehr") as connection:
            connection.execute("CREATE TABLE admission (id int PRIMARY KEY, note text) TABLESPACE fast")
            connection.execute("CREATE TABLE counter (value int); INSERT INTO counter VALUES (0)")
        config = place / "holdfast.toml"
        config.write_text(postgresql.configuration(cluster, place))
        holdfast.Vault.create(place / "vault", key_file=place / "key").close()
        with holdfast.Vault.open(config) as vault, Writer(cluster) as writer:
            first = vault.backup("ehr")
            while len(writer.rows) < 400:
                writer.stop.wait(0.05)
            second = vault.backup("ehr")
            while len(writer.rows) < 800:
                writer.stop.wait(0.05)
        cluster.sql("SELECT pg_create_restore_point('before-upgrade')")
        cluster.sql("SELECT pg_switch_wal()")
        with holdfast.Vault.open(config) as vault:
            last = vault.backup("ehr")
        yield config, cluster, (first, second, last), tuple(writer.rows)


def test_every_backup_is_application_consistent_and_nobody_waited(history):
    _, _, results, _ = history
    for result in results:
        assert result.exit_code == 0, result.findings
        (evidence,) = result.evidence
        assert str(evidence.verdict) == "application"
        assert evidence.hold_ms == 0
        assert evidence.follow
        assert dict(evidence.proofs)["pages-bad"] == "0"
    assert not [finding for result in results for finding in result.findings]


def recovered_numbers(copy):
    numbers = [row[0] for row in copy.query("ehr", "SELECT id FROM admission ORDER BY id")]
    assert numbers == list(range(1, len(numbers) + 1))
    (counter,) = copy.query("ehr", "SELECT value FROM counter")[0]
    assert counter in (len(numbers), len(numbers) - 1)
    return numbers


@pytest.mark.parametrize("number", range(TARGETS))
def test_a_random_target_has_all_that_was_acknowledged_before_and_nothing_after(number, history, tmp_path):
    config, cluster, results, rows = history
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201 - shown when it fails
    chooser = random.Random(seed)
    end = int(dict(results[0].evidence[0].proofs)["stop-lsn"].partition("/")[2], 16)
    pick = chooser.choice([row for row in rows if row.asked_lsn > end and row.asked_at > results[0].snapshot.finished])
    kind = ("lsn", "time")[number % 2]
    if kind == "lsn":
        target = RecoveryTarget.at_lsn(f"{pick.done_lsn >> 32:X}/{pick.done_lsn & 0xFFFFFFFF:X}")
        before = {row.number for row in rows if row.done_lsn <= pick.done_lsn}
        after = {row.number for row in rows if row.asked_lsn > pick.done_lsn}
    else:
        target = RecoveryTarget.at_time(pick.done_at)
        before = {row.number for row in rows if row.done_at <= pick.done_at}
        after = {row.number for row in rows if row.asked_at > pick.done_at}
    with postgresql.place() as place, holdfast.Vault.open(config) as vault:
        prepared = vault.prepare_recovery("ehr-db", place / "out", target=target)
        with started(prepared, env=system(), bin_folder=cluster.bin, durable=False) as copy:
            numbers = set(recovered_numbers(copy))
            assert before <= numbers
            assert not after & numbers
            assert copy.timeline == 2
        if number < 2:
            again = vault.prepare_recovery("ehr-db", place / "again", target=target)
            count = f"SELECT count(*) = {len(numbers)} FROM admission"  # noqa: S608 - a number
            report = check_recovery(
                again, env=system(), bin_folder=cluster.bin, durable=False, statements=[("ehr", count)]
            )
            assert (report.structure, report.page_checksums) == ("clean", "clean")
            assert report.databases == 3


def test_a_snapshot_a_name_and_the_latest_are_targets_too(history):
    config, cluster, results, rows = history
    with postgresql.place() as place, holdfast.Vault.open(config) as vault:
        chosen = results[1].snapshot.id
        prepared = vault.prepare_recovery("ehr-db", place / "a", target=RecoveryTarget("snapshot"), snapshot=chosen)
        assert prepared.snapshot == chosen
        with started(prepared, env=system(), bin_folder=cluster.bin, durable=False) as copy:
            at_snapshot = recovered_numbers(copy)
        assert 0 < len(at_snapshot) < len(rows)
        prepared = vault.prepare_recovery(
            "ehr-db", place / "b", target=RecoveryTarget.at_name("before-upgrade"), snapshot=chosen
        )
        with started(prepared, env=system(), bin_folder=cluster.bin, durable=False) as copy:
            assert len(recovered_numbers(copy)) == len(rows)
        assert (prepared.data / "PG_VERSION").exists()
        prepared = vault.prepare_recovery("ehr-db", place / "c", target=RecoveryTarget("latest"))
        with started(prepared, env=system(), bin_folder=cluster.bin, durable=False) as copy:
            assert len(recovered_numbers(copy)) == len(rows)


def test_a_target_that_cannot_be_reached_is_said(history):
    config, cluster, _, _ = history
    with postgresql.place() as place, holdfast.Vault.open(config) as vault:
        with pytest.raises(SnapshotMissingError, match="ended before the target"):
            vault.prepare_recovery("ehr-db", place / "a", target=RecoveryTarget.at_lsn("0/1"))
        with pytest.raises(SnapshotMissingError, match="no snapshot holds"):
            vault.prepare_recovery("other", place / "a", target=RecoveryTarget("latest"))
        prepared = vault.prepare_recovery("ehr-db", place / "b", target=RecoveryTarget.at_name("never-made"))
        with (
            pytest.raises(RecoveryError, match="the WAL ends before the target"),
            started(prepared, env=system(), bin_folder=cluster.bin, durable=False),
        ):
            pass
        prepared = vault.prepare_recovery("ehr-db", place / "c", target=RecoveryTarget("latest"))
        with pytest.raises(RecoveryError, match="check 1 of 1 is not true"):
            check_recovery(
                prepared, env=system(), bin_folder=cluster.bin, durable=False, statements=[("ehr", "SELECT false")]
            )


def test_the_copy_is_kept_away_from_the_original(history):
    config, _, _, _ = history
    with postgresql.place() as place, holdfast.Vault.open(config) as vault:
        prepared = vault.prepare_recovery("ehr-db", place / "a", target=RecoveryTarget("latest"))
        text = (prepared.data / "postgresql.auto.conf").read_text()
        assert "archive_mode = 'off'" in text
        assert "primary_conninfo = ''" in text
        moved = (prepared.data / "tablespace_map").read_bytes()
        assert str(place / "a").encode() in moved
        assert not list((prepared.data / "pg_tblspc").iterdir())
        assert isinstance(prepared, holdfast.Prepared)
        assert prepared.data.stat().st_mode & 0o77 == 0


def test_a_plain_restore_holds_no_cluster_that_would_start(history):
    """Without its label a base backup would come up torn; so the control file is not where a server looks for it either."""
    config, _, results, _ = history
    with postgresql.place() as place, holdfast.Vault.open(config) as vault:
        vault.snapshot(results[0].snapshot.id).restore(to=place / "plain")
        found = [str(path.relative_to(place)) for path in place.rglob("*")]
        assert any(path.endswith("PG_VERSION") for path in found)
        assert not any(path.endswith(("pg_control", "backup_label", "postmaster.pid")) for path in found)


def test_the_rescue_reader_puts_what_belongs_to_the_copy_where_it_belongs(history):
    """Without Holdfast: the restored cluster has its label and control file, and the WAL's snapshot the WAL."""
    config, _, results, _ = history
    with postgresql.place() as place:
        secret = ["--key-file", str(config.parent / "key")]
        for number, snapshot in enumerate((results[0].snapshot.id, results[0].evidence[0].follow)):
            target = str(place / f"rescued{number}")
            assert (
                holdfast_rescue.main([str(config.parent / "vault"), *secret, "restore", snapshot, "--to", target]) == 0
            )
        (label,) = (place / "rescued0").rglob("backup_label")
        assert label.read_text().startswith("START WAL LOCATION")
        assert (label.parent / "global" / "pg_control").stat().st_size == 8192
        assert (label.parent / "tablespace_map").exists()
        first = dict(results[0].evidence[0].proofs)["first-segment"]
        assert list((place / "rescued1").rglob(first))


def test_a_snapshot_that_leads_elsewhere_is_refused(tmp_path):
    """What is restored is what a writer chose: nothing is written through its links."""
    (tmp_path / "out" / "srv").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "srv" / "pg").symlink_to(tmp_path / "elsewhere")
    sealed = Sealed((), (Beside(b"srv/pg/backup_label", b"x"),))
    with pytest.raises(RecoveryError, match="leads out"):
        recovery._place_beside(tmp_path / "out", b"srv/pg", sealed)
    with pytest.raises(RecoveryError, match="leads out"):
        recovery._place_beside(tmp_path / "out", b"../elsewhere", sealed)
    with pytest.raises(RecoveryError, match="names no data directory"):
        recovery._folders(Sealed())
    assert not list((tmp_path / "elsewhere").iterdir())
