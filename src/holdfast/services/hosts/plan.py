"""What empty disks must become so that a host fits on them again, and every reason why they cannot. Pure.

A partition table is written as `sfdisk --dump` gave it, with the same identifiers and offsets, so that everything in the
host's files that names a partition or a file system (fstab, the boot loader's configuration, the initramfs) holds again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.base.units import format_bytes
from holdfast.errors import HostProgramError, HostRefusedError
from holdfast.sources.hosts.inventory import Disk, FileSystem, Inventory

__all__ = [
    "DiskPlan",
    "FileSystemPlan",
    "Layout",
    "Target",
    "bytes_needed",
    "check_programs",
    "device_of",
    "maker_of",
    "plan_layout",
    "script_of",
    "surplus_features",
    "targets_by_name",
]

GPT_TAIL_SECTORS = 33
"""The copy of a GPT at the end of a disk: 32 sectors of entries and its header (UEFI specification, 5.3)."""
LEFT_OUT = ("device:", "last-lba:", "sector-size:", "grain:")
"""Lines of a dump that hold for the old disk only."""
NEWER_FEATURES = frozenset({"metadata_csum_seed", "orphan_file"})
"""What new programs make by default and older kernels and boot loaders do not read; taken away where the host had it not."""
_PARTITION = re.compile(r"^\S*?(\d+)\s*:\s*(start=.*)$")
_EXTENT = re.compile(r"start=\s*(\d+)\s*,\s*size=\s*(\d+)")
_NODE = re.compile(r"\d$")
MAKERS: Mapping[str, tuple[str, str]] = {
    "ext2": ("mkfs.ext2", "e2fsprogs"),
    "ext3": ("mkfs.ext3", "e2fsprogs"),
    "ext4": ("mkfs.ext4", "e2fsprogs"),
    "xfs": ("mkfs.xfs", "xfsprogs"),
    "btrfs": ("mkfs.btrfs", "btrfs-progs"),
    "vfat": ("mkfs.vfat", "dosfstools"),
    "swap": ("mkswap", "util-linux"),
}
"""What is made again, by which program, of which Debian package."""
ALWAYS = {"sfdisk": "fdisk", "partx": "util-linux", "wipefs": "util-linux", "blkid": "util-linux", "mount": "mount"}
FOR_EXT = {"dumpe2fs": "e2fsprogs", "tune2fs": "e2fsprogs"}


@dataclass(frozen=True, slots=True)
class Target:
    """A disk, or an image of one, that something may be restored to, as it is now."""

    path: str
    bytes: int
    sector_bytes: int = 512
    in_use: bool = False
    """Something of it is mounted, swapped to, or held open as a whole."""
    holds: tuple[str, ...] = ()
    """Signatures that are on it: partition tables, file systems."""
    image: bool = False


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """What one disk becomes."""

    name: str
    """The disk of the host that it stands for."""
    target: str
    bytes_needed: int
    bytes_there: int
    partitions: int
    script: str
    """For `sfdisk`; empty: no table."""


@dataclass(frozen=True, slots=True)
class FileSystemPlan:
    """One file system that is made, and where it is mounted."""

    disk: str
    partition: int
    kind: str
    uuid: str
    label: str
    mount: str
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """All disks and file systems of a host, in the order in which they are made and mounted."""

    disks: tuple[DiskPlan, ...]
    file_systems: tuple[FileSystemPlan, ...]

    @property
    def mounted(self) -> tuple[FileSystemPlan, ...]:
        """Those that the host mounts, outer ones first."""
        found = [each for each in self.file_systems if each.mount and each.kind != "swap"]
        return tuple(sorted(found, key=lambda each: (each.mount.rstrip("/").count("/"), each.mount)))

    @property
    def boot_disk(self) -> str:
        """The disk that holds what the firmware looks at first: that of /boot, else of the root."""
        places = {each.mount: each.disk for each in self.file_systems}
        return places.get("/boot", places.get("/", self.disks[0].name if self.disks else ""))


def bytes_needed(disk: Disk) -> int:
    """Return how large a disk must be for a table: to the end of its last partition, and the copy of a GPT behind it."""
    if not disk.table:
        return disk.bytes
    ends = [int(match[1]) + int(match[2]) for match in _EXTENT.finditer(disk.table)]
    tail = GPT_TAIL_SECTORS if "label: gpt" in disk.table else 0
    return (max(ends, default=0) + tail) * disk.sector_bytes


def script_of(disk: Disk) -> str:
    """Return a dump as `sfdisk` writes it to another disk, of the same size or larger."""
    lines = []
    for line in disk.table.splitlines():
        match = _PARTITION.match(line)
        if match is not None:
            lines.append(f"/dev/disk{match[1]} : {match[2]}")
        elif line.strip() and not line.startswith(LEFT_OUT):
            lines.append(line)
    return "\n".join(lines) + "\n" if lines else ""


def targets_by_name(inventory: Inventory, given: Sequence[str]) -> dict[str, str]:
    """Return paths by the host's disks, from `NAME=PATH`, or `PATH` for a host of one disk. `HostRefusedError`."""
    found: dict[str, str] = {}
    names = [disk.name for disk in inventory.disks]
    for text in given:
        name, separator, path = text.partition("=")
        if not separator:
            if len(names) != 1:
                raise HostRefusedError(f"the host has {len(names)} disks: say which one a disk stands for")
            name, path = names[0], text
        if name not in names or name in found or path in found.values():
            raise HostRefusedError("a disk is named that the host has not, or one is named twice")
        found[name] = path
    return found


