"""Records as FHIR AuditEvent, R4 (4.0.1) and R5 (5.0.0). Pure: a record in, a resource out.

R5 renamed type to category and subtype to code, made outcome a coding with details, and gave details typed values. No patient
is an entity: a backup is of a dataset, named by an opaque snapshot id, and of the user who asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

from holdfast.base.environment import format_time
from holdfast.reliability.audit.kinds import Code, Kind, kind_of
from holdfast.reliability.audit.record import AuditRecord, Fact

__all__ = ["Version", "audit_event"]

Version = Literal["R4", "R5"]
DCM = "http://dicom.nema.org/resources/ontology/DCM"
LIFECYCLE = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
_SOURCE_TYPE = "http://terminology.hl7.org/CodeSystem/security-source-type"
_OBJECT_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_ENTITY_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_PURPOSE = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
OUTCOMES = {"success": "0", "": "0", "partial": "4", "interrupted": "4", "denied": "8", "failure": "8"}
_SEVERITY = {"0": "success", "4": "warning", "8": "error", "12": "fatal"}
_ISSUE_SEVERITY = "http://hl7.org/fhir/issue-severity"
_DETAIL_SYSTEM = "urn:holdfast:audit-fact"
BREAK_GLASS = Code("BTG", "break the glass")
TEST = Code("HTEST", "test health data")


def audit_event(record: AuditRecord, number: int, log: str, *, version: Version, site: str) -> dict[str, Any]:
    """Return the resource. Its id comes from the log and the record's number: the same record is the same resource."""
    kind = kind_of(record.kind)
    resource: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "id": hashlib.sha256(f"{log}/{number}".encode()).hexdigest()[:32],
    }
    resource |= _r4(record, kind) if version == "R4" else _r5(record, kind)
    resource["recorded"] = format_time(record.time)
    resource["agent"] = [_user(record, version), _program(record, version)]
    resource["source"] = _source(site, version)
    resource["entity"] = [_entity(record, version, number, log)]
    return resource


def _coding(system: str, code: Code) -> dict[str, str]:
    return {"system": system, "code": code.code, "display": code.display}


def _codings(kind: Kind) -> list[dict[str, str]]:
    found = [_coding(DCM, kind.detail)] if kind.detail else []
    if kind.lifecycle:
        found.append({"system": LIFECYCLE, "code": kind.lifecycle})
    return found


def _purposes(record: AuditRecord) -> list[dict[str, Any]]:
    if record.kind == "restore.break-glass":
        return [{"coding": [_coding(_PURPOSE, BREAK_GLASS)]}]
    if record.kind == "drill":
        return [{"coding": [_coding(_PURPOSE, TEST)], "text": "recovery drill"}]
    return []


def _said(record: AuditRecord) -> str:
    return " ".join(part for part in (record.kind, record.phase, record.outcome, record.code) if part)


def _r4(record: AuditRecord, kind: Kind) -> dict[str, Any]:
    found: dict[str, Any] = {"type": _coding(DCM, kind.event)}
    if subtypes := _codings(kind):
        found["subtype"] = subtypes
    found["action"] = kind.action
    found["outcome"] = OUTCOMES.get(record.outcome, "8")
    found["outcomeDesc"] = _said(record)
    if purposes := _purposes(record):
        found["purposeOfEvent"] = purposes
    return found


def _r5(record: AuditRecord, kind: Kind) -> dict[str, Any]:
    outcome = OUTCOMES.get(record.outcome, "8")
    found: dict[str, Any] = {"category": [{"coding": [_coding(DCM, kind.event)]}]}
    codings = _codings(kind) or [{"system": "urn:holdfast:audit-kind", "code": record.kind}]
    found["code"] = {"coding": codings, "text": record.kind}
    found["action"] = kind.action
    found["outcome"] = {
        "code": {"system": _ISSUE_SEVERITY, "code": _SEVERITY[outcome]},
        "detail": [{"text": _said(record)}],
    }
    if purposes := _purposes(record):
        found["authorization"] = purposes
    return found


def _user(record: AuditRecord, version: Version) -> dict[str, Any]:
    actor = record.actor
    name = actor.user or f"uid {actor.uid}"
    agent: dict[str, Any] = {
        "type": {"coding": [{"system": DCM, "code": "110153", "display": "Source Role ID"}]},
        "who": {"identifier": {"system": "urn:holdfast:user", "value": name}, "display": name},
        "requestor": True,
    }
    if actor.role:
        agent["role"] = [{"coding": [{"system": "urn:holdfast:role", "code": actor.role}]}]
    if version == "R4":
        agent["altId"] = f"uid {actor.uid} login {actor.login_uid} credential {actor.credential}".strip()
        agent["network"] = {"address": actor.host, "type": "1"}
    else:
        agent["networkString"] = actor.host
    return agent


def _program(record: AuditRecord, version: Version) -> dict[str, Any]:
    agent: dict[str, Any] = {
        "type": {"coding": [{"system": DCM, "code": "110150", "display": "Application"}]},
        "who": {"identifier": {"system": "urn:holdfast:vault", "value": record.vault or "none"}, "display": "Holdfast"},
        "requestor": False,
    }
    if version == "R4":
        agent["network"] = {"address": record.actor.host, "type": "1"}
    else:
        agent["networkString"] = record.actor.host
    return agent


def _source(site: str, version: Version) -> dict[str, Any]:
    kind = {"system": _SOURCE_TYPE, "code": "4", "display": "Application Server"}
    observer = {"identifier": {"system": "urn:holdfast:site", "value": site}, "display": site}
    if version == "R4":
        return {"site": site, "observer": observer, "type": [kind]}
    return {"site": {"display": site}, "observer": observer, "type": [{"coding": [kind]}]}


def _entity(record: AuditRecord, version: Version, number: int, log: str) -> dict[str, Any]:
    role = {"system": _OBJECT_ROLE, "code": "4", "display": "Domain Resource"}
    facts: dict[str, Fact] = {
        "audit-log": log,
        "audit-record": number,
        "operation": record.operation,
        "phase": record.phase,
        "policy": record.policy,
        **record.facts,
    }
    what = {"identifier": {"system": "urn:holdfast:subject", "value": record.subject or record.vault or "none"}}
    entity: dict[str, Any] = {"what": what}
    if version == "R4":
        entity["type"] = {"system": _ENTITY_TYPE, "code": "2", "display": "System Object"}
        entity["role"] = role
        entity["detail"] = _r4_details(facts)
    else:
        entity["role"] = {"coding": [role]}
        entity["detail"] = _r5_details(facts)
    return entity


def _r4_details(facts: Mapping[str, Fact]) -> list[dict[str, str]]:
    return [{"type": name, "valueString": _text(value)} for name, value in facts.items() if _text(value)]


def _text(value: Fact) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _r5_details(facts: Mapping[str, Fact]) -> list[dict[str, Any]]:
    found = []
    for name, value in facts.items():
        detail: dict[str, Any] = {"type": {"coding": [{"system": _DETAIL_SYSTEM, "code": name}], "text": name}}
        if isinstance(value, bool):
            detail["valueBoolean"] = value
        elif isinstance(value, int) and -(2**31) <= value < 2**31:
            detail["valueInteger"] = value
        elif _text(value):
            detail["valueString"] = _text(value)
        else:
            continue
        found.append(detail)
    return found
