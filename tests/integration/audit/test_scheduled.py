"""The schedule verifies the audit log: shown in `status`, metrics and the compliance report; told while it is not sound."""

from __future__ import annotations

import json

import pytest
from tests.scheduled import Site

import holdfast
from holdfast import config
from holdfast.cli import main
from holdfast.errors import Retry, Safety
from holdfast.runs.monitoring.metrics import encoded
from holdfast.runs.schedule.kinds import arguments_of
from holdfast.runs.schedule.launch import outcome_of
from holdfast.runs.schedule.records import Entry, RunState
from holdfast.runs.status import status
from holdfast.runs.trail import AUDIT_UNSOUND


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    site = Site(tmp_path, '[schedule.log]\nkind = "audit"\nevery_seconds = "300d"\n')
    site.gate.touch()
    return site


def swap(segment, old, new):
    """Write other bytes of the same length in place: the service may append meanwhile."""
    with segment.open("r+b") as file:
        at = file.read().index(old)
        file.seek(at)
        file.write(new)


def test_the_schedule_verifies_the_log_and_tells_of_one_that_is_not_sound(site, tmp_path):
    loaded = config.load(site.config)
    assert status(loaded).audit_verified is None
    with site.service():
        site.now("log")
        assert site.state("log") is RunState.DONE
        seen = status(loaded)
        assert (seen.audit_verified is not None, seen.audit_sound) == (True, True)
        assert b"holdfast_audit_sound 1.0" in encoded(seen)[0]
        (segment,) = (tmp_path / "state").glob("*/audit/records-*")
        swap(segment, b'"kind":"init"', b'"kind":"exit"')
        site.now("log")
        assert site.state("log") is RunState.FAILED
        site.eventually(lambda: AUDIT_UNSOUND in site.codes())
        (message,) = [each for each in site.told() if AUDIT_UNSOUND in each["codes"]]
        assert message["subjects"] == ["audit-log"], "told once, not by the entry's name, too"
        assert "NEXT: copy the log's folder away as evidence" in message["body"]
        seen = status(loaded)
        assert (seen.audit_sound, seen.verdict) == (False, "critical")
        assert "audit-unsound audit-log" in seen.dangers
        assert b"holdfast_audit_sound 0.0" in encoded(seen)[0]
        swap(segment, b'"kind":"exit"', b'"kind":"init"')
        assert main(["audit", "renew", "--reason", "somebody changed it", "--config", str(site.config)]) == 0
        site.now("log")
        assert site.state("log") is RunState.DONE
        site.eventually(lambda: any(each["kind"] == "resolved" for each in site.told()))
    with holdfast.Vault.open(site.vault, key_file=site.key) as vault:
        ends = [each.record for each in vault.audit.records(kind="audit.verify")]
        assert [(end.phase, end.outcome, end.facts["problems_count"]) for end in ends] == [("event", "success", 0)]
        report = vault.compliance()
        (found,) = [finding for finding in report.findings if finding.id == "164.312(b)"]
        assert any("last verified and found sound on" in text for text in found.evidence)


def test_by_hand_it_is_told_and_over_alike(site, tmp_path, capsys):
    words = ["--config", str(site.config)]
    (segment,) = (tmp_path / "state").glob("*/audit/records-*")
    whole = segment.read_bytes()
    segment.write_bytes(whole.replace(b'"kind":"init"', b'"kind":"exit"'))
    assert main(["audit", "verify", *words]) == 4
    assert "ALERT (degraded) audit-log: the audit log does not verify (" in capsys.readouterr().err
    assert main(["alerts", "list", "--json"]) == 3
    (alert,) = [json.loads(row) for row in capsys.readouterr().out.splitlines()]
    assert (alert["code"], alert["subject"], alert["safety"]) == (AUDIT_UNSOUND, "audit-log", "degraded")
    assert main(["status", *words]) == 1
    assert "Audit log last verified: 20" in (shown := capsys.readouterr().out)
    assert "NOT SOUND" in shown
    segment.write_bytes(whole + segment.read_bytes()[len(whole) :])
    segment.with_name("heads").unlink()
    main(["audit", "renew", "--reason", "x", *words])
    assert main(["audit", "verify", *words]) == 0
    assert main(["alerts", "list"]) == 0


def test_what_a_run_of_that_kind_ends_with():
    assert arguments_of(Entry("log", "audit")) == ["audit", "verify"]
    found = outcome_of([{"type": "audit-verify", "exit_code": 4, "problems": [{}, {}]}], 4)
    assert (found.code, found.safety, found.retry) == (AUDIT_UNSOUND, Safety.DEGRADED, Retry.NEVER)
    assert "(2 faults)" in found.what
    assert outcome_of([{"type": "audit-verify", "exit_code": 0, "problems": []}], 0).succeeded
