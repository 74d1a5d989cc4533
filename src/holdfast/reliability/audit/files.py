"""The files of an audit log, and how their lines are read.

::

    log.json                    id, algorithm, public key, when it began
    key.pem                     the signing key, mode 0600
    records-NNNNNNNNNNNNNNNN    lines `n JSON HASH`, from record N on; a new file after 64 MiB
    heads                       signed heads, one per line, each with the tree's frontier
    lock                        held while appending
    room                        a MiB of the disk, kept for the last records of what destroys
    torn-N                      bytes of an append that was cut short and never acknowledged
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from holdfast.base.plain_json import read_json
from holdfast.base.values import dataclass
from holdfast.errors import AuditDamagedError, AuditUnavailableError
from holdfast.reliability.audit.head import PublicKey, SignedHead
from holdfast.reliability.audit.merkle import HASH_BYTES, MerkleTree

__all__ = [
    "HASH_DIGITS",
    "HEADS",
    "KEY",
    "LINE_BYTES_MAX",
    "LOCK",
    "META",
    "ROOM",
    "SEGMENT_BYTES",
    "Extent",
    "LogMeta",
    "StoredHead",
    "extent",
    "lines_back",
    "lines_of",
    "newest_head_before",
    "read_heads",
    "read_last_head",
    "read_meta",
    "segment_name",
    "segments",
    "sync_folder",
    "unreadable",
]

META, KEY, HEADS, LOCK, ROOM = "log.json", "key.pem", "heads", "lock", "room"
SEGMENT_BYTES = 64 << 20
LINE_BYTES_MAX = 16384
HASH_DIGITS = 2 * HASH_BYTES
READ_BYTES = 4 << 20
HEADS_TAIL_BYTES = BACK_BYTES = 1 << 16
_SEGMENT = re.compile(r"records-(\d{16})")


@dataclass(frozen=True, slots=True)
class LogMeta:
    """What a log is known by."""

    log: str
    algorithm: str
    public: PublicKey
    created: str


def read_meta(folder: Path) -> LogMeta:
    """Read `log.json`. `FileNotFoundError`; `AuditDamagedError` if it is none, `AuditUnavailableError` if it cannot be read."""
    try:
        data = (folder / META).read_bytes()
    except FileNotFoundError:
        raise
    except NotADirectoryError as error:
        raise FileNotFoundError(error.errno, "there is no such folder") from None
    except OSError as error:
        raise unreadable(error) from error
    try:
        body = read_json(data)
        return LogMeta(str(body["log"]), str(body["algorithm"]), PublicKey(str(body["public"])), str(body["created"]))
    except (ValueError, KeyError, TypeError):
        raise AuditDamagedError("the description of the audit log cannot be read") from None


def unreadable(error: OSError) -> AuditUnavailableError:
    """Return the error of a log whose files the system does not give out."""
    return AuditUnavailableError(
        f"the audit log cannot be read: {os.strerror(error.errno or 0)}",
        safe="nothing was read, and nothing was changed.",
        next="read it as the user that writes it, or see to the disk that it lies on.",
    )


def segment_name(first: int) -> str:
    """Return the name of the file whose first record has that number."""
    return f"records-{first:016d}"


def segments(folder: Path) -> list[tuple[int, Path]]:
    """Return the files of records with the number of their first, in order."""
    found = []
    try:
        with suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                match = _SEGMENT.fullmatch(entry.name)
                if match:
                    found.append((int(match[1]), Path(entry.path)))
    except OSError as error:
        raise unreadable(error) from error
    return sorted(found)


def lines_of(path: Path, offset: int = 0, end: int | None = None) -> Iterator[tuple[list[bytes], bytes]]:
    """Yield the whole lines of a file, or of its bytes before `end`, in batches, each with what follows its last line end.

    The remainder of all batches but the last is the beginning of the next one's first line. `AuditUnavailableError`.
    """
    rest = b""
    for chunk in _chunks(path, offset, end):
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        yield lines, rest


def _chunks(path: Path, offset: int, end: int | None) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            at = file.seek(offset)
            while chunk := file.read(READ_BYTES if end is None else min(READ_BYTES, end - at)):
                at += len(chunk)
                yield chunk
    except OSError as error:
        raise unreadable(error) from error


def lines_back(path: Path) -> Iterator[bytes]:
    """Yield the whole lines of a file, the last one first, reading no more of it than is asked for.

    `AuditDamagedError` for one that is longer than any of a log, `AuditUnavailableError`.
    """
    try:
        with open(path, "rb") as file:
            at = file.seek(0, os.SEEK_END)
            rest, ended = b"", False
            while at:
                start = max(0, at - BACK_BYTES)
                file.seek(start)
                rest, *lines = (file.read(at - start) + rest).split(b"\n")
                if lines and not ended:
                    lines.pop()  # what follows the last line end is no line
                    ended = True
                if len(rest) > BACK_BYTES + LINE_BYTES_MAX:
                    raise AuditDamagedError("a line of the audit log is longer than any that was written")
                yield from reversed(lines)
                at = start
            if ended:
                yield rest
    except OSError as error:
        raise unreadable(error) from error


@dataclass(frozen=True, slots=True)
class StoredHead:
    """A head as the log keeps it: with what appending goes on from."""

    head: SignedHead
    segment: int
    offset: int
    frontier: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Return the line."""
        parts = ",".join(part.hex() for part in self.frontier)
        return f"{self.segment} {self.offset} {parts} {self.head.encode()}\n".encode()

    @classmethod
    def decode(cls, line: bytes) -> StoredHead:
        """Read a line. `AuditDamagedError` if it is none, or its frontier is not its root's."""
        try:
            segment, offset, parts, text = line.decode().split(" ", 3)
            frontier = tuple(bytes.fromhex(part) for part in parts.split(",") if part)
            head = SignedHead.decode(text)
            sound = MerkleTree(head.size, frontier).root().hex() == head.root
            if sound:
                return cls(head, int(segment), int(offset), frontier)
        except ValueError:
            pass
        raise AuditDamagedError("a head of the audit log is not as it was written")


