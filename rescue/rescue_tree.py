"""Trees of a Holdfast snapshot: nodes, entries, contents and page maps, as ``docs/format/trees.md`` specifies them.

Reads through one function, `fetch(location, roles) -> bytes`, which the vault supplies and which has verified what it gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from rescue_format import (
    ALL_HOLE,
    ID_BYTES,
    INLINE_BYTES_MAX,
    LIST_ITEMS_MAX,
    MAP_GROUP_PAGES,
    NODE,
    NODE_BYTES_MAX,
    NODE_EXPANDED_BYTES_MAX,
    ORIGIN_BYTES,
    PATH_BYTES_MAX,
    PIECES,
    TREE_LEVELS_MAX,
    Cursor,
    Damage,
)  # fmt: skip

FILE, FOLDER, SYMLINK, FIFO, CHARACTER_DEVICE, BLOCK_DEVICE = 1, 2, 3, 4, 5, 6
KIND_LETTERS = {FILE: "-", FOLDER: "d", SYMLINK: "l", FIFO: "p", CHARACTER_DEVICE: "c", BLOCK_DEVICE: "b"}
U64 = 2**64
NAME_BYTES_MAX = 1024
XATTRS_MAX = 4096
XATTRS_BYTES_MAX = NODE_BYTES_MAX // 8


class Location(NamedTuple):
    """Where a chunk is, whatever pack holds it now."""

    origin: bytes
    segment: int
    chunk: int

    @classmethod
    def parse(cls, text: str) -> Location:
        """From `HEX:segment:chunk`."""
        try:
            origin, segment, chunk = text.split(":")
            location = cls(bytes.fromhex(origin), int(segment), int(chunk))
        except (ValueError, AttributeError) as failure:
            raise Damage("snapshot part: its root is not a location") from failure
        if len(location.origin) != ORIGIN_BYTES or location.segment < 0 or location.chunk < 0:
            raise Damage("snapshot part: its root is not a location")
        return location


if TYPE_CHECKING:  # aliases that Python 3.9 cannot evaluate
    Fetch = Callable[[Location, int], bytes]
    Piece = tuple[int, Location | None]


class Content(NamedTuple):
    """Content of a file: the tag of the format, and what comes with it."""

    tag: int
    inline: bytes
    page_size: int
    pieces: list[Piece]
    places: list[Location]


class Entry(NamedTuple):
    """One file, folder, link, fifo or device."""

    path: bytes
    kind: int
    mode: int
    uid: int
    gid: int
    user: bytes
    group: bytes
    mtime_ns: int
    xattrs: list[tuple[bytes, bytes]]
    link_id: bytes | None
    size: int
    content: Content | None
    target: bytes
    device: tuple[int, int]


class Lost(NamedTuple):
    """A part of the tree that cannot be read: everything from `first` up to, not including, `end` (None: the end)."""

    first: bytes
    end: bytes | None
    reason: str


class Child(NamedTuple):
    """A child of an inner node."""

    first: bytes
    location: Location
    entries: int
    content_bytes: int


def order(path: bytes) -> bytes:
    """The key by which paths are ordered: `/` is the smallest byte (no path holds a 0)."""
    return path.replace(b"/", b"\0")


class Places:
    """Reads the locations of one node or list: an origin table, then differences."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.origins = [cursor.take(ORIGIN_BYTES) for _ in range(cursor.varint(NODE_BYTES_MAX // ORIGIN_BYTES))]
        self.index: int | None = None
        self.segment = self.chunk = 0

    def next(self) -> Location:
        """The next location."""
        cursor = self.cursor
        index = cursor.varint()
        if index >= len(self.origins):
            raise Damage(f"{cursor.what}: location with an unknown origin")
        segment = self.segment + cursor.zigzag()
        base = self.chunk + 1 if index == self.index and segment == self.segment else 0
        chunk = base + cursor.zigzag()
        if not (0 <= segment < 2**32 and 0 <= chunk < 2**32):
            raise Damage(f"{cursor.what}: location out of range")
        self.index, self.segment, self.chunk = index, segment, chunk
        return Location(self.origins[index], segment, chunk)

    def many(self) -> list[Location]:
        """A count and that many locations."""
        return [self.next() for _ in range(self.cursor.varint(LIST_ITEMS_MAX))]

    def pieces(self) -> list[Piece]:
        """A piece list."""
        pieces: list[Piece] = []
        for _ in range(self.cursor.varint(LIST_ITEMS_MAX)):
            coded = self.cursor.varint()
            if coded < 2:
                raise Damage(f"{self.cursor.what}: an empty piece")
            pieces.append((coded >> 1, None if coded & 1 else self.next()))
        return pieces


def _path(cursor: Cursor, before: bytes) -> bytes:
    shared = cursor.varint(len(before))
    path = before[:shared] + cursor.bytes_field(PATH_BYTES_MAX)
    if len(path) > PATH_BYTES_MAX or b"\0" in path or (path and not {b"", b".", b".."}.isdisjoint(path.split(b"/"))):
        raise Damage(f"{cursor.what}: not a path")
    return path


