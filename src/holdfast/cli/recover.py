"""`holdfast recover`: a database back to a moment, into a folder of its own, tried out before anybody relies on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from holdfast.base.units import format_bytes, format_seconds
from holdfast.cli.options import Place, vault_options
from holdfast.cli.output import Output
from holdfast.cli.signals import interruptible
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.runs.recovery import RecoveryTarget

__all__ = ["RecoveryPrepared", "recover_command"]


@dataclass(frozen=True, slots=True)
class RecoveryPrepared:
    """A recovery that was prepared and not started."""

    application: str
    """Its name."""
    snapshot: str
    """The base backup."""
    target: str
    """The moment that it is brought to when it is started."""
    wal_files: int
    """How many WAL files were fetched for it."""
    bytes: int
    """What was restored."""
    seconds: float
    """How long that took."""


@click.command("recover")
@click.argument("application")
@click.option("--to", "to", required=True, metavar="DIR", help="An empty folder, or one that is not there yet.")
@click.option(
    "--time", "moment", metavar="TIME", help="As 2026-11-25T13:00:00+01:00: all that was committed until then."
)
@click.option("--lsn", metavar="LSN", help="A position of the WAL.")
@click.option("--name", "name", metavar="NAME", help="A restore point made by pg_create_restore_point.")
@click.option("--exclusive", is_flag=True, help="Leave out a transaction exactly at the target.")
@click.option("--timeline", default="latest", show_default=True, help="`latest`, `current` or a number.")
@click.option(
    "--mounted", is_flag=True, help="DIR is a writable mount of the base backup: only what recovery needs is added."
)
@click.option("--snapshot", default="", metavar="SNAPSHOT", help="The base backup; alone: recover to its end.")
@click.option("--check", "check", is_flag=True, help="Start it alone, check every database, stop it.")
@click.option("--superuser", default="postgres", show_default=True, help="A superuser of the cluster, for --check.")
@click.option("--programs", metavar="DIR", help="Where `postgres` of the right version is, for --check.")
@vault_options
def recover_command(
    *,
    application: str,
    to: str,
    moment: str | None,
    lsn: str | None,
    name: str | None,
    exclusive: bool,
    timeline: str,
    mounted: bool,
    snapshot: str,
    check: bool,
    superuser: str,
    programs: str | None,
    place: Place,
    out: Output,
) -> int:
    """Bring a database back to a moment, and try it out.

    Without a target: to the end of its WAL. The running application is not touched.

    Example: holdfast recover ehr-db --time 2026-11-25T13:00:00+01:00 --to /restore/ehr --check
    """
    target = _target(moment, lsn, name, snapshot, inclusive=not exclusive, timeline=timeline)
    with place.open() as vault, interruptible() as stop:
        with out.events("recover") as events:
            prepared = vault.prepare_recovery(
                application, to, target=target, snapshot=snapshot, mounted=mounted, events=events, stop=stop
            )
        if check:
            from pathlib import Path

            from holdfast.base.environment import system
            from holdfast.runs.start import check_recovery

            report = check_recovery(
                prepared, env=system(), bin_folder=Path(programs) if programs else None, user=superuser
            )
            lines = [
                f"{application} {report.version} is at {report.lsn} on timeline {report.timeline}:"
                f" {report.databases} databases, {report.relations} relations",
                f"  restored in {format_seconds(report.restore_seconds)}, at its target after"
                f" {format_seconds(report.replay_seconds)} more; structure {report.structure}, pages {report.page_checksums}",
                f"  The cluster is stopped and ready in {prepared.data}; set archive_mode again before it goes into service.",
            ]
            return out.result("recovery-checked", report, 0, lines)
    row = RecoveryPrepared(
        application,
        prepared.snapshot,
        f"{target.kind} {target.value}".strip(),
        prepared.wal_files,
        prepared.bytes,
        prepared.restore_seconds,
    )
    lines = [
        f"Prepared {format_bytes(row.bytes)} with {row.wal_files} WAL files in {format_seconds(row.seconds)}.",
        f"  Start it as its own user: postgres -D {prepared.data}",
    ]
    return out.result("recovery-prepared", row, 0, lines)


def _target(
    moment: str | None, lsn: str | None, name: str | None, snapshot: str, *, inclusive: bool, timeline: str
) -> RecoveryTarget:
    """Return the target of the options. `UsageError` if they name two, or one that makes no sense."""
    import dataclasses
    from datetime import datetime

    from holdfast.runs.recovery import RecoveryTarget

    if sum(value is not None for value in (moment, lsn, name)) > 1:
        raise UsageError("a recovery has one target: --time, --lsn or --name")
    try:
        if moment is not None:
            target = RecoveryTarget.at_time(datetime.fromisoformat(moment), inclusive=inclusive)
        elif lsn is not None:
            target = RecoveryTarget.at_lsn(lsn, inclusive=inclusive)
        elif name is not None:
            target = RecoveryTarget.at_name(name)
        else:
            target = RecoveryTarget("snapshot" if snapshot else "latest")
    except ValueError as error:
        raise UsageError(
            f"the target cannot be understood: {error}",
            next="as in --time 2026-11-25T13:00:00+01:00, --lsn 16/B374D848.",
        ) from None
    return dataclasses.replace(target, timeline=timeline)
