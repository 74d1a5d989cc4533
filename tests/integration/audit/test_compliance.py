"""The report shows what the records hold and no more: an empty vault is all gaps, each piece of evidence closes its own."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import holdfast
from holdfast import config
from holdfast.base.environment import ManualClock
from holdfast.cli import main
from holdfast.errors import EvidenceError, Retry, Safety, UsageError
from holdfast.reliability.audit import files
from holdfast.reports.compliance import ComplianceFacts, CopiesFact, DrillFact, SourceFact, assess, document
from holdfast.reports.controls import CONTROLS
from holdfast.reports.page import page
from holdfast.runs.alerting import book_path, open_desk
from holdfast.runs.compliance import compliance_page, is_regular
from holdfast.runs.drill.drills import prove
from holdfast.runs.schedule.configured import open_schedule_book
from holdfast.runs.schedule.records import Outcome, RunState

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
NOTHING = ComplianceFacts(now=NOW, vault="ab" * 16, site="st-mary")
DRILL = DrillFact("ehr", "passed", "full", NOW - timedelta(days=10), 3600.0, 7200.0, "cd" * 16)
EVERYTHING = ComplianceFacts(
    now=NOW,
    vault="ab" * 16,
    site="st-mary",
    policy="ef" * 8,
    jobs=2,
    sources=(
        SourceFact("ehr", 10.0, partial=False, snapshots=30, automatic=True),
        SourceFact("pacs", 20.0, partial=False, snapshots=30, automatic=True),
    ),
    packs=50,
    packs_verified=50,
    operations={
        "backup.success": 400,
        "restore.success": 12,
        "restore.break-glass.success": 1,
        "catalog.success": 1,
        "audit.read.success": 12,
        "forget.snapshot.success": 30,
        "prune.success": 12,
        "key.success": 2,
    },
    last={kind: NOW - timedelta(days=5) for kind in ("restore", "check", "audit.verify")},
    audit_records=900,
    audit_sound=True,
    audit_anchored=890,
    audit_retained=NOW + timedelta(days=6 * 365),
    audit_root="12" * 32,
    audit_since=NOW - timedelta(days=7 * 366),
    collectors_tls=1,
    classes=("phi", "phi-restricted"),
    generations=7,
    key_slots={"keyfile": 2, "passphrase": 1},
    writers=3,
    opened_as="root",
    key_beside_vault=False,
    stores=("local", "s3"),
    class_copies=(CopiesFact("phi", 2, 2, 0),),
    home_copies=2,
    locked_stores=("vaulted",),
    sets_received=3,
    media=2,
    wraps=9,
    root_epoch=1,
    renewed=1,
    erased=1,
    kit_rehearsed_days=20.0,
    alerts_told=40,
    retention="daily 14",
    held=1,
    approvers=3,
    approvals_required=2,
    approval_operations=("forget", "key", "restore"),
    services=1,
    services_described=1,
    drills=(DRILL,),
)


def status(facts: ComplianceFacts) -> dict[str, str]:
    return {finding.id: finding.status for finding in assess(facts, CONTROLS).findings}


def test_nothing_shows_nothing():
    report = assess(NOTHING, CONTROLS)
    assert report.counts["shown"] == 0
    assert report.counts["gap"] > 25
    for finding in report.findings:
        assert finding.gap, finding.id
        assert finding.status in {"gap", "outside"}, finding.id


def test_everything_shows_all_that_a_backup_system_can():
    report = assess(EVERYTHING, CONTROLS)
    assert report.counts["gap"] == 0
    shown = {finding.id for finding in report.findings if finding.status == "shown"}
    assert {
        "164.308(a)(7)(ii)(A)", "164.308(a)(7)(ii)(D)", "164.312(b)", "164.312(c)(1-2)", "164.312(d)", "contingency plan",
        "164.316(b)(2)(i)",
        "backups", "backup systems", "safe harbor", "P.L. 116-321", "SUD records", "405(d) HICP", "11.2", "11.4", "11.5",
        "SP 800-57", "SP 800-209", "failure alerts", "plan tests", "SP 800-132, -108", "09.l", "TI.8",
    } <= shown  # fmt: skip
    for finding in report.findings:
        assert finding.evidence or finding.status == "outside", finding.id
        assert not finding.gap or finding.status != "shown", finding.id


@pytest.mark.parametrize(
    ("change", "control", "expected"),
    [
        ({"jobs_without_snapshot": ("lab",)}, "164.308(a)(7)(ii)(A)", "partly"),
        ({"damaged_snapshots": 1}, "164.308(a)(7)(ii)(A)", "partly"),
        ({"policy": ""}, "11.1", "gap"),
        ({"drills": (replace(DRILL, ended=NOW - timedelta(days=100)),)}, "11.5", "gap"),
        ({"drills": (replace(DRILL, verdict="missed"),)}, "164.308(a)(7)(ii)(D)", "gap"),
        ({"drills": (replace(DRILL, rto_seconds=80 * 3600.0),)}, "contingency plan", "partly"),
        ({"drill_problems": 1}, "A.8.13", "partly"),
        ({"services": 2}, "SP 800-34", "partly"),
        ({"audit_sound": False, "audit_problems": 3}, "164.312(b)", "partly"),
        ({"last": {"audit.verify": NOW - timedelta(days=400)}}, "164.312(b)", "partly"),
        ({"audit_anchored": 0}, "164.312(b)", "partly"),
        ({"audit_retained": None}, "164.316(b)(2)(i)", "partly"),
        ({"audit_retained": NOW + timedelta(days=365)}, "164.316(b)(2)(i)", "partly"),
        ({"audit_since": NOW - timedelta(days=365)}, "164.316(b)(2)(i)", "partly"),
        ({"collectors_plain": 1}, "164.312(b)", "partly"),
        ({"collectors_tls": 0}, "164.312(b)", "partly"),
        ({"packs_verified": 49}, "164.312(c)(1-2)", "partly"),
        ({"operations": {"verify.failure": 1}}, "164.312(c)(1-2)", "partly"),
        ({"approvals_required": 0}, "164.312(d)", "partly"),
        ({"audit_since": NOW - timedelta(days=90)}, "P.L. 116-321", "partly"),
        ({"sources": (SourceFact("ehr", 49.0, partial=False, snapshots=1),)}, "backups", "partly"),
        ({"sources": (SourceFact("ehr", 200.0, partial=True, snapshots=1),)}, "11.2", "partly"),
        ({"sources": (SourceFact("ehr", 2.0, partial=False, snapshots=9),)}, "11.2", "partly"),
        ({"operations": {"backup.success": 9}, "drills": ()}, "164.308(a)(7)(ii)(A)", "partly"),
        ({"operations": {"backup.success": 9, "restore.failure": 1}, "drills": ()}, "09.l", "partly"),
        ({"operations": {"verify.success": 1}, "drills": ()}, "164.308(a)(7)(ii)(A)", "shown"),
        ({"last": {}}, "backups", "partly"),
        ({"last": {}}, "backup systems", "partly"),
        ({"key_beside_vault": True}, "safe harbor", "partly"),
        ({"key_beside_vault": None}, "safe harbor", "partly"),
        ({"stores": ("webdav",)}, "164.312(e)(1-2)", "partly"),
        ({"locked_stores": (), "sets_received": 0}, "11.4", "gap"),
        ({"locked_stores": ()}, "11.4", "shown"),
        ({"locked_stores": ()}, "SP 800-209", "partly"),
        ({"writers": 1, "locked_stores": (), "approvals_required": 0}, "SP 800-209", "gap"),
        ({"sets_received": 0}, "405(d) HICP", "partly"),
        ({"home_copies": 1}, "405(d) HICP", "partly"),
        ({"class_copies": (CopiesFact("phi", 2, 3, 5),)}, "405(d) HICP", "partly"),
        ({"class_copies": ()}, "405(d) HICP", "gap"),
        ({"root_epoch": 0, "renewed": 0}, "SP 800-57", "partly"),
        ({"erasures_open": 1}, "SP 800-57", "partly"),
        ({"kit_rehearsed_days": None}, "SP 800-57", "partly"),
        ({"kit_rehearsed_days": 400.0}, "SP 800-57", "partly"),
        ({"generations": 0}, "SP 800-57", "gap"),
        ({"generations": 0}, "SP 800-132, -108", "gap"),
        ({"erased": 0}, "164.310(d)(2)(i-ii)", "partly"),
        ({"erasures_open": 2}, "164.310(d)(2)(i-ii)", "partly"),
        ({"media": 0, "sets_received": 0}, "164.310(d)(2)(iii)", "outside"),
        ({"alerts_told": 0}, "failure alerts", "partly"),
        ({"alerts_untold": 1}, "failure alerts", "partly"),
        ({"operations": {"backup.success": 1}}, "TI.8", "partly"),
        ({"audit_records": 0}, "TI.8", "gap"),
        ({"approval_operations": ("forget",)}, "SUD records", "partly"),
        ({"operations": {}}, "164.308(a)(7)(ii)(C)", "partly"),
        ({"operations": {}}, "164.308(a)(1)(ii)(D)", "partly"),
    ],
)
def test_each_missing_piece_opens_its_own_gap(change, control, expected):
    assert status(replace(EVERYTHING, **change))[control] == expected


TABLE = (
    "164.308(a)(7)(ii)(A)", "164.308(a)(7)(ii)(B)", "164.308(a)(7)(ii)(C)", "164.308(a)(7)(ii)(D)", "164.308(a)(7)(ii)(E)",
    "164.308(a)(1)(ii)(D)", "164.310(d)(2)(i-ii)", "164.310(d)(2)(iii)", "164.310(d)(2)(iv)", "164.312(a)(1), (2)(i)",
    "164.312(a)(2)(iv)", "164.312(b)", "164.312(c)(1-2)", "164.312(d)", "164.312(e)(1-2)", "164.316(b)(2)(i)",
    "contingency plan", "backups", "failure alerts", "backup systems", "plan tests", "asset inventory", "safe harbor", "P.L. 116-321",
    "SUD records", "SP 800-66r2", "SP 800-34", "SP 800-209", "SP 800-57", "SP 800-38D", "SP 800-132, -108", "405(d) HICP",
    "09.l", "12.c", "11.1", "11.2", "11.3", "11.4", "11.5", "A.8.13", "retention", "TI.8", "access list",
)  # fmt: skip
"""Every row of the domain paper's table of controls, in the names that this report gives them."""


