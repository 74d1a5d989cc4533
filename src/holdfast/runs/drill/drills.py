"""Drills as callers hold them: one that is held, judged, signed and filed; the ones there have been; how services stand."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from holdfast.base.events import Events, Note, ignore
from holdfast.errors import EvidenceError, NotPermittedError, UsageError
from holdfast.runs.drill.evidence import Evidence
from holdfast.runs.drill.hold import hold
from holdfast.runs.drill.options import DrillOptions
from holdfast.runs.drill.plan import choose
from holdfast.runs.drill.record import DrillRecord, SignedRecord, check_record, read_record, sign_record
from holdfast.runs.drill.verdict import alerts_of, stale_alerts, standings
from holdfast.services.catalogue import service_named, services_of

if TYPE_CHECKING:
    from holdfast.base.events import Alert
    from holdfast.config import Config, Settings
    from holdfast.reports.seal import PageSeal
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.drill.plan import DrillPlan
    from holdfast.runs.drill.verdict import Standing
    from holdfast.runs.options import Cancel
    from holdfast.services.catalogue import Service

__all__ = [
    "DrillReport",
    "Proof",
    "RootSeal",
    "evidence_of",
    "file_drill",
    "plan_drill",
    "prove",
    "run_drill",
    "settings_of",
    "stands",
    "write_report",
    "write_runbook",
]

EXIT_MISSED = 8
EXIT_FAILED = 1
EXIT_DAMAGE = 4


@dataclass(frozen=True, slots=True)
class DrillReport:
    """A drill that was held: its record, where the evidence is, and what people must know of it."""

    record: DrillRecord
    file: str
    """The signed record."""
    page: str
    """The sealed page that people read."""
    alerts: tuple[Alert, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the service came back right, in time and recent enough."""
        return self.record.verdict == "passed"

    @property
    def exit_code(self) -> int:
        """0 passed, 8 came back and missed an objective, 4 damage in the vault, 1 did not come back as it should."""
        if self.record.verdict == "missed":
            return EXIT_MISSED
        damaged = any(
            outcome.name in ("fetch", "locate") and "damage" in outcome.cause for outcome in self.record.outcomes
        )
        return 0 if self.passed else EXIT_DAMAGE if damaged else EXIT_FAILED


@dataclass(frozen=True, slots=True)
class Proof:
    """What a file of evidence proves of itself."""

    kind: str
    """`record` or `page`."""
    public: str
    """The key that signed it, 64 hexadecimal digits."""
    fingerprint: str
    """What people compare of the key."""
    anchored: bool
    """Whether that key is the one that was given; without one, compare the fingerprint."""
    service: str = ""
    drill: str = ""
    verdict: str = ""
    """Of a record; empty for a page."""
    sha256: str = ""


class RootSeal:
    """The vault's root key as what signs evidence."""

    def __init__(self, vault: OpenVault) -> None:
        """Hold the key of an open vault. `NotPermittedError` without the root key."""
        self._key = vault.repository.root.key

    @property
    def public(self) -> bytes:
        """The 32 bytes of the public key."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Return the signature."""
        return self._key.sign(message)


def settings_of(config: Config | None) -> Settings:
    """Return the settings of a configuration; `UsageError` if the vault was opened without one."""
    if config is None:
        raise UsageError(
            "services are named in a configuration, and the vault was opened without one",
            next="open it by its configuration: --config FILE (or HOLDFAST_CONFIG).",
        )
    return config.settings


def evidence_of(vault: OpenVault, settings: Settings) -> Evidence:
    """Return the evidence folder: the configured one, or the local state's."""
    return Evidence(settings.drill.evidence or str(vault.state_dir / "drills"))


def plan_drill(vault: OpenVault, config: Config | None, name: str, options: DrillOptions | None) -> DrillPlan:
    """Plan; see `Vault.plan_drill`."""
    from holdfast.runs.drill.plan import plan_of

    settings = settings_of(config)
    service = service_named(services_of(settings), name)
    return plan_of(vault, settings, service, options or DrillOptions(), evidence_of(vault, settings).records())


def run_drill(
    vault: OpenVault,
    config: Config | None,
    name: str,
    options: DrillOptions | None = None,
    *,
    events: Events = ignore,
    stop: Cancel | None = None,
) -> DrillReport:
    """Hold a drill, sign its record, write page and record, and emit its alerts; see `Vault.drill`."""
    settings = settings_of(config)
    service = service_named(services_of(settings), name)
    if not vault.repository.is_root:
        raise NotPermittedError("a drill reads the vault and signs its record, which this credential cannot")
    if options is not None:
        _check_questions(service, options)
    if options is not None and options.snapshot and options.bare is None:
        # A name that is mistyped is no failed drill: nobody is called, and no record is signed.
        choose(vault, service, options.snapshot)
    evidence = evidence_of(vault, settings)
    history = evidence.records()
    record = hold(vault, settings, service, options or DrillOptions(), history, events=events, stop=stop)
    return file_drill(vault, settings, record, evidence, history, events=events)


