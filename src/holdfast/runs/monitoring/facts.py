"""What a vault says of itself: its sources, the copies and proofs of each class's packs, the room in its stores, what expires.

Cheap, so that it can be asked every quarter of an hour: listings of small objects, this host's ledgers, one question to each
store. No pack is read and no store's packs are listed; `check` and `verify` do that.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from holdfast.base.data_classes import CLASS_NAMES
from holdfast.base.events import Alert
from holdfast.classes.policy import HOME
from holdfast.classes.routing import place
from holdfast.errors import DamageError, HoldfastError, StoreError
from holdfast.reliability.objectives import AHEAD_SECONDS_MAX
from holdfast.repository.home_copy import HEADER
from holdfast.repository.placed import PlacedStore
from holdfast.repository.rehearsals import last_rehearsal
from holdfast.repository.retention import pins, suspicious
from holdfast.repository.spool import SPOOL
from holdfast.repository.writers import list_writers
from holdfast.runs.ahead import ahead_alert, good_at, not_followed
from holdfast.runs.home_copies import copy_store
from holdfast.runs.ledger import Ledger
from holdfast.runs.locking import locks
from holdfast.runs.monitoring.report import SourceStatus
from holdfast.runs.pending import overdue_alert, pending
from holdfast.runs.trail import unsound_alert
from holdfast.runs.verify import LEDGER_FILE
from holdfast.stores.protocol import Room

if TYPE_CHECKING:
    from holdfast.engine import PackRow
    from holdfast.repository.placements import PackRow as PlacedPack
    from holdfast.repository.types import SnapshotInfo
    from holdfast.runs.assembly import OpenVault
    from holdfast.stores.protocol import Store

__all__ = ["VAULT_STORE", "ClassFacts", "StoreRoom", "VaultFacts", "unreadable", "vault_facts"]

VAULT_STORE = "vault"
"""What the store of the vault's home is called in facts, alerts and metrics."""
_DAY = 86400.0
_NAMED_MAX = 5


@dataclass(frozen=True, slots=True)
class ClassFacts:
    """The data packs of one class: on how many stores they are, and when they were proved."""

    name: str
    packs: int
    copies: int
    """Of the pack that has the fewest; a copy that is known to be bad is none."""
    copies_wanted: int
    """Of the pack that should have the most at its age."""
    lacking: int = 0
    """Packs with fewer copies than their policy asks for."""
    nowhere: int = 0
    """Packs without any sound copy, in no spool either."""
    oldest_days: float | None = None
    """How long ago the copy that waited longest was proved; None: some copy never was."""
    unproved_days: float = 0.0
    """How long ago the oldest pack was stored of which some copy was never proved."""
    within_days: float | None = None
    """Within how many days its policy wants every copy proved; None: no policy says."""


@dataclass(frozen=True, slots=True)
class StoreRoom:
    """The room in a store, as its protocol tells, or as a configured capacity leaves it beside what is counted there."""

    name: str
    free_bytes: int
    total_bytes: int


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
    rooms: tuple[StoreRoom, ...] = ()
    """Of each store that tells, or whose capacity is configured."""
    home_copies: int = 1
    """On how many stores the home's objects are."""
    classes: tuple[ClassFacts, ...] = ()
    """Of each data class that has packs."""
    drill_at: datetime | None = None
    """When a drill last passed."""
    drills: tuple[tuple[str, datetime], ...] = ()
    """Services with when a drill of each last passed."""
    alerts: tuple[Alert, ...] = ()
    """What others found in danger: lost snapshots, services whose drills are stale, packs that wait too long for a store."""
    packs_pending: int = 0
    """Packs that wait on this host because a store was down."""
    bytes_pending: int = 0
    expiries: tuple[tuple[str, datetime], ...] = ()
    """Credentials in force with when they end."""
    kit_rehearsed: datetime | None = None
    """When a recovery kit, or shares, last opened the vault."""
    audit_verified: datetime | None = None
    """When this host last verified its audit log; None: never, or it does not know."""
    audit_sound: bool = True
    """Whether it was sound then."""

    @property
    def copies(self) -> int:
        """On how many stores everything is: the home's objects and every data pack."""
        return min((each.copies for each in self.classes), default=self.home_copies) if not self.error else 0


def unreadable(error: HoldfastError, now: datetime) -> VaultFacts:
    """Return the facts of a vault that could not be opened or read."""
    return VaultFacts(now, error=error.code, alert=Alert.of(error, "vault"))


