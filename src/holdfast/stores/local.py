"""A store in a folder: one file per object, under the object's name.

An object is written to a temporary file (a name starting with a dot, never listed), flushed, linked to its name and the
folder flushed, so that a crash leaves nothing or all of it. `link` refuses an existing name: that is create-if-absent,
atomic on any local file system and on NFS. Folders are 0700 and files 0600.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.errors import (
    HoldfastError,
    ObjectMissingError,
    StoreFullError,
    StoreRefusedError,
    StoreUnreachableError,
)
from holdfast.stores.protocol import (
    READ_BACK_BYTES_MAX,
    Data,
    ObjectInfo,
    Plain,
    Room,
    check_name,
    check_prefix,
    refuse_other_bytes,
)

FOLDER_MODE = 0o700
FRESH_MAX = 64
"""Objects of which it is remembered that they were put and not read back yet."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_CLEAN = "every object stored before is whole: an unfinished one never gets a name"

Put = Callable[[str, Data], None]


class LocalStore(Plain):
    """Objects as files below a folder."""

    def __init__(self, root: str, *, write: Put | None = None, pass_read: Callable[[int], None] | None = None) -> None:
        """Use the folder `root` (made absolute).

        `write(path, data)` makes a new file durably, or raises `OSError`: the assembly gives the engine's, which
        flushes in small steps and keeps a rate; without it this module's own is used. `pass_read(count)` waits until so
        many bytes may be read; what was put a moment ago is read back from memory, and not waited for.
        """
        self._root = Path(os.path.abspath(root))
        self._write = write or put_file
        self._pass_read = pass_read
        self._fresh: deque[str] = deque(maxlen=FRESH_MAX)

    @property
    def url(self) -> str:
        """The folder's absolute path."""
        return str(self._root)

    @property
    def local_root(self) -> str | None:
        """The folder."""
        return str(self._root)

    def put(self, name: str, data: Data) -> None:
        """Store an object; `InternalError` if the name holds other bytes."""
        if not self.put_new(name, data):
            refuse_other_bytes(self, name, data)

    def put_new(self, name: str, data: Data) -> bool:
        """Store an object if the name is free."""
        path = self._path(name)
        with _mapped("write"):
            if not self._root.is_dir():
                raise self._unreachable()
            try:
                self._write_with_parents(path, data)
            except FileExistsError:
                # Made by an attempt that failed after it had the name, or just now by another: "exists" is durable, too.
                _flush_file(path)
                return False
        if len(data) <= READ_BACK_BYTES_MAX:
            self._fresh.append(name)
        return True

    def _is_fresh(self, name: str) -> bool:
        """Return whether an object was put a moment ago and not read since."""
        try:
            self._fresh.remove(name)
        except ValueError:
            return False
        return True

    def _write_with_parents(self, path: Path, data: Data) -> None:
        try:
            self._write(str(path), data)
        except FileNotFoundError:
            self._make_parents(path)
            self._write(str(path), data)

    def get(self, name: str) -> bytes:
        """Return the object."""
        return self.get_range(name, 0, -1)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Return a part of the object."""
        path = self._path(name)
        with _mapped("read"):
            try:
                with path.open("rb", buffering=0) as file:
                    size = os.fstat(file.fileno()).st_size
                    wanted = max(0, size - offset)
                    if length >= 0:
                        wanted = min(wanted, length)
                    if self._pass_read is not None and not self._is_fresh(name):
                        self._pass_read(wanted)
                    return _read_exactly(file.fileno(), offset, wanted)
            except FileNotFoundError:
                raise self._missing(name) from None

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects of that prefix, folder by folder."""
        check_prefix(prefix)
        folder, _, _ = prefix.rpartition("/")
        with _mapped("list"):
            if not self._root.is_dir():
                raise self._unreachable()
        return self._walk(folder, prefix)

    def delete(self, name: str) -> None:
        """Remove an object and flush its folder."""
        path = self._path(name)
        with _mapped("delete"):
            try:
                path.unlink()
            except FileNotFoundError:
                return
            _flush_folder(path.parent)

    def size(self, name: str) -> int | None:
        """Return the size, or None."""
        with _mapped("read"):
            try:
                found = self._path(name).lstat()
            except FileNotFoundError:
                if not self._root.is_dir():
                    raise self._unreachable() from None
                return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def exists(self) -> bool:
        """Return whether the folder is there."""
        return self._root.is_dir()

    def room(self) -> Room | None:
        """Return the room of the folder's file system, as statvfs(3) tells it to an ordinary user."""
        with _mapped("look"):
            found = os.statvfs(self._root)
        return Room(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)

    def create(self) -> None:
        """Make the folder, and its parents, mode 0700."""
        with _mapped("write"):
            self._root.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            _flush_folder(self._root.parent)

    def close(self) -> None:
        """Do nothing: no file stays open between calls."""

    def _path(self, name: str) -> Path:
        return self._root / check_name(name)

    def _walk(self, folder: str, prefix: str) -> Iterator[ObjectInfo]:
        """Yield objects in name order: a folder sorts as its name followed by `/`."""
        with _mapped("list"):
            try:
                with os.scandir(self._root / folder) as listing:
                    rows = [(_sort_key(row), row) for row in listing if not row.name.startswith(".")]
            except (FileNotFoundError, NotADirectoryError):
                return
        base = f"{folder}/" if folder else ""
        for key, row in sorted(rows, key=lambda pair: pair[0]):
            name = base + row.name
            if key.endswith("/"):
                if f"{name}/".startswith(prefix) or prefix.startswith(f"{name}/"):
                    yield from self._walk(name, prefix)
            elif name.startswith(prefix):
                size = self.size(name)
                if size is not None:
                    yield ObjectInfo(name, size)

    def _make_parents(self, path: Path) -> None:
        """Make the folders between root and object, each durable in its parent; the root itself is never made."""
        if not self._root.is_dir():
            raise self._unreachable()
        missing = []
        folder = path.parent
        while folder != self._root and not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for new in reversed(missing):
            try:
                new.mkdir(FOLDER_MODE)
            except FileExistsError:
                continue
            _flush_folder(new.parent)

    def _missing(self, name: str) -> HoldfastError:
        if not self._root.is_dir():
            return self._unreachable()
        return ObjectMissingError(f"object {name} is not in the store")

    def _unreachable(self) -> StoreUnreachableError:
        return StoreUnreachableError(
            "the store's folder is not there",
            safe="nothing was changed",
            next="mount or reconnect the disk that holds the vault, then run again",
        )


