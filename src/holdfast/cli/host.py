"""`holdfast host`: what a host is made of, and a whole host restored to empty disks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from holdfast.base.units import format_bytes, format_seconds
from holdfast.cli.options import Place, Size, vault_options
from holdfast.cli.output import Output
from holdfast.cli.signals import interruptible

if TYPE_CHECKING:
    from holdfast.runs.host_results import HostPlan, HostRestore
    from holdfast.sources.hosts.inventory import Inventory

__all__ = ["HostShown", "host_command", "inventory_command", "restore_command"]


@dataclass(frozen=True, slots=True)
class HostShown:
    """What a host is made of, in figures and identifiers."""

    system: str
    architecture: str
    kernel: str
    firmware: str
    loader: str
    kernels: tuple[str, ...]
    disks: tuple[str, ...]
    file_systems: int
    layers: tuple[str, ...]
    packages: int
    services: int
    missing: tuple[str, ...]
    """What could not be found out when it was backed up, and for want of which program."""

    @classmethod
    def of(cls, found: Inventory) -> HostShown:
        """Return what is shown of an inventory."""
        return cls(
            system=found.system,
            architecture=found.architecture,
            kernel=found.kernel,
            firmware=found.firmware,
            loader=found.loader,
            kernels=found.kernels,
            disks=tuple(f"{disk.name} ({format_bytes(disk.bytes)})" for disk in found.disks),
            file_systems=len(found.file_systems),
            layers=tuple(sorted({layer.kind for layer in found.layers})),
            packages=len(found.packages),
            services=len(found.services),
            missing=found.missing,
        )


@click.group("host")
def host_command() -> None:
    """Restore a whole host to empty disks, or show what it is made of.

    A backup records it with `host_root = "/"` of its job, or `holdfast backup --host-root /`.
    """


@host_command.command("inventory")
@click.argument("snapshot", default="latest")
@vault_options
def inventory_command(*, snapshot: str, place: Place, out: Output) -> int:
    """Show what the host of a snapshot is made of: the disks that it needs, how it boots, how much is installed.

    Example: holdfast host inventory latest:ward-server
    """
    with place.open(place.load()) as vault:
        found = HostShown.of(vault.host_inventory(snapshot))
    lines = [
        f"{found.system or 'unknown system'}, {found.architecture}, {found.firmware}, {found.loader or 'no boot loader'}",
        f"  disks: {', '.join(found.disks) or 'none'}; {found.file_systems} file systems",
        f"  {found.packages} packages, {found.services} enabled services, kernels: {', '.join(found.kernels) or 'none'}",
    ]
    if found.layers:
        lines.append(f"  below the file systems, to be made by hand: {', '.join(found.layers)}")
    lines += [f"MISSING: {text}" for text in found.missing]
    return out.result("host-inventory", found, 0, lines)


@host_command.command("restore")
@click.argument("snapshot", default="latest")
@click.option("--disk", "disks", multiple=True, metavar="[NAME=]PATH",
              help="A block device or an image file, for each disk of the host (NAME: as `host inventory` shows it).")  # fmt: skip
@click.option("--into", default="", type=click.Path(), metavar="DIR",
              help="Instead of --disk: where file systems made by hand are mounted.")  # fmt: skip
@click.option("--erase", is_flag=True, help="Give up what is on the disks.")
@click.option("--limit-read", type=Size(), help="Read at most so many bytes per second from the vault.")
@click.option("--break-glass", default="", metavar="REASON",
              help="An emergency: restore without the approvals that the vault asks for. It alerts, and is recorded.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what the disks would become, and write nothing.")
@vault_options
def restore_command(
    *,
    snapshot: str,
    disks: Sequence[str],
    into: str,
    erase: bool,
    limit_read: int | None,
    break_glass: str,
    dry_run: bool,
    place: Place,
    out: Output,
) -> int:
    """Make a whole host again on empty disks, and check by chroot that it would start. Needs root.

    Partitions and file systems get the identifiers they had; files, owners, devices and extended attributes come back; the boot
    loader is written. A disk that is too small, in use or not empty is refused before anything is written. Interrupted, the same
    command goes on. Exit code 1: it is there, and a check failed.

    Example: holdfast host restore latest:ward-server --disk sda=/dev/sdb --dry-run
    """
    from holdfast.runs.options import Limits

    with place.open(place.load()) as vault, interruptible() as stop, out.events("restore") as events:
        if dry_run:
            plan = vault.plan_host(snapshot, disks=disks, into=into, erase=erase)
            return out.result("host-plan", plan, 0, _plan_lines(plan))
        result = vault.restore_host(
            snapshot, disks=disks, into=into, erase=erase, break_glass=break_glass, events=events,
            limits=Limits(limit_read), stop=stop,
        )  # fmt: skip
    return out.result("host-restore", result, result.exit_code, _summary(result))


def _plan_lines(plan: HostPlan) -> list[str]:
    verb = "Would go on restoring" if plan.resumes else "Would restore"
    lines = [
        f"{verb} a host of {plan.started} ({plan.system}, {plan.architecture}, {plan.firmware},"
        f" {plan.loader or 'no boot loader'}): {plan.entries} entries, {format_bytes(plan.bytes)}"
    ]
    for disk in plan.disks:
        lines.append(
            f"  {disk.name} becomes {disk.target}: {disk.partitions} partitions, needs {format_bytes(disk.bytes_needed)}"
            f" of {format_bytes(disk.bytes_there)}; all that is on it goes"
        )
        lines += [
            f"    {each.partition or 'whole'}: {each.kind} {each.uuid} {each.label}".rstrip()
            + (f" at {each.mount}" if each.mount else "")
            for each in plan.file_systems
            if each.disk == disk.name
        ]
    lines += [f"  not known of the host: {text}" for text in plan.missing]
    return [*lines, "Nothing was written."]


def _summary(result: HostRestore) -> list[str]:
    verb = "Went on with and finished" if result.resumed else "Restored"
    lines = [f"{verb} a host: {result.files} files, {format_bytes(result.bytes)} in {format_seconds(result.seconds)}"]
    lines.append("  " + ", ".join(f"{phase.name} {format_seconds(phase.seconds)}" for phase in result.phases))
    for outcome in result.outcomes:
        cause = f": {outcome.cause}" if outcome.cause else ""
        lines.append(f"  {outcome.state}: {outcome.name} ({outcome.found}){cause}")
    if result.by_hand:
        lines.append(f"BY HAND: {result.by_hand}")
    if result.findings:
        lines.append(f"PARTIAL: {result.findings} findings; what they name is not restored as it was")
    if result.damaged:
        lines.append("DAMAGE: some content is damaged in the vault; `holdfast verify` says what it costs")
    if result.failed:
        lines.append("FAILED: do not start this host before the checks above are mended; the same command tries again")
    return lines
