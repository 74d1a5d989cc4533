"""File trees as tests see them: what a folder holds, and how two of them differ.

`capture` reads a folder with plain system calls and knows nothing of the engine, so it serves as the oracle of every
round trip: capture the source before a backup, capture what was restored, and `differences` must be empty.

Paths are bytes relative to the captured folder; the folder itself is `b""`. Content is kept as a digest that does not
depend on holes, and the holes beside it, so a 1 TiB sparse file costs what its data costs.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum

BLOCK_BYTES = 64 * 1024
"""Content is digested in aligned blocks of this size; all-zero blocks are left out, like holes."""

HOLE_SLACK_BYTES = 64 * 1024
"""Data that a restore may write into the edges of each hole (its pages are larger than the file system's)."""

_ZEROS = bytes(BLOCK_BYTES)
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Kind(Enum):
    """What a path is."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symlink"
    FIFO = "fifo"
    CHAR_DEVICE = "char-device"
    BLOCK_DEVICE = "block-device"
    SOCKET = "socket"


_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.FOLDER,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFCHR: Kind.CHAR_DEVICE,
    stat.S_IFBLK: Kind.BLOCK_DEVICE,
    stat.S_IFSOCK: Kind.SOCKET,
}


@dataclass(frozen=True, slots=True)
class Item:
    """One path with everything that a backup must bring back."""

    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    size: int = 0
    digest: bytes = b""
    data_bytes: int = 0
    """Bytes outside holes, as the file system tells them."""
    holes: int = 0
    target: bytes = b""
    device: int = 0
    links: tuple[bytes, ...] = ()
    """All captured paths of the same file, sorted; empty when there is only this one."""


Tree = Mapping[bytes, Item]
AnyPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]


@dataclass(frozen=True, slots=True)
class Difference:
    """One path, one field, what was expected and what is there."""

    path: bytes
    field: str
    expected: object
    actual: object

    def __str__(self) -> str:
        """Read as one line of a failed assertion."""
        return f"{self.path!r}: {self.field}: expected {self.expected!r}, found {self.actual!r}"


def capture(root: AnyPath) -> dict[bytes, Item]:
    """Read everything under `root`, which may hold paths longer than the system's limit.

    Raises OSError where something cannot be read: an oracle must not guess.
    """
    found: dict[bytes, Item] = {}
    groups: dict[tuple[int, int], list[bytes]] = {}
    folder = os.open(os.fsencode(root), _FOLDER_FLAGS)
    try:
        found[b""] = _item(os.fstat(folder), folder, b".")
        _capture_into(folder, b"", found, groups)
    finally:
        os.close(folder)
    for paths in groups.values():
        if len(paths) > 1:
            links = tuple(sorted(paths))
            found.update({path: replace(found[path], links=links) for path in paths})
    return found


def _capture_into(
    top: int, prefix: bytes, found: dict[bytes, Item], groups: dict[tuple[int, int], list[bytes]]
) -> None:
    """Walk depth first with one open folder per level, without recursion (a path may have thousands of levels)."""
    waiting: list[tuple[int, bytes, Iterator[str]]] = [(os.dup(top), prefix, iter(os.listdir(top)))]
    while waiting:
        folder, base, names = waiting[-1]
        text = next(names, None)
        if text is None:
            os.close(folder)
            waiting.pop()
            continue
        name = os.fsencode(text)
        path = base + b"/" + name if base else name
        info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        found[path] = _item(info, folder, name)
        if stat.S_ISDIR(info.st_mode):
            inner = os.open(name, _FOLDER_FLAGS, dir_fd=folder)
            waiting.append((inner, path, iter(os.listdir(inner))))
        elif info.st_nlink > 1:
            groups.setdefault((info.st_dev, info.st_ino), []).append(path)


def _item(info: os.stat_result, folder: int, name: bytes) -> Item:
    kind = _KINDS[stat.S_IFMT(info.st_mode)]
    item = Item(
        kind=kind,
        mode=stat.S_IMODE(info.st_mode),
        uid=info.st_uid,
        gid=info.st_gid,
        mtime_ns=info.st_mtime_ns,
        xattrs=_xattrs(folder, name),
    )
    if kind is Kind.FILE:
        return _with_content(item, folder, name)
    if kind is Kind.SYMLINK:
        return replace(item, target=os.readlink(name, dir_fd=folder))
    if kind in {Kind.CHAR_DEVICE, Kind.BLOCK_DEVICE}:
        return replace(item, device=info.st_rdev)
    return item


def reach(folder: int, name: bytes) -> bytes:
    """Name something inside an open folder for calls that take only a path: short, however deep it lies."""
    return b"/proc/self/fd/%d/%s" % (folder, name)


def _xattrs(folder: int, name: bytes) -> tuple[tuple[bytes, bytes], ...]:
    path = reach(folder, name)
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno in {errno.ENOTSUP, errno.EPERM}:
            return ()
        raise
    pairs = ((os.fsencode(key), os.getxattr(path, key, follow_symlinks=False)) for key in names)
    return tuple(sorted(pairs))


def _with_content(item: Item, folder: int, name: bytes) -> Item:
    digest = hashlib.sha256()
    data_bytes = holes = 0
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        size = os.fstat(file).st_size
        done = 0
        position = 0
        for start, end in _data_extents(file, size):
            holes += start > position
            position = end
            data_bytes += end - start
            block = max(start - start % BLOCK_BYTES, done)
            while block < end:
                data = _read_exactly(file, min(BLOCK_BYTES, size - block), block)
                if data != _ZEROS[: len(data)]:
                    digest.update(block.to_bytes(8, "little") + data)
                block += BLOCK_BYTES
            done = block
        holes += position < size
    finally:
        os.close(file)
    digest.update(size.to_bytes(8, "little"))
    return replace(item, size=size, digest=digest.digest(), data_bytes=data_bytes, holes=holes)


def _read_exactly(file: int, length: int, offset: int) -> bytes:
    data = b""
    while len(data) < length:
        more = os.pread(file, length - len(data), offset + len(data))
        if not more:
            message = "the file became shorter while it was captured"
            raise OSError(errno.EIO, message)
        data += more
    return data


def _data_extents(file: int, size: int) -> Iterator[tuple[int, int]]:
    position = 0
    while position < size:
        try:
            start = os.lseek(file, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        position = os.lseek(file, start, os.SEEK_HOLE)
        yield start, position


def below(tree: Tree, prefix: bytes) -> dict[bytes, Item]:
    """Keep what lies under `prefix`, with paths relative to it (`b""` is the prefix itself)."""
    if not prefix:
        return dict(tree)
    inside = {path[len(prefix) + 1 :]: item for path, item in tree.items() if path.startswith(prefix + b"/")}
    moved = {
        path: replace(item, links=_links_below(item.links, prefix)) if item.links else item
        for path, item in inside.items()
    }
    if prefix in tree:
        moved[b""] = tree[prefix]
    return moved


def _links_below(links: tuple[bytes, ...], prefix: bytes) -> tuple[bytes, ...]:
    kept = tuple(path[len(prefix) + 1 :] for path in links if path.startswith(prefix + b"/"))
    return kept if len(kept) > 1 else ()


def storable(tree: Tree) -> dict[bytes, Item]:
    """Leave out what no backup stores (sockets)."""
    return {path: item for path, item in tree.items() if item.kind is not Kind.SOCKET}


def differences(
    expected: Tree, actual: Tree, *, owners: bool = True, root: bool = True, limit: int = 20
) -> list[Difference]:
    """Compare two trees by every field; at most `limit` differences are returned, in path order.

    Holes count as kept when a file holds no more data than expected plus `HOLE_SLACK_BYTES` for each of its holes.
    `owners=False` leaves out uid and gid (a restore without root); `root=False` leaves out the top folder's metadata.
    """
    found: list[Difference] = []
    for path in sorted(expected.keys() | actual.keys()):
        if len(found) >= limit:
            break
        if not path and not root:
            continue
        wanted, there = expected.get(path), actual.get(path)
        if wanted is None or there is None:
            found.append(Difference(path, "exists", wanted.kind if wanted else None, there.kind if there else None))
            continue
        found.extend(_item_differences(path, wanted, there, owners=owners))
    return found[:limit]


def _item_differences(path: bytes, wanted: Item, there: Item, *, owners: bool) -> Iterator[Difference]:
    fields = ["kind", "mode", "mtime_ns", "xattrs", "size", "digest", "target", "device", "links"]
    if owners:
        fields += ["uid", "gid"]
    for name in fields:
        one, other = getattr(wanted, name), getattr(there, name)
        if one != other:
            yield Difference(path, name, one, other)
    if there.data_bytes > wanted.data_bytes + wanted.holes * 2 * HOLE_SLACK_BYTES:
        yield Difference(path, "data_bytes", wanted.data_bytes, there.data_bytes)


def describe(found: list[Difference]) -> str:
    """Write differences one per line, for an assertion's message."""
    return "\n".join(str(one) for one in found)


def empty(root: AnyPath) -> None:
    """Delete everything under `root`, however deep, and keep `root` itself."""
    waiting: list[tuple[int, bytes]] = [(os.open(os.fsencode(root), _FOLDER_FLAGS), b"")]
    while waiting:
        folder, name = waiting[-1]
        inner = _empty_files(folder)
        if inner is not None:
            with contextlib.suppress(PermissionError):
                os.chmod(inner, 0o700, dir_fd=folder)
            waiting.append((os.open(inner, _FOLDER_FLAGS, dir_fd=folder), inner))
            continue
        os.close(folder)
        waiting.pop()
        if waiting:
            os.rmdir(name, dir_fd=waiting[-1][0])


def _empty_files(folder: int) -> bytes | None:
    """Unlink what is not a folder; return one folder that is left, if any."""
    inner: bytes | None = None
    for text in os.listdir(folder):
        name = os.fsencode(text)
        if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            inner = name
        else:
            os.unlink(name, dir_fd=folder)
    return inner
