"""`global/pg_control`: read whole, however often the server writes it meanwhile.

Its last field before the padding is a CRC-32C of all before it (`src/include/catalog/pg_control.h`); where that is depends on
the version, so the place is found by the sum itself.
"""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import CaptureError

if TYPE_CHECKING:
    from holdfast.base.environment import Environment

__all__ = ["read_control", "sound", "system_of"]

CONTROL_BYTES = 8192
SUM_AT_MIN, SUM_AT_MAX = 200, 508
READS_MAX = 20
READ_AGAIN_SECONDS = 0.05
_POLYNOMIAL = 0x82F63B78


@cache
def _table() -> tuple[int, ...]:
    rows = []
    for number in range(256):
        value = number
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        rows.append(value)
    return tuple(rows)


def sound(content: bytes) -> bool:
    """Return whether the content carries its own checksum: it was read whole."""
    if len(content) < SUM_AT_MAX + 4:
        return False
    table, value = _table(), 0xFFFFFFFF
    for at, byte in enumerate(content[:SUM_AT_MAX]):
        if at >= SUM_AT_MIN and at % 4 == 0 and struct.unpack_from("<I", content, at)[0] == value ^ 0xFFFFFFFF:
            return True
        value = table[(value ^ byte) & 0xFF] ^ value >> 8
    return False


def system_of(content: bytes) -> int:
    """Return the system identifier, its first field."""
    found: int = struct.unpack_from("<Q", content)[0] if len(content) >= 8 else 0  # noqa: PLR2004 - a 64-bit number
    return found


def read_control(data: Path, env: Environment) -> bytes:
    """Return the content of `pg_control` of a data directory. `CaptureError` if it is never whole; `OSError`."""
    for _ in range(READS_MAX):
        content = (data / "global" / "pg_control").read_bytes()[:CONTROL_BYTES]
        if sound(content):
            return content
        env.sleep(READ_AGAIN_SECONDS)
    raise CaptureError("the server's control file could not be read whole; its data may be damaged")
