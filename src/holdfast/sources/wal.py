"""Names and positions of PostgreSQL's WAL, by arithmetic alone: no file is touched here.

A segment's name is 24 hex digits: timeline, then the segment's number split at 4 GiB
(PostgreSQL, `src/include/access/xlog_internal.h`: `XLogFileName`). An LSN is written as two hex numbers, `16/B374D848`.
"""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Iterator, Sequence

from holdfast.base.values import dataclass

__all__ = [
    "SEGMENT_BYTES",
    "Gap",
    "SegmentHead",
    "gaps_in",
    "is_segment",
    "is_wal_name",
    "lsn_text",
    "parse_head",
    "parse_lsn",
    "segment_name",
    "segment_start",
    "segments_between",
    "timeline_of",
]

SEGMENT_BYTES = 16 << 20
"""The usual size; `initdb --wal-segsize` sets another, a power of two from 1 MiB to 1 GiB."""
SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX = 1 << 20, 1 << 30
GAP_NAMES_MAX = 100_000
_SEGMENT = re.compile(r"[0-9A-F]{24}")
_OTHER = re.compile(r"[0-9A-F]{24}\.(partial|[0-9A-F]{8}\.backup)|[0-9A-F]{8}\.history")
_HEAD = struct.Struct("<HHIQI4xQII")
_LONG_HEADER = 0x0002
MAGIC_FROM, MAGIC_TO = 0xD106, 0xD200
"""`XLOG_PAGE_MAGIC` is 0xD106 in 13 and rises with each version."""


def is_segment(name: str) -> bool:
    """Return whether a name is that of a whole segment."""
    return _SEGMENT.fullmatch(name) is not None


def is_wal_name(name: str) -> bool:
    """Return whether a name is one that PostgreSQL hands to its archive command."""
    return is_segment(name) or _OTHER.fullmatch(name) is not None


def parse_lsn(text: str) -> int:
    """Read `16/B374D848`. `ValueError` for anything else."""
    high, separator, low = text.partition("/")
    if not separator or not re.fullmatch(r"[0-9A-Fa-f]{1,8}", high) or not re.fullmatch(r"[0-9A-Fa-f]{1,8}", low):
        message = "an LSN is two hex numbers, as in 16/B374D848"
        raise ValueError(message)
    return int(high, 16) << 32 | int(low, 16)


def lsn_text(lsn: int) -> str:
    """Write an LSN as PostgreSQL does."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def segment_name(timeline: int, number: int, size: int = SEGMENT_BYTES) -> str:
    """Return the name of the segment of that number on a timeline."""
    per_file = (1 << 32) // size
    return f"{timeline:08X}{number // per_file:08X}{number % per_file:08X}"


def timeline_of(name: str) -> int:
    """Return the timeline that a segment's or a history's name begins with."""
    return int(name[:8], 16)


def segment_start(name: str, size: int = SEGMENT_BYTES) -> int:
    """Return the LSN that a segment begins with."""
    return _number(name, size) * size


def _number(name: str, size: int) -> int:
    return int(name[8:16], 16) * ((1 << 32) // size) + int(name[16:24], 16)


def segments_between(timeline: int, start: int, stop: int, size: int = SEGMENT_BYTES) -> tuple[str, ...]:
    """Return the segments that hold the WAL from LSN `start` up to, not including, LSN `stop`."""
    last = max(start, stop - 1) // size
    return tuple(segment_name(timeline, number, size) for number in range(start // size, last + 1))


@dataclass(frozen=True, slots=True)
class Gap:
    """Segments of one timeline that are missing between two that are there: recovery cannot pass."""

    timeline: int
    first: str
    segments: int


def gaps_in(names: Sequence[str], size: int = SEGMENT_BYTES) -> tuple[Gap, ...]:
    """Return the gaps between the segments of each timeline. Across a change of timeline the numbers go on or repeat."""
    return tuple(_gaps(sorted(name for name in names if is_segment(name)), size))


def _gaps(names: Sequence[str], size: int) -> Iterator[Gap]:
    for before, after in itertools.pairwise(names):
        missing = _number(after, size) - _number(before, size) - 1
        if timeline_of(before) == timeline_of(after) and missing > 0:
            yield Gap(timeline_of(before), segment_name(timeline_of(before), _number(before, size) + 1, size), missing)


@dataclass(frozen=True, slots=True)
class SegmentHead:
    """What the first page of a segment says of itself."""

    timeline: int
    start: int
    system: int
    """The cluster's system identifier."""
    size: int


def parse_head(data: bytes) -> SegmentHead | None:
    """Read the first page's header (`XLogLongPageHeaderData`); None if these bytes begin no segment."""
    if len(data) < _HEAD.size:
        return None
    magic, info, timeline, start, _, system, size, _ = _HEAD.unpack_from(data)
    sound = MAGIC_FROM <= magic < MAGIC_TO and info & _LONG_HEADER
    if not sound or not SEGMENT_BYTES_MIN <= size <= SEGMENT_BYTES_MAX or size & (size - 1) or start % size:
        return None
    return SegmentHead(timeline, start, system, size)
