"""Appending to the audit log: durable before it returns, whole or not at all, by any number of processes.

An append holds the folder's lock, catches up with what others appended (verifying it), writes its lines in one call, and
syncs. A crash in the middle leaves a last line without an end: bytes that nobody was told of. The next append sets them
aside in `torn-N`, and says so in a record. Anything else that does not verify is damage: `AuditDamagedError`, and nothing
is appended until a person looked (`renew`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives import serialization

from holdfast.base.environment import Environment
from holdfast.base.values import dataclass
from holdfast.errors import AuditDamagedError, AuditUnavailableError
from holdfast.reliability.audit import files
from holdfast.reliability.audit.files import LogMeta, StoredHead
from holdfast.reliability.audit.head import PrivateKey, PublicKey, SignedHead, genesis, new_key, read_key, sign_head
from holdfast.reliability.audit.merkle import MerkleTree, chain_hash
from holdfast.reliability.audit.record import AuditRecord, canonical, digest_of, this_actor

__all__ = ["AuditLog", "Position", "Room"]

LOCK_SECONDS_MAX = 30.0
LOCK_PAUSE_SECONDS = 0.02
HEAD_RECORDS = 1000
"""A head is kept after so many records at the latest: opening the log replays no more."""
TAIL_BYTES = 1 << 16
ROOM_BYTES = 1 << 20
"""Kept for the end of what destroys: more than a thousand records."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Room(Enum):
    """What an append does about room on the disk: who destroys must be able to record how it ended."""

    NONE = "none"
    KEEP = "keep"
    """It announces what must be recorded to its end: without room for that it is not appended, either."""
    SPEND = "spend"
    """It is such an end: on a full disk the room that was kept is used for it."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where the log stands: acknowledged, durable."""

    size: int
    chain: str
    """The chain value of the last record, 64 hex digits."""


@dataclass(slots=True)
class _State:
    """What appending goes on from."""

    tree: MerkleTree
    chain: bytes
    segment: int
    offset: int
    headed: int
    """The size at the last kept head."""


