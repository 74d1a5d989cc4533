"""Whole hosts, as methods of `Vault`: a part of its surface, in a room of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from holdfast.base.events import Events, ignore
from holdfast.runs.operations import audited

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.host_results import HostPlan, HostRestore
    from holdfast.runs.hosts import HostRequest
    from holdfast.runs.options import Cancel, Limits, PathLike
    from holdfast.runs.snapshot import Snapshot
    from holdfast.sources.hosts.inventory import Inventory

__all__ = ["HostSurface"]


class HostSurface:
    """The inventory of a host and its restore to empty disks, as methods of `Vault`."""

    _vault: OpenVault

    if TYPE_CHECKING:

        def snapshot(self, selector: str = "latest") -> Snapshot: ...  # noqa: D102

    def host_inventory(self, snapshot: str = "latest") -> Inventory:
        """Return what the host of a snapshot is made of. `HostInventoryError` if the snapshot does not say."""
        from holdfast.runs.hosts import read_inventory
        from holdfast.runs.trees import Trees

        return read_inventory(Trees(self._vault, self.snapshot(snapshot).info))

    def plan_host(
        self, snapshot: str = "latest", *, disks: Sequence[str] = (), into: PathLike = "", erase: bool = False
    ) -> HostPlan:
        """Return what disks would become so that the host of a snapshot is on them again. Nothing is written.

        Errors as of :meth:`restore_host`.
        """
        from holdfast.runs.hosts import plan_host

        return plan_host(self._vault, self.snapshot(snapshot).info, _request(disks, into, erase=erase))

    @audited("restore")
    def restore_host(
        self,
        snapshot: str = "latest",
        *,
        disks: Sequence[str] = (),
        into: PathLike = "",
        erase: bool = False,
        break_glass: str = "",
        events: Events = ignore,
        limits: Limits | None = None,
        stop: Cancel | None = None,
    ) -> HostRestore:
        """Make a host again on empty disks: partitions and file systems with their identities, files, boot loader; check it by chroot.

        `disks` are `NAME=PATH` (block devices or image files) for each disk of the inventory; `into` is a folder instead where a
        person mounted file systems. A disk that is not empty is refused unless `erase`; one in use or too small always is, before
        anything is written. Interrupted or killed at any moment, nothing stays mounted, and the same call goes on. Only root.

        Errors: `HostInventoryError`, `HostRefusedError`, `HostProgramError`, `HostError` (a step failed), `TargetNotEmptyError`
        (`into`), `ApprovalMissingError`, `StoreRefusedError` (what is needed lies cold), `Interrupted`.
        """
        from holdfast.runs.hosts import restore_host

        request = _request(disks, into, erase=erase, break_glass=break_glass)
        info = self.snapshot(snapshot).info
        return restore_host(self._vault, info, request, events=events, limits=limits, stop=stop)


def _request(disks: Sequence[str], into: PathLike, *, erase: bool, break_glass: str = "") -> HostRequest:
    from holdfast.runs.hosts import HostRequest

    given = (disks,) if isinstance(disks, str) else tuple(disks)
    return HostRequest(given, os.fsdecode(into), erase=erase, break_glass=break_glass)