def vault_facts(vault: OpenVault, capacities: Mapping[str, int] | None = None) -> VaultFacts:
    """Read the facts. What stops it is an error in them, raised to nobody: a vault that is down is a fact too.

    `capacities` are bytes by store (`home` for the vault's own) that a site gives it: they go before what the protocol tells.
    """
    now = vault.env.now()
    try:
        snapshots, lost = vault.listing()
        sources = _sources(vault, snapshots, now)
        ledger = Ledger.load(vault.folder("ledger") / LEDGER_FILE)
        packs = vault.refresh_index().packs()
        waits = pending(vault)
        holders = list_writers(vault.repository)
        rehearsed = last_rehearsal(vault.repository.home)
        home_copies = _home_copies(vault)
        placed = vault.store.placements.rows() if isinstance(vault.store, PlacedStore) else ()
        classes = (
            _placed_classes(vault, placed) if isinstance(vault.store, PlacedStore) else _classes(packs, ledger, now)
        )
        rooms = tuple(_rooms(vault, packs, placed, capacities or {}))
    except HoldfastError as error:
        return unreadable(error, now)
    first = min((info.finished for info in snapshots), default=now)
    audit_verified, audit_sound = vault.trail.verified()
    return VaultFacts(
        at=now,
        vault=vault.vault_id,
        sources=sources,
        ages_days=tuple(ledger.age_days(row.name.hex(), now) for row in packs),
        first_days=max(0.0, (now - first).total_seconds() / _DAY),
        rooms=rooms,
        home_copies=home_copies,
        classes=classes,
        packs_pending=waits.packs if waits else 0,
        bytes_pending=waits.bytes if waits else 0,
        alerts=(
            *_lost_alert(lost),
            *_ahead_alerts(snapshots, now),
            *((overdue_alert(waits),) if waits and waits.overdue else ()),
            *(() if audit_sound else (unsound_alert(),)),
        ),
        expiries=tuple((w.label, w.expires) for w in holders if w.expires is not None and not w.revoked),
        kit_rehearsed=rehearsed.opened if rehearsed else None,
        audit_verified=audit_verified,
        audit_sound=audit_sound,
    )


def _lost_alert(lost: Sequence[str]) -> tuple[Alert, ...]:
    """Return the alert that snapshots are worth which were committed and cannot be read."""
    if not lost:
        return ()
    error = DamageError(
        f"{len(lost)} snapshots cannot be read: {', '.join(lost[:_NAMED_MAX])}",
        next="`holdfast check` says what is damaged; what is lost for good is forgotten by its whole id.",
    )
    return (Alert.of(error, "vault"),)


def _sources(vault: OpenVault, snapshots: Sequence[SnapshotInfo], now: datetime) -> tuple[SourceStatus, ...]:
    newest: dict[str, SourceStatus] = {}
    # What a clock that was ahead has made is newer than everything, and the newest of a source only if there is nothing else.
    for info in sorted(snapshots, key=lambda info: good_at(info, now) is not None):
        name = _named(info)
        before = newest.get(info.source)
        bad = suspicious(info)
        # What may be ransomware's work is no good backup until somebody releases it.
        good = (before.last_good if before else None) if bad else good_at(info, now)
        newest[info.source] = SourceStatus(
            name, good, max(0.0, (now - good).total_seconds()) if good else None, None, "unwatched",
            before.snapshots + 1 if before else 1, info.partial, info.findings, info.id,
            (before.suspicious if before else 0) + bad, tuple(sorted(part.class_name for part in info.classes)),
        )  # fmt: skip
    _note_locks(vault, snapshots, newest)
    return tuple(sorted(newest.values(), key=lambda source: source.name))


def _named(info: SnapshotInfo) -> str:
    name = info.label or info.source[:8]
    return f"{name}@{info.host}" if info.host and info.host != socket.gethostname() else name


def _ahead_alerts(snapshots: Sequence[SnapshotInfo], now: datetime) -> Iterable[Alert]:
    """Yield an alert for each source whose newest snapshots are of a time that has not come."""
    found: dict[str, list[SnapshotInfo]] = {}
    for info in not_followed(snapshots, now):
        found.setdefault(_named(info), []).append(info)
    return (ahead_alert(name, each, now) for name, each in found.items())