def plan_layout(
    inventory: Inventory, targets: Mapping[str, Target], *, architecture: str, erase: bool = False
) -> Layout:
    """Plan. `HostRefusedError` with every reason why it cannot be done; nothing has been written then.

    `erase`: what is on the disks may be given up.
    """
    wrong = [*_wrong_host(inventory, architecture)]
    for disk in inventory.disks:
        wrong += _wrong_disk(disk, targets.get(disk.name), erase=erase)
    if wrong:
        raise HostRefusedError("; ".join(wrong))
    return Layout(
        disks=tuple(_disk(disk, targets[disk.name]) for disk in inventory.disks),
        file_systems=tuple(_file_system(each) for each in inventory.file_systems),
    )


def _wrong_host(inventory: Inventory, architecture: str) -> Iterable[str]:
    if inventory.architecture != architecture:
        yield (
            f"the host is of the architecture {inventory.architecture} and this machine of {architecture}:"
            " what is restored could be neither checked nor made to boot here"
        )
    if not inventory.disks:
        yield "the inventory names no disk: make file systems by hand and give their place by --into"
    if not any(each.mount == "/" for each in inventory.file_systems):
        yield "the inventory does not say which file system is the root"
    layers = sorted({layer.kind for layer in inventory.layers})
    if layers:
        yield (
            f"the host's disks lie below {', '.join(layers)}, which is recorded and not made again:"
            " make it by hand, mount it, and give the place by --into"
        )
    unknown = sorted({each.kind for each in inventory.file_systems} - set(MAKERS))
    if unknown:
        yield f"file systems of this kind are not made again: {', '.join(unknown)}"
    lost = sum(text.startswith(("sfdisk:", "blkid:")) for text in inventory.missing)
    if lost:
        yield f"sfdisk or blkid was missing when the host was backed up: {lost} things about its disks are not known"


def _wrong_disk(disk: Disk, target: Target | None, *, erase: bool) -> Iterable[str]:
    if target is None:
        yield f"no disk was named for {disk.name}, which needs {format_bytes(bytes_needed(disk))}"
        return
    if target.in_use:
        yield f"the disk for {disk.name} is in use"
    if target.bytes < bytes_needed(disk):
        yield (f"the disk for {disk.name} is too small: {target.bytes} bytes, and {bytes_needed(disk)} are needed")
    if target.sector_bytes != disk.sector_bytes:
        yield f"the disk for {disk.name} has sectors of {target.sector_bytes} bytes, the host's had {disk.sector_bytes}"
    if target.holds and not erase:
        yield f"the disk for {disk.name} is not empty (it holds {', '.join(target.holds)}): --erase gives that up"


def _disk(disk: Disk, target: Target) -> DiskPlan:
    script = script_of(disk)
    count = sum(_PARTITION.match(line) is not None for line in disk.table.splitlines())
    return DiskPlan(disk.name, target.path, bytes_needed(disk), target.bytes, count, script)


def _file_system(found: FileSystem) -> FileSystemPlan:
    return FileSystemPlan(found.disk, found.partition, found.kind, found.uuid, found.label, found.mount, found.features)


def device_of(disk: str, partition: int) -> str:
    """Return the kernel's name of a partition: `/dev/sda` and 2 give `/dev/sda2`, `/dev/loop0` gives `/dev/loop0p2`."""
    if not partition:
        return disk
    return f"{disk}p{partition}" if _NODE.search(disk) else f"{disk}{partition}"


def maker_of(plan: FileSystemPlan, device: str) -> list[str]:
    """Return the command that makes a file system with the identity that the host knows it by."""
    program = MAKERS[plan.kind][0]
    match plan.kind:
        case "xfs":
            name = ["-L", plan.label] if plan.label else []
            return [program, "-q", "-f", "-m", f"uuid={plan.uuid}", *name, device]
        case "btrfs":
            name = ["-L", plan.label] if plan.label else []
            return [program, "-q", "-f", "-U", plan.uuid, *name, device]
        case "vfat":
            name = ["-n", plan.label] if plan.label else []
            return [program, "-i", plan.uuid.replace("-", ""), *name, device]
        case "swap":
            name = ["-L", plan.label] if plan.label else []
            return [program, "-U", plan.uuid, *name, device]
        case _:
            name = ["-L", plan.label] if plan.label else []
            return [program, "-q", "-F", "-U", plan.uuid, *name, device]


def surplus_features(made: Iterable[str], wanted: Iterable[str]) -> tuple[str, ...]:
    """Return what a new ext file system has and the host's boot loader and kernel may not read."""
    return tuple(sorted((set(made) - set(wanted)) & NEWER_FEATURES))


def check_programs(layout: Layout, found: Callable[[str], bool]) -> None:
    """`HostProgramError` that names every program that is missing for a layout, with its package."""
    needed = dict(ALWAYS)
    for each in layout.file_systems:
        program, package = MAKERS[each.kind]
        needed[program] = package
        needed |= FOR_EXT if each.kind.startswith("ext") else {}
    missing = [f"{program} (package {package})" for program, package in sorted(needed.items()) if not found(program)]
    if missing:
        raise HostProgramError(f"this machine lacks {', '.join(missing)}")
