"""`holdfast migrate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from holdfast.base.units import format_bytes, format_seconds
from holdfast.cli.options import Place, Size, vault_options
from holdfast.cli.output import Output
from holdfast.cli.signals import interruptible

if TYPE_CHECKING:
    from holdfast.runs.tier_results import MigrateResult

__all__ = ["migrate_command"]


@click.command("migrate")
@click.option("--budget", type=Size(), help="Copy at most so many bytes now; the rest is for the next call.")
@click.option("--limit-read", type=Size(), help="Read at most so many bytes per second.")
@click.option("--limit-write", type=Size(), help="Write at most so many bytes per second.")
@click.option("--dry-run", is_flag=True, help="Say what would move, and change nothing.")
@vault_options
def migrate_command(
    *,
    budget: int | None,
    limit_read: int | None,
    limit_write: int | None,
    dry_run: bool,
    place: Place,
    out: Output,
) -> int:
    """Bring packs to the stores that their class and age want, and what waits for a store to it.

    Each pack is copied, read back and hashed before an old copy is deleted: every snapshot can be restored at any moment, also
    after a crash at any moment; run it again to go on. Exit code 7 if a store failed. Example:
    `holdfast migrate --config /etc/holdfast.toml --budget 200GiB --limit-write 50MB`.
    """
    from holdfast.runs.options import Limits

    config = place.load()
    base = config.settings.limits if config is not None else None
    reading = limit_read or (base.read_bytes_per_s if base is not None else None)
    writing = limit_write or (base.write_bytes_per_s if base is not None else None)
    with place.open(config) as vault, interruptible() as stop, out.events("migrate") as events:
        result = vault.migrate(
            budget_bytes=budget, dry_run=dry_run, limits=Limits(reading, writing), events=events, stop=stop
        )
    return out.result("migrate", result, result.exit_code, _summary(result))


def _summary(result: MigrateResult) -> list[str]:
    lines = []
    for row in result.rows:
        to = f"to {', '.join(row.copy_to)}" if row.copy_to else "no copy"
        away = f", then off {', '.join(row.delete_from)}" if row.delete_from else ""
        lines.append(f"  {row.class_name}: {row.packs} packs, {format_bytes(row.bytes)} {to}{away} ({row.reason})")
    verb = "Would move" if result.dry_run else "Moved"
    head = f"{verb} {result.packs - result.failed} packs: {result.copies} copies ({format_bytes(result.copied_bytes)}),"
    lines = [f"{head} {result.deleted} old copies deleted, in {format_seconds(result.seconds)}", *lines]
    if result.retained:
        lines.append(f"  {result.retained} old copies stay until their store's lock ends.")
    if result.later:
        lines.append(
            f"  {result.later} packs ({format_bytes(result.later_bytes)}) are for later: the budget is used up."
        )
    if result.failed:
        lines.append(f"FAILED: {result.failed} packs were not moved; nothing of them is lost. Run it again.")
    return lines
