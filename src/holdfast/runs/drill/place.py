"""Folders of drills: one each, marked and locked while the drill lives; what a killed drill left is found by that, and swept.

A place is refused where a drill could touch anything that is not its own. Nothing but folders made here is ever removed: each
has a name of its own, a marker and a lock, and a folder whose lock is held belongs to a drill that lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from holdfast.base.environment import Environment
from holdfast.engine import unmount_place
from holdfast.errors import DrillRefusedError, DrillSpaceError
from holdfast.services.hosts.disks import detach_idle
from holdfast.services.keeper import parse_mounts

__all__ = [
    "DRILL_VARIABLE",
    "DrillFolder",
    "Swept",
    "check_place",
    "check_space",
    "free_bytes",
    "open_folder",
    "production_folders",
    "space_needed",
    "sweep",
]

PREFIX = "drill-"
MARKER = "holdfast-drill.json"
LOCK = "lock"
DRILL_VARIABLE = "HOLDFAST_DRILL_ID"
"""In the environment of every process of a drill: what is left of a killed one is known by it."""
PLACE_BYTES_MAX = 70
"""Sockets lie below it, whose paths may have 107 bytes."""
SPARE = 64 << 20
_NAME = re.compile(rf"{PREFIX}[0-9a-f]{{12}}")


@dataclass(frozen=True, slots=True)
class DrillFolder:
    """The folder of one drill."""

    path: str
    id: str

    @property
    def restored(self) -> str:
        """Where the snapshot is restored to."""
        return os.path.join(self.path, "restored")

    @property
    def data(self) -> str:
        """Where the application's data is moved to."""
        return os.path.join(self.path, "data")

    @property
    def run(self) -> str:
        """Where sockets, configuration and logs are."""
        return os.path.join(self.path, "run")


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep found and removed."""

    folders: int
    bytes: int
    processes: int
    living: int
    """Drills that are under way: left alone."""


def check_place(place: str, *, production: Iterable[str]) -> str:
    """Return the real path of a place for drills. `DrillRefusedError` if a drill there could touch anything not its own.

    `production`: folders that are backed up, hold a service's data, the vault, or Holdfast's state.
    """
    if not os.path.isabs(place):
        raise DrillRefusedError("the place for drills is no absolute path")
    real = os.path.realpath(place)
    if real in ("/", os.path.realpath(os.path.expanduser("~"))):
        raise DrillRefusedError("the place for drills is a root or a home folder")
    if len(os.fsencode(real)) > PLACE_BYTES_MAX:
        raise DrillRefusedError(
            f"the place for drills has a path of more than {PLACE_BYTES_MAX} bytes, too long for sockets below it"
        )
    for folder in production:
        own = os.path.realpath(folder)
        if own != "/" and (real == own or real.startswith(own.rstrip("/") + "/")):
            raise DrillRefusedError(
                "the place for drills lies in a folder of production, of the vault, or of Holdfast's state"
            )
    if os.path.lexists(real):
        _check_existing(real)
    return real


def _check_existing(place: str) -> None:
    status = os.lstat(place)
    if not stat.S_ISDIR(status.st_mode):
        raise DrillRefusedError("the place for drills is no folder")
    if status.st_uid != os.geteuid():
        raise DrillRefusedError("the place for drills belongs to another user")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise DrillRefusedError("others may write to the place for drills")
    if any(not _NAME.fullmatch(name) for name in os.listdir(place)):
        raise DrillRefusedError("the place for drills holds something that is no drill's")


def space_needed(data_bytes: int, entries: int) -> int:
    """Return what a drill needs: the data, a page per entry, a tenth for what the application writes, and a little."""
    return int(data_bytes * 1.1) + entries * 4096 + SPARE


def free_bytes(place: str) -> int:
    """Return what is free where a place is or will be."""
    while not os.path.exists(place):
        place = os.path.dirname(place)
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize


def check_space(needed: int, free: int) -> None:
    """`DrillSpaceError` if there is too little."""
    if needed > free:
        raise DrillSpaceError(
            f"the drill needs {needed} bytes and its place has {free} free", needed_bytes=needed, free_bytes=free
        )


@contextmanager
def open_folder(place: str, env: Environment) -> Iterator[DrillFolder]:
    """Make a drill's folder, hold its lock, and remove it with everything in it afterwards."""
    os.makedirs(place, mode=0o711, exist_ok=True)
    folder, lock = _locked(place, env)
    try:
        with open(os.path.join(folder.path, MARKER), "w") as file:
            json.dump({"drill": folder.id, "process": os.getpid(), "began": env.timestamp()}, file)
        os.mkdir(folder.restored, 0o711)
        os.mkdir(folder.run, 0o700)
        yield folder
    finally:
        _remove(folder.path)
        os.close(lock)


