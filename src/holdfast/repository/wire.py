"""Varints as the format writes them: unsigned LEB128, at most ten bytes, below 2^64, no over-long form. Pure."""

from __future__ import annotations

from holdfast.errors import DamageError

VARINT_BYTES_MAX = 10


class Cursor:
    """A position in bytes. Every read is bounded; `DamageError` past the end or for a malformed number."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes) -> None:
        """Start at the front."""
        self.data = data
        self.at = 0
        self.end = len(data)

    def take(self, length: int) -> bytes:
        """Return the next bytes."""
        start = self.at
        if length > self.end - start:
            raise DamageError("an object ends within a field")
        self.at = start + length
        return self.data[start : self.at]

    def byte(self) -> int:
        """Return the next byte as a number."""
        return self.take(1)[0]

    def varint(self) -> int:
        """Return the next varint."""
        data, at = self.data, self.at
        value = shift = 0
        while True:
            if at >= self.end:
                raise DamageError("an object ends within a number")
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - the continuation bit
                break
            shift += 7
            if shift >= 7 * VARINT_BYTES_MAX:
                raise DamageError("a number is too long")
        if value >> 64 or (shift and not byte):
            raise DamageError("a number is malformed")
        self.at = at
        return value

    def finish(self) -> None:
        """Refuse trailing bytes."""
        if self.at != self.end:
            raise DamageError("an object has bytes after its end")


def varint(value: int) -> bytes:
    """Return a number as a varint."""
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