def _expanded(cursor: Cursor, count: int) -> None:
    if count > NODE_EXPANDED_BYTES_MAX:
        raise Damage(f"{cursor.what}: its paths, written out, are beyond any memory")


def _attributes(cursor: Cursor) -> list[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = []
    for _ in range(cursor.varint(XATTRS_MAX)):
        name, value = cursor.bytes_field(NAME_BYTES_MAX), cursor.bytes_field(XATTRS_BYTES_MAX)
        if not name or b"\0" in name or (found and name <= found[-1][0]):
            raise Damage(f"{cursor.what}: attributes out of order, or without a name")
        found.append((name, value))
    if sum(len(name) + len(value) for name, value in found) > XATTRS_BYTES_MAX:
        raise Damage(f"{cursor.what}: more attributes than an entry may have")
    return found


def _page_size(cursor: Cursor) -> int:
    log2 = cursor.varint(16)
    if log2 < 9:
        raise Damage(f"{cursor.what}: impossible page size")
    return 1 << log2


def _content(cursor: Cursor, places: Places, size: int) -> Content:
    tag = cursor.number(1)
    if tag == 0:
        if size > INLINE_BYTES_MAX:
            raise Damage(f"{cursor.what}: inline content too long")
        return Content(tag, cursor.take(size), 0, [], [])
    if tag == 1:
        return Content(tag, b"", 0, places.pieces(), [])
    if tag == 2:
        return Content(tag, b"", 0, [], places.many())
    if tag in (3, 4):
        page_size = _page_size(cursor)
        return Content(tag, b"", page_size, [], places.many())
    raise Damage(f"{cursor.what}: unknown kind of content")


def parse_leaf(cursor: Cursor, places: Places) -> Iterator[Entry]:
    """The entries of a leaf, after its origin table."""
    names = [b""] + [cursor.bytes_field(NAME_BYTES_MAX) for _ in range(cursor.varint(NODE_BYTES_MAX))]
    path, seconds, expanded = b"", 0, 0
    last: bytes | None = None
    for _ in range(cursor.varint(NODE_BYTES_MAX)):
        path = _path(cursor, path)
        if last is not None and order(path) <= last:
            raise Damage(f"{cursor.what}: entries out of order")
        last = order(path)
        kind, flags = cursor.number(1), cursor.number(1)
        if kind not in KIND_LETTERS or flags & ~3:
            raise Damage(f"{cursor.what}: entry of an unknown kind")
        mode, uid, gid = cursor.varint(0o7777), cursor.varint(2**32 - 1), cursor.varint(2**32 - 1)
        user, group = names[cursor.varint(len(names) - 1)], names[cursor.varint(len(names) - 1)]
        expanded += len(path) + len(user) + len(group)
        _expanded(cursor, expanded)
        seconds = (seconds + cursor.zigzag() + U64 // 2) % U64 - U64 // 2
        mtime_ns = seconds * 10**9 + cursor.varint(10**9 - 1)
        xattrs = []
        if flags & 1:
            xattrs = _attributes(cursor)
        link_id = cursor.take(8) if flags & 2 else None
        size, content, target, device = 0, None, b"", (0, 0)
        if kind == FILE:
            size = cursor.varint(2**63 - 1)
            content = _content(cursor, places, size)
        elif kind == SYMLINK:
            target = cursor.bytes_field(PATH_BYTES_MAX)
        elif kind in (CHARACTER_DEVICE, BLOCK_DEVICE):
            device = (cursor.varint(2**32 - 1), cursor.varint(2**32 - 1))
        yield Entry(
            path, kind, mode, uid, gid, user, group, mtime_ns, xattrs, link_id, size, content, target, device
        )  # fmt: skip
    cursor.finish()


def parse_inner(cursor: Cursor, places: Places) -> list[Child]:
    """The children of an inner node, after its origin table."""
    children: list[Child] = []
    path, expanded = b"", 0
    for _ in range(cursor.varint(NODE_BYTES_MAX)):
        path = _path(cursor, path)
        expanded += len(path)
        _expanded(cursor, expanded)
        if children and order(path) <= order(children[-1].first):
            raise Damage(f"{cursor.what}: children out of order")
        children.append(Child(path, places.next(), cursor.varint(), cursor.varint()))
    cursor.finish()
    if not children:
        raise Damage(f"{cursor.what}: inner node without children")
    return children


class Walk:
    """Walks one tree in order. `skip(location)` may say that a node need not be entered (it was seen before)."""

    def __init__(self, fetch: Fetch, under: bytes = b"", skip: Callable[[Location], bool] = lambda _: False) -> None:
        self.fetch, self.skip, self.under = fetch, skip, under
        self.low = order(under)
        self.inside = self.low + b"\0" if under else b""
        self.entries = self.content_bytes = 0
        self.last: bytes | None = None
        self.whole = True

    def run(self, root: Location) -> Iterator[Entry | Lost]:
        """Every entry at or under the path, and a `Lost` for each part that cannot be read."""
        return self._node(root, None, b"", None)

    def _wanted(self, path: bytes) -> bool:
        return not self.under or path == self.under or order(path).startswith(self.inside)

    def _beyond(self, path: bytes) -> bool:
        key = order(path)
        return bool(self.under) and key > self.low and not key.startswith(self.inside)

    def _node(self, place: Location, level: int | None, first: bytes, end: bytes | None) -> Iterator[Entry | Lost]:
        if self.skip(place):
            self.whole = False
            return
        try:
            data = self.fetch(place, NODE)
            cursor = Cursor(data, "tree node")
            if len(data) > NODE_BYTES_MAX:
                raise Damage("tree node: too large")
            cursor.version(1)
            found = cursor.number(1)
            if found >= TREE_LEVELS_MAX or (level is not None and found != level):
                raise Damage("tree node: at a wrong level")
            places = Places(cursor)
            if found:
                children = parse_inner(cursor, places)
                if level is not None and children[0].first != first:
                    raise Damage("tree node: starts elsewhere than its parent says")
            else:
                yield from self._leaf(cursor, places, None if level is None else first)
                return
        except Damage as failure:
            self.whole = False
            yield Lost(first, end, str(failure))
            return
        for child, after in zip(children, [*children[1:], None], strict=False):
            next_first = after.first if after else end
            if (after and order(after.first) <= self.low and self.under) or self._beyond(child.first):
                self.whole = False
                continue
            yield from self._child(child, found - 1, next_first)

    def _child(self, child: Child, level: int, end: bytes | None) -> Iterator[Entry | Lost]:
        before, sound, self.whole = (self.entries, self.content_bytes), self.whole, True
        yield from self._node(child.location, level, child.first, end)
        counted = (self.entries - before[0], self.content_bytes - before[1])
        if self.whole and counted != (child.entries, child.content_bytes):
            yield Lost(child.first, end, "tree node: does not hold as much as its parent says")
        self.whole = self.whole and sound

    def _leaf(self, cursor: Cursor, places: Places, first: bytes | None) -> Iterator[Entry]:
        for position, entry in enumerate(parse_leaf(cursor, places)):
            key = order(entry.path)
            if self.last is not None and key <= self.last:
                raise Damage("tree node: entries out of order")
            if position == 0 and first is not None and entry.path != first:
                raise Damage("tree node: starts elsewhere than its parent says")
            self.last = key
            self.entries += 1
            self.content_bytes += entry.size
            if self._wanted(entry.path):
                yield entry


# ---- content --------------------------------------------------------------------------------------------------------


def _list_object(fetch: Fetch, place: Location, what: str) -> tuple[Cursor, Places]:
    data = fetch(place, PIECES)
    if len(data) > NODE_BYTES_MAX:
        raise Damage(f"{what}: too large")
    cursor = Cursor(data, what)
    cursor.version(1)
    return cursor, Places(cursor)


def pieces_of(fetch: Fetch, content: Content) -> Iterator[Piece]:
    """The pieces of a file with content tag 1 or 2, one list at a time."""
    yield from content.pieces
    if content.tag == 2:
        for place in content.places:
            cursor, places = _list_object(fetch, place, "piece list")
            pieces = places.pieces()
            cursor.finish()
            yield from pieces


def groups_of(fetch: Fetch, content: Content) -> Iterator[Location]:
    """The page-map groups of a file with content tag 3 or 4."""
    if content.tag == 3:
        yield from content.places
        return
    for place in content.places:
        cursor, places = _list_object(fetch, place, "group list")
        groups = places.many()
        cursor.finish()
        yield from groups


class PageGroup(NamedTuple):
    """A page-map group: the ids of its pages, and the extents (pages, place or None for a hole, first page there)."""

    pages: int
    last_bytes: int
    ids: list[bytes]
    extents: list[tuple[int, Location | None, int]]


def parse_group(data: bytes, page_size: int) -> PageGroup:
    """A page-map group of a file with this page size."""
    what = "page-map group"
    if len(data) > NODE_BYTES_MAX:
        raise Damage(f"{what}: too large")
    cursor = Cursor(data, what)
    cursor.version(1)
    if _page_size(cursor) != page_size:
        raise Damage(f"{what}: of another page size than its file")
    pages, last_bytes = cursor.varint(MAP_GROUP_PAGES), cursor.varint(page_size)
    places = Places(cursor)
    ids = [cursor.take(ID_BYTES) for _ in range(pages)]
    extents: list[tuple[int, Location | None, int]] = []
    for _ in range(cursor.varint(MAP_GROUP_PAGES)):
        coded = cursor.varint()
        if coded & 1:
            extents.append((coded >> 1, None, 0))
        else:
            extents.append((coded >> 1, places.next(), cursor.varint(SEGMENT_PAGES_MAX)))
    cursor.finish()
    if not pages or not last_bytes or sum(extent[0] for extent in extents) != pages or any(not e[0] for e in extents):
        raise Damage(f"{what}: its extents do not cover its pages")
    at = 0
    for count, place, _ in extents:
        if any((page_id == ALL_HOLE) != (place is None) for page_id in ids[at : at + count]):
            raise Damage(f"{what}: its holes do not match its ids")
        at += count
    return PageGroup(pages, last_bytes, ids, extents)


SEGMENT_PAGES_MAX = 16777216 // 512
