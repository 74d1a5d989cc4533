"""Prune: rounds of condemn, decide, mark again, plan, wait, apply, close (docs/format/protocol.md).

Each call does as many steps as can be done now and returns where the round stands. Every step is found by what is in the
home, so that any later call, by anybody with the root key, rolls a round forward; nothing rolls one back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from holdfast.errors import DamageError, ObjectMissingError
from holdfast.repository import names
from holdfast.repository.bodies import (
    REVOKED,
    AckBody,
    CheckpointBody,
    ClosedBody,
    CondemnBody,
    DecisionBody,
    PlanBody,
)
from holdfast.repository.compared import Compare, require_compared
from holdfast.repository.countersign import countersign
from holdfast.repository.decisions import OpenSession, Verdict, decide, open_sessions
from holdfast.repository.engine_port import EnginePort, default_engine
from holdfast.repository.forget import admit, finish_forgotten
from holdfast.repository.garbage import collect
from holdfast.repository.marking import mark, sound_envelopes
from holdfast.repository.objects import INDEX_RUN, sha256
from holdfast.repository.packs import NOBODY, PackTable, Run, read_packs, read_runs
from holdfast.repository.prune_plan import PrunePlan, Rewrite, plan_deletion, plan_prune
from holdfast.repository.records import PackRecord, encode_run
from holdfast.repository.roles import PRUNE
from holdfast.repository.rounds import Round, read_damaged, read_rounds, write_damaged
from holdfast.repository.upkeep import keep_decisions, mend_index
from holdfast.stores.protocol import delete_unless_retained

if TYPE_CHECKING:
    from holdfast.repository.listing import Committed
    from holdfast.repository.repository import Repository

UNDO_DELAY = timedelta(days=7)
PATIENCE = timedelta(hours=24)
"""How long a silent session may hold up a round. It decides when a session is revoked, never whether that is safe."""
REPACK_BELOW = 0.5
NONCE_BYTES = 32


@dataclass(frozen=True, slots=True)
class PruneOptions:
    """How to prune. `unsafe_undo_delay` shorter than the default makes mistakes final sooner."""

    repack_below: float = REPACK_BELOW
    patience: timedelta = PATIENCE
    unsafe_undo_delay: timedelta = UNDO_DELAY
    keep_whole: frozenset[str] = frozenset()
    """Packs that are never rewritten, however little of them is live: to read them is dear."""
    before_deletion: Callable[[], object] | None = None
    """Called when a plan's time has come, before a pack of it goes: what rests on those packs is to do without them."""
    compare: Compare | None = None
    """Compares reference sets with trees where no record does yet. Without it such a snapshot stops the prune."""


@dataclass(frozen=True, slots=True)
class PruneOutcome:
    """Where the round stands: `nothing`, `condemned` (sessions hold it up), `waiting`, `closed`.

    It waits for the undo delay, and for the end of the locks that stores have on its packs.
    """

    phase: str
    round: int | None = None
    packs_live: int = 0
    packs_condemned: int = 0
    packs_repacked: int = 0
    packs_deleted: int = 0
    bytes_condemned: int = 0
    bytes_deleted: int = 0
    sessions_waiting: int = 0
    sessions_revoked: int = 0
    delete_after: datetime | None = None


def plan(repository: Repository, options: PruneOptions | None = None) -> PrunePlan:
    """Return what a new round would condemn. Nothing changes."""
    return _planned(repository, options or PruneOptions(), sound_envelopes(repository).committed, [])


def _planned(
    repository: Repository, options: PruneOptions, committed: Sequence[Committed], broken: list[str]
) -> PrunePlan:
    """Plan a round in which `committed` are the snapshots; index runs that cannot be read are added to `broken`.

    Snapshots are read before the index: a snapshot's runs were put before it was committed. Sessions are listed before
    both and after: what ran at either moment keeps its packs.
    """
    repository.signer(PRUNE)  # refused early without it
    before = open_sessions(repository.home)
    live = mark(repository, committed)
    table = read_packs(repository, read_rounds(repository.home).deleted, broken)
    sessions = {s.id: s for s in (*before, *open_sessions(repository.home))}.values()
    return plan_prune(
        table,
        live,
        protected=_protected(repository, table, list(sessions)),
        sessions_open=bool(sessions),
        repack_below=options.repack_below,
        keep_whole=options.keep_whole,
    )


