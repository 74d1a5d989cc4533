"""What a source's next run goes on from: its opaque id, its stat cache, and the lock that keeps its runs apart.

All of it is local and derived. Losing it costs time, never a file: the cache is fetched again as writer state.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.base.data_classes import class_rank
from holdfast.errors import LocalStateError, NotPermittedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from holdfast.repository.repository import Repository


@dataclass(frozen=True, slots=True)
class Source:
    """What is backed up together, under one history."""

    id: str
    """32 hex digits that reveal nothing: a keyed digest of host and label (or paths, without a label)."""
    host: str
    label: str
    paths: tuple[bytes, ...]


def identify(repository: Repository, paths: Sequence[bytes], label: str, host: str = "") -> Source:
    """Return the source: the same host and label (the same host and paths, if there is no label) give the same id."""
    host = host or socket.gethostname()
    known = [row for row in repository.generations() if row.dedup_key]
    if not known:
        raise NotPermittedError(f"a {repository.role}'s credential holds no key to store anything with")
    secrets = min(known, key=lambda row: (class_rank(row.id), row.generation))
    key = hmac.digest(secrets.dedup_key, b"holdfast source" + repository.vault_id, hashlib.sha256)
    name = [b"label", label.encode()] if label else [b"paths", *sorted(set(paths))]
    text = b"".join(len(part).to_bytes(4, "little") + part for part in (host.encode(), *name))
    return Source(hmac.digest(key, text, hashlib.sha256)[:16].hex(), host, label, tuple(paths))


@dataclass(frozen=True, slots=True)
class Caches:
    """A source's stat cache: what the last committed run saw, and where the present one writes."""

    current: Path
    next: Path
    raised: Path
    """Folders that are known to hold something more sensitive than their path says."""
    history: Path
    """What earlier runs of the source counted: what the next one is compared with."""

    def current_or_none(self) -> str | None:
        """Return the path of the cache to read, or None if there is none."""
        return str(self.current) if self.current.exists() else None

    def accept(self) -> None:
        """Put the new cache in place of the old one: only after the commit."""
        if self.next.exists():
            self.next.replace(self.current)

    def discard(self) -> None:
        """Remove what the present run wrote: it stopped."""
        self.next.unlink(missing_ok=True)


@contextmanager
def held(folder: Path, source: str) -> Iterator[Caches]:
    """Hold a source's lock on this host and yield its caches. `LocalStateError` if another run holds it.

    The lock goes with the process, however it ends: nothing stale is left behind.
    """
    lock = os.open(folder / f"{source}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalStateError(
                "another run of this source is under way on this host",
                safe="nothing was read or written.",
                next="wait for it to end; a run that died holds nothing up.",
            ) from None
        caches = Caches(
            folder / f"{source}.cache",
            folder / f"{source}.cache.new",
            folder / f"{source}.raised",
            folder / f"{source}.history",
        )
        caches.discard()
        try:
            yield caches
        finally:
            caches.discard()
    finally:
        os.close(lock)