def put_file(path: str, data: Data) -> None:
    """Write a new file durably: temporary file, flush, link, flush of the folder.

    `FileExistsError` if the name is taken, `FileNotFoundError` if the folder is not there.
    """
    folder = Path(path).parent
    fd, name = tempfile.mkstemp(prefix=".put-", dir=folder)
    temporary = Path(name)
    try:
        try:
            view = memoryview(data).cast("B")
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        os.link(temporary, path)
    finally:
        temporary.unlink()
    _flush_folder(folder)


def _read_exactly(fd: int, offset: int, wanted: int) -> bytes:
    """Read `wanted` bytes at `offset`, fewer only if the file ends."""
    first = os.pread(fd, wanted, offset)
    if len(first) == wanted:
        return first
    parts = [first]
    have = len(first)
    while have < wanted:
        part = os.pread(fd, wanted - have, offset + have)
        if not part:
            break
        parts.append(part)
        have += len(part)
    return b"".join(parts)


def _sort_key(row: os.DirEntry[str]) -> str:
    return f"{row.name}/" if row.is_dir(follow_symlinks=False) else row.name


def _flush_file(path: Path) -> None:
    """Make an existing object durable, name and bytes; one that was deleted meanwhile needs nothing."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    _flush_folder(path.parent)


def _flush_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _mapped(verb: str) -> Iterator[None]:
    """Turn an operating system's refusal into the store's error, with its number and without any path."""
    try:
        yield
    except OSError as error:
        raise store_error(error, verb) from None


def store_error(error: OSError, verb: str) -> HoldfastError:
    """Return the store error that an `OSError` means. Its text names the errno, never a path."""
    number = error.errno or 0
    reason = os.strerror(number) if number else "unknown error"
    if number in _FULL:
        return StoreFullError(
            f"the store is full ({reason})",
            safe=_CLEAN,
            next="free or add space (forget, then prune), and run again: nothing is uploaded twice",
            errno=number,
        )
    if number in _REFUSED:
        return StoreRefusedError(
            f"the store refused to {verb} ({reason})",
            safe=_CLEAN,
            next="run as the user who owns the vault, or mount the store writable",
            errno=number,
        )
    return StoreUnreachableError(
        f"the store failed to {verb} ({reason})",
        safe=_CLEAN,
        next="look at the disk and the system log; run again when it answers",
        errno=number,
    )
