"""The compliance report's facts, gathered from the vault's objects, this host's ledger, the audit log and the drills' records.

Nothing is taken from what people say of themselves; what the records do not hold is left at its zero and becomes a gap.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from holdfast.classes.policy import HOME
from holdfast.errors import (
    AuditDamagedError,
    AuditUnavailableError,
    DamageError,
    LocalStateError,
    MissingError,
    UsageError,
)
from holdfast.reliability.audit.read import records
from holdfast.reports.compliance import (
    ComplianceFacts,
    ComplianceReport,
    CopiesFact,
    DrillFact,
    SourceFact,
    assess,
    document,
)
from holdfast.reports.controls import CONTROLS
from holdfast.repository.access import read_policy
from holdfast.repository.bodies import Slot
from holdfast.repository.holds import read_holds
from holdfast.repository.placed import PlacedStore
from holdfast.repository.retention import pins
from holdfast.repository.wraps import MEDIUM, readable_wraps
from holdfast.repository.writers import list_writers
from holdfast.runs.alerting import book_path, open_book
from holdfast.runs.audit import AuditTrail
from holdfast.runs.courier import Courier
from holdfast.runs.keys import erasures
from holdfast.runs.ledger import Ledger
from holdfast.runs.locking import locks
from holdfast.runs.monitoring.facts import vault_facts
from holdfast.runs.schedule.configured import open_schedule_book, schedule_path
from holdfast.runs.verify import LEDGER_FILE
from holdfast.stores.protocol import Capability

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.config import Config, Settings
    from holdfast.reports.seal import Signs
    from holdfast.repository.types import SnapshotInfo
    from holdfast.runs.assembly import OpenVault

__all__ = ["compliance_page", "gather", "is_regular", "report_of"]

YEAR = timedelta(days=366)
VERIFY_DAYS = 31
ALERT_KINDS = frozenset({"alert", "collected"})
"""The messages that tell of one alert, or of several at once."""
REGULAR_WITHIN, REGULAR_GAP, REGULAR_DAYS = timedelta(days=36), timedelta(days=8), 4
"""What is taken for a timer's work: a week and a day of grace between snapshots, over five weeks."""


def report_of(vault: OpenVault, config: Config | None) -> ComplianceReport:
    """Return the report as of now."""
    return assess(gather(vault, config), CONTROLS)


def compliance_page(report: ComplianceReport, form: str, signer: Signs | None = None) -> bytes:
    """Return the report as `html`, `pdf` (`ReportToolMissingError` without the extra `reports`) or `json`.

    A page in HTML is sealed by a signer: `holdfast report verify` proves offline that nobody changed it.
    """
    if form == "json":
        return (
            json.dumps(asdict(report) | {"counts": report.counts}, default=str, ensure_ascii=False, indent=1).encode()
            + b"\n"
        )
    if form == "html":
        from holdfast.reports.page import page

        text = page(document(report))
        if signer is None:
            return text.encode()
        from holdfast.reports.seal import seal_page

        return seal_page(text, signer)
    if form != "pdf":
        raise UsageError("a compliance report is html, pdf or json")
    from holdfast.reports.pdf import pdf

    return pdf(document(report))


def gather(vault: OpenVault, config: Config | None) -> ComplianceFacts:
    """Gather the facts."""
    settings = config.settings if config is not None else None
    repository, now = vault.repository, vault.env.now()
    snapshots, damaged = vault.listing()
    sources = _sources(snapshots, _scheduled(settings, now), now)
    labels = {info.label for info in snapshots}
    policy = read_policy(repository.home)
    writers = list_writers(repository)
    return ComplianceFacts(
        now=now,
        vault=vault.vault_id,
        site=vault.trail.options.site,
        policy=vault.trail.options.policy,
        jobs=len(settings.jobs) if settings else 0,
        jobs_without_snapshot=tuple(sorted(set(settings.jobs) - labels)) if settings else (),
        sources=sources,
        damaged_snapshots=len(damaged),
        **_suspicions(vault, snapshots),
        **_packs(vault, now),
        **_audit(vault, now),
        collectors_tls=sum(each.protocol == "tls" for each in vault.trail.options.collectors),
        collectors_plain=sum(each.protocol != "tls" for each in vault.trail.options.collectors),
        classes=tuple(sorted(repository.classes.values())),
        generations=len(repository.all_secrets()),
        key_slots=_slots(vault),
        writers=len(writers),
        writers_revoked=sum(writer.revoked for writer in writers),
        opened_as=repository.role,
        key_beside_vault=_key_beside(vault, settings),
        **_stores(vault),
        **_keys(vault),
        **_alerts(now),
        retention=_retention(settings),
        held=sum(state.held for state in read_holds(repository.home).values()),
        approvers=len(policy.approvers),
        approvals_required=policy.required,
        approval_operations=policy.operations,
        **_drills(vault, settings),
    )


