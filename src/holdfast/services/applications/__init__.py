"""The applications that drills start on restored data, one file each; `named` finds one, a plug-in's by entry point.

A plug-in registers a class like those here under the group ``holdfast.applications`` and its name.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.services.applications.ground import Application, Ground

__all__ = ["KNOWN", "named"]

GROUP = "holdfast.applications"
KNOWN = {
    "files": "files:Files",
    "postgresql": "postgresql:PostgreSQL",
    "mariadb": "mariadb:MariaDB",
    "sqlite": "sqlite:SQLite",
    "orthanc": "orthanc:Orthanc",
    "command": "command:Command",
    "host": "host:Host",
}


def named(name: str, ground: Ground) -> Application:
    """Return an application of that name for a ground. `UsageError` if there is none."""
    where = KNOWN.get(name)
    if where is not None:
        module, _, cls = where.partition(":")
        found: Application = getattr(importlib.import_module(f"{__name__}.{module}"), cls)(ground)
        return found
    from importlib.metadata import entry_points

    for point in entry_points(group=GROUP, name=name):
        brought: Application = point.load()(ground)
        return brought
    known = ", ".join(KNOWN)
    raise UsageError(f"there is no application {name!r} for drills", next=f"those of Holdfast are: {known}.")
