"""Verification: every stored byte against the chain, the chain against the tree, the tree against signed heads.

It needs the folder's files and the public key, nothing else: no vault, no network, no private key. With heads that were
anchored elsewhere it also finds what somebody with the log's own key, or with all its files, did to records before them.
What comes after the last head is bound by the chain alone: cutting whole records off its end leaves no trace until a head
that counts them is at hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.base.environment import Environment
from holdfast.errors import UsageError
from holdfast.reliability.audit import files
from holdfast.reliability.audit.head import PublicKey, SignedHead, genesis
from holdfast.reliability.audit.merkle import MerkleTree, chain_hash

__all__ = ["LogProblem", "LogReport", "verify_log"]

PROBLEMS_MAX = 100
"""Of records; as many again of heads."""
HEAD_PROBLEMS_MAX = 200

_OTHER_KEY = (
    "the key given is not the one that this log names: it is another log's key, or the log was begun anew by somebody"
)
_UNSIGNED = "no signed head covers any of the {} records: whoever had these files could have written them all, or taken all away"


@dataclass(frozen=True, slots=True)
class LogProblem:
    """One thing that is not as it was written."""

    kind: str
    """`changed`, `missing`, `reordered`, `truncated`, `torn`, `head`, `signature`, `other-log`, `description`; `other-key`: the key
    given is not the one that the log names; `unsigned`: no signed head covers any record, so that nothing proves them.
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
class _Walk:
    """One reading of all records."""

    chain: bytes
    checkpoints: list[int]
    tree: MerkleTree = field(default_factory=MerkleTree)
    problems: list[LogProblem] = field(default_factory=list)
    seen: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Root and chain at the sizes that heads speak of."""
    torn_bytes: int = 0
    leaves: list[bytes] = field(default_factory=list)
    shift: int = 0
    """How far the numbers that are stated have run away from the places they stand at."""

    @property
    def count(self) -> int:
        return self.tree.size + len(self.leaves)

    def problem(self, kind: str, record: int, text: str, *, most: int = PROBLEMS_MAX) -> None:
        if len(self.problems) < most:
            self.problems.append(LogProblem(kind, record, text))

    def flush(self) -> None:
        """Add the gathered leaves to the tree."""
        self.tree.extend(self.leaves)
        self.leaves = []

    def note(self) -> None:
        """Remember root and chain if a head speaks of this size."""
        while self.checkpoints and self.checkpoints[-1] <= self.count:
            size = self.checkpoints.pop()
            if size == self.count:
                self.flush()
                self.seen[size] = (self.tree.root().hex(), self.chain.hex())

    def lines(self, lines: Sequence[bytes]) -> None:
        """Take whole lines, up to each size that a head speaks of."""
        start = 0
        while start < len(lines):
            room = self.checkpoints[-1] - self.count if self.checkpoints else len(lines)
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

    `anchored` are heads from elsewhere (the vault, another machine, paper). A log without any record is sound if it is this host's
    own, `living` one, which may be new; a copy of nothing proves nothing. `FileNotFoundError` if there is no log,
    `AuditDamagedError` if its description cannot be read, `UsageError` if the key is none.
    """
    began = env.monotonic()
    meta = files.read_meta(folder)
    other = public is not None and not _same(public, meta.public)
    key = public if public is not None and other else meta.public
    stored, bad = files.read_heads(folder)
    own = [each.head for each in stored]
    elsewhere = sorted(anchored, key=lambda head: head.size)
    sizes = {head.size for head in (*own, *elsewhere) if head.size > 0}
    walk = _Walk(genesis(meta.log, key), sorted(sizes, reverse=True))
    if other:
        walk.problem("other-key", 0, _OTHER_KEY)
    _read(folder, walk)
    if bad:
        walk.problem("head", 0, f"{bad} of the kept heads are not as they were written", most=HEAD_PROBLEMS_MAX)
    _check_heads(walk, own, key, meta.log, "kept")
    _check_heads(walk, elsewhere, key, meta.log, "anchored")
    signed = [head.size for head in (*own, *elsewhere)]
    covered = any(head.size and head.log == meta.log and key.signed(head) for head in (*own, *elsewhere))
    if not covered and (walk.count or (public is not None and not living)):
        walk.problem("unsigned", walk.count, _UNSIGNED.format(walk.count), most=HEAD_PROBLEMS_MAX)
    return LogReport(
        log=meta.log,
        fingerprint=key.fingerprint,
        records=walk.count,
        heads=len(signed),
        anchored=max((head.size for head in elsewhere), default=0),
        signed=max(signed, default=0),
        root=walk.tree.root().hex(),
        problems=tuple(walk.problems),
        torn_bytes=walk.torn_bytes,
        seconds=env.monotonic() - began,
    )


def _same(one: PublicKey, other: PublicKey) -> bool:
    """Return whether two are one key, however their text is broken into lines. `UsageError` if the first is none."""
    fingerprint = one.fingerprint
    try:
        return fingerprint == other.fingerprint
    except UsageError:
        return False


def _read(folder: Path, walk: _Walk) -> None:
    """Walk all records. The names of the files say where each begins."""
    for first, path in files.segments(folder):
        if first != walk.count:
            walk.problem("missing", walk.count, f"the file that begins with record {walk.count} is not there")
        if walk.torn_bytes:
            walk.problem("torn", walk.count, "a file of records that others follow does not end with a whole record")
        rest = b""
        for lines, rest in files.lines_of(path):  # noqa: B007 - the last remainder counts
            walk.lines(lines)
        walk.torn_bytes = len(rest)


def _check_heads(walk: _Walk, heads: Sequence[SignedHead], key: PublicKey, log: str, whose: str) -> None:
    for head in heads:
        if head.log != log:
            text = f"a head {whose} belongs to another log: this one was begun anew"
            walk.problem("other-log", head.size, text, most=HEAD_PROBLEMS_MAX)
            continue
        if not key.signed(head):
            text = f"the {whose} head of {head.size} records is not signed by this key"
            walk.problem("signature", head.size, text, most=HEAD_PROBLEMS_MAX)
        if head.size > walk.count:
            text = f"the {whose} head counts {head.size} records, the log has {walk.count}: the rest was cut off"
            walk.problem("truncated", walk.count, text, most=HEAD_PROBLEMS_MAX)
        elif head.size and walk.seen.get(head.size) != (head.root, head.chain):
            text = f"the first {head.size} records are not those of the {whose} head"
            walk.problem("head", head.size, text, most=HEAD_PROBLEMS_MAX)
