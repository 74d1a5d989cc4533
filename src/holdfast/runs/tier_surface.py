"""What `Vault` can do with several stores, and across an air gap: a part of its surface, in a room of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.base.events import Events, ignore
from holdfast.runs.governed import governed
from holdfast.runs.operations import audited

if TYPE_CHECKING:
    from holdfast.classes.routing import MovePlan
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.courier import Courier
    from holdfast.runs.home_copies import HomeRepaired
    from holdfast.runs.options import Cancel, Limits
    from holdfast.runs.tier_results import CopyRepair, Exposure, MigrateResult, Pending

__all__ = ["TierSurface"]


class TierSurface:
    """Migration, copies, outages and couriers, as methods of `Vault`."""

    _vault: OpenVault

    def migrate_plan(self, *, budget_bytes: int | None = None) -> MovePlan:
        """Return what a migration would do: what may not lie where it lies first, then missing copies, then ages.

        Asks every store. `UsageError` for a vault without policies, `StoreUnreachableError` if a store does not answer.
        """
        from holdfast.runs import migrate

        return migrate.migrate_plan(self._vault, budget_bytes=budget_bytes)

    @audited("migrate")
    def migrate(
        self,
        plan: MovePlan | None = None,
        *,
        budget_bytes: int | None = None,
        dry_run: bool = False,
        limits: Limits | None = None,
        events: Events = ignore,
        stop: Cancel | None = None,
    ) -> MigrateResult:
        """Bring what waits, and every pack that has reached an age, to the stores that its class's policy names.

        Each pack is copied, read back and hashed before an old copy is deleted: every snapshot is restorable at each
        moment, and after a crash at any of them. `budget_bytes` bounds what is copied; the rest is for the next call.
        """
        from holdfast.runs import migrate

        return migrate.run_migrate(
            self._vault, plan, budget_bytes=budget_bytes, dry_run=dry_run, limits=limits, events=events, stop=stop
        )

    @audited("repair")
    def repair_copies(self, *, dry_run: bool = False, events: Events = ignore) -> CopyRepair:
        """Make missing and damaged copies anew from sound ones, and move what lies where its class may not lie.

        What `verify` found damaged is known; what is missing is seen here, by asking every store. A pack without any
        sound copy is counted and left alone.
        """
        from holdfast.runs import migrate

        if dry_run:
            return migrate.run_repair_copies(self._vault, dry_run=True, events=events)
        with governed(self._vault, None, kind="repair", events=events, stop=None):
            return migrate.run_repair_copies(self._vault, events=events)

    @audited("repair")
    def repair_home(self, *, dry_run: bool = False) -> HomeRepaired:
        """Put back from the home's copy what the home has lost or what does not verify, then bring the copy up to date.

        Each object is verified before it is put back, and what was deleted on purpose stays away. Needs the root key.
        `UsageError` for a vault whose home has no copy, `StoreUnreachableError` if the copy's store does not answer.
        """
        from holdfast.runs.home_copies import run_repair_home

        return run_repair_home(self._vault, dry_run=dry_run)

    def pending(self) -> Pending | None:
        """Return what waits because a store was down, by this host's ledger; None for a vault with one store."""
        from holdfast.runs.pending import pending

        return pending(self._vault)

    def exposed(self) -> tuple[Exposure, ...]:
        """Return where older copies lie that may not lie there any more, because their files' class rose since.

        In counts, by source and change of class, with the snapshots to forget if they are to go early. Reads trees: it
        takes about as long as listing every snapshot.
        """
        from holdfast.runs.exposure import exposed

        return exposed(self._vault)

    def courier(self, name: str = "default") -> Courier:
        """Return the courier to a far side behind an air gap: export onto media, take receipts, see what is open.

        The far side takes media by `holdfast.courier_import`, which needs no key.
        """
        from holdfast.runs.courier import Courier

        return Courier(self._vault, name)
