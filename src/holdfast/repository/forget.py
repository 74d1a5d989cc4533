"""Forget: tombstones (docs/format/protocol.md). Decides by `retention`, acts by ids; space comes back by prune."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from holdfast.errors import (
    ClassForgottenError,
    DamageError,
    HeldError,
    InternalError,
    PinnedError,
    RetentionError,
    SnapshotMissingError,
)
from holdfast.repository import names
from holdfast.repository.bodies import AdmissionBody, DroppedBody, EnvelopeBody, ForgottenBody
from holdfast.repository.decisions import is_admitted, is_forgotten
from holdfast.repository.enrolment import expire
from holdfast.repository.floors import kept_until, read_floors
from holdfast.repository.holds import read_hold
from holdfast.repository.listing import (
    envelope_infos,
    list_snapshots,
    read_dropped,
    read_envelopes,
)
from holdfast.repository.retention import ForgetDecision, ForgetPlan, RetentionPolicy, counted_times, pins, plan_forget
from holdfast.repository.roles import PRUNE
from holdfast.stores.protocol import delete_unless_retained

if TYPE_CHECKING:
    from holdfast.repository.repository import Repository
    from holdfast.repository.types import SnapshotInfo


def admit(repository: Repository) -> int:
    """Give every snapshot that has none its admission time; return how many. The pruner's side does so at each visit."""
    if repository.is_root:
        expire(repository)
    listed = envelope_infos(repository)  # once: another pruner may forget one of them at any moment
    waiting = [s for s in listed if s.admitted is None]
    times = counted_times(listed, repository.env.now()) if waiting else {}
    home, signer = repository.home, repository.signer(PRUNE)
    return sum(
        home.create_or_replace(
            f"admission/{s.id}", AdmissionBody(times[s.id]), signer, functools.partial(is_admitted, home, s.id)
        )
        for s in waiting
    )


def plan(
    repository: Repository, policy: RetentionPolicy, snapshots: Sequence[SnapshotInfo] | None = None
) -> ForgetPlan:
    """Return what a policy would forget of the given snapshots (all, by default). Nothing changes."""
    chosen = list_snapshots(repository)[0] if snapshots is None else snapshots
    return plan_forget(chosen, policy, repository.env.now())


def plan_ids(repository: Repository, snapshots: Sequence[str], classes: frozenset[str] = frozenset()) -> ForgetPlan:
    """Return the plan that forgets snapshots, or some classes of them; one that has no other class goes as a whole.

    `UsageError` for a class that the vault does not have; `ClassForgottenError` for one that a snapshot has no more.
    """
    if not classes:
        return ForgetPlan(tuple(ForgetDecision(snapshot, keep=False, reasons=()) for snapshot in snapshots))
    for name in sorted(classes):
        repository.class_id(name)
    infos = {info.id: info for info in envelope_infos(repository)}
    decisions = []
    for snapshot in snapshots:
        if snapshot not in infos:
            raise SnapshotMissingError(f"snapshot {snapshot} cannot be read: it is forgotten as a whole or not at all")
        require_classes(infos[snapshot], classes)
        here = {part.class_name for part in infos[snapshot].classes}
        left = here - classes
        decisions.append(
            ForgetDecision(
                snapshot,
                keep=bool(left),
                reasons=("other-classes",) if left else (),
                dropped=tuple(sorted(here & classes)) if left else (),
            )
        )
    return ForgetPlan(tuple(decisions))


def require_classes(info: SnapshotInfo, classes: frozenset[str]) -> None:
    """`ClassForgottenError` if a class that is asked for was forgotten in a snapshot."""
    gone = sorted({part.class_name for part in info.dropped} & classes)
    if gone:
        raise ClassForgottenError(f"snapshot {info.id} has no {', '.join(gone)} any more: forgotten by retention")


def apply(repository: Repository, plan: ForgetPlan, *, reason: str = "retention") -> tuple[str, ...]:
    """Forget what a plan says; return the ids. Idempotent: a crash anywhere is finished by the next call.

    `PinnedError`, before anything is forgotten, if the last good snapshot of a source with a suspicious one is among them.
    """
    admit(repository)
    finish_forgotten(repository)
    _refuse_pinned(repository, plan.forget)
    for snapshot in plan.forget:
        _forget(repository, snapshot, reason=reason)
    for decision in plan.decisions:
        for class_name in decision.dropped:
            drop_class(repository, decision.snapshot, repository.class_id(class_name), reason=reason)
    return plan.forget


