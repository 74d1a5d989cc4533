"""A new file, whole or not at all: what a person asked to be written somewhere.

It is written under another name in the same folder, synced, and only then gets its own: a disk that fills, a process that dies or
an error on the way leaves nothing under the name that was asked for. A file that is there already is never replaced.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

__all__ = ["write_new"]

_LINKLESS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES})
"""What file systems without hard links (FAT on a stick, some mounts) say."""


def write_new(path: str | os.PathLike[str], parts: Iterable[bytes], *, mode: int = 0o600) -> int:
    """Write parts, as they come, into a file that did not exist, durably; return how many parts there were.

    `FileExistsError` if it did, before the first part is asked for or when the last was written; any other `OSError` of the
    file system. What the parts raise is raised, too. Nothing of it is left behind in any of these cases.
    """
    target = Path(path)
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        count = 0
        with open(descriptor, "wb") as file:
            for each in parts:
                file.write(each)
                count += 1
            file.flush()
            os.fsync(file.fileno())
        _name(part, target)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(part)
    _sync(target.parent)
    return count


def _name(part: Path, target: Path) -> None:
    """Give a file its own name, unless another has it."""
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _LINKLESS:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        os.rename(part, target)


def _sync(folder: Path) -> None:
    """Make a new name durable, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