def _sources(snapshots: Sequence[SnapshotInfo], scheduled: frozenset[str], now: datetime) -> tuple[SourceFact, ...]:
    """Return every source with its newest snapshot, and whether it is backed up by itself."""
    newest: dict[str, SnapshotInfo] = {}
    ends: dict[str, list[datetime]] = {}
    for info in snapshots:
        newest[info.source] = info
        ends.setdefault(info.source, []).append(info.finished)
    return tuple(
        SourceFact(
            label=info.label or source[:8],
            newest_hours=(now - info.finished).total_seconds() / 3600,
            partial=info.partial,
            snapshots=len(ends[source]),
            automatic=bool(info.label) and (info.label in scheduled or is_regular(ends[source], now)),
        )
        for source, info in newest.items()
    )


def is_regular(ends: Sequence[datetime], now: datetime) -> bool:
    """Return whether snapshots are such as a timer makes: on four days or more of the last five weeks, never over a week apart."""
    recent = sorted(end for end in ends if now - end <= REGULAR_WITHIN)
    gaps = [later - earlier for earlier, later in pairwise([*recent, now])]
    return len({end.date() for end in recent}) >= REGULAR_DAYS and all(gap <= REGULAR_GAP for gap in gaps)


def _scheduled(settings: Settings | None, now: datetime) -> frozenset[str]:
    """Return the jobs that the schedule of this host backed up within a week, by its book."""
    if settings is None or not settings.schedule or not schedule_path().exists():
        return frozenset()
    backups = {name: entry.job for name, entry in settings.schedule.items() if entry.kind == "backup"}
    with suppress(LocalStateError), open_schedule_book(access="read") as book:
        return frozenset(
            job
            for name, job in backups.items()
            if (good := book.last_good(name)) is not None and now - good <= REGULAR_GAP
        )
    return frozenset()


def _stores(vault: OpenVault) -> dict[str, Any]:
    """Where packs lie: by the placement ledger and the couriers' records, not by anybody's word."""
    facts = vault_facts(vault)
    placed = vault.store
    stores = placed.stores if isinstance(placed, PlacedStore) else {HOME: placed}
    locked = [name for name, store in stores.items() if Capability.RETAIN_UNTIL in store.capabilities]
    couriers = sorted(path.name for path in vault.folder("courier").iterdir() if path.is_dir())
    sets = [row for name in couriers for row in Courier(vault, name).status().sets]
    return {
        "stores": tuple(sorted({_kind(store.url) for store in stores.values()})),
        "class_copies": tuple(
            CopiesFact(each.name, each.copies, each.copies_wanted, each.lacking) for each in facts.classes
        ),
        "home_copies": facts.home_copies,
        "locked_stores": tuple(sorted(locked)),
        "sets_received": sum(row.received is not None for row in sets),
        "kit_rehearsed_days": None
        if facts.kit_rehearsed is None
        else (facts.at - facts.kit_rehearsed).total_seconds() / 86400,
    }


def _kind(url: str) -> str:
    return url.partition(":")[0] if ":" in url else "local"


def _keys(vault: OpenVault) -> dict[str, Any]:
    """What the ledger of keys, the keyring and the certificates of erasure say."""
    wraps, _ = readable_wraps(vault.repository.home)
    generations = Counter(secrets.class_id for secrets in vault.repository.all_secrets())
    gone = erasures(vault)
    return {
        "wraps": len(wraps),
        "media": sum(wrap.body.form == MEDIUM for wrap in wraps),
        "root_epoch": max((wrap.body.epoch for wrap in wraps), default=0),
        "renewed": sum(count > 1 for count in generations.values()),
        "erased": sum(each.erased for each in gone),
        "erasures_open": sum(not each.erased for each in gone),
    }


