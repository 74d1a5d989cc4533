"""From the configuration's governor, probes and windows to what the governor takes: pure translation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import date, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from holdfast.config.objectives import rpo_of
from holdfast.governor.budget import Budget
from holdfast.governor.controller import Rules
from holdfast.governor.plan import GovernorPlan
from holdfast.governor.probes import CommandProbe, HttpProbe, Probe, SqlProbe
from holdfast.governor.windows import Calendar, Window, parse_days

if TYPE_CHECKING:
    from holdfast.config import GovernorSettings, LimitSettings, ProbeSettings, Settings, WindowSettings

__all__ = ["budget_of", "calendar_of", "plan_of", "probe_of"]


def plan_of(settings: Settings, environ: Mapping[str, str]) -> GovernorPlan:
    """Return how runs are governed. `ProbeUnusableError`, `ConfigError` for a secret that cannot be read."""
    governor: GovernorSettings = settings.governor
    return GovernorPlan(
        active=governor.enabled,
        rules=replace(Rules(), slowdown_max=float(governor.slowdown_max)),
        calendar=calendar_of(settings),
        machine=budget_of(governor.machine),
        probes=tuple(probe_of(name, probe, environ) for name, probe in governor.probes.items()),
        objectives={job: timedelta(seconds=rpo) for job in settings.jobs if (rpo := rpo_of(settings, job)) is not None},
        slowdown_max_for_rpo=float(governor.slowdown_max_for_rpo),
        priority=governor.priority,
        cgroup=governor.cgroup,
        hold_seconds=float(governor.hold_seconds),
        wait_for_window=governor.wait_for_window,
    )


def budget_of(table: LimitSettings | WindowSettings) -> Budget:
    """Return the limits of a table as a budget."""
    return Budget(**{field.name: getattr(table, field.name, None) for field in fields(Budget)})


def calendar_of(settings: Settings) -> Calendar:
    """Return the windows. What contradicts itself is found when a run begins, or by `Calendar.check`."""
    windows = tuple(_window(name, window) for name, window in settings.windows.items())
    return Calendar(windows, only_in_maintenance=settings.governor.only_in_maintenance)


def _window(name: str, window: WindowSettings) -> Window:
    return Window(
        name=name,
        mode=window.mode,
        days=parse_days(window.days),
        start=time.fromisoformat(window.start),
        end=time.fromisoformat(window.end),
        zone=ZoneInfo(window.zone),
        budget=budget_of(window),
        slowdown_max=float(window.slowdown_max) if window.slowdown_max is not None else None,
        holidays=frozenset(date.fromisoformat(day) for day in window.holidays),
    )


def probe_of(name: str, probe: ProbeSettings, environ: Mapping[str, str]) -> Probe:
    """Return a probe. `ProbeUnusableError` if its driver is missing or its address makes no sense."""
    seconds = float(probe.timeout_seconds)
    if probe.sql is not None:
        password = probe.password.reveal(environ) if probe.password is not None else None
        return SqlProbe(name, seconds, probe.sql, probe.statement, password)
    if probe.http is not None:
        return HttpProbe(name, seconds, probe.http)
    return CommandProbe(name, seconds, probe.command)
