"""`holdfast restore`."""

from __future__ import annotations

import dataclasses
import errno
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from holdfast.base.units import format_bytes, format_seconds
from holdfast.cli.options import Place, Size, vault_options
from holdfast.cli.output import Output
from holdfast.cli.signals import interruptible
from holdfast.errors import TargetError, UsageError

if TYPE_CHECKING:
    from holdfast.runs.options import Damaged, Limits, Overwrite
    from holdfast.runs.results import RestoreResult
    from holdfast.runs.tier_results import RestorePlan, ThawResult

__all__ = ["restore_command", "summary"]


@click.command("restore")
@click.argument("snapshot", default="latest")
@click.argument("paths", nargs=-1, type=click.Path(path_type=bytes))
@click.option(
    "--to", "target", type=click.Path(path_type=bytes), help="Restore into this folder; `/srv/a` becomes `TO/srv/a`."
)
@click.option("--in-place", is_flag=True, help="Restore to where the files came from.")
@click.option("--stdout", "to_stdout", is_flag=True, help="Write one file to standard output.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out what matches a gitignore-like pattern.")
@click.option("--class", "classes", multiple=True, metavar="CLASS", help="Only files of a data class.")
@click.option("--overwrite", type=click.Choice(["never", "older", "always"]), default="never", show_default=True,
              help="What happens to files that exist.")  # fmt: skip
@click.option("--damaged", type=click.Choice(["keep", "skip"]), default="keep", show_default=True,
              help="What happens to files of which bytes are lost: `NAME.damaged` with a map of the ranges, or nothing.")  # fmt: skip
@click.option("--owners/--no-owners", default=None, help="Restore owners; by default if root.")
@click.option("--limit-read", type=Size(), help="Read at most so many bytes per second from the vault.")
@click.option("--limit-write", type=Size(), help="Write at most so many bytes per second.")
@click.option("--service", "services", multiple=True, metavar="NAME",
              help="Restore configured services, and what they need before them, each into a folder of its name.")  # fmt: skip
@click.option("--break-glass", default="", metavar="REASON",
              help="An emergency: restore without the approvals that the vault asks for. It alerts, and is recorded.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be restored, from where, in what time and at what cost.")
@click.option(
    "--thaw", is_flag=True, help="Ask the stores for what lies cold, write nothing, and say when it is ready."
)
@vault_options
def restore_command(
    *,
    snapshot: str,
    paths: Sequence[bytes],
    target: bytes | None,
    in_place: bool,
    to_stdout: bool,
    exclude: Sequence[str],
    classes: Sequence[str],
    overwrite: Overwrite,
    damaged: Damaged,
    owners: bool | None,
    limit_read: int | None,
    limit_write: int | None,
    services: Sequence[str],
    break_glass: str,
    dry_run: bool,
    thaw: bool,
    place: Place,
    out: Output,
) -> int:
    """Restore a snapshot, or parts of it; every byte is verified.

    SNAPSHOT is an id, the beginning of one, `latest`, `latest:SOURCE` or `SOURCE@TIME`. PATHS are files, folders and globs; none
    means all. An interrupted restore goes on where it stopped when it is called again.
    """
    from holdfast.runs.configured import limits
    from holdfast.runs.options import Limits

    if thaw:
        with place.open() as vault:
            asked = vault.snapshot(snapshot).thaw(include=paths, classes=classes)
        return out.result("thaw", asked, asked.exit_code, _thaw_summary(asked))
    if (target is not None) + in_place + to_stdout != 1:
        raise UsageError("give one of --to DIR, --in-place and --stdout")
    if to_stdout:
        out.as_json = False  # standard output is the file's alone: an alert is said on standard error
        return _to_stdout(place, snapshot, paths, limit_read)
    if services:
        if target is None or snapshot != "latest" or paths or exclude or classes:
            raise UsageError("--service takes --to DIR and no snapshot, paths, --exclude or --class")
        return _services(place, services, target, Limits(limit_read, limit_write), out, dry_run=dry_run)
    config = place.load()
    general = limits(config.settings) if config is not None else Limits()
    with (
        place.open(config) as vault,
        interruptible() as stop,
        out.events("restore") as events,
    ):
        result = vault.snapshot(snapshot).restore(
            target if target is not None else b"/",
            include=paths,
            exclude=exclude,
            classes=classes,
            overwrite=overwrite,
            damaged=damaged,
            in_place=in_place,
            dry_run=dry_run,
            owners=owners,
            break_glass=break_glass,
            events=events,
            limits=dataclasses.replace(
                general,
                read_bytes_per_s=limit_read or general.read_bytes_per_s,
                write_bytes_per_s=limit_write or general.write_bytes_per_s,
            ),
            stop=stop,
        )
    return out.result("restore", result, result.exit_code, summary(result))