def prune(
    repository: Repository, options: PruneOptions | None = None, engine: EnginePort | None = None
) -> PruneOutcome:
    """Roll open rounds forward; then, if none is left open, begin a new one and take it as far as it goes.

    `DamageError` if a snapshot or a reference set cannot be read, or a segment that one needs is in no index run: nothing is
    deleted then. An index run that cannot be read is made anew from the packs while no session runs. If another pruner
    forgot a snapshot and deleted its packs while this one read, that is no damage: it is read again while snapshots change.
    """
    before = frozenset(repository.home.ids("snapshot"))
    while True:
        try:
            return _prune(repository, options or PruneOptions(), engine)
        except DamageError:
            now = frozenset(repository.home.ids("snapshot"))
            if now == before and not mend_index(repository, engine):
                raise
            before = now


def _prune(repository: Repository, chosen: PruneOptions, engine: EnginePort | None) -> PruneOutcome:
    """Go as far as can be gone now."""
    admit(repository)
    finish_forgotten(repository)
    keep_decisions(repository)
    outcome = PruneOutcome("nothing")
    for open_round in read_rounds(repository.home).open:
        outcome = _advance(repository, open_round.number, chosen)
        if outcome.phase != "closed":
            return outcome
    number, plan_made = _condemn(repository, chosen, engine)
    if number is None:
        collect(repository)
        return replace(outcome, packs_live=plan_made.packs_live)
    after = _advance(repository, number, chosen)
    return replace(
        after,
        packs_live=plan_made.packs_live,
        packs_repacked=len(plan_made.rewritten),
        bytes_condemned=plan_made.bytes_freed,
    )


def _protected(repository: Repository, table: PackTable, sessions: Sequence[OpenSession]) -> frozenset[str]:
    """Return the packs that running sessions have stored or mean to go on from.

    Runs named by their checkpoints or by those of sessions they resume, and runs of their writers that no checkpoint
    names yet; of everybody's, while there is a session of which the writer is not known.
    """
    home = repository.home
    running = {s.id for s in sessions} | {r for s in sessions if s.body for r in s.body.resumes}
    owners = {s.owner for s in sessions}
    anybody = "" in owners  # an announcement that cannot be read: whose it is is not known
    named: set[str] = set()
    chosen: set[str] = set()
    if sessions:
        for name in home.listed("checkpoint"):
            try:
                runs = home.read(name, CheckpointBody)[1].runs
            except DamageError:
                continue
            named.update(runs)
            if names.middle(name) in running:
                chosen.update(runs)
    chosen.update(run.sha for run in table.runs.values() if run.sha not in named and (anybody or run.signer in owners))
    return frozenset(p for sha in chosen if sha in table.runs for p in table.runs[sha].packs)


def _condemn(repository: Repository, options: PruneOptions, engine: EnginePort | None) -> tuple[int | None, PrunePlan]:
    """Step 1: mark, copy what is worth copying, publish `condemn/N`. No number if there is nothing to condemn."""
    committed = sound_envelopes(repository).committed
    require_compared(repository, committed, options.compare)
    broken: list[str] = []
    made = _planned(repository, options, committed, broken)
    if broken and mend_index(repository, engine):
        made = _planned(repository, options, committed, [])
    stranded = _stranded(repository)
    if not made.condemned and not stranded:
        return None, made
    repacked: list[str] = []
    kept: list[Rewrite] = []
    for rewrite in made.rewrites:
        name = _copy(repository, rewrite, engine or default_engine())
        if name is not None:
            repacked.append(name)
            kept.append(rewrite)
    made = replace(made, rewrites=tuple(kept))
    if not made.condemned and not stranded:
        return None, made
    home = repository.home
    number = home.next_number("condemn", repository.signer(PRUNE))
    body = CondemnBody(made.condemned, tuple(repacked))
    home.create(names.numbered("condemn", number), body, repository.signer(PRUNE))
    # If another pruner was quicker, its round is the one to roll forward; our copies are found to be copies later.
    return number, made


