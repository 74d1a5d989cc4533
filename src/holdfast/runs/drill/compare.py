"""What was restored, held against the snapshot: every entry's kind, size, mode, owner and times; content read back and compared.

The content comes from the vault a second time, by another way than the restore took: file by file through the reader, into
memory or a pipe, never trusting what the restore wrote. Beyond a limit of files a random sample is read back.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError, PathMissingError

if TYPE_CHECKING:
    from holdfast.base.environment import Environment
    from holdfast.runs.results import EntryInfo
    from holdfast.runs.trees import Trees

__all__ = ["Compared", "base_backup", "compare", "sample"]

CONTENT_FILES_MAX = 20_000
SMALL = 8 << 20
PIECE = 1 << 20
DIFFERENCES_MAX = 1000
RECOVERY_FILES = frozenset(
    {b"postgresql.auto.conf", b"tablespace_map", b"postmaster.pid", b"postmaster.opts", b"standby.signal"}
)
_TESTS: dict[str, Callable[[int], bool]] = {
    "file": stat.S_ISREG,
    "folder": stat.S_ISDIR,
    "symlink": stat.S_ISLNK,
    "fifo": stat.S_ISFIFO,
    "char-device": stat.S_ISCHR,
    "block-device": stat.S_ISBLK,
}


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison: how much, and how often each kind of difference was found. No names."""

    entries: int
    bytes: int
    missing: int = 0
    other_kind: int = 0
    other_size: int = 0
    other_content: int = 0
    other_metadata: int = 0
    unreadable: int = 0
    """Files whose content the vault does not give back."""

    @property
    def cause(self) -> str:
        """What differs, in a sentence; empty if nothing does."""
        words = (
            (self.missing, "missing"),
            (self.other_kind, "of another kind"),
            (self.other_size, "cut short or of another size"),
            (self.other_content, "with other content"),
            (self.other_metadata, "with another mode, owner or time"),
            (self.unreadable, "whose content the vault does not give back"),
        )
        parts = [f"{count} {what}" for count, what in words if count]
        return f"restored files differ from the snapshot: {', '.join(parts)}" if parts else ""


def base_backup(entries: Callable[[], Iterator[EntryInfo]], data: bytes) -> Iterator[EntryInfo]:
    """Yield what is compared of a recovered PostgreSQL: its base backup, without what the recovery itself writes."""
    return (
        entry
        for entry in entries()
        if entry.path.startswith(data + b"/") and entry.path.rpartition(b"/")[2] not in RECOVERY_FILES
    )


def sample(entries: Iterable[EntryInfo], count: int, env: Environment) -> list[EntryInfo]:
    """Return so many files with content, each as likely as any other (reservoir sampling, Vitter's algorithm R)."""
    kept: list[EntryInfo] = []
    seen = 0
    for entry in entries:
        if entry.kind != "file":
            continue
        seen += 1
        if len(kept) < count:
            kept.append(entry)
        else:
            place = int.from_bytes(env.random_bytes(8)) % seen
            if place < count:
                kept[place] = entry
    return kept


def compare(
    trees: Trees,
    folder: str,
    entries: Callable[[], Iterator[EntryInfo]],
    env: Environment,
    *,
    owners: bool,
    content_files: int = CONTENT_FILES_MAX,
) -> Compared:
    """Compare what lies in a folder with entries of the snapshot."""
    counts = dict.fromkeys(("missing", "other_kind", "other_size", "other_content", "other_metadata", "unreadable"), 0)
    root, number, size = os.fsencode(folder), 0, 0
    chosen = {entry.path for entry in sample(entries(), content_files, env)}
    for entry in entries():
        number += 1
        wrong = _differs(root, entry, owners=owners)
        if not wrong and entry.path in chosen and entry.size:
            try:
                same = _same_content(trees, os.path.join(root, entry.path), entry)
            except (HoldfastError, PathMissingError):
                wrong = "unreadable"
            else:
                wrong = "" if same else "other_content"
                size += entry.size
        if wrong:
            counts[wrong] += 1
            if sum(counts.values()) >= DIFFERENCES_MAX:
                break
    return Compared(number, size, **counts)


def _differs(root: bytes, entry: EntryInfo, *, owners: bool) -> str:
    if not entry.path:
        return ""  # the root: the drill's own folder stands in for it
    place = os.path.join(root, entry.path)
    try:
        found = os.lstat(place)
    except OSError:
        return "missing"
    if not _TESTS[entry.kind](found.st_mode):
        return "other_kind"
    if entry.kind == "symlink":
        return "" if os.readlink(place) == entry.target else "other_content"
    if entry.kind == "file" and found.st_size != entry.size:
        return "other_size"
    # An owner with a name comes back under that name, whatever number it has here.
    other = owners and (found.st_uid, found.st_gid) != (entry.uid, entry.gid) and not entry.user
    other = other or stat.S_IMODE(found.st_mode) != stat.S_IMODE(entry.mode)
    other = other or (entry.kind == "file" and found.st_mtime_ns != entry.mtime_ns)
    return "other_metadata" if other else ""


def _same_content(trees: Trees, place: bytes, entry: EntryInfo) -> bool:
    if entry.size <= SMALL:
        descriptor = os.memfd_create("content")
        try:
            trees.read(entry.path, descriptor)
            os.lseek(descriptor, 0, os.SEEK_SET)
            with open(place, "rb") as file, os.fdopen(os.dup(descriptor), "rb") as content:
                return file.read() == content.read()
        finally:
            os.close(descriptor)
    return _same_stream(trees, place, entry)


def _same_stream(trees: Trees, place: bytes, entry: EntryInfo) -> bool:
    """Compare a large file piece by piece: the reader writes to one end of a pipe, a thread compares at the other."""
    receiving, sending = os.pipe()
    same = [True]

    def compare_pieces() -> None:
        with os.fdopen(receiving, "rb") as content, open(place, "rb") as file:
            while True:
                piece = content.read(PIECE)
                if piece != file.read(PIECE):
                    same[0] = False
                if not piece:
                    break

    thread = threading.Thread(target=compare_pieces, daemon=True)
    thread.start()
    try:
        trees.read(entry.path, sending)
    finally:
        os.close(sending)
        thread.join()
    return same[0]
