"""PostgreSQL runs from the backup within seconds: started on a writable mount, killed under it, filled, switched over."""

from __future__ import annotations

import os
import subprocess

import pytest
from tests.integration.test_postgresql import config_text

import holdfast
from servers import fuse, postgresql

SUM = "SELECT count(*), sum(abalance), sum(aid) FROM pgbench_accounts"


def pgbench(cluster, *arguments):
    return postgresql.run_as_server(
        [
            str(cluster.bin / "pgbench"),
            "-h",
            str(cluster.folder),
            "-p",
            str(cluster.port),
            "-U",
            "postgres",
            *arguments,
            "postgres",
        ]
    )


@pytest.fixture
def place():
    with postgresql.place() as folder:
        yield folder


def test_a_cluster_works_on_a_mount_survives_its_death_and_is_switched_over(tmp_path, place, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    config = tmp_path / "holdfast.toml"
    with postgresql.cluster(place / "pg", archiving=True, segment_mb=1, wal_keep_size="64MB") as cluster:
        cluster.make_role("bkr")
        pgbench(cluster, "-i", "-q", "-s", "3")
        config.write_text(config_text(cluster, tmp_path))
        holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key").close()
        with holdfast.Vault.open(config) as vault:
            assert vault.backup("ehr").exit_code == 0
        expected = cluster.sql(SUM)
    arguments = ["--config", str(config), "--writable", "--allow-other"]
    mine = place / "m"
    with fuse.mounted(*arguments, "--limit-read", "2MiB", "latest:ehr", place=mine) as mount:
        with holdfast.Vault.open(config) as vault:
            prepared = vault.prepare_recovery(
                "ehr-db", mine, target=holdfast.RecoveryTarget("latest"), snapshot="latest:ehr", mounted=True
            )
        socket = place / "socket"
        socket.mkdir()
        postgresql.give(socket)
        running = postgresql.Running(prepared.data, socket, cluster)
        with running.started():
            assert running.sql(SUM) == expected
            pgbench(running, "-n", "-c", "2", "-t", "100")
            count = running.sql("SELECT count(*) FROM pgbench_history")[0][0]
            assert count == 200
            mount.kill()  # under the running server
    fuse.sweep(mine)
    with fuse.mounted(*arguments, place=mine) as mount:
        with running.started():
            assert running.sql("SELECT count(*) FROM pgbench_history") == [(count,)]
            pgbench(running, "-n", "-c", "2", "-t", "100")
            mount.wait_for("mount-whole")
            final = running.sql(SUM)
        assert mount.end() == 0
    holdfast.finish_mount(mine)
    assert not os.path.ismount(mine)
    with running.started():
        assert running.sql(SUM) == final
        assert running.sql("SELECT count(*) FROM pgbench_history") == [(400,)]
        pgbench(running, "-n", "-c", "2", "-t", "10")
    checked = subprocess.run(
        [str(cluster.bin / "pg_checksums"), "--check", "-D", str(prepared.data)], capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
