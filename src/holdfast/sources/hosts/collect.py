"""Finds out what a host is made of: from sysfs, from its files, and by the programs that know the rest.

Run as a program (`python -m holdfast.sources.hosts.collect ROOT`) it writes the inventory: that is the stream which a backup
with `host_root` stores. A program that is missing costs what it alone knows; the inventory says what that is.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.sources.hosts.inventory import Disk, FileSystem, Inventory, Layer, Package, encode_inventory
from holdfast.sources.programs import NOT_FOUND, Programs, SystemPrograms
from holdfast.sources.volumes.mounts import Mount, mounts

__all__ = ["SystemFiles", "collect", "main", "needed_programs"]

SECONDS = 60.0
FOLDERS = ("/usr/sbin", "/sbin")
KERNEL = re.compile(r"(?:vmlinuz|vmlinux)-(.+)")
INITRAMFS = re.compile(r"(?:initrd\.img|initrd|initramfs)-(.+?)(?:\.img)?")
NO_DISK = re.compile(r"(?:sr|zram|ram|fd)\d+")
EXT = frozenset({"ext2", "ext3", "ext4"})
NEEDED = {"sfdisk": "fdisk", "blkid": "util-linux"}
"""Programs without which no disk can be made again, with the Debian package of each."""


def needed_programs(found: Callable[[str], bool]) -> tuple[str, ...]:
    """Return which programs an inventory cannot do without and this machine lacks: `sfdisk (package fdisk)`."""
    return tuple(f"{program} (package {package})" for program, package in NEEDED.items() if not found(program))


@dataclass(frozen=True, slots=True)
class SystemFiles:
    """Where the kernel shows its devices and mounts: replaced in tests."""

    block: Path = Path("/sys/class/block")
    firmware: Path = Path("/sys/firmware/efi")
    mounts: Callable[[], tuple[Mount, ...]] = mounts


@dataclass(slots=True)
class _Host:
    """A collection under way."""

    root: str
    programs: Programs
    files: SystemFiles
    missing: list[str] = field(default_factory=list)
    _absent: set[str] = field(default_factory=set)

    def inside(self, path: str) -> Path:
        """Return a path of the host as it is here."""
        return Path(self.root) / path.lstrip("/")

    def text(self, path: str) -> str:
        """Return a file of the host, at most a MiB of it; empty if it has none."""
        try:
            with self.inside(path).open(errors="replace") as file:
                return file.read(1 << 20)
        except OSError:
            return ""

    def ask(self, what: str, program: str, *arguments: str) -> str:
        """Return what a program prints; empty and noted if it is missing or fails."""
        if program in self._absent:
            self.missing.append(f"{program}: {what}")
            return ""
        done = self.programs.run(
            [program, *arguments], timeout=SECONDS, environ={"PATH": os.pathsep.join((os.environ["PATH"], *FOLDERS))}
        )
        if done.ok:
            return done.text
        if done.code == NOT_FOUND:
            self._absent.add(program)
        self.missing.append(f"{program}: {what}")
        return ""

    def sysfs(self, device: str, name: str) -> str:
        """Return an attribute of a block device; empty if it has none."""
        try:
            return (self.files.block / device / name).read_text().strip()
        except OSError:
            return ""

    def parents(self, device: str) -> tuple[str, ...]:
        """Return what a block device lies on directly: a disk for a partition, devices for a layer, nothing for a disk."""
        if self.sysfs(device, "partition"):
            return ((self.files.block / device).resolve().parent.name,)
        try:
            return tuple(sorted(path.name for path in (self.files.block / device / "slaves").iterdir()))
        except OSError:
            return ()


def collect(root: str, programs: Programs, files: SystemFiles | None = None) -> Inventory:
    """Return the inventory of the host whose root is mounted at `root`. Never raises for what cannot be found out."""
    host = _Host(os.path.normpath(root), programs, files or SystemFiles())
    mounted = _mounted(host)
    devices = _devices(host, mounted)
    disks = tuple(_disk(host, name) for name in sorted(devices) if not host.parents(name))
    layers = tuple(_layer(host, name) for name in sorted(devices) if _is_layer(host, name))
    wanted = _fstab(host.text("/etc/fstab"))
    file_systems = tuple(
        found for name in sorted(devices) for found in [_file_system(host, name, mounted, wanted, disks)] if found
    )
    package_format, packages = _packages(host)
    boot = sorted(path.name for path in _listed(host.inside("/boot")))
    return Inventory(
        root=host.root,
        architecture=os.uname().machine,
        system=_system(host.text("/etc/os-release")),
        kernel=os.uname().release if host.root == "/" else "",
        firmware=_firmware(host, file_systems),
        loader=_loader(host),
        kernels=tuple(match[1] for name in boot if (match := KERNEL.fullmatch(name))),
        initramfs=tuple(dict.fromkeys(match[1] for name in boot if (match := INITRAMFS.fullmatch(name)))),
        disks=disks,
        file_systems=file_systems,
        layers=layers,
        package_format=package_format,
        packages=packages,
        services=_services(host),
        missing=tuple(dict.fromkeys(host.missing)),
    )


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _mounted(host: _Host) -> dict[str, tuple[str, str]]:
    """Return, by kernel device, where the host has it mounted (from its own root) and of which kind it is."""
    found: dict[str, tuple[str, str]] = {}
    below = host.root.rstrip("/") + "/"
    for mount in host.files.mounts():
        place = os.fsdecode(mount.place)
        if mount.device.startswith("/dev/") and (place == host.root or place.startswith(below)):
            own = "/" + place[len(below) :] if place != host.root else "/"
            found.setdefault(os.path.basename(os.path.realpath(mount.device)), (own, mount.kind))
    return found


def _devices(host: _Host, mounted: Iterable[str]) -> set[str]:
    """Return every block device that the host's mounts rest on, and all partitions of those disks."""
    found: set[str] = set()
    ahead = [name for name in mounted if (host.files.block / name).exists() and not _is_own(host, name)]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += host.parents(name)
    disks = {name for name in found if not host.parents(name)}
    for path in _listed(host.files.block):
        if host.sysfs(path.name, "partition") and host.parents(path.name)[0] in disks:
            found.add(path.name)
    return found


