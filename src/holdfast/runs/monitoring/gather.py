"""Facts, gathered: from the vault, the schedule's book, the alert book and the files of certificates; and the report of them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from holdfast.base.events import Alert
from holdfast.config import Settings
from holdfast.errors import HoldfastError, Safety
from holdfast.reliability.alerts import AlertRecord, AlertState
from holdfast.reliability.objectives import (
    CopyFacts,
    ExpiryFacts,
    Facts,
    ProofFacts,
    SourceFacts,
    StartFacts,
    StoreFacts,
    days_until_full,
    endangered,
)
from holdfast.repository.rehearsals import last_rehearsal
from holdfast.repository.retention import pins, suspicious
from holdfast.repository.writers import list_writers
from holdfast.runs.ledger import Ledger
from holdfast.runs.locking import locks
from holdfast.runs.monitoring.report import EntryStatus, SourceStatus, StatusReport, StoreStatus
from holdfast.runs.pending import overdue_alert, pending
from holdfast.runs.schedule.decide import due_slot
from holdfast.runs.schedule.records import Entry, RunState
from holdfast.runs.verify import LEDGER_FILE

if TYPE_CHECKING:
    from holdfast.repository.types import SnapshotInfo
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.schedule.book import ScheduleBook

__all__ = [
    "DRILL_FACT",
    "SERVICE_FACT",
    "VaultFacts",
    "certificate_expiry",
    "entry_status",
    "host_facts",
    "make_report",
    "source_facts",
    "start_facts",
    "unreadable",
    "vault_alerts",
    "vault_facts",
]

SERVICE_FACT = "service"
SILENT_SECONDS = 900.0
"""A service of the schedule that was not seen for so long starts nothing and tells nobody."""
DRILL_FACT = "drill"
"""The fact under which a finished drill is noted in the schedule's book."""
_DAY = 86400.0
_PEM_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class VaultFacts:
    """What a vault says of its sources, packs and room. `error`: it could not be read, and says nothing."""

    at: datetime
    vault: str = ""
    error: str = ""
    alert: Alert | None = None
    sources: tuple[SourceStatus, ...] = ()
    ages_days: tuple[float | None, ...] = ()
    """Of each pack: how long ago it was proved."""
    first_days: float = 0.0
    """How long ago the oldest snapshot was made."""
    free_bytes: int | None = None
    total_bytes: int = 0
    copies: int = 1
    drill_at: datetime | None = None
    """When a drill last passed."""
    alerts: tuple[Alert, ...] = ()
    """What others found in danger: services whose drills are stale, packs that wait too long for a store."""
    packs_pending: int = 0
    """Packs that wait on this host because a store was down."""
    bytes_pending: int = 0
    expiries: tuple[tuple[str, datetime], ...] = ()
    """Credentials in force with when they end."""
    kit_rehearsed: datetime | None = None
    """When a recovery kit, or shares, last opened the vault."""


def unreadable(error: HoldfastError, now: datetime) -> VaultFacts:
    """Return the facts of a vault that could not be opened or read."""
    return VaultFacts(now, error=error.code, alert=Alert.of(error, "vault"))


def vault_facts(vault: OpenVault) -> VaultFacts:
    """Read the facts. What stops it is an error in them, raised to nobody: a vault that is down is a fact too."""
    now = vault.env.now()
    try:
        snapshots, _ = vault.listing()
        newest: dict[str, SourceStatus] = {}
        host = socket.gethostname()
        for info in snapshots:
            name = info.label or info.source[:8]
            if info.host and info.host != host:
                name = f"{name}@{info.host}"
            before = newest.get(info.source)
            bad = suspicious(info)
            # What may be ransomware's work is no good backup until somebody releases it.
            good = (before.last_good if before else None) if bad else info.finished
            newest[info.source] = SourceStatus(
                name, good, max(0.0, (now - good).total_seconds()) if good else None, None, "unwatched",
                before.snapshots + 1 if before else 1, info.partial, info.findings, info.id,
                (before.suspicious if before else 0) + bad,
            )  # fmt: skip
        _note_locks(vault, snapshots, newest)
        ledger = Ledger.load(vault.folder("ledger") / LEDGER_FILE)
        packs = [row.name.hex() for row in vault.refresh_index().packs()]
        free, total = _room(vault.home_folder)
        waits = pending(vault)
        holders = list_writers(vault.repository)
        expiries = tuple((w.label, w.expires) for w in holders if w.expires is not None and not w.revoked)
        rehearsed = last_rehearsal(vault.repository.home)
    except HoldfastError as error:
        return unreadable(error, now)
    first = min((info.finished for info in snapshots), default=now)
    return VaultFacts(
        at=now,
        vault=vault.vault_id,
        sources=tuple(sorted(newest.values(), key=lambda source: source.name)),
        ages_days=tuple(ledger.age_days(pack, now) for pack in packs),
        first_days=max(0.0, (now - first).total_seconds() / _DAY),
        free_bytes=free,
        total_bytes=total,
        packs_pending=waits.packs if waits else 0,
        bytes_pending=waits.bytes if waits else 0,
        alerts=(overdue_alert(waits),) if waits and waits.overdue else (),
        expiries=expiries,
        kit_rehearsed=rehearsed.opened if rehearsed else None,
    )


