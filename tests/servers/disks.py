"""Disks in files, partitioned and mounted: what a host under test lies on, and what it is looked at on afterwards."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from servers import install, loops

BIOS = "label: gpt\nsize=1M,type=21686148-6449-6E6F-744E-656564454649\nsize=64M\ntype=L\n"
"""A place for GRUB's core, /boot, the root."""
UEFI = "label: gpt\nsize=40M,type=U\nsize=32M,type=S\nsize=340M\ntype=L\n"
"""An EFI system partition, swap, data, the root."""


def programs() -> None:
    """Have the programs that make and look at disks."""
    for program, package in {"sfdisk": "fdisk", "partx": "util-linux", "mkfs.vfat": "dosfstools", "mcopy": "mtools",
                             "mkfs.xfs": "xfsprogs", "mkfs.ext4": "e2fsprogs"}.items():  # fmt: skip
        install.debian(program, package)


def blank(image: Path, mib: int) -> Path:
    """Make an empty disk."""
    with image.open("wb") as file:
        file.truncate(mib << 20)
    return image


@contextmanager
def attached(image: Path) -> Iterator[str]:
    """Yield the device of a disk, its partitions known."""
    device = loops.run("losetup", "--partscan", "--find", "--show", str(image)).strip()
    try:
        subprocess.run(["partx", "--update", device], capture_output=True, timeout=60, check=False)
        yield device
    finally:
        loops.run("losetup", "--detach", device)


@contextmanager
def mounted(device: str, places: Mapping[int, str], root: Path) -> Iterator[None]:
    """Mount partitions, outer ones first, and unmount them."""
    done = []
    try:
        for number, place in places.items():
            (root / place).mkdir(parents=True, exist_ok=True)
            loops.run("mount", f"{device}p{number}", str(root / place))
            done.append(root / place)
        yield
    finally:
        for each in reversed(done):
            loops.run("umount", str(each))


def identities(image: Path) -> list[str]:
    """Return what every partition of a disk is: kind, identifiers, labels."""
    with attached(image) as device:
        found = []
        for path in sorted(Path("/dev").glob(f"{Path(device).name}p*")):
            done = subprocess.run(["blkid", "--probe", "--output", "export", str(path)], capture_output=True, text=True,
                                  timeout=60, check=False)  # fmt: skip
            keep = [
                row
                for row in done.stdout.splitlines()
                if row.split("=")[0] in ("TYPE", "UUID", "LABEL", "PART_ENTRY_UUID")
            ]
            found.append(" ".join(keep))
        return found
