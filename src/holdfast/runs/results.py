"""What runs return: frozen values, safe to keep, compare and serialise. Paths appear only in findings and entries."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from holdfast.base.values import dataclass
from holdfast.governor.record import GovernorRecord
from holdfast.repository.retention import ForgetDecision, ForgetPlan, RetentionPolicy
from holdfast.repository.types import ClassPart, SnapshotInfo
from holdfast.runs.anomaly import Anomaly
from holdfast.sources.connectors.protocol import Evidence

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.base.events import Finding
    from holdfast.runs.tier_results import CopyRepair, RestorePlan

__all__ = [
    "Anomaly",
    "BackupResult",
    "BackupStats",
    "Change",
    "CheckReport",
    "ClassCount",
    "ClassPart",
    "ClassSpace",
    "DamagedPack",
    "DetectedCount",
    "EntryInfo",
    "Evidence",
    "ForgetDecision",
    "ForgetPlan",
    "ForgetResult",
    "FoundEntry",
    "PackRepair",
    "PruneResult",
    "RepairReport",
    "RepairResult",
    "RestoreResult",
    "RetentionPolicy",
    "SnapshotCost",
    "SnapshotInfo",
    "SnapshotSpace",
    "SourceSpace",
    "VaultStats",
    "VerifyReport",
]


@dataclass(frozen=True, slots=True)
class ClassCount:
    """Files and bytes of one data class."""

    class_id: int
    class_name: str
    files: int
    bytes: int
    new_bytes: int = 0
    stored_bytes: int = 0


@dataclass(frozen=True, slots=True)
class DetectedCount:
    """What one rule of the detectors recognised among new and changed files."""

    rule: str
    """The rule's word, such as `hl7v2`; see docs/classification.md."""
    files: int
    bytes: int
    raised: int
    """Files among them whose class it raised above what their path says."""


@dataclass(frozen=True, slots=True)
class BackupStats:
    """What a backup read and wrote. `new` … `removed` count entries against the previous snapshot of the source."""

    files: int = 0
    folders: int = 0
    bytes: int = 0
    new_bytes: int = 0
    """Plaintext bytes not stored before."""
    stored_bytes: int = 0
    """Bytes of all objects written to the store, control objects included."""
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    seconds: float = 0.0
    objects: int = 0
    classes: tuple[ClassCount, ...] = ()
    detected: tuple[DetectedCount, ...] = ()
    """What the first bytes of new and changed files showed, where a look could raise anything."""


@dataclass(frozen=True, slots=True)
class BackupResult:
    """A finished backup. `snapshot` is committed and durable; None only after a dry run."""

    snapshot: SnapshotInfo | None
    partial: bool
    stats: BackupStats
    findings: tuple[Finding, ...] = ()
    dry_run: bool = False
    recorded: bool = True
    """Whether the audit log has it. If not, the snapshot is as good as any, and somebody has to look after the log."""
    pending: int = 0
    """Packs that are not yet on as many of their stores as their policies ask for: `holdfast migrate` brings them there."""
    evidence: tuple[Evidence, ...] = ()
    """How each application of the job was captured, for how long it stood still, and what proves it."""
    governor: GovernorRecord | None = None
    """What the run used against what it was allowed, over time."""
    anomaly: Anomaly = field(default_factory=Anomaly)
    """How unlike the source's own history it is: signs of ransomware. A suspicious one is stored as any other, and pins."""

    @property
    def exit_code(self) -> int:
        """0 complete, 3 partial, pending, or not in the audit log."""
        return 3 if self.partial or self.pending or not self.recorded else 0


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """A finished restore. Whatever was written is verified; what could not be restored is a finding."""

    snapshot: str
    files: int
    folders: int
    bytes: int
    skipped: int
    """Entries left as they were by the overwrite rule."""
    seconds: float
    findings: tuple[Finding, ...] = ()
    classes_missing: int = 0
    """Classes of the snapshot whose key this vault was opened without."""
    dry_run: bool = False
    damaged: bool = False
    """Some content is damaged in the vault: exit code 4."""
    plan: RestorePlan | None = None
    """After a dry run: what would be read from which store, in what time and at what cost."""
    governor: GovernorRecord | None = None
    """What the run used against what it was allowed, over time."""

    @property
    def partial(self) -> bool:
        """Whether anything selected is missing from the result."""
        return bool(self.findings) or self.classes_missing > 0

    @property
    def exit_code(self) -> int:
        """0 complete, 3 partial, 4 damage."""
        return 4 if self.damaged else 3 if self.partial else 0


