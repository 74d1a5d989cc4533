"""Pruning as a run: what the repository's rounds say, as one result."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.base.defaults import UNDO_DAYS
from holdfast.base.events import Progress, ignore
from holdfast.repository import prune
from holdfast.repository.placed import PlacedStore
from holdfast.repository.stock import known_facts
from holdfast.runs.compare import comparer
from holdfast.runs.home_copies import copy_after
from holdfast.runs.locking import locked_anew, locked_packs, longest_lock
from holdfast.runs.protection import protected_anew
from holdfast.runs.results import PruneResult
from holdfast.runs.witness import refuse_older

if TYPE_CHECKING:
    from holdfast.base.events import Events
    from holdfast.runs.assembly import OpenVault


@dataclass(frozen=True, slots=True)
class PruneRequest:
    """How to prune."""

    undo_days: float = UNDO_DAYS
    repack_below: float = 0.5
    revoke_silent: bool = False
    dry_run: bool = False


def _longest_lock(vault: OpenVault) -> timedelta:
    """Return how long some store refuses to delete: no planned deletion is tried before."""
    facts = vault.tiers.book.stores.values() if vault.tiers is not None else ()
    usual = timedelta(seconds=max((store.lock_seconds for store in facts), default=0))
    return max(usual, longest_lock(vault) - vault.env.now())


def _dear(vault: OpenVault) -> frozenset[str]:
    """Return the packs that lie on cold stores only: rewriting them would cost more than it frees."""
    store = vault.store
    if not isinstance(store, PlacedStore):
        return frozenset()
    cold = {name for name, facts in store.book.stores.items() if facts.tier not in {"hot", "warm"}}
    return frozenset(pack.name for pack in known_facts(store) if pack.on and pack.on <= cold)


def run_prune(vault: OpenVault, request: PruneRequest, *, events: Events = ignore) -> PruneResult:
    """Prune; see `Vault.prune`."""
    began = vault.env.monotonic()
    if not request.dry_run:
        locked_anew(vault, vault.envelopes(), events)
        vault.trail.retain_all(events)
    options = prune.PruneOptions(
        repack_below=request.repack_below,
        patience=timedelta(0) if request.revoke_silent else prune.PATIENCE,
        unsafe_undo_delay=max(timedelta(days=request.undo_days), _longest_lock(vault)),
        keep_whole=_dear(vault) | locked_packs(vault),
        before_deletion=lambda: protected_anew(vault, events),
        compare=comparer(vault, events),
    )
    refuse_older(vault)
    events(Progress(phase="mark"))
    with engine.translated():
        if request.dry_run:
            plan = prune.plan(vault.repository, options)
            return PruneResult(
                phase="dry-run",
                round=None,
                packs_live=plan.packs_live,
                packs_condemned=len(plan.condemned),
                packs_repacked=len(plan.rewritten),
                bytes_condemned=plan.bytes_freed,
                seconds=vault.env.monotonic() - began,
            )
        done = prune.prune(vault.repository, options)
        protected_anew(vault, events)
        copy_after(vault, events)
        vault.refresh_index()  # packs were rewritten or deleted: what this vault reads next must not look for them
    return PruneResult(
        phase=done.phase,
        round=done.round,
        packs_live=done.packs_live,
        packs_condemned=done.packs_condemned,
        packs_repacked=done.packs_repacked,
        packs_deleted=done.packs_deleted,
        bytes_condemned=done.bytes_condemned,
        bytes_deleted=done.bytes_deleted,
        sessions_waiting=done.sessions_waiting,
        sessions_revoked=done.sessions_revoked,
        delete_after=done.delete_after,
        seconds=vault.env.monotonic() - began,
    )
