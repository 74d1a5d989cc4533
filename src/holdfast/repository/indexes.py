"""Index runs: which are trusted for what, and their local sorted copies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.repository.repository import Repository

if TYPE_CHECKING:
    from holdfast.engine import Index


@dataclass(frozen=True, slots=True)
class IndexView:
    """The index as of one reading: condemned lists first, then the runs, in this order."""

    index: Index
    excluded: frozenset[str]
    """Packs no reference may rest on: condemned, deleted by a plan, damaged."""
    open_rounds: tuple[int, ...]
    """Prune rounds that are not closed."""
    runs: tuple[str, ...]
    untrusted: tuple[str, ...]
    """Runs that could not be used at all: damaged, or not validly signed."""


class Indexes:
    """The local copy of the index under `cache` (a folder of this vault): derived, may be lost at any time."""

    def __init__(self, repository: Repository, cache: Path) -> None:
        """Use a folder; it is made when needed."""
        raise NotImplementedError

    def read(self) -> IndexView:
        """Read condemned lists, then the list of runs, fetch what is new, and build the index."""
        raise NotImplementedError

    def sorted_run(self, class_id: int, generation: int, payload: bytes, name: str) -> Path:
        """Write one run's plaintext as a sorted file into the cache and return its path (for `Ingest.checkpoint_done`)."""
        raise NotImplementedError
