"""Check: the structure of a vault, as seen without any key to content.

Every control object's frame, place and signature; every sealed object's hash and signature; every name; every reference
from one object to another; presence and size of every pack that the index lists. With the index keys at hand (root) also
that each reference set can be read and each of its segments is listed. Pack hashes are read on demand.

What is wrong is a finding, never an exception: a check always goes through.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from holdfast.base.values import dataclass
from holdfast.errors import DamageError, HoldfastError, NotPermittedError, ObjectMissingError, VersionError
from holdfast.repository import names
from holdfast.repository.decisions import copied_bytes, is_kept, spoken_of
from holdfast.repository.home import UNKNOWN_SIGNER
from holdfast.repository.listing import Envelopes, read_envelopes
from holdfast.repository.marking import SetReader
from holdfast.repository.meanings import SIGNER, meaning_of
from holdfast.repository.missing import find_missing
from holdfast.repository.objects import SEALED_TYPES, parse_control, parse_sealed, sha256
from holdfast.repository.packs import PackTable, list_packs, read_packs
from holdfast.repository.refsets import Segments
from holdfast.repository.rounds import read_damaged, read_rounds
from holdfast.repository.superseded import superseded_keyrings, superseded_slots
from holdfast.repository.twins import ERASABLE, prove
from holdfast.repository.wraps import Attempts

if TYPE_CHECKING:
    from holdfast.repository.home import Home
    from holdfast.repository.repository import Repository


@dataclass(frozen=True, slots=True)
class CheckFinding:
    """One thing that is wrong. `kind` is stable; `text` is a sentence that names objects, never paths."""

    kind: str
    """`frame`, `twin`, `lost`, `superseded`, `foreign-name`, `snapshot`, `part`, `decision`, `refs`, `keyring`, `pack-missing`,
    `pack-size`, `pack-hash`, `index`, `signer`, `version`."""
    object: str
    text: str


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """What a check saw."""

    objects: int
    packs: int
    bytes: int
    snapshots: int
    findings: tuple[CheckFinding, ...]
    notes: tuple[str, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """The findings as sentences. Empty: sound."""
        return tuple(f.text for f in self.findings)


class _Check:
    """One check under way."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.home: Home = repository.home
        self.findings: list[CheckFinding] = []
        self.notes: list[str] = []
        self.objects = 0
        self.bytes = 0
        self.whole: dict[str, str] = {}
        """What opens the vault, and its twins, as far as it is as written: name to SHA-256."""
        self.spoilt: dict[str, DamageError] = {}
        """The rest of it."""
        self.unproved: Counter[str] = Counter()
        """Of each signer whose certificate, or joining, is there and cannot be read, how many objects nobody can prove."""
        self.counted: set[str] = set()
        """These objects."""
        ring = repository.keyring
        self.attempts = Attempts(self.home, [] if ring is None else [entry.id for entry in ring.writers])
        self.highest: dict[str, int] = {}
        """Of each row of numbers the highest that is whole, in either form."""

    def found(self, kind: str, name: str, text: str) -> None:
        self.findings.append(CheckFinding(kind, name, text))

    def objects_themselves(self) -> None:
        """Read every object but packs."""
        for info in self.home.store.list(""):
            self.objects += 1
            self.bytes += info.size
            if info.name.startswith(("data/", "meta/", "parity/", "probe/", "home/", "copy/", "member/")):
                continue
            if not names.is_known(info.name):
                self.found("foreign-name", info.name, f"object {info.name} has a name that is not the format's")
                continue
            self._read(info.name)
        self._kept_twice()
        for signer, count in sorted(self.unproved.items()):
            self.found(
                "signer",
                f"writer/{signer}",
                f"{count} objects are signed by {signer}, whose certificate is damaged: {SIGNER}",
            )

    def _read(self, name: str) -> None:
        try:
            data = self.home.store.get(name)
        except ObjectMissingError:
            return  # deleted meanwhile, by a forget or a prune
        twinned = names.is_twinned(names.untwinned(name))
        try:
            if twinned:
                prove(self.home, names.untwinned(name), data)
                self.whole[name] = sha256(data)
                if names.is_numbered(name):
                    row, _, number = names.untwinned(name).rpartition("/")
                    self.highest[row] = max(int(number), self.highest.get(row, -1))
            else:
                self.home.signer_of(name, data)
        except VersionError as error:
            self.found("version", name, error.what)
        except DamageError as error:
            if self.attempts.left(names.untwinned(name), data):
                self.notes.append(f"object {name} is left from an attempt to make a vault that was not finished")
            elif twinned:
                self.spoilt[name] = error
            elif error.what.endswith(UNKNOWN_SIGNER) and (signer := self._certified_once(name, data)):
                self.unproved[signer] += 1
                self.counted.add(name)
            else:
                self.found("frame", name, f"{error.what}: {meaning_of(name)}")

    def _certified_once(self, name: str, data: bytes) -> str:
        """Return who signed an object, if root certified him by what cannot be read now; empty if he is a stranger."""
        try:
            if name.split("/")[0] in SEALED_TYPES:
                signer = parse_sealed(data, name, self.home.vault_id).signer_name
            else:
                signer = parse_control(data, name, self.home.vault).signer
        except DamageError:
            return ""
        known = names.ID.fullmatch(signer) and next(iter(self.home.listed(f"writer/{signer}")), None)
        return signer if known else ""

    def _kept_twice(self) -> None:
        """Hold what opens the vault against its twins. Where one of the two is whole, nothing waits for a person."""
        once = 0
        for name in sorted({names.untwinned(each) for each in (*self.whole, *self.spoilt)}):
            twin = names.twin(name)
            if name in self.spoilt:
                kept = "; its twin counts, and `holdfast repair` puts it back"
                text = kept if twin in self.whole else f", and so is its twin, or it has none: {meaning_of(name)}"
                self.found("frame", name, self.spoilt[name].what + text)
            elif twin in self.spoilt:
                lost = " and the object itself is lost" if name not in self.whole else ""
                self.found("twin", name, f"the twin of object {name} is damaged{lost}; see `holdfast repair`")
            elif name not in self.whole:
                self._lost(name)
            elif twin not in self.whole:
                once += 1
            elif self.whole[name] != self.whole[twin]:
                self.found("twin", name, f"object {name} and its twin are not the same; see `holdfast repair`")
        if once:
            self.notes.append(
                f"{once} objects that open the vault are kept once only: `holdfast repair` keeps them twice"
            )

    def _lost(self, name: str) -> None:
        """Say that a twin alone is left, unless somebody made or withdrew a key meanwhile."""
        store = self.home.store
        if store.size(name) is not None or store.size(names.twin(name)) is None:
            return
        if self._is_left_over(name):
            text = f"the twin of object {name} is left over from a key that is no more; `holdfast repair` drops it"
            self.found("twin", name, text)
        else:
            self.found("twin", name, f"object {name} is lost; its twin counts, and `holdfast repair` puts it back")

    def _is_left_over(self, name: str) -> bool:
        """Return whether a twin alone is of a keyring or a grant below one that counts, or of a revoked holder's grant."""
        kind, _, rest = name.partition("/")
        if kind == "grant":
            certificate = self.home.certificate(rest.partition("/")[0])
            if certificate is not None and certificate.revoked:
                return True
        row, _, number = name.rpartition("/")
        return kind in ERASABLE and int(number) < self.highest.get(row, -1)

    def missing(self) -> None:
        """Name what the ledger and the keyring say must be there."""
        gone = find_missing(self.home, self.repository.keyring)
        for kind in gone.kinds:
            self.found("lost", kind, f"every object under {kind}/ is gone, and so are the twins: {meaning_of(kind)}")
        for wrap in gone.slots:
            text = f"the slot of key {wrap.id} is gone in both forms; `holdfast repair` seals the root key to it anew"
            self.found("lost", f"key/{wrap.body.slot}", text)
        for wrap in gone.forged:
            text = (
                f"the slot of key {wrap.id} is another than the ledger says; `holdfast repair` seals the root key anew"
            )
            self.found("frame", f"key/{wrap.body.slot}", text)
        for holder in gone.unrevoked:
            text = (
                f"credential {holder} was revoked, and no certificate says so any more: whoever uses it is refused here;"
                " `holdfast repair` says it anew"
            )
            self.found("lost", f"writer/{holder}", text)
        for holder in gone.uncertified:
            text = f"the certificate of {holder} is gone in both forms: {meaning_of('writer')}"
            self.found("lost", f"writer/{holder}", text)
        for holder in gone.ungranted:
            text = f"what root left for credential {holder} is gone in both forms; `holdfast repair` leaves it anew"
            self.found("lost", f"grant/{holder}", text)

    def superseded(self) -> None:
        """Name slots and keyrings that were taken away and are there again, or still: who has the old key opens them."""
        ring = self.repository.keyring
        old, unknown = superseded_slots(self.home, 0 if ring is None else ring.epoch)
        alone = {f.object for f in self.findings if f.kind == "twin"}
        for name in (*old, *(superseded_keyrings(self.repository) if ring is not None else ())):
            if name not in alone:
                self.found(
                    "superseded", name, f"object {name} is of keys that were taken back; `holdfast repair` drops it"
                )
        for name in unknown:
            text = (
                f"no entry of the key ledger names object {name}: its entry was lost, or somebody laid it there;"
                " put the entry back from a copy of the home, or drop the slot: `holdfast key rotate root`"
            )
            self.found("superseded", name, text)

    def keyrings(self) -> None:
        """Check that every keyring is the one that its name says. Needs the root key: an older one may stand under a newer name."""
        for number in self.home.numbers("keyring"):
            for name in (names.numbered("keyring", number), names.twin(names.numbered("keyring", number))):
                try:
                    found = self.repository.keyring_number(name)
                except (DamageError, VersionError, NotPermittedError):
                    continue  # found with the objects themselves, or nothing to be said without the key
                if found != number:
                    self.found("keyring", name, f"object {name} is keyring {found}: it was exchanged")

    def snapshots(self, envelopes: Envelopes) -> None:
        """Check that what every envelope names is there."""
        self.notes += envelopes.notes
        for problem in envelopes.problems:
            if problem.by_signer and self.unproved:
                continue  # the one finding for its signer counts it
            self.found("snapshot", f"snapshot/{problem.id}", problem.text)
        for snapshot in envelopes.committed:
            for part in snapshot.body.classes:
                if part.class_ in snapshot.dropped and part.class_ != snapshot.main:
                    continue
                name = names.part(snapshot.id, part.class_)
                try:
                    if self.home.read_sealed(name).sha != part.part:
                        self.found("part", name, f"object {name} is not the one that its snapshot names")
                except HoldfastError as error:
                    self.found("part", name, error.what)
                if part.class_ not in snapshot.dropped and self.home.store.size(f"refs/{part.refs}") is None:
                    self.found("refs", snapshot.id, f"snapshot {snapshot.id} lacks its reference set refs/{part.refs}")

    def decisions(self, envelopes: Envelopes) -> None:
        """Check that no decision is lost: each is kept twice, and a snapshot names the one that it followed."""
        decided = set(self.home.ids("decision"))
        kept = set(self.home.ids("committed"))
        forgotten = set(self.home.ids("forgotten"))
        lost = (kept - decided - forgotten) | {s.id for s in envelopes.committed if s.by_copy}
        for snapshot in sorted(lost):
            copied = copied_bytes(self.home, snapshot)
            if copied is not None:
                text = (
                    f"the decision of snapshot {snapshot} is lost; its copy counts, and `holdfast repair` puts it back"
                )
                self.found("decision", copied[0], text)
        writers = {s.id: s.writer for s in envelopes.committed}
        for snapshot in sorted(kept - lost - forgotten):
            if snapshot in writers and not is_kept(self.home, snapshot, writers[snapshot]):
                text = (
                    f"the copy of the decision of snapshot {snapshot} does not hold it; `holdfast repair` makes it anew"
                )
                self.found("decision", f"committed/{snapshot}", text)
        known = decided | kept | forgotten
        for snapshot in sorted(spoken_of(self.home) - known):
            text = f"snapshot {snapshot} was admitted, held or compared, and no decision of it is left: it was lost"
            self.found("decision", f"decision/{snapshot}", text)
        for follower in envelopes.committed:
            parent = follower.body.parent
            if parent and parent not in known:
                text = f"snapshot {follower.id} followed snapshot {parent}, of which no decision is left: it was lost"
                self.found("decision", f"decision/{parent}", text)

    def packs(self, table: PackTable, deleted: frozenset[str]) -> None:
        """Check presence and size of every pack."""
        for name, pack in sorted(table.packs.items()):
            size = table.stored.get(name)
            shown = names.pack(name, pack.record.kind)
            if size is None:
                self.found("pack-missing", shown, f"pack {name} is listed in the index and not in the store")
            elif size != pack.record.size:
                self.found("pack-size", shown, f"pack {name} has {size} bytes; the index says {pack.record.size}")
            if name in table.damaged:
                self.notes.append(f"pack {name} is known to be damaged")
        if table.unindexed - deleted:
            self.notes.append(f"{len(table.unindexed)} packs are in no index run: of a running or interrupted backup")

    def references(self, table: PackTable, envelopes: Envelopes) -> None:
        """Check that every segment of every snapshot is listed. Needs the index keys."""
        known = Segments.of([(r.origin, r.ordinal) for p in table.packs.values() for r in p.record.segments])
        reader = SetReader(self.repository)
        for snapshot in envelopes.committed:
            for part in snapshot.classes:
                try:
                    missing = len(reader.read(part.refs).minus(known))
                except NotPermittedError:
                    continue
                except HoldfastError as error:
                    self.found("refs", f"refs/{part.refs}", f"snapshot {snapshot.id}: {error.what}")
                    continue
                if missing:
                    text = f"snapshot {snapshot.id} needs {missing} segments that no index run lists"
                    self.found("index", snapshot.id, text)


