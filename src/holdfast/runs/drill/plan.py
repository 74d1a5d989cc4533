"""A drill's plan: which snapshot, how much, where, how isolated, how long it will take. Deciding is apart from doing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import PathMissingError, SnapshotMissingError
from holdfast.repository.snapshots import of_source, select
from holdfast.runs.drill.compare import sample
from holdfast.runs.drill.place import check_place, free_bytes, production_folders, space_needed
from holdfast.runs.drill.verdict import forecast_of
from holdfast.runs.snapshot import refuse_to_guess
from holdfast.runs.trees import Trees, tree_path
from holdfast.services.forecast import Forecast

if TYPE_CHECKING:
    from holdfast.config import Settings
    from holdfast.repository.types import SnapshotInfo
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.drill.options import DrillOptions
    from holdfast.runs.drill.record import DrillRecord
    from holdfast.runs.results import EntryInfo
    from holdfast.services.catalogue import Service

__all__ = ["DrillPlan", "Selected", "choose", "last_answers", "locate", "plan_of", "production_of"]


@dataclass(frozen=True, slots=True)
class DrillPlan:
    """What a drill would do. Nothing was restored."""

    service: str
    title: str
    kind: str
    application: str
    snapshot: str
    snapshot_started: str
    files: int
    bytes: int
    space_needed: int
    space_free: int
    isolation: str
    """`required` or `preferred`."""
    rto: float
    forecast: Forecast | None
    checks: tuple[str, ...]
    """Names of the service's checks."""

    @property
    def fits(self) -> bool:
        """Whether there is room."""
        return self.space_needed <= self.space_free


@dataclass(frozen=True, slots=True)
class Selected:
    """The part of a snapshot that a drill restores. `entries` walks it anew at each call."""

    info: SnapshotInfo
    trees: Trees
    include: tuple[bytes, ...]
    entries: Callable[[], Iterator[EntryInfo]]
    files: int
    bytes: int
    count: int
    owner: int
    """Whom the application's data belongs to; -1 if that is not known."""

    def space_needed(self, options: DrillOptions) -> int:
        """Return the bytes of disk that a drill of it needs; on a mount only entries are sure to come."""
        return space_needed(0 if options.kind == "mounted" else self.bytes, self.count)


def choose(vault: OpenVault, service: Service, selector: str) -> SnapshotInfo:
    """Return the snapshot to drill: the selector's, or the newest of the service's source.

    `SnapshotMissingError`; `DamageError` if one that cannot be read may be the newest.
    """
    found, damaged = vault.listing()
    if selector:
        return select(found, selector)
    refuse_to_guess(damaged)
    own = of_source(found, service.source)
    if not own:
        raise SnapshotMissingError(
            f"the service {service.name} has no snapshot", next="back it up, or correct `source` of the service."
        )
    return own[-1]


def locate(
    vault: OpenVault, service: Service, info: SnapshotInfo, options: DrillOptions, sample_files: int
) -> Selected:
    """Open the snapshot's trees and measure what the service is in it. `PathMissingError` if it is not there."""
    trees = Trees(vault, info)
    wanted = tuple(tree_path(os.fsencode(path)) for path in service.paths) or (b"",)

    def walk() -> Iterator[EntryInfo]:
        for path in wanted:
            yield from trees.walk(path)

    include: tuple[bytes, ...] = tuple(path for path in wanted if path)
    entries: Callable[[], Iterator[EntryInfo]] = walk
    if options.kind == "partial":
        chosen = sample(walk(), sample_files, vault.env)
        include = tuple(entry.path for entry in chosen)
        entries = chosen.__iter__
    files = size = count = 0
    for entry in entries():
        count += 1
        if entry.kind == "file":
            files += 1
            size += entry.size
    if count == 0:
        raise PathMissingError(
            f"the snapshot holds nothing of the service {service.name}", next="correct `paths` of the service."
        )
    return Selected(info, trees, include, entries, files, size, count, _owner(trees, service))


def _owner(trees: Trees, service: Service) -> int:
    found = trees.lookup(tree_path(os.fsencode(service.data))) if service.data else None
    return found[1].uid if found is not None else -1


def production_of(vault: OpenVault, settings: Settings) -> tuple[str, ...]:
    """Return the folders that drills must neither lie in nor see."""
    own = [str(vault.state_dir.parent), *vault.store_folders()]
    data = [path for service in settings.services.values() for path in (*service.paths, service.data)]
    return production_folders([job.paths for job in settings.jobs.values()], data, [os.fsdecode(path) for path in own])


def plan_of(
    vault: OpenVault,
    settings: Settings,
    service: Service,
    options: DrillOptions,
    history: Sequence[DrillRecord],
) -> DrillPlan:
    """Plan a drill. `DrillRefusedError` if its place is refused."""
    place = check_place(options.place or settings.drill.place, production=production_of(vault, settings))
    info = choose(vault, service, options.snapshot)
    selected = locate(vault, service, info, options, settings.drill.sample_files)
    return DrillPlan(
        service=service.name,
        title=service.shown,
        kind="bare" if options.bare else options.kind,
        application=service.application,
        snapshot=info.id,
        snapshot_started=info.started.strftime("%Y-%m-%d %H:%M UTC"),
        files=selected.files,
        bytes=selected.bytes,
        space_needed=selected.space_needed(options),
        space_free=free_bytes(place),
        isolation=settings.drill.isolation,
        rto=float(service.rto),
        forecast=forecast_of([record for record in history if record.service == service.name], selected.bytes),
        checks=options.checks or tuple(check.name for check in service.checks),
    )


def last_answers(history: Sequence[DrillRecord], service: str) -> Mapping[str, str]:
    """Return what each check found in the service's last drill that passed."""
    for record in reversed(history):
        if record.service == service and record.verdict != "failed" and not record.in_part and not record.scenario:
            return {outcome.name: outcome.found for outcome in record.outcomes}
    return {}