@dataclass(frozen=True, slots=True)
class Extent:
    """What a log consists of at one moment: whoever appends meanwhile adds behind it."""

    heads: int
    """Bytes of the heads."""
    segments: tuple[tuple[int, Path, int], ...]
    """The files of records with the number of their first and their bytes, in order."""


def extent(folder: Path) -> Extent:
    """Return what there is now, so that every record that one of the heads counts is in it. `AuditUnavailableError`."""
    heads = _size(folder / HEADS)
    # A listing that others add to meanwhile may show a file and not the one before it: what the first one ended with, a second one
    # shows with all before it. Of a file that another follows nothing is appended to any more.
    last = max((first for first, _ in segments(folder)), default=-1)
    return Extent(heads, tuple((first, path, _size(path)) for first, path in segments(folder) if first <= last))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise unreadable(error) from error


def read_heads(folder: Path, end: int | None = None) -> Iterator[StoredHead | None]:
    """Yield the heads that the log keeps (in the first `end` bytes), one at a time; None for a line that is none.

    A last line without an end does not count. `AuditUnavailableError`.
    """
    path = folder / HEADS
    if not path.exists():
        return
    for lines, _ in lines_of(path, end=end):
        for line in lines:
            try:
                yield StoredHead.decode(line)
            except AuditDamagedError:
                yield None


def read_last_head(folder: Path) -> StoredHead | None:
    """Return the newest head that the log keeps, None if there is none. A last line without an end does not count.

    Reads the end of the file only: a log keeps tens of thousands of heads over the years. `AuditDamagedError`.
    """
    try:
        with open(folder / HEADS, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - HEADS_TAIL_BYTES))
            lines = file.read().split(b"\n")[:-1]
    except FileNotFoundError:
        return None
    return StoredHead.decode(lines[-1]) if lines else None


def newest_head_before(folder: Path, moment: datetime) -> StoredHead | None:
    """Return the newest head that was signed before a moment; None if there is none. It reads the heads from their end.

    `AuditDamagedError` for a head that is none, `AuditUnavailableError`.
    """
    if not (folder / HEADS).exists():
        return None
    return next((head for head in map(StoredHead.decode, lines_back(folder / HEADS)) if head.head.time < moment), None)


def sync_folder(folder: Path) -> None:
    """Make new names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
