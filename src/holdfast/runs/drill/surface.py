"""What a vault can be asked about services and drills: the part of the public API that needs a configuration."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from holdfast.base.events import Events, ignore
from holdfast.runs.operations import audited

if TYPE_CHECKING:
    from holdfast.config import Config
    from holdfast.reports.compliance import ComplianceReport
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.drill.drills import DrillReport
    from holdfast.runs.drill.options import DrillOptions
    from holdfast.runs.drill.plan import DrillPlan
    from holdfast.runs.drill.record import DrillRecord, SignedRecord
    from holdfast.runs.drill.scenarios import ScenarioReport
    from holdfast.runs.drill.verdict import Standing
    from holdfast.runs.options import Cancel, Limits, PathLike
    from holdfast.runs.services import ServiceRestore

__all__ = ["DrillSurface"]


class DrillSurface:
    """Drills, reports, runbooks and the restore of services, as methods of `Vault`. `UsageError` without a configuration."""

    _vault: OpenVault
    _config: Config | None

    def plan_drill(self, service: str, options: DrillOptions | None = None) -> DrillPlan:
        """Return what a drill of a configured service would restore, where, and how long it may take. Nothing is restored.

        `UsageError` if there is no such service, `DrillRefusedError` if the place could touch production.
        """
        from holdfast.runs.drill import drills

        return drills.plan_drill(self._vault, self._config, service, options)

    @audited("drill")
    def drill(
        self,
        service: str,
        options: DrillOptions | None = None,
        *,
        events: Events = ignore,
        stop: Cancel | None = None,
    ) -> DrillReport:
        """Restore a service into an isolated place, start its application there, ask it, time and judge it, and keep the proof.

        What is wrong with the backup is the report's verdict. Errors mean that the drill could not be held: `DrillRefusedError`,
        `DrillSpaceError`, `IsolationError`, `DrillProgramError`, `Interrupted`. Either way nothing of it is left, but the evidence.
        """
        from holdfast.runs.drill import drills

        return drills.run_drill(self._vault, self._config, service, options, events=events, stop=stop)

    def drills(self, service: str = "") -> tuple[DrillRecord, ...]:
        """Return the records of the drills there have been, oldest first; only those of a service if given."""
        from holdfast.runs.drill import drills

        settings = drills.settings_of(self._config)
        found = drills.evidence_of(self._vault, settings).records()
        return tuple(record for record in found if not service or record.service == service)

    def drill_record(self, drill: str = "latest") -> SignedRecord:
        """Return the signed record of a drill, by (the beginning of) its id. `EvidenceError` if there is none or several."""
        from holdfast.runs.drill import drills

        return drills.evidence_of(self._vault, drills.settings_of(self._config)).find(drill)

    def drill_report(self, drill: str = "latest", kind: str = "html") -> bytes:
        """Return a drill's report: `html` (sealed), `pdf` (`ReportToolMissingError` without Typst) or `json` (the signed record)."""
        from holdfast.runs.drill import drills

        return drills.write_report(self._vault, self._config, drill, kind)

    def runbook(self, service: str, kind: str = "html") -> bytes:
        """Return a service's runbook as `html` or `pdf`: what to type on the day, with the times of the last drill."""
        from holdfast.runs.drill import drills

        return drills.write_runbook(self._vault, self._config, service, kind)

    def drill_scenario(
        self, service: str, scenario: str, options: DrillOptions | None = None, *, events: Events = ignore
    ) -> ScenarioReport:
        """Inject a failure into a copy of the vault (never into this one), drill the service, and judge whether it went as it should.

        `UsageError` if there is no such scenario, `DrillSpaceError` if there is no room for the copy.
        """
        from holdfast.runs.drill import scenarios

        return scenarios.run_scenario(self._vault, self._config, service, scenario, options, events=events)

    def drill_standings(self, *, events: Events = ignore) -> tuple[Standing, ...]:
        """Return how every configured service stands: last drill, last one that passed, whether that is too old, forecast.

        Emits the alert `drill-stale` for each whose proof is too old or was never made.
        """
        from holdfast.runs.drill import drills

        return drills.stands(self._vault, self._config, events)

    @audited("restore")
    def restore_service(
        self,
        services: str | Sequence[str],
        to: PathLike,
        *,
        needs: bool = True,
        dry_run: bool = False,
        limits: Limits | None = None,
        events: Events = ignore,
        stop: Cancel | None = None,
    ) -> ServiceRestore:
        """Restore services, and what they need before them, each below `to` in a folder of its name.

        In the order of their needs, in parallel where nothing waits; `needs=False` leaves out what is needed. Called again, an
        interrupted one goes on where it stopped. Errors as for `Snapshot.restore`, and `UsageError` for an unknown service.
        """
        from holdfast.runs.services import restore_services

        names = [services] if isinstance(services, str) else [*services]
        return restore_services(
            self._vault,
            self._config,
            names,
            os.fsdecode(to),
            needs=needs,
            dry_run=dry_run,
            limits=limits,
            events=events,
            stop=stop,
        )

    def compliance(self) -> ComplianceReport:
        """Return what the records show of each control of HIPAA, HITECH, NIST and CIS, and what they do not."""
        from holdfast.runs.compliance import report_of

        return report_of(self._vault, self._config)

    def compliance_page(self, report: ComplianceReport, form: str) -> bytes:
        """Return a compliance report as `html`, `pdf` or `json`; the page in HTML sealed, where this credential may.

        `ReportToolMissingError` for a PDF without the extra `reports`.
        """
        from holdfast.runs.compliance import compliance_page
        from holdfast.runs.drill.drills import RootSeal

        signer = RootSeal(self._vault) if self._vault.repository.is_root else None
        return compliance_page(report, form, signer)
