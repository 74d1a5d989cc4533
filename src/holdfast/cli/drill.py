"""`holdfast drill`: hold drills, see how services stand, sweep what a killed one left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import click

from holdfast.base.units import format_bytes, format_seconds
from holdfast.cli.exits import combined
from holdfast.cli.options import Place, Size, output_options, vault_options
from holdfast.cli.output import Output
from holdfast.cli.signals import interruptible
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.runs.drill.drills import DrillReport
    from holdfast.runs.drill.options import DrillOptions
    from holdfast.runs.drill.record import DrillRecord
    from holdfast.runs.vault import Vault

__all__ = [
    "DrillSwept",
    "ScenarioRow",
    "StandingRow",
    "drill_command",
    "list_command",
    "plan_command",
    "run_command",
    "scenarios_command",
    "show_command",
    "summary",
    "sweep_command",
]


@dataclass(frozen=True, slots=True)
class StandingRow:
    """How a service stands."""

    service: str
    title: str
    criticality: str
    state: str
    """`proved`, `at-risk`, `stale`, `missed`, `failed` or `never`."""
    rto_seconds: float
    last: str
    """When its last drill ended; empty: never."""
    last_verdict: str
    last_seconds: float
    forecast_seconds: float
    """At its size today; 0 if that cannot be said."""
    forecast_high_seconds: float


@dataclass(frozen=True, slots=True)
class ScenarioRow:
    """A failure that can be injected."""

    name: str
    title: str
    expects: str
    """`recovers`: the service must come back; `detected`: the drill must fail and name the cause."""


@dataclass(frozen=True, slots=True)
class DrillSwept:
    """What a sweep removed."""

    folders: int
    bytes: int
    processes: int
    living: int
    """Drills under way, left alone."""


@click.group("drill")
def drill_command() -> None:
    """Prove that services come back: restore, start, ask, time and judge them, in an isolated place."""


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        found = datetime.min  # noqa: DTZ901 - a time without a zone, refused below
    if found is not None and found.tzinfo is None:
        raise UsageError("--time takes a time with its zone, such as 2026-11-25T13:00:00+01:00")
    return found


def _options(
    *,
    snapshot: str,
    partial: bool,
    bare: str | None,
    kit: str | None,
    drill_place: str | None,
    limit_read: int | None,
    deep: bool,
    moment: str = "",
    mounted: bool = False,
    checks: Sequence[str] = (),
    thaw: bool = False,
) -> DrillOptions:
    from holdfast.runs.drill.options import BareSite, DrillOptions
    from holdfast.runs.options import Limits

    if (bare is None) != (kit is None):
        raise UsageError("a bare site needs both: --bare STORE and --kit FILE")
    if partial and mounted:
        raise UsageError("a drill is of a sample of files (--partial) or on a mount (--mounted)")
    return DrillOptions(
        kind="partial" if partial else "mounted" if mounted else "full",
        checks=tuple(checks),
        thaw=thaw,
        snapshot=snapshot,
        at=_moment(moment),
        bare=BareSite(bare, kit) if bare is not None else None,
        place=drill_place or "",
        limits=Limits(read_bytes_per_s=limit_read) if limit_read else None,
        deep=deep,
    )


@drill_command.command("run")
@click.argument("services", nargs=-1)
@click.option("--snapshot", default="", metavar="SNAPSHOT", help="Another snapshot than the newest of the service.")
@click.option(
    "--time", "moment", default="", metavar="TIME", help="For a service that `recovers`: the moment to recover to."
)
@click.option("--partial", is_flag=True, help="Restore and compare a random sample of files; start nothing.")
@click.option(
    "--mounted", is_flag=True, help="Start the application on a mount, and fetch only what it and the checks touch."
)
@click.option(
    "--check", "checks", multiple=True, metavar="NAME", help="Ask only this check: of one table, or one study."
)
@click.option(
    "--bare", metavar="STORE", help="Use only this copy of the store and --kit, as a bare recovery site would."
)
@click.option("--kit", metavar="FILE", help="The recovery kit for --bare.")
@click.option("--place", "drill_place", metavar="DIR", help="Another folder for the drill than the configured one.")
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    metavar="NAME",
    help="Inject a failure into a copy first; see `drill scenarios`.",
)
@click.option(
    "--thaw", is_flag=True, help="Ask for what lies cold, and wait for it: hours, and what the store charges."
)
@click.option("--limit-read", type=Size(), help="Read at most so many bytes per second from the vault.")
@click.option("--deep/--no-deep", default=True, help="Let the application's own tools look for damage.")
@vault_options
def run_command(
    *,
    services: Sequence[str],
    snapshot: str,
    moment: str,
    partial: bool,
    mounted: bool,
    checks: Sequence[str],
    thaw: bool,
    bare: str | None,
    kit: str | None,
    drill_place: str | None,
    scenarios: Sequence[str],
    limit_read: int | None,
    deep: bool,
    place: Place,
    out: Output,
) -> int:
    """Hold a drill of each service named, or of all, one after another.

    Each is restored into an isolated place below `drill.place`, started there, asked its checks, timed against its objectives
    and judged; the signed record and a page that people read are kept, and nothing else. Exits 0 if all passed, 8 if one came
    back and missed an objective, 1 if one did not come back as it should, 4 if the vault is damaged.

    Example: holdfast drill run ehr --config /etc/holdfast.toml

    One table, within seconds: holdfast drill run ehr --mounted --check patients
    """
    options = _options(
        snapshot=snapshot,
        partial=partial,
        bare=bare,
        kit=kit,
        drill_place=drill_place,
        limit_read=limit_read,
        deep=deep,
        moment=moment,
        mounted=mounted,
        checks=checks,
        thaw=thaw,
    )
    config = place.load()
    with place.open() as vault, interruptible() as stop:
        names = services or [*(config.settings.services if config is not None else ())]
        if not names:
            raise UsageError("the configuration has no service to drill", next="give it a table [services.NAME].")
        from holdfast.runs.alerting import DRILL_CODES

        codes = []
        for name in names:
            if scenarios:
                codes += [_scenario(vault, name, scenario, options, out) for scenario in scenarios]
                continue
            with out.events(f"drill {name}") as events:
                report = vault.drill(name, options, events=events, stop=stop)
            if report.record.proves:
                out.end_alerts(name, DRILL_CODES, "a later drill passed")
            codes.append(out.result("drill", report.record, report.exit_code, summary(report)))
    return combined(*codes)


def _scenario(vault: Vault, service: str, scenario: str, options: DrillOptions, out: Output) -> int:
    with out.events(f"{scenario} {service}") as events:
        found = vault.drill_scenario(service, scenario, options, events=events)
    word = "as it should" if found.good else "NOT as it should"
    text = f"{scenario} on {service}: {found.outcome} ({word}) in {format_seconds(found.seconds)}"
    return out.result("scenario", found, found.exit_code, [text])


@drill_command.command("plan")
@click.argument("service")
@click.option("--snapshot", default="", metavar="SNAPSHOT", help="Another snapshot than the newest of the service.")
@click.option("--partial", is_flag=True, help="A random sample of files.")
@click.option("--place", "drill_place", metavar="DIR", help="Another folder for the drill than the configured one.")
@vault_options
def plan_command(
    *, service: str, snapshot: str, partial: bool, drill_place: str | None, place: Place, out: Output
) -> int:
    """Say what a drill would restore, whether there is room, and how long it may take. Restores nothing.

    Example: holdfast drill plan ehr
    """
    options = _options(
        snapshot=snapshot, partial=partial, bare=None, kit=None, drill_place=drill_place, limit_read=None, deep=True
    )
    with place.open() as vault:
        plan = vault.plan_drill(service, options)
    lines = [
        f"{plan.title}: {plan.kind} drill of snapshot {plan.snapshot[:12]} ({plan.snapshot_started}), application {plan.application}",
        f"  {plan.files} files, {format_bytes(plan.bytes)};"
        f" needs {format_bytes(plan.space_needed)}, free {format_bytes(plan.space_free)}",
        f"  checks: {', '.join(plan.checks) or 'none'}; isolation {plan.isolation}; objective {format_seconds(plan.rto)}",
    ]
    if plan.forecast is not None:
        low, high = format_seconds(plan.forecast.low), format_seconds(plan.forecast.high)
        lines.append(
            f"  expected {format_seconds(plan.forecast.seconds)} ({low} to {high}, {plan.forecast.samples} drills)"
        )
    if not plan.fits:
        lines.append("  THERE IS NO ROOM for it")
    return out.result("drill-plan", plan, 0 if plan.fits else 1, lines)


@drill_command.command("list")
@click.argument("service", default="")
@click.option("--history", is_flag=True, help="Show every drill there has been instead.")
@vault_options
def list_command(*, service: str, history: bool, place: Place, out: Output) -> int:
    """Show how each service stands: proved, at risk, stale, missed, failed or never drilled.

    Exits 8 if a service is not proved. Example: holdfast drill list
    """
    with place.open() as vault:
        if history:
            return _history(vault.drills(service), out)
        with out.events("drills") as events:
            found = [each for each in vault.drill_standings(events=events) if not service or each.service == service]
    rows = []
    for each in found:
        expected = each.forecast
        row = StandingRow(
            service=each.service,
            title=each.title,
            criticality=each.criticality,
            state=each.state,
            rto_seconds=each.rto,
            last=each.last.ended if each.last else "",
            last_verdict=each.last.verdict if each.last else "",
            last_seconds=each.last.rto_achieved if each.last else 0.0,
            forecast_seconds=expected.seconds if expected else 0.0,
            forecast_high_seconds=expected.high if expected else 0.0,
        )
        if out.as_json:
            out.row("drill-standing", row, "")
        took = format_seconds(row.last_seconds) if each.last else "–"
        rows.append((row.service, row.criticality, row.state.upper() if row.state != "proved" else "proved", took,
                     format_seconds(row.rto_seconds), row.last[:10] or "never"))  # fmt: skip
    out.table(("service", "criticality", "state", "took", "objective", "last drill"), rows, right="34")
    return 0 if all(each.state in ("proved", "at-risk") for each in found) else 8


def _history(records: Sequence[DrillRecord], out: Output) -> int:
    rows = []
    for record in records:
        if out.as_json:
            out.row("drill-record", record, "")
        kind = record.kind + (f"+{record.scenario}" if record.scenario else "")
        ended = record.ended[:16].replace("T", " ")
        took = format_seconds(record.rto_achieved)
        rows.append((str(record.number), record.id[:12], record.service, kind, record.verdict, took, ended))
    out.table(("no", "drill", "service", "kind", "verdict", "took", "ended (UTC)"), rows, right="05")
    return 0


@drill_command.command("show")
@click.argument("drill", default="latest")
@vault_options
def show_command(*, drill: str, place: Place, out: Output) -> int:
    """Show one drill: phases, checks, verdict. DRILL is the beginning of an id, or `latest`.

    Example: holdfast drill show latest
    """
    with place.open() as vault:
        record = vault.drill_record(drill).record
    if out.as_json:
        out.row("drill-record", record, "")
    for text in _record_lines(record):
        out.answer(text)
    out.table(
        ("phase", "took", "counted"),
        [(p.name, format_seconds(p.seconds), "yes" if p.counted else "") for p in record.phases],
        "1",
    )
    rows = [(o.state, o.name, o.wanted, o.found, o.cause) for o in record.outcomes]
    out.table(("state", "check", "wanted", "found", "cause"), rows)
    return 0


@drill_command.command("scenarios")
@output_options
def scenarios_command(*, out: Output) -> int:
    """List the failures that can be injected into a copy of the vault, or into a drill.

    Example: holdfast drill run ehr --scenario corrupt-pack
    """
    from holdfast.runs.drill.scenarios import scenarios

    rows = []
    for found in scenarios().values():
        row = ScenarioRow(found.name, found.title, found.expects)
        if out.as_json:
            out.row("drill-scenario", row, "")
        rows.append((row.name, row.expects, row.title))
    out.table(("scenario", "expected", "what happens"), rows)
    return 0


@drill_command.command("sweep")
@click.option("--place", "drill_place", metavar="DIR", help="Another folder than the configured one.")
@vault_options
def sweep_command(*, drill_place: str | None, place: Place, out: Output) -> int:
    """Remove what killed drills left: processes and folders. Drills under way are left alone. Each drill does this first, too.

    Example: holdfast drill sweep
    """
    from holdfast.runs.drill.place import sweep

    config = place.load()
    where = drill_place or (config.settings.drill.place if config is not None else "")
    if not where:
        raise UsageError("no place was named", next="give --place DIR, or a configuration.")
    found = sweep(where)
    text = f"Removed {found.folders} folders ({format_bytes(found.bytes)}), {found.processes} processes; {found.living} under way."
    return out.result("drill-sweep", DrillSwept(found.folders, found.bytes, found.processes, found.living), 0, [text])


def _record_lines(record: DrillRecord) -> list[str]:
    word = {"passed": "PASSED", "missed": "MISSED ITS OBJECTIVE", "failed": "FAILED"}[record.verdict]
    lines = [
        f"{word}: {record.title} back in {format_seconds(record.rto_achieved)} (objective {format_seconds(record.rto)}),"
        f" data {format_seconds(record.rpo_achieved)} old (objective {format_seconds(record.rpo)})"
    ]
    if record.cause:
        lines.append(f"  cause: {record.cause}")
    if record.weaker:
        lines.append(f"  isolated more weakly: {'; '.join(record.weaker)}")
    return lines


def summary(report: DrillReport) -> list[str]:
    """Return the end of a drill as an administrator reads it."""
    return [*_record_lines(report.record), f"  evidence: {report.file}", f"  report:   {report.page}"]
