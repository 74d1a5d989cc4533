"""PostgreSQL with its WAL: a drill recovers to the end of the WAL, or to a moment, and says how old what came back is."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

import holdfast
from holdfast.runs.drill.options import DrillOptions, Injection
from servers import postgresql

from .conftest import a_site, outcome

SERVICE = """
[jobs.ehr]
applications = ["ehr-db"]
[applications.ehr-db]
connector = "postgresql"
host = "{folder}"
port = {port}
user = "bkr"
options = {{spool = "{spool}"}}
[services.ehr]
application = "postgresql"
recovers = "ehr-db"
rpo = "1h"
[[services.ehr.checks]]
name = "admissions"
query = "select count(*) from admission"
at_least = {rows}
"""


@pytest.fixture(scope="module")
def ehr():
    """A base backup with 10 rows, WAL with 20 more, and a moment between the two halves of those; the server is gone then."""
    with a_site() as site, postgresql.cluster(site.root / "pg", archiving=True, segment_mb=1) as cluster:
        cluster.make_role()
        cluster.sql("CREATE TABLE admission AS SELECT n FROM generate_series(1, 10) n")
        site.services = SERVICE.format(folder=cluster.folder, port=cluster.port, spool=cluster.spool, rows=30)
        with site.open() as vault:
            assert vault.backup("ehr").exit_code == 0
            cluster.sql("INSERT INTO admission SELECT n FROM generate_series(11, 20) n")
            moment = cluster.sql("SELECT clock_timestamp() AT TIME ZONE 'UTC', clock_timestamp()")[0][1]
            cluster.sql("INSERT INTO admission SELECT n FROM generate_series(21, 30) n")
            last = cluster.sql("SELECT pg_walfile_name(pg_switch_wal())")[0][0]
            while (cluster.sql("SELECT last_archived_wal FROM pg_stat_archiver")[0][0] or "") < last:
                time.sleep(0.05)
            vault.store_wal("ehr-db")
        yield site, moment


def drilled(site, options: DrillOptions):
    with site.open() as vault:
        report = vault.drill("ehr", options)
    site.nothing_left()
    return report


def test_it_comes_back_to_the_end_of_its_wal(ehr):
    site, _ = ehr
    report = drilled(site, DrillOptions())
    assert report.passed, report.record
    assert outcome(report, "admissions").found == "30"
    assert outcome(report, "recovery-prepared").state == "passed"
    with site.open() as vault:
        logs = [snapshot for snapshot in vault.snapshots() if snapshot.info.label == "ehr-db.wal"]
        base = vault.snapshot(report.record.snapshot)
    assert logs[-1].info.started > base.info.started
    began = holdfast.base.environment.parse_time(report.record.began)
    assert report.record.rpo_achieved == pytest.approx((began - logs[-1].info.started).total_seconds())


def test_it_comes_back_on_a_mount_with_its_wal(ehr):
    site, _ = ehr
    report = drilled(site, DrillOptions(kind="mounted", checks=("admissions",)))
    assert report.passed, report.record
    assert outcome(report, "admissions").found == "30"


def test_it_comes_back_to_a_moment(ehr):
    site, moment = ehr
    report = drilled(site, DrillOptions(at=moment))
    assert outcome(report, "admissions").found == "20"
    assert "less than 30" in report.record.cause
    assert not report.record.rpo_judged


def lose_wal(setting):
    """Take away all WAL after the base backup's own: what a stuck upload would leave."""
    names = sorted(path for path in Path(setting.restored, "wal").iterdir() if len(path.name) == 24)
    for path in names[1:]:
        path.unlink()


def lose_all_wal(setting):
    for path in Path(setting.restored, "wal").iterdir():
        os.unlink(path)


@pytest.mark.parametrize(("lose", "cause"), [(lose_wal, "stale|less than 30"), (lose_all_wal, "stale|missing")])
def test_wal_that_is_stale_or_missing_fails_the_drill(ehr, lose, cause):
    site, _ = ehr
    report = drilled(site, DrillOptions(injection=Injection("stale-wal", data=lose)))
    assert report.record.verdict == "failed"
    assert re.search(cause, report.record.cause), report.record.cause


def test_the_service_is_restored_ready_to_recover(ehr):
    site, _ = ehr
    with site.open() as vault:
        result = vault.restore_service("ehr", site.root / "restore")
        again = vault.restore_service("ehr", site.root / "restore")
    assert result.exit_code == 0
    assert again.services[0].resumed
    assert list((site.root / "restore" / "ehr" / "wal").iterdir())
