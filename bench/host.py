"""Whether a restored host boots: a Debian with a kernel, lost, restored to a new disk, and started in a machine of its own.

    python bench/host.py [--seconds 600]

The machine is QEMU without acceleration and without a network; the disk is opened as a snapshot, so it stays as restored. It is proved
when the login prompt of the restored host appears on its serial console. Needs root, and some 3 GB of disk.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import holdfast

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from servers import debian_root, disks, install, loops

PACKAGES = f"{debian_root.PACKAGES},initramfs-tools,linux-image-cloud-amd64,zstd"
MENU = """serial --unit=0 --speed=115200
terminal_output serial
set timeout=0
search --no-floppy --fs-uuid --set=root {boot}
menuentry host {{
 linux /vmlinuz-{kernel} root=UUID={root} ro console=ttyS0 panic=5
 initrd /initrd.img-{kernel}
}}
"""


def uuid(device: str) -> str:
    """Return the identifier of a file system."""
    return loops.run("blkid", "--probe", "--output", "value", "--match-tag", "UUID", device).strip()


def made(folder: Path, place: Path, device: str) -> None:
    """Make the host that will be lost."""
    root, boot = uuid(f"{device}p3"), uuid(f"{device}p2")
    maker = install.debian("mmdebstrap", "mmdebstrap")
    known = [str(path) for path in debian_root.SOURCES if path.exists()][:1]
    suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
    tar = folder / "root.tar"
    install.run([maker, "--variant=minbase", f"--include={PACKAGES}", suite, str(tar), *known])
    loops.run("tar", "--extract", f"--file={tar}", f"--directory={place}", "--numeric-owner", "--xattrs-include=*")
    tar.unlink()
    kernel = next((place / "boot").glob("vmlinuz-*")).name.removeprefix("vmlinuz-")
    (place / "etc/fstab").write_text(f"UUID={root} / ext4 defaults 0 1\nUUID={boot} /boot ext4 defaults 0 2\n")
    (place / "etc/hostname").write_text("restored-host\n")
    (place / "boot/grub").mkdir(exist_ok=True)
    (place / "boot/grub/grub.cfg").write_text(MENU.format(root=root, boot=boot, kernel=kernel))


def boots(image: Path, seconds: int) -> float:
    """Return after how many seconds the login prompt appears; 0 if it does not."""
    program = install.debian("qemu-system-x86_64", "qemu-system-x86", "qemu-system-common", "seabios")
    began = time.monotonic()
    log = image.with_suffix(".console")
    with log.open("wb") as console:
        machine = subprocess.Popen(
            [program, "-accel", "tcg", "-cpu", "max", "-m", "768", "-nographic", "-snapshot", "-nic", "none", "-no-reboot",
             "-drive", f"file={image},format=raw,if=virtio", "-serial", "mon:stdio"],
            stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        while time.monotonic() - began < seconds and machine.poll() is None:
            if b"restored-host login:" in log.read_bytes():
                return time.monotonic() - began
            time.sleep(1)
        sys.stdout.write(log.read_text(errors="replace")[-2000:] + "\n")
        return 0.0
    finally:
        machine.kill()
        machine.wait()


def main() -> int:
    """Make, back up, lose, restore, boot."""
    parser = argparse.ArgumentParser(description="Boot a restored host.")
    parser.add_argument("--seconds", type=int, default=600)
    seconds = parser.parse_args().seconds
    disks.programs()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o711)
        os.environ["HOLDFAST_STATE"] = str(folder / "state")
        place = folder / "host"
        place.mkdir()
        old = disks.blank(folder / "old.img", 1200)
        loops.run("sh", "-c", f"printf '{disks.BIOS.replace('64M', '160M')}' | sfdisk -q {old}")
        with holdfast.Vault.create(folder / "vault", key_file=folder / "key") as vault:
            with disks.attached(old) as device:
                loops.run("mkfs.ext4", "-q", f"{device}p2")
                loops.run("mkfs.ext4", "-q", f"{device}p3")
                with disks.mounted(device, {3: ".", 2: "boot"}, place):
                    made(folder, place, device)
                    vault.backup([place], options=holdfast.BackupOptions(host_root=str(place)))
            old.unlink()
            result = vault.restore_host(disks=[str(disks.blank(folder / "new.img", 1200))])
        phases = ", ".join(f"{phase.name} {phase.seconds:.1f} s" for phase in result.phases)
        failed = ", ".join(outcome.name for outcome in result.failed) or "none"
        took = boots(folder / "new.img", seconds)
        sys.stdout.write(f"restored in {result.seconds:.1f} s ({phases}); checks failed: {failed}\n")
        sys.stdout.write(f"login prompt after {took:.0f} s\n" if took else "no login prompt\n")
        return 0 if took and not result.failed else 1


if __name__ == "__main__":
    sys.exit(main())
