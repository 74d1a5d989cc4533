"""Settings of applications: servers that are made still and captured by a connector."""

from __future__ import annotations

from typing import Literal

from pydantic.types import StrictInt

from holdfast.config.schema.fields import Name, Secret, Section, Text, option

__all__ = ["ApplicationSettings"]


class ApplicationSettings(Section):
    """An application on this host, by the name that jobs and evidence know it by."""

    connector: Name = option(..., "The kind of application; `holdfast connectors list` names them all.")
    host: Text | None = option(None, "Where it listens; for PostgreSQL also the folder of its socket.")
    port: StrictInt | None = option(None, "The port it listens on; without one, the usual one.", ge=1, le=65535)
    user: Text | None = option(None, "The account that was made for backups: see `holdfast connectors grants NAME`.")
    password: Secret | None = option(
        None,
        "The account's password, as `file:/path` or `env:NAME`; none where the system vouches for it.",
        unit="reference",
    )
    database: Text | None = option(None, "The database to connect to.")
    path: Text | None = option(None, "The application's folder, file or socket, where it cannot be asked for it.")
    url: Text | None = option(None, "The address of its web interface.")
    options: dict[Name, Text] = option({}, "Settings of this kind of connector only; docs/connectors.md lists them.")
    acquire_ms: StrictInt = option(
        250, "How long it may take until the application stands still.", unit="milliseconds", ge=1, le=600_000
    )
    hold_ms: StrictInt = option(
        500,
        "How long the application may stand still. Then it is thawed, whatever happens.",
        unit="milliseconds",
        ge=1,
        le=600_000,
    )
    attempts: StrictInt = option(
        2, "How often a freeze is tried before `degrade` decides.", unit="freezes", ge=1, le=20
    )
    degrade: Literal["fail", "crash", "fallback"] = option(
        "fail",
        "When it cannot be captured as configured: `fail` the run; store what a `crash` would leave, and say so;"
        " `fallback` to a capture without a freeze.",
    )
