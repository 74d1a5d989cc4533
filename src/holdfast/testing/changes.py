"""A file tree that changes at random, by a seed: what happens to a source between two backups.

`ChangingTree` writes to disk and keeps no model of its own: `holdfast.testing.trees.capture` reads the truth back. The
same seed and the same steps give the same names, contents, modes and times (owners too, when run as root).
"""

from __future__ import annotations

import contextlib
import os
import random
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PAGE_BYTES = 8192
TIME_FIRST_S = -1_000_000_000
TIME_LAST_S = 4_000_000_000

_LETTERS = [bytes([code]) for code in range(1, 256) if code != ord("/")]
_WORDS = (
    b"PID|1||%08d^^^HOLDFAST||DOE^JANE||19700101|F\r",
    b"OBX|%d|NM|2345-7^GLUCOSE^LN||5.%d|mmol/L|3.9-5.8|N|||F\r",
    b'{"resourceType":"Observation","id":"%d","status":"final"}\n',
)


@dataclass(frozen=True, slots=True)
class TreeShape:
    """How large a random tree is; every bound is inclusive."""

    folders: int = 12
    files: int = 60
    file_bytes_max: int = 300_000
    paged_bytes: int = 2 * 1024 * 1024


class ChangingTree:
    """A folder that is filled once (`grow`) and then changed step by step (`step`).

    Each step makes `changes` random changes: rewrite, rewrite in place, append, truncate, punch a hole, create, delete,
    rename (files and folders), new mode, owner, time or xattr, link, symlink, replace by another kind.
    """

    def __init__(self, root: Path, seed: int, shape: TreeShape | None = None) -> None:
        """Work on `root`, which must exist; the seed decides everything that follows."""
        self.root = os.fsencode(root)
        self.shape = shape or TreeShape()
        self.random = random.Random(seed)
        self.xattrs = _accepts_xattrs(self.root)

    def grow(self) -> None:
        """Fill the empty folder with files, folders, links and one large file of pages."""
        for _ in range(self.shape.folders):
            self._make_folder()
        for _ in range(self.shape.files):
            self._make_file()
        for _ in range(3):
            self._link()
            self._symlink()
        paged = os.path.join(self.root, b"database.pages")
        with open(paged, "wb") as file:
            file.write(self.random.randbytes(self.shape.paged_bytes))

    def step(self, changes: int = 12) -> list[str]:
        """Change the tree; the names of what was done are returned, for the message of a failure."""
        actions: list[Callable[[], None]] = [
            self._make_file,
            self._make_file,
            self._make_folder,
            self._rewrite,
            self._rewrite,
            self._rewrite_pages,
            self._append,
            self._truncate,
            self._punch,
            self._delete_file,
            self._delete_folder,
            self._rename,
            self._metadata,
            self._metadata,
            self._link,
            self._symlink,
            self._replace_kind,
        ]
        done = []
        for _ in range(self.random.randint(1, changes)):
            action = self.random.choice(actions)
            action()
            done.append(action.__name__.lstrip("_"))
        return done

    def _paths(self, want: Callable[[int], bool]) -> list[bytes]:
        found = []
        for folder, folders, files in os.walk(self.root):
            for name in [*folders, *files]:
                path = os.path.join(folder, name)
                if want(os.lstat(path).st_mode):
                    found.append(path)
        return sorted(found)

    def _pick(self, want: Callable[[int], bool]) -> bytes | None:
        found = self._paths(want)
        return self.random.choice(found) if found else None

    def _folder(self) -> bytes:
        return self.random.choice([self.root, *self._paths(stat.S_ISDIR)])

    def _name(self) -> bytes:
        if self.random.random() < 0.3:
            return b"".join(self.random.choices(_LETTERS, k=self.random.randint(1, 60))) + b"~"
        return b"%s-%06d" % (self.random.choice([b"adt", b"oru", b"note"]), self.random.randrange(1_000_000))

    def _free_path(self) -> bytes:
        while True:
            path = os.path.join(self._folder(), self._name())
            if len(path) < 3500 and not os.path.lexists(path):
                return path

    def _content(self) -> bytes:
        size = min(self.shape.file_bytes_max, int(self.random.paretovariate(0.6) * 40) - 40)
        if self.random.random() < 0.3:
            return self.random.randbytes(size)
        text = bytearray()
        while len(text) < size:
            word = self.random.choice(_WORDS)
            text += word % tuple(self.random.randrange(9_999) for _ in range(word.count(b"%")))
        return bytes(text[:size])

    def _set_time(self, path: bytes) -> None:
        ns = self.random.randrange(TIME_FIRST_S, TIME_LAST_S) * 1_000_000_000 + self.random.randrange(10**9)
        os.utime(path, ns=(ns, ns), follow_symlinks=False)

    def _make_folder(self) -> None:
        path = self._free_path()
        os.mkdir(path, self.random.choice([0o755, 0o700, 0o2770, 0o1777]))
        self._set_time(path)

    def _make_file(self) -> None:
        path = self._free_path()
        with open(path, "xb") as file:
            file.write(self._content())
        self._set_time(path)

    def _rewrite(self) -> None:
        if (path := self._pick(stat.S_ISREG)) is not None:
            with open(path, "wb") as file:
                file.write(self._content())

    def _rewrite_pages(self) -> None:
        path = self._pick(stat.S_ISREG)
        if path is None or not (pages := os.lstat(path).st_size // PAGE_BYTES):
            return
        with open(path, "r+b") as file:
            for _ in range(self.random.randint(1, 8)):
                file.seek(self.random.randrange(pages) * PAGE_BYTES)
                file.write(self.random.randbytes(PAGE_BYTES))

    def _append(self) -> None:
        if (path := self._pick(stat.S_ISREG)) is not None:
            with open(path, "ab") as file:
                file.write(self._content())

    def _truncate(self) -> None:
        if (path := self._pick(stat.S_ISREG)) is not None:
            size = os.lstat(path).st_size
            os.truncate(path, self.random.randint(0, size + 200_000))

    def _punch(self) -> None:
        """Rewrite a file with a hole in its middle."""
        if (path := self._pick(stat.S_ISREG)) is None:
            return
        with open(path, "r+b") as file:
            file.truncate(0)
            file.write(self._content())
            file.seek(self.random.randrange(1, 4_000_000), os.SEEK_CUR)
            file.write(b"end")

    def _delete_file(self) -> None:
        if (path := self._pick(lambda mode: not stat.S_ISDIR(mode))) is not None:
            os.unlink(path)

    def _delete_folder(self) -> None:
        path = self._pick(stat.S_ISDIR)
        if path is None or len(os.listdir(path)) > 8:
            return
        with contextlib.suppress(OSError):
            for name in os.listdir(path):
                inner = os.path.join(path, name)
                if not stat.S_ISDIR(os.lstat(inner).st_mode):
                    os.unlink(inner)
            os.rmdir(path)

    def _rename(self) -> None:
        path = self._pick(lambda _: True)
        if path is None:
            return
        target = self._free_path()
        if not target.startswith(path + b"/"):
            os.rename(path, target)

    def _metadata(self) -> None:
        path = self._pick(lambda mode: not stat.S_ISLNK(mode))
        if path is None:
            return
        choice = self.random.randrange(4)
        if choice == 0:
            os.chmod(path, self.random.choice([0o600, 0o644, 0o755, 0o750, 0o4711, 0o2755]))
        elif choice == 1 and os.geteuid() == 0:
            os.chown(path, self.random.randrange(60_000), self.random.randrange(60_000))
        elif choice == 2 and self.xattrs and stat.S_IFMT(os.lstat(path).st_mode) in {stat.S_IFREG, stat.S_IFDIR}:
            key = b"user.tag%d" % self.random.randrange(4)
            os.setxattr(path, key, self.random.randbytes(self.random.randrange(200)))
        else:
            self._set_time(path)

    def _link(self) -> None:
        if (path := self._pick(stat.S_ISREG)) is not None:
            os.link(path, self._free_path())

    def _symlink(self) -> None:
        target = self._pick(lambda _: True) or b"nowhere"
        if self.random.random() < 0.5:
            target = self._name()
        path = self._free_path()
        os.symlink(target, path)
        self._set_time(path)

    def _replace_kind(self) -> None:
        """Put a fifo, folder or file where something else was: the path stays, the kind changes."""
        path = self._pick(lambda mode: not stat.S_ISDIR(mode))
        if path is None:
            return
        os.unlink(path)
        choice = self.random.randrange(3)
        if choice == 0:
            os.mkfifo(path)
        elif choice == 1:
            os.mkdir(path)
        else:
            os.symlink(b"replaced", path)


def _accepts_xattrs(root: bytes) -> bool:
    try:
        os.setxattr(root, b"user.holdfast", b"probe")
        os.removexattr(root, b"user.holdfast")
    except OSError:
        return False
    return True
