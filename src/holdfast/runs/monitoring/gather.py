"""Facts, gathered: from the vault, the schedule's book, the alert book and the files of certificates; and the report of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from holdfast.base.calendar import next_opening
from holdfast.base.events import Alert
from holdfast.classes.policy import HOME
from holdfast.config import Settings
from holdfast.config.checks import nobody_told
from holdfast.config.objectives import rpo_of
from holdfast.errors import Safety
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
from holdfast.runs.monitoring.facts import VAULT_STORE, ClassFacts, VaultFacts
from holdfast.runs.monitoring.report import ClassStatus, EntryStatus, SourceStatus, StatusReport, StoreStatus
from holdfast.runs.schedule.decide import blocked, due_slot, newest_run
from holdfast.runs.schedule.records import Entry, RunState

if TYPE_CHECKING:
    from holdfast.runs.schedule.book import ScheduleBook

__all__ = [
    "DRILL_FACT",
    "SERVICE_FACT",
    "capacities",
    "certificate_expiry",
    "certificate_files",
    "entry_status",
    "host_facts",
    "make_report",
    "source_facts",
    "start_facts",
    "vault_alerts",
]

SERVICE_FACT = "service"
SILENT_SECONDS = 900.0
"""A service of the schedule that was not seen for so long starts nothing and tells nobody."""
DRILL_FACT = "drill"
"""The fact under which a finished drill is noted in the schedule's book."""
_DAY = 86400.0
_UNSCHEDULED = "job:"
"""What a job is called in the schedule's book that the schedule does not start."""
_SEEN = "source:"
"""What a source without a good snapshot is called there: its silence counts from when it was first seen."""
_PEM_BYTES_MAX = 1 << 20


def source_facts(
    settings: Settings, entries: Iterable[Entry], facts: VaultFacts, book: ScheduleBook
) -> tuple[SourceFacts, ...]:
    """Return the facts about sources: those of this host's jobs with their objectives, others with their silence.

    A job that something else starts (a timer, a person) has its objective all the same.
    """
    by_name = {source.name: source for source in facts.sources}
    found: dict[str, SourceFacts] = {}
    for entry in entries:
        if entry.kind != "backup" or entry.job in found:
            continue
        source = by_name.get(entry.job)
        # The vault has the last word on what is in it; the book speaks where the vault cannot.
        good = book.last_good(entry.name) if facts.error else (source.last_good if source else None)
        found[entry.job] = SourceFacts(entry.job, good, entry.rpo_seconds, book.since(entry.name))
    for job in settings.jobs:
        rpo = rpo_of(settings, job)
        if job in found or rpo is None:
            continue
        source = by_name.get(job)
        # Nobody but the vault knows of such a job: while it cannot be read, nothing is said of its age.
        since = None if facts.error else book.since(f"{_UNSCHEDULED}{job}")
        found[job] = SourceFacts(job, source.last_good if source else None, rpo, since)
    silent = settings.monitoring.host_silent_days * _DAY
    others = (
        SourceFacts(
            each.name,
            each.last_good,
            silent_seconds=silent,
            watched_since=None if each.last_good else book.since(f"{_SEEN}{each.name}"),
        )
        for each in facts.sources
        if each.name not in found
    )
    return (*found.values(), *others)


def start_facts(entries: Iterable[Entry], book: ScheduleBook, now: datetime) -> tuple[StartFacts, ...]:
    """Return, for each entry, whether its newest slot has begun; also of those that follow others, once nothing holds them."""
    newest = book.newest()
    due: list[tuple[Entry, datetime]] = []
    for entry in entries:
        slot = due_slot(entry, book.recent(entry.name), newest, now, book.since(entry.name))
        if slot is not None:
            due.append((entry, slot if entry.slots is not None else next_opening(entry.windows, slot, entry.zone)))
    pending = frozenset(entry.name for entry, _ in due)
    return tuple(
        StartFacts(entry.name, slot, entry.grace_seconds + entry.jitter_seconds, started=False)
        for entry, slot in due
        if entry.slots is not None or not blocked(entry, newest, pending)
    )


