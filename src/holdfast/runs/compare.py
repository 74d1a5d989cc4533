"""Comparing reference sets with trees: what a prune relies on is proved first, by who can read trees, once.

Reads metadata only. Incremental: a snapshot is compared when no signed record speaks of its sets, or its tree could not
be read the last time; a pair of tree and set that was compared already, in this call, is not walked again. Memory is
bounded by one tree's set and a few reference sets, whatever the number of snapshots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.base.events import Progress, ignore
from holdfast.errors import DamageError, NotPermittedError
from holdfast.repository.compared import Compared, not_compared, read_compared, sets_of, write_compared
from holdfast.repository.holds import HoldState
from holdfast.repository.listing import describe, read_envelopes, read_part
from holdfast.repository.marking import SetReader

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from holdfast.base.events import Events
    from holdfast.repository.compared import Compare
    from holdfast.repository.listing import Committed
    from holdfast.repository.repository import Repository
    from holdfast.runs.assembly import OpenVault

__all__ = ["Comparison", "compare_all", "comparer"]

SNAPSHOTS_PER_READER = 16
"""Reference sets are kept for so many snapshots: neighbours share theirs."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison found."""

    sets: int
    """Sets compared with their trees now."""
    wanting: tuple[str, ...]
    """Ids of snapshots with a set that lacks something its tree needs, found now or before."""
    unread: int
    """Sets whose tree could not be read."""


def compare_all(vault: OpenVault, snapshots: Collection[str] = (), *, events: Events = ignore) -> Comparison:
    """Compare what was never compared, of all snapshots or some, and sign what is found. Needs the root key."""
    repository = vault.repository
    committed = read_envelopes(repository.home).committed
    chosen = [s for s in committed if not snapshots or s.id in snapshots]
    comparing = _Comparing(vault, events)
    comparing.compare(not_compared(repository.home, chosen))
    wanting = tuple(s.id for s in chosen if read_compared(repository.home, s).wanting & sets_of(s))
    return Comparison(comparing.sets, wanting, comparing.unread)


def comparer(vault: OpenVault, events: Events = ignore) -> Compare:
    """Return what a prune calls for snapshots that no record speaks of."""

    def compare(_repository: Repository, snapshots: Sequence[Committed]) -> None:
        _Comparing(vault, events).compare(snapshots)

    return compare


class _Comparing:
    """One comparison under way."""

    def __init__(self, vault: OpenVault, events: Events) -> None:
        self.vault = vault
        self.events = events
        self.sets = 0
        self.unread = 0
        self._known: dict[tuple[str, str], bool | None] = {}

    def compare(self, snapshots: Sequence[Committed]) -> None:
        """Compare snapshots one by one, and sign each as soon as it is done: what is done is not done again."""
        sets = SetReader(self.vault.repository)
        for at, snapshot in enumerate(sorted(snapshots, key=lambda s: (s.body.source, s.body.finished))):
            if at % SNAPSHOTS_PER_READER == SNAPSHOTS_PER_READER - 1:
                sets = SetReader(self.vault.repository)
            self.events(Progress(phase="compare", files=at, files_total=len(snapshots)))
            found = self._one(snapshot, sets)
            if found.told:
                write_compared(self.vault.repository, snapshot, found)

    def _one(self, snapshot: Committed, sets: SetReader) -> Compared:
        repository = self.vault.repository
        info = describe(repository, snapshot, HoldState(), None)
        verdicts: dict[bool | None, set[str]] = {True: set(), False: set(), None: set()}
        for part in info.classes:
            known = repository.generation(part.class_id, part.generation)
            if known is not None and known.erased:
                verdicts[None].add(part.refs)  # nobody can ever compare it: its set is taken at its word
                self.unread += 1
                continue
            if not repository.can_read(part.class_id):
                continue
            try:
                root = read_part(repository, info, part.class_id).root
                verdict = self._verdict(info.id, root, part.refs, sets)
            except NotPermittedError:
                continue
            except DamageError:
                verdict = None
            verdicts[verdict].add(part.refs)
            self.unread += verdict is None
        # Two classes may name one set: it is as good as its worst tree.
        wanting = frozenset(verdicts[False])
        unread = frozenset(verdicts[None]) - wanting
        return Compared(frozenset(verdicts[True]) - wanting - unread, wanting, unread)

    def _verdict(self, snapshot: str, root: str, refs: str, sets: SetReader) -> bool:
        """Return whether a set names all that a tree needs. `DamageError` if the tree cannot be read."""
        known = self._known.get((root, refs))
        if known is not None:
            return known
        with engine.translated():
            needed = self.vault.reader(snapshot).tree(root).references()
            needed.subtract(engine.RefSet.decode(sets.read(refs).encode()))
        self.sets += 1
        self._known[root, refs] = needed.segments == 0
        return needed.segments == 0
