"""What a served store and its client say to each other over one stream of bytes: one request, one answer, one after the other.

A message is a length (4 bytes, big-endian) of a header, the header (JSON, UTF-8), and as many bytes as its `bytes` says. Names in
headers are object names, checked by both sides; content is in the bytes. A request names a verb of the store protocol; an answer
holds a result, or an error by its code. Nothing else goes over the stream, and nothing listens: `sshd` starts one end.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from holdfast import errors
from holdfast.base.defaults import PACK_BYTES_MAX
from holdfast.errors import HoldfastError, InternalError, StoreRefusedError, StoreUnreachableError
from holdfast.stores.protocol import ObjectInfo, Store, check_name, check_prefix

if TYPE_CHECKING:
    from holdfast.stores.protocol import Data

HEADER_BYTES_MIN = 2
HEADER_BYTES_MAX = 64 << 10
BYTES_MAX = PACK_BYTES_MAX + (16 << 20)
CHANGING = frozenset({"delete", "create"})
"""Verbs that are refused where a store is served to add only."""
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Message:
    """A header and its bytes."""

    header: dict[str, Any]
    content: bytes = field(default=b"", repr=False)


def encode(header: dict[str, Any], content: Data = b"") -> bytes:
    """Return a message as it goes over the stream."""
    text = json.dumps({**header, "bytes": len(content)}, separators=(",", ":")).encode()
    return b"".join((_LENGTH.pack(len(text)), text, content))


def header_length(prefix: bytes) -> int:
    """Return the length of a header from its four bytes. `StoreRefusedError` if no header is so long."""
    length: int = _LENGTH.unpack(prefix)[0]
    if not HEADER_BYTES_MIN <= length <= HEADER_BYTES_MAX:
        raise _strange()
    return length


def header_of(text: bytes) -> tuple[dict[str, Any], int]:
    """Return a header and how many bytes follow it. `StoreRefusedError` for what is none."""
    try:
        header = json.loads(text)
    except ValueError:
        raise _strange() from None
    size = header.get("bytes") if isinstance(header, dict) else None
    if not isinstance(size, int) or not 0 <= size <= BYTES_MAX:
        raise _strange()
    return header, size


def _strange() -> StoreRefusedError:
    return StoreRefusedError(
        "the other end does not speak the protocol of `holdfast serve`",
        safe="nothing was stored by this call.",
        next="check the forced command of the key: it must be `holdfast serve --add-only --vault DIR`",
    )


def serve(store: Store, source: IO[bytes], sink: IO[bytes], *, add_only: bool) -> int:
    """Answer requests until the stream ends; return how many there were.

    With `add_only`, what changes or removes anything that is there is refused: the credential behind this stream can add
    objects and read what its keys open, and nothing else.
    """
    answered = 0
    while True:
        prefix = _exactly(source, _LENGTH.size, or_end=True)
        if not prefix:
            return answered
        header, size = header_of(_exactly(source, header_length(prefix)))
        content = _exactly(source, size)
        sink.write(_answer(store, Message(header, content), add_only=add_only))
        sink.flush()
        answered += 1


def _exactly(source: IO[bytes], count: int, *, or_end: bool = False) -> bytes:
    parts, left = [], count
    while left:
        part = source.read(left)
        if not part:
            if or_end and left == count:
                return b""
            raise StoreUnreachableError("the stream to a client ended in the middle of a request")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _answer(store: Store, request: Message, *, add_only: bool) -> bytes:
    verb = request.header.get("verb")
    try:
        if add_only and verb in CHANGING:
            raise StoreRefusedError(
                "this store is served to add only: nothing is removed through it",
                safe="nothing was changed.",
                next="prune where the vault's own files can be reached, with a key that may",
            )
        result, content = _act(store, request)
    except HoldfastError as error:
        return encode({"error": error.code, "what": error.what, "safe": error.safe, "next": error.next})
    return encode({"result": result}, content)


def _act(store: Store, request: Message) -> tuple[object, bytes]:
    """Do what a request asks for. `InternalError` for a name outside the alphabet, before anything is touched."""
    action = _VERBS.get(str(request.header.get("verb")))
    if action is None:
        raise _strange()
    return action(store, request)


def _name(request: Message) -> str:
    return check_name(str(request.header.get("name", "")))


def _put(store: Store, request: Message) -> tuple[object, bytes]:
    store.put(_name(request), request.content)
    return True, b""


def _get_range(store: Store, request: Message) -> tuple[object, bytes]:
    offset, length = request.header.get("offset"), request.header.get("length")
    if not isinstance(offset, int) or not isinstance(length, int) or offset < 0 or length > BYTES_MAX:
        raise _strange()
    return True, store.get_range(_name(request), offset, length)


def _list(store: Store, request: Message) -> tuple[object, bytes]:
    rows = store.list(check_prefix(str(request.header.get("prefix", ""))))
    return True, "".join(f"{row.size} {row.name}\n" for row in rows).encode()


def _delete(store: Store, request: Message) -> tuple[object, bytes]:
    store.delete(_name(request))
    return True, b""


def _create(store: Store, request: Message) -> tuple[object, bytes]:
    del request
    store.create()
    return True, b""


def _room(store: Store, request: Message) -> tuple[object, bytes]:
    del request
    room = store.room()
    return None if room is None else [room.free_bytes, room.total_bytes], b""


_VERBS: dict[str, Callable[[Store, Message], tuple[object, bytes]]] = {
    "put": _put,
    "put_new": lambda store, request: (store.put_new(_name(request), request.content), b""),
    "get": lambda store, request: (True, store.get(_name(request))),
    "get_range": _get_range,
    "list": _list,
    "size": lambda store, request: (store.size(_name(request)), b""),
    "exists": lambda store, _request: (store.exists(), b""),
    "room": _room,
    "delete": _delete,
    "create": _create,
}


def rows_of(content: bytes) -> list[ObjectInfo]:
    """Return the rows of a listing. `StoreRefusedError` if it is none."""
    found = []
    for line in content.decode().splitlines():
        size, _, name = line.partition(" ")
        if not size.isdecimal():
            raise _strange()
        found.append(ObjectInfo(check_name(name), int(size)))
    return found


def raised(header: dict[str, Any]) -> HoldfastError:
    """Return the error that an answer holds, by its code; an unknown code is an unreachable store."""
    by_code = {cls.code: cls for cls in errors.error_classes()}
    cls = by_code.get(str(header.get("error")), StoreUnreachableError)
    what = str(header.get("what", ""))[:1000]
    if issubclass(cls, InternalError):
        return cls(what)
    return cls(what, safe=str(header.get("safe", ""))[:1000], next=str(header.get("next", ""))[:1000])
