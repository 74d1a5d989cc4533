"""The registry of connectors: Holdfast's own, and those that other packages bring by entry points."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from holdfast.errors import ConfigError
from holdfast.sources.connectors.protocol import ENTRY_POINT_GROUP

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from holdfast.sources.connectors.protocol import ConnectorFactory

__all__ = ["factory", "kinds"]

_OWN: dict[str, str] = {
    "hooks": "hooks",
    "iris": "iris",
    "mariadb": "mariadb",
    "mongodb": "mongodb",
    "openldap": "openldap",
    "oracle": "oracle",
    "orthanc": "orthanc",
    "postgresql": "postgresql",
    "postgresql-dump": "postgresql.logical",
    "redis": "redis",
    "sqlite": "sqlite",
    "sqlserver": "sqlserver",
    "volume": "volume",
}
"""`kind`: module of this package that holds its `FACTORY`. One line per connector, in alphabetical order."""


def kinds() -> tuple[str, ...]:
    """Return the names of all connectors that are installed."""
    return tuple(sorted({*_OWN, *(point.name for point in _others())}))


def factory(kind: str) -> ConnectorFactory:
    """Return a kind's factory; only now is its module imported. `ConfigError` if there is no such connector."""
    if kind in _OWN:
        module = importlib.import_module(f"{__name__}.{_OWN[kind]}")
        own: ConnectorFactory = module.FACTORY
        return own
    for point in _others():
        if point.name == kind:
            found: ConnectorFactory = point.load()
            return found
    raise ConfigError(f"there is no connector {kind}", next=f"there are: {', '.join(kinds())}.")


def _others() -> tuple[EntryPoint, ...]:
    """Return the entry points of other packages. Reading them takes time: only when it is needed."""
    from importlib.metadata import entry_points

    return tuple(entry_points(group=ENTRY_POINT_GROUP))
