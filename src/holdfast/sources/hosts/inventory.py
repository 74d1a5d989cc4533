"""The inventory of a host as a value and as a file: disks, file systems, how it boots, what is installed. Pure.

It is what a restore to empty disks cannot know from the files alone. It names no user, holds no key, and lies sealed in the
snapshot like every other file. Version 1 is JSON: an object with the fields of :class:`Inventory`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from holdfast.errors import HostInventoryError

__all__ = [
    "FORMAT",
    "INVENTORY_PATH",
    "VERSION",
    "Disk",
    "FileSystem",
    "Inventory",
    "Layer",
    "Package",
    "decode_inventory",
    "encode_inventory",
]

FORMAT = "holdfast-host-inventory"
VERSION = 1
INVENTORY_PATH = ".holdfast-host/inventory.json"
"""Where it lies in a snapshot."""
BYTES_MAX = 32 << 20
ITEMS_MAX = 200_000
_NAME = re.compile(r"[A-Za-z0-9!._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk that the host needs."""

    name: str
    """As the kernel named it: `sda`."""
    bytes: int
    sector_bytes: int = 512
    table: str = ""
    """Its partition table as `sfdisk --dump` writes it; empty: a file system on the bare disk."""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """One file system or swap area."""

    device: str
    """As the kernel named it: `sda2`, `dm-0`."""
    kind: str
    """As blkid names it: `ext4`, `xfs`, `vfat`, `swap`, …"""
    uuid: str = ""
    label: str = ""
    disk: str = ""
    """The disk that holds it directly; empty: it lies on a layer."""
    partition: int = 0
    """Its number in the table; 0: the bare disk."""
    mount: str = ""
    """Where the host mounts it; empty: nowhere."""
    options: str = ""
    used_bytes: int = 0
    features: tuple[str, ...] = ()
    """Of ext2, ext3 and ext4: what its kernel and boot loader are known to read."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Something between disks and file systems: a logical volume, a RAID, an encrypted device."""

    device: str
    kind: str
    """`lvm`, `luks`, `raid` or `other`."""
    below: tuple[str, ...] = ()
    text: str = ""
    """How the host's own tools describe it; never a key."""


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package."""

    name: str
    version: str
    architecture: str = ""


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a host is made of."""

    root: str
    """The folder of the snapshot that is the host's root: `/`, or where a guest's disk was mounted."""
    architecture: str
    """As `uname -m` says."""
    system: str = ""
    """`ID` and `VERSION_ID` of os-release."""
    kernel: str = ""
    """The one that ran."""
    firmware: str = "bios"
    """`bios` or `uefi`."""
    loader: str = ""
    """`grub`, `systemd-boot`, `extlinux`; empty: none was found."""
    kernels: tuple[str, ...] = ()
    """Versions with a kernel in /boot."""
    initramfs: tuple[str, ...] = ()
    """Versions with an initramfs in /boot."""
    disks: tuple[Disk, ...] = ()
    file_systems: tuple[FileSystem, ...] = ()
    layers: tuple[Layer, ...] = ()
    package_format: str = ""
    """`dpkg`, `rpm`; empty: neither."""
    packages: tuple[Package, ...] = ()
    services: tuple[str, ...] = ()
    """Unit files that are enabled."""
    missing: tuple[str, ...] = ()
    """What could not be found out, and by which program it would have been: `sfdisk: the partition table of sda`."""


_T = TypeVar("_T")
_PARTS: Mapping[str, type] = {"disks": Disk, "file_systems": FileSystem, "layers": Layer, "packages": Package}


def encode_inventory(inventory: Inventory) -> bytes:
    """Write it as the file in a snapshot."""
    row = {"format": FORMAT, "version": VERSION, **asdict(inventory)}
    return json.dumps(row, indent=1, sort_keys=True).encode() + b"\n"


def decode_inventory(data: bytes) -> Inventory:
    """Read the file. `HostInventoryError` if it is damaged, or written by a later version."""
    if len(data) > BYTES_MAX:
        raise HostInventoryError("the inventory of the host is larger than any can be")
    try:
        row = json.loads(data)
    except (ValueError, RecursionError):
        raise HostInventoryError("the inventory of the host is damaged: it is no JSON") from None
    if not isinstance(row, dict) or row.pop("format", "") != FORMAT:
        raise HostInventoryError("the inventory of the host is damaged: it is no inventory")
    if row.pop("version", 0) != VERSION:
        raise HostInventoryError("the inventory of the host was written by a later Holdfast")
    try:
        for name, cls in _PARTS.items():
            row[name] = tuple(_made(cls, each) for each in _listed(row[name]))
        return _sane(_made(Inventory, row))
    except (KeyError, TypeError, ValueError) as error:
        raise HostInventoryError(f"the inventory of the host is damaged: {type(error).__name__}") from None


def _sane(found: Inventory) -> Inventory:
    """Refuse what would lead out of the restored root, or name what is no device: whoever wrote it, it is acted upon as root."""
    places = (found.root, *(each.mount for each in found.file_systems if each.mount))
    names = (*(disk.name for disk in found.disks), *(each.disk for each in found.file_systems if each.disk))
    known = {disk.name for disk in found.disks}
    straight = all(place.startswith("/") and os.path.normpath(place) == place and "\0" not in place for place in places)
    words = (text for each in found.file_systems for text in (each.uuid, each.label, each.kind))
    if not straight or not known.issuperset(names) or any(word.startswith("-") or "\0" in word for word in words):
        raise ValueError
    if not all(_NAME.fullmatch(name) for name in names):
        raise ValueError
    return found


def _listed(value: object) -> list[Any]:
    if not isinstance(value, list) or len(value) > ITEMS_MAX:
        raise TypeError
    return value


def _made(cls: type[_T], row: object) -> _T:
    """Make a value of its fields, each of the type that its annotation says; others are refused."""
    if not isinstance(row, dict):
        raise TypeError
    given = {}
    for field in fields(cls):  # type: ignore[arg-type]  # each is a dataclass
        value = row.pop(field.name)
        if field.type == "tuple[str, ...]":
            value = tuple(_listed(value))
            wrong = any(not isinstance(each, str) for each in value)
        elif field.type in ("str", "int"):
            wrong = type(value).__name__ != field.type or (field.type == "int" and value < 0)
        else:
            wrong = not isinstance(value, tuple)
        if wrong:
            raise TypeError
        given[field.name] = value
    if row:
        raise ValueError
    return cls(**given)
