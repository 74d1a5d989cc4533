"""What a drill comes to, what is in danger, and what is overdue. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from holdfast.base.environment import parse_time
from holdfast.base.events import Alert
from holdfast.base.units import format_seconds
from holdfast.errors import Safety
from holdfast.runs.drill.record import DrillRecord
from holdfast.services.catalogue import Service
from holdfast.services.forecast import Forecast, Sample, forecast
from holdfast.services.judge import Outcome

__all__ = ["Standing", "alerts_of", "forecast_of", "stale_alerts", "standings", "verdict_of"]

FORECAST_DRILLS_MAX = 24


@dataclass(frozen=True, slots=True)
class Standing:
    """How a service stands today: its last drill, its last one that passed, and what is wrong with that."""

    service: str
    title: str
    criticality: str
    rto: float
    last: DrillRecord | None
    passed: DrillRecord | None
    stale: bool
    """No full drill passed within `drill_every`."""
    forecast: Forecast | None

    @property
    def state(self) -> str:
        """`never`, `failed`, `missed`, `stale`, `at-risk` or `proved`."""
        if self.last is None:
            return "never"
        if self.last.verdict != "passed":
            return self.last.verdict
        if self.stale:
            return "stale"
        return "at-risk" if self.forecast is not None and self.forecast.at_risk(self.rto) else "proved"


def verdict_of(
    outcomes: Iterable[Outcome], *, rto: float, rto_achieved: float, rpo: float, rpo_achieved: float, rpo_judged: bool
) -> tuple[str, str]:
    """Return the verdict and its cause."""
    for outcome in outcomes:
        if outcome.state == "failed":
            return "failed", f"{outcome.name}: {outcome.cause}"
    if rto_achieved > rto:
        return "missed", f"back after {format_seconds(rto_achieved)}, the objective is {format_seconds(rto)}"
    if rpo_judged and rpo_achieved > rpo:
        return "missed", f"the data is {format_seconds(rpo_achieved)} old, the objective is {format_seconds(rpo)}"
    return "passed", ""


def forecast_of(records: Sequence[DrillRecord], size: int) -> Forecast | None:
    """Return the forecast for a size from a service's full drills that came back right, oldest first, without scenarios."""
    samples = [
        Sample(
            record.bytes,
            {phase.name: record.phase(phase.name) for phase in record.phases if phase.counted},
            record.first_byte,
        )
        for record in records
        if not record.in_part and record.verdict != "failed" and not record.scenario
    ]
    return forecast(samples[-FORECAST_DRILLS_MAX:], size)


def alerts_of(record: DrillRecord, attention: float) -> Iterator[Alert]:
    """Yield what people must know after a drill: it failed, it missed, or an objective is in danger before it is missed."""
    if record.scenario:
        return
    safe = "no snapshot was touched; older drills and their evidence are as they were."
    if record.verdict == "failed":
        yield Alert(
            "drill-failed",
            record.service,
            f"a drill of {record.service} failed: {record.cause}",
            Safety.AT_RISK,
            safe=safe,
            next=f"read the report (`holdfast drill show {record.id}`), remove the cause, and drill again.",
        )
    elif record.verdict == "missed":
        yield Alert(
            "drill-missed",
            record.service,
            f"a drill of {record.service} missed its objective: {record.cause}",
            Safety.DEGRADED,
            safe="everything came back right; only the objective was missed.",
            next="give the recovery faster hardware, back up more often, or agree on another objective.",
        )
    if record.verdict != "failed" and record.rto_achieved <= record.rto and not record.in_part:
        expected = record.forecast.high if record.forecast is not None else record.rto_achieved
        if max(expected, record.rto_achieved / attention) > record.rto:
            yield Alert(
                "rto-danger",
                record.service,
                f"{record.service} came back in {format_seconds(record.rto_achieved)}; at its size today it may take up to"
                f" {format_seconds(expected)}, the objective is {format_seconds(record.rto)}",
                safe="the objective was met this time.",
                next="drill again at today's size; plan faster recovery hardware before the objective is missed.",
            )
    if record.rpo_judged and record.rpo * attention < record.rpo_achieved <= record.rpo:
        yield Alert(
            "rpo-danger",
            record.service,
            f"the newest snapshot of {record.service} was {format_seconds(record.rpo_achieved)} old,"
            f" the objective is {format_seconds(record.rpo)}",
            safe="the objective was met this time.",
            next="back up more often, or find out why the last run is so long ago.",
        )


def standings(
    services: Mapping[str, Service],
    records: Sequence[DrillRecord],
    now: datetime,
    sizes: Mapping[str, int] | None = None,
) -> tuple[Standing, ...]:
    """Return how every service stands, from records oldest first. Drills with an injected failure do not count."""
    found = []
    for name, service in services.items():
        own = [record for record in records if record.service == name and not record.scenario]
        passed = next((record for record in reversed(own) if record.proves), None)
        size = (sizes or {}).get(name) or (own[-1].bytes if own else 0)
        found.append(
            Standing(
                service=name,
                title=service.shown,
                criticality=service.criticality,
                rto=float(service.rto),
                last=own[-1] if own else None,
                passed=passed,
                stale=passed is None or (now - parse_time(passed.ended)).total_seconds() > service.drill_every,
                forecast=forecast_of(own, size),
            )
        )
    return tuple(found)


def stale_alerts(found: Iterable[Standing]) -> Iterator[Alert]:
    """Yield an alert for every service whose proof is too old or was never made."""
    for standing in found:
        if standing.stale:
            when = f"since {standing.passed.ended[:10]}" if standing.passed else "ever"
            yield Alert(
                "drill-stale",
                standing.service,
                f"no full drill of {standing.service} passed {when}",
                safe="this says nothing about the backups themselves: nobody looked.",
                next=f"run `holdfast drill run {standing.service}`.",
            )