def _services(place: Place, names: Sequence[str], target: bytes, limits: Limits, out: Output, *, dry_run: bool) -> int:
    with place.open() as vault, interruptible() as stop, out.events("restore") as events:
        result = vault.restore_service(names, target, dry_run=dry_run, limits=limits, events=events, stop=stop)
    verb = "Would restore" if dry_run else "Restored"
    lines = [f"{verb} {len(result.services)} services in {format_seconds(result.seconds)}:"]
    for found in result.services:
        state = " DAMAGED" if found.damaged else f" PARTIAL: {found.findings} findings" if found.findings else ""
        state += " (was complete already)" if found.resumed else ""
        lines.append(f"  {found.wave}. {found.service}: {found.files} files, {format_bytes(found.bytes)}{state}")
    return out.result("restore-service", result, result.exit_code, lines)


def _to_stdout(place: Place, snapshot: str, paths: Sequence[bytes], limit_read: int | None) -> int:
    from holdfast.runs.configured import limits
    from holdfast.runs.options import Limits

    if len(paths) != 1:
        raise UsageError("--stdout takes one file")
    config = place.load()
    general = limits(config.settings) if config is not None else Limits()
    wanted = dataclasses.replace(general, read_bytes_per_s=limit_read or general.read_bytes_per_s)
    with place.open(config) as vault, interruptible(at_once=True):
        try:
            vault.snapshot(snapshot).read(paths[0], sys.stdout.buffer.fileno(), limits=wanted)
        except TargetError as error:
            if error.facts["errno"] == errno.EPIPE:
                raise BrokenPipeError from error
            raise
    return 0


def _thaw_summary(result: ThawResult) -> list[str]:
    if result.ready_after is None:
        return [f"All {result.ready} packs can be read now."]
    return [
        f"Asked for {result.asked} packs; {result.thawing} were asked for before, {result.ready} can be read now.",
        f"  The rest is ready at about {result.ready_after:%Y-%m-%d %H:%M} UTC: restore then.",
    ]


def _plan_lines(plan: RestorePlan) -> list[str]:
    """Return what a restore reads, store by store."""
    lines = []
    for store in plan.stores:
        time = "" if store.seconds is None else f", {format_seconds(store.seconds)}"
        cold = f", {store.thaw_packs} to be thawed ({format_seconds(store.thaw_seconds)})" if store.thaw_packs else ""
        cost = f", cost {store.cost:.2f}" if store.cost else ""
        lines.append(
            f"  from {store.store} ({store.tier}): {store.packs} packs, {format_bytes(store.bytes)},"
            f" {store.requests} requests{time}{cold}{cost}"
        )
    if plan.whole_snapshot:
        lines.append("  (figures of the whole snapshot)")
    if plan.missing:
        lines.append(f"DAMAGE: {plan.missing} packs are on no store")
    return lines


def summary(result: RestoreResult) -> list[str]:
    """Return the end of a restore as an administrator reads it."""
    verb = "Would restore" if result.dry_run else "Restored"
    lines = [
        f"{verb} {result.files} files, {result.folders} folders, {format_bytes(result.bytes)}"
        f" of snapshot {result.snapshot[:12]} in {format_seconds(result.seconds)}"
    ]
    if result.plan is not None:
        lines += _plan_lines(result.plan)
    if result.skipped:
        lines.append(f"  {result.skipped} left as they were (--overwrite)")
    if result.classes_missing:
        lines.append(f"PARTIAL: {result.classes_missing} data classes need a key that is not at hand")
    if result.findings:
        lines.append(f"PARTIAL: {len(result.findings)} findings; what they name is not restored as it was")
    if result.damaged:
        lines.append("DAMAGE: some content is damaged in the vault; `holdfast verify` says what it costs")
    return lines
