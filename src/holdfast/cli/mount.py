"""`holdfast mount`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from holdfast.base.units import format_bytes, format_seconds
from holdfast.cli.options import Place, Size, vault_options
from holdfast.cli.output import Output
from holdfast.cli.signals import interruptible
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.runs.mounts.results import MountResult

__all__ = ["mount_command"]

MOST_ARGUMENTS = 2
SNAPSHOTS_SHOWN_MAX = 5


@click.command("mount")
@click.argument("arguments", nargs=-1, required=True, metavar="[SNAPSHOT | finish] PATH", type=click.Path())
@click.option("--writable", is_flag=True, help="Take what is written, in a local folder that fills with the rest.")
@click.option("--upper", type=click.Path(), metavar="DIR",
              help="The local folder of a writable mount; PATH.holdfast unless said.")  # fmt: skip
@click.option(
    "--to", "target", type=click.Path(), metavar="DIR", help="With finish: put the folder there, not at PATH."
)
@click.option("--class", "classes", multiple=True, metavar="CLASS", help="Only files of a data class.")
@click.option("--allow-other", is_flag=True, help="Let other users in, as far as permissions of the files do.")
@click.option("--owners/--no-owners", default=None, help="Show the files' own owners; by default if root.")
@click.option("--limit-read", type=Size(), help="Fill by at most so many bytes per second from the vault.")
@click.option("--break-glass", default="", metavar="REASON",
              help="An emergency: go without the approvals that the vault asks for. It alerts, and is recorded.")  # fmt: skip
@vault_options
def mount_command(
    *,
    arguments: Sequence[str],
    writable: bool,
    upper: str | None,
    target: str | None,
    classes: Sequence[str],
    allow_other: bool,
    owners: bool | None,
    limit_read: int | None,
    break_glass: str,
    place: Place,
    out: Output,
) -> int:
    """Mount snapshots as a file system, read-only or to work on.

    With PATH alone all snapshots appear below it, by source and time; with a SNAPSHOT its files do. It stays in the
    foreground until it is unmounted (`umount PATH`) or interrupted.

    With --writable an application can start on PATH at once (without SNAPSHOT: on the newest, or the one begun with). When
    everything is on the local disk, stop the application and say `holdfast mount finish PATH`: PATH is a plain folder then.

    Example: holdfast mount --writable --allow-other latest:ehr-database /srv/pg
    """
    if len(arguments) > MOST_ARGUMENTS:
        raise UsageError("mount takes a snapshot and a path, or a path alone")
    path, snapshot = arguments[-1], arguments[0] if len(arguments) == MOST_ARGUMENTS else ""
    if snapshot == "finish":
        return _finish(path, upper, target, out)
    if target is not None or (upper is not None and not writable):
        raise UsageError("--to is for finish, --upper for --writable and finish")
    from holdfast.runs.options import Limits

    with place.open(place.load()) as vault, interruptible() as stop, out.events("mount") as events:
        if writable:
            result = vault.mount_writable(
                path, snapshot=snapshot, upper=upper, classes=classes, allow_other=allow_other, owners=owners,
                break_glass=break_glass, events=events, limits=Limits(limit_read), stop=stop,
            )  # fmt: skip
        else:
            result = vault.mount(
                path, snapshot=snapshot, classes=classes, allow_other=allow_other, owners=owners,
                break_glass=break_glass, events=events, stop=stop,
            )  # fmt: skip
    return out.result("mount", result, result.exit_code, _summary(result))


def _finish(path: str, upper: str | None, target: str | None, out: Output) -> int:
    from holdfast.runs.mounts.upper import finish_mount

    done = finish_mount(path, upper=upper, to=target)
    return out.result(
        "mount-finish", done, 0, [f"Switched over in {format_seconds(done.seconds)}: a plain folder, no mount any more"]
    )


def _summary(result: MountResult) -> list[str]:
    lines = [f"Unmounted after {format_seconds(result.seconds)}"]
    if result.writable:
        state = (
            "everything is on the local disk" if result.whole else "not everything is here yet: mount again to go on"
        )
        lines.append(f"  {format_bytes(result.fetched_bytes)} came from the vault; {state}")
    if result.classes_missing:
        lines.append(f"PARTIAL: {result.classes_missing} data classes need a key that is not at hand")
    if result.classes_lost:
        lines.append(
            f"DAMAGE: {result.classes_lost} data classes were not to be seen; `holdfast check` says what is damaged"
        )
    if result.snapshots_lost:
        lines.append(f"DAMAGE: {result.snapshots_lost} snapshots cannot be read; `holdfast check` says what is damaged")
    if result.unread:
        where = ", ".join(each[:12] for each in result.unread_snapshots[:SNAPSHOTS_SHOWN_MAX])
        lines.append(
            f"DAMAGE: {result.unread} reads ended with an input/output error, in snapshots {where};"
            " `holdfast verify` says what is damaged"
        )
    if result.lost_files:
        lines.append(f"DAMAGE: {result.lost_files} files cannot be filled; `holdfast verify` says what is damaged")
    return lines
