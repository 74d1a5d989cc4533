"""`holdfast repair`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from holdfast.cli.options import Place, vault_options
from holdfast.cli.output import Output
from holdfast.cli.signals import interruptible

if TYPE_CHECKING:
    from holdfast.runs.results import RepairResult
    from holdfast.runs.tier_results import CopyRepair

__all__ = ["repair_command"]

EXIT_DAMAGE = 4


@click.command("repair")
@click.argument("what", type=click.Choice(["index", "copies"]))
@click.option("--everything", is_flag=True, help="Read all packs, not only those that no readable index run lists.")
@click.option("--dry-run", is_flag=True, help="Say what would be read and change nothing.")
@vault_options
def repair_command(*, what: str, everything: bool, dry_run: bool, place: Place, out: Output) -> int:
    """Make the index anew from the packs' own directories, or missing copies of packs from the others.

    Safe at any time, beside running backups too. `index`: nothing is deleted but index runs that cannot be read, once what
    replaces them is stored. `copies`: a copy that is missing, or that `holdfast verify` found damaged, is made anew from a
    sound one on another store. Exits 4 if packs are damaged themselves; `holdfast verify` names what rests on them.
    Example: `holdfast repair copies --config /etc/holdfast.toml`.
    """
    if what == "copies":
        with place.open() as vault, interruptible(at_once=True), out.events("repair") as events:
            repaired = vault.repair_copies(dry_run=dry_run, events=events)
        return out.result("copies", repaired, repaired.exit_code, _copies_summary(repaired))
    with place.open() as vault, interruptible(at_once=True), out.events("repair") as events:
        result = vault.repair_index(everything=everything, dry_run=dry_run, events=events)
    return out.result("repair", result, EXIT_DAMAGE if result.packs_damaged else 0, _summary(result))


def _copies_summary(result: CopyRepair) -> list[str]:
    if result.dry_run:
        return [f"Would make {result.missing} copies anew and move {result.misplaced} misplaced packs."]
    lines = [f"Made {result.healed} copies anew; {result.packs} packs looked at, {result.misplaced} were misplaced."]
    if result.failed:
        lines.append(f"  {result.failed} packs could not be helped now: a store does not answer, or refuses.")
    if result.lost:
        lines.append(f"DAMAGE: {result.lost} packs have no sound copy; `holdfast verify` names what rests on them")
    return lines


def _summary(result: RepairResult) -> list[str]:
    if result.dry_run:
        return [f"Would read {result.packs_read} packs and replace {result.runs_dropped} index runs."]
    lines = [
        f"Listed {result.packs_listed} of {result.packs_read} packs again;"
        f" {result.runs_put} index runs written, {result.runs_dropped} broken ones replaced."
    ]
    if result.packs_damaged:
        lines.append(f"  {result.packs_damaged} packs are damaged themselves: run `holdfast verify`.")
    return lines
