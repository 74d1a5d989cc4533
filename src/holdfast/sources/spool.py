"""The WAL spool: the folder that PostgreSQL's archive command fills, and that a backup stores and then empties.

Promises of `push`, on which PostgreSQL relies: when it returns, the file is whole, under its name, and durable; a file that is
there already with the same content is success, with another it is `WalConflictError` and nothing changes; segments of another
cluster are refused. Nothing is ever overwritten. A crash at any moment leaves at most a hidden partial file, which the next
push removes.

    NAME       a segment, `.history`, `.backup` or `.partial` file
    .ledger    one line per file that was ever pushed: name, SHA-256; knows a file that is already stored and gone from here
    .system    the system identifier of the cluster that this spool belongs to
    .stream    what `holdfast wal receive` is receiving; the unfinished segment is copied from there when the spool is stored
    .dropped   names that the policy `primary` let go when the spool could take no more: WAL that recovery cannot pass
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from holdfast.base.values import dataclass
from holdfast.errors import StoreFullError, StoreRefusedError, UsageError, WalConflictError, WalMissingError
from holdfast.sources.wal import SEGMENT_BYTES_MAX, Gap, gaps_in, is_segment, is_wal_name, parse_head, segment_start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.base.environment import Environment

__all__ = ["PARTIAL", "STREAM", "Protect", "Pushed", "Spool", "SpoolState", "must_drop"]

Protect = Literal["pitr", "primary"]
"""When the spool takes no more: keep the WAL in the server (`pitr`), or let it go before the server fills up (`primary`)."""
STEP_BYTES = 1 << 20
LEDGER_LINES_MAX = 20_000
TAIL_TRIES = 5
LEDGER, SYSTEM, DROPPED, STREAM = ".ledger", ".system", ".dropped", ".stream"
PARTIAL = ".partial"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def must_drop(protect: Protect, waiting_bytes: int, queue_bytes_max: int) -> bool:
    """Decide whether a segment that cannot be kept is let go: only by policy, and only when the queue is at its limit."""
    return protect == "primary" and waiting_bytes > queue_bytes_max


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of one file."""

    outcome: Literal["stored", "identical", "dropped"]
    """`stored`; `identical`: it was there already; `dropped`: let go to protect the primary."""
    bytes: int
    """Its size."""


@dataclass(frozen=True, slots=True)
class SpoolState:
    """What lies in a spool. Names of WAL files hold nothing of patients."""

    segments: int
    """Whole segments."""
    bytes: int
    """Of all files."""
    first: str
    """The first segment's name."""
    last: str
    """The last segment's name."""
    timelines: tuple[int, ...]
    """The timelines that the segments are of."""
    gaps: tuple[Gap, ...]
    """What is missing between what was ever here: recovery cannot pass."""
    dropped: tuple[str, ...]
    """Files let go by the policy `primary` since the last base backup that forgave them."""
    others: int
    """History, backup and partial files."""


