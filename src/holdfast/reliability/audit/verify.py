"""Verification: every stored byte against the chain, the chain against the tree, the tree against signed heads.

It needs the folder's files and the public key, nothing else: no vault, no network, no private key. With heads that were
anchored elsewhere it also finds what somebody with the log's own key, or with all its files, did to records before them.
What comes after the last head is bound by the chain alone, which needs no key: cutting whole records off its end, or inventing
some, leaves no trace until a head that counts them is at hand. An honest log has no more of them than `UNSIGNED_MAX`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.base.environment import Environment
from holdfast.errors import UsageError
from holdfast.reliability.audit import files
from holdfast.reliability.audit.head import PublicKey, SignedHead, genesis
from holdfast.reliability.audit.log import HEAD_RECORDS
from holdfast.reliability.audit.merkle import MerkleTree, chain_hash

__all__ = ["LogProblem", "LogReport", "verify_log"]

PROBLEMS_MAX = 100
"""Of records; as many again of heads."""
HEAD_PROBLEMS_MAX = 100
UNSIGNED_MAX = 2 * HEAD_RECORDS
"""Records behind the last head: a head is kept after `HEAD_RECORDS` at the latest, and one append adds no more than as many again."""
ANCHORED = "anchored"

_OTHER_KEY = (
    "the key given is not the one that this log names: it is another log's key, or the log was begun anew by somebody"
)
_BEGUN = "a host whose very first operation was killed before the log had its first head shows the same: its next operation signs"
_TAIL = (
    "only the first {} of the {} records are proved by a signed head: an honest log signs after {} at the latest,"
    " so that whoever had these files could have written the rest"
)
_UNSIGNED = "no signed head covers any of the {} records: whoever had these files could have written them all, or taken all away"


@dataclass(frozen=True, slots=True)
class LogProblem:
    """One thing that is not as it was written."""

    kind: str
    """`changed`, `missing`, `reordered`, `truncated`, `torn`, `head`, `signature`, `other-log`, `description`; `other-key`: the key
    given is not the one that the log names; `unsigned`: no signed head covers any record, or far more follow the last one than an
    honest log ever has, so that nothing proves them.
    """
    record: int
    """The number of the record, or the size that a head speaks of."""
    text: str
    """A sentence."""


@dataclass(frozen=True, slots=True)
class LogReport:
    """What a verification saw."""

    log: str
    """The log's id."""
    fingerprint: str
    """SHA-256 of the public key that the heads were checked with."""
    records: int
    """Records read."""
    heads: int
    """Signed heads checked, anchored ones included."""
    anchored: int
    """Records that the newest anchored head covers; 0 without one."""
    signed: int
    """Records that the newest signed head covers."""
    proved: int
    """The first so many records are proved: a head that the key signed was made over exactly these. The rest anybody could write."""
    root: str
    """The Merkle root over all records read."""
    problems: tuple[LogProblem, ...]
    """What is wrong; empty: every record is as it was written."""
    torn_bytes: int = 0
    """Bytes of a record that was cut short, or cut off since, at the very end."""
    seconds: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def exit_code(self) -> int:
        """0 sound, 4 not."""
        return 0 if self.sound else 4


@dataclass(slots=True)
class _Heads:
    """Heads in the order of their sizes, looked at one at a time as the walk comes to them: a log of years has many."""

    waiting: Iterator[tuple[str, SignedHead | None]]
    """Each with whose it is: `kept` by the log itself, or `anchored` elsewhere; None: a kept line that is no head."""
    key: PublicKey
    log: str
    problems: list[LogProblem] = field(default_factory=list)
    checked: int = 0
    signed: int = 0
    """The size of the greatest."""
    anchored: int = 0
    bad: int = 0
    covers: bool = False
    """Whether one that the key signed counts any record."""
    good: bool = False
    """Whether the key signed the one looked at."""
    next: tuple[str, SignedHead] | None = None

    def __post_init__(self) -> None:
        """Look at the first."""
        self.step()

    def step(self) -> None:
        """Go on to the next head of this log that counts records; judge those on the way that do not."""
        self.next = None
        for whose, head in self.waiting:
            if head is None:
                self.bad += 1
                continue
            self.checked += 1
            self.signed = max(self.signed, head.size)
            if whose == ANCHORED:
                self.anchored = max(self.anchored, head.size)
            if head.log != self.log:
                self.problem("other-log", head.size, f"a head {whose} belongs to another log: this one was begun anew")
                continue
            self.good = self.key.signed(head)
            if not self.good:
                self.problem(
                    "signature", head.size, f"the {whose} head of {head.size} records is not signed by this key"
                )
            elif head.size:
                self.covers = True
            if head.size:
                self.next = whose, head
                return

    def problem(self, kind: str, record: int, text: str) -> None:
        """Note what is wrong with a head."""
        if len(self.problems) < HEAD_PROBLEMS_MAX:
            self.problems.append(LogProblem(kind, record, text))


