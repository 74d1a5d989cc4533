"""Holdfast: backups that a hospital can rely on.

    vault = holdfast.Vault.open("/backup/vault", key_file="vault.key")
    result = vault.backup(["/srv/ehr"], label="ehr")
    vault.snapshots().latest().restore(to="/restore")

Every error is a `HoldfastError`: what happened, what is safe, what to do next.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.base.events import Alert, Event, Events, Finding, Note, Progress
    from holdfast.errors import HoldfastError
    from holdfast.runs.assembly import promote_home
    from holdfast.runs.classify import Classification, classify
    from holdfast.runs.courier_import import courier_import
    from holdfast.runs.drill.drills import DrillReport
    from holdfast.runs.drill.options import BareSite, DrillOptions
    from holdfast.runs.drill.plan import DrillPlan
    from holdfast.runs.drill.record import DrillRecord
    from holdfast.runs.home_copies import HomeRepaired
    from holdfast.runs.keyless import KeylessReport, check_without_key
    from holdfast.runs.mounts.results import MountFinished, MountResult
    from holdfast.runs.mounts.upper import finish_mount
    from holdfast.runs.options import BackupOptions, ClassRule, Limits, Stream
    from holdfast.runs.recovery import Prepared, RecoveryTarget
    from holdfast.runs.results import (
        BackupResult,
        BackupStats,
        Change,
        CheckReport,
        EntryInfo,
        ForgetPlan,
        ForgetResult,
        FoundEntry,
        PruneResult,
        RepairReport,
        RepairResult,
        RestoreResult,
        RetentionPolicy,
        SnapshotInfo,
        VaultStats,
        VerifyReport,
    )
    from holdfast.runs.services import ServiceRestore
    from holdfast.runs.snapshot import Snapshot, SnapshotList
    from holdfast.runs.steer import RunStatus, pause_runs, resume_runs, run_status, set_run_limits, suggest_windows
    from holdfast.runs.tier_results import CopyRepair, MigrateResult, Pending, RestorePlan
    from holdfast.runs.tiering import Tiers
    from holdfast.runs.vault import Vault
    from holdfast.sources.connectors.protocol import Evidence

__version__ = "0.1.0"

_HOMES = {
    "Alert": "base.events",
    "Event": "base.events",
    "Events": "base.events",
    "Finding": "base.events",
    "Note": "base.events",
    "Progress": "base.events",
    "HoldfastError": "errors",
    "check_without_key": "runs.keyless",
    "courier_import": "runs.courier_import",
    "HomeRepaired": "runs.home_copies",
    "KeylessReport": "runs.keyless",
    "promote_home": "runs.assembly",
    "BareSite": "runs.drill.options",
    "DrillOptions": "runs.drill.options",
    "DrillPlan": "runs.drill.plan",
    "DrillRecord": "runs.drill.record",
    "DrillReport": "runs.drill.drills",
    "Classification": "runs.classify",
    "classify": "runs.classify",
    "BackupOptions": "runs.options",
    "ClassRule": "runs.options",
    "Limits": "runs.options",
    "Stream": "runs.options",
    "BackupResult": "runs.results",
    "BackupStats": "runs.results",
    "Change": "runs.results",
    "CheckReport": "runs.results",
    "EntryInfo": "runs.results",
    "ForgetPlan": "runs.results",
    "ForgetResult": "runs.results",
    "FoundEntry": "runs.results",
    "PruneResult": "runs.results",
    "RepairReport": "runs.results",
    "RepairResult": "runs.results",
    "RestoreResult": "runs.results",
    "RetentionPolicy": "runs.results",
    "SnapshotInfo": "runs.results",
    "VaultStats": "runs.results",
    "VerifyReport": "runs.results",
    "ServiceRestore": "runs.services",
    "Evidence": "sources.connectors.protocol",
    "Prepared": "runs.recovery",
    "RecoveryTarget": "runs.recovery",
    "Snapshot": "runs.snapshot",
    "SnapshotList": "runs.snapshot",
    "RunStatus": "runs.steer",
    "pause_runs": "runs.steer",
    "resume_runs": "runs.steer",
    "run_status": "runs.steer",
    "set_run_limits": "runs.steer",
    "suggest_windows": "runs.steer",
    "CopyRepair": "runs.tier_results",
    "MigrateResult": "runs.tier_results",
    "Pending": "runs.tier_results",
    "RestorePlan": "runs.tier_results",
    "Tiers": "runs.tiering",
    "MountFinished": "runs.mounts.results",
    "MountResult": "runs.mounts.results",
    "finish_mount": "runs.mounts.upper",
    "Vault": "runs.vault",
}

__all__ = [
    "Alert",
    "BackupOptions",
    "BackupResult",
    "BackupStats",
    "BareSite",
    "Change",
    "CheckReport",
    "ClassRule",
    "Classification",
    "CopyRepair",
    "DrillOptions",
    "DrillPlan",
    "DrillRecord",
    "DrillReport",
    "EntryInfo",
    "Event",
    "Events",
    "Evidence",
    "Finding",
    "ForgetPlan",
    "ForgetResult",
    "FoundEntry",
    "HoldfastError",
    "HomeRepaired",
    "KeylessReport",
    "Limits",
    "MigrateResult",
    "MountFinished",
    "MountResult",
    "Note",
    "Pending",
    "Prepared",
    "Progress",
    "PruneResult",
    "RecoveryTarget",
    "RepairReport",
    "RepairResult",
    "RestorePlan",
    "RestoreResult",
    "RetentionPolicy",
    "RunStatus",
    "ServiceRestore",
    "Snapshot",
    "SnapshotInfo",
    "SnapshotList",
    "Stream",
    "Tiers",
    "Vault",
    "VaultStats",
    "VerifyReport",
    "__version__",
    "check_without_key",
    "classify",
    "courier_import",
    "finish_mount",
    "pause_runs",
    "promote_home",
    "resume_runs",
    "run_status",
    "set_run_limits",
    "suggest_windows",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that `import holdfast` and `holdfast --help` stay quick."""
    home = _HOMES.get(name)
    if home is None:
        message = f"module 'holdfast' has no attribute {name!r}"
        raise AttributeError(message)
    found: object = getattr(importlib.import_module(f"holdfast.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