class Spool:
    """A spool in a folder that exists."""

    def __init__(self, folder: Path, env: Environment) -> None:
        """Name the folder; touches nothing."""
        self.folder = folder
        self._env = env

    def push(self, source: Path, *, protect: Protect = "pitr", queue_bytes_max: int = 0) -> Pushed:
        """Take a WAL file in; see the promises above.

        `StoreFullError` and `StoreRefusedError`: PostgreSQL keeps the file and tries again. With the policy `primary`, once
        more than `queue_bytes_max` wait in the server's own folder, the file is let go instead, and noted.
        """
        name = source.name
        if not is_wal_name(name):
            raise UsageError(
                "this is not the name of a WAL file", next="let PostgreSQL call it: archive_command with %p."
            )
        try:
            size = source.stat().st_size
            with self._locked():
                return self._take(source, name, size)
        except FileNotFoundError:
            raise WalMissingError("the WAL file to be pushed, or the spool, does not exist") from None
        except OSError as error:
            if must_drop(protect, _waiting_bytes(source), queue_bytes_max):
                self._note_dropped(name)
                return Pushed("dropped", 0)
            if error.errno in _FULL:
                raise StoreFullError(
                    "the WAL spool has no room left",
                    safe="PostgreSQL keeps the WAL and hands it over again; nothing is lost while its disk has room.",
                    next="make room in the spool now: PostgreSQL stops when its own disk is full.",
                ) from None
            raise StoreRefusedError(
                f"the WAL spool cannot be written ({os.strerror(error.errno or 0)})",
                safe="PostgreSQL keeps the WAL and hands it over again.",
            ) from None

    def _take(self, source: Path, name: str, size: int) -> Pushed:
        digest = self._checked(source, name, size)
        known = self._known(name)
        target = self.folder / name
        if target.exists():
            known = _digest(target)
        if known is not None and known != digest:
            raise WalConflictError(f"the spool has had the WAL file {name} with other content")
        if target.exists():
            _sync(target)
        elif known is None:
            self._copy(source, target)
        _sync(self.folder)
        if self._known(name) is None:
            self._append(LEDGER, f"{name} {digest}\n")
        return Pushed("identical" if known is not None else "stored", size)

    def _checked(self, source: Path, name: str, size: int) -> str:
        """Return the file's digest. `WalConflictError` if it is not what its name says, or of another cluster."""
        with source.open("rb") as file:
            head = parse_head(file.read(64))
        if is_segment(name):
            if head is None or size != head.size or size > SEGMENT_BYTES_MAX or segment_start(name, size) != head.start:
                raise WalConflictError(f"the content of {name} is not the segment that its name says")
            self._check_system(str(head.system))
        return _digest(source)

    def _check_system(self, system: str) -> None:
        place = self.folder / SYSTEM
        try:
            pinned = place.read_text().strip()
        except FileNotFoundError:
            self._append(SYSTEM, system + "\n")
            return
        if pinned != system:
            raise WalConflictError(
                "the WAL comes from another cluster than the one this spool belongs to",
                next="give each cluster a spool of its own, and a new one to a cluster that was made anew.",
            )

    def _copy(self, source: Path, target: Path) -> None:
        for left in self.folder.glob(".*.part"):
            left.unlink(missing_ok=True)
        part = self.folder / f".{target.name}.{self._env.random_id()[:8]}.part"
        try:
            with source.open("rb") as read, part.open("xb") as write:
                while data := read.read(STEP_BYTES):
                    write.write(data)
                write.flush()
                os.fsync(write.fileno())
            part.rename(target)
        finally:
            part.unlink(missing_ok=True)

    def _known(self, name: str) -> str | None:
        """Return the digest under which a file was pushed before, if it was."""
        return self._ledger().get(name)

    def _ledger(self) -> dict[str, str]:
        try:
            text = (self.folder / LEDGER).read_text()
        except FileNotFoundError:
            return {}
        # A line that a crash tore is none: the file itself, or PostgreSQL, still has what it was about.
        rows = (line.split(" ") for line in text.splitlines()[-LEDGER_LINES_MAX:])
        return {row[0]: row[1] for row in rows if len(row) == 2 and len(row[1]) == 64}  # noqa: PLR2004 - name and SHA-256

    def _append(self, name: str, line: str) -> None:
        with (self.folder / name).open("a") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def _note_dropped(self, name: str) -> None:
        """Note a loss; where not even that can be written, the gap in the sequence still tells."""
        with contextlib.suppress(OSError):
            self._append(DROPPED, f"{name}\n")

    def take_tail(self) -> None:
        """Take over what is received to its last byte: whole segments, and a copy of the unfinished one in place of an older.

        WAL ends where its sums do, so a copy that is torn costs a moment and no more. Errors: as of :meth:`push`.
        """
        folder = self.folder / STREAM
        for _ in range(TAIL_TRIES):
            names = sorted(name for name in os.listdir(folder) if is_wal_name(name)) if folder.is_dir() else []
            for name in names:
                if is_segment(name):
                    self._push_received(folder / name)
            with contextlib.suppress(FileNotFoundError), self._locked():  # it was finished meanwhile: once more
                self._keep_tails(folder, [name for name in names if name.endswith(PARTIAL)])
                return

    def _push_received(self, segment: Path) -> None:
        try:
            self.push(segment)
        except WalMissingError:
            if segment.exists():
                raise
            # The receiver took it over itself meanwhile.

    def _keep_tails(self, folder: Path, names: Sequence[str]) -> None:
        ledger = self._ledger()
        for name in self.names():
            if name.endswith(PARTIAL) and name not in ledger and name not in names:
                (self.folder / name).unlink()
        for name in names:
            if name not in ledger:
                self._copy(folder / name, self.folder / name)

    def get(self, name: str, target: Path) -> None:
        """Put a file to `target`, whole or not at all. `WalMissingError` if it is not here."""
        source = self.folder / name
        if not is_wal_name(name) or not source.is_file():
            raise WalMissingError("the spool does not have this WAL file")
        part = target.with_name(f"{target.name}.{self._env.random_id()[:8]}.part")
        try:
            with source.open("rb") as read, part.open("xb") as write:
                while data := read.read(STEP_BYTES):
                    write.write(data)
                write.flush()
                os.fsync(write.fileno())
            part.rename(target)
        finally:
            part.unlink(missing_ok=True)

    def names(self) -> tuple[str, ...]:
        """Return the names of all files, sorted."""
        try:
            return tuple(sorted(name for name in os.listdir(self.folder) if is_wal_name(name)))
        except FileNotFoundError:
            return ()

    def state(self) -> SpoolState:
        """Return what lies here, with the gaps between it and what was here before."""
        names = self.names()
        seen = sorted({name for name in (*names, *self._ledger()) if is_segment(name)})
        segments = [name for name in names if is_segment(name)]
        sizes = [self._size(name) for name in names]
        return SpoolState(
            segments=len(segments),
            bytes=sum(sizes),
            first=segments[0] if segments else "",
            last=segments[-1] if segments else "",
            timelines=tuple(sorted({int(name[:8], 16) for name in segments})),
            gaps=gaps_in(seen, self._segment_bytes(segments)),
            dropped=self._dropped(),
            others=len(names) - len(segments),
        )

    def _size(self, name: str) -> int:
        try:
            return (self.folder / name).stat().st_size
        except FileNotFoundError:
            return 0

    def _segment_bytes(self, segments: Sequence[str]) -> int:
        return (self._size(segments[-1]) if segments else 0) or 16 << 20

    def _dropped(self) -> tuple[str, ...]:
        try:
            return tuple((self.folder / DROPPED).read_text().split())
        except FileNotFoundError:
            return ()

    def missing(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return which of some files are neither here nor were here before."""
        ledger = self._ledger()
        return tuple(name for name in names if name not in ledger)

    def stored(self, names: Sequence[str], *, keep: int = 1) -> int:
        """Remove files that a committed snapshot holds, but for the newest `keep`; return how many were removed.

        The ledger goes on knowing them, so that they are never taken in with other content.
        """
        removed = 0
        with self._locked():
            ledger = self._ledger()
            for name in sorted(names)[: max(0, len(names) - keep)]:
                if name in ledger:
                    (self.folder / name).unlink(missing_ok=True)
                    removed += 1
        return removed

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _waiting_bytes(source: Path) -> int:
    """Return how much WAL waits to be pushed beside `source`, by PostgreSQL's own marks."""
    try:
        ready = [mark for mark in os.listdir(source.parent / "archive_status") if mark.endswith(".ready")]
        return len(ready) * source.stat().st_size
    except OSError:
        return 0
