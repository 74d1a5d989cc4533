"""Reference sets: which segments a class tree needs (docs/format/trees.md). Pure.

A set maps an origin (16 bytes) to sorted, disjoint, non-touching ranges of ordinals, so a full pack costs one range.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping

from holdfast.base.values import dataclass
from holdfast.errors import DamageError
from holdfast.repository.wire import Cursor, varint

ORIGIN_BYTES = 16
CHAIN_LINKS_MAX = 16
FULL, DELTA = 0, 1
Range = tuple[int, int]
"""First ordinal, and the one after the last."""


class Segments:
    """A set of segments, immutable: operations return new sets."""

    __slots__ = ("_ranges",)

    def __init__(self, ranges: Mapping[bytes, list[Range]] | None = None) -> None:
        """Take ranges that are sorted and disjoint."""
        self._ranges: dict[bytes, list[Range]] = dict(ranges or {})

    @classmethod
    def of(cls, segments: Iterator[tuple[bytes, int]] | list[tuple[bytes, int]]) -> Segments:
        """Return the set of the given (origin, ordinal) pairs."""
        by_origin: dict[bytes, list[Range]] = {}
        for origin, ordinal in segments:
            by_origin.setdefault(origin, []).append((ordinal, ordinal + 1))
        return cls({origin: _join(sorted(ranges)) for origin, ranges in by_origin.items()})

    def __contains__(self, segment: tuple[bytes, int]) -> bool:
        ranges = self._ranges.get(segment[0])
        if not ranges:
            return False
        at = bisect_right(ranges, (segment[1], 1 << 65)) - 1
        return at >= 0 and segment[1] < ranges[at][1]

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        for origin in sorted(self._ranges):
            for start, stop in self._ranges[origin]:
                for ordinal in range(start, stop):
                    yield origin, ordinal

    def __len__(self) -> int:
        return sum(stop - start for ranges in self._ranges.values() for start, stop in ranges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Segments) and self._ranges == other._ranges

    def __hash__(self) -> int:
        return hash(self.encode())

    def union(self, other: Segments) -> Segments:
        """Return the segments of either."""
        out = dict(self._ranges)
        for origin, ranges in other._ranges.items():
            mine = out.get(origin)
            out[origin] = ranges if mine is None or mine == ranges else _join(sorted(mine + ranges))
        return Segments(out)

    @classmethod
    def merged(cls, sets: Iterable[Segments]) -> Segments:
        """Return the segments of any of many sets, in one pass."""
        out: dict[bytes, list[Range]] = {}
        for segments in sets:
            for origin, ranges in segments._ranges.items():  # noqa: SLF001 - its own class
                mine = out.get(origin)
                out[origin] = ranges if mine is None or mine == ranges else _join(sorted(mine + ranges))
        return cls(out)

    def minus(self, other: Segments) -> Segments:
        """Return the segments of this set that are not in the other."""
        out: dict[bytes, list[Range]] = {}
        for origin, ranges in self._ranges.items():
            left = _subtract(ranges, other._ranges.get(origin, []))
            if left:
                out[origin] = left
        return Segments(out)

    def meets(self, other: Segments) -> bool:
        """Return whether any segment is in both."""
        for origin, ranges in self._ranges.items():
            theirs = other._ranges.get(origin)
            if theirs and any(_subtract([one], theirs) != [one] for one in ranges):
                return True
        return False

    def encode(self) -> bytes:
        """Return the plaintext of a full reference set."""
        return bytes((1, FULL)) + _list(self)

    def encode_delta(self, parent: Segments, parent_sha: str) -> bytes:
        """Return the plaintext of the set as a delta to a parent set."""
        return bytes((1, DELTA)) + bytes.fromhex(parent_sha) + _list(self.minus(parent)) + _list(parent.minus(self))

    def ranges(self) -> Iterator[tuple[bytes, list[Range]]]:
        """Yield each origin with its ranges, sorted."""
        for origin in sorted(self._ranges):
            yield origin, self._ranges[origin]


@dataclass(frozen=True, slots=True)
class StoredSegments:
    """A reference set as stored: full (`parent` empty, nothing removed), or a delta to `parent`."""

    parent: str
    added: Segments
    removed: Segments


def parse(plaintext: bytes) -> StoredSegments:
    """Parse the plaintext of a reference set. `DamageError`."""
    cursor = Cursor(plaintext)
    if cursor.byte() != 1:
        raise DamageError("a reference set has an unknown version")
    mode = cursor.byte()
    if mode == FULL:
        found = StoredSegments("", _read_list(cursor), Segments())
    elif mode == DELTA:
        parent = cursor.take(32).hex()
        found = StoredSegments(parent, _read_list(cursor), _read_list(cursor))
    else:
        raise DamageError("a reference set has an unknown mode")
    cursor.finish()
    return found


def _list(segments: Segments) -> bytes:
    """Return the coded list of a set."""
    coded = list(segments.ranges())
    out = [varint(len(coded))]
    for origin, ranges in coded:
        out += [origin, varint(len(ranges))]
        end = 0
        for start, stop in ranges:
            out += [varint(start - end), varint(stop - start)]
            end = stop
    return b"".join(out)


def _read_list(cursor: Cursor) -> Segments:
    ranges_of: dict[bytes, list[Range]] = {}
    before = b""
    for _ in range(cursor.varint()):
        origin = cursor.take(ORIGIN_BYTES)
        ranges: list[Range] = []
        end = 0
        for _ in range(cursor.varint()):
            gap, length = cursor.varint(), cursor.varint()
            start, end = end + gap, end + gap + length
            if not length or end > 1 << 32 or (ranges and not gap):
                raise DamageError("a reference set has an impossible range")
            ranges.append((start, end))
        if origin <= before or not ranges:
            raise DamageError("a reference set is out of order")
        before = origin
        ranges_of[origin] = ranges
    return Segments(ranges_of)


def _join(ranges: list[Range]) -> list[Range]:
    """Join sorted ranges that touch or overlap."""
    out: list[Range] = []
    for start, stop in ranges:
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(stop, out[-1][1]))
        else:
            out.append((start, stop))
    return out


def _subtract(ranges: list[Range], holes: list[Range]) -> list[Range]:
    out: list[Range] = []
    at = 0
    for start, stop in ranges:
        begin = start
        while at < len(holes) and holes[at][1] <= begin:
            at += 1
        here = at
        while here < len(holes) and holes[here][0] < stop:
            if holes[here][0] > begin:
                out.append((begin, holes[here][0]))
            begin = max(begin, holes[here][1])
            here += 1
        if begin < stop:
            out.append((begin, stop))
    return out
