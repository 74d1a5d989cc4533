"""`holdfast courier`: across an air gap, on disks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from holdfast.base.units import format_bytes, format_seconds
from holdfast.cli.exits import combined
from holdfast.cli.options import Place, Size, output_options, vault_options
from holdfast.cli.output import Output
from holdfast.cli.signals import interruptible

if TYPE_CHECKING:
    from holdfast.runs.tier_results import CourierStatus, ExportResult, ImportResult

__all__ = [
    "courier_command",
    "courier_status_command",
    "export_command",
    "import_command",
    "receipt_command",
]


@click.group("courier")
def courier_command() -> None:
    """Carry the vault across an air gap on disks: export, import, receipt, status."""


@courier_command.command("export")
@click.argument("medium", type=click.Path(file_okay=False))
@click.option(
    "--to", "courier", default="default", show_default=True, help="The far side's name, if there are several."
)
@click.option("--size", type=Size(), help="Put at most so many bytes on this medium.")
@click.option("--again", type=click.IntRange(1), help="Write a set anew that was lost on its way.")
@click.option(
    "--material", metavar="DIR", help="The folder that holds `rescue` and `format`, if they are not installed."
)
@click.option("--wheels", metavar="DIR", help="Put the wheels in this folder on the medium, for the rescue reader.")
@vault_options
def export_command(
    *,
    medium: str,
    courier: str,
    size: int | None,
    again: int | None,
    material: str | None,
    wheels: str | None,
    place: Place,
    out: Output,
) -> int:
    """Write what the far side does not have onto a mounted disk.

    A set that does not fit needs further disks: exit code 3, insert the next and call it again. Interrupted, it goes on where it
    was. Each disk also carries the format, the rescue reader and instructions. Example:
    `holdfast courier export /media/disk1 --config /etc/holdfast.toml`.
    """
    with place.open() as vault, interruptible() as stop, out.events("export") as events:
        result = vault.courier(courier).export(
            medium, size_bytes_max=size, again=again, material=material, wheels=wheels, events=events, stop=stop
        )
    return out.result("export", result, result.exit_code, _exported(result))


def _exported(result: ExportResult) -> list[str]:
    if not result.medium:
        return ["The far side was sent everything already: nothing was written."]
    lines = [
        f"Medium {result.medium} of set {result.set} is complete: {result.objects} objects,"
        f" {format_bytes(result.bytes)}, in {format_seconds(result.seconds)}"
    ]
    if result.left:
        lines.append(
            f"NEXT MEDIUM: {result.left} objects ({format_bytes(result.left_bytes)}) are left; insert an empty disk and run"
            " it again."
        )
    return lines


@courier_command.command("import")
@click.argument("medium", type=click.Path(exists=True, file_okay=False))
@click.option("--into", required=True, metavar="DIR", help="The folder of the vault at the far side; it is made.")
@output_options
def import_command(*, medium: str, into: str, out: Output) -> int:
    """Take a disk's objects into the vault at the far side; needs no key.

    Every object is hashed before and after. Disks are taken in order; a gap is refused and named. When a set is complete a receipt
    lies on the disk: carry it back. Example: `holdfast courier import /media/disk1 --into /srv/far-vault`.
    """
    from holdfast.runs.courier_import import courier_import

    with interruptible(at_once=True), out.events("import") as events:
        results = courier_import(medium, into, events=events)
    for result in results:
        out.result("import", result, result.exit_code, _imported(result))
    return combined(results[-1].exit_code)


def _imported(result: ImportResult) -> list[str]:
    lines = [
        f"Imported medium {result.medium} of set {result.set} of vault {result.vault}: {result.objects} objects"
        f" ({result.new_objects} new), {format_bytes(result.bytes)}, in {format_seconds(result.seconds)}"
    ]
    if result.complete:
        lines.append(f"  The set is complete; the receipt is {result.receipt}: carry it back.")
    else:
        lines.append("NEXT MEDIUM: the set is not complete yet.")
    return lines


@courier_command.command("receipt")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--from", "courier", default="default", show_default=True, help="The far side's name.")
@vault_options
def receipt_command(*, file: str, courier: str, place: Place, out: Output) -> int:
    """Take the far side's receipt: its set counts as confirmed. A receipt for another vault or export is refused.

    Example: `holdfast courier receipt /media/disk1/receipts/*.receipt --config /etc/holdfast.toml`.
    """
    with place.open() as vault:
        found = vault.courier(courier).receipt(file)
    text = f"Set {found.set} is confirmed: {found.objects} objects, {format_bytes(found.bytes)} at the far side."
    return out.result("receipt", found, 0, [text])


@courier_command.command("status")
@click.option("--of", "courier", default="default", show_default=True, help="The far side's name.")
@vault_options
def courier_status_command(*, courier: str, place: Place, out: Output) -> int:
    """Say what was exported, what is confirmed, and what the far side does not have. Exit code 3 if anything is open.

    Example: `holdfast courier status --config /etc/holdfast.toml`.
    """
    with place.open() as vault:
        found = vault.courier(courier).status()
    return out.result("courier", found, found.exit_code, _status(found))


def _status(found: CourierStatus) -> list[str]:
    lines = []
    for row in found.sets:
        state = "open"
        if row.received is not None:
            state = f"confirmed {row.received:%Y-%m-%d}"
        elif row.complete:
            state = "on its way"
        lines.append(
            f"set {row.set} of {row.made:%Y-%m-%d}: {row.media} media, {row.objects} objects, {format_bytes(row.bytes)}, {state}"
        )
    lines.append(f"{found.waiting_objects} objects ({format_bytes(found.waiting_bytes)}) wait for the next export")
    return lines
