"""What an index run says about packs (docs/format/packs.md), as far as pruning and checking need it. Pure.

The engine keeps the index for lookups by id; here only packs and their segments count, and chunks are skipped over.
"""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.base.values import dataclass
from holdfast.errors import DamageError
from holdfast.repository.wire import Cursor, varint

NONCE_BYTES = 32
ORIGIN_BYTES = 16
ID_BYTES = 16
SEGMENT_CHUNKS_MAX = 65_536
PACK_ORIGINS_MAX = 4_096


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """One segment in a pack: its origin (16 bytes) and ordinal say what it is, offset and length where it lies."""

    origin: bytes
    ordinal: int
    offset: int
    stored_bytes: int
    plain_bytes: int


@dataclass(frozen=True, slots=True)
class PackRecord:
    """One pack as an index run lists it; `encoded` is its record as it stands in the run."""

    name: str
    size: int
    kind: int
    segments: tuple[SegmentRow, ...]
    encoded: bytes


def parse_run(plaintext: bytes) -> list[PackRecord]:
    """Parse an index run's plaintext. `DamageError`."""
    cursor = Cursor(plaintext)
    if cursor.byte() != 1:
        raise DamageError("an index run has an unknown version")
    records = [_read_record(cursor) for _ in range(cursor.varint())]
    cursor.finish()
    return records


def encode_run(records: Iterable[bytes]) -> bytes:
    """Return the plaintext of a run from encoded records."""
    listed = list(records)
    return b"\x01" + varint(len(listed)) + b"".join(listed)


def _read_record(cursor: Cursor) -> PackRecord:
    start = cursor.at
    name = cursor.take(32).hex()
    size = cursor.varint()
    kind = cursor.byte()
    origins = cursor.varint()
    if not 1 <= origins <= PACK_ORIGINS_MAX or kind not in {1, 2, 3}:
        raise DamageError("an index run lists an impossible pack")
    nonces = [cursor.take(NONCE_BYTES)[:ORIGIN_BYTES] for _ in range(origins)]
    directory = Cursor(cursor.take(cursor.varint()))
    segments = tuple(_read_directory(directory, nonces, size))
    return PackRecord(name, size, kind, segments, cursor.data[start : cursor.at])


def _read_directory(cursor: Cursor, origins: list[bytes], size: int) -> Iterable[SegmentRow]:
    if cursor.byte() != 1:
        raise DamageError("a pack's directory has an unknown version")
    for _ in range(cursor.varint()):
        origin, ordinal, offset, stored = cursor.varint(), cursor.varint(), cursor.varint(), cursor.varint()
        cursor.byte()
        plain = cursor.varint()
        chunks = cursor.varint()
        if origin >= len(origins) or offset + stored > size or chunks > SEGMENT_CHUNKS_MAX:
            raise DamageError("a pack's directory lists an impossible segment")
        for _ in range(chunks):
            cursor.take(ID_BYTES + 1)
            cursor.varint()
        yield SegmentRow(origins[origin], ordinal, offset, stored, plain)
    cursor.finish()
