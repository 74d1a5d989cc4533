"""What runs over several stores return: frozen values without names of files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.base.values import dataclass

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "CopyRepair",
    "CourierSet",
    "CourierStatus",
    "ExportResult",
    "Exposure",
    "ImportResult",
    "MigrateResult",
    "MoveRow",
    "Pending",
    "PolicyChecked",
    "PolicyExplained",
    "PolicyRow",
    "ReceiptResult",
    "RestorePlan",
    "StoreReading",
    "StoreWaiting",
    "ThawResult",
]

EXIT_PARTIAL, EXIT_DAMAGE, EXIT_STORE = 3, 4, 7


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """What is done with one data class, in force: the configuration over the healthcare defaults."""

    class_name: str
    copies: int
    stores: tuple[str, ...]
    """From the first day: the first `copies` of them hold each pack, the others stand in."""
    moves: tuple[str, ...]
    """Later stores, as sentences."""
    verify_seconds: int
    """Every copy is read back within so long by `holdfast verify --due`."""
    retain_seconds: int
    """No snapshot with files of the class is forgotten before it is so old."""
    level: int | None
    spool: bool


@dataclass(frozen=True, slots=True)
class PolicyChecked:
    """The verdict on a configuration's policies."""

    configured: bool
    """There are policies; without any, every pack stays on the home."""
    problems: tuple[str, ...]
    """Every fault, each as `key: sentence`."""

    @property
    def exit_code(self) -> int:
        """0 sound, 2 there are faults."""
        return 2 if self.problems else 0


@dataclass(frozen=True, slots=True)
class PolicyExplained:
    """Where a file or a class goes, and why."""

    class_name: str
    files: int
    """Files of the class in what was asked for; 0 if a class was asked for."""
    class_reason: str
    stores: tuple[str, ...]
    alternates: tuple[str, ...]
    """They stand in, in order, while one of `stores` is down."""
    store_reason: str
    moves: tuple[str, ...]
    allowed: tuple[str, ...]
    """The only stores that a pack of the class may ever lie on."""
    metadata: str
    """Names and structure, sealed, stay on this store."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """Older copies of files whose class rose since, on stores that the new class may not lie on."""

    source: str
    """The source's label, or the beginning of its id."""
    was: str
    """The class that they were stored in."""
    now: str
    """The class that they have now."""
    stores: tuple[str, ...]
    """Where such copies may lie."""
    files: int
    """The most of them in one snapshot."""
    bytes: int
    snapshots: tuple[str, ...]
    """The snapshots that need the copies: to forget these, and then prune, erases them."""


