"""What the rescue reader makes of some bytes, in the words of the engine's `tell` (fuzz/src/tell.rs): the two must say the same.

The engine refuses a directory or a node as a whole where one row of it cannot be; the rescue reader finds that later, at the one
segment or file, so that it costs no other. Those checks are made here, behind the parser: `_segment_later`, `_content_later`.
"""

from __future__ import annotations

import rescue_format as f
import rescue_tree as t

KINDS = ("header", "directory", "run", "node", "pieces", "groups", "group")
VAULT = bytes([1] * 16)


def tell(kind: str, data: bytes) -> object:
    """Return the value, or None if the reader refuses the bytes."""
    try:
        return globals()[f"_{kind}"](data)
    except f.Damage:
        return None


def _header(data):
    if len(data) < f.PACK_FIXED_BYTES:
        raise f.Damage("short")
    length = f.pack_header_length(data[: f.PACK_FIXED_BYTES], "pack")
    if length > len(data):
        raise f.Damage("short")
    found = f.parse_pack_header(data[:length], data[12:28], "pack")
    envelopes = [[[kind, wrapped.hex()] for kind, wrapped in one] for one in found.envelopes]
    origins = [[nonce.hex(), index] for nonce, index in found.origins]
    return [found.kind, found.class_id, found.generation, found.nonce.hex(), found.length, envelopes, origins]


def _segment_later(one, end):
    """`rescue_format.decode` refuses the codec and the length; the AEAD binds the ordinal, wherever a segment lies."""
    raw = one.codec == 0 and one.stored != one.length + f.TAG_BYTES
    if one.codec > 1 or raw or (end is not None and one.offset != end):
        raise f.Damage("later")


def _content_later(entry):
    """`rescue_files.blocks` counts a file's bytes; the system refuses a link without a target."""
    content = entry.content
    if entry.kind == t.SYMLINK and (not entry.target or b"\0" in entry.target):
        raise f.Damage("later")
    if content is None:
        return
    pieces = content.tag == 1 and (
        len(content.pieces) > f.PIECES_INLINE_MAX or sum(one for one, _ in content.pieces) != entry.size
    )
    pages = -(-entry.size // content.page_size) if content.tag == 3 else 0
    groups = content.tag == 3 and len(content.places) != -(-pages // f.MAP_GROUP_PAGES)
    if pieces or groups:
        raise f.Damage("later")


def _segments(segments, nonces):
    out, end = [], None
    for one in segments.values():
        _segment_later(one, end)
        end = one.offset + one.stored
        chunks = [
            [one.ids[16 * n : 16 * n + 16].hex(), role, one.bounds[n + 1] - one.bounds[n]]
            for n, role in enumerate(one.roles)
        ]
        out.append([nonces.index(one.origin), one.ordinal, one.offset, one.stored, one.codec, one.length, chunks])
    return out


def _directory(data):
    if not data:
        raise f.Damage("empty")
    nonces = [number.to_bytes(32, "big")[::-1] for number in range(data[0])]
    return _segments(f.parse_directory(data[1:], nonces, f.PACK_BYTES_MAX * 3, "directory"), nonces)


def _run(data):
    out = []
    for pack in f.parse_run(data, "run"):
        segments = f.parse_directory(pack.directory, pack.nonces, pack.size, "run")
        nonces = [nonce.hex() for nonce in pack.nonces]
        out.append([pack.name, pack.size, pack.kind, nonces, _segments(segments, pack.nonces)])
    return out


def _place(place):
    return None if place is None else [place.origin.hex(), place.segment, place.chunk]


def _piece_rows(pieces):
    return [[length, _place(place)] for length, place in pieces]


def _opened(data, what):
    return t._list_object(lambda _place, _role: data, t.Location(b"", 0, 0), what)


def _pieces(data):
    cursor, places = _opened(data, "piece list")
    found = places.pieces()
    cursor.finish()
    return _piece_rows(found)


def _groups(data):
    cursor, places = _opened(data, "group list")
    found = places.many()
    cursor.finish()
    return [_place(place) for place in found]


def _group(data):
    cursor = f.Cursor(data, "group")
    cursor.version(1)
    log2 = cursor.varint(16)
    found = t.parse_group(data, 1 << log2)
    extents = [[pages, _place(place), first] for pages, place, first in found.extents]
    return [1 << log2, found.last_bytes, [page_id.hex() for page_id in found.ids], extents]


def _node(data):
    if len(data) > f.NODE_BYTES_MAX:
        raise f.Damage("too large")
    cursor = f.Cursor(data, "node")
    cursor.version(1)
    level = cursor.number(1)
    if level >= f.TREE_LEVELS_MAX:
        raise f.Damage("level")
    places = t.Places(cursor)
    if level:
        children = t.parse_inner(cursor, places)
        return [level, [[one.first.hex(), _place(one.location), one.entries, one.content_bytes] for one in children]]
    return [0, [_entry(entry) for entry in t.parse_leaf(cursor, places)]]


def _entry(entry):
    _content_later(entry)
    content = entry.content
    told = None
    if content is not None:
        pieces, places = _piece_rows(content.pieces), [_place(place) for place in content.places]
        told = [content.tag, content.inline.hex(), content.page_size, pieces, places]
    kind = [told, entry.size, entry.target.hex(), list(entry.device)]
    xattrs = [[name.hex(), value.hex()] for name, value in entry.xattrs]
    link = None if entry.link_id is None else entry.link_id.hex()
    who = [entry.uid, entry.gid, entry.user.hex(), entry.group.hex()]
    return [entry.path.hex(), entry.kind, entry.mode, *who, entry.mtime_ns, xattrs, link, kind]