class AuditLog:
    """One log in one folder. Safe among threads and processes; every call that returns is durable."""

    def __init__(self, folder: Path, meta: LogMeta, key: PrivateKey, env: Environment) -> None:
        """Use :meth:`open`."""
        self.folder = folder
        self.meta = meta
        self.segment_bytes = files.SEGMENT_BYTES
        self._key = key
        self._env = env
        self._state: _State | None = None
        self._mutex = threading.Lock()

    @classmethod
    def open(cls, folder: Path, env: Environment, *, algorithm: str = "ed25519") -> Self:
        """Open a log, or begin one. `AuditUnavailableError` if the folder cannot be used, `AuditDamagedError`."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(folder, env):
                try:
                    meta = files.read_meta(folder)
                except FileNotFoundError:
                    meta = _begin(folder, env, algorithm)
                key = read_key((folder / files.KEY).read_bytes())
        except OSError as error:
            raise _unavailable(error) from error
        if PublicKey.of(key) != meta.public:
            raise AuditDamagedError("the audit log's signing key is not the one it began with")
        return cls(folder, meta, key, env)

    @property
    def id(self) -> str:
        """The log's id, 32 hex digits."""
        return self.meta.log

    @property
    def public(self) -> PublicKey:
        """The key that checks its heads."""
        return self.meta.public

    def append(self, records: Sequence[AuditRecord], room: Room = Room.NONE) -> Position:
        """Append records in one durable write; return where the log stands.

        `AuditUnavailableError` (disk full, read-only, …: the records are not acknowledged), `AuditDamagedError`.
        """
        encoded = [record.encode() for record in records]
        with self._held() as state:
            if room is Room.KEEP:
                self._keep_room()
            try:
                self._write(state, encoded)
            except OSError as error:
                if room is not Room.SPEND or error.errno not in _FULL or not self._give_room():
                    raise
                self._write(state, encoded)
            # The first records are signed with the append that begins the log: if the operation that they announce is killed,
            # they are proved all the same.
            if not state.headed or state.tree.size - state.headed >= HEAD_RECORDS:
                self._keep_head(state)
            return Position(state.tree.size, state.chain.hex())

    def _keep_room(self) -> None:
        """See that there is room on the disk for what must be recorded later. `OSError` if there is none."""
        path = self.folder / files.ROOM
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size == ROOM_BYTES:
                return
        path.unlink(missing_ok=True)
        new = self.folder / f"{files.ROOM}.new"
        new.unlink(missing_ok=True)
        try:
            # Bytes that no file system makes smaller.
            _append(new, hashlib.shake_256(self.id.encode()).digest(ROOM_BYTES))
        except OSError:
            new.unlink(missing_ok=True)
            raise
        os.replace(new, path)

    def _give_room(self) -> bool:
        """Give the kept room back to the disk; return whether there was any."""
        try:
            (self.folder / files.ROOM).unlink()
        except OSError:
            return False
        return True

    def position(self) -> Position:
        """Return where the log stands, after what other processes appended."""
        with self._held() as state:
            return Position(state.tree.size, state.chain.hex())

    def head(self) -> SignedHead:
        """Sign the log as it is now, keep the head, and return it."""
        with self._held() as state:
            return self._keep_head(state)

    @contextlib.contextmanager
    def _held(self) -> Iterator[_State]:
        """Lock, catch up, and let go. After any failure the state is read from the files again."""
        with self._mutex:
            state, self._state = self._state, None
            try:
                with _locked(self.folder, self._env):
                    state = state or self._resume()
                    self._catch_up(state)
                    yield state
            except OSError as error:
                raise _unavailable(error) from error
            self._state = state

    def _resume(self) -> _State:
        """Return the state at the last kept head, or before the first record."""
        last = files.read_last_head(self.folder)
        if last is None:
            return _State(MerkleTree(), genesis(self.id, self.public), 0, 0, 0)
        if last.head.log != self.id or not self.public.signed(last.head):
            raise AuditDamagedError("the last head of the audit log is not signed by its key")
        state = _State(
            MerkleTree(last.head.size, last.frontier),
            bytes.fromhex(last.head.chain),
            last.segment,
            last.offset,
            last.head.size,
        )
        self._check_place(state)
        return state

    def _check_place(self, state: _State) -> None:
        """Check that the record before the head's place is the one it speaks of."""
        if state.offset == 0:
            return
        path = self.folder / files.segment_name(state.segment)
        start = max(0, state.offset - files.HASH_DIGITS - 1)
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
            file.seek(start)
            if file.read(state.offset - start) == state.chain.hex().encode() + b"\n":
                return
        raise AuditDamagedError(
            f"the audit log is shorter than its last head, or changed before record {state.tree.size}",
            size=state.tree.size,
        )

    def _catch_up(self, state: _State) -> None:
        """Take in what was appended since the state was made; set a torn tail aside."""
        while True:
            path = self.folder / files.segment_name(state.segment)
            rest = b""
            length = path.stat().st_size if path.exists() else 0
            if length < state.offset:
                raise AuditDamagedError(
                    f"the audit log was cut off before record {state.tree.size}", size=state.tree.size
                )
            if length > state.offset:
                for lines, rest in files.lines_of(path, state.offset):  # noqa: B007 - the last remainder counts
                    self._replay(state, lines)
            following = self.folder / files.segment_name(state.tree.size)
            if state.tree.size == state.segment or not following.exists():
                break
            if rest:
                raise AuditDamagedError(f"record {state.tree.size} of the audit log is not what was written")
            state.segment, state.offset = state.tree.size, 0
        if rest:
            self._set_aside(state, path, rest)

    def _replay(self, state: _State, lines: Sequence[bytes]) -> None:
        leaves = []
        chain = state.chain
        for number, line in enumerate(lines, state.tree.size):
            stored, _, stated = line.rpartition(b" ")
            chain = chain_hash(stored, chain)
            if chain.hex().encode() != stated or not stored.startswith(b"%d " % number):
                raise AuditDamagedError(f"record {number} of the audit log is not what was written", record=number)
            leaves.append(chain)
            state.offset += len(line) + 1
        state.tree.extend(leaves)
        state.chain = chain

    def _set_aside(self, state: _State, path: Path, rest: bytes) -> None:
        """Keep the bytes of an append that was cut short in a file of their own, cut them off, and record it."""
        aside = self.folder / f"torn-{state.tree.size}"
        with open(aside, "ab") as file:
            file.write(rest)
            file.flush()
            os.fsync(file.fileno())
        os.truncate(path, state.offset)
        record = AuditRecord(
            kind="audit.torn",
            phase="event",
            operation=self._env.random_id(),
            time=self._env.now(),
            actor=this_actor(os.uname().nodename),
            vault="",
            outcome="success",
            facts={"bytes": len(rest), "digest": digest_of(rest)},
        )
        self._write(state, [record.encode()])

    def _write(self, state: _State, encoded: Sequence[bytes]) -> None:
        """Write lines in one call and sync. On failure what was written is cut off again, if that can be done."""
        if state.offset >= self.segment_bytes:
            state.segment, state.offset = state.tree.size, 0
        leaves, lines = [], []
        chain = state.chain
        for number, record in enumerate(encoded, state.tree.size):
            stored = b"%d " % number + record
            chain = chain_hash(stored, chain)
            leaves.append(chain)
            lines.append(b"%s %s\n" % (stored, chain.hex().encode()))
        data = b"".join(lines)
        path = self.folder / files.segment_name(state.segment)
        new = not path.exists()
        try:
            _append(path, data)
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(path, state.offset)
            raise
        if new:
            files.sync_folder(self.folder)
        state.tree.extend(leaves)
        state.chain = chain
        state.offset += len(data)

    def _keep_head(self, state: _State) -> SignedHead:
        tree = state.tree
        head = sign_head(
            self._key, SignedHead(self.id, tree.size, tree.root().hex(), state.chain.hex(), self._env.now())
        )
        path = self.folder / files.HEADS
        _drop_torn_end(path)
        _append(path, StoredHead(head, state.segment, state.offset, tree.frontier).encode())
        state.headed = tree.size
        return head


