"""The shapes of JSON records: which types there are, and which fields each has. docs/cli.md and the tests come from here."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
import types
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from holdfast.base import events
from holdfast.cli import (
    alerts,
    approval,
    audit,
    catalog,
    connectors,
    discover,
    drill,
    findings,
    governor,
    host,
    key_rotation,
    keys,
    recover,
    repair,
    report_drill,
    retention,
    schedule,
    settings,
    vault,
)
from holdfast.cli.output import TextShown
from holdfast.reliability.alerts import records as alert_records
from holdfast.reports import compliance
from holdfast.runs import (
    classify,
    demo,
    enrolment,
    home_copies,
    host_results,
    key_results,
    keyless,
    locking,
    results,
    services,
    start,
    steer,
    suspicion,
    tier_results,
)
from holdfast.runs.drill import drills, evidence, plan, record, scenarios
from holdfast.runs.monitoring import report
from holdfast.runs.mounts import results as mount_results
from holdfast.sources import spool
from holdfast.sources.connectors.postgresql import receiver

__all__ = ["ERROR_FIELDS", "EXTRA", "RECORDS", "Shape", "problems", "shape"]

RECORDS: dict[str, type] = {
    "progress": events.Progress,
    "finding": events.Finding,
    "note": events.Note,
    "alert": events.Alert,
    "init": vault.VaultMade,
    "backup": results.BackupResult,
    "snapshot": results.SnapshotInfo,
    "entry": results.EntryInfo,
    "found": results.FoundEntry,
    "change": results.Change,
    "restore": results.RestoreResult,
    "host-inventory": host.HostShown,
    "host-plan": host_results.HostPlan,
    "host-restore": host_results.HostRestore,
    "mount": mount_results.MountResult,
    "mount-finish": mount_results.MountFinished,
    "forget-decision": results.ForgetDecision,
    "forget": results.ForgetResult,
    "prune": results.PruneResult,
    "hold": retention.HoldSet,
    "suspicion": suspicion.Suspicion,
    "lock": locking.Lock,
    "released": findings.SuspicionReleased,
    "check": results.CheckReport,
    "check-no-key": keyless.KeylessReport,
    "verify": results.VerifyReport,
    "repair": results.RepairResult,
    "repair-all": results.RepairReport,
    "copies": tier_results.CopyRepair,
    "home": home_copies.HomeRepaired,
    "promote": repair.Promoted,
    "migrate": tier_results.MigrateResult,
    "thaw": tier_results.ThawResult,
    "policy": tier_results.PolicyRow,
    "policy-check": tier_results.PolicyChecked,
    "policy-explained": tier_results.PolicyExplained,
    "exposure": tier_results.Exposure,
    "export": tier_results.ExportResult,
    "import": tier_results.ImportResult,
    "receipt": tier_results.ReceiptResult,
    "courier": tier_results.CourierStatus,
    "stats": results.VaultStats,
    "catalog": catalog.CatalogState,
    "key": keys.KeyChanged,
    "key-row": key_results.KeyRow,
    "rehearsal": key_results.Rehearsal,
    "rotate-root": key_results.RootRotated,
    "rotate-class": key_results.ClassRotation,
    "erasure": key_results.Erasure,
    "minimum-retention": key_rotation.MinimumRetention,
    "joined": enrolment.Joined,
    "alert-record": alert_records.AlertRecord,
    "delivery": alert_records.Delivery,
    "reply-key": alerts.ReplyKey,
    "reply": alerts.ReplySigned,
    "schedule-entry": report.EntryStatus,
    "due-time": schedule.DueTime,
    "run-asked": schedule.RunAsked,
    "status": report.StatusReport,
    "approval": approval.Signed,
    "approval-policy": approval.PolicyShown,
    "compliance": compliance.ComplianceReport,
    "audit-record": audit.RecordListed,
    "audit-verify": audit.LogReport,
    "audit-head": audit.HeadShown,
    "audit-proof": audit.ProofChecked,
    "audit-sent": audit.Sent,
    "audit-renewed": audit.Renewed,
    "audit-written": audit.Written,
    "restore-service": services.ServiceRestore,
    "drill": record.DrillRecord,
    "drill-record": record.DrillRecord,
    "drill-plan": plan.DrillPlan,
    "drill-standing": drill.StandingRow,
    "drill-scenario": drill.ScenarioRow,
    "drill-sweep": drill.DrillSwept,
    "scenario": scenarios.ScenarioReport,
    "report": report_drill.ReportWritten,
    "report-proof": drills.Proof,
    "evidence-chain": evidence.ChainReport,
    "application-found": discover.ApplicationFound,
    "danger": discover.DangerFound,
    "connector": connectors.ConnectorListed,
    "grants": connectors.Grants,
    "application": connectors.ApplicationChecked,
    "wal-pushed": spool.Pushed,
    "recovery-prepared": recover.RecoveryPrepared,
    "recovery-checked": start.RecoveryReport,
    "wal-received": receiver.Received,
    "wal-status": spool.SpoolState,
    "run": steer.RunStatus,
    "pause": governor.PauseSet,
    "setting": settings.Setting,
    "config-check": settings.ConfigChecked,
    "text": TextShown,
    "alert-explained": settings.AlertExplained,
    "error-explained": settings.ErrorExplained,
    "classify": classify.Classification,
    "demo": demo.DemoReport,
}

EXTRA = {"progress": {"rate": "number", "eta_seconds": "number or null"}}
"""Fields that a record has beyond those of its class."""

RESULTS = {
    "init",
    "backup",
    "restore",
    "host-inventory",
    "host-plan",
    "host-restore",
    "forget",
    "prune",
    "hold",
    "rehearsal",
    "rotate-root",
    "rotate-class",
    "erasure",
    "joined",
    "released",
    "check",
    "check-no-key",
    "verify",
    "repair",
    "repair-all",
    "copies",
    "migrate",
    "thaw",
    "policy-check",
    "config-check",
    "export",
    "import",
    "receipt",
    "courier",
    "stats",
    "catalog",
    "key",
    "reply-key",
    "reply",
    "run-asked",
    "status",
    "approval",
    "approval-policy",
    "audit-verify",
    "audit-head",
    "audit-proof",
    "audit-renewed",
    "audit-written",
    "pause",
    "classify",
    "demo",
    "restore-service",
    "drill",
    "drill-plan",
    "drill-sweep",
    "scenario",
    "report",
    "report-proof",
    "evidence-chain",
    "wal-pushed",
    "wal-received",
    "wal-status",
    "recovery-prepared",
    "recovery-checked",
}
"""Records that end a command and carry its `exit_code`."""

ERROR_FIELDS = {
    "code": "The stable code; `holdfast explain CODE`.",
    "exit_code": "The exit code of the command.",
    "what": "What happened.",
    "safe": "What is safe.",
    "next": "What to do.",
    "safety": "`untouched`, `intact`, `degraded` or `at risk`.",
    "retry": "`never`, `later` or `exhausted`.",
}

_SCALARS: dict[type, tuple[str, tuple[type, ...]]] = {
    bool: ("boolean", (bool,)),
    int: ("integer", (int,)),
    float: ("number", (int, float)),
    str: ("text", (str,)),
    bytes: ("path", (str,)),
    datetime: ("time", (str,)),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """One field of a record: its name, its kind in words, what it means, and its annotation."""

    name: str
    kind: str
    meaning: str
    annotation: Any


@cache
def shape(cls: type) -> tuple[Shape, ...]:
    """Return the fields of a dataclass as its record has them, with the sentences written below them in the source."""
    # Modules may import for the type checker only what their annotations name.
    hints = get_type_hints(cls, localns={**vars(events), **vars(results), **vars(tier_results), "datetime": datetime})
    said = _sentences(cls)
    return tuple(
        Shape(field.name, _kind(hints[field.name]), said.get(field.name, ""), hints[field.name])
        for field in dataclasses.fields(cls)
    )


def _sentences(cls: type) -> dict[str, str]:
    """Return the strings that stand below the fields of a class."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    found: dict[str, str] = {}
    name = ""
    for statement in getattr(body, "body", ()):
        match statement:
            case ast.AnnAssign(target=ast.Name(id=target)):
                name = target
            case ast.Expr(value=ast.Constant(value=str(text))) if name:
                found[name] = re.sub(r"\s+", " ", text)
                name = ""
            case _:
                name = ""
    return found