def check(
    repository: Repository,
    *,
    read_packs_too: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> CheckOutcome:
    """Check the structure; with `read_packs_too` also that every pack's bytes hash to its name.

    `progress` is called with packs read and packs in all. Only store errors are raised.
    """
    run = _Check(repository)
    run.objects_themselves()
    run.missing()
    run.superseded()
    run.keyrings()
    envelopes = read_envelopes(repository.home)
    run.snapshots(envelopes)
    run.decisions(envelopes)
    deleted = read_rounds(repository.home).deleted
    sizes, kinds = list_packs(repository)
    broken: list[str] = []
    try:
        table = read_packs(repository, deleted, broken)
    except NotPermittedError:
        run.notes.append("the index was not read: its keys are not at hand")
    except DamageError as error:
        run.found("index", "index", error.what)
    else:
        for sha in (sha for sha in broken if f"index/{sha}" not in run.counted):
            run.found(
                "index", f"index/{sha}", f"index run {sha} cannot be read; the next prune or repair makes it anew"
            )
        run.packs(table, deleted)
        run.references(table, envelopes)
    if read_packs_too:
        known = read_damaged(repository.home)
        for name in scrub(repository, sizes, kinds, progress):
            known_text = " (known)" if name in known else ""
            run.found("pack-hash", names.pack(name, kinds[name]), f"pack {name} is damaged{known_text}")
    return CheckOutcome(
        run.objects, len(sizes), run.bytes, len(envelopes.committed), tuple(run.findings), tuple(run.notes)
    )


def scrub(
    repository: Repository,
    sizes: Iterable[str],
    kinds: dict[str, int],
    progress: Callable[[int, int], None] | None = None,
) -> Iterable[str]:
    """Read packs and yield those whose bytes do not hash to their name."""
    listed = sorted(sizes)
    for at, name in enumerate(listed):
        if sha256(repository.store.get(names.pack(name, kinds[name]))) != name:
            yield name
        if progress is not None:
            progress(at + 1, len(listed))
