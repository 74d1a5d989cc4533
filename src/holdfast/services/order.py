"""The order in which services come back: what a service needs first, the vital before the rest. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from holdfast.errors import UsageError
from holdfast.services.catalogue import CRITICALITIES, Service, service_named

__all__ = ["closure", "waves"]


def closure(services: Mapping[str, Service], wanted: Iterable[str]) -> dict[str, Service]:
    """Return the wanted services and all that they need, directly or not. `UsageError` for a name that is no service."""
    found: dict[str, Service] = {}
    left = list(wanted)
    while left:
        name = left.pop()
        if name not in found:
            found[name] = service_named(services, name)
            left += found[name].needs
    return found


def waves(services: Mapping[str, Service], wanted: Iterable[str]) -> tuple[tuple[Service, ...], ...]:
    """Return the wanted services and what they need in waves: each wave needs only earlier ones, so it can run in parallel.

    Within a wave the most critical come first, then those with the shortest objective. `UsageError` for a circle.
    """
    chosen = closure(services, wanted)
    sorter = TopologicalSorter({name: service.needs for name, service in chosen.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        raise UsageError(f"services need each other in a circle: {circle}", next="break the circle.") from None
    found = []
    while sorter.is_active():
        ready = sorter.get_ready()
        found.append(tuple(sorted((chosen[name] for name in ready), key=_urgency)))
        sorter.done(*ready)
    return tuple(found)


def _urgency(service: Service) -> tuple[int, int, str]:
    rank = CRITICALITIES.index(service.criticality) if service.criticality in CRITICALITIES else len(CRITICALITIES)
    return (rank, service.rto, service.name)
