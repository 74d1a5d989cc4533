"""Everything a file system can hold, in one small tree: the input of every round-trip test.

`plant` needs no root; what the machine or the user does not allow (devices, foreign owners, xattrs, ACLs, very old
times) is left out and named in the result, so a test can say what it did not prove.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.testing.trees import reach

TIB = 1 << 40
ACL_VERSION = 2
ACL_USER_OBJ, ACL_USER, ACL_GROUP_OBJ, ACL_MASK, ACL_OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
ACL_NO_ID = 0xFFFF_FFFF

Part = Callable[["_Planting"], None]


@dataclass(frozen=True, slots=True)
class Planted:
    """What the tree holds, and what this machine refused."""

    planted: tuple[str, ...]
    refused: tuple[str, ...]


@dataclass(slots=True)
class _Planting:
    root: bytes
    random: random.Random
    entries: int
    sparse_bytes: int
    planted: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @contextmanager
    def folder(self, name: bytes) -> Iterator[int]:
        """Make a folder below the root and open it."""
        path = os.path.join(self.root, name)
        os.makedirs(path, exist_ok=True)
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield handle
        finally:
            os.close(handle)


def plant(root: Path, seed: int, *, entries: int = 1500, sparse_bytes: int = TIB) -> Planted:
    """Fill the existing folder `root`; `entries` is the size of the largest folder, `sparse_bytes` of the largest file.

    What stays the same: names and contents, by the seed. Times are set last, so they are as planted.
    """
    planting = _Planting(os.fsencode(root), random.Random(seed), entries, sparse_bytes)
    for part in _PARTS:
        name = part.__name__.lstrip("_")
        try:
            part(planting)
        except OSError as error:
            if error.errno not in {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EINVAL, errno.EFBIG}:
                raise
            planting.refused.append(f"{name} ({errno.errorcode[error.errno]})")
        else:
            planting.planted.append(name)
    return Planted(tuple(planting.planted), tuple(planting.refused))


def _write(folder: int, name: bytes, data: bytes, mode: int = 0o644) -> None:
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode, dir_fd=folder)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
        os.fchmod(file, mode)
    finally:
        os.close(file)


def _names(planting: _Planting) -> None:
    """Names of any bytes: not UTF-8, newline, escape, quotes, spaces, leading dash, 255 bytes, look-alikes."""
    names = [
        b"\xff\xfe not UTF-8",
        b"new\nline",
        b"tab\tbell\x07escape\x1b[31m",
        b"back\\slash",
        b"'quote' \"double\" $HOME `x` ;&|*?[a-z]",
        b"-rf",
        b"--to",
        b" leading and trailing ",
        b".hidden",
        b"...",
        b"~",
        b"NUL.txt",
        "Ä composed".encode(),
        "A\u0308 decomposed".encode(),
        "患者記録".encode(),
        b"\xed\xa0\x80 surrogate",
        b"x" * 255,
        b"\x01",
        b"a",
        b"a!",
        b"a.b",
        b"a0",
    ]
    with planting.folder(b"names") as folder:
        for name in names:
            _write(folder, name, b"named " + name)
    with planting.folder(b"names/a-folder") as folder:
        _write(folder, b"inside", b"order: a folder's children come before its longer siblings")
    with planting.folder(b"names/a-folder.d") as folder:
        _write(folder, b"inside", b"order")


def _every_byte(planting: _Planting) -> None:
    """One file for each byte that a name can hold."""
    with planting.folder(b"bytes") as folder:
        for code in range(1, 256):
            if code not in {ord("/"), ord(".")}:
                _write(folder, bytes([code]), bytes([code]) * code)


def _empties(planting: _Planting) -> None:
    """Empty files and folders, at the top and below."""
    with planting.folder(b"empty-folder"):
        pass
    with planting.folder(b"empties/inner/innermost"):
        pass
    with planting.folder(b"empties") as folder:
        _write(folder, b"file", b"")
        _write(folder, b"no-mode", b"", 0)


def _sizes(planting: _Planting) -> None:
    """Sizes around every limit of the format: inline, bundled, chunk minimum, mean and maximum."""
    kib = 1024
    sizes = [1, 63, 64, 65, 4095, 4096, 4097, 64 * kib - 1, 64 * kib, 64 * kib + 1, 256 * kib, 1024 * kib + 1]
    with planting.folder(b"sizes") as folder:
        for size in sizes:
            _write(folder, b"random-%d" % size, planting.random.randbytes(size))
            _write(folder, b"text-%d" % size, (b"MSH|^~\\&|LAB|ICU|%d\r" % size * (size // 16 + 1))[:size])
        _write(folder, b"large", planting.random.randbytes(9 * 1024 * kib + 7))
        _write(folder, b"zeros", bytes(3 * 1024 * kib))
        for copy in range(3):
            _write(folder, b"copy-%d" % copy, b"the same content" * 8192)


def _deep(planting: _Planting) -> None:
    """A path of more than 4,096 bytes by long names, and one of 300 levels."""
    for top, name, levels in ((b"deep-names", b"n" * 250, 20), (b"deep-levels", b"d", 300)):
        with planting.folder(top) as start:
            folder = os.dup(start)
            for level in range(levels):
                os.mkdir(name, dir_fd=folder)
                inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
                os.close(folder)
                folder = inner
                if level in {0, levels - 1}:
                    _write(folder, b"file", b"at level %d" % level)
            os.close(folder)


def _many(planting: _Planting) -> None:
    """One folder with many entries."""
    with planting.folder(b"many") as folder:
        for number in range(planting.entries):
            _write(folder, b"%07d.hl7" % number, b"MSH|%d" % number)


def _sparse(planting: _Planting) -> None:
    """Files with holes at the start, in the middle, at the end; one that is only a hole; one of 1 TiB."""
    with planting.folder(b"sparse") as folder:

        def sparse(name: bytes, size: int, *data: tuple[int, bytes]) -> None:
            _write(folder, name, b"")
            file = os.open(name, os.O_WRONLY, dir_fd=folder)
            try:
                os.ftruncate(file, size)
                for offset, content in data:
                    os.pwrite(file, content, offset)
            finally:
                os.close(file)

        mib = 1024 * 1024
        noise = planting.random.randbytes
        sparse(b"only-a-hole", 5 * mib)
        sparse(b"small-hole", 70_000)
        sparse(b"hole-first", 6 * mib, (5 * mib, noise(mib)))
        sparse(b"hole-last", 6 * mib, (0, noise(mib)))
        sparse(b"hole-between", 12 * mib, (0, noise(10_000)), (7 * mib + 512, noise(100_000)))
        sparse(b"many-holes", 20 * mib, *((at * mib, noise(5000)) for at in range(0, 20, 2)))
        size = planting.sparse_bytes
        try:
            sparse(b"huge", size, (0, b"first"), (size // 2, noise(100_000)), (size - 4, b"last"))
        except OSError as error:
            if error.errno != errno.EFBIG:
                raise
            planting.refused.append("sparse: the huge file (EFBIG)")


def _links(planting: _Planting) -> None:
    """Hard links within and across folders, of an empty file, and of a symlink where allowed."""
    with planting.folder(b"links/a") as one, planting.folder(b"links/b/c") as other:
        _write(one, b"first", b"linked content" * 9000)
        os.link(b"first", b"second", src_dir_fd=one, dst_dir_fd=one)
        os.link(b"first", b"third", src_dir_fd=one, dst_dir_fd=other)
        _write(other, b"tiny", b"t")
        os.link(b"tiny", b"aaa-before", src_dir_fd=other, dst_dir_fd=one)
        _write(one, b"empty", b"")
        os.link(b"empty", b"empty-too", src_dir_fd=one, dst_dir_fd=other)


def _symlinks(planting: _Planting) -> None:
    """Symlinks: to files, folders, nothing, themselves, in a circle, out of the tree, long, of any bytes."""
    with planting.folder(b"symlinks") as folder:
        _write(folder, b"file", b"target")
        os.mkdir(b"folder", dir_fd=folder)
        targets = {
            b"to-file": b"file",
            b"to-folder": b"folder",
            b"dangling": b"no/such/thing",
            b"itself": b"itself",
            b"circle-1": b"circle-2",
            b"circle-2": b"circle-1",
            b"up": b"../../..",
            b"absolute": b"/etc/passwd",
            b"long": b"t" * 4000,
            b"bytes": b"\xff\n\x01",
            b"dot": b".",
        }
        for name, target in targets.items():
            os.symlink(target, name, dir_fd=folder)


def _modes(planting: _Planting) -> None:
    """Every special bit, files nobody may read, a folder without write permission."""
    with planting.folder(b"modes") as folder:
        for mode in (0o000, 0o400, 0o444, 0o600, 0o755, 0o777, 0o4755, 0o2755, 0o1644, 0o6777):
            _write(folder, b"mode-%04o" % mode, b"mode", mode)
        for mode in (0o500, 0o700, 0o1777, 0o2770, 0o3777):
            os.mkdir(b"folder-%04o" % mode, dir_fd=folder)
            os.chmod(b"folder-%04o" % mode, mode, dir_fd=folder)
    inside = os.path.join(planting.root, b"modes", b"folder-0700")
    with planting.folder(b"modes/folder-0700") as folder:
        _write(folder, b"inside", b"in a folder that ends up read-only")
    os.chmod(inside, 0o555)


def _owners(planting: _Planting) -> None:
    """Owners by numbers without names, the largest ids, names that exist."""
    with planting.folder(b"owners") as folder:
        for uid, gid in ((12_345, 54_321), (1, 1), (2**31, 2**31 + 5), (2**32 - 2, 2**32 - 2)):
            name = b"owned-%d" % uid
            _write(folder, name, b"owned")
            os.chown(name, uid, gid, dir_fd=folder)
        os.symlink(b"owned-1", b"owned-symlink", dir_fd=folder)
        os.chown(b"owned-symlink", 12_345, 54_321, dir_fd=folder, follow_symlinks=False)
        _write(folder, b"owned-setuid", b"chown clears the bits: they must be set after", 0o755)
        os.chown(b"owned-setuid", 12_345, 54_321, dir_fd=folder)
        os.chmod(b"owned-setuid", 0o6755, dir_fd=folder)


def _xattrs(planting: _Planting) -> None:
    """Extended attributes: empty, binary, large, many, on folders and (as root) in the trusted namespace."""
    with planting.folder(b"xattrs") as folder:
        _write(folder, b"file", b"attributed" * 20_000)
        os.mkdir(b"folder", dir_fd=folder)
        for name in (b"file", b"folder"):
            path = reach(folder, name)
            os.setxattr(path, b"user.empty", b"")
            os.setxattr(path, b"user.binary", bytes(range(256)))
            os.setxattr(path, b"user." + b"n" * 200, b"long name")
            for number in range(12):
                os.setxattr(path, b"user.many.%d" % number, b"%d" % number)
        _write(folder, b"large", b"")
        with contextlib.suppress(OSError):
            os.setxattr(reach(folder, b"large"), b"user.large", planting.random.randbytes(2500))
        with contextlib.suppress(PermissionError):
            os.setxattr(reach(folder, b"file"), b"trusted.holdfast", b"only root sees this")


def acl(user_id: int, user_permissions: int, group_permissions: int = 4) -> bytes:
    """Encode a POSIX ACL with one named user, as the kernel keeps it in `system.posix_acl_*`."""
    entries = [
        (ACL_USER_OBJ, 6, ACL_NO_ID),
        (ACL_USER, user_permissions, user_id),
        (ACL_GROUP_OBJ, group_permissions, ACL_NO_ID),
        (ACL_MASK, user_permissions | group_permissions, ACL_NO_ID),
        (ACL_OTHER, 0, ACL_NO_ID),
    ]
    return struct.pack("<I", ACL_VERSION) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def _acls(planting: _Planting) -> None:
    """Access ACLs on a file, access and default ACLs on a folder with a file that inherited one."""
    with planting.folder(b"acls") as folder:
        _write(folder, b"file", b"for one more user")
        os.setxattr(reach(folder, b"file"), b"system.posix_acl_access", acl(4321, 6))
        os.mkdir(b"folder", dir_fd=folder)
        os.setxattr(reach(folder, b"folder"), b"system.posix_acl_access", acl(4321, 7, 5))
        os.setxattr(reach(folder, b"folder"), b"system.posix_acl_default", acl(1234, 5))
        inner = os.open(b"folder", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
        _write(inner, b"inherits", b"inherited")
        os.mkdir(b"inherits-too", dir_fd=inner)
        os.close(inner)


def _fifos(planting: _Planting) -> None:
    """Named pipes, which nothing may open."""
    with planting.folder(b"fifos") as folder:
        os.mkfifo(b"fifo", 0o640, dir_fd=folder)
        os.mkfifo(b"fifo-0000", 0, dir_fd=folder)


def _devices(planting: _Planting) -> None:
    """Character and block devices (root only)."""
    with planting.folder(b"devices") as folder:
        os.mknod(b"null", stat.S_IFCHR | 0o666, os.makedev(1, 3), dir_fd=folder)
        os.mknod(b"loop", stat.S_IFBLK | 0o660, os.makedev(7, 200), dir_fd=folder)
        os.mknod(b"big", stat.S_IFCHR | 0o600, os.makedev(4095, 1_000_000), dir_fd=folder)


def _sockets(planting: _Planting) -> None:
    """A socket: skipped by a backup, and said."""
    with planting.folder(b"sockets") as folder:
        _write(folder, b"beside", b"the socket's neighbour is stored")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(reach(folder, b"socket"))


def _times(planting: _Planting) -> None:
    """Nanoseconds, before 1970, before 1901 where the file system can, after 2038, on every kind."""
    times = {
        b"nanoseconds": 1_700_000_000_123_456_789,
        b"one-ns": 1,
        b"epoch": 0,
        b"before-1970": -1,
        b"long-before-1970": -1_234_567_890_987_654_321,
        b"after-2038": 4_102_444_800_000_000_001,
    }
    with planting.folder(b"times") as folder:
        for name, ns in times.items():
            _write(folder, name, b"timed")
            os.mkdir(name + b".d", dir_fd=folder)
            os.symlink(name, name + b".l", dir_fd=folder)
            os.mkfifo(name + b".p", dir_fd=folder)
            for suffix in (b"", b".d", b".l", b".p"):
                os.utime(name + suffix, ns=(ns, ns), dir_fd=folder, follow_symlinks=False)
    os.utime(os.path.join(planting.root, b"times"), ns=(5, 5))


_PARTS: tuple[Part, ...] = (
    _names,
    _every_byte,
    _empties,
    _sizes,
    _deep,
    _many,
    _sparse,
    _links,
    _symlinks,
    _modes,
    _owners,
    _xattrs,
    _acls,
    _fifos,
    _devices,
    _sockets,
    _times,
)
