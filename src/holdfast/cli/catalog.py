"""`holdfast catalog`."""

from __future__ import annotations

from dataclasses import dataclass

import click

from holdfast.cli.options import Place, vault_options
from holdfast.cli.output import Output
from holdfast.cli.signals import interruptible

__all__ = ["CatalogState", "catalog_command"]


@dataclass(frozen=True, slots=True)
class CatalogState:
    """The catalog after it was brought up to date or made anew."""

    action: str
    """`update` or `rebuild`."""
    snapshots: int
    """Snapshots added by an update; held after a rebuild."""


@click.command("catalog")
@click.argument("action", type=click.Choice(["update", "rebuild"]))
@vault_options
def catalog_command(*, action: str, place: Place, out: Output) -> int:
    """Bring the catalog up to date, or make it anew. It is derived from the vault and can be lost at any time."""
    with place.open() as vault, interruptible(at_once=True), out.events("catalog") as events:
        count = (vault.catalog_update if action == "update" else vault.catalog_rebuild)(events=events)
    word = "added" if action == "update" else "held"
    return out.result(
        "catalog", CatalogState(action, count), 0, [f"The catalog is up to date: {count} snapshots {word}."]
    )
