"""Roots of hosts for tests: a small Debian, made once by the machine's own package client, and one of a few copied programs."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
from pathlib import Path

from servers import install, loops

PACKAGES = "systemd,systemd-sysv,udev,grub-pc-bin,grub2-common,e2fsprogs,libcap2-bin"
LEFT_OUT = ("doc", "locale", "man", "info", "zoneinfo")
SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))


def tarball() -> Path:
    """Return a tar of a Debian with systemd and GRUB, of the same release and from the same places as this machine's."""
    maker = install.debian("mmdebstrap", "mmdebstrap")
    target: Path = install.CACHE / f"debian-root-{hashlib.sha256(PACKAGES.encode()).hexdigest()[:12]}.tar"
    if not target.exists():
        with install.only_one("debian-root"):
            if not target.exists():
                options = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEFT_OUT]
                known = [str(path) for path in SOURCES if path.exists()][:1]
                fresh = target.with_suffix(".part.tar")
                suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
                install.run([maker, "--variant=minbase", f"--include={PACKAGES}", *options, suite, str(fresh), *known])
                fresh.replace(target)
    return target


def debian(place: Path) -> None:
    """Unpack the Debian."""
    loops.run(
        "tar", "--extract", f"--file={tarball()}", f"--directory={place}", "--numeric-owner", "--xattrs-include=*"
    )


def tiny(place: Path) -> None:
    """Make a root of three programs and the libraries that they need: enough to be asked by chroot."""
    for folder in ("bin", "usr/bin", "etc", "boot", "dev", "proc", "sys", "tmp", "srv/data"):
        (place / folder).mkdir(parents=True, exist_ok=True)
    for program in ("/bin/true", "/bin/sh", "/usr/bin/getent"):
        found = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        libraries = [word for word in found.split() if word.startswith("/")]
        for source in (program, *libraries):
            target = place / source.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    (place / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (place / "etc/nsswitch.conf").write_text("passwd: files\n")
    (place / "etc/os-release").write_text('ID=tiny\nVERSION_ID="1"\n')