def _stranded(repository: Repository) -> bool:
    """Return whether a session's announcement cannot be read and nothing decided about it: a round does, be its list empty.

    Nobody else would: its writer is not known, and without a round a prune waits for nobody.
    """
    return any(session.body is None and not session.counts for session in open_sessions(repository.home))


def _copy(repository: Repository, rewrite: Rewrite, engine: EnginePort) -> str | None:
    """Put a new pack with the live segments, then its run, then the word of who stood behind the old ones.

    A source that turns out to be damaged is reported in `damaged/N`, and nothing is copied from this group now.
    """
    group = rewrite.group
    secrets = repository.secrets(group.class_id, group.generation)
    keys = engine.ClassKeys(secrets.vault, secrets.class_id, secrets.generation, secrets.dedup_key, secrets.index_key)
    sources = []
    for name, segments in rewrite.sources:
        data = repository.store.get(names.pack(name, group.kind))
        if sha256(data) != name:
            write_damaged(repository.home, repository.signer(PRUNE), read_damaged(repository.home) | {name})
            return None
        sources.append((data, segments))
    nonce = repository.env.random_bytes(NONCE_BYTES)
    packed, data, record = engine.repack(keys, nonce, sources)
    repository.store.put(names.pack(packed.hex(), group.kind), data)
    put_run(repository, group.class_id, group.generation, group.scope, [record])
    return packed.hex()


def put_run(repository: Repository, class_id: int, generation: int, scope: str, records: Sequence[bytes]) -> None:
    """Put an index run signed by root, and countersign it for whom the ids were vouched for before."""
    home, pruner = repository.home, repository.signer(PRUNE)
    known = repository.secrets(class_id, generation)
    head = home.head(INDEX_RUN, class_id, generation, pruner)
    sha = home.put_sealed("index/", head, known.index_key, encode_run(records), pruner)
    # A pruner copies what it cannot read: nobody deduplicates on its word, so it gives none.
    if scope != NOBODY and repository.is_root:
        countersign(home, sha, pruner, scope=scope)


def _advance(repository: Repository, number: int, options: PruneOptions) -> PruneOutcome:
    """Take one round as far as it goes."""
    current = _round(repository, number)
    if current is None or current.closed:
        return PruneOutcome("closed", number)
    revoked = 0
    if current.plan is None:
        if current.condemned is None:
            _close(repository, number, 0)
            return PruneOutcome("closed", number)
        waiting, revoked = _decide_all(repository, number, options.patience)
        if waiting:
            return PruneOutcome(
                "condemned",
                number,
                packs_condemned=len(current.condemned.packs),
                sessions_waiting=waiting,
                sessions_revoked=revoked,
            )
        _mark_again(repository, current, options)
        current = _round(repository, number)
        if current is None or current.plan is None:
            raise DamageError(
                f"the plan of prune round {number} cannot be read back", next="run `holdfast prune` again."
            )
    outcome = PruneOutcome(
        "waiting",
        number,
        packs_condemned=len(current.condemned.packs) if current.condemned else len(current.plan.delete),
        sessions_revoked=revoked,
        delete_after=current.plan.delete_after,
    )
    if repository.env.now() < current.plan.delete_after:
        return outcome
    if options.before_deletion is not None:
        options.before_deletion()
    freed, retained = _apply(repository, frozenset(current.plan.delete))
    if retained:
        return replace(outcome, packs_deleted=len(current.plan.delete) - retained, bytes_deleted=freed)
    _close(repository, number, len(current.plan.delete))
    collect(repository)
    return replace(outcome, phase="closed", packs_deleted=len(current.plan.delete), bytes_deleted=freed)


def _round(repository: Repository, number: int) -> Round | None:
    return next((r for r in read_rounds(repository.home).rounds if r.number == number), None)


