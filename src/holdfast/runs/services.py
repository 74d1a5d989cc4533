"""A service restored for real: in the order of what it needs, in parallel where nothing waits for another, resumable.

Each service goes to a folder of its own below the target; a restore that was interrupted goes on where it stopped, and one
that is complete is marked and not done again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.base.events import Note, Progress, ignore
from holdfast.errors import Interrupted, TargetInsideVaultError, UsageError
from holdfast.runs.drill.options import DrillOptions
from holdfast.runs.drill.plan import choose, locate
from holdfast.runs.recovery import RecoveryTarget, prepare_recovery
from holdfast.runs.restore import RestoreRequest, run_restore
from holdfast.services.order import waves

if TYPE_CHECKING:
    from holdfast.base.events import Event, Events
    from holdfast.config import Config
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.drill.plan import Selected
    from holdfast.runs.options import Cancel, Limits
    from holdfast.services.catalogue import Service

__all__ = ["RestoredService", "ServiceRestore", "restore_services"]

PARALLEL_MAX = 4
DONE = ".holdfast-service-restored"
"""Marks a service's folder whose restore is complete: it holds the snapshot's id."""


@dataclass(frozen=True, slots=True)
class RestoredService:
    """One service that was restored, or would be."""

    service: str
    wave: int
    snapshot: str
    files: int
    bytes: int
    seconds: float
    findings: int
    damaged: bool
    resumed: bool
    """It had been restored completely before."""


@dataclass(frozen=True, slots=True)
class ServiceRestore:
    """A restore of services in the order of their needs."""

    services: tuple[RestoredService, ...]
    seconds: float
    dry_run: bool = False

    @property
    def exit_code(self) -> int:
        """0 complete, 3 partial, 4 damage."""
        if any(service.damaged for service in self.services):
            return 4
        return 3 if any(service.findings for service in self.services) else 0


@dataclass(slots=True)
class _Progress:
    """One progress for all: bytes of every service against the total, called from one thread at a time."""

    events: Events
    files_total: int
    bytes_total: int
    began: float
    vault: OpenVault
    lock: threading.Lock
    done: dict[str, tuple[int, int]]

    def of(self, name: str) -> Events:
        """Return the callback of one service."""

        def callback(event: Event) -> None:
            if isinstance(event, Progress):
                self.reached(name, event.files, event.bytes)
            else:
                with self.lock:
                    self.events(event)

        return callback

    def reached(self, name: str, files: int, size: int) -> None:
        """Say how far all are together, now that one service is so far."""
        with self.lock:
            self.done[name] = (files, size)
            all_files, all_bytes = (sum(part[place] for part in self.done.values()) for place in (0, 1))
            self.events(
                Progress(
                    phase="restore",
                    seconds=self.vault.env.monotonic() - self.began,
                    files=all_files,
                    bytes=all_bytes,
                    files_total=self.files_total,
                    bytes_total=self.bytes_total,
                )
            )


def restore_services(
    vault: OpenVault,
    config: Config | None,
    names: Sequence[str],
    to: str,
    *,
    needs: bool = True,
    dry_run: bool = False,
    limits: Limits | None = None,
    events: Events = ignore,
    stop: Cancel | None = None,
) -> ServiceRestore:
    """Restore services and what they need; see `Vault.restore_service`."""
    from holdfast.runs.drill.drills import settings_of
    from holdfast.services.catalogue import services_of

    began = vault.env.monotonic()
    if vault.owns(os.fsencode(os.path.abspath(to))):
        raise TargetInsideVaultError("the target lies in the vault or in Holdfast's own state")
    services = services_of(settings_of(config))
    if not names:
        raise UsageError("no service was named")
    order = waves(services, names)
    if not needs:
        order = tuple(wave for each in order if (wave := tuple(s for s in each if s.name in names)))
    located = {
        service.name: locate(vault, service, choose(vault, service, ""), DrillOptions(), 0)
        for each in order
        for service in each
    }
    if dry_run:
        planned = [
            _result(service, number, located[service.name]) for number, each in enumerate(order, 1) for service in each
        ]
        return ServiceRestore(tuple(planned), vault.env.monotonic() - began, dry_run=True)
    progress = _Progress(
        events,
        sum(found.files for found in located.values()),
        sum(found.bytes for found in located.values()),
        began,
        vault,
        threading.Lock(),
        {},
    )
    os.makedirs(to, mode=0o700, exist_ok=True)
    done: list[RestoredService] = []
    for number, each in enumerate(order, 1):
        events(Note(f"wave {number} of {len(order)}: {', '.join(service.name for service in each)}", "service-wave"))
        done += _wave(vault, each, number, located, to, progress, limits, stop)
        if stop is not None and stop.is_set():
            raise Interrupted(
                safe="services that are complete are marked and whole; the rest goes on when called again."
            )
    return ServiceRestore(tuple(done), vault.env.monotonic() - began)


def _wave(
    vault: OpenVault,
    services: Sequence[Service],
    number: int,
    located: dict[str, Selected],
    to: str,
    progress: _Progress,
    limits: Limits | None,
    stop: Cancel | None,
) -> list[RestoredService]:
    """Restore a wave's services in parallel, the most critical first. The first error is raised when all have ended."""

    def one(service: Service) -> RestoredService:
        return _one(
            vault, service, number, located[service.name], os.path.join(to, service.name), progress, limits, stop
        )

    with ThreadPoolExecutor(max_workers=min(PARALLEL_MAX, len(services))) as pool:
        return [future.result() for future in [pool.submit(one, service) for service in services]]


