"""What makes a restored host boot: its boot loader written to the new disk, an initramfs where one is missing. Pure.

The configuration of the boot loader and the initramfs come back with the files, and hold, because file systems and partitions
have the identifiers they had. What no file holds is the code in front of the first partition (BIOS), and for UEFI an entry in the new
machine's own memory, which `EFI/BOOT` makes unnecessary (UEFI specification, 3.5.1.1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from holdfast.sources.hosts.inventory import Inventory

__all__ = ["INITRAMFS_NAMES", "BootPlan", "plan_boot"]

EFI_NAMES = {"x86_64": "BOOTX64.EFI", "aarch64": "BOOTAA64.EFI", "i686": "BOOTIA32.EFI"}
EFI_TARGETS = {"x86_64": "x86_64-efi", "aarch64": "arm64-efi", "i686": "i386-efi"}
INITRAMFS_NAMES = ("initrd.img-{}", "initramfs-{}.img", "initrd-{}")
EFI_FOLDERS = ("/boot/efi", "/efi", "/boot")


@dataclass(frozen=True, slots=True)
class BootPlan:
    """Commands to run inside the restored root, each with what it is for, and what is left to a person."""

    commands: tuple[tuple[str, tuple[str, ...]], ...] = ()
    by_hand: str = ""
    """A sentence; empty if nothing is left."""


def plan_boot(inventory: Inventory, device: str, has: Callable[[str], bool]) -> BootPlan:
    """Plan it for a disk. `has` says whether the restored root has a file, whose name may be matched without regard to case."""
    commands = [
        ("making an initramfs", _initramfs(version, has))
        for version in inventory.initramfs
        if not any(has(f"/boot/{form.format(version)}") for form in INITRAMFS_NAMES)
    ]
    loader, by_hand = _loader(inventory, device, has)
    if loader:
        commands.append(("writing the boot loader", loader))
    return BootPlan(tuple(commands), by_hand)


def _initramfs(version: str, has: Callable[[str], bool]) -> tuple[str, ...]:
    if has("/usr/sbin/update-initramfs"):
        return ("update-initramfs", "-c", "-k", version)
    return ("dracut", "--force", "--kver", version)


def _loader(inventory: Inventory, device: str, has: Callable[[str], bool]) -> tuple[tuple[str, ...], str]:
    if inventory.firmware == "uefi":
        name = EFI_NAMES.get(inventory.architecture, "")
        if any(has(f"{folder}/EFI/BOOT/{name}") for folder in EFI_FOLDERS):
            return (), ""  # it came back with the files, and firmware finds it there
        if inventory.loader == "grub" and name:
            target = EFI_TARGETS[inventory.architecture]
            return (_grub(has), f"--target={target}", "--no-nvram", "--removable"), ""
        return (), "no boot loader lies where firmware looks: add its entry by efibootmgr"
    if inventory.loader == "grub" and device:
        return (_grub(has), "--target=i386-pc", device), ""
    if inventory.loader:
        return (), f"{inventory.loader} is not written to the disk: do that by its own installer, in the restored root"
    return (), ""


def _grub(has: Callable[[str], bool]) -> str:
    return "grub2-install" if has("/usr/sbin/grub2-install") else "grub-install"
