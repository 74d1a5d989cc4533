"""PostgreSQL's own client programs, of the server's version or newer."""

from __future__ import annotations

import shutil
from pathlib import Path

from holdfast.errors import DriverMissingError

__all__ = ["client_programs"]


def client_programs(major: int, configured: str, name: str) -> Path:
    """Return the folder that has a client program: `configured`, else one of the usual ones. `DriverMissingError`."""
    for place in (configured,) if configured else (f"/usr/lib/postgresql/{major}/bin", f"/usr/pgsql-{major}/bin"):
        if (Path(place) / name).is_file():
            return Path(place)
    found = shutil.which(name)
    if found is None or configured:
        raise DriverMissingError(
            f"{name} of PostgreSQL {major} is not installed here", next=f"install postgresql-client-{major}."
        )
    return Path(found).parent