def test_every_control_of_the_table_is_judged_and_none_is_left_without_a_word():
    assert sorted(TABLE) == sorted(control.id for control in CONTROLS)
    for facts in (NOTHING, EVERYTHING):
        for finding in assess(facts, CONTROLS).findings:
            assert finding.evidence or finding.gap, finding.id


def test_it_claims_evidence_and_never_compliance():
    text = page(document(assess(EVERYTHING, CONTROLS)))
    assert "This is evidence for an assessment, not a statement of compliance" in text
    assert "compliant" not in text.lower()
    assert "not law" in text
    assert "<script" not in text
    for control in CONTROLS:
        assert control.asks.replace("&", "&amp;") in text


@pytest.fixture
def configured(place):
    place.source.mkdir()
    (place.source / "Müller.hl7").write_text("MSH|")
    clock = ManualClock(datetime(2026, 11, 23, 3, tzinfo=UTC))
    path = place.root / "site.toml"
    path.write_text(
        f'[vault]\nurl = "{place.vault}"\nkey_file = "file:{place.key}"\n[jobs.ehr]\npaths = ["{place.source}"]\n'
        f'[jobs.lab]\npaths = ["{place.source}"]\n[services.ehr]\ntitle = "EHR"\n[audit]\nsite = "st-mary"\n'
        f'[channels.log]\nkind = "file"\npath = "{place.root}/told"\n[contacts.it]\nchannels = ["log"]\n'
        f'[schedule.nightly]\njob = "ehr"\nevery_seconds = "1d"\n'
    )
    holdfast.Vault.create(place.vault, key_file=place.key, env=clock.environment()).close()
    with holdfast.Vault.open(path, env=clock.environment()) as vault:
        yield vault, path, place