@dataclass(slots=True)
class _Walk:
    """One reading of all records."""

    chain: bytes
    heads: _Heads
    tree: MerkleTree = field(default_factory=MerkleTree)
    problems: list[LogProblem] = field(default_factory=list)
    torn_bytes: int = 0
    proved: int = 0
    leaves: list[bytes] = field(default_factory=list)
    shift: int = 0
    """How far the numbers that are stated have run away from the places they stand at."""

    @property
    def count(self) -> int:
        return self.tree.size + len(self.leaves)

    def problem(self, kind: str, record: int, text: str) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(LogProblem(kind, record, text))

    def flush(self) -> None:
        """Add the gathered leaves to the tree."""
        self.tree.extend(self.leaves)
        self.leaves = []

    def note(self) -> None:
        """Compare root and chain with the heads that speak of this size."""
        while self.heads.next is not None and self.heads.next[1].size <= self.count:
            whose, head = self.heads.next
            self.flush()
            if head.size != self.count:
                self.heads.problem("head", head.size, f"the {whose} head of {head.size} records is not in its place")
            elif (head.root, head.chain) != (self.tree.root().hex(), self.chain.hex()):
                self.heads.problem(
                    "head", head.size, f"the first {head.size} records are not those of the {whose} head"
                )
            elif self.heads.good:
                self.proved = head.size
            self.heads.step()

    def end(self) -> None:
        """Every head that is left counts more records than there are."""
        while self.heads.next is not None:
            whose, head = self.heads.next
            text = f"the {whose} head counts {head.size} records, the log has {self.count}: the rest was cut off"
            self.heads.problem("truncated", self.count, text)
            self.heads.step()

    def lines(self, lines: Sequence[bytes]) -> None:
        """Take whole lines, up to each size that a head speaks of."""
        start = 0
        while start < len(lines):
            room = self.heads.next[1].size - self.count if self.heads.next is not None else len(lines)
            part = lines[start : start + max(1, room)]
            self._take(part)
            start += len(part)
            self.note()
        self.flush()

    def _take(self, lines: Sequence[bytes]) -> None:
        chain, number, leaves = self.chain, self.count + self.shift, self.leaves
        for line in lines:
            # The stored hash is 64 digits after a blank: cheaper to cut than to search for.
            stored = line[:-65]
            chain = chain_hash(stored, chain)
            leaves.append(chain)
            if chain.hex().encode() != line[-64:] or not stored.startswith(b"%d " % number) or line[-65:-64] != b" ":
                chain = self._differs(line, number, chain)
                number = self.count - 1 + self.shift
            number += 1
        self.chain = chain

    def _differs(self, line: bytes, number: int, chain: bytes) -> bytes:
        """Say what is wrong with a line; go on from the hash it states, to find the next fault by itself."""
        label = line.split(b" ", 1)[0]
        stated = int(label) if label.isdigit() and len(label) < 20 else number  # noqa: PLR2004 - no 64-bit number is longer
        if stated > number:
            self.problem("missing", number, f"records {number} to {stated - 1} are not where they were")
            self.shift = stated - (self.count - 1)
        elif stated < number:
            self.problem("reordered", number, f"record {stated} stands where {number} was")
        else:
            self.problem("changed", number, f"record {number} is not what was written")
        try:
            return bytes.fromhex(line[-64:].decode())
        except ValueError:
            return chain


