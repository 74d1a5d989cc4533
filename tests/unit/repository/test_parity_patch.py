"""Several damaged packs of one group come back sector by sector, where the rows can tell; a wrong guess is never believed."""

from __future__ import annotations

import random

import pytest

from holdfast.repository.objects import sha256
from holdfast.repository.parity import patch
from holdfast.repository.parity.field import coefficient, inverse, product, scaled, xor
from holdfast.repository.parity.patch import SECTOR_BYTES, eliminated, equations, patched

LENGTH = 20 * SECTOR_BYTES
SEED = 20261125


class Group:
    """Packs by slot, as they were and as they are, and the rows that were made of them."""

    def __init__(self, packs: int, rows: int, seed: int = SEED) -> None:
        self.dice = random.Random(seed)
        self.sizes = {slot: LENGTH - 700 * slot for slot in range(packs)}
        self.was = {slot: self.dice.randbytes(size) for slot, size in self.sizes.items()}
        self.now = {slot: data.ljust(LENGTH, b"\0") for slot, data in self.was.items()}
        self.rows = {row: self._row(row, self.now) for row in range(rows)}
        self.bad: set[int] = set()

    def _row(self, row: int, packs: dict[int, bytes]) -> bytes:
        out = bytes(LENGTH)
        for slot, data in packs.items():
            out = xor(out, scaled(data, coefficient(row, slot)))
        return out

    def spoil(self, slot: int, at: int, count: int = 1) -> None:
        data = bytearray(self.now[slot])
        data[at : at + count] = xor(
            bytes(data[at : at + count]), bytes(self.dice.randrange(1, 256) for _ in range(count))
        )
        self.now[slot] = bytes(data)
        self.bad.add(slot)

    def healed(self, *missing: int) -> dict[int, bytes]:
        here = {slot: data for slot, data in self.now.items() if slot not in missing}
        syndromes = {row: xor(data, self._row(row, here)) for row, data in self.rows.items()}
        bad = sorted(self.bad - set(missing))
        system = eliminated(equations(syndromes, [*missing, *bad]), missing)
        packs = {slot: (sha256(self.was[slot]), self.now[slot], self.sizes[slot]) for slot in bad}
        by_name = {name: slot for slot, (name, _, _) in packs.items()}
        found = {by_name[name]: data for name, data in patched(packs, system)}
        assert all(self.was[slot] == data for slot, data in found.items()), f"seed {SEED}"
        return found


def test_the_field_is_one():
    for a in (1, 2, 7, 0x53, 255):
        assert product(a, inverse(a)) == 1
        assert scaled(bytes((a, 0)), inverse(a)) == b"\x01\0"
    assert product(0x80, 2) == 0x1D


def test_two_rows_tell_many_packs_apart():
    group = Group(9, 2)
    for slot in range(9):
        group.spoil(slot, slot * SECTOR_BYTES + 5, 40)
    assert set(group.healed()) == set(range(9))


def test_one_row_is_tried_out():
    group = Group(4, 1)
    group.spoil(0, 10)
    group.spoil(2, 5 * SECTOR_BYTES + 3, 700)
    group.spoil(3, 12 * SECTOR_BYTES)
    assert set(group.healed()) == {0, 2, 3}


def test_two_packs_damaged_at_one_place_come_back_by_two_rows():
    group = Group(7, 2)
    for slot in (1, 4):
        group.spoil(slot, 3 * SECTOR_BYTES + 20, 100)
    for slot in (2, 5):
        group.spoil(slot, 9 * SECTOR_BYTES, 8)
    assert set(group.healed()) == {1, 2, 4, 5}


def test_beside_a_pack_that_is_missing_the_others_come_back():
    group = Group(6, 2)
    group.spoil(1, 100)
    group.spoil(3, 6 * SECTOR_BYTES)
    assert set(group.healed(5)) == {1, 3}
    assert group.healed(5, 0) == {}, "no row is left to tell them by"


def test_what_the_rows_cannot_tell_is_not_guessed():
    group = Group(4, 1)
    for slot in (0, 1):
        group.spoil(slot, 50)  # at one place, and one row
    assert group.healed() == {}
    group.spoil(2, 8 * SECTOR_BYTES)
    assert set(group.healed()) == {2}, "a third one is told apart all the same"


def test_a_pack_whose_damage_hides_behind_another_s_is_left():
    group = Group(5, 2)
    for slot in (0, 1, 2):
        group.spoil(slot, 77)  # three at one place, two rows
    group.spoil(3, 9 * SECTOR_BYTES)
    assert set(group.healed()) <= {3}


def test_nothing_damaged_is_nothing_to_do():
    group = Group(3, 2)
    assert group.healed() == {}
    assert list(patched({}, [])) == []


@pytest.mark.parametrize("limit", ["CHOICES_MAX", "HASHED_BYTES_MAX", "STRETCHES_MAX"])
def test_trying_has_limits(limit, monkeypatch):
    group = Group(4, 1)
    for n in range(4):
        group.spoil(n % 2, 4 * n * SECTOR_BYTES)
    monkeypatch.setattr(patch, limit, 1)
    assert group.healed() == {}


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_spoiled_nothing_wrong_comes_back(seed):
    dice = random.Random(SEED + seed)
    rows = dice.randint(1, 4)
    group = Group(dice.randint(2, 12), rows, SEED + seed)
    for slot in dice.sample(sorted(group.was), min(len(group.was), rows + 2)):
        group.spoil(slot, dice.randrange(group.sizes[slot] - 60), dice.randint(1, 60))
    group.healed()
