"""What whoever prunes sets right on the way, without being asked: small objects that a crash tore, or that rot took.

Each has a second form in the vault, or can be said again by whoever may say it; nothing here rests on a guess.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.base.values import dataclass
from holdfast.errors import DamageError, NotPermittedError
from holdfast.repository import rebuild
from holdfast.repository.decisions import copied_bytes, is_kept, keep_twice, open_sessions, outcome, put_back
from holdfast.repository.listing import read_envelopes
from holdfast.repository.roles import PRUNE

if TYPE_CHECKING:
    from holdfast.repository.engine_port import EnginePort
    from holdfast.repository.repository import Repository

__all__ = ["Kept", "keep_decisions", "mend_index"]


@dataclass(frozen=True, slots=True)
class Kept:
    """What was done for decisions."""

    put_back: int
    """Decisions that were lost or damaged, and are back."""
    kept: int
    """Decisions that are kept twice now and were not."""


def keep_decisions(repository: Repository, *, dry_run: bool = False) -> Kept:
    """Put lost decisions back from their copies, and keep every other a second time. Idempotent, safe beside everybody.

    An older vault gets its copies here, and so does a run that was killed between its decision and the copy.
    """
    home = repository.home
    signer = repository.signer(PRUNE)
    committed = {snapshot.id: snapshot for snapshot in read_envelopes(home).committed}
    decided, copies = set(home.ids("decision")), set(home.ids("committed"))
    lost = {s.id for s in committed.values() if s.by_copy} | (copies - decided)
    back = kept = 0
    for snapshot in sorted(lost):
        back += copied_bytes(home, snapshot) is not None if dry_run else put_back(home, snapshot)
    for snapshot in sorted(committed.keys() - lost):
        if snapshot in copies and is_kept(home, snapshot, committed[snapshot].writer):
            continue
        try:
            name = outcome(home, snapshot, committed[snapshot].writer).name
            kept += bool(name) and (dry_run or keep_twice(home, snapshot, name, signer, replace=True))
        except DamageError:
            continue  # forgotten, or its decision lost, since it was listed
    return Kept(back, kept)


def mend_index(repository: Repository, engine: EnginePort | None = None) -> int:
    """List packs that no readable index run lists, from their own directories, and drop runs that cannot be read.

    Returns how many runs went and packs were listed. Only while no session runs: what a running one stores and has not listed
    yet would be taken for what a lost run listed. Until then a prune does without such a run, for it refuses by itself where a
    segment that a snapshot needs is in none. Not without the root key, which signs what is rebuilt, nor where snapshots cannot
    be read: then more than a run is wrong.
    """
    if not repository.is_root or open_sessions(repository.home) or read_envelopes(repository.home).problems:
        return 0
    try:
        plan = rebuild.plan(repository)
        if not plan.packs and not plan.broken_runs:
            return 0
        done = rebuild.apply(repository, plan, engine)
    except NotPermittedError:
        return 0
    return done.runs_dropped + done.packs_listed
