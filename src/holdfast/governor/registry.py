"""The runs of this machine: each holds a lock on a row of its own, so that its death frees it; and what an operator paused.

A row is a file that its run holds locked (`flock`) from before it has its name until the process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Self

from holdfast.base.values import dataclass
from holdfast.errors import LocalStateError

__all__ = ["Entry", "PauseMark", "Registry", "RunRow"]

ROW_BYTES_MAX = 4096
ROWS_MAX = 1000
_SUFFIX = ".run"


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run, as others on the machine see it."""

    id: str
    """8 hex digits."""
    kind: str
    """`backup`, `restore`, `verify`, …"""
    label: str
    """The job's or source's name as the operator gave it; empty if none."""
    pid: int
    started: str
    """RFC 3339, UTC."""
    read_bytes_per_s: float = 0.0
    """What it took lately, of each resource."""
    write_bytes_per_s: float = 0.0
    network_bytes_per_s: float = 0.0
    operations_per_s: float = 0.0
    cpu_cores: float = 0.0


@dataclass(frozen=True, slots=True)
class PauseMark:
    """That an operator paused all runs; it outlives processes and reboots."""

    since: str
    user: int
    reason: str


class Entry:
    """A run's own row, while it lives. Use as a context manager."""

    def __init__(self, folder: Path, row: RunRow) -> None:
        """Make the row, locked before anyone can see it."""
        self._path = folder / f"{row.id}{_SUFFIX}"
        unseen = folder / f".{row.id}"
        self._fd = os.open(unseen, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.update(row)
            os.rename(unseen, self._path)
        except OSError:
            os.close(self._fd)
            unseen.unlink(missing_ok=True)
            raise

    def update(self, row: RunRow) -> None:
        """Say what the run takes now."""
        text = json.dumps(asdict(row)).encode()[:ROW_BYTES_MAX]
        os.pwrite(self._fd, text.ljust(ROW_BYTES_MAX), 0)

    def close(self) -> None:
        """Leave: the row goes, then its lock."""
        self._path.unlink(missing_ok=True)
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Registry:
    """The folder of all runs of this machine under this user's state."""

    def __init__(self, folder: Path) -> None:
        """Make the folder if need be. `LocalStateError` if it cannot be made."""
        self.folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise LocalStateError(f"the governor's folder cannot be made ({os.strerror(error.errno or 0)})") from None

    def enter(self, row: RunRow) -> Entry:
        """Add a run. `LocalStateError` if it cannot be written."""
        try:
            return Entry(self.folder, row)
        except OSError as error:
            raise LocalStateError(f"a run cannot be registered ({os.strerror(error.errno or 0)})") from None

    def live(self) -> tuple[RunRow, ...]:
        """Return the runs that live, the oldest first. Rows whose process died are removed."""
        found = []
        try:
            paths = sorted(self.folder.glob(f"*{_SUFFIX}"))[:ROWS_MAX]
        except OSError:
            return ()
        for path in paths:
            row = self._row(path)
            if row is not None:
                found.append(row)
        return tuple(sorted(found, key=lambda row: (row.started, row.id)))

    def _row(self, path: Path) -> RunRow | None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _parsed(os.pread(descriptor, ROW_BYTES_MAX, 0))
            # Nobody holds it: its run died without saying so.
            with suppress(OSError):
                path.unlink(missing_ok=True)
                path.with_suffix(".sock").unlink(missing_ok=True)
            return None
        finally:
            os.close(descriptor)

    @property
    def _mark(self) -> Path:
        return self.folder / "paused.json"

    def pause(self, mark: PauseMark) -> None:
        """Pause all runs of this machine, those to come too, durably. `LocalStateError` if that cannot be written."""
        temporary = self._mark.with_suffix(".new")
        try:
            with open(temporary, "w") as file:
                json.dump(asdict(mark), file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._mark)
            descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
            os.fsync(descriptor)
            os.close(descriptor)
        except OSError as error:
            raise LocalStateError(f"the pause cannot be noted ({os.strerror(error.errno or 0)})") from None

    def resume(self) -> bool:
        """End the pause; return whether there was one."""
        try:
            self._mark.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise LocalStateError(f"the pause cannot be ended ({os.strerror(error.errno or 0)})") from None
        return True

    def paused(self) -> PauseMark | None:
        """Return the operator's pause, if there is one. A mark that cannot be read is one: the safe side."""
        try:
            document = json.loads(self._mark.read_text())
            return PauseMark(str(document["since"]), int(document["user"]), str(document["reason"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return PauseMark("", -1, "the note of the pause cannot be read")


def _parsed(text: bytes) -> RunRow | None:
    try:
        document = json.loads(text)
        return RunRow(**document)
    except (ValueError, TypeError):
        return None
