"""Every kind of record is a valid AuditEvent of R4 and R5 by HL7's published definitions, with codes that exist."""

from __future__ import annotations

import json
import re

import pytest

from fhir_definitions import code_system, definitions, dicom_codes, problems
from holdfast.reliability.audit.fhir import audit_event
from holdfast.reliability.audit.kinds import KINDS, kind_of
from servers import hapi

from .logs import record

FACTS = {"files": 3, "bytes": 2**40, "dry_run": True, "seconds": 1.5, "digest": "ab" * 8, "empty": ""}
OUTCOMES = ("", "success", "partial", "failure", "denied", "interrupted", "unheard-of")


def events(version):
    for number, kind in enumerate([*KINDS, "unheard-of"]):
        for outcome in OUTCOMES:
            one = record(number, kind=kind, outcome=outcome, code="store-full", subject="ab" * 16, facts=FACTS)
            yield kind, audit_event(one, number, "cd" * 16, version=version, site="st-mary")


@pytest.mark.parametrize("version", ["R4", "R5"])
def test_every_record_is_valid_by_the_published_definitions(version):
    for kind, event in events(version):
        assert problems(json.loads(json.dumps(event)), version) == [], kind


@pytest.mark.parametrize("version", ["R4", "R5"])
def test_the_check_finds_what_is_wrong(version):
    def broken(change):
        event = json.loads(json.dumps(next(events(version))[1]))
        change(event)
        return problems(event, version)

    assert broken(lambda event: event.pop("recorded"))
    assert broken(lambda event: event.pop("agent"))
    assert broken(lambda event: event.update(colour="blue"))
    assert broken(lambda event: event.update(action="X"))
    assert broken(lambda event: event["source"].pop("observer"))
    assert broken(lambda event: event["entity"][0]["detail"][0].pop("type"))
    assert broken(lambda event: event["agent"][0].update(requestor="yes"))
    assert broken(lambda event: event.update(recorded="yesterday"))
    assert broken(lambda event: event.update(agent=event["agent"][0]))
    assert len(definitions(version)["AuditEvent"]) > 30


def test_the_reference_validator_finds_nothing_and_every_fault_put_in():
    """One JVM for R4 and R5: every kind, every outcome, and controls that break an invariant, a binding, a cardinality."""
    given: list[tuple[str, dict]] = []
    for version in ("R4", "R5"):
        every = [(kind, json.loads(json.dumps(event))) for kind, event in events(version)]
        kinds = dict(every)
        given += [(version, event) for event in kinds.values()]
        given += [(version, event) for kind, event in every if kind == "restore.break-glass"]
    sound = len(given)

    def broken(version, change):
        event = json.loads(json.dumps(next(event for kind, event in events(version) if kind == "restore")))
        change(event)
        given.append((version, event))

    broken("R4", lambda event: event["entity"][0].update(name="a name", query="YSBxdWVyeQ=="))
    broken("R4", lambda event: event.update(action="X"))
    broken("R4", lambda event: event["agent"][0].update(location={"reference": "#nowhere"}))
    broken("R5", lambda event: event["source"].pop("observer"))
    broken("R5", lambda event: event["outcome"]["code"].update(code="terrible"))
    found = hapi.issues(given)
    bad = [issue for issue in found if issue.severity in {"ERROR", "FATAL"}]
    assert [issue for issue in bad if issue.number < sound] == []
    checked = {issue.number for issue in found if "dom-6" in issue.id}
    assert checked >= set(range(sound)), (
        "FHIRPath invariants were not evaluated: not even the one that asks for a narrative"
    )
    said = {
        number: " ".join(f"{i.id} {i.text}" for i in bad if i.number == number) for number in range(sound, len(given))
    }
    words = ("sev-1", "action", "ref-1", "observer", "terrible")
    for number, word in zip(said, words, strict=True):
        assert word in said[number], (word, said[number])


def test_codes_exist_in_the_published_systems():
    known = dicom_codes()
    for kind in KINDS.values():
        for code in (kind.event, kind.detail):
            if code is not None:
                assert known[code.code].lower() == code.display.lower(), kind.name
        assert not kind.lifecycle or kind.lifecycle in code_system("iso-21089-lifecycle")
        assert kind.action in "CRUDE"
    assert "4" in code_system("object-role")
    assert "2" in code_system("audit-entity-type")
    assert {"BTG", "HTEST"} <= code_system("v3-ActReason")
    assert kind_of("unheard-of").event.code == "110100"


def test_what_a_consumer_relies_on():
    by_kind = dict(events("R4"))
    assert by_kind["backup"]["type"]["code"] == "110106"
    assert by_kind["backup"]["subtype"][0]["code"] == "archive"
    assert by_kind["restore"]["type"]["code"] == "110107"
    assert by_kind["prune"]["action"] == "D"
    assert by_kind["release"]["type"]["code"] == "110113"
    assert by_kind["open.denied"]["type"]["code"] == "110114"
    assert by_kind["audit.read"]["type"]["code"] == "110101"
    assert by_kind["restore.break-glass"]["purposeOfEvent"][0]["coding"][0]["code"] == "BTG"
    assert by_kind["drill"]["purposeOfEvent"][0]["coding"][0]["code"] == "HTEST"
    # TI.8 of the EHR system functional model: organisation, user, system, trigger event, date and time, location, outcome.
    event = by_kind["backup"]
    assert event["source"]["site"] == "st-mary"
    assert event["agent"][0]["who"]["display"] == "root"
    assert event["agent"][0]["network"]["address"] == "ward7"
    assert re.fullmatch(r"\d{4}-.*Z", event["recorded"])
    assert dict(events("R5"))["backup"]["outcome"]["code"]["code"] == "error"
    assert [each for each in event["entity"][0]["detail"] if each["type"] == "dry_run"] == [
        {"type": "dry_run", "valueString": "true"}
    ]


def test_the_same_record_is_the_same_resource():
    one = [event["id"] for _, event in events("R4")]
    assert one == [event["id"] for _, event in events("R5")]
    assert len(set(one)) == len(KINDS) + 1
