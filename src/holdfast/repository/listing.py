"""Which snapshots exist (docs/format/protocol.md), and what their envelopes and sealed parts say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from holdfast.base.data_classes import class_rank
from holdfast.base.values import dataclass
from holdfast.errors import DamageError, HoldfastError, NotPermittedError, ObjectMissingError
from holdfast.repository import names
from holdfast.repository.bodies import AdmissionBody, DroppedBody, EnvelopeBody, EnvelopeClass
from holdfast.repository.decisions import Verdict, is_forgotten, outcome, owner_of
from holdfast.repository.holds import HoldState, read_holds
from holdfast.repository.home import Home
from holdfast.repository.hpke import part_info
from holdfast.repository.objects import b64, canonical, damaged, parse_canonical, unb64, unseal
from holdfast.repository.retention import counted_times
from holdfast.repository.roles import PRUNE, WRITE, may
from holdfast.repository.types import ClassPart, PartFinding, SealedPart, SnapshotInfo

if TYPE_CHECKING:
    from holdfast.repository.repository import Repository

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Committed:
    """A snapshot's verified envelope."""

    id: str
    sha: str
    writer: str
    body: EnvelopeBody
    dropped: frozenset[int] = frozenset()
    """Classes of it that were forgotten."""
    by_copy: bool = False
    """Its decision is lost or damaged; the copy of it says that it committed."""

    @property
    def classes(self) -> tuple[EnvelopeClass, ...]:
        """What it still has."""
        return tuple(c for c in self.body.classes if c.class_ not in self.dropped)

    @property
    def main(self) -> int:
        """The class whose part says what concerns the whole snapshot; 0 if it has none."""
        return min((c.class_ for c in self.body.classes), key=class_rank, default=0)


@dataclass(frozen=True, slots=True)
class Problem:
    """A snapshot that was committed, or may have been, and cannot be read as it was written."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Envelopes:
    """All snapshots of a vault: those that are readable, and those that are not."""

    committed: tuple[Committed, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()


def read_envelopes(home: Home) -> Envelopes:
    """Return every snapshot that exists. Needs no class key.

    What it cannot decide for certain is a problem, never silently left out: pruning stops at the first one.
    """
    tombstones = set(home.ids("forgotten"))
    dropped = read_dropped(home)
    committed, problems, notes = [], [], []
    kinds = ("snapshot", "decision", "committed")
    for snapshot in sorted({snapshot for kind in kinds for snapshot in home.ids(kind)}):
        if snapshot in tombstones and is_forgotten(home, snapshot):
            continue
        found = _read_one(home, snapshot, tombstone=snapshot in tombstones)
        if isinstance(found, Problem):
            # Its tombstone stands before its envelope goes: who forgot it while this was read is no problem.
            if snapshot in tombstones or not is_forgotten(home, snapshot):
                problems.append(found)
        elif found is not None:
            envelope, note = found
            committed.append(replace(envelope, dropped=dropped.get(snapshot, frozenset())))
            notes += [note] if note else []
    return Envelopes(tuple(committed), tuple(problems), tuple(notes))


def read_dropped(home: Home) -> dict[str, frozenset[int]]:
    """Return the classes of each snapshot that were forgotten: by valid tombstones, signed by root."""
    found: dict[str, set[int]] = {}
    for name in home.listed("dropped"):
        try:
            read, body = home.read(name, DroppedBody)
        except DamageError:
            continue
        if home.may(read.signer, PRUNE, name) and name.endswith(f"/{body.class_}"):
            found.setdefault(names.middle(name), set()).add(body.class_)
    return {snapshot: frozenset(classes) for snapshot, classes in found.items()}


def _read_one(home: Home, snapshot: str, *, tombstone: bool) -> tuple[Committed, str] | Problem | None:
    try:
        read, body = home.read(f"snapshot/{snapshot}", EnvelopeBody)
    except DamageError as error:
        return _read_without_envelope(
            home, snapshot, missing=isinstance(error, ObjectMissingError), tombstone=tombstone
        )
    result = outcome(home, snapshot, read.signer)
    if result.verdict in {Verdict.OPEN, Verdict.REVOKED}:
        return None
    certificate = home.certificate(read.signer)
    if certificate is not None and certificate.revoked and snapshot not in certificate.sessions:
        return None
    if certificate is None or not may(certificate.role, WRITE):
        return None
    if result.verdict is Verdict.COMMIT and result.snapshot != read.sha:
        return Problem(snapshot, f"snapshot {snapshot} has another envelope than the one that was committed")
    note = "" if result.verdict is Verdict.COMMIT else f"no decision of snapshot {snapshot} can be read; it counts"
    return Committed(snapshot, read.sha, read.signer, body, by_copy=result.by_copy), note


def _read_without_envelope(home: Home, snapshot: str, *, missing: bool, tombstone: bool) -> Problem | None:
    result = outcome(home, snapshot, owner_of(home, snapshot))
    if result.verdict in {Verdict.OPEN, Verdict.REVOKED} or (missing and tombstone):
        return None
    if result.verdict is Verdict.UNREADABLE and missing and home.store.size(f"session/{snapshot}") is not None:
        # An envelope is put before its decision: this session is still running and somebody squats on its slots.
        return None
    return Problem(
        snapshot, f"snapshot {snapshot} was committed; its envelope is {'missing' if missing else 'damaged'}"
    )


def read_admissions(home: Home) -> dict[str, AdmissionBody]:
    """Return the admission of every snapshot that has a valid one: root's word counts, and a pruner's."""
    found = {}
    for snapshot in home.ids("admission"):
        try:
            read, body = home.read(f"admission/{snapshot}", AdmissionBody)
        except DamageError:
            continue
        if home.may(read.signer, PRUNE, read.name):
            found[snapshot] = body
    return found


def envelope_infos(repository: Repository, envelopes: Envelopes | None = None) -> list[SnapshotInfo]:
    """Return what the envelopes, holds and admissions say of every readable snapshot, newest last, without any part.

    It opens nothing sealed: much cheaper than `list_snapshots` in a vault of many snapshots, and needs no key.
    """
    home = repository.home
    found = envelopes or read_envelopes(home)
    holds, admissions = read_holds(home), read_admissions(home)
    infos = [describe(repository, c, holds.get(c.id, HoldState()), admissions.get(c.id)) for c in found.committed]
    times = counted_times(infos, repository.env.now())
    return sorted(infos, key=lambda s: (times[s.id], s.finished, s.id))


def list_snapshots(repository: Repository) -> tuple[tuple[SnapshotInfo, ...], tuple[Problem, ...]]:
    """Return the committed snapshots, newest last, and those that are damaged."""
    envelopes = read_envelopes(repository.home)
    found: list[SnapshotInfo] = []
    problems = list(envelopes.problems)
    for info in envelope_infos(repository, envelopes):
        try:
            found.append(with_main_part(repository, info))
        except NotPermittedError:
            found.append(info)
        except HoldfastError as error:
            problems.append(Problem(info.id, f"snapshot {info.id}: {error.what}"))
            found.append(info)
    return tuple(found), tuple(problems)


def describe(
    repository: Repository, committed: Committed, hold: HoldState, admission: AdmissionBody | None
) -> SnapshotInfo:
    """Return what the envelope says, without any part."""
    body, known = committed.body, repository.classes
    everything = tuple(
        ClassPart(
            c.class_,
            known.get(c.class_, str(c.class_)),
            c.generation,
            c.refs,
            c.part,
            c.segments,
            c.bytes_bucket,
            c.files_bucket,
        )
        for c in body.classes
    )
    return SnapshotInfo(
        id=committed.id,
        source=body.source,
        parent=body.parent,
        writer=committed.writer,
        started=body.started,
        finished=body.finished,
        partial=body.partial,
        findings=body.findings,
        anomaly=body.anomaly,
        retain_until=body.retain_until,
        admitted=admission.admitted if admission else None,
        held=hold.held,
        classes=tuple(c for c in everything if c.class_id not in committed.dropped),
        dropped=tuple(c for c in everything if c.class_id in committed.dropped),
        released=hold.released,
    )


def with_main_part(repository: Repository, info: SnapshotInfo) -> SnapshotInfo:
    """Return the snapshot with what its main part says. `NotPermittedError` without that class's key."""
    everything = (*info.classes, *info.dropped)
    if not everything:
        return info
    main = min(everything, key=lambda c: class_rank(c.class_id))
    part = read_part(repository, info, main.class_id)
    return info.with_part(part)