def host_facts(
    settings: Settings, entries: Sequence[Entry], facts: VaultFacts, book: ScheduleBook, now: datetime
) -> list[Facts]:
    """Return the facts that can be known without the vault: objectives of jobs, starts, certificates."""
    watched: list[Facts] = [*source_facts(settings, entries, facts, book)]
    watched += start_facts(entries, book, now)
    watched += [
        ExpiryFacts(name, "certificate", certificate_expiry(path, newest=trusted), settings.monitoring.expiry_days)
        for name, path, trusted in certificate_files(settings)
    ]
    if settings.monitoring.drill_days:
        last = facts.drill_at or book.fact(DRILL_FACT)
        age = (now - last).total_seconds() / _DAY if last else None
        watched.append(ProofFacts("services", "drill", age, settings.monitoring.drill_days, facts.first_days))
    return watched


def certificate_files(settings: Settings) -> Iterator[tuple[str, str, bool]]:
    """Yield the certificates that the configuration names: what each is called, its file, and whether it holds authorities.

    A file of authorities is no good any more when the last of them expires, one of our own certificates when the first does.
    """
    for path in settings.monitoring.certificates:
        yield os.path.basename(path), path, False
    tables: Mapping[str, Mapping[str, object]] = {
        "stores": settings.stores,
        "channels": settings.channels,
        "collectors": settings.collectors,
    }
    for table, rows in tables.items():
        for name, row in rows.items():
            for option, trusted in (("ca_file", True), ("certificate", False)):
                file = getattr(row, option, None)
                if file:
                    yield f"{table}.{name}.{option}", file, trusted
    if settings.telemetry.ca_file:
        yield "telemetry.ca_file", settings.telemetry.ca_file, True


def certificate_expiry(path: str, *, newest: bool = False) -> datetime:
    """Return when a certificate (PEM) expires: the first of a chain, or the `newest` of several authorities.

    A file that cannot be read, or is none, counts as expired.
    """
    from cryptography import x509

    try:
        with open(path, "rb") as file:
            found = x509.load_pem_x509_certificates(file.read(_PEM_BYTES_MAX))
        ends = [each.not_valid_after_utc for each in found]
        return max(ends) if newest else ends[0]
    except (OSError, ValueError, IndexError):
        return datetime.fromtimestamp(0, UTC)


def capacities(settings: Settings) -> dict[str, int]:
    """Return the configured capacity of each store that has one, by the name that policies use."""
    home = settings.vault.url.removeprefix("store:") if settings.vault.url.startswith("store:") else ""
    return {
        HOME if name == home else name: store.capacity_bytes
        for name, store in settings.stores.items()
        if store.capacity_bytes is not None
    }


def vault_alerts(settings: Settings, facts: VaultFacts, book: ScheduleBook) -> tuple[Alert, ...]:
    """Return the alerts that only the vault can tell of. Call it only where its facts could be read."""
    watch = settings.monitoring
    found: list[Facts] = [CopyFacts(VAULT_STORE, facts.home_copies, watch.copies)]
    for each in facts.classes:
        wanted = max(each.copies_wanted, watch.copies)
        lacking = each.packs if each.copies_wanted < watch.copies else each.lacking
        if lacking:
            found.append(CopyFacts(each.name, each.copies, wanted, lacking, lost=bool(each.nowhere)))
        found += _class_proof(each)
    found += [ExpiryFacts(label, "key", expires, watch.expiry_days) for label, expires in facts.expiries]
    if facts.ages_days:
        oldest = _oldest(facts.ages_days)
        found.append(ProofFacts("vault", "verification", oldest, watch.verification_days, facts.first_days))
    found += [
        StoreFacts(
            room.name, room.free_bytes, room.total_bytes, book.room(room.name), watch.store_full_days, watch.store_free_percent
        )
        for room in facts.rooms
    ]  # fmt: skip
    return (*endangered(found, facts.at), *facts.alerts)


def _class_proof(each: ClassFacts) -> Iterator[Facts]:
    """Yield how old the proof of a class's copies is, where a policy says how old it may be."""
    if each.within_days is not None:
        yield ProofFacts(each.name, "verification", each.oldest_days, each.within_days, each.unproved_days)


def _oldest(ages: Sequence[float | None]) -> float | None:
    known = [age for age in ages if age is not None]
    return max(known) if known and len(known) == len(ages) else None


