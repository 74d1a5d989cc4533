"""File systems on loop devices, for tests of volume snapshots: made in a file, mounted, taken away again. Needs root."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers import install

MAKERS = {
    "btrfs": ("mkfs.btrfs", "btrfs-progs", ["-q"]),
    "xfs": ("mkfs.xfs", "xfsprogs", ["-q"]),
    "ext4": ("mkfs.ext4", "e2fsprogs", ["-q", "-F"]),
}
MIB = 1 << 20


def possible() -> bool:
    """Return whether this user may mount at all: only root; for root a mount that fails is a failure."""
    return os.geteuid() == 0


def run(*command: str) -> str:
    """Run a program of the machine; its output is shown when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command[0]}: {done.stdout[-1000:]}{done.stderr[-2000:]}"
    return done.stdout


def _unmount(place: Path) -> None:
    """Unmount; a loop device inside lets go of its file a moment after its own file system is gone."""
    for _ in range(50):
        if subprocess.run(["umount", str(place)], capture_output=True, timeout=120, check=False).returncode == 0:
            return
        time.sleep(0.2)
    run("umount", str(place))


@contextmanager
def mounted(kind: str, image: Path, place: Path, *, mib: int = 320) -> Iterator[Path]:
    """Yield a new file system, mounted at `place`, that lives in the file `image`."""
    program, package, options = MAKERS[kind]
    maker = install.debian(program, package)
    with open(image, "wb") as file:
        file.truncate(mib * MIB)
    run(maker, *options, str(image))
    place.mkdir()
    run("mount", "-o", "loop", str(image), str(place))
    try:
        yield place
    finally:
        subprocess.run(["fsfreeze", "-u", str(place)], capture_output=True, timeout=60, check=False)
        _unmount(place)
        image.unlink(missing_ok=True)
