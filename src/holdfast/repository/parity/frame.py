"""The header of a parity object, and what a group is (docs/format/parity.md). Bytes in, values out."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from holdfast.errors import DamageError, VersionError
from holdfast.repository.objects import sha256

__all__ = [
    "DATA",
    "HEADER_BYTES_MAX",
    "META",
    "PREFIX",
    "ROWS_MAX",
    "SLOTS",
    "Group",
    "Member",
    "Stored",
    "parity_name",
    "parse_header",
    "row_bytes",
    "size_step",
]

PREFIX = "parity/"
SLOTS = 16
ROWS_MAX = 16
PACK_BYTES_MAX = 128 << 20
DATA, META = 1, 2
"""Which folder the packs of a group lie in."""
_MAGIC = b"\x89HFPR\r\n\x1a"
_HEAD = struct.Struct("<8sHBB16sHBBHHI")
_MEMBER = struct.Struct("<BxxxI32s")
HEADER_BYTES_MAX = _HEAD.size + SLOTS * _MEMBER.size
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Member:
    """One pack of a group: its slot in the code, its name (64 hex digits), its length."""

    slot: int
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Group:
    """Packs that are protected together. `members` are in the order of their slots, which need not be all taken."""

    class_id: int
    folder: int
    rows: int
    members: tuple[Member, ...]

    @property
    def length(self) -> int:
        """Bytes of each row: those of the longest pack."""
        return max(member.size for member in self.members)

    @property
    def names(self) -> frozenset[str]:
        """The packs."""
        return frozenset(member.name for member in self.members)

    @property
    def free(self) -> tuple[int, ...]:
        """Slots that no pack has."""
        taken = {member.slot for member in self.members}
        return tuple(slot for slot in range(SLOTS) if slot not in taken)

    @property
    def kind(self) -> tuple[int, int, int]:
        """Class, folder and step of size: only packs of one kind are grouped."""
        return self.class_id, self.folder, size_step(self.members[0].size)

    def header(self, vault: bytes, row: int) -> bytes:
        """Return the header of one row."""
        head = _HEAD.pack(
            *(_MAGIC, _VERSION, row, self.rows, vault, self.class_id, self.folder, SLOTS, len(self.members), 0),
            self.length,
        )
        return head + b"".join(_MEMBER.pack(m.slot, m.size, bytes.fromhex(m.name)) for m in self.members)


@dataclass(frozen=True, slots=True)
class Stored:
    """A group as it is stored: the names (SHA) of its rows by number. Rows may be missing."""

    group: Group
    rows: tuple[tuple[int, str], ...]

    @property
    def complete(self) -> bool:
        """Whether every row is there."""
        return len(self.rows) == self.group.rows


def parity_name(sha: str) -> str:
    """Return the name of a parity object by its hash."""
    return f"{PREFIX}{sha[:2]}/{sha}"


def size_step(size: int) -> int:
    """Return the power of four below a size: packs of one step are grouped, so that a row is never much too long."""
    return (size.bit_length() - 1) // 2


def parse_header(data: bytes, vault: bytes, name: str) -> tuple[Group, int, int]:
    """Return the group, the row's number and the header's length. `DamageError`, `VersionError`."""
    if len(data) < _HEAD.size:
        raise _refused(name, "ends too early")
    magic, version, row, rows, of_vault, class_id, folder, slots, count, reserved, length = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise _refused(name, "is no parity object")
    if version != _VERSION:
        raise VersionError(f"object {name} has version {version}; this release reads {_VERSION}")
    if of_vault != vault:
        raise _refused(name, "belongs to another vault")
    known = (reserved, slots) == (0, SLOTS) and folder in {DATA, META}
    if not (known and 1 <= rows <= ROWS_MAX and row < rows and 1 <= count <= SLOTS):
        raise _refused(name, "its header is malformed")
    group = Group(class_id, folder, rows, _members(data, count, name))
    if group.length != length:
        raise _refused(name, "its length is not that of its longest member")
    return group, row, _HEAD.size + count * _MEMBER.size


def _members(data: bytes, count: int, name: str) -> tuple[Member, ...]:
    end = _HEAD.size + count * _MEMBER.size
    if len(data) < end:
        raise _refused(name, "ends too early")
    members = []
    for at in range(_HEAD.size, end, _MEMBER.size):
        slot, size, sha = _MEMBER.unpack_from(data, at)
        if data[at + 1 : at + 4] != bytes(3) or slot >= SLOTS or not 1 <= size <= PACK_BYTES_MAX:
            raise _refused(name, "a member is malformed")
        members.append(Member(slot, sha.hex(), size))
    slots = [member.slot for member in members]
    if slots != sorted(set(slots)) or len({member.name for member in members}) != count:
        raise _refused(name, "its members are out of order")
    return tuple(members)


def _refused(name: str, why: str) -> DamageError:
    return DamageError(f"object {name}: {why}")


def row_bytes(data: bytes, vault: bytes, sha: str) -> bytes:
    """Return the row that a whole parity object holds, its hash and length proved. `DamageError`."""
    name = parity_name(sha)
    if sha256(data) != sha:
        raise DamageError(f"object {name} is damaged")
    group, _, end = parse_header(data, vault, name)
    if len(data) != end + group.length:
        raise DamageError(f"object {name} has another length than its header says")
    return data[end:]
