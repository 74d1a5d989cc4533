"""The status report: what one glance shows, what metrics are made of. Frozen values; no path anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

__all__ = ["ClassStatus", "EntryStatus", "SourceStatus", "StatusReport", "StoreStatus"]


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """A source of the vault, or one that a job should have made."""

    name: str
    """The job's name; `LABEL@HOST` for sources of other hosts."""
    last_good: datetime | None
    """When its newest good snapshot was finished."""
    age_seconds: float | None
    """How old that is."""
    rpo_seconds: float | None
    """How old it may be; null: nobody said."""
    verdict: str
    """`ok`, `danger` (most of the objective is used up), `missed`, `silent`, `unwatched`, `never` (nothing is stored yet),
    or `unknown`."""
    snapshots: int = 0
    """How many snapshots the vault has of it."""
    partial: bool = False
    """Whether the newest snapshot has findings."""
    findings: int = 0
    """How many."""
    snapshot: str = ""
    """Id of the newest snapshot."""
    suspicious: int = 0
    """Snapshots that look like ransomware's work and that nobody released: none of them counts as good."""
    classes: tuple[str, ...] = ()
    """The data classes of its newest snapshot."""
    copies: int | None = None
    """On how many stores every data pack of these classes is, at the least; null: nothing is known."""
    copies_wanted: int = 1
    """On how many their policies want them, at the most."""
    verified_oldest_days: float | None = None
    """How long ago the copy of these classes that waited longest was proved; null: one never was."""
    drill_days: float | None = None
    """How long ago a drill of its services last passed, of the one that waited longest; null: none is known."""
    alerts: int = 0
    """Alerts about it, its schedule and its services that are not resolved."""
    objects: int = 0
    """Objects of the last good snapshot before them; 0: this host extended no locks."""
    locked: int = 0
    """Objects among them that their stores keep until `locked_until`."""
    locked_until: datetime | None = None
    """Until when; null: no lock was extended."""


@dataclass(frozen=True, slots=True)
class EntryStatus:
    """An entry of the schedule."""

    name: str
    """Its name."""
    kind: str
    """What it does."""
    state: str
    """State of its newest run: `running`, `waiting`, `done`, `failed`, `skipped`; `never` if it never ran."""
    last_started: datetime | None
    """When its newest run began."""
    last_good: datetime | None
    """When a run of it last succeeded."""
    next_due: datetime | None
    """When it is due next; null if it follows others."""
    attempt: int = 0
    """How often its newest run was started."""
    code: str = ""
    """What stopped its newest run."""
    runs_done: int = 0
    """Runs that succeeded."""
    runs_failed: int = 0
    """Runs that failed for good."""
    attempts: int = 0
    """Starts, repeated ones too."""


@dataclass(frozen=True, slots=True)
class ClassStatus:
    """The data packs of one class."""

    name: str
    """The class."""
    packs: int
    """How many."""
    copies: int
    """On how many stores the one with the fewest sound copies is."""
    copies_wanted: int
    """On how many stores each should be."""
    lacking: int
    """Packs with fewer copies than their policy asks for."""
    verified_oldest_days: float | None
    """How long ago the copy that waited longest was proved; null: one never was."""
    verified_within_days: float
    """Within how many days every copy must be proved."""


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """Room in a store."""

    name: str
    """Its name."""
    free_bytes: int
    """Free."""
    total_bytes: int
    """Of so many."""
    full_in_days: float | None
    """When it will be full at its present growth; null: not in sight."""


@dataclass(frozen=True, slots=True)
class StatusReport:
    """How everything stands."""

    at: datetime
    """When this was seen."""
    verdict: str
    """`ok`; `attention`: something is in danger or waits for an answer; `critical`: an objective is missed, or worse."""
    vault: str
    """Id of the vault; empty if it could not be opened."""
    vault_error: str
    """Code of the error that kept the vault from being read; empty if none did."""
    sources: tuple[SourceStatus, ...] = ()
    """Every source."""
    entries: tuple[EntryStatus, ...] = ()
    """Every entry of the schedule."""
    stores: tuple[StoreStatus, ...] = ()
    """Every store whose room is known."""
    packs: int = 0
    """Packs of the vault."""
    packs_proved: int = 0
    """Packs that were read back and proved within the limit."""
    verified_oldest_days: float | None = None
    """How long ago the pack that waited longest was proved; null if one never was."""
    verified_within_days: float = 0.0
    """The limit."""
    drill_days: float | None = None
    """How long ago a drill last succeeded; null: none is known."""
    copies: int = 0
    """On how many stores everything is: the home's objects and every data pack."""
    copies_wanted: int = 1
    """On how many it must be, whatever its class."""
    classes: tuple[ClassStatus, ...] = ()
    """Every data class that has packs: its copies against its policy, its proofs."""
    packs_pending: int = 0
    """Packs that wait on this host because a store was down."""
    bytes_pending: int = 0
    """How much that is."""
    alerts_open: int = 0
    """Alerts that wait for an answer."""
    alerts_acknowledged: int = 0
    """Alerts that somebody took on."""
    alerts_at_risk: int = 0
    """Alerts, open or acknowledged, that say that something may be lost."""
    dangers: tuple[str, ...] = ()
    """The objectives in danger or missed, as `CODE SUBJECT`."""
    scheduler_silent: bool = False
    """Whether there is a schedule and no service that keeps it: nothing starts by itself, and nobody is told."""
    scheduler_seen: datetime | None = None
    """When the schedule's service last gave a sign of life; null: it never ran on this host."""
    nobody_told: bool = False
    """Whether there is a schedule and no contact: nobody hears of what fails."""
    kit_rehearsed: datetime | None = None
    """When a recovery kit, or shares, last opened the vault; null: never, or the vault cannot be read."""
    audit_verified: datetime | None = None
    """When this host last verified its audit log of the vault; null: never."""
    audit_sound: bool = True
    """Whether the log was sound then."""

    @property
    def exit_code(self) -> int:
        """0 all is well; 1 critical; 3 attention; 7 the vault could not be read."""
        if self.vault_error:
            return 7
        return {"ok": 0, "attention": 3}.get(self.verdict, 1)