def _kind(annotation: Any) -> str:  # noqa: ANN401 - annotations are of any kind
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        kinds = [_kind(part) for part in arguments if part is not type(None)]
        return " or ".join([*kinds, "null"])
    if origin in (tuple, frozenset, list):
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return "object"
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return f"object {annotation.__name__}"
    return _SCALARS.get(annotation, ("text", (str,)))[0]


def problems(record: dict[str, Any]) -> list[str]:
    """Return what is wrong with a record: fields that are missing, unknown or of another kind. Empty: as documented."""
    kind = record.get("type")
    rest = {name: value for name, value in record.items() if name != "type"}
    if kind == "error":
        return [f"error: {name}" for name in rest.keys() ^ ERROR_FIELDS.keys()]
    cls = RECORDS.get(str(kind))
    if cls is None:
        return [f"unknown type {kind}"]
    extra = {"exit_code"} if kind in RESULTS else set()
    for name in extra | EXTRA.get(str(kind), {}).keys():
        if name not in rest:
            return [f"{kind}: {name} is missing"]
        del rest[name]
    return [f"{kind}.{text}" for text in _problems(cls, rest)]


def _problems(cls: type, record: dict[str, Any]) -> list[str]:
    found = []
    rest = dict(record)
    for field in shape(cls):
        if field.kind == "path":
            shown = field.name in rest
            digest = isinstance(rest.pop(f"{field.name}_digest", ""), str)
            rest.pop(f"{field.name}_base64", None)
            if not shown and digest:
                continue
        if field.name == "paths" and "paths_count" in rest:
            if not isinstance(rest.pop("paths_count"), int):
                found.append("paths_count: no integer")
            continue
        if field.name not in rest:
            found.append(f"{field.name}: missing")
            continue
        found += [f"{field.name}{text}" for text in _value_problems(field.annotation, rest.pop(field.name))]
    return found + [f"{name}: unknown" for name in rest]


def _value_problems(annotation: Any, value: Any) -> list[str]:  # noqa: ANN401 - annotations and values are of any kind
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        tried = [_value_problems(part, value) for part in arguments if part is not type(None)]
        return [] if value is None or any(not each for each in tried) else tried[0]
    if origin in (tuple, frozenset, list):
        if not isinstance(value, list):
            return [": no list"]
        return [f"[]{text}" for item in value for text in _value_problems(arguments[0], item)]
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return [f".{text}" for text in _problems(annotation, value)] if isinstance(value, dict) else [": no object"]
    expected = _SCALARS.get(annotation, ("", (object,)))[1]
    wrong = not isinstance(value, expected) or (
        isinstance(value, bool) and bool not in expected and object not in expected
    )
    return [": of another kind"] if wrong else []