def verify_log(
    folder: Path,
    env: Environment,
    *,
    public: PublicKey | None = None,
    anchored: Iterable[SignedHead] = (),
    living: bool = False,
) -> LogReport:
    """Verify a log's files. Without `public` the log's own description says which key; an auditor gives the one he kept.

    `anchored` are heads from elsewhere (the vault, another machine, paper): a sequence in any order, or what yields them in the
    order of their sizes, one at a time; they were signed before this began. A few MiB are held at a time, however many records and
    heads there are, and what is appended meanwhile is left for the next verification. A log without any
    record is sound if it is this host's own, `living` one, which may be new; a copy of nothing proves nothing.
    `FileNotFoundError` if there is no log, `AuditUnavailableError` if it cannot be read, `AuditDamagedError` if its description
    is none, `UsageError` if the key is none.
    """
    began = env.monotonic()
    meta = files.read_meta(folder)
    other = public is not None and not _same(public, meta.public)
    key = public if public is not None and other else meta.public
    if isinstance(anchored, Sequence):
        anchored = sorted(anchored, key=lambda head: head.size)
    extent = files.extent(folder)
    heads = _Heads(_in_order(folder, extent, anchored), key, meta.log)
    walk = _Walk(genesis(meta.log, key), heads)
    if other:
        walk.problem("other-key", 0, _OTHER_KEY)
    _read(extent, walk)
    walk.end()
    problems = [*walk.problems]
    if heads.bad:
        problems.append(LogProblem("head", 0, f"{heads.bad} of the kept heads are not as they were written"))
    problems += heads.problems
    if not heads.covers and (walk.count or (public is not None and not living)):
        problems.append(LogProblem("unsigned", walk.count, _unsigned(walk.count, heads.checked, living=living)))
    elif heads.covers and walk.count - walk.proved > UNSIGNED_MAX:
        text = _TAIL.format(walk.proved, walk.count, HEAD_RECORDS)
        problems.append(LogProblem("unsigned", walk.proved, text))
    return LogReport(
        log=meta.log,
        fingerprint=key.fingerprint,
        records=walk.count,
        heads=heads.checked,
        anchored=heads.anchored,
        signed=heads.signed,
        proved=walk.proved,
        root=walk.tree.root().hex(),
        problems=tuple(problems),
        torn_bytes=walk.torn_bytes,
        seconds=env.monotonic() - began,
    )


def _in_order(
    folder: Path, extent: files.Extent, anchored: Iterable[SignedHead]
) -> Iterator[tuple[str, SignedHead | None]]:
    """Merge the log's own heads, which stand in the order of their sizes, with those from elsewhere."""
    kept = (("kept", each.head if each is not None else None) for each in files.read_heads(folder, extent.heads))
    elsewhere = ((ANCHORED, head) for head in anchored)
    return heapq.merge(kept, elsewhere, key=lambda each: each[1].size if each[1] is not None else 0)


def _unsigned(count: int, heads: int, *, living: bool) -> str:
    """Say that nothing proves the records; of a host's own log also how that comes about without anybody's doing."""
    text = _UNSIGNED.format(count)
    return f"{text}; {_BEGUN}" if living and not heads else text


def _same(one: PublicKey, other: PublicKey) -> bool:
    """Return whether two are one key, however their text is broken into lines. `UsageError` if the first is none."""
    fingerprint = one.fingerprint
    try:
        return fingerprint == other.fingerprint
    except UsageError:
        return False


def _read(extent: files.Extent, walk: _Walk) -> None:
    """Walk all records that there were at the start: others may append. The names of the files say where each begins."""
    for first, path, size in extent.segments:
        if first != walk.count:
            walk.problem("missing", walk.count, f"the file that begins with record {walk.count} is not there")
        if walk.torn_bytes:
            walk.problem("torn", walk.count, "a file of records that others follow does not end with a whole record")
        rest = b""
        for lines, rest in files.lines_of(path, end=size):  # noqa: B007 - the last remainder counts
            walk.lines(lines)
        walk.torn_bytes = len(rest)