def test_facts_come_from_the_records(configured):
    vault, path, place = configured
    vault.backup("ehr")
    vault.verify()
    vault.snapshot().restore(place.target())
    vault.enroll_writer("ward7")
    vault.hold("latest", reason="x")
    vault.rotate_root()
    vault.rotate_classes(["public"])
    vault.shred("public", 0, reason="ordered")
    (place.root / "kit").write_bytes(vault.recovery_kit())
    (place.root / "kit").chmod(0o600)
    with holdfast.Vault.open(place.vault, key_file=place.root / "kit", env=vault._vault.env) as opened:
        opened.rehearse()
    with open_desk(config.load(path).settings) as desk:
        assert desk.test("log").delivered
        found = {finding.id: finding for finding in vault.compliance().findings}
        assert "tests do not count" in found["failure alerts"].gap
        assert "No run of the schedule and no regular intervals: ehr." in found["11.2"].gap
        assert "No verification of the log that found it sound is on record within a year." in found["164.312(b)"].gap
        vault.audit.verify()
        desk.report(holdfast.Alert("damage", "ehr", "a pack is damaged", Safety.DEGRADED, Retry.NEVER))
        assert desk.round().sent == 1
    with open_schedule_book(vault._vault.env) as book:
        book.since("nightly")
        run = book.begin("nightly", vault._vault.env.now())
        assert run is not None
        book.end(run, Outcome(0), RunState.DONE, None)
    report = vault.compliance()
    found = {finding.id: finding for finding in report.findings}
    assert found["11.2"].status == "shown"
    assert "The root key was rotated 1 times; 1 classes have renewed keys." in found["SP 800-57"].evidence
    assert any("A recovery kit opened the vault 0 days ago." in text for text in found["SP 800-57"].evidence)
    assert any("1 messages about alerts were accepted" in text for text in found["failure alerts"].evidence)
    assert found["405(d) HICP"].gap.startswith("1 of the 3 copies asked for.")
    assert found["164.308(a)(7)(ii)(A)"].gap == "Jobs that never made a snapshot: lab."
    assert found["164.312(c)(1-2)"].status == "shown"
    assert found["164.312(b)"].gap == "It is exported to no collector."
    assert any("it was last verified and found sound on" in text for text in found["164.312(b)"].evidence)
    assert found["safe harbor"].gap == "The key file lies in the same place as the vault."
    assert "1 snapshots under legal hold." in found["retention"].evidence
    assert report.policy
    assert len(report.audit_root) == 64
    assert report.site == "st-mary"
    text = compliance_page(report, "html").decode() + compliance_page(report, "json").decode()
    assert "Müller" not in text
    assert str(place.root) not in text
    assert compliance_page(report, "pdf").startswith(b"%PDF")
    with pytest.raises(UsageError):
        compliance_page(report, "docx")
    sealed = vault.compliance_page(report, "html")
    proof = prove(sealed)
    assert proof.kind == "page"
    with pytest.raises(EvidenceError):
        prove(sealed.replace(b"legal hold", b"LEGAL hold"))
    assert json.loads(vault.compliance_page(report, "json")) == json.loads(compliance_page(report, "json"))
    assert {field.name for field in fields(report)} <= json.loads(compliance_page(report, "json")).keys()


