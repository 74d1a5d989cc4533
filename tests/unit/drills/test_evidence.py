"""Evidence: a record round trips and proves itself, any change is found, and so is one that is missing, moved or put in between."""

from __future__ import annotations

import json
import os
from dataclasses import fields, replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from holdfast.errors import DrillMissingError, EvidenceError, LocalStateError, UsageError
from holdfast.reports.page import page
from holdfast.reports.seal import seal_page
from holdfast.runs.drill.drills import DrillReport, prove, settings_of
from holdfast.runs.drill.evidence import Evidence
from holdfast.runs.drill.record import DrillRecord, SignedRecord, check_record, digest_of, read_record, sign_record
from holdfast.runs.drill.report import drill_document
from holdfast.runs.drill.runbook import runbook_document
from holdfast.services.catalogue import Check, Service
from holdfast.services.forecast import Forecast
from holdfast.services.judge import Outcome

from .test_services import GOOD, NOW, record


class Key:
    def __init__(self) -> None:
        self.key = Ed25519PrivateKey.generate()

    @property
    def public(self) -> bytes:
        return self.key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        return self.key.sign(message)


KEY = Key()
FULL = record(forecast=Forecast(50.0, 40.0, 60.0, 5, 3), weaker=("no network namespace",))


def test_a_record_survives_its_file_and_proves_itself():
    signed = sign_record(FULL, KEY)
    again = read_record(signed.encode())
    assert again == signed
    check_record(again)
    check_record(again, KEY.public)
    with pytest.raises(EvidenceError, match="another key"):
        check_record(again, Key().public)


def changed(value: object) -> object:
    """Return another value of the same kind."""
    match value:
        case str():
            return "other"
        case bool():
            return not value
        case int() | float():
            return value + 1
        case list():
            return value[:-1]
        case _:
            return None


@pytest.mark.parametrize("name", [field.name for field in fields(DrillRecord)])
def test_a_change_of_any_field_is_found(name):
    signed = sign_record(FULL, KEY)
    body = json.loads(signed.encode())
    before = body["record"][name]
    body["record"][name] = changed(before)
    assert body["record"][name] != before
    with pytest.raises(EvidenceError):
        check_record(read_record(json.dumps(body).encode()))


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.pop("signature"),
        lambda body: body["record"].pop("rto"),
        lambda body: body["record"].update(more=1),
        lambda body: body["record"].update(rto="fast"),
        lambda body: body["record"].update(phases={}),
        lambda body: body["record"].update(number=True),
        lambda body: body.update(record=[]),
    ],
)
def test_what_is_no_record_is_refused(change):
    body = json.loads(sign_record(FULL, KEY).encode())
    change(body)
    with pytest.raises(EvidenceError, match="no drill record"):
        read_record(json.dumps(body).encode())


def test_a_forged_signature_is_refused():
    signed = sign_record(FULL, KEY)
    for forged in (replace(signed, signature="00" * 64), replace(signed, signature="zz"), replace(signed, public="")):
        with pytest.raises(EvidenceError):
            check_record(forged)


def add(evidence: Evidence, **more) -> str:
    def complete(number: int, previous: str) -> SignedRecord:
        return sign_record(record(number=number, previous=previous, id=f"{number:032x}", **more), KEY)

    return evidence.add(complete)


def test_records_are_chained_and_the_chain_is_proved(tmp_path):
    evidence = Evidence(str(tmp_path / "evidence"))
    assert evidence.records() == ()
    assert evidence.check().problems == ()
    paths = [add(evidence) for _ in range(4)]
    first, second = evidence.records()[:2]
    assert second.previous == digest_of(first)
    report = evidence.check(KEY.public)
    assert (report.records, report.keys, report.problems, report.exit_code) == (4, (KEY.public.hex(),), (), 0)
    assert evidence.find("latest").record.number == 4
    assert evidence.find("0" * 31 + "3").record.number == 3
    for wrong in ("f", "0"):
        with pytest.raises(DrillMissingError):
            evidence.find(wrong)
    assert evidence.put_beside(paths[0], ".html", b"x").endswith("drill-000001-ehr.html")
    assert os.stat(paths[0]).st_mode & 0o077 == 0


@pytest.mark.parametrize("what", ["removed", "changed", "moved", "exchanged"])
def test_a_chain_that_was_tampered_with_is_found(tmp_path, what):
    evidence = Evidence(str(tmp_path))
    paths = [add(evidence) for _ in range(3)]
    if what == "removed":
        os.unlink(paths[1])
    elif what == "changed":
        with open(paths[1], "r+b") as file:
            content = file.read().replace(b'"passed"', b'"failed"')
            file.seek(0)
            file.write(content)
    elif what == "moved":
        os.rename(paths[2], paths[2].replace("000003", "000009"))
    else:
        with open(paths[1], "wb") as file:
            file.write(sign_record(record(number=2, previous="ab" * 32), KEY).encode())
    report = evidence.check()
    assert report.problems
    assert report.exit_code == 4


def test_evidence_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalStateError):
        add(Evidence(str(tmp_path / "file" / "folder")))