def _check_questions(service: Service, options: DrillOptions) -> None:
    """`UsageError` if the service has no such check, or the drill cannot ask it."""
    known = [check.name for check in service.checks]
    for name in options.checks:
        if name not in known:
            raise UsageError(
                f"the service {service.name} has no check of that name",
                next=f"its checks are: {', '.join(known) or 'none'}.",
            )
    if options.kind == "mounted" and service.application == "host":
        raise UsageError(
            "a whole host is restored to disks: it cannot be drilled on a mount", next="hold a full drill."
        )
    if options.kind == "partial" and options.checks:
        raise UsageError("a sample of files answers no question", next="ask with a mounted drill instead.")
    if options.kind == "mounted" and options.at is not None:
        raise UsageError("a mounted drill recovers to the end of the WAL", next="hold a full drill for another moment.")


def file_drill(
    vault: OpenVault,
    settings: Settings,
    record: DrillRecord,
    evidence: Evidence,
    history: Sequence[DrillRecord],
    *,
    events: Events = ignore,
) -> DrillReport:
    """Give a record its place in the chain, sign and write it with its page, and emit its alerts."""
    from holdfast.reports.page import page
    from holdfast.reports.seal import seal_page
    from holdfast.runs.drill.report import drill_document

    signer = RootSeal(vault)
    filed: list[DrillRecord] = []

    def complete(number: int, previous: str) -> SignedRecord:
        filed.append(replace(record, number=number, previous=previous))
        return sign_record(filed[-1], signer)

    path = evidence.add(complete)
    record = filed[-1]
    shown = evidence.put_beside(path, ".html", seal_page(page(drill_document(record, history, signer.public)), signer))
    alerts = tuple(alerts_of(record, settings.drill.attention))
    for alert in alerts:
        events(alert)
    events(Note(f"the evidence is in {os.path.basename(path)}", "drill-evidence"))
    return DrillReport(record, path, shown, alerts)


def stands(vault: OpenVault, config: Config | None, events: Events = ignore) -> tuple[Standing, ...]:
    """Return how every configured service stands; see `Vault.drill_standings`."""
    settings = settings_of(config)
    found = standings(services_of(settings), evidence_of(vault, settings).records(), vault.env.now())
    for alert in stale_alerts(found):
        events(alert)
    return found


def write_report(vault: OpenVault, config: Config | None, drill: str, kind: str) -> bytes:
    """Return a drill's report in a form; see `Vault.drill_report`."""
    from holdfast.reports.page import page
    from holdfast.reports.pdf import pdf
    from holdfast.reports.seal import seal_page
    from holdfast.runs.drill.report import drill_document

    evidence = evidence_of(vault, settings_of(config))
    signed = evidence.find(drill)
    check_record(signed)
    if kind == "json":
        return signed.encode()
    document = drill_document(signed.record, evidence.records(), bytes.fromhex(signed.public))
    if kind == "pdf":
        return pdf(document)
    return seal_page(page(document), RootSeal(vault))


def write_runbook(vault: OpenVault, config: Config | None, service: str, kind: str) -> bytes:
    """Return a service's runbook in a form; see `Vault.runbook`."""
    from holdfast.reports.page import page
    from holdfast.reports.pdf import pdf
    from holdfast.reports.seal import seal_page
    from holdfast.runs.drill.runbook import runbook_document

    if kind not in ("html", "pdf"):
        raise UsageError("a runbook is read by people: write .html or .pdf")
    settings = settings_of(config)
    records = evidence_of(vault, settings).records()
    document = runbook_document(services_of(settings), service, settings.vault.url, records, vault.env.now())
    return pdf(document) if kind == "pdf" else seal_page(page(document), RootSeal(vault))


def prove(content: bytes, public: bytes | None = None) -> Proof:
    """Prove a record or a page offline; `public` is the vault's key, if known. `EvidenceError` if it is not what was signed."""
    from holdfast.reports.seal import check_page, fingerprint

    if content.lstrip()[:1] == b"{":
        signed = read_record(content)
        check_record(signed, public)
        record = signed.record
        mark = fingerprint(bytes.fromhex(signed.public))
        return Proof("record", signed.public, mark, public is not None, record.service, record.id, record.verdict)
    if content[:5] == b"%PDF-":
        raise EvidenceError(
            "a PDF carries no seal",
            next="verify the page or the record beside it: their digest is printed at the PDF's end.",
        )
    seal: PageSeal = check_page(content, public)
    return Proof("page", seal.public, fingerprint(bytes.fromhex(seal.public)), public is not None, sha256=seal.sha256)
