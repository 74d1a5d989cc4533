"""Reading the log, and proofs over it: that a record is in it, that it only grew.

A proof is canonical JSON that stands by itself: with the public key an auditor checks it on any machine, without the log.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from holdfast.base.plain_json import read_json
from holdfast.errors import AuditDamagedError, UsageError
from holdfast.reliability.audit import files
from holdfast.reliability.audit.head import PublicKey, SignedHead, genesis
from holdfast.reliability.audit.merkle import (
    chain_hash,
    consistency_ranges,
    consistent,
    included,
    inclusion_ranges,
    range_roots,
)
from holdfast.reliability.audit.record import AuditRecord, canonical

__all__ = [
    "Listed",
    "ProofChecked",
    "check_proof",
    "prove_growth",
    "prove_record",
    "records",
    "records_back",
    "stored_lines",
]

PROOF_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Listed:
    """A record with its place in the log."""

    number: int
    record: AuditRecord


@dataclass(frozen=True, slots=True)
class ProofChecked:
    """What a proof that holds says."""

    kind: str
    """`record`: it is in the log of `size` records; `growth`: the log of `size` begins with all of the older one."""
    log: str
    """The log's id."""
    number: int
    """The record's number, or the older log's size."""
    size: int
    """How many records the signed head counts."""
    signed: datetime
    """When the head was signed, by its host's clock."""
    record: str
    """The record's canonical JSON; empty for `growth`."""


def stored_lines(folder: Path, start: int = 0, offset: int = 0) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield number, canonical JSON and chain value of each whole record, from the file on that holds record `start`.

    If it is known at which offset of that file record `start` begins, nothing before it is read. A few MiB are held at a time,
    however long the log is. `AuditDamagedError` for a line that is none, `AuditUnavailableError`.
    """
    segments = files.segments(folder)
    # A file ends where the next begins: those that end before the start are not opened.
    ends = [*(first for first, _ in segments[1:]), start + 1]
    for (first, path), end in zip(segments, ends, strict=False):
        if end <= start:
            continue
        number, begin = (start, offset) if first <= start and offset else (first, 0)
        for lines, _ in files.lines_of(path, begin):
            for line in lines:
                yield number, *_parts(line, number)
                number += 1


def _parts(line: bytes, number: int) -> tuple[bytes, bytes]:
    """Return canonical JSON and chain value of a line. `AuditDamagedError` if it is not that of the record."""
    label, _, rest = line.partition(b" ")
    body, _, stated = rest.rpartition(b" ")
    chain = _hash_or_nothing(stated)
    if label != b"%d" % number or not chain:
        raise AuditDamagedError(f"record {number} of the audit log is not what was written")
    return body, chain


def _hash_or_nothing(digits: bytes) -> bytes:
    try:
        return bytes.fromhex(digits.decode())
    except ValueError:
        return b""


def records(
    folder: Path,
    *,
    start: int = 0,
    offset: int = 0,
    since: datetime | None = None,
    until: datetime | None = None,
    kind: str = "",
) -> Iterator[Listed]:
    """Yield records from number `start` on (which begins at `offset` of its file), of a time and of a kind.

    It reads and does not verify.
    """
    for number, body, _ in stored_lines(folder, start, offset):
        if number < start:
            continue
        found = Listed(number, AuditRecord.decode(body))
        if _wanted(found.record, since, until, kind):
            yield found


def records_back(
    folder: Path, *, since: datetime | None = None, until: datetime | None = None, kind: str = ""
) -> Iterator[Listed]:
    """Yield records of a time and of a kind, the newest first, reading no more of the log than is asked for."""
    follows: int | None = None
    for first, path in reversed(files.segments(folder)):
        for line in files.lines_back(path):
            label = line.partition(b" ")[0]
            number = follows - 1 if follows is not None else int(label) if label.isdigit() else first
            found = Listed(number, AuditRecord.decode(_parts(line, number)[0]))
            follows = number
            if _wanted(found.record, since, until, kind):
                yield found


def _wanted(record: AuditRecord, since: datetime | None, until: datetime | None, kind: str) -> bool:
    return (
        (since is None or record.time >= since)
        and (until is None or record.time < until)
        and (not kind or record.kind == kind)
    )


def prove_record(folder: Path, number: int, head: SignedHead) -> bytes:
    """Return a proof that a record is in the log that a head speaks of. `UsageError` if the head does not count it."""
    if not 0 <= number < head.size:
        raise UsageError(f"the head counts records 0 to {head.size - 1}", next="name one of them, or sign a new head.")
    before = record = b""
    for at, body, chain in stored_lines(folder):
        if at == number:
            record = body
            break
        before = chain
    meta = files.read_meta(folder)
    if number == 0:
        before = genesis(meta.log, meta.public)
    path = range_roots(_leaves(folder), inclusion_ranges(number, head.size))
    return canonical(
        {
            "proof": "record",
            "number": number,
            "record": record.decode(),
            "before": before.hex(),
            "path": [part.hex() for part in path],
            "head": json.loads(head.encode()),
        }
    )


def prove_growth(folder: Path, old: SignedHead, new: SignedHead) -> bytes:
    """Return a proof that the newer head's log begins with all of the older one's. `UsageError` if it is not newer."""
    if not 0 < old.size <= new.size or old.log != new.log:
        raise UsageError("the second head must be of the same log and count at least as many records as the first")
    path = range_roots(_leaves(folder), consistency_ranges(old.size, new.size))
    return canonical(
        {
            "proof": "growth",
            "path": [part.hex() for part in path],
            "old": json.loads(old.encode()),
            "head": json.loads(new.encode()),
        }
    )


def _leaves(folder: Path) -> Iterator[bytes]:
    return (chain for _, _, chain in stored_lines(folder))


def check_proof(proof: bytes, public: PublicKey) -> ProofChecked:
    """Check a proof with the public key alone. `AuditDamagedError` if it does not hold, `UsageError` if it is none."""
    try:
        body = read_json(proof[:PROOF_BYTES_MAX])
        kind = str(body["proof"])
        head = SignedHead.of_fields(body["head"])
        path = [bytes.fromhex(part) for part in body["path"]]
        found = _growth(body, head, path, public) if kind == "growth" else _record(body, head, path)
    except (ValueError, KeyError, TypeError):
        raise UsageError("this is no proof of an audit log", next="make one with `holdfast audit prove`.") from None
    if found is None or not public.signed(head):
        raise AuditDamagedError("the proof does not hold: its record or its signature is not the log's")
    return found


def _record(body: Mapping[str, object], head: SignedHead, path: list[bytes]) -> ProofChecked | None:
    number, text = int(str(body["number"])), str(body["record"])
    leaf = chain_hash(b"%d %s" % (number, text.encode()), bytes.fromhex(str(body["before"])))
    if not included(leaf, number, head.size, path, bytes.fromhex(head.root)):
        return None
    return ProofChecked("record", head.log, number, head.size, head.time, text)


def _growth(body: Mapping[str, object], head: SignedHead, path: list[bytes], public: PublicKey) -> ProofChecked | None:
    old = SignedHead.decode(json.dumps(body["old"]))
    if old.log != head.log or not public.signed(old):
        return None
    if not consistent(old.size, bytes.fromhex(old.root), head.size, bytes.fromhex(head.root), path):
        return None
    return ProofChecked("growth", head.log, old.size, head.size, head.time, "")