def _is_own(host: _Host, name: str) -> bool:
    """Return whether a device is no disk that the host lies on: a file of its own as a loop device, memory, a CD."""
    file = host.sysfs(name, "loop/backing_file")
    return bool(NO_DISK.fullmatch(name)) or (bool(file) and f"{file}/".startswith(host.root.rstrip("/") + "/"))


def _is_layer(host: _Host, name: str) -> bool:
    return bool(host.parents(name)) and not host.sysfs(name, "partition")


def _has_partitions(host: _Host, name: str) -> bool:
    return any(
        host.sysfs(path.name, "partition") and host.parents(path.name) == (name,) for path in _listed(host.files.block)
    )


def _disk(host: _Host, name: str) -> Disk:
    has_table = _has_partitions(host, name)
    table = host.ask(f"the partition table of {name}", "sfdisk", "--dump", f"/dev/{name}") if has_table else ""
    sector = host.sysfs(name, "queue/logical_block_size")
    return Disk(name, int(host.sysfs(name, "size") or 0) * 512, int(sector or 512), table)


def _layer(host: _Host, name: str) -> Layer:
    uuid = host.sysfs(name, "dm/uuid")
    own = host.sysfs(name, "dm/name")
    if uuid.startswith("LVM-"):
        columns = "vg_name,lv_name,lv_uuid,lv_size,segtype"
        text = host.ask(f"the logical volume {name}", "lvs", "--noheadings", "--units=b", "-o", columns, f"/dev/{name}")
        return Layer(name, "lvm", host.parents(name), text.strip())
    if uuid.startswith("CRYPT-"):
        text = host.ask(f"the encryption of {name}", "cryptsetup", "status", own)
        lines = (line for line in text.splitlines() if line.split(":")[0].strip() in ("type", "cipher", "keysize"))
        return Layer(name, "luks", host.parents(name), "\n".join(lines))
    if host.sysfs(name, "md/level"):
        text = host.ask(f"the RAID {name}", "mdadm", "--detail", "--export", f"/dev/{name}")
        return Layer(name, "raid", host.parents(name), text.strip())
    return Layer(name, "other", host.parents(name))