@dataclass(frozen=True, slots=True)
class DamagedPack:
    """A pack that cannot be relied on, and what it costs."""

    pack: str
    reason: str
    """`missing`, `hash`, `size`, `segment`, …"""
    class_name: str
    snapshots: tuple[str, ...] = ()
    """Those that lose something by it."""
    files: int = 0
    """Distinct file versions that do not come back; -1 if not counted: for want of a key, or of a part that names the tree."""
    paths: tuple[bytes, ...] = ()
    """The files, at most a thousand: only with permission to show paths."""
    key_missing: bool = False
    """The files were not counted for want of a key."""
    bytes: int = 0
    """Bytes of these files, lost or not: what is sound of a file comes back as `NAME.damaged`."""
    unnamed: int = 0
    """Entries whose names are lost, because they stand in parts of trees that were in this pack."""
    segments_lost: int = 0
    """Segments of it that no sound copy is left of; without a key, or while a store is away, all of them."""
    needed_by: int = 0
    """Snapshots that need anything in it, lost or sound."""


@dataclass(frozen=True, slots=True)
class SnapshotCost:
    """What one data class of a snapshot loses by damaged packs."""

    snapshot: str
    class_name: str
    files: int
    """Files that do not come back whole; -1 if not counted, as in :class:`DamagedPack`."""
    paths: tuple[bytes, ...] = ()
    """The files, unlisted ones too, at most a thousand: only with permission to show paths."""
    bytes: int = 0
    """Bytes of these files, lost or not."""
    unnamed: int = 0
    """Entries of all kinds whose names are lost."""
    unnamed_bytes: int = 0
    """Bytes of files among them."""
    unlisted: int = 0
    """Further files that do not come back now, because no index run lists what they need: `holdfast repair index`."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Structure of the vault, seen without content keys: frames, signatures, references, presence and size of packs."""

    objects: int
    packs: int
    bytes: int
    snapshots: int
    problems: tuple[str, ...] = ()
    """Sentences that name objects, never paths. Empty: sound."""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    damaged: tuple[DamagedPack, ...] = ()
    """Packs that are missing, of another size than the index says, or known to be damaged, and what they cost."""
    costs: tuple[SnapshotCost, ...] = ()
    """The same by snapshot and class."""

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong. A damaged pack that no snapshot needs costs nothing."""
        return not self.problems and not any(pack.needed_by for pack in self.damaged)

    @property
    def exit_code(self) -> int:
        """0 sound, 4 damage."""
        return 0 if self.sound else 4


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a verification read and found. Every byte of `packs` packs was read and matched, but for `damaged`."""

    packs: int
    packs_total: int
    bytes: int
    segments: int
    """Segments decrypted and whose chunk ids were recomputed (needs the class's key); 0 for a scrub without keys."""
    damaged: tuple[DamagedPack, ...] = ()
    problems: tuple[str, ...] = ()
    """Damage outside packs: control objects, index, trees, reference sets."""
    oldest_days: float | None = None
    """Days since the pack that waited longest was last verified, after this run; None if one never was."""
    damaged_list: str = ""
    """Name of the `damaged/N` object written for writers, if any."""
    seconds: float = 0.0
    classes_missing: int = 0
    copies: int = 0
    """Further copies of these packs, on other stores, that were read and hashed."""
    cold: int = 0
    """Packs that were not read because every copy must be thawed first."""
    left: int = 0
    """Packs that were to be read and were not, because the budget was spent: the next run begins with them."""
    parity: int = 0
    """Parity objects that were read and hashed."""
    parity_bytes: int = 0
    """Bytes that were read for it: of the parity objects, and of packs to hold new ones against them."""
    sets_compared: int = 0
    """Reference sets that were compared with their trees now; what was compared before is not compared again."""
    runs_countersigned: int = 0
    """Index runs that the other writers of their writer's group may deduplicate against from now on."""
    governor: GovernorRecord | None = None
    """What the run used against what it was allowed, over time."""
    costs: tuple[SnapshotCost, ...] = ()
    """What `damaged` costs, by snapshot and class."""

    @property
    def sound(self) -> bool:
        """Whether no damage was found."""
        return not self.damaged and not self.problems

    @property
    def exit_code(self) -> int:
        """0 sound, 3 classes left out for want of a key, 4 damage."""
        return 4 if not self.sound else 3 if self.classes_missing else 0