def _one(
    vault: OpenVault,
    service: Service,
    number: int,
    found: Selected,
    target: str,
    progress: _Progress,
    limits: Limits | None,
    stop: Cancel | None,
) -> RestoredService:
    mark = os.path.join(target, DONE)
    if _marked(mark) == found.info.id:
        progress.reached(service.name, found.files, found.bytes)
        return replace(_result(service, number, found), resumed=True)
    if service.recovers:
        return _recovered(vault, service, number, found, target, progress, stop)
    request = RestoreRequest(to=os.fsencode(target), include=found.include)
    result = run_restore(vault, found.info, request, events=progress.of(service.name), limits=limits, stop=stop)
    progress.reached(service.name, found.files, found.bytes)
    if not result.partial and not result.damaged:
        with open(mark, "x") as file:
            file.write(found.info.id)
    return RestoredService(
        service=service.name,
        wave=number,
        snapshot=found.info.id,
        files=result.files,
        bytes=result.bytes,
        seconds=result.seconds,
        findings=len(result.findings) + result.classes_missing,
        damaged=result.damaged,
        resumed=False,
    )


def _recovered(
    vault: OpenVault,
    service: Service,
    number: int,
    found: Selected,
    target: str,
    progress: _Progress,
    stop: Cancel | None,
) -> RestoredService:
    """Bring a PostgreSQL back with its WAL, ready to be started; it recovers to the end of the WAL when it is."""
    prepared = prepare_recovery(
        vault,
        vault.snapshots(),
        service.recovers,
        Path(target),
        target=RecoveryTarget("latest"),
        selected=found.info,
        events=progress.of(service.name),
        stop=stop,
    )
    progress.reached(service.name, found.files, found.bytes)
    with open(os.path.join(target, DONE), "x") as file:
        file.write(found.info.id)
    return replace(_result(service, number, found), bytes=prepared.bytes, seconds=prepared.restore_seconds)


def _result(service: Service, number: int, found: Selected) -> RestoredService:
    return RestoredService(
        service=service.name,
        wave=number,
        snapshot=found.info.id,
        files=found.files,
        bytes=found.bytes,
        seconds=0.0,
        findings=0,
        damaged=False,
        resumed=False,
    )


def _marked(mark: str) -> str:
    try:
        with open(mark) as file:
            return file.read(64)
    except (FileNotFoundError, NotADirectoryError):
        return ""
