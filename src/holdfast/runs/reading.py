"""What a restore reads from which store, what it takes and costs; and asking for what lies cold before it can be read."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.errors import StoreRefusedError
from holdfast.repository.copies import readable_now
from holdfast.repository.marking import SetReader
from holdfast.repository.placed import PlacedStore
from holdfast.repository.spool import SPOOL
from holdfast.runs.restore_paths import resolved
from holdfast.runs.tier_results import RestorePlan, StoreReading, ThawResult
from holdfast.runs.trees import Trees
from holdfast.stores.protocol import Capability, Readiness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.repository.types import SnapshotInfo
    from holdfast.runs.assembly import OpenVault
    from holdfast.stores.protocol import Store

__all__ = ["paths_of", "refuse_cold", "restore_plan", "thaw"]

GIB = 1 << 30
THOUSAND = 1000
LISTED = frozenset({"", "inline", "pieces", "page-map"})
"""Contents whose locations stand in the entry itself."""
THAW_SECONDS = 12 * 3600
"""How long a thaw is taken to last where the store's tier does not say."""


def restore_plan(
    vault: OpenVault, info: SnapshotInfo, *, include: Sequence[bytes] = (), classes: frozenset[int] | None = None
) -> RestorePlan:
    """Return what a restore would read; see `Snapshot.restore_plan`."""
    with engine.translated():
        found = _packs_of_paths(vault, info, include, classes) if include else None
        packs = _packs_of_snapshot(vault, info, classes) if found is None else found
        return _costed(vault, info, packs, whole=found is None)


def _packs_of_snapshot(vault: OpenVault, info: SnapshotInfo, classes: frozenset[int] | None) -> dict[str, int]:
    """Return every pack that a snapshot needs, with its size."""
    index, reader = vault.whole_index(), SetReader(vault.repository)
    found: dict[str, int] = {}
    for part in info.classes:
        if classes is None or part.class_id in classes:
            for origin, ordinal in reader.read(part.refs):
                place = index.find_segment(origin, ordinal)
                if place is not None:
                    found[_name(place)] = place.pack_bytes
    return found


def _packs_of_paths(
    vault: OpenVault, info: SnapshotInfo, include: Sequence[bytes], classes: frozenset[int] | None
) -> dict[str, int] | None:
    """Return the packs that some paths need; None if that cannot be told from their entries alone."""
    trees = Trees(vault, info, classes)
    index = vault.whole_index()
    found: dict[str, int] = {}
    for path in resolved(trees, include):
        for tree in trees.trees.values():
            for entry in tree.walk(path):
                if entry.content not in LISTED:
                    return None
                for location in entry.locations():
                    origin, segment, _ = location.split(":")
                    place = index.find_segment(bytes.fromhex(origin), int(segment))
                    if place is not None:
                        found[_name(place)] = place.pack_bytes
    return found


def _name(place: engine.SegmentPlace) -> str:
    sha = place.pack.hex()
    return f"{'data' if place.kind == 1 else 'meta'}/{sha[:2]}/{sha}"


def _costed(vault: OpenVault, info: SnapshotInfo, packs: dict[str, int], *, whole: bool) -> RestorePlan:
    by_store: dict[str, list[str]] = {}
    missing = 0
    for name in sorted(packs):
        where = _cheapest(vault, name)
        if where is None:
            missing += 1
        else:
            by_store.setdefault(where, []).append(name)
    stores = tuple(_reading(vault, where, names, packs) for where, names in sorted(by_store.items()))
    times = [store.seconds for store in stores]
    thaw_seconds = max((store.thaw_seconds for store in stores if store.thaw_packs), default=0)
    return RestorePlan(
        snapshot=info.id,
        packs=len(packs),
        bytes=sum(store.bytes for store in stores),
        requests=sum(store.requests for store in stores),
        seconds=None if None in times else thaw_seconds + sum(seconds or 0.0 for seconds in times),
        cost=sum(store.cost for store in stores),
        missing=missing,
        whole_snapshot=whole,
        stores=stores,
    )


def _cheapest(vault: OpenVault, name: str) -> str | None:
    """Return the store that a pack is read from."""
    store = vault.store
    if isinstance(store, PlacedStore):
        return store.cheapest(name)
    return "home" if store.size(name) is not None else None


def _reading(vault: OpenVault, where: str, names: list[str], sizes: dict[str, int]) -> StoreReading:
    total = sum(sizes[name] for name in names)
    facts = vault.tiers.book.stores.get(where) if vault.tiers is not None else None
    cold = [name for name in names if not _ready(vault, where, name)]
    speed = facts.read_bytes_per_s if facts is not None else None
    return StoreReading(
        store=where,
        tier=facts.tier if facts is not None else "hot",
        packs=len(names),
        bytes=total,
        requests=len(names),
        thaw_packs=len(cold),
        thaw_seconds=(facts.thaw_seconds or THAW_SECONDS) if facts is not None and cold else 0,
        seconds=None if speed is None else total / speed,
        cost=0.0 if facts is None else facts.price_per_gib * total / GIB + facts.price_per_1000 * len(names) / THOUSAND,
    )


def _ready(vault: OpenVault, where: str, name: str) -> bool:
    return where == SPOOL or readable_now(_store(vault, where), name)


def _store(vault: OpenVault, where: str) -> Store:
    """Return the store that policies call so; a vault with one store has only that."""
    return vault.store.stores[where] if isinstance(vault.store, PlacedStore) else vault.store


def refuse_cold(vault: OpenVault, info: SnapshotInfo, include: Sequence[bytes], classes: frozenset[int] | None) -> None:
    """Raise `StoreRefusedError` before anything is written if a restore would need what must be thawed first."""
    every = vault.store.stores.values() if isinstance(vault.store, PlacedStore) else (vault.store,)
    if not any(Capability.STORAGE_CLASS in each.capabilities for each in every):
        return
    plan = restore_plan(vault, info, include=include, classes=classes)
    if plan.thaw_packs:
        raise StoreRefusedError(
            f"{plan.thaw_packs} of the {plan.packs} packs that are needed lie cold and cannot be read yet",
            safe="nothing was written; every snapshot is as it was.",
            next="ask for them with `holdfast restore … --thaw`, and restore when they are ready; `--dry-run` says what"
            " it takes.",
            packs=plan.thaw_packs,
        )


def thaw(
    vault: OpenVault,
    info: SnapshotInfo,
    *,
    include: Sequence[bytes] = (),
    classes: frozenset[int] | None = None,
    days: int = 7,
) -> ThawResult:
    """Ask for what lies cold; see `Snapshot.thaw`."""
    asked = thawing = ready = longest = 0
    with engine.translated():
        found = _packs_of_paths(vault, info, include, classes) if include else None
        packs = _packs_of_snapshot(vault, info, classes) if found is None else found
    for name in sorted(packs):
        where = _cheapest(vault, name)
        if where is None or _ready(vault, where, name):
            ready += where is not None
            continue
        store, facts = _store(vault, where), vault.tiers.book.stores.get(where) if vault.tiers is not None else None
        longest = max(longest, (facts.thaw_seconds if facts is not None else 0) or THAW_SECONDS)
        if store.storage_state(name).readiness is Readiness.THAWING:
            thawing += 1
            continue
        store.thaw(name, days)
        asked += 1
    after = vault.env.now() + timedelta(seconds=longest) if asked or thawing else None
    return ThawResult(asked, thawing, ready, after)


def paths_of(include: Sequence[str | bytes]) -> tuple[bytes, ...]:
    """Return includes as raw paths."""
    return tuple(os.fsencode(pattern) for pattern in include)
