"""Where drills leave their proof: one folder, one signed and chained record each, with the page that people read beside it.

Files are written whole or not at all, and never over one another. Two drills that end at once get numbers one after the
other: the number is taken by creating the file, which only one can.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from holdfast.errors import DrillMissingError, EvidenceError, LocalStateError
from holdfast.runs.drill.record import (
    RECORD_BYTES_MAX,
    DrillRecord,
    SignedRecord,
    check_record,
    digest_of,
    read_record,
)

__all__ = ["ChainReport", "Evidence"]

_NAME = re.compile(r"drill-(\d{6})-([a-z0-9-]+)\.json")


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What a check of the whole evidence folder found. `problems` are sentences; empty: every record is whole and in its place."""

    records: int
    keys: tuple[str, ...]
    """The public keys that signed."""
    problems: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 whole, 4 damaged."""
        return 4 if self.problems else 0


class Evidence:
    """A folder of drill records."""

    def __init__(self, folder: str) -> None:
        """Use a folder; it is made when something is written."""
        self.folder = folder

    def records(self) -> tuple[DrillRecord, ...]:
        """Return the records that can be read, oldest first. Signatures are not looked at: see :meth:`check`."""
        found = []
        for name in self._names():
            with contextlib.suppress(EvidenceError):
                found.append(self._read(name).record)
        return tuple(found)

    def find(self, drill: str) -> SignedRecord:
        """Return the record of a drill by (the beginning of) its id, or `latest`. `DrillMissingError` if there is none or several."""
        names = self._names()
        if drill == "latest" and names:
            return self._read(names[-1])
        found = [signed for signed in map(self._read_or_none, names) if signed and signed.record.id.startswith(drill)]
        if len(found) != 1:
            many = "several drills have an id that begins so" if found else "there is no drill of that id"
            raise DrillMissingError(many)
        return found[0]

    def add(self, complete: Callable[[int, str], SignedRecord]) -> str:
        """Write the next record, which `complete` makes of its number and the digest of the one before; return its path."""
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            while True:
                names = self._names()
                last = self._read(names[-1]).record if names else None
                number = int(names[-1][6:12]) + 1 if names else 1
                signed = complete(number, digest_of(last) if last else "")
                path = os.path.join(self.folder, f"drill-{number:06d}-{signed.record.service}.json")
                if self._taken(number) or not _write_new(path, signed.encode()):
                    continue
                return path
        except OSError as error:
            raise LocalStateError(f"the evidence of the drill cannot be written ({error.strerror})") from error

    def put_beside(self, path: str, suffix: str, content: bytes) -> str:
        """Write a file beside a record, under its name with another suffix; return its path."""
        target = path.removesuffix(".json") + suffix
        _write_new(target, content)
        return target

    def check(self, public: bytes | None = None) -> ChainReport:
        """Prove every record and that none is missing."""
        problems, keys, previous, expected = [], set(), "", 1
        for name in self._names():
            number = int(name[6:12])
            if number != expected:
                problems.append(f"record {expected} is missing")
            expected = number + 1
            try:
                signed = self._read(name)
                check_record(signed, public)
            except EvidenceError as error:
                problems.append(f"record {number}: {error.what}")
                previous = "?"
                continue
            keys.add(signed.public)
            if signed.record.number != number:
                problems.append(f"record {number} was moved: it says that it is number {signed.record.number}")
            if signed.record.previous != previous:
                problems.append(f"record {number} does not follow the one before it")
            previous = digest_of(signed.record)
        return ChainReport(len(self._names()), tuple(sorted(keys)), tuple(problems))

    def _taken(self, number: int) -> bool:
        return any(int(name[6:12]) == number for name in self._names())

    def _names(self) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self.folder) if _NAME.fullmatch(name))
        except FileNotFoundError:
            return []

    def _read(self, name: str) -> SignedRecord:
        with open(os.path.join(self.folder, name), "rb") as file:
            return read_record(file.read(RECORD_BYTES_MAX + 1))

    def _read_or_none(self, name: str) -> SignedRecord | None:
        with contextlib.suppress(EvidenceError):
            return self._read(name)
        return None


def _write_new(path: str, content: bytes) -> bool:
    """Write a file that did not exist, whole and durable; return whether it did not."""
    part = f"{path}.{os.getpid()}.part"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(part)
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True