def read_part(repository: Repository, info: SnapshotInfo, class_id: int) -> SealedPart:
    """Open one sealed part and check that it is the one the envelope names."""
    entry = next((c for c in (*info.classes, *info.dropped) if c.class_id == class_id), None)
    if entry is None:
        raise ObjectMissingError(f"snapshot {info.id} has no part of data class {class_id}")
    known = repository.generation(class_id, entry.generation)
    if known is None or known.private is None:
        raise NotPermittedError(f"the key that reads data class {entry.class_name} is not at hand")
    name = f"part/{info.id}/{class_id}"
    sealed = repository.home.read_sealed(name)
    if sealed.sha != entry.part or (sealed.class_id, sealed.generation) != (class_id, entry.generation):
        raise damaged(name, "it is not the one that its snapshot names")
    secret = known.private.open(sealed.envelope, part_info(repository.vault_id, class_id, entry.generation))
    return decode_part(parse_canonical(unseal(sealed, secret, name), name), class_id, entry.generation)


def encode_part(part: SealedPart, *, main: bool) -> bytes:
    """Return a part's plaintext; what concerns the whole snapshot only if it is the main one."""
    body: dict[str, object] = {
        "root": part.root,
        "entries": part.entries,
        "bytes": part.content_bytes,
        "program": part.program,
        "findings": [{"path": b64(f.path), "kind": f.kind, "detail": f.detail} for f in part.findings],
    }
    if main:
        body |= {
            "host": part.host,
            "label": part.label,
            "paths": [b64(path) for path in part.paths],
            "tags": list(part.tags),
            "evidence": part.evidence,
        }
    return canonical(body)


def decode_part(body: Mapping[str, object], class_id: int, generation: int) -> SealedPart:
    """Return the typed value of a part's plaintext. `DamageError` if it is malformed."""
    try:
        findings = _list(body["findings"], dict)
        return SealedPart(
            class_id=class_id,
            generation=generation,
            root=str(body["root"]),
            entries=_count(body["entries"]),
            content_bytes=_count(body["bytes"]),
            program=str(body["program"]),
            host=str(body.get("host", "")),
            label=str(body.get("label", "")),
            paths=tuple(unb64(p) for p in _list(body.get("paths", []), str)),
            tags=tuple(_list(body.get("tags", []), str)),
            findings=tuple(PartFinding(unb64(f["path"]), str(f["kind"]), str(f["detail"])) for f in findings),
            evidence=_object(body.get("evidence", {})),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DamageError("a snapshot's sealed part is malformed") from None


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 64:
        raise TypeError
    return value


def _list(value: object, kind: type[_T]) -> list[_T]:
    if not isinstance(value, list) or not all(isinstance(item, kind) for item in value):
        raise TypeError
    return value


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError
    return value
