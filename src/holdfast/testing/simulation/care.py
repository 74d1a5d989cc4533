"""What an operator does after a power cut on a disk that lied: look, repair, and give up what the vault says is lost."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.errors import DamageError
from holdfast.repository import forget, names
from holdfast.repository.check import CheckOutcome, check, scrub
from holdfast.repository.listing import read_envelopes
from holdfast.repository.marking import SetReader
from holdfast.repository.packs import list_packs, read_packs
from holdfast.repository.prune import PruneOptions, prune
from holdfast.repository.rebuild import apply, plan
from holdfast.repository.repository import Repository
from holdfast.repository.rounds import read_damaged, read_rounds, write_damaged
from holdfast.repository.upkeep import keep_decisions
from holdfast.testing.fake_engine import FakeEngine, Segment
from holdfast.testing.hosts import at_its_word, check_vault
from holdfast.testing.simulation.oracle import Oracle, ViolationError

__all__ = ["look_after"]


def look_after(
    repository: Repository, oracle: Oracle, doubtful: Mapping[str, Mapping[tuple[str, int], Segment]]
) -> int:
    """Check, repair, and forget what is lost; return how many snapshots are.

    `doubtful` were acknowledged after the last flush. `ViolationError` if a snapshot lost something and `check` did not say so,
    or if one that was durable lost anything.
    """
    found = check(repository, read_packs_too=True)
    lost = _lost(repository, oracle, doubtful)
    if lost and not found.problems:
        raise ViolationError("snapshots lost what they need, and check finds nothing")
    unpromised = {s.id for s in read_envelopes(repository.home).committed} - oracle.must_hold.keys()
    lost |= {s for s in unpromised | set(doubtful) if _speaks_of(found, s)}
    _repair(repository)
    lost |= {problem.id for problem in read_envelopes(repository.home).problems}
    for snapshot in sorted(lost - oracle.must_hold.keys()):
        oracle.forget(snapshot)
        forget.forget(repository, snapshot, reason="lost in a power cut")
    for snapshot in sorted(set(doubtful) - lost):
        oracle.must_hold[snapshot] = dict(doubtful[snapshot])
    if any(r.condemned is None and not r.plan for r in read_rounds(repository.home).open):
        prune(
            repository, PruneOptions(compare=at_its_word), FakeEngine()
        )  # as the error of every writer says: it closes the round
    check_vault(repository, oracle.must_hold)
    return len(lost)


def _speaks_of(found: CheckOutcome, snapshot: str) -> bool:
    return any(snapshot in f"{finding.object} {finding.text}" for finding in found.findings)


def _lost(
    repository: Repository, oracle: Oracle, doubtful: Mapping[str, Mapping[tuple[str, int], Segment]]
) -> set[str]:
    """Return the snapshots that are not listed any more, or need a segment that is in no pack."""
    carried, reader = oracle.carried(), SetReader(repository)
    listed = read_envelopes(repository.home).committed
    lost = set(doubtful) - {snapshot.id for snapshot in listed}
    for snapshot in listed:
        try:
            needed = {segment for part in snapshot.body.classes for segment in reader.read(part.refs)}
        except DamageError:
            lost.add(snapshot.id)
            continue
        if not carried >= needed | set(doubtful.get(snapshot.id, {}).values()):
            lost.add(snapshot.id)
    return lost


def _repair(repository: Repository) -> None:
    """Put decisions back, rebuild the index from the packs, and list what is damaged or missing, as `repair` and `verify` do."""
    keep_decisions(repository)
    apply(repository, plan(repository), FakeEngine())
    sizes, kinds = list_packs(repository)
    bad = set(scrub(repository, sizes, kinds))
    table = read_packs(repository, read_rounds(repository.home).deleted)
    bad |= {name for name in table.packs if repository.store.size(names.pack(name, 1)) is None}
    known = read_damaged(repository.home)
    if bad - known:
        write_damaged(repository.home, repository.root, known | bad)
