"""`holdfast connectors`: which there are, what an account needs, whether an application can be backed up now."""

from __future__ import annotations

from dataclasses import dataclass

import click

from holdfast.cli.options import Place, output_options, vault_options
from holdfast.cli.output import Output
from holdfast.errors import UsageError

__all__ = [
    "ApplicationChecked",
    "ConnectorListed",
    "Grants",
    "check_command",
    "connectors_command",
    "grants_command",
    "list_command",
]


@dataclass(frozen=True, slots=True)
class ConnectorListed:
    """A connector that is installed."""

    name: str
    """What `[applications.NAME] connector` takes."""


@dataclass(frozen=True, slots=True)
class Grants:
    """What an account for backups needs."""

    application: str
    """The name in the configuration, or the connector's."""
    statements: str
    """The text to be pasted by an administrator."""


@dataclass(frozen=True, slots=True)
class ApplicationChecked:
    """An application that can be backed up as configured."""

    application: str
    """Its name in the configuration."""
    connector: str
    """Its kind."""
    version: str
    """Its version."""
    facts: tuple[tuple[str, str], ...]
    """What the check found, as pairs."""
    notes: tuple[str, ...]
    """What an administrator should know."""


@click.group("connectors")
def connectors_command() -> None:
    """List connectors, print the grants that an account needs, check applications."""


@connectors_command.command("list")
@output_options
def list_command(*, out: Output) -> int:
    """List the connectors that are installed."""
    from holdfast.sources.connectors import kinds

    for kind in kinds():
        out.row("connector", ConnectorListed(kind), kind)
    return 0


@connectors_command.command("grants")
@click.argument("name")
@click.option("--user", metavar="NAME", help="The account, for a connector that is not configured yet (holdfast).")
@vault_options
def grants_command(*, name: str, user: str | None, place: Place, out: Output) -> int:
    """Print every statement that the least-privileged account needs. NAME is an application, or a connector.

    Example: holdfast connectors grants postgresql --user holdfast
    """
    from holdfast.runs.applications import connection_of
    from holdfast.sources.connectors import factory
    from holdfast.sources.connectors.protocol import Connection

    config = place.load()
    if config is not None and name in config.settings.applications:
        kind, connection = config.settings.applications[name].connector, connection_of(config.settings, name)
    else:
        kind, connection = name, Connection(name, user=user or "holdfast")
    text = factory(kind).grants(connection)
    out.row("grants", Grants(name, text), text.rstrip())
    return 0


@connectors_command.command("check")
@click.argument("names", nargs=-1)
@vault_options
def check_command(*, names: tuple[str, ...], place: Place, out: Output) -> int:
    """Look whether applications (all of the configuration, without names) could be backed up now. Changes nothing.

    Example: holdfast --config holdfast.toml connectors check ehr-db
    """
    from holdfast.base.environment import system
    from holdfast.runs.applications import connection_of
    from holdfast.sources.connectors import factory

    config = place.load()
    if config is None:
        raise UsageError("no configuration was named", next="give --config FILE (or HOLDFAST_CONFIG).")
    for name in names or tuple(config.settings.applications):
        connection = connection_of(config.settings, name)
        connector = factory(config.settings.applications[name].connector).make(connection, system())
        try:
            facts = connector.check()
        finally:
            connector.close()
        row = ApplicationChecked(name, connector.kind, facts.version, facts.facts, facts.notes)
        lines = [
            f"{name}: {connector.kind} {facts.version} can be backed up.",
            *(f"  note: {note}" for note in facts.notes),
        ]
        out.row("application", row, "\n".join(lines))
    return 0
