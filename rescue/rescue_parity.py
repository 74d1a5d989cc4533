"""Brings packs back that are damaged or lost, from the parity of their group (docs/format/parity.md). Needs no key.

Everything is hashed: members and rows before they are used, and what comes back before it counts. Packs that came back lie in
unnamed temporary files; the vault is not touched.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import rescue_format as f

SLICE_BYTES = 4 * 2**20
PARITY_SLOTS = 16
PARITY_ROWS_MAX = 16
PARITY_MAGIC = b"\x89HFPR\r\n\x1a"
FIXED_BYTES, MEMBER_BYTES = 40, 40


def times(a: int, b: int) -> int:
    """The product in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a <<= 1
        if a & 0x100:
            a ^= 0x11D
        b >>= 1
    return product


def inverse(a: int) -> int:
    """1 / a."""
    return next(b for b in range(1, 256) if times(a, b) == 1)


def coefficient(row: int, slot: int) -> int:
    """What a byte of the pack in a slot is multiplied with in a row."""
    above = below = 1
    for other in range(PARITY_SLOTS):
        if other != slot:
            above = times(above, (PARITY_SLOTS + row) ^ other)
            below = times(below, slot ^ other)
    return times(above, inverse(below))


def scaled(data: bytes, factor: int) -> bytes:
    """Each byte times a factor."""
    return data.translate(bytes(times(byte, factor) for byte in range(256)))


def added(a: bytes, b: bytes) -> bytes:
    """The sum of two strings, as long as the first; the second is not longer."""
    total = int.from_bytes(a, "little") ^ int.from_bytes(b, "little")
    return total.to_bytes(len(a), "little")


def solved(rows: list[int], slots: list[int]) -> list[list[int]]:
    """The matrix that turns what rows lack into the packs of the slots."""
    size = len(slots)
    left = [[coefficient(row, slot) for slot in slots] for row in rows]
    right = [[int(a == b) for b in range(size)] for a in range(size)]
    for at in range(size):
        pivot = next(line for line in range(at, size) if left[line][at])
        left[at], left[pivot] = left[pivot], left[at]
        right[at], right[pivot] = right[pivot], right[at]
        factor = inverse(left[at][at])
        for side in (left, right):
            side[at] = [times(value, factor) for value in side[at]]
        for line in range(size):
            factor = left[line][at]
            if line != at and factor:
                for side in (left, right):
                    side[line] = [a ^ times(factor, side[at][c]) for c, a in enumerate(side[line])]
    return right


class Member(NamedTuple):
    """A pack of a group."""

    slot: int
    name: str
    size: int


class Group(NamedTuple):
    """Packs that are protected together, and the objects with their rows: (row, name, offset of the row)."""

    members: tuple[Member, ...]
    length: int
    rows: list[tuple[int, str, int]]


def parse_header(data: bytes, vault: bytes, what: str) -> tuple[tuple[object, ...], int, Group]:
    """What is the same in all rows of a group, the number of this one, and the group without rows."""
    c = f.Cursor(data, what)
    if c.take(8) != PARITY_MAGIC:
        raise f.Damage(f"{what}: is no parity object")
    c.version(2)
    row, rows = c.number(1), c.number(1)
    if c.take(16) != vault:
        raise f.Damage(f"{what}: belongs to another vault")
    class_id, folder, slots, count = c.number(2), c.number(1), c.number(1), c.number(2)
    c.zero(2)
    length = c.number(4)
    known = 1 <= rows <= PARITY_ROWS_MAX and row < rows and folder in (1, 2) and slots == PARITY_SLOTS
    if not known or not 1 <= count <= PARITY_SLOTS:
        raise f.Damage(f"{what}: its header is malformed")
    members: list[Member] = []
    for _ in range(count):
        slot = c.number(1)
        c.zero(3)
        size, sha = c.number(4), c.take(32).hex()
        if not 1 <= size <= f.PACK_BYTES_MAX or slot >= PARITY_SLOTS or (members and slot <= members[-1].slot):
            raise f.Damage(f"{what}: a member is malformed")
        members.append(Member(slot, f"{'data' if folder == 1 else 'meta'}/{sha[:2]}/{sha}", size))
    if len({member.name for member in members}) != count or max(member.size for member in members) != length:
        raise f.Damage(f"{what}: its members are malformed")
    return (rows, class_id, folder, tuple(members)), row, Group(tuple(members), length, [])