def _note_locks(vault: OpenVault, snapshots: Sequence[SnapshotInfo], newest: dict[str, SourceStatus]) -> None:
    """Add how far the last good snapshots before suspicious ones are locked."""
    known = locks(vault)
    sources = {info.id: info.source for info in snapshots}
    for good in {good for _, good in pins(snapshots)} & known.keys():
        lock, status = known[good], newest[sources[good]]
        newest[sources[good]] = replace(status, objects=lock.objects, locked=lock.locked, locked_until=lock.until)


def _room(root: str | None) -> tuple[int | None, int]:
    """Return free and total bytes of a local store's file system; None where a store does not tell."""
    if root is None:
        return None, 0
    try:
        found = os.statvfs(root)
    except OSError:
        return None, 0
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def source_facts(
    entries: Iterable[Entry], facts: VaultFacts, book: ScheduleBook, silent_days: int
) -> tuple[SourceFacts, ...]:
    """Return the facts about sources: those of this host's jobs with their objectives, others with their silence."""
    by_name = {source.name: source for source in facts.sources}
    found = []
    jobs = set()
    for entry in entries:
        if entry.kind != "backup":
            continue
        jobs.add(entry.job)
        source = by_name.get(entry.job)
        # The vault has the last word on what is in it; the book speaks where the vault cannot.
        good = book.last_good(entry.name) if facts.error else (source.last_good if source else None)
        found.append(SourceFacts(entry.job, good, entry.rpo_seconds, book.since(entry.name)))
    found += [
        SourceFacts(source.name, source.last_good, silent_seconds=silent_days * _DAY)
        for source in facts.sources
        if source.name not in jobs
    ]
    return tuple(found)


def start_facts(entries: Iterable[Entry], book: ScheduleBook, now: datetime) -> tuple[StartFacts, ...]:
    """Return, for each entry, whether its newest slot has begun."""
    newest = book.newest()
    found = []
    for entry in entries:
        if entry.slots is None:
            continue
        slot = due_slot(entry, book.recent(entry.name), newest, now, book.since(entry.name))
        if slot is not None:
            found.append(StartFacts(entry.name, slot, entry.grace_seconds + entry.jitter_seconds, started=False))
    return tuple(found)


def host_facts(
    settings: Settings, entries: Sequence[Entry], facts: VaultFacts, book: ScheduleBook, now: datetime
) -> list[Facts]:
    """Return the facts that can be known without the vault: objectives of jobs, starts, certificates."""
    watched: list[Facts] = [*source_facts(entries, facts, book, settings.monitoring.host_silent_days)]
    watched += start_facts(entries, book, now)
    watched += [
        ExpiryFacts(os.path.basename(path), "certificate", expires, settings.monitoring.expiry_days)
        for path in settings.monitoring.certificates
        if (expires := certificate_expiry(path)) is not None
    ]
    if settings.monitoring.drill_days:
        last = facts.drill_at or book.fact(DRILL_FACT)
        age = (now - last).total_seconds() / _DAY if last else None
        watched.append(ProofFacts("services", "drill", age, settings.monitoring.drill_days, facts.first_days))
    return watched


def certificate_expiry(path: str) -> datetime | None:
    """Return when a certificate (PEM) expires; the first of a chain counts. A file that cannot be read counts as expired."""
    from cryptography import x509

    try:
        with open(path, "rb") as file:
            return x509.load_pem_x509_certificate(file.read(_PEM_BYTES_MAX)).not_valid_after_utc
    except (OSError, ValueError):
        return datetime.fromtimestamp(0, UTC)


def vault_alerts(settings: Settings, facts: VaultFacts, book: ScheduleBook) -> tuple[Alert, ...]:
    """Return the alerts that only the vault can tell of. Call it only where its facts could be read."""
    watch = settings.monitoring
    found: list[Facts] = [CopyFacts("vault", facts.copies, watch.copies)]
    found += [ExpiryFacts(label, "key", expires, watch.expiry_days) for label, expires in facts.expiries]
    if facts.ages_days:
        oldest = _oldest(facts.ages_days)
        found.append(ProofFacts("vault", "verification", oldest, watch.verification_days, facts.first_days))
    if facts.free_bytes is not None:
        samples = book.room("vault")
        found.append(
            StoreFacts(
                "vault", facts.free_bytes, facts.total_bytes, samples, watch.store_full_days, watch.store_free_percent
            )
        )
    return (*endangered(found, facts.at), *facts.alerts)


