"""PostgreSQL 15, restored and started for real: it comes back with proof, and each silent defect is named."""

from __future__ import annotations

import os
import re
import shutil
from datetime import UTC, datetime

import pytest

from holdfast.errors import UsageError
from holdfast.runs.drill.options import DrillOptions, Injection
from holdfast.services.catalogue import Check
from servers import databases

from .conftest import a_site, flip, outcome

EHR = """
[services.ehr]
title = "Health records"
criticality = "vital"
application = "postgresql"
rto = "15m"
rpo = "1h"
paths = ["{data}"]
data = "{data}"
[[services.ehr.checks]]
name = "patients"
database = "ehr"
query = "select count(*) from patients"
at_least = 1000
"""
TABLES = """
create table patients (id int primary key, name varchar(80));
create index patients_by_name on patients (name);
insert into patients select n, 'P' || n from generate_series(1, 2000) n;
"""


@pytest.fixture(scope="module")
def ehr():
    """A site with one snapshot of a cluster that was stopped cleanly, and whose own settings must not count in a drill."""
    with a_site() as site:
        cluster = databases.postgresql(site.root)
        with cluster.running():
            for name in ("postgres", "template1"):
                cluster.sql("vacuum full", name)
            cluster.sql("create database ehr")
            cluster.sql(TABLES, "ehr")
        with (cluster.data / "postgresql.auto.conf").open("a") as file:
            file.write(f"archive_mode = on\narchive_command = 'touch {site.root}/archived'\nlisten_addresses = '*'\n")
        (cluster.data / "standby.signal").touch()
        site.services = EHR.format(data=cluster.data)
        site.backup("ehr", cluster.data)
        shutil.rmtree(cluster.data)
        yield site


def drilled(site, injection: Injection | None = None):
    with site.open() as vault:
        report = vault.drill("ehr", DrillOptions(injection=injection))
    site.nothing_left()
    assert not (site.root / "archived").exists()
    return report


def test_it_comes_back_and_its_own_tools_agree(ehr):
    report = drilled(ehr)
    assert report.passed, report.record
    assert report.exit_code == 0
    assert outcome(report, "patients").found == "2000"
    assert outcome(report, "pg-amcheck").state == "passed"
    assert outcome(report, "pg-checksums").state == "passed"
    assert report.record.isolation in ("namespaces", "user namespaces")
    assert report.record.weaker == ()


def largest_table(data):
    """Return the largest file of the site's own tables and indexes."""
    files = [os.path.join(folder, name) for folder, _, names in os.walk(data) for name in names if name.isdecimal()]
    return max(
        (path for path in files if "/base/" in path and int(os.path.basename(path)) >= 16384), key=os.path.getsize
    )


def corrupted_page(setting):
    flip(largest_table(setting.data))


def stale_wal(setting):
    for name in os.listdir(f"{setting.data}/pg_wal"):
        if len(name) == 24:
            os.unlink(f"{setting.data}/pg_wal/{name}")


def cut_by_the_restore(setting):
    os.truncate(largest_table(setting.restored), 8192)


def cut_at_the_source(setting):
    os.truncate(largest_table(setting.data), 8192)


def missing_table(setting):
    assert not setting.application.ask(Check("x", query="drop table patients", database="ehr")).problem


def empty_table(setting):
    assert not setting.application.ask(Check("x", query="truncate patients", database="ehr")).problem


DEFECTS = {
    "a corrupted page": (Injection("corrupted-page", data=corrupted_page), "pg-amcheck: .*corrupted"),
    "stale WAL": (Injection("stale-wal", data=stale_wal), "postgresql: the WAL .* is missing: it is stale"),
    "a file cut short by the restore": (Injection("cut", restored=cut_by_the_restore), "comparison: .*cut short"),
    "a file cut short at the source": (Injection("cut-source", data=cut_at_the_source), "pg-amcheck|patients"),
    "a missing table": (Injection("missing-table", service=missing_table), "patients: a table is missing"),
    "a table without rows": (Injection("empty-table", service=empty_table), "0 is less than 1000: data is missing"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_silent_defect_fails_with_its_cause(ehr, defect):
    injection, cause = DEFECTS[defect]
    report = drilled(ehr, injection)
    assert report.record.verdict == "failed"
    assert report.exit_code == 1
    assert re.search(cause, report.record.cause), report.record.cause
    assert report.record.scenario == injection.name


def on_a_mount(site, injection: Injection | None = None, checks=("patients",)):
    with site.open() as vault:
        report = vault.drill("ehr", DrillOptions(kind="mounted", checks=checks, injection=injection))
    site.nothing_left()
    return report


def test_one_table_is_drilled_on_a_mount_that_fetches_what_is_touched(ehr):
    report = on_a_mount(ehr)
    assert report.passed, report.record
    assert outcome(report, "patients").found == "2000"
    fetched, total = map(int, re.findall(r"\d+", outcome(report, "touched").found))
    assert 0 < fetched < total == report.record.bytes
    assert report.record.kind == "mounted"
    assert not report.record.proves
    assert report.record.isolation in ("namespaces", "user namespaces")


def test_a_defect_of_the_one_table_is_named(ehr):
    report = on_a_mount(ehr, Injection("missing-table", service=missing_table))
    assert report.record.verdict == "failed"
    assert "a table is missing" in report.record.cause


def test_a_mounted_drill_that_makes_no_sense_is_refused(ehr):
    with ehr.open() as vault:
        for options, why in (
            (DrillOptions(kind="mounted", checks=("nothing",)), "no check of that name"),
            (DrillOptions(kind="partial", checks=("patients",)), "answers no question"),
            (DrillOptions(kind="mounted", at=datetime.now(UTC)), "end of the WAL"),
        ):
            with pytest.raises(UsageError, match=why):
                vault.drill("ehr", options)
    ehr.nothing_left()
