"""Objectives in danger are computed from facts alone: each case is a row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from holdfast.errors import Retry, Safety
from holdfast.reliability.objectives import (
    CopyFacts,
    ExpiryFacts,
    ProofFacts,
    SourceFacts,
    StartFacts,
    StoreFacts,
    days_until_full,
    endangered,
)

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
DAY = 86400.0
GB = 10**9


def ago(**by) -> datetime:
    return NOW - timedelta(**by)


def shrinking(per_day: int, days: int = 10, jump: int = 0) -> tuple:
    return tuple(
        (ago(days=days - day), 1000 * GB - per_day * day + (jump if day == days // 2 else 0)) for day in range(days + 1)
    )


@pytest.mark.parametrize(
    ("fact", "expected"),
    [
        (SourceFacts("ehr", ago(hours=4), DAY), None),
        (SourceFacts("ehr", ago(hours=20), DAY), ("rpo-danger", Safety.INTACT, Retry.LATER)),
        (SourceFacts("ehr", ago(hours=24), DAY), ("rpo-missed", Safety.DEGRADED, Retry.EXHAUSTED)),
        (SourceFacts("ehr", ago(hours=72), DAY), ("rpo-missed", Safety.AT_RISK, Retry.EXHAUSTED)),
        (SourceFacts("ehr", None, DAY, ago(hours=25)), ("rpo-missed", Safety.DEGRADED, Retry.EXHAUSTED)),
        (SourceFacts("ehr", None, DAY, ago(hours=1)), None),
        (SourceFacts("ehr", None, DAY), None),
        (SourceFacts("ward7", ago(days=8), silent_seconds=7 * DAY), ("source-silent", Safety.INTACT, Retry.EXHAUSTED)),
        (SourceFacts("ward7", ago(days=6), silent_seconds=7 * DAY), None),
        (SourceFacts("ward7", ago(days=600)), None),
        (SourceFacts("ehr", NOW + timedelta(days=3), DAY), None),
        (StartFacts("ehr", ago(hours=2), 3600, started=False), ("run-missing", Safety.INTACT, Retry.EXHAUSTED)),
        (StartFacts("ehr", ago(hours=2), 3600, started=True), None),
        (StartFacts("ehr", ago(minutes=59), 3600, started=False), None),
        (ProofFacts("vault", "verification", 36, 35), ("verification-overdue", Safety.INTACT, Retry.EXHAUSTED)),
        (ProofFacts("vault", "verification", 34, 35), None),
        (ProofFacts("vault", "verification", None, 35, 36), ("verification-overdue", Safety.INTACT, Retry.EXHAUSTED)),
        (ProofFacts("vault", "verification", None, 35, 3), None),
        (ProofFacts("ehr", "drill", 100, 90), ("drill-overdue", Safety.INTACT, Retry.EXHAUSTED)),
        (CopyFacts("phi", 2, 2), None),
        (CopyFacts("phi", 1, 2), ("copies-missing", Safety.DEGRADED, Retry.EXHAUSTED)),
        (CopyFacts("phi", 0, 2), ("copies-missing", Safety.AT_RISK, Retry.EXHAUSTED)),
        (ExpiryFacts("ca", "certificate", NOW + timedelta(days=31), 30), None),
        (ExpiryFacts("ca", "certificate", NOW + timedelta(days=3), 30), ("certificate-expiring", Safety.INTACT, Retry.NEVER)),
        (ExpiryFacts("root", "key", ago(days=1), 30), ("key-expiring", Safety.INTACT, Retry.EXHAUSTED)),
        (StoreFacts("home", 500 * GB, 1000 * GB), None),
        (StoreFacts("home", 49 * GB, 1000 * GB), ("store-filling", Safety.DEGRADED, Retry.EXHAUSTED)),
        (StoreFacts("home", 0, 0), ("store-filling", Safety.DEGRADED, Retry.EXHAUSTED)),
        (StoreFacts("home", 500 * GB, 1000 * GB, shrinking(90 * GB)), ("store-filling", Safety.INTACT, Retry.NEVER)),
        (StoreFacts("home", 500 * GB, 1000 * GB, shrinking(GB)), None),
    ],
)  # fmt: skip
def test_what_a_fact_is_worth(fact, expected):
    found = endangered([fact], NOW)
    assert [(alert.code, alert.safety, alert.retry) for alert in found] == ([expected] if expected else [])
    for alert in found:
        assert alert.subject == fact.name
        assert alert.text.endswith(".")
        assert alert.safe
        assert alert.next


def test_the_forecast_minds_neither_a_prune_nor_a_first_backup():
    assert days_until_full(shrinking(50 * GB)) == pytest.approx(10, abs=0.1)
    assert days_until_full(shrinking(50 * GB, jump=400 * GB)) == pytest.approx(10, abs=1.5)
    assert days_until_full(shrinking(-GB)) is None
    assert days_until_full(shrinking(GB)[:3]) is None
    assert days_until_full([(NOW, GB)] * 5) is None
