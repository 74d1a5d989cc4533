"""WAL in the vault: stored from its spool, trimmed there, listed, fetched back, and kept as long as a snapshot needs it."""

from __future__ import annotations

import dataclasses
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.base.events import Alert, ignore
from holdfast.base.patterns import literal
from holdfast.errors import LocalStateError, Retry, Safety
from holdfast.repository.retention import ForgetDecision, ForgetPlan
from holdfast.runs.backup import BackupRequest, run_backup
from holdfast.sources.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.base.events import Events
    from holdfast.repository.types import SnapshotInfo
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.options import BackupOptions, Cancel
    from holdfast.runs.results import BackupResult

__all__ = ["KEPT_FILES", "LOG_SUFFIX", "keep_logs", "store_log"]

BUSY_TRIES = 60
BUSY_SECONDS = 2.0
LOG_SUFFIX = ".wal"
"""The label of an application's logs is its name and this."""

KEPT_FILES = 2
"""Stored files that stay in the spool: the newest, so that the sequence can be followed."""


def store_log(
    vault: OpenVault,
    application: str,
    folder: bytes,
    options: BackupOptions,
    *,
    events: Events = ignore,
    stop: Cancel | None = None,
) -> BackupResult:
    """Store a spool as a snapshot under the label `APPLICATION.wal`, then remove from it what is stored.

    Only files that were there, under their names, before the run began are removed, and only if all of it is stored whole.
    Gaps and segments let go raise an alert: point-in-time recovery cannot pass them.
    """
    spool = Spool(Path(os.fsdecode(folder)), vault.env)
    names = spool.names()
    spool.take_tail()
    request = BackupRequest((folder,), application + LOG_SUFFIX, _log_options(options, folder), judged=False)
    result = _when_free(vault, request, events, stop)
    state = spool.state()
    if state.gaps or state.dropped:
        missing = sum(gap.segments for gap in state.gaps)
        events(
            Alert(
                "wal-gap",
                application,
                f"{missing} WAL segments are missing: no recovery to a moment between them and the next base backup",
                safety=Safety.DEGRADED,
                retry=Retry.NEVER,
                next="make a new base backup now; `holdfast wal status` lists the gaps.",
            )
        )
    if not result.partial and not result.dry_run:
        spool.stored(names, keep=KEPT_FILES)
    return result


def _when_free(vault: OpenVault, request: BackupRequest, events: Events, stop: Cancel | None) -> BackupResult:
    """Run, waiting for another run of the same spool: a base backup and the job between base backups may meet."""
    for _ in range(BUSY_TRIES - 1):
        try:
            return run_backup(vault, request, events=events, stop=stop)
        except LocalStateError:
            vault.env.sleep(BUSY_SECONDS)
    return run_backup(vault, request, events=events, stop=stop)


def _log_options(options: BackupOptions, folder: bytes) -> BackupOptions:
    """Return how logs are stored: in the classes of the job, whole, and without the spool's own records."""
    hidden = f"{literal(os.fsdecode(folder).rstrip('/'))}/.*"
    return dataclasses.replace(
        options, exclude=(hidden,), streams=(), tags=(), paranoid=False, exclude_larger_than=None, exclude_caches=False
    )


def keep_logs(plan: ForgetPlan, snapshots: Sequence[SnapshotInfo], pitr_days: int, now: datetime) -> ForgetPlan:
    """Return a plan that forgets no log which a kept base backup, or recovery to any moment, needs. Pure.

    Which applications a snapshot holds is sealed, so every snapshot of the same host that is no log counts as a base backup:
    more may be kept than must. A log belongs to a base backup if their times overlap: it was stored before the commit.
    """
    going = set(plan.forget)
    logs = {row.id: row for row in snapshots if row.label.endswith(LOG_SUFFIX)}
    bases = [row for row in snapshots if row.id not in logs and row.id not in going]
    since = now - timedelta(days=pitr_days)

    def needed(log: SnapshotInfo) -> bool:
        mine = [row for row in bases if row.host == log.host]
        recent = [row.started for row in mine if row.counted_at >= since]
        within = bool(recent) and log.finished >= min(recent)
        return within or any(log.started <= row.finished and log.finished >= row.started for row in mine)

    return ForgetPlan(
        tuple(
            ForgetDecision(row.snapshot, keep=True, reasons=("wal",))
            if not row.keep and row.snapshot in logs and needed(logs[row.snapshot])
            else row
            for row in plan.decisions
        )
    )
