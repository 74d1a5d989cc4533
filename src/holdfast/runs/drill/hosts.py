"""A whole host in a drill: its disks as images in the drill's folder, partitioned, made, mounted and filled as on the day.

The boot loader is not written: that would run the restored host's programs with rights over this machine. A drill says so.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from holdfast.errors import DrillRefusedError, DrillSpaceError, HostRefusedError
from holdfast.runs.hosts import read_inventory
from holdfast.runs.restore import RestoreRequest, run_restore
from holdfast.services.hosts.disks import DiskWork, found_on_machine
from holdfast.services.hosts.plan import Layout, check_programs, plan_layout
from holdfast.services.judge import Outcome
from holdfast.sources.programs import SystemPrograms

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.base.events import Events
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.drill.place import DrillFolder
    from holdfast.runs.drill.plan import Selected
    from holdfast.runs.options import Cancel, Limits
    from holdfast.runs.results import RestoreResult
    from holdfast.services.catalogue import Service
    from holdfast.sources.hosts.inventory import Inventory

__all__ = ["HostDrill", "is_host"]

OPTIONS = "nodev,nosuid"
"""A restored host's device files and set-user programs mean nothing in a drill."""


def is_host(service: Service) -> bool:
    """Return whether a service is a whole host."""
    return service.application == "host"


class HostDrill:
    """The images of one drilled host, there until the drill clears away."""

    def __init__(self, vault: OpenVault, folder: DrillFolder, open_until_end: ExitStack) -> None:
        """Make nothing yet. `DrillRefusedError` for who may not mount."""
        if os.geteuid() != 0:
            raise DrillRefusedError(
                "a whole host can be drilled by root only: its disks are made and mounted",
                next="run the drill as root.",
            )
        self._vault, self._folder, self._open = vault, folder, open_until_end
        self._work = DiskWork(SystemPrograms(vault.env), vault.env)
        self.file_systems: frozenset[str] = frozenset()
        """By which names the file systems are known that were made."""

    def restore(
        self,
        selected: Selected,
        outcome: Callable[[Outcome], None],
        events: Events,
        limits: Limits | None,
        stop: Cancel,
    ) -> RestoreResult:
        """Make the host's disks as images, and restore onto them; onto a plain folder where its disks cannot be made."""
        inventory = read_inventory(selected.trees)
        layout = self._layout(inventory, outcome)
        if layout is not None:
            self._made(layout, inventory)
            outcome(
                Outcome(
                    "boot loader", "host", "skipped", "written on the day", "not written",
                    "a drill runs nothing of the host with rights over this machine",
                )
            )  # fmt: skip
        request = RestoreRequest(to=os.fsencode(self._folder.restored), include=selected.include, overwrite="older")
        result = run_restore(self._vault, selected.info, request, events=events, limits=limits, stop=stop)
        if layout is not None:
            self._fill()
        return result

    def _layout(self, inventory: Inventory, outcome: Callable[[Outcome], None]) -> Layout | None:
        """Plan images of the host's disks; None, and said, for a host whose disks are not made again."""
        targets = {}
        for number, disk in enumerate(inventory.disks):
            path = os.path.join(self._folder.path, f"disk-{number}.img")
            try:
                with open(path, "xb") as file:
                    file.truncate(disk.bytes)
            except OSError:
                raise DrillSpaceError(
                    f"the place for drills holds no file as large as the host's disk {disk.name}, {disk.bytes} bytes"
                ) from None
            targets[disk.name] = self._work.look(path, sector_bytes=disk.sector_bytes)
        try:
            layout = plan_layout(inventory, targets, architecture=os.uname().machine)
        except HostRefusedError as error:
            outcome(Outcome("disks", "host", "skipped", "made again", "a plain folder", error.what))
            return None
        check_programs(layout, found_on_machine)
        text = f"{len(layout.disks)} disks, {len(layout.file_systems)} file systems"
        outcome(Outcome("disks", "host", "passed", "made again", text))
        return layout

    def _made(self, layout: Layout, inventory: Inventory) -> None:
        devices = self._open.enter_context(self._work.attached(layout))
        self._work.partition(layout, devices)
        self._work.show_partitions(layout, devices)
        for each in layout.file_systems:
            self._work.make(each, devices)
        self.file_systems = self._work.known_names(layout, devices)
        root = (self._folder.restored + inventory.root).rstrip("/")
        self._mounted = self._open.enter_context(self._work.mounted(layout, devices, root, options=OPTIONS))

    def _fill(self) -> None:
        self._work.fill_staged(self._mounted)