def _source_status(
    fact: SourceFacts,
    settings: Settings,
    facts: VaultFacts,
    seen: Sequence[Alert],
    live: Sequence[AlertRecord],
    now: datetime,
) -> SourceStatus:
    known = next((source for source in facts.sources if source.name == fact.name), None)
    base = known or SourceStatus(fact.name, fact.last_good, None, None, "unwatched")
    age = max(0.0, (now - fact.last_good).total_seconds()) if fact.last_good else None
    words = {"rpo-missed": "missed", "rpo-danger": "danger", "source-silent": "silent"}
    codes = {alert.subject: alert.code for alert in seen if alert.code in words}
    if fact.last_good is None:
        otherwise = "unknown" if facts.error else "never"
    else:
        otherwise = "ok" if fact.rpo_seconds is not None else "unwatched"
    classes = [each for each in facts.classes if each.name in base.classes]
    drilled = [at for name, at in facts.drills if (settings.services[name].source or name) == fact.name]
    names = {fact.name, *(name for name, entry in settings.schedule.items() if entry.job == fact.name)}
    names |= {name for name, service in settings.services.items() if (service.source or name) == fact.name}
    return replace(
        base,
        last_good=fact.last_good,
        age_seconds=age,
        rpo_seconds=fact.rpo_seconds,
        verdict=words.get(codes.get(fact.name, ""), otherwise),
        # Without a data pack of its own, its content lies in packs of metadata, on the home.
        copies=min((each.copies for each in classes), default=facts.home_copies if known is not None else None),
        copies_wanted=max((each.copies_wanted for each in classes), default=1),
        verified_oldest_days=_oldest([each.oldest_days for each in classes] if classes else facts.ages_days),
        drill_days=(now - min(drilled)).total_seconds() / _DAY if drilled else None,
        alerts=sum(record.subject in names for record in live),
    )


def _class_status(each: ClassFacts, settings: Settings) -> ClassStatus:
    within = float(settings.monitoring.verification_days) if each.within_days is None else each.within_days
    wanted = max(each.copies_wanted, settings.monitoring.copies)
    return ClassStatus(each.name, each.packs, each.copies, wanted, each.lacking, each.oldest_days, within)


def entry_status(entry: Entry, book: ScheduleBook, now: datetime) -> EntryStatus:
    """Return how an entry of the schedule stands."""
    newest = newest_run(book.recent(entry.name), now)
    runs = (newest,) if newest is not None else book.runs(entry.name, 1)
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
    sources = source_facts(settings, entries, facts, book)
    named = {source.name for source in sources}
    sources += tuple(SourceFacts(job, None) for job in settings.jobs if job not in named)
    live = [record for record in alerts if record.state is not AlertState.RESOLVED]
    shown = tuple(_source_status(fact, settings, facts, seen, live, now) for fact in sources)
    lacking = any(source.verdict == "never" or source.partial or source.suspicious for source in shown)
    scheduler = book.fact(SERVICE_FACT)
    silent = bool(entries) and (scheduler is None or (now - scheduler).total_seconds() > SILENT_SECONDS)
    at_risk = sum(record.safety is Safety.AT_RISK for record in live)
    worst = any(alert.safety in (Safety.DEGRADED, Safety.AT_RISK) for alert in seen) or bool(at_risk)
    opened = sum(record.state is AlertState.OPEN for record in live)
    limit = float(settings.monitoring.verification_days)
    stores = tuple(
        StoreStatus(room.name, room.free_bytes, room.total_bytes, days_until_full(book.room(room.name)))
        for room in facts.rooms
    )
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
        copies=min(facts.copies, facts.home_copies) if not facts.error else 0,
        copies_wanted=settings.monitoring.copies,
        classes=tuple(_class_status(each, settings) for each in facts.classes),
        packs_pending=facts.packs_pending,
        bytes_pending=facts.bytes_pending,
        alerts_open=opened,
        alerts_acknowledged=sum(record.state is AlertState.ACKNOWLEDGED for record in live),
        alerts_at_risk=at_risk,
        dangers=tuple(f"{alert.code} {alert.subject}" for alert in seen),
        scheduler_seen=scheduler,
        scheduler_silent=silent,
        nobody_told=nobody_told(settings),
        kit_rehearsed=facts.kit_rehearsed,
        audit_verified=facts.audit_verified,
        audit_sound=facts.audit_sound,
    )
