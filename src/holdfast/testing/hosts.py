"""A host that backs up files of one segment each, to drive a repository without scanning anything.

The oracle of the fault tests: a file is a key with a version, its content a segment; a snapshot must name, through its
reference set, a present pack for every file it was made with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from holdfast.repository import names
from holdfast.repository.compared import Compared, sets_of, write_compared
from holdfast.repository.indexes import Indexes
from holdfast.repository.listing import Committed, envelope_infos
from holdfast.repository.marking import SetReader
from holdfast.repository.packs import read_packs
from holdfast.repository.records import encode_run
from holdfast.repository.refsets import Segments
from holdfast.repository.repository import Repository
from holdfast.repository.rounds import read_rounds
from holdfast.repository.session import RunPayload, Session
from holdfast.repository.types import ClassDraft, SnapshotDraft, SnapshotInfo
from holdfast.testing.fake_engine import FakeEngine, FakeIndex, FakePack, Segment, fake_pack

SEGMENT_BYTES = 1000
PACK_SEGMENTS = 4
PHI = 1


@dataclass(slots=True)
class FakeHost:
    """One source of one writer, with its memory of where files are (its stat cache)."""

    repository: Repository
    cache: Path
    source: str
    class_id: int = PHI
    known: dict[tuple[str, int], Segment] = field(default_factory=dict)
    """Where a version of a file is, as this host remembers."""
    acknowledged: dict[str, dict[tuple[str, int], Segment]] = field(default_factory=dict)
    """What each acknowledged snapshot must hold."""

    def begin(self) -> Session:
        """Begin a session."""
        indexes = Indexes(self.repository, self.cache, FakeEngine())
        return Session.begin(self.repository, indexes, source=self.source, classes=[self.class_id])

    def backup(self, files: Mapping[str, int], *, label: str = "ehr", checkpoints: int = 1) -> SnapshotInfo:
        """Back up files given by name and version."""
        session = self.begin()
        where = self.store(session, files, checkpoints=checkpoints)
        return self.commit(session, where, label=label)

    def store(
        self, session: Session, files: Mapping[str, int], *, checkpoints: int = 1
    ) -> dict[tuple[str, int], Segment]:
        """Store what is new, in packs, with an index run and a checkpoint for each part of the files."""
        items = sorted(files.items())
        step = max(1, -(-len(items) // checkpoints))
        where: dict[tuple[str, int], Segment] = {}
        for start in range(0, len(items), step):
            self._store_part(session, items[start : start + step], where)
        return where

    def _store_part(
        self, session: Session, items: list[tuple[str, int]], where: dict[tuple[str, int], Segment]
    ) -> None:
        index = cast("FakeIndex", session.view.index)
        new = []
        for item in items:
            segment = self.known.get(item)
            if segment is not None and segment in index.trusted and index.find_segment(*segment) is not None:
                where[item] = segment
            else:
                new.append(item)
        packs = []
        for start in range(0, len(new), PACK_SEGMENTS):
            part = new[start : start + PACK_SEGMENTS]
            pack = self._pack(len(part))
            session.put_pack(pack.name, 1, pack.data)
            packs.append(pack)
            where.update(zip(part, pack.segments, strict=True))
        runs = [RunPayload(self.class_id, 0, encode_run([p.record for p in packs]))] if packs else []
        references = Segments.of(list(where.values())).encode()
        done = session.checkpoint(runs, packs=len(packs), stored_bytes=0, references=[references])
        added = FakeIndex([(path, True) for path in done.sorted_runs])
        index.trusted |= added.trusted
        index.places |= added.places
        self.known.update(where)

    def _pack(self, segments: int) -> FakePack:
        nonce = self.repository.env.random_bytes(32)
        return fake_pack(nonce, [(nonce, ordinal, SEGMENT_BYTES) for ordinal in range(segments)])

    def commit(self, session: Session, where: Mapping[tuple[str, int], Segment], *, label: str = "ehr") -> SnapshotInfo:
        """Commit a snapshot of the files and remember what it must hold."""
        refs = Segments.of(list(where.values()))
        part = ClassDraft(self.class_id, "00:0:0", len(where), 10 * len(where), refs.encode(), segments=len(refs))
        draft = SnapshotDraft(
            classes=(part,),
            parent="",
            started=self.repository.env.now(),
            partial=False,
            program="test",
            host="host",
            label=label,
        )
        info = session.commit(draft)
        self.acknowledged[info.id] = dict(where)
        return info


def at_its_word(repository: Repository, snapshots: Sequence[Committed]) -> None:
    """Sign the reference sets of snapshots as compared: those of a fake host have no trees."""
    for snapshot in snapshots:
        write_compared(repository, snapshot, Compared(sound=sets_of(snapshot)))


def check_vault(repository: Repository, must_hold: Mapping[str, Mapping[tuple[str, int], Segment]]) -> None:
    """Assert that every acknowledged snapshot is listed, marked, and has a present pack for each of its segments."""
    listed = {s.id: s for s in envelope_infos(repository)}
    table = read_packs(repository, read_rounds(repository.home).deleted)
    carried = {
        (row.origin, row.ordinal)
        for name, pack in table.packs.items()
        if table.carries(name)
        for row in pack.record.segments
    }
    for name in (n for n in table.packs if table.carries(n)):
        assert repository.store.size(names.pack(name, table.packs[name].record.kind)) is not None
    reader = SetReader(repository)
    for snapshot, files in must_hold.items():
        assert snapshot in listed, "an acknowledged snapshot is not listed"
        refs = reader.read(listed[snapshot].classes[0].refs)
        for segment in files.values():
            assert segment in refs, "a reference set lacks a segment"
            assert segment in carried, "a segment of an acknowledged snapshot is in no present pack"
