"""What a host is made of, found out from a made-up sysfs, its files and doubles of the programs: layers, systems, missing tools."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from holdfast.sources.hosts.collect import SystemFiles, collect
from holdfast.sources.programs import Done
from holdfast.sources.volumes.mounts import Mount


@dataclass
class Doubles:
    """Programs that answer by the last word of their command, or by their name."""

    answers: dict[str, str]
    asked: list[str] = field(default_factory=list)

    def run(self, command, *, timeout, environ=None, stdin=b""):
        assert timeout > 0
        self.asked.append(command[0])
        for key in (f"{command[0]} {command[-1]}", command[0]):
            if key in self.answers:
                return Done(0, self.answers[key].encode())
        return Done(1 if command[0] == "blkid" else 127)


def device(block: Path, name: str, *, below: str = "", partition: int = 0, slaves=(), **attributes: str) -> None:
    place = block.parent / "devices" / below / name
    place.mkdir(parents=True)
    (block / name).symlink_to(place)
    files = {"size": "2048", **attributes}
    if partition:
        files["partition"] = str(partition)
    for key, value in files.items():
        target = place / key.replace("__", "/")
        target.parent.mkdir(exist_ok=True)
        target.write_text(value + "\n")
    for slave in slaves:
        (place / "slaves").mkdir(exist_ok=True)
        (place / "slaves" / slave).touch()


@pytest.fixture
def block(tmp_path):
    place = tmp_path / "block"
    place.mkdir()
    return place


def host_at(tmp_path: Path, *files: str) -> Path:
    root = tmp_path / "root"
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    root.mkdir(exist_ok=True)
    return root


def test_volumes_raid_and_encryption_are_described_and_never_their_keys(tmp_path, block):
    device(block, "sda", queue__logical_block_size="4096")
    device(block, "sda1", below="sda", partition=1)
    device(block, "sda2", below="sda", partition=2)
    device(block, "md0", slaves=["sda1"], md__level="raid1")
    device(block, "dm-0", slaves=["md0"], dm__uuid="LVM-abc", dm__name="vg-root")
    device(block, "dm-1", slaves=["dm-0"], dm__uuid="CRYPT-LUKS2-x", dm__name="root_crypt")
    device(block, "dm-2", slaves=["dm-1"], dm__uuid="other", dm__name="odd")
    root = host_at(tmp_path, "boot/extlinux/extlinux.conf", "var/lib/rpm/x", "boot/initramfs-5.img", "boot/vmlinuz-5")
    root.joinpath("etc").mkdir()
    root.joinpath("etc/fstab").write_text("LABEL=swap none swap sw 0 0\n# a comment\nshort line\n")
    programs = Doubles({
        "sfdisk": "label: gpt\n",
        "lvs": " vg root u 1b linear ",
        "mdadm": "MD_LEVEL=raid1\n",
        "cryptsetup": "/dev/mapper/x is active.\n  type:    LUKS2\n  cipher:  aes\n  key location: keyring\n",
        "blkid /dev/dm-2": "TYPE=xfs\nUSAGE=filesystem\nUUID=11\n",
        "blkid /dev/sda2": "TYPE=swap\nUSAGE=other\nLABEL=swap\n",
        "blkid /dev/sda1": "TYPE=linux_raid_member\nUSAGE=raid\n",
        "rpm": "kernel\t5-1\tx86_64\nodd line\n",
    })  # fmt: skip
    mounted = (
        Mount(bytes(root), "xfs", "/dev/dm-2"),
        Mount(b"/elsewhere", "xfs", "/dev/sdz"),
        Mount(b"/proc", "proc", "proc"),
    )
    found = collect(str(root), programs, SystemFiles(block, tmp_path / "efi", lambda: mounted))
    assert {layer.device: (layer.kind, layer.below) for layer in found.layers} == {
        "md0": ("raid", ("sda1",)),
        "dm-0": ("lvm", ("md0",)),
        "dm-1": ("luks", ("dm-0",)),
        "dm-2": ("other", ("dm-1",)),
    }
    texts = {layer.kind: layer.text for layer in found.layers}
    assert texts["luks"] == "  type:    LUKS2\n  cipher:  aes"
    assert (texts["lvm"], texts["raid"]) == ("vg root u 1b linear", "MD_LEVEL=raid1")
    assert [(disk.name, disk.sector_bytes, disk.table) for disk in found.disks] == [("sda", 4096, "label: gpt\n")]
    assert [(each.device, each.disk, each.mount) for each in found.file_systems] == [
        ("dm-2", "", "/"),
        ("sda2", "sda", ""),
    ]
    assert (found.package_format, [each.name for each in found.packages]) == ("rpm", ["kernel"])
    assert (found.loader, found.kernels, found.initramfs, found.services) == ("extlinux", ("5",), ("5",), ())
    assert found.missing == (
        "blkid: the file system of dm-0",
        "blkid: the file system of dm-1",
        "blkid: the file system of md0",
    )


def test_what_a_missing_program_knows_is_said_and_asked_once(tmp_path, block):
    device(block, "vda")
    device(block, "vda1", below="vda", partition=1)
    root = host_at(tmp_path, "var/lib/dpkg/status", "etc/systemd/system/a.service", "boot/loader/loader.conf")
    programs = Doubles({"blkid": "TYPE=ext4\nUSAGE=filesystem\n"})
    found = collect(
        str(root), programs, SystemFiles(block, tmp_path, lambda: (Mount(bytes(root), "ext4", "/dev/vda1"),))
    )
    assert found.missing == (
        "sfdisk: the partition table of vda",
        "dumpe2fs: the features of vda1",
        "dpkg-query: the installed packages",
        "systemctl: the enabled services",
    )
    assert (found.package_format, found.packages, found.loader, found.system) == ("dpkg", (), "systemd-boot", "")
    assert programs.asked.count("sfdisk") == 1


def test_a_file_system_on_a_bare_disk_and_a_host_without_any(tmp_path, block):
    device(block, "vda")
    root = host_at(tmp_path)
    device(block, "loop9", loop__backing_file=f"{root}/images/snap")
    device(block, "sr0")
    programs = Doubles({"blkid": "TYPE=xfs\nUSAGE=filesystem\nUUID=1\n"})
    place = SystemFiles(block, tmp_path / "efi", lambda: tuple(
        Mount(bytes(root / place), "xfs", f"/dev/{name}") for place, name in ((".", "vda"), ("a", "loop9"), ("b", "sr0"))
    ))  # fmt: skip
    found = collect(str(root), programs, place)
    assert [(each.disk, each.partition, each.mount) for each in found.file_systems] == [("vda", 0, "/")]
    assert found.disks[0].table == ""
    bare = collect(
        "/", programs, SystemFiles(tmp_path / "none", tmp_path, lambda: (Mount(b"/", "overlay", "overlay"),))
    )
    assert (bare.disks, bare.file_systems, bare.firmware) == ((), (), "uefi")
    assert bare.kernel
