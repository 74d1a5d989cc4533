"""The compliance report: what each control asks, what the records show of it, and what they do not.

It claims evidence, never compliance: a control is `shown` (the records show all that a backup system can show of it), `partly`
(some of it, with what is missing), a `gap` (asked of the backup system, and nothing shows it), or `outside` (an organisation's
own paper must show it; the report says which). Pure: facts in, findings and a document out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from holdfast.reports.document import Block, Document, Fact, Facts, Paragraph, Section, State, Table, Verdict

__all__ = [
    "ComplianceFacts",
    "ComplianceReport",
    "Control",
    "ControlFinding",
    "CopiesFact",
    "DrillFact",
    "Judged",
    "SourceFact",
    "assess",
    "document",
]

Status = Literal["shown", "partly", "gap", "outside"]
_STATES: dict[Status, State] = {"shown": "good", "partly": "attention", "gap": "bad", "outside": "neutral"}


@dataclass(frozen=True, slots=True)
class SourceFact:
    """One source and its newest snapshot."""

    label: str
    newest_hours: float
    """Age of the newest snapshot."""
    partial: bool
    snapshots: int
    automatic: bool = False
    """Whether the schedule ran it within a week, or it has a label and snapshots at most a week apart, as a timer makes them."""


@dataclass(frozen=True, slots=True)
class CopiesFact:
    """The data packs of one class: on how many stores the one with the fewest is, and how many packs have fewer than wanted."""

    name: str
    copies: int
    wanted: int
    lacking: int


@dataclass(frozen=True, slots=True)
class DrillFact:
    """One drill, from its signed record."""

    service: str
    verdict: str
    kind: str
    ended: datetime
    rto_seconds: float
    rto_objective_seconds: float
    id: str


@dataclass(frozen=True, slots=True)
class ComplianceFacts:
    """What the records say, gathered by `runs.compliance`. Everything is counted or measured; nothing is assumed."""

    now: datetime
    vault: str
    site: str
    policy: str = ""
    """Digest of the configuration in force; empty without one."""
    jobs: int = 0
    jobs_without_snapshot: tuple[str, ...] = ()
    sources: tuple[SourceFact, ...] = ()
    damaged_snapshots: int = 0
    suspicious: int = 0
    """Snapshots that look like ransomware's work and that nobody released."""
    pinned: int = 0
    """Last good snapshots before those, which nobody can forget."""
    pinned_locked: int = 0
    """Those among them whose every object is locked on a store, by what this host did."""
    packs: int = 0
    packs_verified: int = 0
    """Packs proved within `verify_days`."""
    verify_days: int = 31
    operations: Mapping[str, int] = field(default_factory=dict)
    """Operations that ended within a year, as `KIND.OUTCOME`, from the audit log."""
    last: Mapping[str, datetime] = field(default_factory=dict)
    """When a kind last ended with success."""
    audit_records: int = 0
    audit_logins: int = 0
    """Those among them that name the login behind the user: services and timers have none."""
    audit_sound: bool = False
    audit_problems: int = 0
    audit_anchored: int = 0
    audit_retained: datetime | None = None
    """Until when the store says that it retains the newest head of the log; None if it does not, or cannot."""
    audit_root: str = ""
    audit_since: datetime | None = None
    collectors_tls: int = 0
    collectors_plain: int = 0
    classes: tuple[str, ...] = ()
    generations: int = 0
    key_slots: Mapping[str, int] = field(default_factory=dict)
    """How many slots of each method wrap the root key."""
    writers: int = 0
    writers_revoked: int = 0
    opened_as: str = ""
    key_beside_vault: bool | None = None
    """Whether the key lies where the vault lies; None if it is not known."""
    stores: tuple[str, ...] = ()
    """Kinds of the stores that packs lie on."""
    class_copies: tuple[CopiesFact, ...] = ()
    home_copies: int = 1
    """On how many stores the home's objects are."""
    locked_stores: tuple[str, ...] = ()
    """Stores that refuse to delete before a time."""
    sets_received: int = 0
    """Sets carried across an air gap whose receipts are here."""
    media: int = 0
    """Media that carry the keyring, in the ledger of keys."""
    wraps: int = 0
    """Places where a key was ever written, in that ledger."""
    root_epoch: int = 0
    """How often the root key was rotated."""
    renewed: int = 0
    """Classes with more than one generation of keys."""
    erased: int = 0
    """Generations of which every copy of the key is accounted for."""
    erasures_open: int = 0
    """Erased generations of which that is not known."""
    kit_rehearsed_days: float | None = None
    """Since a recovery kit last opened the vault; None: it never did."""
    alerts_told: int = 0
    """Messages about alerts that a channel accepted within a year; tests and signs of life are none."""
    alerts_untold: int = 0
    """Alerts that some contact was to be told of, and nobody was."""
    retention: str = ""
    """The retention rules in words; empty without a configuration."""
    held: int = 0
    approvers: int = 0
    approvals_required: int = 0
    approval_operations: tuple[str, ...] = ()
    services: int = 0
    services_described: int = 0
    """Services with objectives and a criticality of their own."""
    drills: tuple[DrillFact, ...] = ()
    drill_problems: int = 0
    """What is wrong with the chain of drill records."""

    def age_days(self, kind: str) -> float | None:
        """Return the days since a kind last ended with success."""
        moment = self.last.get(kind)
        return None if moment is None else (self.now - moment).total_seconds() / 86400

    def count(self, kind: str, *outcomes: str) -> int:
        """Return how often a kind ended so within a year; in any way without outcomes."""
        return sum(
            number
            for name, number in self.operations.items()
            if name.rpartition(".")[0] == kind and (not outcomes or name.rpartition(".")[2] in outcomes)
        )

    def passed(self, days: float) -> tuple[DrillFact, ...]:
        """Return the full drills that passed within so many days: a part shows no recovery of a service."""
        return tuple(
            drill
            for drill in self.drills
            if drill.verdict == "passed"
            and drill.kind not in ("partial", "mounted")
            and (self.now - drill.ended).total_seconds() <= days * 86400
        )


