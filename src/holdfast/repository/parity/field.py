"""GF(2^8) over whole stretches of bytes, and the coefficients of parity rows (docs/format/parity.md). Pure."""

from __future__ import annotations

from functools import cache

from holdfast.repository.parity.frame import SLOTS

__all__ = ["coefficient", "inverse", "product", "scaled", "xor"]

_POLYNOMIAL = 0x11D
_ELEMENTS = 256


def product(a: int, b: int) -> int:
    """Return the product of two elements."""
    out = 0
    while b:
        if b & 1:
            out ^= a
        b >>= 1
        a <<= 1
        if a & _ELEMENTS:
            a ^= _POLYNOMIAL
    return out


@cache
def inverse(a: int) -> int:
    """Return the inverse of an element that is not 0."""
    return next(b for b in range(1, _ELEMENTS) if product(a, b) == 1)


@cache
def coefficient(row: int, slot: int) -> int:
    """Return what the pack in a slot is multiplied by in a row."""
    out = 1
    for other in range(SLOTS):
        if other != slot:
            out = product(out, product((SLOTS + row) ^ other, inverse(slot ^ other)))
    return out


@cache
def _table(factor: int) -> bytes:
    return bytes(product(factor, value) for value in range(_ELEMENTS))


def scaled(data: bytes, factor: int) -> bytes:
    """Return every byte multiplied by an element."""
    return data if factor == 1 else data.translate(_table(factor))


def xor(a: bytes, b: bytes) -> bytes:
    """Return the sum of two stretches of one length."""
    return (int.from_bytes(a) ^ int.from_bytes(b)).to_bytes(len(a))
