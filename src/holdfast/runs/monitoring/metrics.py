"""Metrics of a status report, as Prometheus and OpenMetrics read them. Names and labels are stable; docs/monitoring.md lists them.

No label holds a path: sources, entries and stores are named as the configuration names them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from holdfast.errors import LocalStateError
from holdfast.reliability.telemetry import Point
from holdfast.runs.monitoring.report import StatusReport

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["encoded", "families", "points", "write_textfile"]

_DAY = 86400.0
VERDICTS = {"ok": 0, "attention": 1, "critical": 2}


def families(report: StatusReport) -> Iterator[Metric]:
    """Yield every metric of a report."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    def gauge(name: str, text: str, value: float | None) -> Iterator[Metric]:
        if value is not None:
            yield GaugeMetricFamily(f"holdfast_{name}", text, value=value)

    yield from gauge("status_verdict", "0 ok, 1 attention, 2 critical.", VERDICTS[report.verdict])
    yield from gauge("status_timestamp_seconds", "When the status was seen.", report.at.timestamp())
    yield from gauge("vault_readable", "Whether the vault could be read.", float(not report.vault_error))
    yield from gauge("alerts_at_risk", "Alerts that say that something may be lost.", report.alerts_at_risk)
    yield from gauge("packs", "Packs of the vault.", report.packs)
    yield from gauge("packs_proved", "Packs proved within the limit.", report.packs_proved)
    yield from gauge(
        "verification_oldest_seconds",
        "Since the pack that waited longest was proved.",
        _seconds(report.verified_oldest_days),
    )
    yield from gauge(
        "verification_limit_seconds",
        "Within which every pack must be proved.",
        _seconds(report.verified_within_days),
    )
    yield from gauge("drill_age_seconds", "Since a drill last succeeded.", _seconds(report.drill_days))
    verified = report.audit_verified.timestamp() if report.audit_verified else None
    yield from gauge("audit_verified_timestamp_seconds", "When this host last verified its audit log.", verified)
    sound = float(report.audit_sound) if report.audit_verified else None
    yield from gauge("audit_sound", "Whether the audit log was sound then.", sound)
    yield from gauge("copies", "Stores that every backup is on.", report.copies)
    yield from gauge("copies_wanted", "Stores that every backup must be on.", report.copies_wanted)
    seen = report.scheduler_seen.timestamp() if report.scheduler_seen else None
    yield from gauge("scheduler_seen_timestamp_seconds", "When the schedule's service last gave a sign of life.", seen)
    alerts = GaugeMetricFamily("holdfast_alerts", "Alerts that are not resolved.", labels=["state"])
    alerts.add_metric(["open"], report.alerts_open)
    alerts.add_metric(["acknowledged"], report.alerts_acknowledged)
    yield alerts
    yield from _sources(report)
    yield from _classes(report)
    yield from _stores(report)
    names = ("runs_done", "runs_failed", "attempts")
    texts = ("Runs that succeeded.", "Runs that failed for good.", "Starts of runs, repeated ones too.")
    for name, text in zip(names, texts, strict=True):
        counter = CounterMetricFamily(f"holdfast_schedule_{name}", text, labels=["entry", "kind"])
        for entry in report.entries:
            counter.add_metric([entry.name, entry.kind], getattr(entry, name))
        yield counter
    running = GaugeMetricFamily("holdfast_schedule_running", "Whether a run is under way.", labels=["entry", "kind"])
    last = GaugeMetricFamily(
        "holdfast_schedule_last_good_timestamp_seconds", "When a run last succeeded.", labels=["entry", "kind"]
    )
    for entry in report.entries:
        running.add_metric([entry.name, entry.kind], float(entry.state == "running"))
        if entry.last_good is not None:
            last.add_metric([entry.name, entry.kind], entry.last_good.timestamp())
    yield running
    yield last