@dataclass(frozen=True, slots=True)
class Judged:
    """What the records show of one control."""

    status: Status
    evidence: tuple[str, ...] = ()
    gap: str = ""
    """What is missing, plainly; empty only if the status is `shown`."""


@dataclass(frozen=True, slots=True)
class Control:
    """One control: whose it is, what it asks, and how the facts are judged."""

    id: str
    framework: str
    asks: str
    kind: str
    """`required`, `addressable`, `proposed` (not law), `guidance`."""
    judge: Callable[[ComplianceFacts], Judged]


@dataclass(frozen=True, slots=True)
class ControlFinding:
    """A control with what was found."""

    id: str
    framework: str
    asks: str
    kind: str
    status: Status
    evidence: tuple[str, ...]
    gap: str


@dataclass(frozen=True, slots=True)
class ComplianceReport:
    """All controls, judged at one moment from one vault's records."""

    vault: str
    site: str
    made: datetime
    policy: str
    audit_root: str
    findings: tuple[ControlFinding, ...]
    audit_problems: int = 0
    """What is wrong with the audit log; with any, what rests on it is shown in part at most."""

    @property
    def counts(self) -> dict[str, int]:
        """How many controls have each status."""
        found = Counter(finding.status for finding in self.findings)
        return {status: found[status] for status in ("shown", "partly", "gap", "outside")}


def assess(facts: ComplianceFacts, controls: tuple[Control, ...]) -> ComplianceReport:
    """Judge every control by the facts."""
    findings = []
    for control in controls:
        judged = _doubted(control, facts, control.judge(facts))
        findings.append(
            ControlFinding(
                control.id,
                control.framework,
                control.asks,
                control.kind,
                judged.status,
                judged.evidence,
                judged.gap,
            )
        )
    return ComplianceReport(
        facts.vault, facts.site, facts.now, facts.policy, facts.audit_root, tuple(findings), facts.audit_problems
    )


