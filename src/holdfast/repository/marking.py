"""Marking: which segments the snapshots need, by their reference sets. Reads no tree and sees no name.

A set that cannot be read raises `DamageError`: pruning stops, for nothing can be said to be dead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from holdfast.errors import DamageError, NotPermittedError
from holdfast.repository.listing import Committed, Envelopes, read_envelopes
from holdfast.repository.objects import unseal
from holdfast.repository.refsets import CHAIN_LINKS_MAX, Segments, StoredSegments, parse

if TYPE_CHECKING:
    from holdfast.engine import Index, PackRow
    from holdfast.repository.repository import Repository


class SetReader:
    """Reads reference sets, each object once. Chains of deltas have at most 16 links."""

    def __init__(self, repository: Repository) -> None:
        """Start without any set."""
        self._repository = repository
        self._sets: dict[str, Segments] = {}
        self.parents: dict[str, str] = {}
        """Of each set read, the set it is a delta to, or empty."""

    def read(self, sha: str) -> Segments:
        """Return a set with its parents resolved. `DamageError`, `ObjectMissingError`, `NotPermittedError`."""
        chain: list[StoredSegments] = []
        at = sha
        while at not in self._sets:
            if len(chain) > CHAIN_LINKS_MAX:
                raise DamageError(f"object refs/{sha} rests on too long a chain of deltas")
            stored = self._stored(at)
            self.parents[at] = stored.parent
            chain.append(stored)
            if not stored.parent:
                break
            at = stored.parent
        segments = self._sets.get(at, Segments())
        for stored in reversed(chain):
            segments = segments.minus(stored.removed).union(stored.added)
        self._sets[sha] = segments
        return segments

    def _stored(self, sha: str) -> StoredSegments:
        name = f"refs/{sha}"
        sealed = self._repository.home.read_sealed(name)
        known = self._repository.generation(sealed.class_id, sealed.generation)
        if known is None:
            raise NotPermittedError(f"the index key of data class {sealed.class_id} is not at hand")
        return parse(unseal(sealed, known.index_key, name))


def packs_of(index: Index, segments: Segments) -> Iterator[PackRow]:
    """Yield the packs that hold segments of a set, by an index; a pack may come several times.

    A set may claim to be of any length: this costs what the set's own ranges and the index's rows do, never what lies between.
    """
    for origin, ranges in segments.ranges():
        for start, stop in ranges:
            yield from index.packs_between(origin, start, stop)


def read_set(repository: Repository, sha: str) -> Segments:
    """Return one reference set."""
    return SetReader(repository).read(sha)


def sound_envelopes(repository: Repository) -> Envelopes:
    """Return all snapshots, or raise `DamageError` if one of them cannot be read: what it needs is unknown."""
    envelopes = read_envelopes(repository.home)
    if envelopes.problems:
        raise DamageError(
            f"{len(envelopes.problems)} snapshots cannot be read, so what they need is not known; nothing is deleted",
            next="run `holdfast check` for their names; a snapshot that is lost for good can be forgotten by its id.",
            snapshots=tuple(p.id for p in envelopes.problems),
        )
    return envelopes


def mark(repository: Repository, snapshots: Iterable[Committed]) -> Segments:
    """Return every segment that the snapshots need: step 1 and step 3 of a prune round."""
    reader = SetReader(repository)
    needing: dict[str, list[str]] = {}
    for snapshot in snapshots:
        for part in snapshot.classes:
            needing.setdefault(part.refs, []).append(snapshot.id)
    return Segments.merged(_marked(reader, sha, needing) for sha in sorted(needing))


def _marked(reader: SetReader, sha: str, needing: Mapping[str, list[str]]) -> Segments:
    """Return a set. What is raised if it is lost names the way out, too."""
    try:
        return reader.read(sha)
    except DamageError as error:
        ids = sorted({each for other, ids in needing.items() if not _reads(reader, other) for each in ids})
        raise type(error)(
            error.what,
            next="put the object back from a copy of the store if there is one. If it is lost for good, forget what needs it by"
            f" `holdfast forget ID`, ID being {', '.join(ids)}; then prune again.",
            snapshots=tuple(ids),
        ) from error


def _reads(reader: SetReader, sha: str) -> bool:
    try:
        reader.read(sha)
    except DamageError:
        return False
    return True