def _locked(place: str, env: Environment) -> tuple[DrillFolder, int]:
    """Make a folder and take its lock; anew if a sweep came between the two and took the folder for a dead drill's."""
    while True:
        identity = env.random_id()[:12]
        folder = DrillFolder(os.path.join(place, PREFIX + identity), identity)
        os.mkdir(folder.path, 0o711)
        name = os.path.join(folder.path, LOCK)
        try:
            lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(name), os.fstat(lock)):
                return folder, lock
        os.close(lock)


def sweep(place: str) -> Swept:
    """Remove what killed drills left in a place: their processes, then their folders. Living drills are left alone."""
    folders = size = processes = living = 0
    for name in sorted(os.listdir(place)) if os.path.isdir(place) else ():
        path = os.path.join(place, name)
        if not _NAME.fullmatch(name) or os.path.islink(path) or os.lstat(path).st_uid != os.geteuid():
            continue
        lock = os.open(os.path.join(path, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            living += 1
        else:
            processes += _end_processes(name.removeprefix(PREFIX))
            size += _size(path)
            _remove(path)
            folders += 1
        finally:
            os.close(lock)
    return Swept(folders, size, processes, living)


def _end_processes(drill: str) -> int:
    """Kill what a drill without namespaces left running: processes that have its id in their environment."""
    wanted = f"{DRILL_VARIABLE}={drill}".encode()
    ended = 0
    for name in os.listdir("/proc"):
        if name.isdecimal() and int(name) != os.getpid():
            with contextlib.suppress(OSError):
                with open(f"/proc/{name}/environ", "rb") as file:
                    own = wanted in file.read().split(b"\0")
                if own:
                    os.kill(int(name), signal.SIGKILL)
                    ended += 1
    return ended


def _size(path: str) -> int:
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
    return total


def _remove(path: str) -> None:
    """Remove a drill's folder, the lock last: a sweep that is killed is gone on with by the next."""

    def unlocked(_function: object, name: str, _error: object) -> None:
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(name), 0o700)
            os.chmod(name, 0o700, follow_symlinks=not os.path.islink(name))
            os.rmdir(name) if os.path.isdir(name) and not os.path.islink(name) else os.unlink(name)

    for point in _mounts_below(path):
        with contextlib.suppress(OSError):
            unmount_place(point, lazily=True)
    detach_idle(path)
    for name in sorted(os.listdir(path), key=lambda name: (name in (LOCK, MARKER), name)):
        inner = os.path.join(path, name)
        if os.path.isdir(inner) and not os.path.islink(inner):
            shutil.rmtree(inner, onerror=unlocked)
            if os.path.lexists(inner):
                shutil.rmtree(inner, onerror=unlocked)
        else:
            os.unlink(inner)
    os.rmdir(path)


def _mounts_below(path: str) -> list[str]:
    """Return what is mounted below a folder, the innermost first: a killed drill's mount, which nobody answers for."""
    with open("/proc/self/mountinfo") as file:
        points = [point for point, _ in parse_mounts(file.read())]
    return [point for point in reversed(points) if point.startswith(path + "/")]


def production_folders(
    jobs: Iterable[Sequence[str]], services: Iterable[str], others: Iterable[str]
) -> tuple[str, ...]:
    """Return the folders that a drill's place must not lie in."""
    return (*(path for paths in jobs for path in paths), *(path for path in services if path), *others)