def drop_class(repository: Repository, snapshot: str, class_id: int, *, reason: str) -> None:
    """Forget one class of a snapshot, whose other classes stay whole: its tombstone first, then its part.

    The part of the main class stays, for it says what the whole snapshot is. Refused as :func:`forget` is. Idempotent.
    """
    _refuse_pinned(repository, (snapshot,))
    sha = _require_forgettable(repository, snapshot)
    name = names.numbered("dropped", snapshot, str(class_id))
    home, stone = repository.home, DroppedBody(class_id, reason, sha)

    def stands() -> bool:
        return class_id in read_dropped(home).get(snapshot, ())

    if not home.create_or_replace(name, stone, repository.signer(PRUNE), stands):
        raise InternalError(f"object {name} is taken by bytes that are no tombstone")
    finish_dropped(repository)


def finish_dropped(repository: Repository) -> None:
    """Delete the parts of forgotten classes, main parts aside: what a crash left, too."""
    dropped = read_dropped(repository.home)
    for snapshot in read_envelopes(repository.home).committed if dropped else ():
        for class_id in dropped.get(snapshot.id, frozenset()) - {snapshot.main}:
            delete_unless_retained(repository.store, names.part(snapshot.id, class_id))


def forget(repository: Repository, snapshot: str, *, reason: str) -> None:
    """Forget one snapshot: the tombstone first, then its envelope, then its parts.

    `HeldError` while it is held, `RetentionError` before its `retain_until`, `PinnedError` while it is the last good one
    before a suspicious one that nobody released. A snapshot whose envelope cannot be read
    can be forgotten too: that is how a lost one stops holding up a prune.
    """
    _refuse_pinned(repository, (snapshot,))
    _forget(repository, snapshot, reason=reason)


def _refuse_pinned(repository: Repository, chosen: Sequence[str]) -> None:
    """Refuse to take what suspicious snapshots pin, whether or not these go, too: they are released first, or go first."""
    for suspect, good in pins(envelope_infos(repository)) if chosen else ():
        if good in chosen:
            raise PinnedError(f"snapshot {good} is the last good one of its source before the suspicious {suspect}")


def _forget(repository: Repository, snapshot: str, *, reason: str) -> None:
    home = repository.home
    signer = repository.signer(PRUNE)
    sha = _require_forgettable(repository, snapshot)
    name = f"forgotten/{snapshot}"
    stone = ForgottenBody(reason, sha)
    if not home.create_or_replace(name, stone, signer, lambda: is_forgotten(home, snapshot)):
        raise InternalError(f"object {name} is taken by bytes that are no tombstone")
    remove_content(repository, snapshot)


def _require_forgettable(repository: Repository, snapshot: str) -> str:
    """Return the SHA of a snapshot's envelope, empty if it cannot be read. `HeldError`, `RetentionError`."""
    home = repository.home
    hold = read_hold(home, snapshot)
    if hold.held:
        raise HeldError(f"snapshot {snapshot} is under a legal hold")
    _refuse_below_floor(repository, snapshot)
    sha = ""
    try:
        read, body = home.read(f"snapshot/{snapshot}", EnvelopeBody)
        sha = read.sha
        if body.retain_until is not None and body.retain_until > repository.env.now():
            raise RetentionError(f"snapshot {snapshot} must be retained until {body.retain_until:%Y-%m-%d %H:%M} UTC")
    except DamageError:
        pass
    return sha


def _refuse_below_floor(repository: Repository, snapshot: str) -> None:
    """Refuse what the vault's own minimum retention keeps."""
    floors = read_floors(repository.home)
    info = next((s for s in envelope_infos(repository) if s.id == snapshot), None) if floors else None
    if info is not None and kept_until(info, floors) > repository.env.now():
        until = kept_until(info, floors)
        raise RetentionError(
            f"the vault's minimum retention keeps snapshot {snapshot} until {until:%Y-%m-%d %H:%M} UTC"
        )


def remove_content(repository: Repository, snapshot: str) -> None:
    """Delete a forgotten or revoked snapshot's envelope, then its parts. Reference sets go by prune.

    What its store retains stays until a later prune finds the lock ended: the tombstone counts, not the absence.
    """
    store = repository.store
    delete_unless_retained(store, f"snapshot/{snapshot}")
    for info in list(store.list(f"part/{snapshot}/")):
        delete_unless_retained(store, info.name)


def finish_forgotten(repository: Repository) -> None:
    """Finish what a crash interrupted: delete what forgotten snapshots left."""
    home = repository.home
    left = set(home.ids("snapshot")) | set(home.ids("part"))
    for snapshot in left.intersection(home.ids("forgotten")):
        if is_forgotten(home, snapshot):
            remove_content(repository, snapshot)
    finish_dropped(repository)