def _alerts(now: datetime) -> dict[str, Any]:
    """What this host's alert book has receipts of; nothing where there is none."""
    if not os.path.exists(book_path()):
        return {}
    with suppress(LocalStateError), open_book() as book:
        tried = [
            each for each in book.deliveries(limit=1_000_000) if each.kind in ALERT_KINDS and now - each.at <= YEAR
        ]
        told = {number for each in tried if each.delivered for number in each.alerts}
        missed = {number for each in tried if not each.delivered for number in each.alerts}
        return {"alerts_told": sum(each.delivered for each in tried), "alerts_untold": len(missed - told)}
    return {}


def _suspicions(vault: OpenVault, snapshots: Sequence[SnapshotInfo]) -> dict[str, Any]:
    found, known = pins(snapshots), locks(vault)
    pinned = {good for _, good in found if good}
    complete = sum(known[good].complete for good in pinned & known.keys())
    return {"suspicious": len(found), "pinned": len(pinned), "pinned_locked": complete}


def _packs(vault: OpenVault, now: datetime) -> dict[str, Any]:
    ledger = Ledger.load(vault.folder("ledger") / LEDGER_FILE)
    packs = [row.name.hex() for row in vault.index().packs()]
    ages = [ledger.age_days(pack, now) for pack in packs]
    return {
        "packs": len(packs),
        "packs_verified": sum(age is not None and age <= VERIFY_DAYS for age in ages),
        "verify_days": VERIFY_DAYS,
    }


def _audit(vault: OpenVault, now: datetime) -> dict[str, Any]:
    """Verify the log and count what it says of the last year."""
    trail = AuditTrail(vault)
    operations: Counter[str] = Counter()
    last: dict[str, datetime] = {}
    since: datetime | None = None
    logins = 0
    try:
        report = trail.examine()
    except MissingError:
        return {}
    except (AuditDamagedError, AuditUnavailableError):
        return {"audit_problems": 1}
    with suppress(
        AuditDamagedError, AuditUnavailableError
    ):  # which the report says; what can be read before it is told
        for each in records(vault.trail.folder):
            record = each.record
            since = since or record.time
            logins += record.actor.login_uid >= 0
            if record.phase == "begin":
                continue
            if now - record.time <= YEAR:
                operations[f"{record.kind}.{record.outcome}"] += 1
            if record.outcome == "success" and not record.facts.get("dry_run"):
                last[record.kind] = record.time
    return {
        "operations": dict(operations),
        "last": last,
        "audit_records": report.records,
        "audit_logins": logins,
        "audit_sound": report.sound,
        "audit_problems": len(report.problems),
        "audit_anchored": report.anchored,
        "audit_retained": vault.trail.retained_until(),
        "audit_root": report.root,
        "audit_since": since,
    }


def _slots(vault: OpenVault) -> dict[str, int]:
    home = vault.repository.home
    found: Counter[str] = Counter()
    for info in vault.store.list("key/"):
        with suppress(DamageError):
            found[home.read(info.name, Slot)[1].method] += 1
    return dict(found)


def _key_beside(vault: OpenVault, settings: Settings | None) -> bool | None:
    """Return whether the configured key file lies on the file system of a local vault."""
    root = vault.home_folder
    key = settings.vault.key_file if settings else None
    if root is None or key is None or key.scheme != "file":
        return None
    try:
        return os.stat(key.place).st_dev == os.stat(root).st_dev
    except OSError:
        return None


def _retention(settings: Settings | None) -> str:
    if settings is None:
        return ""
    keep = settings.retention
    rules = {
        name: getattr(keep, name) for name in ("last", "hourly", "daily", "weekly", "monthly", "yearly", "within_days")
    }
    return ", ".join(f"{name} {number}" for name, number in rules.items() if number)


def _drills(vault: OpenVault, settings: Settings | None) -> dict[str, Any]:
    if settings is None:
        return {}
    from holdfast.runs.drill.drills import evidence_of

    evidence = evidence_of(vault, settings)
    drills = tuple(
        DrillFact(
            record.service,
            record.verdict,
            record.kind,
            datetime.fromisoformat(record.ended).astimezone(UTC),
            record.rto_achieved,
            record.rto,
            record.id,
        )
        for record in evidence.records()
        if not record.scenario
    )
    return {
        "services": len(settings.services),
        "services_described": len(settings.services),
        "drills": drills,
        "drill_problems": len(evidence.check().problems),
    }