def _oldest(ages: Sequence[float | None]) -> float | None:
    known = [age for age in ages if age is not None]
    return max(known) if known and len(known) == len(ages) else None


def _source_status(fact: SourceFacts, facts: VaultFacts, dangers: dict[str, str], now: datetime) -> SourceStatus:
    known = next((source for source in facts.sources if source.name == fact.name), None)
    base = known or SourceStatus(fact.name, fact.last_good, None, None, "unwatched")
    age = max(0.0, (now - fact.last_good).total_seconds()) if fact.last_good else None
    words = {"rpo-missed": "missed", "rpo-danger": "danger", "source-silent": "silent"}
    if fact.last_good is None:
        otherwise = "unknown" if facts.error else "never"
    else:
        otherwise = "ok" if fact.rpo_seconds is not None else "unwatched"
    verdict = words.get(dangers.get(fact.name, ""), otherwise)
    return replace(base, last_good=fact.last_good, age_seconds=age, rpo_seconds=fact.rpo_seconds, verdict=verdict)


def entry_status(entry: Entry, book: ScheduleBook, now: datetime) -> EntryStatus:
    """Return how an entry of the schedule stands."""
    runs = book.runs(entry.name, 1)
    done, failed, attempts = book.counts(entry.name)
    run = runs[0] if runs else None
    return EntryStatus(
        entry.name,
        entry.kind,
        run.state.value if run else "never",
        run.started if run else None,
        book.last_good(entry.name),
        run.next_at if run and run.state is RunState.WAITING else entry.slots.after(now) if entry.slots else None,
        run.attempt if run else 0,
        run.code if run else "",
        done,
        failed,
        attempts,
    )


def make_report(
    settings: Settings,
    entries: Sequence[Entry],
    facts: VaultFacts,
    book: ScheduleBook,
    alerts: Sequence[AlertRecord],
    now: datetime,
) -> StatusReport:
    """Return the report of all that is known."""
    seen = endangered(host_facts(settings, entries, facts, book, now), now)
    if not facts.error:
        seen += vault_alerts(settings, facts, book)
    by_source = {alert.subject: alert.code for alert in seen if alert.code.startswith(("rpo-", "source-"))}
    sources = source_facts(entries, facts, book, settings.monitoring.host_silent_days)
    named = {source.name for source in sources}
    sources += tuple(SourceFacts(job, None) for job in settings.jobs if job not in named)
    shown = tuple(_source_status(fact, facts, by_source, now) for fact in sources)
    lacking = any(source.verdict == "never" or source.partial or source.suspicious for source in shown)
    scheduler = book.fact(SERVICE_FACT)
    silent = bool(entries) and (scheduler is None or (now - scheduler).total_seconds() > SILENT_SECONDS)
    live = [record for record in alerts if record.state is not AlertState.RESOLVED]
    at_risk = sum(record.safety is Safety.AT_RISK for record in live)
    worst = any(alert.safety in (Safety.DEGRADED, Safety.AT_RISK) for alert in seen) or bool(at_risk)
    opened = sum(record.state is AlertState.OPEN for record in live)
    limit = float(settings.monitoring.verification_days)
    samples = book.room("vault")
    stores = () if facts.free_bytes is None else (
        StoreStatus("vault", facts.free_bytes, facts.total_bytes, days_until_full(samples)),
    )  # fmt: skip
    drill = facts.drill_at or book.fact(DRILL_FACT)
    return StatusReport(
        at=now,
        verdict="critical"
        if worst or facts.error
        else "attention"
        if seen or opened or lacking or silent or facts.packs_pending
        else "ok",
        vault=facts.vault,
        vault_error=facts.error,
        sources=shown,
        entries=tuple(entry_status(entry, book, now) for entry in entries),
        stores=stores,
        packs=len(facts.ages_days),
        packs_proved=sum(age is not None and age < limit for age in facts.ages_days),
        verified_oldest_days=_oldest(facts.ages_days),
        verified_within_days=limit,
        drill_days=(now - drill).total_seconds() / _DAY if drill else None,
        copies=0 if facts.error else facts.copies,
        copies_wanted=settings.monitoring.copies,
        packs_pending=facts.packs_pending,
        bytes_pending=facts.bytes_pending,
        alerts_open=opened,
        alerts_acknowledged=sum(record.state is AlertState.ACKNOWLEDGED for record in live),
        alerts_at_risk=at_risk,
        dangers=tuple(f"{alert.code} {alert.subject}" for alert in seen),
        scheduler_seen=scheduler,
        scheduler_silent=silent,
        kit_rehearsed=facts.kit_rehearsed,
    )
