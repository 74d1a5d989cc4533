"""The catalogue of services: what the configuration says of each, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.config import DrillCheckSettings, ServiceSettings, Settings

__all__ = ["CRITICALITIES", "Check", "Service", "service_named", "services_of"]

CRITICALITIES = ("vital", "important", "deferrable")
"""From the most to the least critical."""


@dataclass(frozen=True, slots=True)
class Check:
    """A question to a restored service, and what its answer must be."""

    name: str
    kind: str = "query"
    """`query`, `http`, `command` or `file`."""
    query: str = ""
    database: str = ""
    path: str = ""
    command: tuple[str, ...] = ()
    equals: str = ""
    at_least: int | None = None
    drop_max: float | None = None
    """By how much the answer may be smaller than in the last drill that passed, as a fraction."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service and its objectives, in seconds."""

    name: str
    title: str = ""
    criticality: str = "important"
    rto: int = 4 * 3600
    rpo: int = 86400
    needs: tuple[str, ...] = ()
    source: str = ""
    """The label or source of its snapshots."""
    paths: tuple[str, ...] = ()
    application: str = "files"
    data: str = ""
    recovers: str = ""
    """The application whose base backup and WAL are recovered; empty: the files of the snapshot as they are."""
    programs: str = ""
    command: tuple[str, ...] = ()
    port: int = 0
    ready_seconds: int = 300
    drill_every: int = 90 * 86400
    size: int | None = None
    checks: tuple[Check, ...] = ()

    @property
    def shown(self) -> str:
        """How people call it."""
        return self.title or self.name


def services_of(settings: Settings) -> dict[str, Service]:
    """Return the configured services by name, in the order of the file."""
    return {name: _service(name, given) for name, given in settings.services.items()}


def service_named(services: Mapping[str, Service], name: str) -> Service:
    """Return one service. `UsageError` if there is none of that name."""
    found = services.get(name)
    if found is None:
        known = ", ".join(services) or "none"
        raise UsageError(f"the configuration has no service {name}", next=f"its services are: {known}.")
    return found


def _service(name: str, given: ServiceSettings) -> Service:
    return Service(
        name=name,
        title=given.title,
        criticality=given.criticality,
        rto=given.rto,
        rpo=given.rpo,
        needs=given.needs,
        source=given.source or name,
        paths=given.paths,
        application=given.application,
        data=given.data,
        recovers=given.recovers,
        programs=given.programs,
        command=given.command,
        port=given.port,
        ready_seconds=given.ready_seconds,
        drill_every=given.drill_every,
        size=given.size,
        checks=tuple(map(_check, given.checks)),
    )


def _check(given: DrillCheckSettings) -> Check:
    return Check(
        name=given.name,
        kind=given.kind,
        query=given.query,
        database=given.database,
        path=given.path,
        command=given.command,
        equals=given.equals,
        at_least=given.at_least,
        drop_max=given.drop_max,
    )
