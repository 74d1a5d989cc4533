"""Which reference sets were compared with their trees: `compared/ID/N`, signed by the verifier's side.

A prune relies on reference sets alone. Whoever can read the trees compares each set with its tree once and says so here,
so that a pruner who reads no tree can rely on it. A set that lacks something its tree needs stops every prune; one that
names more than its tree needs only keeps what could go. A tree that cannot be read is noted: its set is taken at its
word, and compared again when the tree can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import (
    DamageError,
    NotComparedError,
    ObjectMissingError,
    ReferencesMismatchError,
    StoreRefusedError,
    StoreRetainedError,
)
from holdfast.repository.bodies import ComparedBody
from holdfast.repository.roles import VOUCH

if TYPE_CHECKING:
    from holdfast.repository.home import Home
    from holdfast.repository.listing import Committed
    from holdfast.repository.repository import Repository

Compare = Callable[["Repository", Sequence["Committed"]], None]
"""Compares the sets of snapshots that no record speaks of, and signs what it finds (`write_compared`)."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What is known of a snapshot's reference sets, by their hashes."""

    sound: frozenset[str] = frozenset()
    wanting: frozenset[str] = frozenset()
    """Sets that lack something that their tree needs."""
    unread: frozenset[str] = frozenset()
    """Sets whose tree could not be read."""

    @property
    def told(self) -> frozenset[str]:
        """Sets that something is known of."""
        return self.sound | self.wanting | self.unread

    def join(self, later: Compared) -> Compared:
        """Return what is known after a later comparison."""
        return Compared(
            (self.sound - later.told) | later.sound,
            (self.wanting - later.told) | later.wanting,
            (self.unread - later.told) | later.unread,
        )


def read_compared(home: Home, snapshot: Committed) -> Compared:
    """Return what is known of a snapshot's sets: every valid record of this very envelope, the later over the earlier."""
    known = Compared()
    for name in home.listed(f"compared/{snapshot.id}"):
        try:
            read, body = home.read(name, ComparedBody)
        except DamageError:
            continue
        if home.may(read.signer, VOUCH, read.name) and body.snapshot == snapshot.sha:
            known = known.join(Compared(frozenset(body.sound), frozenset(body.wanting), frozenset(body.unread)))
    return known


def write_compared(repository: Repository, snapshot: Committed, found: Compared) -> None:
    """Sign what a comparison found."""
    body = ComparedBody(
        snapshot.sha, tuple(sorted(found.sound)), tuple(sorted(found.wanting)), tuple(sorted(found.unread))
    )
    home = repository.home
    home.append(f"compared/{snapshot.id}", body, repository.signer(VOUCH))
    for name in list(home.listed(f"compared/{snapshot.id}")):
        try:
            home.read(name, ComparedBody)
        except ObjectMissingError:
            continue
        except DamageError:
            # Torn, or rotten: it speaks for nobody, and what it may have said was just found out anew.
            with suppress(StoreRefusedError, StoreRetainedError):
                home.store.delete(name)


def sets_of(snapshot: Committed) -> frozenset[str]:
    """Return the reference sets that a snapshot names."""
    return frozenset(part.refs for part in snapshot.classes)


def not_compared(home: Home, snapshots: Iterable[Committed]) -> list[Committed]:
    """Return the snapshots with a set that nothing is known of, or whose tree could not be read."""
    found = []
    for snapshot in snapshots:
        known = read_compared(home, snapshot)
        if not sets_of(snapshot) <= known.told - known.unread:
            found.append(snapshot)
    return found


def require_compared(repository: Repository, snapshots: Collection[Committed], compare: Compare | None) -> None:
    """Let what was never compared be compared, and refuse to go on if a set is wanting or still unknown.

    `ReferencesMismatchError` (exit code 4), `NotComparedError`.
    """
    known = {s.id: read_compared(repository.home, s) for s in snapshots}
    waiting = [s for s in snapshots if not sets_of(s) <= known[s.id].told]
    if waiting and compare is not None:
        compare(repository, waiting)
        known |= {s.id: read_compared(repository.home, s) for s in waiting}
        waiting = [s for s in waiting if not sets_of(s) <= known[s.id].told]
    wanting = tuple(s.id for s in snapshots if known[s.id].wanting & sets_of(s))
    if wanting:
        raise ReferencesMismatchError(
            f"the reference sets of {len(wanting)} snapshots lack what their trees need; nothing is deleted",
            snapshots=wanting,
        )
    if waiting:
        raise NotComparedError(
            f"the reference sets of {len(waiting)} snapshots were never compared with their trees",
            snapshots=tuple(s.id for s in waiting),
        )