def _sources(report: StatusReport) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    last = GaugeMetricFamily(
        "holdfast_source_last_good_timestamp_seconds", "When the newest good snapshot was finished.", labels=["source"]
    )
    rpo = GaugeMetricFamily(
        "holdfast_source_rpo_seconds", "How old the newest good snapshot may be.", labels=["source"]
    )
    missed = GaugeMetricFamily("holdfast_source_rpo_missed", "Whether that is missed.", labels=["source"])
    snapshots = GaugeMetricFamily("holdfast_source_snapshots", "Snapshots of the source.", labels=["source"])
    findings = GaugeMetricFamily("holdfast_source_findings", "Findings of the newest snapshot.", labels=["source"])
    for source in report.sources:
        if source.last_good is not None:
            last.add_metric([source.name], source.last_good.timestamp())
        if source.rpo_seconds is not None:
            rpo.add_metric([source.name], source.rpo_seconds)
            missed.add_metric([source.name], float(source.verdict == "missed"))
        snapshots.add_metric([source.name], source.snapshots)
        findings.add_metric([source.name], source.findings)
    yield from (last, rpo, missed, snapshots, findings)


def _classes(report: StatusReport) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    rows = (
        ("packs", "Data packs of a class.", lambda each: each.packs),
        ("copies", "Stores that every data pack of a class is on.", lambda each: each.copies),
        ("copies_wanted", "Stores that its policy wants them on.", lambda each: each.copies_wanted),
        ("packs_lacking", "Data packs with fewer copies than their policy asks for.", lambda each: each.lacking),
        (
            "verification_oldest_seconds",
            "Since the copy of a class that waited longest was proved.",
            lambda each: _seconds(each.verified_oldest_days),
        ),
    )
    for name, text, value in rows:
        family = GaugeMetricFamily(f"holdfast_class_{name}", text, labels=["class"])
        for each in report.classes:
            found = value(each)
            if found is not None:
                family.add_metric([each.name], found)
        yield family


def _stores(report: StatusReport) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    free = GaugeMetricFamily("holdfast_store_free_bytes", "Free bytes of a store.", labels=["store"])
    total = GaugeMetricFamily("holdfast_store_total_bytes", "Bytes of a store.", labels=["store"])
    full = GaugeMetricFamily("holdfast_store_full_in_seconds", "Until a store is full.", labels=["store"])
    for store in report.stores:
        free.add_metric([store.name], store.free_bytes)
        total.add_metric([store.name], store.total_bytes)
        if store.full_in_days is not None:
            full.add_metric([store.name], store.full_in_days * _DAY)
    yield from (free, total, full)


def _seconds(days: float | None) -> float | None:
    return None if days is None else days * _DAY


def points(report: StatusReport) -> list[Point]:
    """Return the same figures as an OpenTelemetry collector gets them."""
    return [
        Point(sample.name, family.documentation, sample.labels, sample.value, counts=family.type == "counter")
        for family in families(report)
        for sample in family.samples
    ]


class _Collected:
    """What `prometheus_client` asks for metrics."""

    def __init__(self, report: StatusReport) -> None:
        self._report = report

    def collect(self) -> Iterator[Metric]:
        return families(self._report)


def encoded(report: StatusReport, accept: str = "") -> tuple[bytes, str]:
    """Return the metrics in the format that an `Accept` header asks for (OpenMetrics or Prometheus text), and its name."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry()
    registry.register(_Collected(report))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def write_textfile(report: StatusReport, path: str) -> None:
    """Write the metrics where node_exporter's textfile collector reads them, whole or not at all. `LocalStateError`."""
    content, _ = encoded(report)
    new = f"{path}.new"
    try:
        with open(new, "wb") as file:
            file.write(content)
        os.chmod(new, 0o644)
        os.replace(new, path)
    except OSError as error:
        raise LocalStateError(
            f"the file of metrics cannot be written ({error.strerror})", next="check owner and room of its folder."
        ) from None
