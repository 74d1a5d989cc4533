"""What disks must become, why they cannot, how a host is made to boot: all pure, by tables of examples."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.errors import HostInventoryError, HostProgramError, HostRefusedError
from holdfast.services.hosts.boot import plan_boot
from holdfast.services.hosts.check import names_of, unresolved
from holdfast.services.hosts.plan import (
    FileSystemPlan,
    Target,
    bytes_needed,
    check_programs,
    device_of,
    maker_of,
    plan_layout,
    script_of,
    surplus_features,
    targets_by_name,
)
from holdfast.sources.hosts.collect import needed_programs
from holdfast.sources.hosts.inventory import (
    Disk,
    FileSystem,
    Inventory,
    Layer,
    Package,
    decode_inventory,
    encode_inventory,
)

TABLE = """label: gpt
label-id: C96E1154-932C-B449-8FF2-9DA89943FCC1
device: /dev/nvme0n1
unit: sectors
first-lba: 2048
last-lba: 4194270
sector-size: 512

/dev/nvme0n1p1 : start=        2048, size=        2048, type=U, uuid=A9
/dev/nvme0n1p3 : start=        4096, size=      204800, type=L, uuid=AB, name="a b"
"""
DISK = Disk("nvme0n1", 2 << 30, 512, TABLE)
ROOT = FileSystem("nvme0n1p3", "ext4", "1-2", "root", "nvme0n1", 3, "/", features=("64bit",))
HOST = Inventory("/", "x86_64", disks=(DISK,), file_systems=(ROOT,))
FREE = Target("/dev/sdb", 1 << 30)


def test_a_table_is_written_as_it_was_without_what_held_for_the_old_disk():
    assert script_of(DISK).splitlines() == [
        "label: gpt",
        "label-id: C96E1154-932C-B449-8FF2-9DA89943FCC1",
        "unit: sectors",
        "first-lba: 2048",
        "/dev/disk1 : start=        2048, size=        2048, type=U, uuid=A9",
        '/dev/disk3 : start=        4096, size=      204800, type=L, uuid=AB, name="a b"',
    ]
    assert script_of(Disk("sda", 5)) == ""


@pytest.mark.parametrize(
    ("disk", "needed"),
    [
        (DISK, (4096 + 204800 + 33) * 512),
        (replace(DISK, table=TABLE.replace("label: gpt", "label: dos")), (4096 + 204800) * 512),
        (replace(DISK, sector_bytes=4096), (4096 + 204800 + 33) * 4096),
        (replace(DISK, table=""), 2 << 30),
    ],
)
def test_how_large_a_disk_must_be(disk, needed):
    assert bytes_needed(disk) == needed


def test_a_layout_names_what_is_made_and_where_it_is_mounted():
    boot = replace(ROOT, device="nvme0n1p1", partition=1, mount="/boot", kind="vfat")
    swap = replace(ROOT, device="nvme0n1p4", partition=4, mount="", kind="swap")
    deep = replace(ROOT, partition=5, mount="/boot/efi")
    host = replace(HOST, file_systems=(deep, swap, boot, ROOT))
    found = plan_layout(host, {"nvme0n1": FREE}, architecture="x86_64")
    assert [each.mount for each in found.mounted] == ["/", "/boot", "/boot/efi"]
    assert (found.disks[0].partitions, found.disks[0].bytes_there, found.disks[0].target) == (2, 1 << 30, "/dev/sdb")
    assert found.boot_disk == "nvme0n1"
    assert replace(found, file_systems=()).boot_disk == "nvme0n1"
    assert replace(found, file_systems=(), disks=()).boot_disk == ""


@pytest.mark.parametrize(
    ("host", "target", "why"),
    [
        (HOST, None, "no disk was named for nvme0n1, which needs"),
        (HOST, replace(FREE, in_use=True), "is in use"),
        (HOST, replace(FREE, bytes=1 << 20), "too small: 1048576 bytes, and 106971648 are needed"),
        (HOST, replace(FREE, sector_bytes=4096), "sectors of 4096 bytes, the host's had 512"),
        (HOST, replace(FREE, holds=("gpt", "ext4")), "not empty .it holds gpt, ext4.: --erase"),
        (replace(HOST, architecture="aarch64"), FREE, "architecture aarch64 and this machine of x86_64"),
        (replace(HOST, disks=()), FREE, "names no disk"),
        (replace(HOST, file_systems=()), FREE, "which file system is the root"),
        (replace(HOST, layers=(Layer("dm-0", "lvm"), Layer("md0", "raid"))), FREE, "lie below lvm, raid.*--into"),
        (replace(HOST, file_systems=(ROOT, replace(ROOT, kind="zfs_member"))), FREE, "not made again: zfs_member"),
        (replace(HOST, missing=("sfdisk: the partition table of sda",)), FREE, "sfdisk or blkid was missing"),
    ],
)
def test_every_reason_why_not_is_said(host, target, why):
    targets = {} if target is None else {"nvme0n1": target}
    with pytest.raises(HostRefusedError, match=why):
        plan_layout(host, targets, architecture="x86_64")


def test_what_is_on_a_disk_is_given_up_only_when_that_is_said():
    held = replace(FREE, holds=("ext4",))
    assert plan_layout(HOST, {"nvme0n1": held}, architecture="x86_64", erase=True).disks
    with pytest.raises(HostRefusedError, match=r"in use; .*not empty"):
        plan_layout(HOST, {"nvme0n1": replace(held, in_use=True)}, architecture="x86_64")


@pytest.mark.parametrize(
    ("given", "found"),
    [(["/dev/sdb"], {"a": "/dev/sdb"}), (["a=/x=y"], {"a": "/x=y"}), (["b=/x"], None), (["a=/x", "a=/y"], None)],
)
def test_which_disk_stands_for_which(given, found):
    one = replace(HOST, disks=(replace(DISK, name="a"),))
    if found is None:
        with pytest.raises(HostRefusedError):
            targets_by_name(one, given)
    else:
        assert targets_by_name(one, given) == found


def test_of_several_disks_each_must_be_named():
    two = replace(HOST, disks=(replace(DISK, name="a"), replace(DISK, name="b")))
    with pytest.raises(HostRefusedError, match="2 disks"):
        targets_by_name(two, ["/dev/sdb"])
    with pytest.raises(HostRefusedError, match="twice"):
        targets_by_name(two, ["a=/x", "b=/x"])


def test_devices_are_named_as_the_kernel_does():
    assert [device_of(disk, 2) for disk in ("/dev/sda", "/dev/nvme0n1", "/dev/loop0")] == [
        "/dev/sda2",
        "/dev/nvme0n1p2",
        "/dev/loop0p2",
    ]
    assert device_of("/dev/sda", 0) == "/dev/sda"


@pytest.mark.parametrize(
    ("kind", "label", "words"),
    [
        ("ext4", "root", "mkfs.ext4 -q -F -U 11-22 -L root /dev/x"),
        ("ext3", "", "mkfs.ext3 -q -F -U 11-22 /dev/x"),
        ("xfs", "data", "mkfs.xfs -q -f -m uuid=11-22 -L data /dev/x"),
        ("btrfs", "b", "mkfs.btrfs -q -f -U 11-22 -L b /dev/x"),
        ("vfat", "ESP", "mkfs.vfat -i 1122 -n ESP /dev/x"),
        ("swap", "s", "mkswap -U 11-22 -L s /dev/x"),
    ],
)
def test_file_systems_are_made_with_the_names_they_had(kind, label, words):
    assert maker_of(FileSystemPlan("a", 1, kind, "11-22", label, "/"), "/dev/x") == words.split()


def test_features_that_an_old_boot_loader_cannot_read_are_taken_away():
    assert surplus_features(["orphan_file", "64bit", "metadata_csum_seed"], ["64bit"]) == (
        "metadata_csum_seed",
        "orphan_file",
    )
    assert surplus_features(["orphan_file"], ["orphan_file"]) == ()


def test_every_missing_program_is_named_with_its_package():
    layout = plan_layout(HOST, {"nvme0n1": FREE}, architecture="x86_64")
    check_programs(layout, lambda _program: True)
    with pytest.raises(HostProgramError, match=r"mkfs\.ext4 \(package e2fsprogs\), tune2fs"):
        check_programs(layout, lambda program: program not in ("mkfs.ext4", "tune2fs"))
    assert needed_programs(lambda program: program != "blkid") == ("blkid (package util-linux)",)


GRUB = replace(HOST, loader="grub", kernels=("6",), initramfs=("6",))


@pytest.mark.parametrize(
    ("host", "files", "commands", "by_hand"),
    [
        (GRUB, {"/boot/initrd.img-6"}, [("grub-install", "--target=i386-pc", "/dev/sdb")], False),
        (GRUB, {"/boot/initramfs-6.img", "/usr/sbin/grub2-install"},
         [("grub2-install", "--target=i386-pc", "/dev/sdb")], False),
        (GRUB, {"/usr/sbin/update-initramfs"},
         [("update-initramfs", "-c", "-k", "6"), ("grub-install", "--target=i386-pc", "/dev/sdb")], False),
        (replace(GRUB, loader=""), set(), [("dracut", "--force", "--kver", "6")], False),
        (replace(GRUB, loader="extlinux", initramfs=()), set(), [], True),
        (replace(GRUB, firmware="uefi", initramfs=()), {"/boot/efi/EFI/BOOT/BOOTX64.EFI"}, [], False),
        (replace(GRUB, firmware="uefi", initramfs=()), set(),
         [("grub-install", "--target=x86_64-efi", "--no-nvram", "--removable")], False),
        (replace(GRUB, firmware="uefi", loader="systemd-boot", initramfs=()), set(), [], True),
    ],
)  # fmt: skip
def test_what_makes_a_host_boot(host, files, commands, by_hand):
    found = plan_boot(host, "/dev/sdb", files.__contains__)
    assert [command for _, command in found.commands] == commands
    assert bool(found.by_hand) == by_hand


def test_without_a_disk_the_boot_loader_of_a_bios_is_left_to_a_person():
    found = plan_boot(replace(GRUB, initramfs=()), "", lambda _path: False)
    assert found.commands == ()
    assert "grub" in found.by_hand


KNOWN = names_of([("/dev/sdb1", "ABCD-1234", "ESP", "F0-1"), ("/dev/sdb2", "11-aa", "root", "F0-2")])


@pytest.mark.parametrize(
    ("line", "counted"),
    [
        ("UUID=11-AA / ext4 defaults 0 1", (1, 0)),
        ('UUID="abcd-1234" /boot/efi vfat umask=0077 0 1', (1, 0)),
        ("LABEL=root / ext4 defaults 0 1", (1, 0)),
        ("LABEL=ROOT / ext4 defaults 0 1", (1, 1)),
        ("PARTUUID=f0-2 / ext4 defaults 0 1", (1, 0)),
        ("/dev/sdb1 /boot vfat defaults 0 1", (1, 0)),
        ("/dev/disk/by-uuid/11-aa / ext4 defaults 0 1", (1, 0)),
        ("UUID=99 /gone ext4 defaults 0 1", (1, 1)),
        ("UUID=99 /gone ext4 defaults,nofail 0 1", (0, 0)),
        ("UUID=99 /gone ext4 noauto 0 1", (0, 0)),
        ("tmpfs /tmp tmpfs defaults 0 0", (0, 0)),
        ("server:/x /x nfs defaults 0 0", (0, 0)),
        ("/a /b none bind 0 0", (0, 0)),
        ("# UUID=99 / ext4 defaults 0 1", (0, 0)),
        ("garbage", (0, 0)),
    ],
)
def test_lines_of_an_fstab_resolve_or_are_counted(line, counted):
    assert unresolved(line + "\n", KNOWN) == counted


def test_an_inventory_is_read_back_as_it_was_written():
    host = replace(
        GRUB,
        packages=(Package("bash", "5", "amd64"),),
        layers=(Layer("dm-0", "luks", ("sda",), "t"),),
        missing=("x: y",),
    )
    assert decode_inventory(encode_inventory(host)) == host


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no inventory"),
        (b"{}", "no inventory"),
        (encode_inventory(HOST).replace(b'"version": 1', b'"version": 2'), "later Holdfast"),
        (encode_inventory(HOST).replace(b'"root": "/"', b'"root": 7'), "TypeError"),
        (encode_inventory(HOST).replace(b'"root": "/"', b'"toor": "/"'), "KeyError"),
        (encode_inventory(HOST).replace(b'"root": "/"', b'"root": "/", "more": 1'), "ValueError"),
        (encode_inventory(HOST).replace(b'"bytes": 2147483648', b'"bytes": -1'), "TypeError"),
        (encode_inventory(HOST).replace(b'"layers": []', b'"layers": [3]'), "TypeError"),
        (encode_inventory(HOST).replace(b'"layers": []', b'"layers": {}'), "TypeError"),
        (encode_inventory(HOST).replace(b'"kernels": []', b'"kernels": [1]'), "TypeError"),
        (b" " * (33 << 20), "larger than any"),
        (encode_inventory(replace(HOST, root="/../../etc")), "ValueError"),
        (encode_inventory(replace(HOST, root="etc")), "ValueError"),
        (encode_inventory(replace(HOST, file_systems=(replace(ROOT, mount="/a/../../b"),))), "ValueError"),
        (encode_inventory(replace(HOST, file_systems=(replace(ROOT, label="--help"),))), "ValueError"),
        (encode_inventory(replace(HOST, file_systems=(replace(ROOT, disk="elsewhere"),))), "ValueError"),
        (encode_inventory(replace(HOST, disks=(replace(DISK, name="../sda"),), file_systems=())), "ValueError"),
    ],
)  # fmt: skip
def test_a_damaged_inventory_is_refused(data, why):
    with pytest.raises(HostInventoryError, match=why):
        decode_inventory(data)