def test_two_drills_that_end_at_once_get_two_numbers(tmp_path):
    evidence = Evidence(str(tmp_path))
    calls = []

    def complete(number: int, previous: str) -> SignedRecord:
        if not calls:
            calls.append(number)
            add(evidence)  # another drill is filed between the number and the file
        return sign_record(record(number=number, previous=previous, service="lab"), KEY)

    assert evidence.add(complete).endswith("drill-000002-lab.json")
    assert evidence.check().problems == ()


@pytest.mark.parametrize("verdict", ["passed", "missed", "failed"])
@pytest.mark.parametrize("kind", ["full", "partial", "bare"])
def test_a_report_says_verdict_times_checks_and_how_to_prove_it(verdict, kind):
    outcomes = (
        GOOD,
        Outcome("patients", "query", "failed", "at least 1", "0", "data is missing", 0.1),
        Outcome("s", "drill", "skipped"),
    )
    found = replace(
        FULL, verdict=verdict, cause="" if verdict == "passed" else "why", kind=kind, outcomes=outcomes, number=9
    )
    text = page(drill_document(found, [record(number=n) for n in range(1, 8)], KEY.public))
    parts = ("Restore drill: EHR", "objective 1 min 40 s", "patients", "holdfast report verify", digest_of(found))
    for part in (*parts, "no network namespace"):
        assert part in text
    assert ("Against earlier drills" in text) == (kind != "partial")
    assert ("Cause: why." in text) == (verdict != "passed")


def test_a_first_drill_without_forecast_and_one_at_risk():
    assert "no drill yet" in page(drill_document(record(), [], KEY.public))
    risky = record(forecast=Forecast(95.0, 80.0, 120.0, 5, 3), scenario="lost-host")
    assert "It may miss the objective." in page(drill_document(risky, [], KEY.public))


def test_a_file_of_evidence_proves_itself_offline():
    signed = sign_record(FULL, KEY)
    proof = prove(signed.encode(), KEY.public)
    assert (proof.kind, proof.service, proof.verdict, proof.anchored) == ("record", "ehr", "passed", True)
    sealed = seal_page(page(drill_document(FULL, [], KEY.public)), KEY)
    assert prove(sealed).kind == "page"
    assert prove(sealed).fingerprint == proof.fingerprint
    with pytest.raises(EvidenceError, match="PDF"):
        prove(b"%PDF-1.7")
    with pytest.raises(EvidenceError):
        prove(sealed.replace(b"within its objective", b"within ITS objective"))


@pytest.mark.parametrize(
    ("verdict", "outcome", "code"),
    [
        ("passed", GOOD, 0),
        ("missed", GOOD, 8),
        ("failed", Outcome("c", "query", "failed", cause="x"), 1),
        ("failed", Outcome("fetch", "drill", "failed", cause="3 entries are damaged in the vault"), 4),
    ],
)
def test_a_drill_s_exit_code(verdict, outcome, code):
    assert DrillReport(record(verdict=verdict, outcomes=(outcome,)), "", "").exit_code == code


def test_without_a_configuration_there_are_no_services():
    with pytest.raises(UsageError, match="configuration"):
        settings_of(None)


def service(name: str, application: str, **more) -> Service:
    checks = (
        Check("q", query="select 'a b'", database="ehr", at_least=3),
        Check("h", kind="http", path="count:/instances", equals="ok"),
        Check("c", kind="command", command=("echo", "a b")),
        Check("f", kind="file", path="/srv/x y"),
    )
    return Service(
        name, application=application, source=name, data="/srv/data", paths=("/srv/data",), checks=checks, **more
    )


def test_a_runbook_is_typed_as_it_stands_with_the_kit_alone():
    services = {
        "identity": service("identity", "files"),
        "ehr": service("ehr", "postgresql", needs=("identity",), programs="/opt/pg/bin"),
    }
    records = [record(), record(service="identity"), record(verdict="failed", cause="x"), record(kind="partial")]
    text = page(runbook_document(services, "ehr", "/mnt/store a", records, NOW))
    assert "--vault &#x27;/mnt/store a&#x27; --key-file recovery-kit.key" in text
    assert "holdfast restore latest:identity" in text
    assert text.index("latest:identity") < text.index("latest:ehr")
    assert "/opt/pg/bin/pg_ctl start" in text
    assert "in the last drill 40.0 s for 4 GB" in text
    assert "archive_mode=off" in text
    assert "--config" not in text
    assert "Expected:" in text


@pytest.mark.parametrize("application", ["files", "sqlite", "mariadb", "orthanc", "command", "plugged-in"])
def test_every_application_has_its_steps(application):
    services = {"a": service("a", application, command=("./serve", "a b"))}
    text = page(runbook_document(services, "a", "/v", [], NOW))
    assert "Not all of this has been proved" in text
    assert "never drilled" in text
    assert "Check: h" in text
    bare = {"a": Service("a", application=application, source="a")}
    assert "Runbook" in page(runbook_document(bare, "a", "/v", [], NOW))


def test_a_runbook_of_a_recovered_database_says_how():
    services = {"a": Service("a", application="postgresql", source="a", recovers="ehr-db")}
    text = page(runbook_document(services, "a", "/v", [], NOW))
    assert "holdfast recover ehr-db --vault /v --key-file recovery-kit.key --to /restore/a" in text
    assert "-D /restore/a/DATA-DIRECTORY" in text
