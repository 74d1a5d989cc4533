"""Sessions: a run's steps 1 to 6 of `docs/format/protocol.md`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from holdfast.repository.indexes import Indexes, IndexView
from holdfast.repository.repository import Repository
from holdfast.repository.types import SnapshotDraft, SnapshotInfo
from holdfast.stores.protocol import Data

if TYPE_CHECKING:
    from holdfast.engine import RefSet


@dataclass(frozen=True, slots=True)
class RunPayload:
    """An index run's plaintext, as the engine made it, for packs that are stored."""

    class_id: int
    generation: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint did. `sorted_runs` are local files for the engine; `excluded` were newly excluded from the index."""

    number: int
    runs: tuple[str, ...]
    sorted_runs: tuple[str, ...]
    acknowledged: tuple[int, ...]
    excluded: frozenset[str]


class Session:
    """One run of a writer. Nothing it stores counts before :meth:`commit`, and everything it stored can be used again."""

    id: str
    view: IndexView

    @classmethod
    def begin(cls, repository: Repository, indexes: Indexes, *, source: str, classes: Sequence[int]) -> Self:
        """Steps 1 and 2: announce the session, read condemned lists, then the index.

        Own unfinished sessions of the same source are given up first (they can never commit afterwards); what they
        stored is in the index and is used again.
        """
        raise NotImplementedError

    def put_pack(self, name: bytes, kind: int, data: Data) -> None:
        """Step 4: store a pack durably. `kind` 1 data, 2 metadata, 3 map."""
        raise NotImplementedError

    def checkpoint(
        self, runs: Sequence[RunPayload], *, packs: int, stored_bytes: int, references: Sequence[RefSet] | None = None
    ) -> Checkpoint:
        """Step 4: put index runs and a checkpoint, read condemned lists, acknowledge those that `references` do not touch.

        Without `references` no new list is acknowledged (safe; the pruner then waits for the commit). `RevokedError` if
        a pruner decided against the session.
        """
        raise NotImplementedError

    def put_state(self, source: str, number: int, payload: bytes) -> None:
        """Store writer state number N of a source."""
        raise NotImplementedError

    def commit(self, draft: SnapshotDraft) -> SnapshotInfo:
        """Steps 5 and 6. When it returns the snapshot is committed and durable.

        `RevokedError` (retry as a new session), `DamageError` if a pack that the snapshot needs is not there.
        """
        raise NotImplementedError

    def abandon(self) -> None:
        """Give the session up: it can never commit."""
        raise NotImplementedError
