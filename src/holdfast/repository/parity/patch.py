"""Healing several damaged packs of one group where each is damaged in a few places only: sector by sector.

A row says at each offset what the sum of all packs must be. What the packs and the stored rows make of it together, the
*syndrome*, is zero where nothing is damaged. Where it is not, one damaged pack explains it or another does: with two rows the
quotient of the two syndromes names the pack; where that leaves a choice (one row only, or two packs damaged at one offset) the
choices are tried, within limits, and the hash that is each pack's name decides. Nothing is believed that does not hash to its
name, so a wrong guess costs time and no byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby, product

from holdfast.repository.objects import sha256
from holdfast.repository.parity.field import coefficient, inverse, scaled, xor
from holdfast.repository.parity.field import product as times

__all__ = ["HASHED_BYTES_MAX", "SECTOR_BYTES", "Equation", "eliminated", "equations", "patched"]

SECTOR_BYTES = 512
"""Damage is told apart by so many bytes: what a disk loses at once is no smaller."""
HASHED_BYTES_MAX = 2 << 30
"""So much is hashed at most for the choices of one pack."""
CHOICES_MAX = 1 << 14
"""So many choices are tried at most for one pack."""
STRETCHES_MAX = 4096
"""More stretches than this are no light damage."""

Delta = tuple[tuple[int, bytes], ...]
"""By slot, what is to be added to the packs over a stretch."""


@dataclass(frozen=True, slots=True)
class Equation:
    """One row: by slot the factor of each unknown pack, and the sum of what is wrong with them."""

    factors: Mapping[int, int]
    syndrome: bytes


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Adjacent sectors that are explained alike, and the ways in which they can be."""

    start: int
    ways: tuple[Delta, ...]


def equations(rows: Mapping[int, bytes], slots: Sequence[int]) -> list[Equation]:
    """Return the equations of rows, given by number with their syndromes, for the slots whose packs are not as they were."""
    return [Equation({slot: coefficient(row, slot) for slot in slots}, found) for row, found in sorted(rows.items())]


def eliminated(system: Sequence[Equation], missing: Sequence[int]) -> list[Equation]:
    """Return the equations without the packs that are missing as a whole: one equation fewer for each of them."""
    left = list(system)
    for slot in missing:
        if not left:
            return []
        pivot = left.pop(0)
        left = [_without(each, pivot, slot) for each in left]
    return left


def _without(equation: Equation, pivot: Equation, slot: int) -> Equation:
    factor = times(equation.factors[slot], inverse(pivot.factors[slot]))
    factors = {
        other: value ^ times(factor, pivot.factors[other]) for other, value in equation.factors.items() if other != slot
    }
    return Equation(factors, xor(equation.syndrome, scaled(pivot.syndrome, factor)))


