"""Disks looked at, written and mounted, by the programs of the machine. Images of disks are attached as loop devices.

Whatever is attached or mounted here goes when its context ends. A loop device is told to let go by itself as soon as nothing of it
is mounted, so a process that is killed leaves at most one that holds nothing; :func:`detach_idle` takes it away.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.base.environment import Environment
from holdfast.errors import HostError, HostProgramError, HostRefusedError
from holdfast.services.hosts.check import names_of
from holdfast.services.hosts.plan import FileSystemPlan, Layout, Target, device_of, maker_of, surplus_features
from holdfast.sources.programs import Programs

__all__ = ["DiskWork", "Mounted", "detach_idle", "found_on_machine"]

LOOP_CLR_FD = 0x4C01
"""linux/loop.h: let go of the file, now or when nothing uses the device any more."""
FOLDERS = ("/usr/sbin", "/sbin", "/usr/local/sbin")
SECONDS = 120.0
MAKE_SECONDS = 1800.0
NODE_SECONDS = 15.0
NOTHING_FOUND = 2
"""How `blkid --probe` ends where nothing is."""


def _path() -> str:
    return os.pathsep.join((os.environ.get("PATH", os.defpath), *FOLDERS))


def found_on_machine(program: str) -> bool:
    """Return whether this machine has a program."""
    return shutil.which(program, path=_path()) is not None


def detach_idle(below: str) -> int:
    """Let loop devices go whose files lie at or below a path and that nothing uses; return how many did."""
    ended = 0
    for place in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):
            file = place.read_text().strip().removesuffix(" (deleted)")
            if file == below or file.startswith(below.rstrip("/") + "/"):
                device = os.open(f"/dev/{place.parent.parent.name}", os.O_RDONLY | os.O_CLOEXEC | os.O_EXCL)
                try:
                    fcntl.ioctl(device, LOOP_CLR_FD)
                    ended += 1
                finally:
                    os.close(device)
    return ended


def _is_attached(image: str) -> bool:
    for place in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):
            if place.read_text().strip() == image:
                return True
    return False


@dataclass(slots=True)
class Mounted:
    """A host's file systems, mounted."""

    root: str
    devices: Mapping[str, str]
    """Devices of the disks, by the host's names of them."""
    staged: list[tuple[str, str]] = field(default_factory=list)
    """File systems that this kernel cannot mount: (device, folder that stands in for it)."""