def _file_system(
    host: _Host,
    name: str,
    mounted: dict[str, tuple[str, str]],
    wanted: dict[str, tuple[str, str]],
    disks: tuple[Disk, ...],
) -> FileSystem | None:
    """Return what is on a device; None for a disk with a table, for nothing, and for what only a layer understands."""
    if any(disk.name == name for disk in disks) and _has_partitions(host, name):
        return None
    text = host.ask(f"the file system of {name}", "blkid", "--probe", "--output", "export", f"/dev/{name}")
    said = dict(line.partition("=")[::2] for line in text.splitlines())
    kind = said.get("TYPE", mounted.get(name, ("", ""))[1])
    if not kind or said.get("USAGE", "filesystem") not in ("filesystem", "other"):
        return None
    names = (f"UUID={said.get('UUID')}", f"LABEL={said.get('LABEL')}", f"PARTUUID={said.get('PART_ENTRY_UUID')}")
    place, options = next((wanted[key] for key in (*names, f"/dev/{name}") if key in wanted), ("", ""))
    if name in mounted:
        place = mounted[name][0]
    number = host.sysfs(name, "partition")
    above = host.parents(name)
    disk = above[0] if number else name if not above else ""
    return FileSystem(
        device=name,
        kind=kind,
        uuid=said.get("UUID", ""),
        label=said.get("LABEL", ""),
        disk=disk,
        partition=int(number or 0),
        mount="" if kind == "swap" else place,
        options=options,
        used_bytes=_used(host, place) if name in mounted else 0,
        features=_features(host, name) if kind in EXT else (),
    )


def _used(host: _Host, place: str) -> int:
    try:
        found = os.statvfs(host.inside(place))
    except OSError:
        return 0
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def _features(host: _Host, name: str) -> tuple[str, ...]:
    text = host.ask(f"the features of {name}", "dumpe2fs", "-h", f"/dev/{name}")
    line = next((line for line in text.splitlines() if line.startswith("Filesystem features:")), "")
    return tuple(sorted(line.partition(":")[2].split()))


def _fstab(text: str) -> dict[str, tuple[str, str]]:
    """Return the mounts of an fstab by what they name: `UUID=…` to (place, options)."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) > 3 and not line.lstrip().startswith("#"):  # noqa: PLR2004 - device, place, kind, options: fstab(5)
            found[words[0].replace('"', "")] = (words[1] if words[1].startswith("/") else "", words[3])
    return found


def _system(text: str) -> str:
    said = dict(line.partition("=")[::2] for line in text.splitlines())
    return " ".join(said[key].strip('"') for key in ("ID", "VERSION_ID") if key in said)


def _firmware(host: _Host, file_systems: Iterable[FileSystem]) -> str:
    if host.root == "/" and host.files.firmware.is_dir():
        return "uefi"
    return "uefi" if any(each.mount in ("/boot/efi", "/efi") for each in file_systems) else "bios"


def _loader(host: _Host) -> str:
    for loader, places in (
        ("grub", ("boot/grub/grub.cfg", "boot/grub2/grub.cfg")),
        ("systemd-boot", ("boot/loader/loader.conf", "boot/efi/loader/loader.conf", "efi/loader/loader.conf")),
        ("extlinux", ("boot/extlinux/extlinux.conf", "boot/extlinux.conf")),
    ):
        if any(host.inside(place).is_file() for place in places):
            return loader
    return ""


def _packages(host: _Host) -> tuple[str, tuple[Package, ...]]:
    if host.inside("/var/lib/dpkg/status").is_file():
        form = "${Package}\t${Version}\t${Architecture}\n"
        text = host.ask(
            "the installed packages", "dpkg-query", f"--admindir={host.inside('/var/lib/dpkg')}", f"-f={form}", "-W"
        )
        kind = "dpkg"
    elif any(host.inside(place).is_dir() for place in ("/var/lib/rpm", "/usr/lib/sysimage/rpm")):
        form = "%{NAME}\t%{VERSION}-%{RELEASE}\t%{ARCH}\n"
        text, kind = host.ask("the installed packages", "rpm", f"--root={host.root}", "-qa", f"--qf={form}"), "rpm"
    else:
        return "", ()
    rows = (line.split("\t") for line in text.splitlines())
    return kind, tuple(sorted((Package(*row) for row in rows if len(row) == 3), key=lambda each: each.name))  # noqa: PLR2004 - as in `form`


def _services(host: _Host) -> tuple[str, ...]:
    if not any(host.inside(place).is_dir() for place in ("/etc/systemd/system", "/lib/systemd/system")):
        return ()
    options = ("--state=enabled", "--no-legend", "--no-pager", "--plain")
    text = host.ask("the enabled services", "systemctl", f"--root={host.root}", *options, "list-unit-files")
    return tuple(sorted(words[0] for line in text.splitlines() if (words := line.split())))


def main() -> int:
    """Write the inventory of the host at the root that is the only argument."""
    sys.stdout.buffer.write(encode_inventory(collect(sys.argv[1], SystemPrograms())))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
