"""Sessions: a run's steps 1 to 6 of `docs/format/protocol.md`.

Order is everything here: the announcement before any reading, condemned lists before the index, packs before runs, runs
before checkpoints, everything before the decision. What a crash leaves behind is unreferenced, found in the index by the
next run, and never in the way.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Self

from holdfast.base.data_classes import class_rank
from holdfast.base.values import dataclass
from holdfast.errors import DamageError, InternalError, NotPermittedError, RevokedError, StoreError
from holdfast.repository import names
from holdfast.repository.bodies import (
    COMMIT,
    REVOKED,
    AckBody,
    AdmissionBody,
    CheckpointBody,
    DecisionBody,
    EnvelopeBody,
    EnvelopeClass,
    SessionBody,
)
from holdfast.repository.decisions import OpenSession, Verdict, decide, keep_twice, open_sessions, outcome
from holdfast.repository.holds import HoldState
from holdfast.repository.home import create
from holdfast.repository.hpke import part_info
from holdfast.repository.indexes import Indexes, IndexView
from holdfast.repository.listing import Committed, describe, encode_part, with_main_part
from holdfast.repository.marking import read_set
from holdfast.repository.objects import INDEX_RUN, REFERENCE_SET, SNAPSHOT_PART, WRITER_STATE
from holdfast.repository.placed import present
from holdfast.repository.refsets import Segments, parse
from holdfast.repository.repository import Repository
from holdfast.repository.rounds import read_rounds
from holdfast.repository.trust import RunFacts
from holdfast.repository.types import ClassDraft, SealedPart, SnapshotDraft, SnapshotInfo
from holdfast.stores.protocol import Data

SECRET_BYTES = 32
ASKED_MAX = 64
"""Packs looked for one by one at a commit; beyond it the store is listed."""


@dataclass(frozen=True, slots=True)
class RunPayload:
    """An index run's plaintext, as the engine made it, for packs that are stored."""

    class_id: int
    generation: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint did. `sorted_runs` are local files for the engine; `excluded` were newly excluded from the index."""

    number: int
    runs: tuple[str, ...]
    sorted_runs: tuple[str, ...]
    acknowledged: tuple[int, ...]
    excluded: frozenset[str]
    waiting: tuple[int, ...] = ()
    """Condemned lists that are not acknowledged yet: see :meth:`Session.acknowledge`."""


def bucket(value: int) -> int:
    """Return a count rounded up to a power of two, 0 for 0: what an envelope tells of a size."""
    return 0 if value <= 0 else 1 << (value - 1).bit_length()


class Session:
    """One run of a writer. Nothing it stores counts before :meth:`commit`, and everything it stored can be used again."""

    def __init__(
        self, repository: Repository, indexes: Indexes, session: str, body: SessionBody, view: IndexView
    ) -> None:
        """Use `begin`."""
        self.repository = repository
        self.indexes = indexes
        self.id = session
        self.body = body
        self.view = view
        self._home = repository.home
        self._acknowledged: set[int] = set()
        self._checkpoints = 0
        self._own_runs: dict[str, RunFacts] = {}
        self._new_packs: set[str] = set()
        self._own_segments: dict[str, Segments] = {}
        self._excluded = set(view.excluded)
        self._runs = set(view.runs)
        self.waiting: tuple[int, ...] = ()
        """Open prune rounds, known to this session, whose condemned lists it has not acknowledged."""
        self._folder = indexes.cache / f"session-{session}"

    @classmethod
    def begin(cls, repository: Repository, indexes: Indexes, *, source: str, classes: Sequence[int]) -> Self:
        """Steps 1 and 2: announce the session, read condemned lists, then the index.

        Own unfinished sessions of the same source are given up first (they can never commit afterwards); what they
        stored is in the index and is used again.
        """
        if not names.ID.fullmatch(source):
            raise InternalError("a source id that is not 32 hex digits")
        home = repository.home
        unfinished = unfinished_sessions(repository, source)
        body = SessionBody(source, tuple(sorted(classes)), tuple(s.id for s in unfinished))
        session = repository.env.random_id()
        if not home.create(f"session/{session}", body, repository.writer):
            raise RevokedError("the session's name was taken by other bytes")
        for old in unfinished:
            decide(home, old.id, old.owner, DecisionBody(REVOKED, ""), repository.writer)
            shutil.rmtree(indexes.cache / f"session-{old.id}", ignore_errors=True)
        self = cls(repository, indexes, session, body, indexes.read())
        for number in self.view.open_rounds:
            self._acknowledge(number)
        return self

    @property
    def resumes(self) -> tuple[str, ...]:
        """Unfinished sessions whose packs this one goes on from."""
        return self.body.resumes

    def put_pack(self, name: bytes, kind: int, data: Data) -> None:
        """Step 4: store a pack durably. `kind` 1 data, 2 metadata, 3 map."""
        self.repository.store.put(names.pack(name.hex(), kind), data)
        self._new_packs.add(name.hex())

    def checkpoint(
        self, runs: Sequence[RunPayload], *, packs: int, stored_bytes: int, references: Sequence[bytes] | None = None
    ) -> Checkpoint:
        """Step 4: put index runs and a checkpoint, read condemned lists, acknowledge those that `references` do not touch.

        `references`: everything the session means to refer to so far, as plaintexts of full reference sets. Without
        them no new list is acknowledged (safe; the pruner then waits for the commit). `RevokedError` if a pruner
        decided against the session.
        """
        self._require_open()
        shas, files = [], []
        for run in runs:
            sha = self._put_run(run)
            path = self.indexes.write_sorted(self._folder, sha, run.class_id, run.generation, run.payload)
            shas.append(sha)
            files.append(str(path))
        number = self._checkpoints
        self._checkpoints += 1
        body = CheckpointBody(tuple(shas), packs, stored_bytes)
        name = names.numbered("checkpoint", self.id, number)
        if not self._home.create(name, body, self.repository.writer):
            raise RevokedError("a checkpoint's name was taken by other bytes")
        acknowledged, excluded = self._read_condemned(references)
        return Checkpoint(number, tuple(shas), tuple(files), acknowledged, excluded, self.waiting)

    def look(self) -> tuple[int, ...]:
        """Read condemned lists between checkpoints; return those that are not acknowledged yet."""
        self._read_condemned(None)
        return self.waiting

    def acknowledge(self, rounds: Iterable[int]) -> tuple[int, ...]:
        """Acknowledge lists that were excluded before everything referred to so far was looked up again, and found.

        Not while a pack of this session's own is condemned: what lies in it was not looked up.
        """
        wanted = [number for number in rounds if number in self.waiting]
        if not self._excluded.isdisjoint(self._own_segments):
            return ()
        for number in wanted:
            self._acknowledge(number)
        self.waiting = tuple(number for number in self.waiting if number not in wanted)
        return tuple(wanted)

    def settle(self, references: Sequence[bytes]) -> bool:
        """Read condemned lists a last time before the commit and acknowledge them.

        False if something in `references` rests on what is condemned: it must be read and stored again.
        """
        self._read_condemned(references)
        return not self.waiting

    def _put_run(self, run: RunPayload) -> str:
        known = self.repository.generation(run.class_id, run.generation)
        if known is None:
            raise NotPermittedError(f"the keys of data class {run.class_id} are not at hand")
        writer = self.repository.writer
        head = self._home.head(INDEX_RUN, run.class_id, run.generation, writer)
        sha = self._home.put_sealed("index/", head, known.index_key, run.payload, writer)
        self._own_runs[sha] = RunFacts(writer.name, run.class_id, run.generation)
        for pack, segments in self.indexes.engine.run_segments(run.payload):
            self._own_segments[pack.hex()] = parse(segments).added
        return sha

    def _require_open(self) -> None:
        result = outcome(self._home, self.id, self.repository.writer_id)
        if result.verdict is Verdict.REVOKED:
            raise RevokedError("a prune revoked this run's session")

    def _read_condemned(self, references: Sequence[bytes] | None) -> tuple[tuple[int, ...], frozenset[str]]:
        """Exclude what new condemned lists name, then acknowledge each list that no reference rests on."""
        rounds = read_rounds(self._home)
        excluded = rounds.excluded()
        fresh = excluded - self._excluded
        waiting = [r for r in rounds.open if r.number not in self._acknowledged]
        if fresh:
            self._excluded |= fresh
            self._add_runs()
            self.view.index.exclude([bytes.fromhex(sha) for sha in sorted(fresh)])
        acknowledged = []
        if waiting and references is not None and self._resolved(parse(r).added for r in references):
            for r in waiting:
                self._acknowledge(r.number)
                acknowledged.append(r.number)
        self.waiting = tuple(r.number for r in waiting if r.number not in self._acknowledged)
        return tuple(acknowledged), frozenset(fresh)

    def _add_runs(self) -> None:
        """Add the runs that came since: they list the copies of what a prune condemned because it was rewritten."""
        known = self._runs | self._own_runs.keys()
        for run, path, trusted in self.indexes.added_since(known, self._folder):
            self.view.index.add(path, trusted)
            self._runs.add(run)

    def _resolved(self, sets: Iterable[Segments]) -> bool:
        """Return whether every segment has a copy outside excluded packs, in the index or in a pack of this session."""
        own = self._own()
        find = self.view.index.find_segment
        return all(find(origin, ordinal) is not None for s in sets for origin, ordinal in s.minus(own))

    def _own(self) -> Segments:
        """Return the segments of this session's own packs, those that were condemned left out."""
        return Segments.merged(s for name, s in self._own_segments.items() if name not in self._excluded)

    def _acknowledge(self, number: int) -> None:
        name = names.numbered("ack", self.id, number)
        if not self._home.create(name, AckBody(), self.repository.writer):
            raise RevokedError("an acknowledgement's name was taken by other bytes")
        self._acknowledged.add(number)

    def put_state(self, source: str, number: int, payload: bytes) -> None:
        """Store writer state number N of a source."""
        writer = self.repository.writer
        name = names.numbered("state", writer.name, source, number)
        head = self._home.head(WRITER_STATE, 0, 0, writer)
        self._home.put_sealed(name, head, self.repository.state_key, payload, writer)

    def commit(self, draft: SnapshotDraft) -> SnapshotInfo:
        """Steps 5 and 6. When it returns the snapshot is committed and durable.

        `RevokedError` (retry as a new session), `DamageError` if a pack that the snapshot needs is not there.
        """
        self._check_references(draft)
        envelope = self._put_snapshot(draft)
        body = DecisionBody(COMMIT, envelope.sha)
        result = decide(self._home, self.id, self.repository.writer_id, body, self.repository.writer)
        if result.verdict is not Verdict.COMMIT or result.snapshot != envelope.sha:
            raise RevokedError("a prune revoked this run's session before it committed")
        self._keep_twice(result.name)
        admission = self._admit()
        folder = self._folder
        self.indexes.adopt({sha: (folder / f"{sha}.sorted", facts) for sha, facts in self._own_runs.items()})
        shutil.rmtree(folder, ignore_errors=True)
        info = describe(self.repository, envelope, HoldState(), admission)
        try:
            return with_main_part(self.repository, info)
        except NotPermittedError:
            return info.with_part(draft)

    def _keep_twice(self, decision: str) -> None:
        """Keep the decision a second time. The snapshot is committed: a store that fails now leaves it to the next prune."""
        with suppress(StoreError, DamageError):
            keep_twice(self._home, self.id, decision, self.repository.writer)

    def _admit(self) -> AdmissionBody | None:
        """Give the admission time at once where the pruner's side is this side."""
        if not self.repository.is_root:
            return None
        body = AdmissionBody(self.repository.env.now())
        self._home.create(f"admission/{self.id}", body, self.repository.root)
        return body

    def _check_references(self, draft: SnapshotDraft) -> None:
        """Step 5: every segment that the parent did not have is in the index, and its pack is in the store.

        While a prune round is open all segments are looked up, not only those: what was unchanged must not rest on
        what was condemned.
        """
        everything = bool(self.view.open_rounds or self._acknowledged)
        find = self.view.index.find_segment
        packs, unresolved, own = set(self._new_packs), 0, self._own()
        for part in draft.classes:
            segments = self._full_set(part) if everything else self._added(part)
            for origin, ordinal in segments.minus(own):
                place = find(origin, ordinal)
                pack = getattr(place, "pack", None)
                unresolved += place is None
                if isinstance(pack, bytes):
                    packs.add(pack.hex())
        missing = packs - self._stored(packs)
        if missing or unresolved:
            self._refuse_condemned(missing)
            raise DamageError(
                f"{len(missing)} packs and {unresolved} segments that the snapshot needs are not in the vault any more",
                safe="nothing was committed; every snapshot acknowledged before is as it was.",
                next="run the same command again: what is missing is read and stored anew.",
                packs=len(missing),
                segments=unresolved,
            )

    def _refuse_condemned(self, missing: set[str]) -> None:
        """`RevokedError` if it is a prune's doing that something is not there: a new session stores it again."""
        self._require_open()
        self._read_condemned(None)
        condemned = read_rounds(self._home).excluded()
        if condemned and (not missing or missing & condemned):
            raise RevokedError("a prune condemned what this run rests on")

    def _stored(self, packs: set[str]) -> set[str]:
        """Return which packs are in the store: asked one by one if they are few, by a listing if they are many."""
        store = self.repository.store
        known = present(store, packs)
        if known is not None:
            return known
        if len(packs) > ASKED_MAX:
            return {i.name.rpartition("/")[2] for prefix in ("data/", "meta/") for i in store.list(prefix)}
        return {p for p in packs if any(store.size(names.pack(p, kind)) is not None for kind in (1, 2))}

    def _added(self, draft: ClassDraft) -> Segments:
        return Segments() if draft.refs_same else parse(draft.refs_payload).added

    def _full_set(self, draft: ClassDraft) -> Segments:
        if draft.refs_same:
            return read_set(self.repository, draft.refs_same)
        stored = parse(draft.refs_payload)
        if not stored.parent:
            return stored.added
        return read_set(self.repository, stored.parent).minus(stored.removed).union(stored.added)

    def _put_snapshot(self, draft: SnapshotDraft) -> Committed:
        """Put reference sets, parts, then the envelope."""
        writer = self.repository.writer
        main = min((c.class_id for c in draft.classes), key=class_rank, default=0)
        classes = tuple(self._put_class(draft, c, main=c.class_id == main) for c in draft.classes)
        body = EnvelopeBody(
            source=self.body.source,
            parent=draft.parent,
            started=draft.started,
            finished=self.repository.env.now(),
            partial=draft.partial,
            classes=classes,
            anomaly=draft.anomaly,
            retain_until=draft.retain_until,
            findings=sum(len(c.findings) for c in draft.classes),
        )
        name = f"snapshot/{self.id}"
        data = self._home.encode(name, body, writer)
        if not create(self.repository.store, name, data):
            raise RevokedError("the snapshot's name was taken by other bytes")
        read, _ = self._home.verify(name, data, EnvelopeBody)
        return Committed(self.id, read.sha, writer.name, body)

    def _put_class(self, draft: SnapshotDraft, part: ClassDraft, *, main: bool) -> EnvelopeClass:
        known = self.repository.generation(part.class_id)
        if known is None:
            raise NotPermittedError(f"the keys of data class {part.class_id} are not at hand")
        home, writer = self._home, self.repository.writer
        head = home.head(REFERENCE_SET, part.class_id, known.generation, writer)
        refs = part.refs_same or home.put_sealed("refs/", head, known.index_key, part.refs_payload, writer)
        secret = self.repository.env.random_bytes(SECRET_BYTES)
        sealed_secret = self.repository.public_of(known).seal(
            secret, part_info(home.vault_id, part.class_id, known.generation)
        )
        plain = encode_part(
            SealedPart(
                part.class_id,
                known.generation,
                part.root,
                part.entries,
                part.content_bytes,
                draft.program,
                draft.host,
                draft.label,
                draft.paths,
                draft.tags,
                part.findings,
                draft.evidence,
            ),
            main=main,
        )
        part_head = home.head(SNAPSHOT_PART, part.class_id, known.generation, writer, sealed_secret)
        sha = home.put_sealed(names.part(self.id, part.class_id), part_head, secret, plain, writer)
        return EnvelopeClass(
            class_=part.class_id,
            generation=known.generation,
            refs=refs,
            part=sha,
            segments=part.segments,
            bytes_bucket=bucket(part.content_bytes),
            files_bucket=bucket(part.entries),
        )

    def abandon(self) -> None:
        """Give the session up: it can never commit. `RevokedError` never; a commit that was made stays."""
        decide(self._home, self.id, self.repository.writer_id, DecisionBody(REVOKED, ""), self.repository.writer)
        shutil.rmtree(self._folder, ignore_errors=True)


def unfinished_sessions(repository: Repository, source: str) -> list[OpenSession]:
    """Return this writer's own sessions of a source that neither committed nor were revoked."""
    return [
        s
        for s in open_sessions(repository.home)
        if s.owner == repository.writer_id and s.body is not None and s.body.source == source and not s.counts
    ]
