"""Mutations of bytes and of JSON from a seed: what a fuzzer does where no coverage-guided one is at hand.

The same seed and the same inputs give the same mutations, so a failure is found again.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence

__all__ = ["mutate", "mutations"]

BYTES_MAX = 16 << 10
"""Longer inputs say nothing that shorter ones do not."""
TURNS = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0xFFFF,
    0x10000,
    0x7FFFFFFF,
    0xFFFFFFFF,
    1 << 32,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 1,
)
"""Numbers at which parsers turn."""
ODD_VALUES: tuple[object, ...] = (
    *(None, True, False, 0, 1, -1, 1 << 64, -(1 << 63), 10**400, 0.5, 1e308, "", "\0", "a" * 300, "\ud800", "../x"),
    *([], {}, [[]], [{}], {"": ""}, "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00.000000Z", "AA==", "00" * 16),
)
ODD_TEXTS = (
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1e999",
    b'"\\ud800"',
    b"[" * 5000,
    b"9" * 5000,
    b"\xef\xbb\xbf",
    b"\xff",
    b"\0",
)


def mutate(dice: random.Random, data: bytes, other: bytes) -> bytes:
    """Return `data` changed in one to four places, spliced with `other` at times; JSON also in its structure."""
    if data[:1] in b"{[" and dice.random() < 0.5:
        changed = _json(dice, data)
        if changed is not None:
            return changed[:BYTES_MAX]
    for _ in range(dice.randrange(1, 5)):
        data = _bytes(dice, data, other)
    return data[:BYTES_MAX]


def mutations(seed: int, corpus: Sequence[bytes]) -> Iterator[bytes]:
    """Yield mutations of a corpus without end."""
    dice = random.Random(seed)
    while True:
        yield mutate(dice, dice.choice(corpus), dice.choice(corpus))


def _bytes(dice: random.Random, data: bytes, other: bytes) -> bytes:  # noqa: PLR0911 - one a case
    at = dice.randrange(len(data) + 1)
    end = min(len(data), at + dice.randrange(33))
    match dice.randrange(9):
        case 0 if at < len(data):
            return data[:at] + bytes((data[at] ^ 1 << dice.randrange(8),)) + data[at + 1 :]
        case 1 if at < len(data):
            return data[:at] + dice.randbytes(1) + data[at + 1 :]
        case 2:
            return data[:at] + data[end:]
        case 3:
            return data[:at] + data[at:end] + data[at:]
        case 4:
            width = dice.choice((1, 2, 4, 8))
            number = dice.choice(TURNS) % (1 << 8 * width)
            return data[:at] + number.to_bytes(width, "little") + data[at + width :]
        case 5:
            return data[:at] + dice.choice(ODD_TEXTS) + data[end:]
        case 6:
            start = dice.randrange(len(other) + 1)
            return data[:at] + other[start : start + dice.randrange(65)] + data[end:]
        case 7:
            return data[:at] + dice.randbytes(dice.randrange(9)) + data[at:]
        case _:
            return data[:at]


def _json(dice: random.Random, data: bytes) -> bytes | None:
    """Change one value, key or element somewhere in a JSON text. Canonical again, unless a half surrogate got in."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    holder: list[object] = [value]
    place: list[object] | dict[str, object] = holder
    key: int | str = 0
    for _ in range(dice.randrange(6)):
        inner = place[key]  # type: ignore[index]
        if isinstance(inner, dict) and inner:
            place, key = inner, dice.choice(sorted(inner))
        elif isinstance(inner, list) and inner:
            place, key = inner, dice.randrange(len(inner))
        else:
            break
    match dice.randrange(4):
        case 0 if isinstance(place, dict):
            del place[str(key)]
        case 1 if isinstance(place, list):
            place.extend([place[int(key)]] * dice.randrange(1, 4))
        case 2 if isinstance(place, dict):
            place[dice.choice(("", "\0", "type", "format", "classes"))] = dice.choice(ODD_VALUES)
        case _:
            place[key] = dice.choice(ODD_VALUES)  # type: ignore[index]
    text = json.dumps(holder[0] if holder else None, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode(errors="surrogatepass")