def _drop_torn_end(path: Path) -> None:
    """Cut a last line without an end: a head that was being written when the process died."""
    with contextlib.suppress(FileNotFoundError), open(path, "rb+") as file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - TAIL_BYTES)
        file.seek(start)
        tail = file.read()
        if tail and not tail.endswith(b"\n"):
            file.truncate(start + tail.rfind(b"\n") + 1)


def _append(path: Path, data: bytes) -> None:
    """Append bytes and make them durable."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(fd, left) :]
        os.fdatasync(fd)
    finally:
        os.close(fd)


def _begin(folder: Path, env: Environment, algorithm: str) -> LogMeta:
    """Make a log: the key first, its description last and by renaming. A crash leaves a whole log or none."""
    if files.segments(folder) or (folder / files.HEADS).exists():
        raise AuditDamagedError("the audit log has records and no description: it was taken away")
    key = new_key(algorithm, env)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / files.KEY).unlink(missing_ok=True)
    _append(folder / files.KEY, pem)
    meta = LogMeta(env.random_id(), algorithm, PublicKey.of(key), env.timestamp())
    body = {"format": 1, "log": meta.log, "algorithm": algorithm, "public": meta.public.pem, "created": meta.created}
    new = folder / f"{files.META}.new"
    new.unlink(missing_ok=True)
    _append(new, canonical(body) + b"\n")
    os.replace(new, folder / files.META)
    files.sync_folder(folder)
    return meta


@contextlib.contextmanager
def _locked(folder: Path, env: Environment) -> Iterator[None]:
    """Hold the folder's lock. `AuditUnavailableError` if another process has it for too long."""
    fd = os.open(folder / files.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = env.monotonic() + LOCK_SECONDS_MAX
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if env.monotonic() >= deadline:
                    raise AuditUnavailableError("another process holds the audit log and does not let go") from None
                env.sleep(LOCK_PAUSE_SECONDS)
            else:
                break
        yield
    finally:
        os.close(fd)


def _unavailable(error: OSError) -> AuditUnavailableError:
    return AuditUnavailableError(f"the audit log cannot be written: {os.strerror(error.errno or 0)}")
