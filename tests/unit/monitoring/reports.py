"""A report in which everything has a value, for tests of what is made of reports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from holdfast.runs.monitoring.report import ClassStatus, EntryStatus, SourceStatus, StatusReport, StoreStatus

MOMENT = datetime(2026, 11, 23, 3, tzinfo=UTC)


def full_report(at: datetime = MOMENT, **more) -> StatusReport:
    values: dict[str, Any] = {
        "verdict": "attention",
        "vault": "ab" * 16,
        "vault_error": "",
        "sources": (
            SourceStatus("ehr", at - timedelta(hours=1), 3600.0, 86400.0, "ok", 7, True, 2, "cd" * 16),
            SourceStatus("pacs", at - timedelta(hours=30), 108_000.0, 86400.0, "missed", 3),
            SourceStatus("new", None, None, None, "unwatched"),
        ),
        "entries": (
            EntryStatus("ehr-nightly", "backup", "running", at, at - timedelta(hours=1), at + timedelta(hours=23), 2, "", 9, 1, 12),
            EntryStatus("proof", "verify", "never", None, None, None),
        ),
        "stores": (StoreStatus("vault", 4_000_000_000, 10_000_000_000, 12.5),),
        "packs": 10,
        "packs_proved": 8,
        "verified_oldest_days": 40.0,
        "verified_within_days": 35.0,
        "drill_days": 12.0,
        "copies": 1,
        "copies_wanted": 2,
        "classes": (
            ClassStatus("phi", 8, 1, 2, 3, 40.0, 30.0),
            ClassStatus("system", 2, 1, 1, 0, None, 180.0),
        ),
        "alerts_open": 1,
        "alerts_acknowledged": 2,
        "alerts_at_risk": 0,
        "dangers": ("rpo-missed pacs",),
        "scheduler_seen": at - timedelta(seconds=5),
    }  # fmt: skip
    return StatusReport(at=at, **(values | more))
