"""MariaDB, Orthanc, SQLite in a write-ahead log, and any other command: the real thing is started on what was restored."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from holdfast.runs.drill.options import DrillOptions, Injection
from holdfast.runs.drill.scenarios import defects
from holdfast.services.catalogue import Check
from servers import databases, install, process

from .conftest import a_site, outcome, sqlite_records

CHARTS = """
[services.charts]
application = "mariadb"
paths = ["{data}"]
data = "{data}"
[[services.charts.checks]]
name = "patients"
database = "charts"
query = "select count(*) from patients"
at_least = 1000
[[services.charts.checks]]
name = "version-file"
kind = "file"
path = "{data}/ibdata1"
"""


@pytest.fixture(scope="module")
def charts():
    with a_site() as site:
        server = databases.mariadb(site.root)
        with server.running():
            server.sql("create database charts")
            server.sql(
                "create table patients (id int primary key, name varchar(80), key (name)) engine=innodb;"
                "insert into patients select seq, concat('P', seq) from seq_1_to_5000;",
                "charts",
            )
        site.services = CHARTS.format(data=server.data)
        site.backup("charts", server.data)
        shutil.rmtree(server.data)
        yield site


def drilled(site, injection: Injection | None = None, service: str = "charts"):
    with site.open() as vault:
        report = vault.drill(service, DrillOptions(injection=injection))
    site.nothing_left()
    return report


def test_mariadb_comes_back_and_its_own_check_agrees(charts):
    report = drilled(charts)
    assert report.passed, report.record
    assert outcome(report, "patients").found == "5000"
    assert outcome(report, "version-file").state == "passed"
    assert outcome(report, "mariadb-check").state == "passed"
    assert report.record.isolation == "namespaces" or os.geteuid() != 0


def test_one_table_of_mariadb_is_drilled_on_a_mount(charts):
    with charts.open() as vault:
        report = vault.drill("charts", DrillOptions(kind="mounted", checks=("patients",)))
    charts.nothing_left()
    assert report.passed, report.record
    assert outcome(report, "patients").found == "5000"
    assert not [each for each in report.record.outcomes if each.name == "version-file"]


def missing_table(setting):
    setting.application.ask(Check("x", query="drop table patients", database="charts"))


def cut_at_the_source(setting):
    (path,) = Path(setting.data).glob("charts/patients.ibd")
    os.truncate(path, path.stat().st_size // 2)


def missing_system_file(setting):
    os.unlink(f"{setting.data}/ibdata1")


@pytest.mark.parametrize(
    ("injection", "cause"),
    [
        (Injection("missing-table", service=missing_table), "patients: a table is missing"),
        (Injection("corrupted-page", data=defects.corrupted_page), "corrupted|cut short|missing"),
        (Injection("cut-source", data=cut_at_the_source), "cut short|missing|corrupted"),
        (Injection("no-system-file", data=missing_system_file), "mariadb: .*(missing|stale|ended)"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_silent_defect_of_mariadb_fails_with_its_cause(charts, injection, cause):
    report = drilled(charts, injection)
    assert report.record.verdict == "failed"
    assert re.search(cause, report.record.cause), report.record.cause


PACS = """
[services.pacs]
application = "orthanc"
paths = ["{data}"]
data = "{data}"
[[services.pacs.checks]]
name = "instances"
kind = "http"
path = "count:/instances"
at_least = 3
drop_max = 0.0
[[services.pacs.checks]]
name = "answers"
kind = "http"
path = "/system"
[[services.pacs.checks]]
name = "study"
kind = "http"
path = "/studies/{study}/archive"
"""


@pytest.fixture(scope="module")
def pacs():
    with a_site() as site:
        data = site.root / "dicom"
        data.mkdir()
        port = process.free_port()
        configuration = site.root / "orthanc.json"
        own = {"StorageDirectory": str(data), "IndexDirectory": str(data), "HttpPort": port, "Plugins": []}
        configuration.write_text(json.dumps(own | {"DicomServerEnabled": False, "AuthenticationEnabled": False}))
        program = install.debian("Orthanc", "orthanc")
        with process.running([program, str(configuration)], log=site.root / "log", ready=lambda: process.answers(port)):
            for content in _instances():
                request = urllib.request.Request(f"http://127.0.0.1:{port}/instances", data=content)
                urllib.request.urlopen(request, timeout=30).close()  # noqa: S310 - as above
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/studies", timeout=30) as answer:
                study = json.load(answer)[0]
        site.services = PACS.format(data=data, study=study)
        site.backup("pacs", data)
        yield site


def _instances():
    """Yield small DICOM instances."""
    import io

    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    for number in range(3):
        meta: Any = FileMetaDataset()
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset: Any = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        dataset.PatientID, dataset.PatientName = f"P{number}", f"Test^{number}"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
        dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        dataset.Modality = "OT"
        target = io.BytesIO()
        dataset.save_as(target, enforce_file_format=True)
        yield target.getvalue()


def test_orthanc_comes_back_with_every_instance(pacs):
    report = drilled(pacs, service="pacs")
    assert report.passed, report.record
    assert outcome(report, "instances").found == "3"
    assert outcome(report, "answers").found.startswith(("1", "2", "3", "4", "5"))
    assert outcome(report, "answers").found.count("#") == 1
    assert outcome(report, "orthanc-instances").found == "0 bad of 3 read, 3 in the index"


def test_one_study_is_drilled_on_a_mount(pacs):
    with pacs.open() as vault:
        report = vault.drill("pacs", DrillOptions(kind="mounted", checks=("study",)))
    pacs.nothing_left()
    assert report.passed, report.record
    assert int(outcome(report, "study").found.split()[0]) > 100
    assert [each.name for each in report.record.outcomes] == ["study", "touched"]


def lose_an_instance(setting):
    files = [path for path in Path(setting.data).rglob("*") if path.is_file() and not path.name.startswith("index")]
    files[0].unlink()


def break_the_index(setting):
    Path(setting.data, "index").write_bytes(b"no database" * 4000)


def test_an_instance_that_is_lost_and_an_index_that_is_none_are_named(pacs):
    lost = drilled(pacs, Injection("lost", data=lose_an_instance), "pacs")
    assert "files are missing or damaged" in lost.record.cause
    broken = drilled(pacs, Injection("index", data=break_the_index), "pacs")
    assert broken.record.verdict == "failed"
    assert broken.record.cause.startswith("orthanc: ")


SERVER = """
import http.server, os, pathlib
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        found = pathlib.Path("state.txt").read_text() if self.path == "/state" else ""
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(found.encode())
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["HOLDFAST_DRILL_PORT"])), Handler).serve_forever()
"""
PORTAL = """
[services.portal]
application = "command"
source = "portal"
paths = ["{data}"]
data = "{data}"
command = ["{python}", "serve.py"]
port = 8123
ready_seconds = 20
[[services.portal.checks]]
name = "state"
kind = "http"
path = "/state"
equals = "ready"
[[services.portal.checks]]
name = "gone"
kind = "http"
path = "/nothing"
[[services.portal.checks]]
name = "alone"
kind = "command"
command = ["{python}", "-c", "import socket; socket.create_connection(('192.0.2.1', 80), 2)"]
[[services.portal.checks]]
name = "query"
query = "select 1"
[services.ends]
application = "command"
source = "portal"
paths = ["{data}"]
data = "{data}"
command = ["{python}", "-c", "raise SystemExit(7)"]
port = 8123
[services.nothing]
application = "command"
source = "portal"
paths = ["{data}"]
[services.slow]
application = "command"
source = "portal"
paths = ["{data}"]
data = "{data}"
command = ["{python}", "-c", "import time; time.sleep(600)"]
port = 8123
ready_seconds = 1
"""


def test_any_command_is_started_and_reached_only_inside(site):
    data = site.source / "portal"
    data.mkdir()
    (data / "serve.py").write_text(SERVER)
    (data / "state.txt").write_text("ready")
    site.services = PORTAL.format(data=data, python=sys.executable)
    site.backup("portal", data)
    report = drilled(site, service="portal")
    assert outcome(report, "state").state == "passed"
    assert outcome(report, "gone").cause == "the answer is HTTP status 404"
    assert "exit code 1" in outcome(report, "alone").cause  # there is no way out
    assert "no check of kind query" in outcome(report, "query").cause
    assert report.record.verdict == "failed"
    ends = drilled(site, service="ends")
    assert ends.record.cause == "command: the application ended by itself (exit code 7)"
    slow = drilled(site, service="slow")
    assert slow.record.cause == "command: the application did not answer within 1 s"
    assert drilled(site, service="nothing").passed


WAL = """
[services.lab]
application = "sqlite"
paths = ["{data}"]
data = "{data}"
[[services.lab.checks]]
name = "results"
database = "lab.sqlite"
query = "select count(*) from results"
at_least = 300
[[services.lab.checks]]
name = "none"
database = "none.sqlite"
query = "select 1"
"""


def test_sqlite_replays_its_log_and_a_lost_log_is_found(site):
    data = site.source / "lab"
    sqlite_records(data / "lab.sqlite", rows=200)
    database = sqlite3.connect(data / "lab.sqlite")
    database.execute("pragma journal_mode = wal")
    database.execute("pragma wal_autocheckpoint = 0")
    with database:
        database.executemany("insert into results (patient, value) values (?, ?)", (("Q", n) for n in range(150)))
    site.services = WAL.format(data=data)
    site.backup("lab", data)
    database.close()
    report = drilled(site, service="lab")
    assert outcome(report, "results").found == "350"
    assert outcome(report, "none").cause == "the database is not there"
    with site.open() as vault:
        played = vault.drill_scenario("lab", "stale-log")
    assert played.good
    assert played.cause == "results: 200 is less than 300: data is missing"
