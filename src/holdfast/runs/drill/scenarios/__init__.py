"""Failures on purpose: each is injected into a copy of the vault (never the vault) or into a drill, then drilled and judged.

A site adds its own by entry point, group ``holdfast.scenarios``: a `Scenario`, or a function without arguments that returns one.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from holdfast.base.events import Events, ignore
from holdfast.errors import HoldfastError, UsageError
from holdfast.runs.assembly import STATE_VARIABLE, open_vault
from holdfast.runs.drill.drills import evidence_of, file_drill, settings_of
from holdfast.runs.drill.hold import hold
from holdfast.runs.drill.options import DrillOptions
from holdfast.runs.drill.place import check_place, check_space, free_bytes, open_folder, sweep
from holdfast.runs.drill.plan import production_of
from holdfast.runs.drill.scenarios.copies import copied, store_bytes
from holdfast.runs.drill.scenarios.scenario import Arranged, Broken, Detected, Scenario, ScenarioReport
from holdfast.services.catalogue import service_named, services_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from holdfast.config import Config
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.drill.record import DrillRecord

__all__ = ["Arranged", "Broken", "Detected", "Scenario", "ScenarioReport", "run_scenario", "scenarios"]

GROUP = "holdfast.scenarios"


@cache
def scenarios() -> Mapping[str, Scenario]:
    """Return every scenario by name: those of Holdfast, then those that plug-ins bring."""
    from importlib.metadata import entry_points

    from holdfast.runs.drill.scenarios import defects, disasters

    found = {scenario.name: scenario for scenario in (*disasters.SCENARIOS, *defects.SCENARIOS)}
    for point in entry_points(group=GROUP):
        brought = point.load()
        scenario: Scenario = brought if isinstance(brought, Scenario) else brought()
        found.setdefault(scenario.name, scenario)
    return found


def run_scenario(
    vault: OpenVault,
    config: Config | None,
    service_name: str,
    name: str,
    options: DrillOptions | None = None,
    *,
    events: Events = ignore,
) -> ScenarioReport:
    """Copy the vault, break the copy, drill the service from what is left, and judge; see `Vault.drill_scenario`."""
    settings = settings_of(config)
    service = service_named(services_of(settings), service_name)
    scenario = scenarios().get(name)
    if scenario is None:
        raise UsageError(f"there is no scenario {name!r}", next="`holdfast drill scenarios` lists them.")
    began = vault.env.monotonic()
    place = check_place(
        (options or DrillOptions()).place or settings.drill.place, production=production_of(vault, settings)
    )
    sweep(place)
    check_space(2 * store_bytes(vault), free_bytes(place))
    evidence = evidence_of(vault, settings)
    history = evidence.records()
    with open_folder(place, vault.env) as folder, _state_in(os.path.join(folder.path, "state")):
        copy = copied(vault, folder.path)
        broken = Broken(vault, settings, service, copy, folder.path, vault.env, events)
        try:
            arranged = scenario.break_it(broken)
            record = _drilled(broken, arranged, options or DrillOptions(), scenario, history)
        except Detected as found:
            return _report(
                scenario,
                service.name,
                None,
                found.what,
                good=scenario.expects == "detected",
                seconds=vault.env.monotonic() - began,
            )
        except HoldfastError as error:
            if scenario.errors and error.code in scenario.errors:
                what = f"refused: {error.what.splitlines()[0]}"
                return _report(scenario, service.name, None, what, good=True, seconds=vault.env.monotonic() - began)
            raise
    filed = file_drill(vault, settings, record, evidence, history, events=events).record
    good, outcome = scenario.judged(filed, arranged)
    return _report(scenario, service.name, filed, outcome, good=good, seconds=vault.env.monotonic() - began)


def _drilled(
    broken: Broken, arranged: Arranged, options: DrillOptions, scenario: Scenario, history: tuple[DrillRecord, ...]
) -> DrillRecord:
    """Drill from what the scenario left."""
    from dataclasses import replace

    from holdfast.runs.drill.options import Injection

    opened = open_vault(
        arranged.url,
        key_file=arranged.key_file,
        passphrase=None,
        credential=None,
        env=broken.env,
        behind=arranged.behind,
    )
    try:
        chosen = replace(
            options,
            snapshot=arranged.snapshot or options.snapshot,
            limits=arranged.limits or options.limits,
            injection=replace(arranged.injection, name=scenario.name)
            if arranged.injection
            else Injection(scenario.name),
            bare=None,
            kind="full",
            thaw=True,
        )
        return hold(opened, broken.settings, broken.service, chosen, history, events=broken.events)
    finally:
        opened.close()


def _report(
    scenario: Scenario, service: str, record: DrillRecord | None, outcome: str, *, good: bool, seconds: float
) -> ScenarioReport:
    return ScenarioReport(
        scenario=scenario.name,
        title=scenario.title,
        service=service,
        expects=scenario.expects,
        good=good,
        outcome=outcome,
        drill=record.id if record else "",
        verdict=record.verdict if record else "",
        cause=record.cause if record else "",
        seconds=seconds,
    )


@contextmanager
def _state_in(folder: str) -> Iterator[None]:
    """Let the copy have a state of its own: what a lost host does not have, it does not use."""
    before = os.environ.get(STATE_VARIABLE)
    os.environ[STATE_VARIABLE] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ[STATE_VARIABLE]
        else:
            os.environ[STATE_VARIABLE] = before