def patched(packs: Mapping[int, tuple[str, bytes, int]], system: Sequence[Equation]) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of each damaged pack that can be made whole.

    `packs`: by slot the name, the bytes as they are (as long as the rows, zeros behind their end), and the pack's length.
    """
    stretches = _stretches(system, sorted(packs))
    if stretches is None:
        return
    waiting = dict(packs)
    progress = True
    while progress and waiting:
        progress = False
        for slot, (name, data, size) in sorted(waiting.items()):
            choice = _choose(slot, name, data, size, stretches)
            if choice is None:
                continue
            made, stretches = choice
            del waiting[slot]
            progress = True
            yield name, made
            break


def _stretches(system: Sequence[Equation], slots: Sequence[int]) -> list[_Stretch] | None:
    """Return what is damaged, with its explanations; None if that is nothing, too much, or cannot be explained."""
    if not system:
        return None
    length = len(system[0].syndrome)
    zeros = bytes(SECTOR_BYTES)
    found: list[_Stretch] = []
    run: list[tuple[int, tuple[Delta, ...]]] = []
    for start in range(0, length, SECTOR_BYTES):
        pieces = [each.syndrome[start : start + SECTOR_BYTES] for each in system]
        if all(piece == zeros[: len(piece)] for piece in pieces):
            found += _joined(run)
            run = []
            continue
        ways = _ways(system, pieces, slots)
        if not ways or len(found) > STRETCHES_MAX:
            return None
        run.append((start, ways))
    found += _joined(run)
    return found or None


def _joined(run: Sequence[tuple[int, tuple[Delta, ...]]]) -> list[_Stretch]:
    """Join adjacent sectors where the same packs explain each: a stretch is one choice, however long it is."""
    found = []
    for _, group in groupby(run, key=lambda sector: [[slot for slot, _ in way] for way in sector[1]]):
        sectors = list(group)
        ways = [
            tuple((same[0][0], b"".join(delta for _, delta in same)) for same in zip(*way, strict=True))
            for way in zip(*(ways for _, ways in sectors), strict=True)
        ]
        found.append(_Stretch(sectors[0][0], tuple(ways)))
    return found


def _ways(system: Sequence[Equation], pieces: Sequence[bytes], slots: Sequence[int]) -> tuple[Delta, ...]:
    """Return the explanations by as few packs as can be."""
    for count in range(1, min(len(system), len(slots)) + 1):
        ways = [way for chosen in combinations(slots, count) if (way := _solved(system, pieces, chosen)) is not None]
        if ways:
            return tuple(ways)
    return ()


def _solved(system: Sequence[Equation], pieces: Sequence[bytes], chosen: Sequence[int]) -> Delta | None:
    """Return what the chosen packs would lack if they alone were damaged here; None if that cannot be."""
    rows = [([each.factors[slot] for slot in chosen], piece) for each, piece in zip(system, pieces, strict=True)]
    for at in range(len(chosen)):
        pivot = next((n for n in range(at, len(rows)) if rows[n][0][at]), None)
        if pivot is None:
            return None
        rows[at], rows[pivot] = rows[pivot], rows[at]
        factor = inverse(rows[at][0][at])
        rows[at] = [times(value, factor) for value in rows[at][0]], scaled(rows[at][1], factor)
        for other in range(len(rows)):
            if other != at and (share := rows[other][0][at]):
                rows[other] = (
                    [a ^ times(share, b) for a, b in zip(rows[other][0], rows[at][0], strict=True)],
                    xor(rows[other][1], scaled(rows[at][1], share)),
                )
    if any(any(piece) for _, piece in rows[len(chosen) :]):
        return None
    return tuple((slot, rows[at][1]) for at, slot in enumerate(chosen))


def _choose(
    slot: int, name: str, data: bytes, size: int, stretches: list[_Stretch]
) -> tuple[bytes, list[_Stretch]] | None:
    """Try the choices of one pack; return the pack made whole, and the stretches with the ways that are left."""
    options = [sorted({dict(way).get(slot, b"") for way in stretch.ways}) for stretch in stretches]
    open_ones = [n for n, option in enumerate(options) if len(option) > 1]
    count = 1
    for n in open_ones:
        count *= len(options[n])
        if count > CHOICES_MAX or count * size > HASHED_BYTES_MAX:
            return None
    fixed = bytearray(data)
    for n, option in enumerate(options):
        if len(option) == 1:
            _add(fixed, stretches[n].start, option[0])
    for picks in product(*(options[n] for n in open_ones)):
        made = bytearray(fixed)
        for n, delta in zip(open_ones, picks, strict=True):
            _add(made, stretches[n].start, delta)
        whole = bytes(made[:size])
        if sha256(whole) == name:
            chosen = {n: option[0] for n, option in enumerate(options)} | dict(zip(open_ones, picks, strict=True))
            return whole, [
                _Stretch(stretch.start, tuple(way for way in stretch.ways if dict(way).get(slot, b"") == chosen[n]))
                for n, stretch in enumerate(stretches)
            ]
    return None


def _add(data: bytearray, start: int, delta: bytes) -> None:
    end = start + len(delta)
    data[start:end] = xor(bytes(data[start:end]), delta)
