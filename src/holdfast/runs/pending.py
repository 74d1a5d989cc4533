"""What waits because a store was down, and bringing it to where it belongs, in the order in which it was stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from holdfast.base.events import Alert, Events, Note, ignore
from holdfast.classes.routing import PackFacts, place
from holdfast.errors import DamageError, Retry, Safety, StoreError
from holdfast.repository.copies import drain_pack
from holdfast.repository.placed import PlacedStore
from holdfast.repository.stock import known_facts
from holdfast.runs.tier_results import Pending, StoreWaiting

if TYPE_CHECKING:
    from holdfast.runs.assembly import OpenVault

__all__ = ["drain", "overdue_alert", "pending", "waiting"]

ALERT = "store-outage"


def waiting(store: PlacedStore) -> tuple[PackFacts, ...]:
    """Return the packs that lie in the spool, or on fewer stores than asked for since one was down, in order.

    What a policy asks for that was changed since is no outage: a migration brings it there, within its budget.
    """
    return tuple(pack for pack in known_facts(store) if pack.spooled or (pack.waits and _missing(store, pack)))


def _missing(store: PlacedStore, pack: PackFacts) -> bool:
    """Return whether a pack has fewer copies than asked for and none of them is known to be bad: it waits, it is not lost."""
    wanted = place(store.book, pack.class_name, age_seconds=pack.age_seconds, restored_ago=pack.restored_ago)
    first = place(store.book, pack.class_name)
    there = len(pack.on & store.book.allowed(pack.class_name))
    return not pack.bad and there < min(len(wanted.stores), len(first.stores))


def pending(vault: OpenVault) -> Pending | None:
    """Return what waits on this host, by its ledger; None for a vault with one store. Asks no store."""
    store = vault.store
    if not isinstance(store, PlacedStore) or vault.tiers is None:
        return None
    packs = waiting(store)
    spooled = [pack for pack in packs if pack.spooled and not pack.on]
    by_store: dict[str, list[PackFacts]] = {}
    for pack in packs:
        for name in place(store.book, pack.class_name).stores:
            if name not in pack.on:
                by_store.setdefault(name, []).append(pack)
    oldest = max((pack.age_seconds for pack in packs), default=0.0)
    return Pending(
        packs=len(packs),
        bytes=sum(pack.size for pack in packs),
        spooled_packs=len(spooled),
        spooled_bytes=sum(pack.size for pack in spooled),
        spool_bytes_max=store.spool.bytes_max,
        oldest_seconds=oldest,
        overdue=bool(packs) and oldest >= vault.tiers.spool_alarm_seconds,
        stores=tuple(
            StoreWaiting(name, len(each), sum(pack.size for pack in each)) for name, each in sorted(by_store.items())
        ),
    )


def drain(vault: OpenVault, *, events: Events = ignore, stopped: Callable[[], bool] = lambda: False) -> int:
    """Bring what waits to where it belongs; return the packs that arrived. A store that is still down stops nothing.

    Raises an alert (`store-outage`) for what has waited too long and waits still.
    """
    store = vault.store
    if not isinstance(store, PlacedStore):
        return 0
    packs = waiting(store)
    for pack in packs:
        if stopped():
            break
        try:
            drain_pack(store, pack)
        except (StoreError, DamageError) as error:
            events(Note(f"a pack that waits could not be moved: {error.what}", error.code))
            continue
    left = pending(vault)
    done = len(packs) - (left.packs if left is not None else 0)
    if done > 0:
        events(Note(f"{done} packs that waited for a store are where they belong now"))
    if left is not None and left.overdue:
        events(overdue_alert(left))
    return max(0, done)


def overdue_alert(left: Pending) -> Alert:
    """Return the alert of what has waited longer than `spool.alarm_seconds`."""
    names = ", ".join(each.store for each in left.stores)
    return Alert(
        ALERT,
        names,
        f"{left.packs} packs have waited {left.oldest_seconds / 3600:.1f} hours for {names};"
        f" {left.spooled_packs} of them lie on this host only",
        Safety.AT_RISK if left.spooled_packs else Safety.DEGRADED,
        Retry.LATER,
        "what waits is sealed, listed and readable from this host.",
        "bring the store back, then run `holdfast migrate`; or name another store for the class.",
    )
