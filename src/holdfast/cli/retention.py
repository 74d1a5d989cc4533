"""`holdfast forget`, `prune`, `hold`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from holdfast.base.units import format_bytes
from holdfast.base.values import dataclass
from holdfast.cli.options import Duration, Place, vault_options
from holdfast.cli.output import Output
from holdfast.cli.signals import interruptible
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.config import Config
    from holdfast.runs.results import ForgetResult, PruneResult, RetentionPolicy

__all__ = ["HoldSet", "forget_command", "hold_command", "prune_command"]

DAY_SECONDS = 86400


@click.command("forget")
@click.argument("snapshots", nargs=-1)
@click.option("--source", default="", help="Only snapshots of a source.")
@click.option("--keep-last", type=click.IntRange(0), help="Keep the newest so many of each source.")
@click.option("--keep-hourly", type=click.IntRange(0), help="Keep the newest of each of so many hours.")
@click.option("--keep-daily", type=click.IntRange(0), help="… days.")
@click.option("--keep-weekly", type=click.IntRange(0), help="… weeks.")
@click.option("--keep-monthly", type=click.IntRange(0), help="… months.")
@click.option("--keep-yearly", type=click.IntRange(0), help="… years.")
@click.option("--keep-within-days", type=click.IntRange(0), help="Keep everything of the last so many days.")
@click.option("--keep-tag", "keep_tags", multiple=True, help="Keep every snapshot with a tag.")
@click.option("--class", "classes", multiple=True, metavar="CLASS", help="Only a data class of the snapshots given.")
@click.option("--reason", default="", help="Why; kept in the vault.")
@click.option("--dry-run", is_flag=True, help="Show the plan and forget nothing.")
@vault_options
def forget_command(
    *,
    snapshots: Sequence[str],
    classes: Sequence[str],
    source: str,
    keep_tags: Sequence[str],
    reason: str,
    dry_run: bool,
    place: Place,
    out: Output,
    **keep: int | None,
) -> int:
    """Forget snapshots by retention rules, or by id.

    Rules come from the options or, without any, from the configuration, where a data class can have its own: it then goes
    from snapshots that stay for their other classes. Space comes back by `holdfast prune`.
    """
    config = place.load()
    policy = _policy(config, keep, keep_tags)
    if policy is None and not snapshots:
        raise UsageError(
            "nothing says what to keep", next="give --keep-… options, snapshots by id, or a configuration."
        )
    if snapshots and (keep_tags or any(value is not None for value in keep.values())):
        raise UsageError("either snapshots by id or --keep-… options")
    with place.open(config) as vault:
        result = vault.forget(
            None if snapshots else policy,
            snapshots=snapshots,
            classes=classes,
            source=source,
            reason=reason,
            dry_run=dry_run,
        )
    for decision in result.plan.decisions:
        text = f"{'keep  ' if decision.keep else 'forget'} {decision.snapshot[:12]} {', '.join(decision.reasons)}"
        if decision.dropped:
            text += f"; forget {', '.join(decision.dropped)}"
        out.row("forget-decision", decision, text.rstrip())
    return out.result("forget", result, 0, [_forget_summary(result)])


def _forget_summary(result: ForgetResult) -> str:
    if result.dry_run:
        return f"Would forget {len(result.plan.forget)} snapshots. Nothing was changed."
    return f"Forgot {len(result.forgotten)} snapshots. `holdfast prune` gives their space back."


def _policy(config: Config | None, keep: dict[str, int | None], tags: Sequence[str]) -> RetentionPolicy | None:
    from holdfast.runs.configured import retention_policy
    from holdfast.runs.results import RetentionPolicy

    given = {name.removeprefix("keep_"): value for name, value in keep.items() if value is not None}
    if given or tags:
        return RetentionPolicy(
            last=given.get("last", 0),
            hourly=given.get("hourly", 0),
            daily=given.get("daily", 0),
            weekly=given.get("weekly", 0),
            monthly=given.get("monthly", 0),
            yearly=given.get("yearly", 0),
            within_days=given.get("within_days", 0),
            tags=frozenset(tags),
        )
    return retention_policy(config.settings) if config is not None else None


@click.command("prune")
@click.option("--undo", type=Duration(), help="How long a planned deletion can be undone (7d).")
@click.option("--repack-below", type=click.FloatRange(0, 1), help="Rewrite packs used less than this (0.5).")
@click.option("--revoke-silent", is_flag=True, help="Revoke runs that never acknowledged and never ended.")
@click.option("--dry-run", is_flag=True, help="Say what would happen and change nothing.")
@vault_options
def prune_command(
    *, undo: int | None, repack_below: float | None, revoke_silent: bool, dry_run: bool, place: Place, out: Output
) -> int:
    """Give back the space that no snapshot needs.

    Safe beside running backups. The first call condemns; a later one, after the undo delay, deletes.
    """
    from holdfast.config import PruneSettings

    config = place.load()
    settings = config.settings.prune if config is not None else PruneSettings()
    with place.open(config) as vault, interruptible(at_once=True), out.events("prune") as events:
        result = vault.prune(
            undo_days=(settings.undo_seconds if undo is None else undo) / DAY_SECONDS,
            repack_below=settings.repack_below if repack_below is None else repack_below,
            revoke_silent=revoke_silent or settings.revoke_silent,
            dry_run=dry_run,
            events=events,
        )
    return out.result("prune", result, 0, _prune_summary(result))


def _prune_summary(result: PruneResult) -> list[str]:
    lines = [
        f"Prune: {result.phase}"
        + (f" (round {result.round})" if result.round is not None else "")
        + f"; {result.packs_live} packs in use, {result.packs_condemned} condemned ({format_bytes(result.bytes_condemned)}),"
        f" {result.packs_repacked} rewritten, {result.packs_deleted} deleted ({format_bytes(result.bytes_deleted)})"
    ]
    if result.delete_after is not None and result.phase != "closed":
        lines.append(f"  Deletion from {result.delete_after:%Y-%m-%d %H:%M}Z on: run `holdfast prune` again then.")
    if result.sessions_waiting:
        lines.append(f"  {result.sessions_waiting} runs neither acknowledged nor ended: wait, or --revoke-silent.")
    if result.sessions_revoked:
        lines.append(f"  {result.sessions_revoked} silent runs were revoked; they start again if they are alive.")
    return lines


@dataclass(frozen=True, slots=True)
class HoldSet:
    """A legal hold that was set or released."""

    snapshot: str
    """Id of the snapshot."""
    held: bool
    """Whether it is held now."""


@click.command("hold")
@click.argument("action", type=click.Choice(["set", "release"]))
@click.argument("snapshot")
@click.option("--reason", required=True, help="Why; kept in the vault.")
@vault_options
def hold_command(*, action: str, snapshot: str, reason: str, place: Place, out: Output) -> int:
    """Put a snapshot under legal hold, or end the hold. A held snapshot cannot be forgotten."""
    with place.open() as vault:
        found = (vault.hold if action == "set" else vault.release)(snapshot, reason=reason)
    held = action == "set"
    return out.result("hold", HoldSet(found, held), 0, [f"Snapshot {found[:12]} is {'held' if held else 'released'}."])