def _decide_all(repository: Repository, number: int, patience: timedelta) -> tuple[int, int]:
    """Step 2: every open session has acknowledged the list, or is decided. Return how many wait and were revoked."""
    waiting = revoked = 0
    for session in open_sessions(repository.home):
        if session.counts or _acknowledged(repository, session, number):
            continue
        if repository.env.now() - _last_sign_of_life(repository, session, number) < patience:
            waiting += 1
            continue
        verdict = decide(
            repository.home, session.id, session.owner, DecisionBody(REVOKED, ""), repository.signer(PRUNE)
        ).verdict
        revoked += verdict is Verdict.REVOKED
    return waiting, revoked


def _acknowledged(repository: Repository, session: OpenSession, number: int) -> bool:
    try:
        read, _ = repository.home.read(names.numbered("ack", session.id, number), AckBody)
    except DamageError:
        return False
    return read.signer == session.owner


def _last_sign_of_life(repository: Repository, session: OpenSession, number: int) -> datetime:
    """Return the newest time in what concerns the session: its announcement, its checkpoints, the condemned list."""
    home = repository.home
    listed = [
        names.numbered("condemn", number),
        f"session/{session.id}",
        *home.listed(f"checkpoint/{session.id}"),
    ]
    times = []
    for name in listed:
        try:
            times.append(home.written(name))
        except DamageError:
            continue
    return max(times, default=repository.env.now())


def _mark_again(repository: Repository, current: Round, options: PruneOptions) -> None:
    """Step 3: mark again, the snapshots committed meanwhile included, and write the immutable plan.

    Snapshots are read before the index: a snapshot's runs were put before it was committed.
    """
    home = repository.home
    committed = sound_envelopes(repository).committed
    require_compared(repository, committed, options.compare)
    live = mark(repository, committed)
    table = read_packs(repository, read_rounds(home).deleted, [])
    condemned = current.condemned.packs if current.condemned else ()
    delete = plan_deletion(table, live, condemned)
    # What deletes nothing need not wait for anybody to think better of it.
    body = PlanBody(delete, repository.env.now() + (options.unsafe_undo_delay if delete else timedelta(0)))

    def stands() -> bool:
        made = _round(repository, current.number)
        return made is None or made.plan is not None or made.closed

    # A plan that cannot be read: nobody can act by it, and any mark after all have decided is as good.
    home.create_or_replace(names.numbered("plan", current.number), body, repository.signer(PRUNE), stands)


def _apply(repository: Repository, delete: frozenset[str]) -> tuple[int, int]:
    """Step 5: new runs without the packs, then the old runs go, then the packs.

    Return the bytes deleted, and how many packs their store still retains: the round stays open until their locks end.
    """
    touched: dict[tuple[int, int, str], list[tuple[Run, list[PackRecord]]]] = {}
    kept: dict[tuple[int, int, str], set[str]] = {}
    for run, records in read_runs(repository, []):
        key = (run.class_id, run.generation, run.scope)
        if any(record.name in delete for record in records):
            touched.setdefault(key, []).append((run, records))
        else:
            kept.setdefault(key, set()).update(run.packs)
    store = repository.store
    for (class_id, generation, scope), runs in sorted(touched.items()):
        present = kept.get((class_id, generation, scope), set())
        left = {
            record.name: record.encoded
            for _, records in runs
            for record in records
            if record.name not in delete and record.name not in present
        }
        if left:
            put_run(repository, class_id, generation, scope, list(left.values()))
        for run, _ in runs:
            store.delete(f"index/{run.sha}")
            store.delete(f"countersign/{run.sha}")
    freed = retained = 0
    for name in sorted(delete):
        for kind in (1, 2):
            size = store.size(names.pack(name, kind))
            if size is None:
                continue
            if delete_unless_retained(store, names.pack(name, kind)):
                freed += size
            else:
                retained += 1
    return freed, retained


def _close(repository: Repository, number: int, deleted: int) -> None:
    """Step 6."""

    def stands() -> bool:
        current = _round(repository, number)
        return current is None or current.closed

    name = names.numbered("closed", number)
    try:
        repository.home.create_or_replace(name, ClosedBody(deleted), repository.signer(PRUNE), stands)
    except ObjectMissingError:
        raise DamageError(f"prune round {number} could not be closed") from None
