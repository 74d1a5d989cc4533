"""A small real Debian with systemd and GRUB: lost with its disk, back on a new one, asked by chroot; and drilled.

Its boot loader is written by its own `grub-install`; that the result boots is shown by `bench/host.py`, in a machine of its own.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.integration.hosts.conftest import a_site, uuid_of

from servers import debian_root, disks, loops

pytestmark = pytest.mark.skipif(not loops.possible(), reason="only root mounts file systems")

SERVICE = """[services.ward]
source = "ward"
application = "host"
[[services.ward.checks]]
name = "identity"
kind = "command"
command = ["/usr/bin/id", "-u"]
equals = "0"
[[services.ward.checks]]
name = "nothing-to-write"
kind = "command"
command = ["/bin/sh", "-c", "test ! -w /proc/sysrq-trigger && echo closed"]
equals = "closed"
"""


@pytest.fixture(scope="module")
def debian():
    """A site with one snapshot of a Debian on a disk that is gone since."""
    with a_site() as site:
        site.services = SERVICE
        image = disks.blank(site.root / "old.img", 600)
        loops.run("sh", "-c", f"printf '{disks.BIOS}' | sfdisk -q {image}")
        with disks.attached(image) as device:
            loops.run("mkfs.ext4", "-q", f"{device}p2")
            loops.run("mkfs.ext4", "-q", "-L", "root", f"{device}p3")
            with disks.mounted(device, {3: ".", 2: "boot"}, site.host):
                debian_root.debian(site.host)
                boot, root = uuid_of(f"{device}p2"), uuid_of(f"{device}p3")
                (site.host / "etc/fstab").write_text(
                    f"UUID={root} / ext4 errors=remount-ro 0 1\nUUID={boot} /boot ext4 defaults 0 2\n"
                )
                grub = site.host / "boot/grub"
                grub.mkdir(exist_ok=True)
                (grub / "grub.cfg").write_text(
                    f"search --fs-uuid --set=root {boot}\nlinux /vmlinuz-6 root=UUID={root}\n"
                )
                (site.host / "boot/vmlinuz-6").write_bytes(b"a kernel")
                (site.host / "boot/initrd.img-6").write_bytes(b"an initramfs")
                modules = site.host / "lib/modules/6"
                modules.mkdir(parents=True)
                (modules / "modules.dep").write_bytes(b"")
                loops.run("setcap", "cap_net_raw+ep", str(site.host / "bin/ls"))
                result = site.backup()
                assert not result.partial, result.findings
        image.unlink()
        yield site


def test_a_lost_debian_comes_back_and_would_start(debian, tmp_path):
    image = debian.new_disk(600)
    with debian.open() as vault:
        found = vault.host_inventory()
        assert (found.package_format, found.loader, found.firmware, found.kernels) == ("dpkg", "grub", "bios", ("6",))
        assert found.missing == ()
        result = vault.restore_host(disks=[str(image)])
    states = {outcome.name: outcome.state for outcome in result.outcomes}
    assert result.exit_code == 0, result.outcomes
    assert set(states.values()) == {"passed"}
    assert {"writing the boot loader", "fstab", "kernel", "boot configuration", "enabled services", "packages", "package state",
            "package files", "units", "users"} <= set(states)  # fmt: skip
    debian.nothing_left()
    assert b"GRUB" in image.read_bytes()[:512]
    with disks.attached(image) as device, disks.mounted(device, {3: "."}, tmp_path):
        assert os.getxattr(tmp_path / "bin/ls", "security.capability")
        assert "mount_point" not in os.listdir(tmp_path)
    image.unlink()


def test_a_drill_of_a_whole_host_proves_it_and_leaves_nothing(debian):
    with debian.open() as vault:
        report = vault.drill("ward")
    states = {outcome.name: outcome.state for outcome in report.record.outcomes}
    assert report.passed, report.record.cause
    assert report.record.isolation == "namespaces"
    assert states["boot loader"] == "skipped"
    assert {states[name] for name in ("disks", "comparison", "packages", "units", "identity", "nothing-to-write")} == {
        "passed"
    }
    debian.nothing_left()
    assert not list(debian.place.iterdir())
    assert Path(report.page).exists()
