"""`holdfast repair`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from holdfast.cli.integrity import PROBLEMS_SHOWN_MAX, damaged_lines
from holdfast.cli.options import Place, vault_options
from holdfast.cli.output import Output
from holdfast.cli.signals import interruptible

if TYPE_CHECKING:
    from holdfast.runs.home_copies import HomeRepaired
    from holdfast.runs.results import RepairReport, RepairResult
    from holdfast.runs.tier_results import CopyRepair

__all__ = ["Promoted", "repair_command"]

EXIT_DAMAGE = 4


@click.command("repair")
@click.argument("what", required=False, type=click.Choice(["index", "copies", "home", "promote"]))
@click.option("--everything", is_flag=True, help="With `index`: read all packs, not only those that no run lists.")
@click.option("--known-only", is_flag=True, help="Read no packs but those known to be damaged by `holdfast verify`.")
@click.option(
    "--clear",
    multiple=True,
    metavar="OBJECT",
    help="Clear away an object of `access/`, `wrap/` or `writer/` that nobody can read, with what it said.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done and change nothing.")
@click.option("--old", metavar="URL", help="With `promote`: the lost home, to be told if it still answers.")
@vault_options
def repair_command(
    *,
    what: str | None,
    everything: bool,
    known_only: bool,
    clear: Sequence[str],
    dry_run: bool,
    old: str | None,
    place: Place,
    out: Output,
) -> int:
    """Make whole what can be made whole: packs from other copies and from parity, the index, the catalog.

    Every pack is read first. What nothing brings back stays where it is, is listed with what it costs, and the next backup
    of each source stores its content again. Safe at any time, beside running backups too; run it again after a crash.
    `index` and `copies` do their part only. `home`: what the home itself has lost comes back from its copy on a second
    store. `promote`: the store given by `--vault` holds the copy of a home that is lost, and becomes the home; the old one
    is refused. Exits 4 if something stays damaged, after `--dry-run` if anything is.
    Example: `holdfast repair --dry-run --config /etc/holdfast.toml`.
    """
    if what == "home":
        with place.open() as vault, interruptible(at_once=True):
            healed = vault.repair_home(dry_run=dry_run)
        return out.result("home", healed, healed.exit_code, _home_summary(healed))
    if what == "promote":
        promoted = Promoted(place.promote(old))
        return out.result("promote", promoted, 0, [f"This store is the vault's home now (epoch {promoted.epoch})."])
    with place.open() as vault, interruptible(at_once=True), out.events("repair") as events:
        if what == "copies":
            copies = vault.repair_copies(dry_run=dry_run, events=events)
            return out.result("copies", copies, copies.exit_code, _copies_summary(copies))
        if what == "index":
            index = vault.repair_index(everything=everything, dry_run=dry_run, events=events)
            return out.result("repair", index, EXIT_DAMAGE if index.packs_damaged else 0, _summary(index))
        report = vault.repair(
            known_only=known_only, show_paths=out.show_paths, clear=clear, dry_run=dry_run, events=events
        )
    return out.result("repair-all", report, report.exit_code, _report_summary(report))


def _report_summary(report: RepairReport) -> list[str]:
    by_parity = sum(pack.source == "parity" for pack in report.packs)
    lines = [f"DAMAGE: {problem}" for problem in report.problems[:PROBLEMS_SHOWN_MAX]]
    lines += damaged_lines(report.lost, report.costs)
    if report.dry_run:
        lines.append(
            f"Read {report.packs_read} packs: {len(report.packs)} damaged or missing, {by_parity} would come back from parity;"
            f" {report.parity_groups} parity groups would be made."
        )
    else:
        lines.append(
            f"Read {report.packs_read} packs: {len(report.packs)} damaged or missing, {report.healed} brought back from parity;"
            f" {report.parity_groups} parity groups made."
        )
    lines += [f"  {line}" for line in (*_summary(report.index), *_small_things(report))]
    if report.copies is not None:
        lines += [f"  {line}" for line in _copies_summary(report.copies)]
    if report.lost:
        lines.append(
            "  What is lost stays listed; the next backup of each source stores it again where the source has it."
        )
    return lines


def _small_things(report: RepairReport) -> list[str]:
    """Return what became of keys, decisions, leftovers and parity itself."""
    would = "would be " if report.dry_run else ""
    lines = []
    if report.decisions:
        kept = report.decisions - report.decisions_lost
        lines.append(f"{report.decisions_lost} lost decisions {would}put back; {kept} {would}kept a second time.")
    if report.opening_lost or report.opening_kept:
        lines.append(
            f"{report.opening_lost} lost objects that open the vault {would}mended; {report.opening_kept} {would}kept a second time."
        )
    if report.leftovers:
        lines.append(f"{report.leftovers} damaged objects of runs that have ended {would or 'were '}cleared away.")
    lines += [f"object {name} verifies for nobody, and {would or 'was '}cleared away." for name in report.cleared]
    if report.parity_damaged:
        lines.append(f"{report.parity_damaged} parity objects were damaged: their groups {would or 'were '}made anew.")
    if report.unprotected:
        lines.append(f"{report.unprotected} packs had no parity and want it.")
    return lines


@dataclass(frozen=True, slots=True)
class Promoted:
    """A copy that became the vault's home."""

    epoch: int
    """The vault's epoch: how often its home was replaced."""


def _home_summary(result: HomeRepaired) -> list[str]:
    verb = "Would put back" if result.dry_run else "Put back"
    lines = [f"{verb} {result.lost} lost and {result.damaged} damaged objects; {result.copied} copied to the copy."]
    if result.beyond:
        lines.append(f"DAMAGE: {result.beyond} objects are damaged on both; `holdfast check` names them")
    return lines


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
