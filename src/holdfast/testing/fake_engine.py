"""A stand-in for the engine where the repository is tested by itself: packs without content, indexes in plain files.

Its packs are what the repository needs of packs: bytes named by their hash, with segments that have an origin and an
ordinal. Nothing here is the format's; the real engine is proved elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from holdfast.repository.records import encode_run, parse_run
from holdfast.repository.refsets import Segments
from holdfast.repository.wire import varint

Segment = tuple[bytes, int]
FRONT = bytes(28) + struct.pack("<HHI", 1, 0, 0)
"""Class and generation stand where a real pack has them."""


@dataclass(frozen=True, slots=True)
class FakePack:
    """A pack: its name, its bytes, its record for an index run."""

    name: bytes
    data: bytes
    record: bytes
    segments: tuple[Segment, ...]


def fake_pack(nonce: bytes, segments: Sequence[tuple[bytes, int, int]], kind: int = 1) -> FakePack:
    """Make a pack of segments (nonce of 32 bytes, ordinal, stored length)."""
    head = FRONT + json.dumps([kind, nonce.hex(), [[n.hex(), o, size] for n, o, size in segments]]).encode()
    start = len(head) + 1
    data = head + b"\n" + b"".join(hashlib.shake_128(n + bytes([o % 256])).digest(size) for n, o, size in segments)
    name = hashlib.sha256(data).digest()
    nonces = list(dict.fromkeys([nonce, *(n for n, _, _ in segments)]))
    directory = bytearray(b"\x01" + varint(len(segments)))
    for origin, ordinal, size in segments:
        fields = (nonces.index(origin), ordinal, start, size)
        directory += b"".join(map(varint, fields)) + b"\x00" + varint(size) + varint(0)
        start += size
    record = name + varint(len(data)) + bytes((kind,)) + varint(len(nonces)) + b"".join(nonces)
    record += varint(len(directory)) + bytes(directory)
    return FakePack(name, data, record, tuple((n[:16], o) for n, o, _ in segments))


def _parse_pack(data: bytes) -> tuple[int, bytes, list[tuple[bytes, int, int]]]:
    kind, nonce, segments = json.loads(data[len(FRONT) :].partition(b"\n")[0])
    return kind, bytes.fromhex(nonce), [(bytes.fromhex(n), o, size) for n, o, size in segments]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a segment is."""

    pack: bytes


class FakeIndex:
    """The index as the repository calls it."""

    def __init__(self, members: Sequence[tuple[str, bool]]) -> None:
        """Open sorted files."""
        self.excluded: set[bytes] = set()
        self.trusted: set[Segment] = set()
        self.places: dict[Segment, list[bytes]] = {}
        for file, trusted in members:
            self.add(file, trusted)

    def add(self, path: str, dedup: bool) -> None:  # noqa: FBT001 - as the engine
        """Add a sorted file."""
        for record in parse_run(Path(path).read_bytes()):
            for row in record.segments:
                key = (row.origin, row.ordinal)
                self.places.setdefault(key, []).append(bytes.fromhex(record.name))
                if dedup:
                    self.trusted.add(key)

    def exclude(self, packs: Sequence[bytes]) -> None:
        """Exclude packs."""
        self.excluded.update(packs)

    def find_segment(self, origin: bytes, ordinal: int) -> Place | None:
        """Return where a segment is."""
        for pack in self.places.get((origin, ordinal), []):
            if pack not in self.excluded:
                return Place(pack)
        return None

    @staticmethod
    def write_sorted(run_payloads: Sequence[bytes], class_id: int, generation: int, out: str) -> None:  # noqa: ARG004
        """Write run plaintexts."""
        records = [r.encoded for payload in run_payloads for r in parse_run(payload)]
        Path(out).write_bytes(encode_run(records))

    @staticmethod
    def merge(paths: Sequence[str], out: str, drop: Sequence[bytes]) -> None:
        """Merge files without some packs."""
        dropped = {pack.hex() for pack in drop}
        records = [r.encoded for p in paths for r in parse_run(Path(p).read_bytes()) if r.name not in dropped]
        Path(out).write_bytes(encode_run(records))


class FakeEngine:
    """The engine as the repository calls it."""

    Index = FakeIndex

    @staticmethod
    def ClassKeys(vault: bytes, class_id: int, generation: int, dedup_key: bytes, index_key: bytes) -> object:  # noqa: N802
        """Return something that stands for keys."""
        return (vault, class_id, generation, dedup_key, index_key)

    @staticmethod
    def translated() -> AbstractContextManager[None]:
        """Translate nothing: no engine, no errors of its own."""
        return nullcontext()

    @staticmethod
    def repack(
        keys: object,  # noqa: ARG004
        nonce: bytes,
        sources: Sequence[tuple[bytes, Sequence[Segment]]],
    ) -> tuple[bytes, bytes, bytes]:
        """Copy segments into a new pack."""
        chosen, kind = [], 1
        for data, wanted in sources:
            kind, _, segments = _parse_pack(data)
            chosen += [s for s in segments if (s[0][:16], s[1]) in set(wanted)]
        pack = fake_pack(nonce, chosen, kind)
        return pack.name, pack.data, pack.record

    @staticmethod
    def run_segments(payload: bytes) -> list[tuple[bytes, bytes]]:
        """Return per pack of a run the reference set of its segments."""
        return [
            (bytes.fromhex(r.name), Segments.of([(s.origin, s.ordinal) for s in r.segments]).encode())
            for r in parse_run(payload)
        ]

    @staticmethod
    def read_directory(keys: object, pack: bytes) -> bytes:  # noqa: ARG004
        """Return a pack's record."""
        kind, nonce, segments = _parse_pack(pack)
        return fake_pack(nonce, segments, kind).record
