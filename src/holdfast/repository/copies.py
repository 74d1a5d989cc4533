"""Copying packs between stores: copy, prove, note, and only then delete. A crash after any line loses nothing.

What is deleted is deleted from one store, after a copy where the pack belongs was read back and hashed (its size is all that
can be asked of a store whose objects must be thawed first).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from holdfast.base.values import dataclass
from holdfast.classes.routing import MoveStep, PackFacts, place
from holdfast.errors import (
    ObjectMissingError,
    StoreError,
    StoreFullError,
    StoreRetainedError,
    StoreUnreachableError,
)
from holdfast.repository.objects import sha256
from holdfast.repository.placed import PlacedStore, pack_name, sha_of
from holdfast.repository.spool import SPOOL
from holdfast.stores.protocol import Capability, Readiness

if TYPE_CHECKING:
    from holdfast.stores.protocol import Store

__all__ = ["StepDone", "apply_step", "drain_pack", "prove", "readable_now", "release_spooled", "replace_copy"]


@dataclass(frozen=True, slots=True)
class StepDone:
    """What a step did."""

    copied_bytes: int
    copies: int
    deleted: int
    retained: int
    """Old copies that their store does not delete yet (object lock): they stay, and the next migration tries again."""


def readable_now(store: Store, name: str) -> bool:
    """Return whether an object can be read without thawing it first."""
    if Capability.STORAGE_CLASS not in store.capabilities:
        return True
    return store.storage_state(name).readiness is Readiness.READY


def prove(store: PlacedStore, where: str, name: str, size: int) -> bool:
    """Return whether a store's copy is what its name says; note the answer in the ledger.

    Of a copy that must be thawed first only the size is asked; it does not count as read back.
    """
    moment: float | None = None
    try:
        if readable_now(store.stores[where], name):
            sound = sha256(store.read_copy(where, name)) == sha_of(name)
            moment = store.env.now().timestamp()
        else:
            sound = store.stores[where].size(name) == size
    except ObjectMissingError:
        sound = False
    if sound:
        store.placements.note_copy(sha_of(name), where, verified_at=moment)
    else:
        store.placements.note_bad(sha_of(name), where)
    return sound


def replace_copy(store: PlacedStore, where: str, name: str, data: bytes) -> None:
    """Make a store's copy sound. `data` is whole: it was hashed a moment ago. What is there and wrong goes first."""
    if store.stores[where].size(name) is not None:
        if prove(store, where, name, len(data)):
            return
        store.delete_copy(where, name)
    store.put_copy(where, name, data)
    if not prove(store, where, name, len(data)):
        raise StoreUnreachableError(
            f"store {where} did not keep a pack as it was put",
            safe="the pack's other copies are whole; nothing was deleted.",
            next="check that store's disk and network, then run the same command again.",
        )


@contextmanager
def _failure_noted(store: PlacedStore, where: str) -> Iterator[None]:
    """Note that a store does not answer or is full: the steps that follow do not wait for it again."""
    try:
        yield
    except (StoreUnreachableError, StoreFullError) as error:
        store.note_failure(where, error)
        raise


def apply_step(store: PlacedStore, step: MoveStep, kept: frozenset[str]) -> StepDone:
    """Do one step of a plan. `kept` are the stores with a copy that stays: one is proved before anything is deleted."""
    name = pack_name(step.pack)
    copied = 0
    if step.copy_to:
        data = store.sound_copy(name)
        for where in step.copy_to:
            with _failure_noted(store, where):
                replace_copy(store, where, name, data)
            copied += 1
    elif not any(prove(store, where, name, step.size) for where in sorted(kept)):
        return StepDone(0, 0, 0, 0)  # nothing stays that is whole: the next plan sees what was noted
    deleted = retained = 0
    for where in step.delete_from:
        try:
            with _failure_noted(store, where):
                store.delete_copy(where, name)
            deleted += 1
        except StoreRetainedError:
            retained += 1
    release_spooled(store, name)
    return StepDone(copied * step.size, copied, deleted, retained)


def release_spooled(store: PlacedStore, name: str) -> None:
    """Take a pack out of the spool: it lies where it belongs, and a copy there was proved."""
    store.spool.delete(name)
    store.placements.drop_copy(sha_of(name), SPOOL)


def drain_pack(store: PlacedStore, pack: PackFacts) -> int:
    """Bring one pack that waits to the stores of its first day; return how many copies were made.

    A store that is down is left for the next time. The pack leaves the spool when its last copy is proved.
    """
    wanted = place(store.book, pack.class_name)
    missing = [where for where in wanted.stores if where not in pack.on]
    name = pack_name(pack.name)
    made = 0
    data = b""
    for where in missing:
        if store.is_down(where):
            continue
        data = data or store.sound_copy(name)
        try:
            replace_copy(store, where, name, data)
        except StoreError as error:
            store.note_failure(where, error)
            continue
        made += 1
    if made == len(missing):
        store.placements.note_waiting(pack.name, waits=False)
        if pack.spooled:
            release_spooled(store, name)
    return made
