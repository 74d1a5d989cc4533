"""The local folder of a writable mount: made once, found again after a kill, and turned into a plain folder in the end."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.base import environment
from holdfast.errors import (
    MountBusyError,
    MountError,
    MountMissingError,
    MountNotWholeError,
    TargetNotEmptyError,
    UsageError,
)
from holdfast.runs.mounts.layout import UpperFolder, upper_of
from holdfast.runs.mounts.place import is_dead, is_mount, unmount
from holdfast.runs.mounts.results import MountFinished
from holdfast.runs.operations import noted_unopened

if TYPE_CHECKING:
    from holdfast.base.environment import Environment
    from holdfast.runs.options import PathLike

__all__ = ["boot_id", "finish_mount", "held", "make_upper", "mark_whole", "recorded"]

LOWER, LINKED = "user.holdfast.lower", "user.holdfast.linked"
"""The engine's attributes: what a file or folder lacks, and a name of ours that a file has besides its own."""
BOOT_FILE = Path("/proc/sys/kernel/random/boot_id")
WAIT_SECONDS = 10.0
LOOK_SECONDS = 0.05


def boot_id() -> bytes:
    """Return what tells this boot of the machine from another: 16 bytes."""
    return bytes.fromhex(BOOT_FILE.read_text(encoding="ascii").strip().replace("-", ""))


def recorded(upper: UpperFolder) -> dict[str, str] | None:
    """Return what an upper folder was made for; None if there is none. `MountError` if its record cannot be read."""
    try:
        found = json.loads(upper.record.read_bytes())
        return {key: str(found[key]) for key in ("vault", "snapshot")}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise MountError("the record of the upper folder cannot be read") from None


def make_upper(upper: UpperFolder, vault: str, snapshot: str) -> None:
    """Make an upper folder. Its record comes last: one without a record holds nothing, and is made anew."""
    try:
        if upper.root.exists():
            if {found.name for found in upper.root.iterdir()} - {"tree", "state"}:
                raise TargetNotEmptyError("the upper folder holds something already")
            if upper.tree.exists() and any(upper.tree.iterdir()):
                raise TargetNotEmptyError("the upper folder holds files and no record of a mount")
        for folder in (upper.root, upper.state, upper.state / "maps", upper.links):
            folder.mkdir(mode=0o700, exist_ok=True)
        upper.tree.mkdir(mode=0o755, exist_ok=True)
        os.setxattr(upper.tree, LOWER, b"")
        new = upper.record.with_suffix(".new")
        with new.open("w", encoding="ascii") as file:
            json.dump({"version": 1, "vault": vault, "snapshot": snapshot}, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(upper.record)
        _sync(upper.state)
        _sync(upper.root)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            raise MountError("the file system of the upper folder keeps no extended attributes") from error
        raise MountError(f"the upper folder cannot be made ({os.strerror(error.errno or 0)})") from error


@contextmanager
def held(upper: UpperFolder, *, wait_seconds: float = 0.0, env: Environment | None = None) -> Iterator[None]:
    """Hold an upper folder for this process alone. `MountBusyError` if another has it."""
    env = env or environment.system()
    until = env.monotonic() + wait_seconds
    with upper.lock.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if env.monotonic() >= until:
                    raise MountBusyError("another process has the upper folder mounted") from None
                env.sleep(LOOK_SECONDS)
        yield


def mark_whole(upper: UpperFolder) -> None:
    """Note durably that everything is here."""
    with upper.whole.open("w", encoding="ascii") as file:
        file.flush()
        os.fsync(file.fileno())
    _sync(upper.state)


def finish_mount(
    place: PathLike, *, upper: PathLike | None = None, to: PathLike | None = None, env: Environment | None = None
) -> MountFinished:
    """Turn a writable mount whose data is all here into a plain folder: unmount, and rename. No byte is copied.

    The folder takes the mount's place, or `to` (on the same file system). Stop the application first; it can start again
    on the folder when this returns. Interrupted anywhere, it is done again and goes on. Needs no vault and no key; it is recorded
    in the log that this host has of the vault.

    `MountMissingError`, `MountNotWholeError`, `MountBusyError`.
    """
    env = env or environment.system()
    began = env.monotonic()
    at = Path(os.path.abspath(os.fsdecode(place)))
    folder = upper_of(at, None if upper is None else Path(os.path.abspath(os.fsdecode(upper))))
    target = at if to is None else Path(os.path.abspath(os.fsdecode(to)))
    record = recorded(folder)
    if record is None:
        raise MountMissingError("no writable mount was made there")
    with noted_unopened(record["vault"], "mount.finish", env, subject=record["snapshot"]):
        _finish(folder, at, target, env)
    return MountFinished(record["snapshot"], env.monotonic() - began)


def _finish(folder: UpperFolder, at: Path, target: Path, env: Environment) -> None:
    if not folder.whole.exists():
        raise MountNotWholeError("not everything of the snapshot is on the local disk yet")
    dead = is_dead(at)
    if dead or (at.exists() and is_mount(at)):
        unmount(at, lazily=dead)
    with held(folder, wait_seconds=WAIT_SECONDS, env=env):
        _drop_links(folder)
        if folder.tree.exists():
            _move(folder.tree, target)
        shutil.rmtree(folder.root)


def _drop_links(folder: UpperFolder) -> None:
    """Take away the names of ours, and what says that a file has one."""
    if folder.links.is_dir():
        for link in folder.links.iterdir():
            with suppress(OSError):
                os.removexattr(link, LINKED, follow_symlinks=False)
            link.unlink()


def _move(tree: Path, target: Path) -> None:
    """Put the folder where it belongs: durable when this returns."""
    try:
        with suppress(FileNotFoundError):
            target.rmdir()
        tree.rename(target)
        _sync(target.parent)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise UsageError(
                "the folder would have to be copied to another file system",
                next="give --to a folder on the file system of the upper folder.",
            ) from error
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
            raise TargetNotEmptyError("the place of the folder holds something") from error
        raise MountError(f"the folder cannot be put in its place ({os.strerror(error.errno or 0)})") from error


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
