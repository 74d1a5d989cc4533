"""Puts shares of a key together (``docs/format/keys.md``): SLIP-0039 with one group, an empty passphrase, 33 words a share.

A share's words are 10 bits each, 330 in all: identifier 15, extendable flag 1, iteration exponent 4, group index 4, group threshold 4
(less 1), group count 4 (less 1), member index 4, member threshold 4 (less 1), 4 bits of padding, 256 bits of value, checksum 30.
"""

from __future__ import annotations

import hashlib
import hmac
import os

from rescue_format import WrongKey

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "words.txt"), encoding="ascii") as stream:
    WORDS = tuple(stream.read().split())
"""The 1024 words of SLIP-0039, in their order."""
SHARE_WORDS, CHECK_WORDS = 33, 3
SECRET_AT, DIGEST_AT = 255, 254
GENERATOR = (
    0xE0E040,
    0x1C1C080,
    0x3838100,
    0x7070200,
    0xE0E0009,
    0x1C0C2412,
    0x38086C24,
    0x3090FC48,
    0x21B1F890,
    0x3F3F120,
)


def _tables() -> tuple[list[int], list[int]]:
    powers, logs, value = [0] * 255, [0] * 256, 1
    for exponent in range(255):
        powers[exponent], logs[value] = value, exponent
        value ^= value << 1  # times x + 1 in GF(256) of Rijndael's polynomial
        if value & 0x100:
            value ^= 0x11B
    return powers, logs


POWERS, LOGS = _tables()


def read_sheet(text: str, number: int) -> tuple[tuple[int, ...], int, bytes]:
    """What a sheet says: what all shares of its key agree in, its own place, its value."""
    lines = [line.strip().lower() for line in text.splitlines()]
    if "holdfast-share-1" in lines:
        start = lines.index("holdfast-share-1") + 1
        lines = lines[start : lines.index("", start) if "" in lines[start:] else len(lines)]
    words = [word for word in " ".join(lines).replace(",", " ").replace(".", " ").split() if not word.isdecimal()]
    if len(words) != SHARE_WORDS or any(word not in WORDS for word in words):
        raise WrongKey(f"sheet {number}: it needs {SHARE_WORDS} words, and one of these is missing or misspelt")
    numbers = [WORDS.index(word) for word in words]
    bits = int("".join(f"{value:010b}" for value in numbers), 2) >> (10 * CHECK_WORDS)
    value = (bits & (1 << 256) - 1).to_bytes(32, "big")
    head = bits >> 260
    fields = [head >> 25, head >> 24 & 1, head >> 20 & 15, *(head >> shift & 15 for shift in (16, 12, 8, 4, 0))]
    identifier, extendable, exponent, group, groups_needed, groups, member, needed = fields
    custom = b"shamir_extendable" if extendable else b"shamir"
    if _checksum([*custom, *numbers]) != 1 or bits >> 256 & 15:
        raise WrongKey(f"sheet {number}: it is misread; a word of it is another")
    if group or groups_needed or groups:
        raise WrongKey(f"sheet {number}: it is of another kind of key")
    return (identifier, extendable, exponent, needed + 1), member, value


def _checksum(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 20
        check = (check & 0xFFFFF) << 10 ^ value
        for bit in range(10):
            check ^= GENERATOR[bit] if top >> bit & 1 else 0
    return check


def combine(sheets: list[str]) -> bytes:
    """The secret that sheets make."""
    read = [read_sheet(text, number) for number, text in enumerate(sheets, 1)]
    common = read[0][0]
    points: dict[int, bytes] = {}
    for number, (said, member, value) in enumerate(read, 1):
        if said != common:
            raise WrongKey(f"sheet {number}: it belongs to another key than the first")
        if member in points:
            raise WrongKey(f"sheet {number}: it is there twice")
        points[member] = value
    identifier, extendable, exponent, needed = common
    if len(points) < needed:
        raise WrongKey(f"{needed} sheets are needed, and {len(points)} were given")
    used = dict(list(points.items())[:needed])
    if needed == 1:
        return _decrypt(used.popitem()[1], identifier, extendable, exponent)
    shared, proof = _interpolate(used, SECRET_AT), _interpolate(used, DIGEST_AT)
    if hmac.new(proof[4:], shared, hashlib.sha256).digest()[:4] != proof[:4]:
        raise WrongKey("the sheets do not make a key, although each is in order")
    return _decrypt(shared, identifier, extendable, exponent)


def _interpolate(points: dict[int, bytes], at: int) -> bytes:
    log_product = sum(LOGS[x ^ at] for x in points)
    out = bytearray(32)
    for x, value in points.items():
        weight = (log_product - LOGS[x ^ at] - sum(LOGS[x ^ other] for other in points if other != x)) % 255
        for place, byte in enumerate(value):
            out[place] ^= POWERS[(LOGS[byte] + weight) % 255] if byte else 0
    return bytes(out)


def _decrypt(data: bytes, identifier: int, extendable: int, exponent: int) -> bytes:
    salt = b"" if extendable else b"shamir" + identifier.to_bytes(2, "big")
    left, right = data[:16], data[16:]
    for turn in (3, 2, 1, 0):
        stretched = hashlib.pbkdf2_hmac("sha256", bytes([turn]), salt + right, 2500 << exponent, 16)
        left, right = right, bytes(a ^ b for a, b in zip(left, stretched, strict=True))
    return right + left