@dataclass(slots=True)
class DiskWork:
    """What is done to disks. `stop` between two steps is the caller's."""

    programs: Programs
    env: Environment

    def run(
        self, what: str, command: Sequence[str], *, seconds: float = SECONDS, stdin: bytes = b"", around: int = 0
    ) -> str:
        """Run a program and return what it prints. `HostError` that names the step and the program, and no path.

        `around`: how many words of the command only start the program itself.
        """
        program = os.path.basename(command[around])
        done = self.programs.run(command, timeout=seconds, environ={"PATH": _path()}, stdin=stdin)
        if done.timed_out:
            raise HostError(f"{what} failed: {program} did not end within {seconds:.0f} s")
        if not done.ok:
            raise HostError(f"{what} failed: {program} ended with exit code {done.code}")
        return done.text

    def look(self, path: str, *, sector_bytes: int = 512, reclaim: bool = False) -> Target:
        """Return what a disk or an image is now; `sector_bytes` of an image. `HostRefusedError` if it is neither.

        `reclaim`: an idle loop device of the image is what a killed call left, and goes.
        """
        real = os.path.realpath(path)
        try:
            status = os.stat(real)
        except OSError:
            raise HostRefusedError("a disk that was named is not there") from None
        if stat.S_ISBLK(status.st_mode):
            if os.path.exists(f"/sys/dev/block/{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}/partition"):
                raise HostRefusedError("a disk that was named is a partition, not a whole disk")
            return self._target(path, real, _sector_bytes(status.st_rdev), image=False)
        if not stat.S_ISREG(status.st_mode):
            raise HostRefusedError("a disk that was named is neither a block device nor a file")
        if reclaim:
            detach_idle(real)
        return self._target(path, real, sector_bytes, image=True)

    def _target(self, path: str, real: str, sector_bytes: int, *, image: bool) -> Target:
        try:
            device = os.open(real, os.O_RDWR | os.O_CLOEXEC | (0 if image else os.O_EXCL))
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ETXTBSY):
                raise HostRefusedError(f"a disk that was named cannot be written: {error.strerror}") from None
            return Target(path, 0, sector_bytes, in_use=True, image=image)
        try:
            size = os.lseek(device, 0, os.SEEK_END)
        finally:
            os.close(device)
        kinds = self.run("looking at a disk", ["wipefs", "--noheadings", "--output", "TYPE", real]).split()
        return Target(path, size, sector_bytes, image and _is_attached(real), tuple(dict.fromkeys(kinds)), image)

    @contextmanager
    def attached(self, layout: Layout) -> Iterator[dict[str, str]]:
        """Yield the devices of the disks, images as loop devices; afterwards they are detached."""
        found: dict[str, str] = {}
        images = []
        try:
            for disk in layout.disks:
                real = os.path.realpath(disk.target)
                if stat.S_ISREG(os.stat(real).st_mode):
                    images.append(real)
                    command = ["losetup", "--partscan", "--find", "--show", real]
                    found[disk.name] = self.run("attaching an image", command).strip()
                else:
                    found[disk.name] = real
            yield found
        finally:
            for image in images:
                self._detach(image)

    def _detach(self, image: str) -> None:
        """Let a loop device go, and wait for that: the kernel may take a moment after its last mount."""
        deadline = self.env.monotonic() + NODE_SECONDS
        while _is_attached(image) and self.env.monotonic() < deadline:
            if not detach_idle(image):
                self.env.sleep(0.05)

    def partition(self, layout: Layout, devices: Mapping[str, str]) -> None:
        """Write the partition tables over whatever is there."""
        for disk in layout.disks:
            device = devices[disk.name]
            self.run("clearing a disk", ["wipefs", "--all", "--force", "--quiet", device])
            if disk.script:
                command = ["sfdisk", "--quiet", "--wipe=always", "--wipe-partitions=always", "--no-reread", device]
                self.run("writing a partition table", command, stdin=disk.script.encode())

    def show_partitions(self, layout: Layout, devices: Mapping[str, str]) -> None:
        """Make the kernel know the partitions, and wait for their devices."""
        for disk in layout.disks:
            if disk.script:
                self.run("reading a partition table", ["partx", "--update", devices[disk.name]])
        for each in layout.file_systems:
            self._await(device_of(devices[each.disk], each.partition))

    def _await(self, node: str) -> None:
        deadline = self.env.monotonic() + NODE_SECONDS
        while not os.path.exists(node):
            if self.env.monotonic() > deadline:
                raise HostError("the kernel shows no device for a partition that was made")
            self.env.sleep(0.05)

    def make(self, each: FileSystemPlan, devices: Mapping[str, str]) -> None:
        """Make a file system over whatever is there."""
        device = device_of(devices[each.disk], each.partition)
        self.run(f"making a file system ({each.kind})", maker_of(each, device), seconds=MAKE_SECONDS)
        if each.kind.startswith("ext"):
            text = self.run("looking at a file system", ["dumpe2fs", "-h", device])
            line = next((line for line in text.splitlines() if line.startswith("Filesystem features:")), "")
            for name in surplus_features(line.partition(":")[2].split(), each.features):
                self.run("fitting a file system to the host", ["tune2fs", "-O", f"^{name}", device])

    def identity(self, device: str) -> tuple[str, str, str, str]:
        """Return by which names a file system is known: device, UUID, label, and the partition's UUID."""
        done = self.programs.run(
            ["blkid", "--probe", "--output", "export", device], timeout=SECONDS, environ={"PATH": _path()}
        )
        if not done.ok and done.code != NOTHING_FOUND:
            raise HostError(f"looking at a file system failed: blkid ended with exit code {done.code}")
        said = dict(line.partition("=")[::2] for line in done.text.splitlines())
        return device, said.get("UUID", ""), said.get("LABEL", ""), said.get("PART_ENTRY_UUID", "")

    def known_names(self, layout: Layout, devices: Mapping[str, str]) -> frozenset[str]:
        """Return all names of the file systems that were made."""
        made = [self.identity(device_of(devices[each.disk], each.partition)) for each in layout.file_systems]
        return names_of(made)

    @contextmanager
    def mounted(
        self, layout: Layout, devices: Mapping[str, str], root: str, *, options: str = "defaults"
    ) -> Iterator[Mounted]:
        """Yield the file systems mounted below `root` as the host mounts them; afterwards they are written out and unmounted."""
        places: list[str] = []
        found = Mounted(root, devices)
        try:
            for each in layout.mounted:
                place = os.path.join(root, each.mount.lstrip("/")).rstrip("/")
                if os.path.realpath(place) != place:
                    raise HostError("a link stands where a file system is to be mounted")
                os.makedirs(place, exist_ok=True)
                device = device_of(devices[each.disk], each.partition)
                if each.kind == "vfat" and not self._mounts(each.kind, device, place, options):
                    found.staged.append((device, place))
                    continue
                if each.kind != "vfat":
                    self.run("mounting a file system", ["mount", "-t", each.kind, "-o", options, device, place])
                places.append(place)
            for disk in layout.disks:
                if stat.S_ISREG(os.stat(disk.target).st_mode):
                    _let_go_later(devices[disk.name])
            yield found
        finally:
            for place in reversed(places):
                self.run("unmounting a file system", ["umount", "--recursive", place], seconds=MAKE_SECONDS)

    def _mounts(self, kind: str, device: str, place: str, options: str) -> bool:
        """Mount what a kernel may not know. `HostProgramError` if it does not, and mtools are not there either."""
        command = ["mount", "-t", kind, "-o", options, device, place]
        done = self.programs.run(command, timeout=SECONDS, environ={"PATH": _path()})
        if not done.ok and not found_on_machine("mcopy"):
            raise HostProgramError(f"this kernel does not mount {kind}, and mcopy (package mtools) is missing")
        return done.ok

    def fill_staged(self, mounted: Mounted) -> None:
        """Copy what was restored in place of a file system that this kernel cannot mount onto that file system."""
        for device, place in mounted.staged:
            names = [os.path.join(place, name) for name in sorted(os.listdir(place))]
            if names:
                self.run("filling a file system", ["mcopy", "-s", "-Q", "-o", "-n", "-i", device, *names, "::/"])

    def clear_staged(self, mounted: Mounted) -> None:
        """Empty the folders that stood in: there the file systems are mounted."""
        for _, place in mounted.staged:
            for name in os.listdir(place):
                inner = os.path.join(place, name)
                shutil.rmtree(inner) if os.path.isdir(inner) else os.unlink(inner)


def _let_go_later(device: str) -> None:
    """Let a loop device go by itself when nothing of it is mounted any more, whatever becomes of this process."""
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, LOOP_CLR_FD)
    finally:
        os.close(descriptor)


def _sector_bytes(device: int) -> int:
    path = f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/queue/logical_block_size"
    try:
        with open(path) as file:
            return int(file.read())
    except OSError:
        return 512