def _note_locks(vault: OpenVault, snapshots: Sequence[SnapshotInfo], newest: dict[str, SourceStatus]) -> None:
    """Add how far the last good snapshots before suspicious ones are locked."""
    known = locks(vault)
    sources = {info.id: info.source for info in snapshots}
    for good in {good for _, good in pins(snapshots)} & known.keys():
        lock, status = known[good], newest[sources[good]]
        newest[sources[good]] = replace(status, objects=lock.objects, locked=lock.locked, locked_until=lock.until)


def _home_copies(vault: OpenVault) -> int:
    """Return on how many stores the home's objects are: a copy counts that has every snapshot."""
    copy = copy_store(vault)
    if copy is None:
        return 1
    try:
        if copy.size(HEADER) is None:
            return 1
        there = {info.name for info in copy.list("snapshot/")}
        return 2 if there >= {info.name for info in vault.store.list("snapshot/")} else 1
    except StoreError:
        return 1


def _classes(packs: Iterable[PackRow], ledger: Ledger, now: datetime) -> tuple[ClassFacts, ...]:
    """Return the facts of a vault with one store: one copy of each pack, proved when this host's ledger says."""
    ages: dict[str, list[float | None]] = {}
    for row in packs:
        ages.setdefault(CLASS_NAMES.get(row.class_id, "unknown"), []).append(ledger.age_days(row.name.hex(), now))
    return tuple(ClassFacts(name, len(each), 1, 1, oldest_days=_oldest(each)) for name, each in sorted(ages.items()))


def _oldest(ages: Iterable[float | None]) -> float | None:
    """Return the greatest age; None if one is not known."""
    found = 0.0
    for age in ages:
        if age is None:
            return None
        found = max(found, age)
    return found


def _placed_classes(vault: OpenVault, rows: Iterable[PlacedPack]) -> tuple[ClassFacts, ...]:
    """Return the facts of a vault with several stores, by the placement ledger's word."""
    by_class: dict[str, list[PlacedPack]] = {}
    for row in rows:
        by_class.setdefault(row.class_name, []).append(row)
    return tuple(_placed_class(vault, name, each) for name, each in sorted(by_class.items()))


def _placed_class(vault: OpenVault, name: str, rows: Iterable[PlacedPack]) -> ClassFacts:
    store = vault.store
    assert isinstance(store, PlacedStore)  # noqa: S101 - only such a store has placements
    now = vault.env.now().timestamp()
    count = lacking = nowhere = wanted_most = 0
    least: int | None = None
    unproved = 0.0
    ages: list[float | None] = []
    for row in rows:
        age = 0.0 if row.stored_at is None else max(0.0, now - row.stored_at)
        restored = None if row.restored_at is None else max(0.0, now - row.restored_at)
        wanted = place(store.book, name, age_seconds=age, restored_ago=restored).copies
        sound = row.sound_on & (store.book.allowed(name) - {SPOOL})
        count += 1
        lacking += len(sound) < wanted
        nowhere += not row.sound_on
        wanted_most = max(wanted_most, wanted)
        least = len(sound) if least is None else min(least, len(sound))
        for copy in row.copies:
            proved = copy.verified_at
            if proved is not None and proved - now > AHEAD_SECONDS_MAX:
                proved = None
            if copy.store != SPOOL and proved is None:
                unproved = max(unproved, age / _DAY)
            if copy.store != SPOOL:
                ages.append(None if proved is None else max(0.0, now - proved) / _DAY)
    within = store.book.of(name).verify_seconds / _DAY
    return ClassFacts(name, count, least or 0, wanted_most, lacking, nowhere, _oldest(ages), unproved, within)


def _rooms(
    vault: OpenVault, packs: Iterable[PackRow], placed: Iterable[PlacedPack], capacities: Mapping[str, int]
) -> Iterable[StoreRoom]:
    """Yield the room of each store that tells; with a configured capacity, what is left of it beside the packs known there."""
    stores: Mapping[str, Store] = vault.store.stores if isinstance(vault.store, PlacedStore) else {HOME: vault.store}
    for name, store in stores.items():
        shown = VAULT_STORE if name == HOME else name
        total = capacities.get(name)
        if total is not None:
            used = sum(row.size for row in placed if any(copy.store == name for copy in row.copies))
            if name == HOME and not placed:
                used = sum(row.size for row in packs)
            yield StoreRoom(shown, max(0, total - used), total)
            continue
        room = _asked(store)
        if room is not None:
            yield StoreRoom(shown, room.free_bytes, room.total_bytes)


def _asked(store: Store) -> Room | None:
    """Ask a store; one that does not answer tells nothing here: others say that it is down."""
    try:
        return store.room()
    except StoreError:
        return None