def test_regular_is_what_a_timer_makes():
    def ago(*days):
        return [NOW - timedelta(days=day) for day in days]

    assert is_regular(ago(0, 1, 2, 3, 4), NOW)
    assert is_regular(ago(6, 13, 20, 27, 34), NOW)
    assert not is_regular(ago(0, 0.01, 0.02, 0.03, 0.04), NOW), "five times in an hour is somebody at a terminal"
    assert not is_regular(ago(0, 1, 12, 13), NOW)
    assert not is_regular(ago(9, 10, 11, 12), NOW), "it has stopped"
    assert not is_regular([], NOW)


def test_a_damaged_or_missing_log_is_a_gap_and_no_failure(configured):
    vault, _, _ = configured
    vault.backup("ehr")
    folder = vault._vault.trail.folder
    segment = files.segments(folder)[0][1]
    data = segment.read_bytes()
    segment.write_bytes(data.replace(b'"success"', b'"failure"', 1))
    found = {finding.id: finding for finding in vault.compliance().findings}
    assert "does not verify" in found["164.312(b)"].gap
    segment.write_bytes(b"nonsense\n")
    assert vault.compliance().counts["gap"] > 0
    shutil.rmtree(folder)
    Path(book_path()).unlink(missing_ok=True)
    Path(book_path()).mkdir()
    assert {each.id: each for each in vault.compliance().findings}["failure alerts"].status == "gap"
    found = {finding.id: finding for finding in vault.compliance().findings}
    assert found["164.312(b)"].status == "gap"


