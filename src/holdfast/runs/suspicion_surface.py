"""What a vault can be asked about suspicious snapshots: the part of the public API beside `Vault.release`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.base.events import ignore
from holdfast.errors import HeldError, UsageError
from holdfast.repository.holds import set_hold
from holdfast.repository.retention import suspicious
from holdfast.repository.snapshots import select
from holdfast.runs.approvals import authorise
from holdfast.runs.locking import locked_anew, locks
from holdfast.runs.operations import audited
from holdfast.runs.suspicion import suspicions
from holdfast.runs.witness import accept_older

if TYPE_CHECKING:
    from holdfast.base.events import Events
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.locking import Lock
    from holdfast.runs.suspicion import Suspicion

__all__ = ["SuspicionSurface"]


class SuspicionSurface:
    """Suspicious snapshots, as methods of `Vault`."""

    _vault: OpenVault

    def suspicions(self) -> tuple[Suspicion, ...]:
        """Return the suspicious snapshots that nobody released, oldest first, each with the last good one before it.

        While there is one, nothing of its source is forgotten by a policy, and that last good one by nobody (`PinnedError`).
        """
        known = locks(self._vault)
        return tuple(
            replace(row, objects=lock.objects, locked=lock.locked, locked_until=lock.until)
            if (lock := known.get(row.last_good)) is not None
            else row
            for row in suspicions(self._vault.snapshots())
        )

    @audited("lock")
    def extend_locks(self, *, events: Events = ignore) -> tuple[Lock, ...]:
        """Extend the locks of every last good snapshot that a suspicious one pins, to the end; return how far that got.

        Runs do a part of it by themselves. Where no store can lock, nothing happens and a note says so. What a store refuses is
        an alert.
        """
        return locked_anew(self._vault, self._vault.snapshots(), events, whole=True)

    @audited("repair")
    def accept_older_state(self, *, reason: str) -> int:
        """Take the older state that the store shows for the vault's; return how many objects that this host saw are given up.

        For when the newer state is lost for good: until then prunes and forgets are refused on this host (`RolledBackError`),
        checks end with exit code 4, and every backup alerts. Needs the root key; `reason` is audited as a digest.
        """
        del reason  # the audit log has its digest
        self._vault.repository.root  # noqa: B018 - refused without the root key
        return accept_older(self._vault)

    @audited("release")
    def release_suspicious(self, selector: str, *, reason: str) -> str:
        """Say that a suspicious snapshot's change was meant: it pins nothing any more; return its id.

        Later runs of its source count it as ordinary. `UsageError` if it is not suspicious; `HeldError` if it is under a
        legal hold: that is for whoever ordered the hold to end, and ends the pin, too.
        """
        repository = self._vault.repository
        info = select(self._vault.snapshots(), selector)
        if info.held:
            raise HeldError(f"snapshot {info.id} is under a legal hold, which a release would end")
        if not suspicious(info):
            raise UsageError(
                f"snapshot {info.id} is not suspicious, or was released",
                next="`holdfast findings list` says which are.",
            )
        authorise(self._vault, "release", {"snapshot": info.id})
        set_hold(repository.home, info.id, repository.root, held=False, reason=reason)
        return info.id
