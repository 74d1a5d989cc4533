"""Hosts on disks in files: a tiny one that lies on four partitions, and a vault beside it."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

import holdfast
from holdfast.testing import trees
from servers import databases, debian_root, disks, loops


@dataclass
class Site:
    """A vault, and where a host's disk is mounted while it is backed up."""

    root: Path
    services: str = ""
    dump: str = ""
    """The partition table of the host's disk."""

    @property
    def host(self) -> Path:
        return self.root / "host"

    @property
    def place(self) -> Path:
        return self.root / "drills"

    def configuration(self) -> Path:
        path = self.root / "holdfast.toml"
        path.write_text(
            f'[vault]\nurl = "{self.root}/vault"\nkey_file = "file:{self.root}/key"\n'
            f'[drill]\nplace = "{self.place}"\nevidence = "{self.root}/evidence"\n{self.services}\n'
        )
        return path

    def open(self) -> holdfast.Vault:
        return holdfast.Vault.open(self.configuration())

    def backup(self, label: str = "ward", **options):
        # Without its configuration: no governor holds the run back while other tests load the machine.
        with holdfast.Vault.open(self.root / "vault", key_file=self.root / "key") as vault:
            chosen = holdfast.BackupOptions(host_root=str(self.host), **options)
            return vault.backup([self.host], label=label, options=chosen)

    def new_disk(self, mib: int = 640, name: str = "new.img"):
        return disks.blank(self.root / name, mib)

    def nothing_left(self) -> None:
        """Assert that nothing of this site is mounted or attached."""
        assert "/run/holdfast/hosts" not in Path("/proc/self/mountinfo").read_text()
        assert str(self.root) not in Path("/proc/self/mountinfo").read_text()
        for _ in range(50):  # the kernel lets a device go a moment after its last mount
            if not self._attached():
                break
            time.sleep(0.1)
        assert self._attached() == []

    def _attached(self) -> list[str]:
        found = []
        for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
            with suppress(OSError):
                found.append(backing.read_text())
        return [text for text in found if str(self.root) in text]


@contextmanager
def a_site():
    disks.programs()
    with databases.folder() as root, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOLDFAST_STATE", str(root / "state"))
        site = Site(root)
        site.host.mkdir()
        holdfast.Vault.create(root / "vault", key_file=root / "key", label="site").close()
        yield site
        trees.empty(root)


def uuid_of(device):
    return loops.run("blkid", "--probe", "--output", "value", "--match-tag", "UUID", device).strip()


@contextmanager
def tiny_host(site: Site):
    """Yield with a tiny host mounted: EFI, swap, XFS data of a user's own, ext4 root with a device, a link and odd attributes."""
    image = disks.blank(site.root / "old.img", 640)
    loops.run("sh", "-c", f"printf '{disks.UEFI}' | sfdisk -q {image}")
    with disks.attached(image) as device:
        loops.run("mkfs.vfat", "-n", "ESP", f"{device}p1")
        loops.run("mkswap", "-L", "swap", f"{device}p2")
        loops.run("mkfs.xfs", "-q", "-L", "data", f"{device}p3")
        loops.run("mkfs.ext4", "-q", "-L", "root", f"{device}p4")
        with disks.mounted(device, {4: ".", 3: "srv/data"}, site.host):
            debian_root.tiny(site.host)
            efi = site.host / "boot/efi/EFI/BOOT"
            efi.mkdir(parents=True)
            (efi / "BOOTX64.EFI").write_bytes(b"MZ of a boot loader")
            lines = [f"UUID={uuid_of(f'{device}p{n}')} {place} {kind} {options} 0 2\n" for n, place, kind, options in (
                (4, "/", "ext4", "defaults"), (3, "/srv/data", "xfs", "noatime"), (1, "/boot/efi", "vfat", "umask=0077"),
                (2, "none", "swap", "sw"))]  # fmt: skip
            (site.host / "etc/fstab").write_text("# made by a test\n" + "".join(lines))
            os.chown(site.host / "srv/data", 4711, 4712)
            (site.host / "srv/data").chmod(0o2750)
            (site.host / "srv/data/records").write_bytes(os.urandom(3 << 20))
            os.mknod(site.host / "dev/null", 0o020666, os.makedev(1, 3))
            os.setxattr(site.host / "etc/passwd", "user.kept", b"yes")
            (site.host / "etc/link").symlink_to("/etc/passwd")
            yield image
    image.unlink()


@pytest.fixture(scope="module")
def backed_up():
    """A site with one snapshot of a tiny host, whose disk is gone since."""
    with a_site() as site:
        with tiny_host(site) as image:
            result = site.backup()
            assert not result.partial, result.findings
            site.dump = loops.run("sfdisk", "--dump", str(image))
        yield site