def test_the_command(configured, tmp_path, capsys, monkeypatch):
    _, path, _ = configured
    monkeypatch.setenv("HOLDFAST_CONFIG", str(path))
    assert main(["report", "compliance"]) == 0
    assert "gap      164.312(c)(1-2)" in capsys.readouterr().out
    assert main(["report", "compliance", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["type"] == "compliance"
    assert main(["report", "compliance", "--out", str(tmp_path / "r.html")]) == 0
    assert "Wrote" in capsys.readouterr().out
    assert main(["report", "compliance", "--out", str(tmp_path / "r.json")]) == 0
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert main(["report", "compliance", "--out", str(tmp_path / "r.docx")]) == 2
    found = {each["id"]: each for each in json.loads((tmp_path / "r.json").read_text())["findings"]}
    assert found["11.1"]["status"] == "partly", "the command did not take the configuration along"
    assert main(["key", "kit", "--out", str(tmp_path / "kit")]) == 0
    capsys.readouterr()
    assert main(["report", "compliance", "--json"]) == 0
    found = {each["id"]: each for each in json.loads(capsys.readouterr().out)["findings"]}
    assert "2 key files or recovery kits open the vault." in found["backup systems"]["evidence"]


def test_nothing_that_rests_on_a_log_that_does_not_verify_is_shown():
    sound, unsound = status(EVERYTHING), status(replace(EVERYTHING, audit_sound=False, audit_problems=3))
    rest = {"164.312(b)", "164.316(b)(2)(i)", "P.L. 116-321", "TI.8", "164.308(a)(7)(ii)(A)", "backups"}
    assert {name for name in rest if sound[name] == "shown"} == rest
    assert {unsound[name] for name in rest} == {"partly"}
    alone = {"164.312(c)(1-2)", "405(d) HICP", "11.4", "SP 800-38D"}
    assert {name: unsound[name] for name in alone} == {name: sound[name] for name in alone}
    report = assess(replace(EVERYTHING, audit_sound=False, audit_problems=3), CONTROLS)
    doubted = [finding for finding in report.findings if "what it says of this is not proved" in finding.gap]
    assert {finding.id for finding in doubted} >= rest
    first = document(report).lead[0]
    assert "The audit log does not verify (3 faults)" in page(replace(document(report), lead=(first,)))
    assert "does not verify" not in page(document(assess(EVERYTHING, CONTROLS)))


def test_how_many_records_name_a_login_is_said():
    found = {each.id: each for each in assess(replace(EVERYTHING, audit_logins=12), CONTROLS).findings}
    evidence = " ".join(found["164.312(a)(1), (2)(i)"].evidence)
    assert "12 of 900 also the login" in evidence


def test_a_record_that_cannot_be_read_is_said_and_what_is_before_it_counts(configured, tmp_path, capsys, monkeypatch):
    vault, config_path, _ = configured
    vault.backup("ehr")
    first = vault.compliance()
    _, path = files.segments(Path(vault.audit.folder))[0]
    path.write_bytes(path.read_bytes().replace(b"\n3 {", b"\nX {", 1))
    report = vault.compliance()
    assert (first.audit_problems, report.audit_problems > 0) == (0, True)
    said = json.dumps([finding.gap for finding in report.findings])
    assert "There is no audit log" not in said
    assert "The log does not verify" in said
    monkeypatch.setenv("HOLDFAST_CONFIG", str(config_path))
    assert main(["report", "compliance"]) == 0
    assert capsys.readouterr().out.startswith("The audit log does not verify (")
    assert main(["report", "compliance", "--out", str(tmp_path / "r.json")]) == 0
    assert "what rests on it is shown in part at most" in capsys.readouterr().out.splitlines()[1]
    assert json.loads((tmp_path / "r.json").read_text())["audit_problems"] == report.audit_problems