class Parity:
    """The parity of a vault in a folder."""

    def __init__(self, root: str, vault: bytes) -> None:
        self.root, self.vault = root, vault
        self.problems: list[str] = []
        self.groups: list[Group] = []
        self.of: dict[str, list[Group]] = {}
        self.healed: dict[str, BinaryIO] = {}
        self._whole: dict[str, bool] = {}
        self._load()

    def __del__(self) -> None:
        for stream in getattr(self, "healed", {}).values():
            stream.close()

    def names(self) -> Iterator[str]:
        """Every parity object, in order."""
        top = os.path.join(self.root, "parity")
        for shelf in sorted(os.listdir(top)) if os.path.isdir(top) else []:
            for sha in sorted(os.listdir(os.path.join(top, shelf))):
                if re.fullmatch("[0-9a-f]{64}", sha) and sha[:2] == shelf:
                    yield f"parity/{shelf}/{sha}"

    def _load(self) -> None:
        found: dict[tuple[object, ...], Group] = {}
        for name in self.names():
            try:
                with open(os.path.join(self.root, name), "rb") as stream:
                    head = stream.read(FIXED_BYTES + PARITY_SLOTS * MEMBER_BYTES)
                same, row, group = parse_header(head, self.vault, name)
            except f.Damage as failure:
                self.problems.append(str(failure))
                continue
            except OSError as failure:
                self.problems.append(f"{name}: cannot be read ({failure.strerror})")
                continue
            found.setdefault(same, group).rows.append((row, name, FIXED_BYTES + MEMBER_BYTES * len(group.members)))
        self.groups = list(found.values())
        for group in self.groups:
            for member in group.members:
                self.of.setdefault(member.name, []).append(group)

    def size(self, name: str) -> int:
        """The length of a pack, brought back or where it lies."""
        healed = self.healed.get(name)
        return os.stat(os.path.join(self.root, name) if healed is None else healed.fileno()).st_size

    def whole(self, name: str) -> bool:
        """Whether an object is there and its bytes hash to its name; remembered."""
        if name not in self._whole:
            digest = hashlib.sha256()
            try:
                with open(os.path.join(self.root, name), "rb") as stream:
                    for block in iter(lambda: stream.read(2**20), b""):
                        digest.update(block)
            except OSError:
                self._whole[name] = False
            else:
                self._whole[name] = digest.hexdigest() == name.rsplit("/", 1)[1]
        return self._whole[name]

    def heal(self, name: str) -> bool:
        """Bring a pack back; False if it cannot be. A pack that is whole where it lies stays there."""
        if name in self.healed:
            return True
        if self.whole(name):
            return False
        return any(self._heal(group, name) for group in self.of.get(name, []))

    def _heal(self, group: Group, name: str) -> bool:
        lost = [member for member in group.members if member.name not in self.healed and not self.whole(member.name)]
        rows = [row for row in sorted(group.rows) if self.whole(row[1])][: len(lost)]
        if len(rows) < len(lost):
            return False
        outs: list[BinaryIO] = [tempfile.TemporaryFile() for _ in lost]  # noqa: SIM115 - kept while the vault is open
        self._solve(group, lost, rows, outs)
        for number, member in enumerate(lost):
            outs[number].truncate(member.size)
            outs[number].seek(0)
            digest = hashlib.sha256()
            while block := outs[number].read(2**20):
                digest.update(block)
            if digest.hexdigest() == member.name.rsplit("/", 1)[1]:
                self.healed[member.name] = outs[number]
            else:
                outs[number].close()
        return name in self.healed

    def _solve(self, group: Group, lost: list[Member], rows: list[tuple[int, str, int]], outs: list[BinaryIO]) -> None:
        """Write the lost packs, slice by slice: what the rows lack without the others, solved for them."""
        matrix = solved([row for row, _, _ in rows], [member.slot for member in lost])
        for at in range(0, group.length, SLICE_BYTES):
            size = min(SLICE_BYTES, group.length - at)
            lacks = [self._read(path, offset + at, size) for _, path, offset in rows]
            for member in group.members:
                if member not in lost and member.size > at:
                    data = self._read(member.name, at, min(size, member.size - at))
                    for number, (row, _, _) in enumerate(rows):
                        lacks[number] = added(lacks[number], scaled(data, coefficient(row, member.slot)))
            for number, factors in enumerate(matrix):
                total = bytes(size)
                for which, factor in enumerate(factors):
                    total = added(total, scaled(lacks[which], factor))
                outs[number].write(total)

    def _read(self, name: str, offset: int, length: int) -> bytes:
        if name in self.healed:
            self.healed[name].seek(offset)
            return self.healed[name].read(length)
        with open(os.path.join(self.root, name), "rb") as stream:
            stream.seek(offset)
            return stream.read(length)