@dataclass(frozen=True, slots=True)
class StoreWaiting:
    """What waits for one store."""

    store: str
    packs: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Pending:
    """What is not yet on as many of its proper stores as its policy asks for, by this host's ledger."""

    packs: int
    bytes: int
    spooled_packs: int
    """Packs that lie in this host's spool and nowhere else: this host's disk is their only copy."""
    spooled_bytes: int
    spool_bytes_max: int
    oldest_seconds: float
    """How long the oldest of them waits; 0 if none does."""
    overdue: bool
    """It waits longer than `spool.alarm_seconds`."""
    stores: tuple[StoreWaiting, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 nothing waits, 3 something does."""
        return EXIT_PARTIAL if self.packs else 0


@dataclass(frozen=True, slots=True)
class MoveRow:
    """Packs of one class that move for one reason, taken together."""

    class_name: str
    reason: str
    copy_to: tuple[str, ...]
    delete_from: tuple[str, ...]
    packs: int
    bytes: int


@dataclass(frozen=True, slots=True)
class MigrateResult:
    """A migration that happened (or, after a dry run, would). Every snapshot is restorable at each moment of it."""

    dry_run: bool
    rows: tuple[MoveRow, ...]
    packs: int
    copied_bytes: int
    copies: int
    deleted: int
    """Old copies that were deleted."""
    retained: int
    """Old copies that their store does not delete yet (object lock)."""
    failed: int
    """Packs that could not be moved because a store failed: the next migration tries again."""
    later: int
    """Packs that did not fit into the budget."""
    later_bytes: int
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 done, 7 a store failed."""
        return EXIT_STORE if self.failed else 0


@dataclass(frozen=True, slots=True)
class CopyRepair:
    """What a repair of copies found, and healed from other copies."""

    dry_run: bool
    packs: int
    """Packs looked at."""
    missing: int
    """Copies that are missing or damaged, and that another copy can heal."""
    misplaced: int
    """Packs that lie on a store where their class may not lie."""
    healed: int
    failed: int
    lost: int
    """Packs of which no sound copy is known: `holdfast verify` names what rests on them."""
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 all copies are there, 4 packs without any sound copy, 7 a store failed."""
        return EXIT_DAMAGE if self.lost else EXIT_STORE if self.failed else 0


@dataclass(frozen=True, slots=True)
class StoreReading:
    """What a restore reads from one store."""

    store: str
    tier: str
    packs: int
    bytes: int
    requests: int
    thaw_packs: int
    """Packs that must be asked for before they can be read."""
    thaw_seconds: int
    seconds: float | None
    """The time that reading takes, without the thaw; None if the store's speed is not configured."""
    cost: float


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What a restore would read, from where, how long it takes and what it costs. Nothing is read for it but metadata."""

    snapshot: str
    packs: int
    bytes: int
    requests: int
    seconds: float | None
    """The longest thaw and all reading after it, one store after the other; None if a speed is not configured."""
    cost: float
    missing: int
    """Packs that no store has, as far as is known."""
    whole_snapshot: bool
    """The figures are of the whole snapshot: an upper bound if only a part is restored."""
    stores: tuple[StoreReading, ...] = ()

    @property
    def thaw_packs(self) -> int:
        """Packs that must be asked for first."""
        return sum(store.thaw_packs for store in self.stores)


@dataclass(frozen=True, slots=True)
class ThawResult:
    """Packs that were asked for, and how many can be read already."""

    asked: int
    thawing: int
    ready: int
    ready_after: datetime | None
    """About when all can be read; None if they can already."""

    @property
    def exit_code(self) -> int:
        """0 all can be read now, 3 not yet."""
        return EXIT_PARTIAL if self.asked or self.thawing else 0


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was written to a medium."""

    courier: str
    set: int
    medium: int
    objects: int
    """Objects of this medium, those that were there already included."""
    bytes: int
    left: int
    """Objects of the set that still need a medium: insert the next one and export again."""
    left_bytes: int
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 the set is complete, 3 another medium is needed."""
        return EXIT_PARTIAL if self.left else 0


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What was taken from a medium into the vault at the far side."""

    vault: str
    set: int
    medium: int
    objects: int
    new_objects: int
    bytes: int
    complete: bool
    """All media of the set are imported: a receipt was written."""
    receipt: str = ""
    """The name of the receipt's file on the medium."""
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 the set is complete, 3 more media are needed."""
        return 0 if self.complete else EXIT_PARTIAL


@dataclass(frozen=True, slots=True)
class ReceiptResult:
    """A receipt of the far side that was taken."""

    courier: str
    set: int
    objects: int
    bytes: int


@dataclass(frozen=True, slots=True)
class CourierSet:
    """One transfer set as this side knows it."""

    courier: str
    set: int
    made: datetime
    media: int
    objects: int
    bytes: int
    complete: bool
    received: datetime | None
    """When the far side's receipt was taken here."""


@dataclass(frozen=True, slots=True)
class CourierStatus:
    """What was exported, what was confirmed, and what the far side does not have yet."""

    sets: tuple[CourierSet, ...]
    waiting_objects: int
    """Objects in the vault that no complete set holds."""
    waiting_bytes: int
    unconfirmed_sets: int

    @property
    def exit_code(self) -> int:
        """0 everything is exported and confirmed, 3 not yet."""
        return EXIT_PARTIAL if self.waiting_objects or self.unconfirmed_sets else 0
