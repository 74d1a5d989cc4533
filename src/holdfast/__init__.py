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
    from holdfast.runs.classify import Classification, classify
    from holdfast.runs.courier_import import courier_import
    from holdfast.runs.options import BackupOptions, ClassRule, Limits, Stream
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
        RepairResult,
        RestoreResult,
        RetentionPolicy,
        SnapshotInfo,
        VaultStats,
        VerifyReport,
    )
    from holdfast.runs.snapshot import Snapshot, SnapshotList
    from holdfast.runs.tier_results import CopyRepair, MigrateResult, Pending, RestorePlan
    from holdfast.runs.tiering import Tiers
    from holdfast.runs.vault import Vault

__version__ = "0.1.0"

_HOMES = {
    "Alert": "base.events",
    "Event": "base.events",
    "Events": "base.events",
    "Finding": "base.events",
    "Note": "base.events",
    "Progress": "base.events",
    "HoldfastError": "errors",
    "courier_import": "runs.courier_import",
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
    "RepairResult": "runs.results",
    "RestoreResult": "runs.results",
    "RetentionPolicy": "runs.results",
    "SnapshotInfo": "runs.results",
    "VaultStats": "runs.results",
    "VerifyReport": "runs.results",
    "Snapshot": "runs.snapshot",
    "SnapshotList": "runs.snapshot",
    "CopyRepair": "runs.tier_results",
    "MigrateResult": "runs.tier_results",
    "Pending": "runs.tier_results",
    "RestorePlan": "runs.tier_results",
    "Tiers": "runs.tiering",
    "Vault": "runs.vault",
}

__all__ = [
    "Alert",
    "BackupOptions",
    "BackupResult",
    "BackupStats",
    "Change",
    "CheckReport",
    "ClassRule",
    "Classification",
    "CopyRepair",
    "EntryInfo",
    "Event",
    "Events",
    "Finding",
    "ForgetPlan",
    "ForgetResult",
    "FoundEntry",
    "HoldfastError",
    "Limits",
    "MigrateResult",
    "Note",
    "Pending",
    "Progress",
    "PruneResult",
    "RepairResult",
    "RestorePlan",
    "RestoreResult",
    "RetentionPolicy",
    "Snapshot",
    "SnapshotInfo",
    "SnapshotList",
    "Stream",
    "Tiers",
    "Vault",
    "VaultStats",
    "VerifyReport",
    "__version__",
    "classify",
    "courier_import",
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