_DOUBT = "The audit log does not verify: what it says of this is not proved."


def _doubted(control: Control, facts: ComplianceFacts, judged: Judged) -> Judged:
    """Return what is left of a judgement while the audit log does not verify: what rests on it is shown in part at most."""
    if not facts.audit_problems or judged.status not in ("shown", "partly"):
        return judged
    without = replace(
        facts,
        operations={},
        last={},
        audit_records=0,
        audit_logins=0,
        audit_anchored=0,
        audit_retained=None,
        audit_since=None,
    )
    if control.judge(without) == judged:
        return judged
    return Judged("partly", judged.evidence, f"{judged.gap} {_DOUBT}".lstrip())


def document(report: ComplianceReport) -> Document:
    """Return the report for people."""
    counts = report.counts
    asked = len(report.findings) - counts["outside"]
    state: State = "bad" if counts["gap"] else "attention" if counts["partly"] else "good"
    doubt = (
        Verdict(
            "bad",
            f"The audit log does not verify ({report.audit_problems} faults): what rests on it is shown in part at most",
            "`holdfast audit verify` names each fault.",
        ),
    )
    lead: tuple[Block, ...] = (
        *(doubt if report.audit_problems else ()),
        Verdict(
            state,
            f"The records show {counts['shown']} of the {asked} controls that a backup system can give evidence for",
            f"{counts['partly']} are shown in part, {counts['gap']} not at all; {counts['outside']} more are for the"
            " organisation's own papers. This is evidence for an assessment, not a statement of compliance.",
        ),
        Facts(
            (
                Fact("Shown", str(counts["shown"]), "good"),
                Fact("In part", str(counts["partly"]), "attention" if counts["partly"] else "neutral"),
                Fact("Gaps", str(counts["gap"]), "bad" if counts["gap"] else "neutral"),
                Fact("Outside", str(counts["outside"])),
            )
        ),
    )
    frameworks = dict.fromkeys(finding.framework for finding in report.findings)
    sections = [_gaps(report), *(_framework(report, framework) for framework in frameworks)]
    sections.append(
        Section(
            "How to check this report",
            (
                Paragraph(
                    "Figures come from the vault's signed objects, the verification ledger of this host, the hash-chained audit log"
                    " and the signed records of drills. Repeat them: `holdfast audit verify`, `holdfast check`, `holdfast verify`,"
                    " `holdfast drill list`. Controls marked proposed are of the rule proposed on 6 January 2025 and are not law."
                ),
            ),
        )
    )
    return Document(
        title="Evidence for compliance",
        subtitle=f"{report.site}, vault {report.vault}",
        made=f"Made {report.made:%Y-%m-%d %H:%M} UTC",
        lead=lead,
        sections=tuple(sections),
        footer=f"Configuration {report.policy or 'none'}. Root of the audit log {report.audit_root or 'none'}.",
    )


def _gaps(report: ComplianceReport) -> Section:
    rows = tuple((finding.id, finding.gap) for finding in report.findings if finding.status == "gap")
    states: tuple[State, ...] = tuple("bad" for _ in rows)
    table = Table(("Control", "What is missing"), rows, states=states, empty="No control is without evidence.")
    return Section("Gaps", (table,))


def _framework(report: ComplianceReport, framework: str) -> Section:
    chosen = [finding for finding in report.findings if finding.framework == framework]
    rows = tuple(
        (
            f"{finding.id} ({finding.kind})",
            finding.asks,
            finding.status,
            " ".join((*finding.evidence, *((f"Missing: {finding.gap}",) if finding.gap else ()))),
        )
        for finding in chosen
    )
    states = tuple(_STATES[finding.status] for finding in chosen)
    return Section(framework, (Table(("Control", "Asks for", "Status", "Evidence"), rows, states=states),))
