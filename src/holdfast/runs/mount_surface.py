"""Mounting, as methods of `Vault`: a part of its surface, in a room of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.base.events import Events, ignore
from holdfast.runs.operations import audited

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.mounts.mount import MountRequest
    from holdfast.runs.mounts.results import MountResult
    from holdfast.runs.options import Cancel, Limits, PathLike
    from holdfast.runs.snapshot import Snapshot, SnapshotList

__all__ = ["MountSurface"]


class MountSurface:
    """Snapshots as file systems, as methods of `Vault`."""

    _vault: OpenVault

    if TYPE_CHECKING:

        def snapshot(self, selector: str = "latest") -> Snapshot: ...  # noqa: D102
        def snapshots(self, source: str = "") -> SnapshotList: ...  # noqa: D102

    @audited("mount")
    def mount(
        self,
        place: PathLike,
        *,
        snapshot: str = "",
        classes: Sequence[str] = (),
        allow_other: bool = False,
        owners: bool | None = None,
        break_glass: str = "",
        events: Events = ignore,
        stop: Cancel | None = None,
    ) -> MountResult:
        """Mount one snapshot, or all by source and time (`snapshots/SOURCE/TIME`), read-only; return when it is unmounted.

        Every byte that is read was proved; what cannot be is `EIO`. The classes that the key at hand does not open are not
        to be seen, and the result counts them. All snapshots are those there are now. `stop` unmounts. `owners` None: files
        show their owners if root, else the caller's. Recorded from beginning to end as what it is: a reading of patient data.
        Where a snapshot that cannot be read may be the newest, there is no `latest`; the result counts such snapshots.

        Errors: `DamageError` (no snapshot can be read), `FuseMissingError`, `MountError`, `MountBusyError`,
        `TargetNotEmptyError`, `TargetInsideVaultError`,
        `NotPermittedError`, `ApprovalMissingError`, `StoreRefusedError` (what is needed lies cold).
        """
        from holdfast.runs.mounts.mount import mount_snapshots

        request = _request(place, classes, allow_other=allow_other, owners=owners, break_glass=break_glass)
        lost: tuple[str, ...] = ()
        if snapshot:
            infos = [self.snapshot(snapshot).info]
        else:
            known = self.snapshots()
            infos, lost = [each.info for each in known], known.damaged
        return mount_snapshots(
            self._vault, infos, request, alone=bool(snapshot), unreadable=lost, events=events, stop=stop
        )

    @audited("mount")
    def mount_writable(
        self,
        place: PathLike,
        *,
        snapshot: str = "",
        upper: PathLike | None = None,
        fill: bool = True,
        classes: Sequence[str] = (),
        allow_other: bool = False,
        owners: bool | None = None,
        break_glass: str = "",
        events: Events = ignore,
        limits: Limits | None = None,
        stop: Cancel | None = None,
    ) -> MountResult:
        """Mount a snapshot so that an application works on it at once; return when it is unmounted.

        What is written goes to a local folder (`upper`; beside `place` unless given), and the background fills that with the
        rest: what is touched first, under `limits`. Killed at any moment, it is mounted again with the same call and nothing
        that was synced is lost. When everything is here, `finish_mount` makes it a plain folder. `snapshot` empty: the one
        that the folder was begun with, else the newest.

        The vault is only read. Errors: as of :meth:`mount`; `UsageError` if the folder was begun with another snapshot.
        """
        from holdfast.runs.mounts.mount import mount_writable

        request = _request(place, classes, allow_other=allow_other, owners=owners, break_glass=break_glass)
        known = self.snapshots()
        return mount_writable(
            self._vault,
            self.snapshot(snapshot).info if snapshot else None,
            request,
            upper=None if upper is None else _absolute(upper),
            newest=known[-1].info if len(known) and not known.damaged and not snapshot else None,
            unreadable=known.damaged,
            fill=fill,
            events=events,
            limits=limits,
            stop=stop,
        )


def _absolute(path: PathLike) -> Path:
    return Path(os.path.abspath(os.fsdecode(path)))


def _request(
    place: PathLike, classes: Sequence[str], *, allow_other: bool, owners: bool | None, break_glass: str
) -> MountRequest:
    from holdfast.runs.mounts.mount import MountRequest

    return MountRequest(
        _absolute(place), classes=tuple(classes), allow_other=allow_other, owners=owners, break_glass=break_glass
    )
