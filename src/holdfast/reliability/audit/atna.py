"""Records as DICOM audit messages (PS3.15 A.5.1) in syslog messages (RFC 5424), as IHE ATNA's ITI-20 sends them.

Pure: a record in, bytes out. Facility 10 and severity 5 make PRI 85; what failed or was denied has severity 4, PRI 84.
"""

from __future__ import annotations

import base64
from xml.etree import ElementTree as ET

from holdfast.base.environment import format_time
from holdfast.reliability.audit.fhir import OUTCOMES
from holdfast.reliability.audit.kinds import Code, Kind, kind_of
from holdfast.reliability.audit.record import AuditRecord

__all__ = ["audit_message", "framed", "syslog_message"]

MSGID = "DICOM+RFC3881"
_NOTICE, _WARNING, _AUTHPRIV = 5, 4, 10
_SYSTEM_OBJECT, _RESOURCE = "2", "4"
_LIFECYCLE_CODES = {"C": "1", "R": "6", "U": "3", "D": "14", "E": "6"}


def _code(parent: ET.Element, tag: str, code: Code, system: str = "DCM") -> None:
    ET.SubElement(parent, tag, {"csd-code": code.code, "codeSystemName": system, "originalText": code.display})


def audit_message(record: AuditRecord, number: int, log: str, *, site: str) -> bytes:
    """Return the XML of a record: UTF-8, one line."""
    kind = kind_of(record.kind)
    outcome = OUTCOMES.get(record.outcome, "8")
    root = ET.Element("AuditMessage")
    _event(root, record, kind, outcome)
    _participants(root, record)
    source = ET.SubElement(root, "AuditSourceIdentification", {"AuditSourceID": site})
    _code(source, "AuditSourceTypeCode", Code("4", "Application Server"))
    _object(root, record, kind, number, log)
    text: bytes = ET.tostring(root, encoding="UTF-8", xml_declaration=True)
    return text.replace(b"\n", b"")


def _event(root: ET.Element, record: AuditRecord, kind: Kind, outcome: str) -> None:
    event = ET.SubElement(
        root,
        "EventIdentification",
        {
            "EventActionCode": kind.action,
            "EventDateTime": format_time(record.time),
            "EventOutcomeIndicator": outcome,
        },
    )
    _code(event, "EventID", kind.event)
    if kind.detail:
        _code(event, "EventTypeCode", kind.detail)
    if kind.lifecycle:
        _code(event, "EventTypeCode", Code(kind.lifecycle, kind.lifecycle), "ISO 21089")
    _code(event, "EventTypeCode", Code(f"{record.kind}-{record.phase}", f"{record.kind} {record.phase}"), "HOLDFAST")
    if record.code:
        said = ET.SubElement(event, "EventOutcomeDescription")
        said.text = f"{record.outcome} {record.code}"


def _participants(root: ET.Element, record: AuditRecord) -> None:
    actor = record.actor
    user = ET.SubElement(
        root,
        "ActiveParticipant",
        {
            "UserID": actor.user or f"uid {actor.uid}",
            "AlternativeUserID": f"uid {actor.uid} login {actor.login_uid}",
            "UserIsRequestor": "true",
            "NetworkAccessPointID": actor.host,
            "NetworkAccessPointTypeCode": "1",
        },
    )
    _code(user, "RoleIDCode", Code("110153", "Source Role ID"))
    if actor.role:
        _code(user, "RoleIDCode", Code(actor.role, actor.role), "HOLDFAST")
    program = ET.SubElement(
        root,
        "ActiveParticipant",
        {
            "UserID": actor.credential or "holdfast",
            "AlternativeUserID": f"pid {actor.pid}",
            "UserIsRequestor": "false",
            "NetworkAccessPointID": actor.host,
            "NetworkAccessPointTypeCode": "1",
        },
    )
    _code(program, "RoleIDCode", Code("110150", "Application"))


def _object(root: ET.Element, record: AuditRecord, kind: Kind, number: int, log: str) -> None:
    found = ET.SubElement(
        root,
        "ParticipantObjectIdentification",
        {
            "ParticipantObjectID": record.subject or record.vault or "none",
            "ParticipantObjectTypeCode": _SYSTEM_OBJECT,
            "ParticipantObjectTypeCodeRole": _RESOURCE,
            "ParticipantObjectDataLifeCycle": _LIFECYCLE_CODES[kind.action],
        },
    )
    name = "snapshot" if record.subject else "vault"
    _code(found, "ParticipantObjectIDTypeCode", Code(name, name), "HOLDFAST")
    ET.SubElement(found, "ParticipantObjectName").text = record.vault or "none"
    facts = {"audit-log": log, "audit-record": number, "operation": record.operation, "policy": record.policy}
    for label, value in {**facts, **record.facts}.items():
        encoded = base64.b64encode(str(value).encode()).decode()
        ET.SubElement(found, "ParticipantObjectDetail", {"type": label, "value": encoded})


def syslog_message(record: AuditRecord, number: int, log: str, *, site: str) -> bytes:
    """Return the RFC 5424 message of a record."""
    severity = _NOTICE if OUTCOMES.get(record.outcome, "8") in {"0", "4"} else _WARNING
    host = record.actor.host.replace(" ", "_")[:255] or "-"
    head = (
        f"<{_AUTHPRIV * 8 + severity}>1 {format_time(record.time)} {host} holdfast {record.actor.pid or '-'} {MSGID} - "
    )
    return head.encode() + audit_message(record, number, log, site=site)


def framed(message: bytes) -> bytes:
    """Return a message as RFC 5425 (and 6587) frames it on a stream: its length in octets, a blank, the message."""
    return b"%d %s" % (len(message), message)