@dataclass(frozen=True, slots=True)
class ForgetResult:
    """A forget that happened (or, after a dry run, would)."""

    plan: ForgetPlan
    forgotten: tuple[str, ...]
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class PruneResult:
    """What a prune step did. Space comes back in two phases: `phase` says which one was reached."""

    phase: str
    """`nothing`, `condemned`, `waiting`, `closed`, `dry-run`."""
    round: int | None
    packs_live: int = 0
    packs_condemned: int = 0
    packs_repacked: int = 0
    packs_deleted: int = 0
    bytes_condemned: int = 0
    bytes_deleted: int = 0
    sessions_waiting: int = 0
    """Sessions that neither acknowledged nor ended: they hold the round up unless revoked."""
    sessions_revoked: int = 0
    delete_after: datetime | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RepairResult:
    """What a repair of the index did, or would do."""

    dry_run: bool
    packs_read: int
    """Packs that no readable index run listed."""
    packs_listed: int
    """Packs listed again. With `dry_run`, none."""
    packs_damaged: int
    """Packs that could not be listed: `verify` names what rests on them."""
    runs_put: int
    runs_dropped: int
    """Index runs that could not be read, and were replaced."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class PackRepair:
    """One pack of which no sound copy is where it should be, and how it comes back."""

    pack: str
    reason: str
    """`missing` or `hash`."""
    source: str
    """`parity`; or empty if nothing brings it back."""
    done: bool = False


@dataclass(frozen=True, slots=True)
class RepairReport:
    """A repair of everything, or after a dry run what it would do. What nothing brings back is named, and never deleted."""

    dry_run: bool
    index: RepairResult
    packs_read: int
    packs: tuple[PackRepair, ...] = ()
    """Every pack that was damaged or missing."""
    lost: tuple[DamagedPack, ...] = ()
    """Packs beyond repair and what they cost: they stay as they are, listed; what is sound in them is still restored."""
    costs: tuple[SnapshotCost, ...] = ()
    """The same by snapshot and class."""
    decisions: int = 0
    """Decisions of snapshots that were lost and are back from their copies, and copies that were made anew."""
    decisions_lost: int = 0
    """Those of them that were lost."""
    opening_lost: int = 0
    """Objects that open the vault (header, key slots, keyrings, certificates, …) that were lost or damaged, and are mended."""
    opening_kept: int = 0
    """Objects of these kinds of which a second form was missing or damaged, and was made."""
    leftovers: int = 0
    """Damaged objects of runs that have ended, cleared away."""
    cleared: tuple[str, ...] = ()
    """Objects that verify for nobody, cleared away because that was asked for by their names."""
    parity_groups: int = 0
    """Parity groups made, or to be made."""
    parity_damaged: int = 0
    """Parity objects that were damaged; their groups were made anew."""
    unprotected: int = 0
    """Packs that had no parity and want it."""
    copies: CopyRepair | None = None
    """What was done about copies on several stores; None with a single store."""
    damaged_list: str = ""
    """Name of the `damaged/N` object that tells writers what is lost, if it changed."""
    catalog: str = ""
    """`current`, `rebuilt`, or empty if there was no key to read it with."""
    problems: tuple[str, ...] = ()
    """What could not be done and what a check found afterwards, as sentences; with `dry_run` what a check finds now."""
    seconds: float = 0.0

    @property
    def healed(self) -> int:
        """Packs that are whole again."""
        return sum(pack.done for pack in self.packs)

    @property
    def exit_code(self) -> int:
        """0 all is whole; 4 something is damaged: after a dry run also what a repair would bring back."""
        left = [pack for pack in self.packs if not pack.done]
        lost_copies = self.copies is not None and self.copies.exit_code != 0
        small = self.decisions_lost + self.opening_lost + self.leftovers
        to_mend = self.dry_run and (self.index.runs_dropped or small or self.parity_damaged)
        return 4 if left or self.lost or self.problems or lost_copies or self.index.packs_damaged or to_mend else 0


@dataclass(frozen=True, slots=True)
class ClassSpace:
    """Space of one data class."""

    class_id: int
    class_name: str
    packs: int
    pack_bytes: int
    segments: int
    plain_bytes: int


@dataclass(frozen=True, slots=True)
class SourceSpace:
    """Space of one source: what its snapshots need together, and what only they need."""

    source: str
    label: str
    snapshots: int
    stored_bytes: int
    exclusive_bytes: int


@dataclass(frozen=True, slots=True)
class SnapshotSpace:
    """Space of one snapshot: what it needs, and what forgetting it alone would free."""

    snapshot: str
    stored_bytes: int
    exclusive_bytes: int


@dataclass(frozen=True, slots=True)
class VaultStats:
    """Where the space goes. Sizes are bytes as stored, from the index and the reference sets: no content is read."""

    objects: int
    bytes: int
    snapshots: int
    classes: tuple[ClassSpace, ...] = ()
    sources: tuple[SourceSpace, ...] = ()
    by_snapshot: tuple[SnapshotSpace, ...] = ()
    unreferenced_bytes: int = 0


@dataclass(frozen=True, slots=True)
class EntryInfo:
    """A file, folder or other entry of a snapshot."""

    path: bytes
    kind: str
    """`file`, `folder`, `symlink`, `fifo`, `char-device`, `block-device`."""
    size: int
    mode: int
    uid: int
    gid: int
    user: str
    group: str
    mtime_ns: int
    class_id: int
    target: bytes = b""
    """Where a symlink points."""


@dataclass(frozen=True, slots=True)
class FoundEntry:
    """A version of an entry and where it is: the same from snapshot `first` to `snapshot`, the newest that has it.

    It comes from the catalog, which keeps neither modes nor owners: `mode` is 0, `uid` and `gid` are -1.
    """

    snapshot: str
    finished: datetime
    entry: EntryInfo
    first: str = ""
    snapshots: int = 1
    """How many snapshots have this version."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two snapshots."""

    kind: str
    """`added`, `removed`, `changed` (content), `metadata`."""
    path: bytes
    before: EntryInfo | None = None
    after: EntryInfo | None = None
