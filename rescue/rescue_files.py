"""Writes restored files under a target folder: through no symlink, over no existing name, damage under no good name."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

import rescue_tree as t
from rescue_format import CHUNK, GROUP, MAP_GROUP_PAGES, Damage, WrongKey
from rescue_vault import Vault

PART_NAME = b".holdfast-rescue.%d.part" % os.getpid()
OPEN_FOLDERS_MAX = 200
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW

if TYPE_CHECKING:
    Block = tuple[int, bytes | Damage | WrongKey | None]


def blocks(vault: Vault, entry: t.Entry) -> Iterable[Block]:
    """A file's content in order: (length, bytes), (length, None) for a hole, (length, failure) for what is lost.

    Every id is recomputed. When a list of pieces is lost the rest of the file is one lost block, or what follows would be misplaced.
    """
    done = 0
    try:
        for block in _blocks(vault, entry):
            if done + block[0] > entry.size:
                raise Damage("its pieces are longer than the file")
            done += block[0]
            yield block
        if done != entry.size:
            raise Damage("its pieces are shorter than the file")
    except (Damage, WrongKey) as failure:
        yield entry.size - done, failure


def _blocks(vault: Vault, entry: t.Entry) -> Iterable[Block]:
    content = entry.content
    if content is None:
        return
    if content.tag == 0:
        yield len(content.inline), content.inline
    elif content.tag in (1, 2):
        for length, place in t.pieces_of(vault.fetch, content):
            yield length, (None if place is None else _piece(vault, place, length))
    else:
        left = entry.size
        for place in t.groups_of(vault.fetch, content):
            room = content.page_size * MAP_GROUP_PAGES
            try:
                group = t.parse_group(vault.fetch(place, GROUP), content.page_size)
            except (Damage, WrongKey) as failure:
                yield min(room, left), failure
            else:
                size = (group.pages - 1) * content.page_size + group.last_bytes
                if size != min(room, left):
                    raise Damage("a page-map group does not cover its part of the file")
                yield from _group_blocks(vault, group, content.page_size)
            left -= min(room, left)


def _piece(vault: Vault, place: t.Location, length: int) -> bytes | Damage | WrongKey:
    try:
        data = vault.fetch(place, CHUNK)
    except (Damage, WrongKey) as failure:
        return failure
    return data if len(data) == length else Damage("a piece has another length than its chunk")


def _group_blocks(vault: Vault, group: t.PageGroup, page_size: int) -> Iterable[Block]:
    at = 0
    for count, place, first in group.extents:
        ids = group.ids[at : at + count]
        at += count
        length = count * page_size - (page_size - group.last_bytes if at == group.pages else 0)
        if place is None:
            yield length, None
            continue
        try:
            piece, page_ids = vault.pages(place, first, count, page_size)
            if page_ids != ids or len(piece) != length:
                raise Damage("a page is not the one that the page map names")
        except (Damage, WrongKey) as failure:
            yield length, failure
        else:
            yield length, piece


class Folders:
    """Open folders on the way to the current path, from the target downwards; a symlink on the way is an error."""

    def __init__(self, target: str, leave: Callable[[int, bytes], None]) -> None:
        self.root = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
        self.open: list[tuple[bytes, int]] = []  # the upper ones of a very deep path are closed (-1) until needed again
        self.leave = leave

    def at(self, folder: bytes, *, make: bool) -> int:
        """A descriptor of a folder, valid until the next call. `make`: create what is missing, private for the time being."""
        parts = folder.split(b"/") if folder else []
        shared = 0
        while shared < min(len(parts), len(self.open)) and self.open[shared][0] == parts[shared]:
            shared += 1
        self.close(shared)
        here = self.here()
        for name in parts[shared:]:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=here)
            here = os.open(name, FOLDER_FLAGS, dir_fd=here)
            self.open.append((name, here))
            self._close_upper()
        return here

    def here(self) -> int:
        """A descriptor of the deepest open folder."""
        if not self.open:
            return self.root
        name, descriptor = self.open[-1]
        if descriptor < 0:
            descriptor = walk_to(self.root, b"/".join(part for part, _ in self.open))
            self.open[-1] = name, descriptor
        return descriptor

    def _close_upper(self) -> None:
        upper = len(self.open) - 1 - OPEN_FOLDERS_MAX
        if upper >= 0 and self.open[upper][1] >= 0:
            name, descriptor = self.open[upper]
            self.open[upper] = name, -1
            os.close(descriptor)

    def close(self, keep: int = 0) -> None:
        """Leave all open folders but the first `keep`, deepest first."""
        while len(self.open) > keep:
            path = b"/".join(name for name, _ in self.open)
            descriptor = self.here()
            self.open.pop()
            try:
                self.leave(descriptor, path)
            finally:
                os.close(descriptor)


class Restorer:
    """Restores entries in tree order. `say(level, path, text)` hears of "damaged", "failed" and "incomplete" (attributes) ones."""

    def __init__(self, vault: Vault, target: str, say: Callable[[str, bytes, str], None]) -> None:
        self.vault, self.say = vault, say
        self.is_root = os.geteuid() == 0
        self.folders = Folders(target, self._leave)
        self.pending: dict[bytes, t.Entry] = {}
        self.links: dict[tuple[int, bytes], tuple[bytes, int, bool]] = {}
        self.files = self.bytes = 0

    def put(self, path: bytes, content: bytes) -> None:
        """Write a small file that no tree has, into a folder that was restored; nothing is overwritten."""
        folder, _, name = path.rpartition(b"/")
        try:
            if b".." in path.split(b"/"):
                raise Damage("its path leads elsewhere")
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            descriptor = os.open(name, flags, 0o600, dir_fd=self.folders.at(folder, make=False))
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
        except (OSError, Damage) as failure:
            self.say("failed", path, f"beside: {failure}")
        else:
            self.files, self.bytes = self.files + 1, self.bytes + len(content)

    def restore(self, entry: t.Entry, class_id: int) -> None:
        """One entry. Whatever goes wrong is said, never raised."""
        if any(part in (b".", b"..") for part in entry.path.split(b"/")):
            self.say("failed", entry.path, "its path would lead elsewhere")
            return
        try:
            if entry.kind == t.FOLDER:
                self.pending[entry.path] = entry
                self.folders.at(entry.path, make=True)
                return
            folder, name = _split(entry.path)
            here = self.folders.at(folder, make=True)
            if entry.kind == t.FILE:
                self._file(entry, class_id, here, name)
            else:
                self._special(entry, here, name)
            self.files += 1
        except OSError as failure:
            self.say("failed", entry.path, failure.strerror or str(failure))

    def finish(self) -> None:
        """Set what folders still need, deepest first."""
        self.folders.close()
        os.close(self.folders.root)

    # ---- files ----

    def _file(self, entry: t.Entry, class_id: int, here: int, name: bytes) -> None:
        key = (class_id, entry.link_id) if entry.link_id is not None else None
        if key in self.links and self._link(entry, self.links[key], name):
            return
        descriptor = os.open(PART_NAME, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600, dir_fd=here)
        try:
            try:
                lost, ranges = self._write(entry, descriptor)
                self._attributes(entry, descriptor)
            finally:
                os.close(descriptor)
            final = put_map(here, name, entry.size, ranges) if ranges else free_name(here, name)
            os.rename(PART_NAME, final, src_dir_fd=here, dst_dir_fd=here)
        except BaseException:
            os.unlink(PART_NAME, dir_fd=here)
            raise
        if lost:
            self.say("damaged", entry.path, f"restored as {os.fsdecode(final)}: {lost}")
        elif final != name:
            self.say("incomplete", entry.path, f"restored as {os.fsdecode(final)}, its name was taken")
        if key is not None:
            folder = _split(entry.path)[0]
            self.links[key] = (folder + b"/" + final if folder else final), entry.size, bool(lost)

    def _write(self, entry: t.Entry, descriptor: int) -> tuple[str, list[tuple[int, int]]]:
        """Write the content; what is lost as a sentence (or nothing) and as ranges (offset, length)."""
        ranges: list[tuple[int, int]] = []
        reason, at = "", 0
        for length, data in blocks(self.vault, entry):
            if isinstance(data, bytes):
                view = memoryview(data)
                while view:
                    view = view[os.pwrite(descriptor, view, at + length - len(view)) :]
            elif data is not None and length:
                reason = reason or str(data)
                if ranges and sum(ranges[-1]) == at:
                    ranges[-1] = (ranges[-1][0], ranges[-1][1] + length)
                else:
                    ranges.append((at, length))
            at += length
        os.ftruncate(descriptor, entry.size)
        self.bytes += entry.size
        lost = sum(length for _, length in ranges)
        return (f"{lost} of {entry.size} bytes are lost and read as zeros ({reason})" if ranges else ""), ranges

    def _link(self, entry: t.Entry, first: tuple[bytes, int, bool], name: bytes) -> bool:
        """Make a hard link to the file restored before; False if its content has to be written again instead."""
        path, size, damaged = first
        if size != entry.size:
            return False
        folder, source = _split(path)
        try:
            there = walk_to(self.folders.root, folder)
        except OSError:
            return False
        try:
            here = self.folders.here()
            final = free_name(here, name + b".damaged" if damaged else name)
            os.link(source, final, src_dir_fd=there, dst_dir_fd=here, follow_symlinks=False)
        except OSError:
            return False
        finally:
            os.close(there)
        if damaged:
            self.say("damaged", entry.path, f"restored as {os.fsdecode(final)}: a hard link of a damaged file")
        return True

    # ---- the other kinds ----

    def _special(self, entry: t.Entry, here: int, name: bytes) -> None:
        if entry.kind == t.SYMLINK:
            os.symlink(entry.target, name, dir_fd=here)
        elif entry.kind == t.FIFO:
            os.mkfifo(name, 0o600, dir_fd=here)
        elif self.is_root:
            kind = stat.S_IFCHR if entry.kind == t.CHARACTER_DEVICE else stat.S_IFBLK
            os.mknod(name, kind | 0o600, os.makedev(*entry.device), dir_fd=here)
        else:
            self.say("incomplete", entry.path, "a device: only root can make it")
            return
        self._attributes(entry, None, here, name)

    # ---- attributes ----

    def _leave(self, descriptor: int, path: bytes) -> None:
        entry = self.pending.pop(path, None)
        if entry is not None:
            self._attributes(entry, descriptor)

    def _attributes(self, entry: t.Entry, descriptor: int | None, here: int = -1, name: bytes = b"") -> None:
        """Owner (as root), mode, extended attributes, time: in the order in which one does not undo another.

        Of an open file or folder, or (without a descriptor) of `name` in the folder `here`, never followed.
        """
        subject: int | bytes = name if descriptor is None else descriptor
        times = (entry.mtime_ns, entry.mtime_ns)

        def owner() -> None:
            if descriptor is None:
                os.chown(name, entry.uid, entry.gid, dir_fd=here, follow_symlinks=False)
            else:
                os.chown(descriptor, entry.uid, entry.gid)

        def mode() -> None:
            os.chmod(subject, entry.mode, dir_fd=here if descriptor is None else None)

        def xattr(key: bytes, value: bytes) -> None:
            if descriptor is None:
                os.setxattr(b"/proc/self/fd/%d/%s" % (here, name), key, value, follow_symlinks=False)
            else:
                os.setxattr(descriptor, key, value)

        def mtime() -> None:
            if descriptor is None:
                os.utime(name, ns=times, dir_fd=here, follow_symlinks=False)
            else:
                os.utime(descriptor, ns=times)

        steps: list[tuple[str, Callable[[], None]]] = [("owner", owner)] if self.is_root else []
        steps += [("mode", mode)] if entry.kind != t.SYMLINK else []
        steps += [(f"attribute {os.fsdecode(key)}", partial(xattr, key, value)) for key, value in entry.xattrs]
        for what, step in [*steps, ("time", mtime)]:
            try:
                step()
            except (OSError, OverflowError, ValueError) as failure:
                self.say("incomplete", entry.path, f"{what} not set: {failure}")


def _split(path: bytes) -> tuple[bytes, bytes]:
    folder, _, name = path.rpartition(b"/")
    return folder, name


def walk_to(root: int, folder: bytes) -> int:
    """A new descriptor of a folder below `root`, opened name by name without following a symlink."""
    here = os.dup(root)
    for name in folder.split(b"/") if folder else []:
        try:
            there = os.open(name, FOLDER_FLAGS, dir_fd=here)
        finally:
            os.close(here)
        here = there
    return here


def put_map(here: int, name: bytes, size: int, ranges: list[tuple[int, int]]) -> bytes:
    """Write which ranges of a damaged file are lost, as JSON, into NAME.damaged.map; return the free name beside it."""
    rows = [{"offset": offset, "length": length} for offset, length in ranges]
    text = json.dumps({"format": "holdfast-damaged-1", "size": size, "lost": rows}, separators=(",", ":"))
    for number in range(10_000):
        damaged = name + (b".damaged.%d" % number if number else b".damaged")
        if exists(here, damaged) or exists(here, damaged + b".map"):
            continue
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
        with os.fdopen(os.open(damaged + b".map", flags, 0o600, dir_fd=here), "w", encoding="ascii") as file:
            file.write(text + "\n")
        return damaged
    raise OSError(errno.EEXIST, "no free name")


def exists(here: int, name: bytes) -> bool:
    """Whether something has a name in an open folder."""
    try:
        os.lstat(name, dir_fd=here)
    except FileNotFoundError:
        return False
    return True


def free_name(here: int, name: bytes) -> bytes:
    """`name`, or the first of `name.1`, `name.2`, … that does not exist yet."""
    for number in range(10_000):
        candidate = name + b".%d" % number if number else name
        if not exists(here, candidate):
            return candidate
    raise OSError(errno.EEXIST, "no free name")
