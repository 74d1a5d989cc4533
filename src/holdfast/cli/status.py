"""`holdfast status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from holdfast.base.units import format_bytes, format_seconds
from holdfast.cli.options import Place, vault_options
from holdfast.cli.output import Output
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.runs.monitoring.report import ClassStatus, SourceStatus, StatusReport

__all__ = ["nagios", "status_command"]

NAGIOS = {"ok": (0, "OK"), "attention": (1, "WARNING"), "critical": (2, "CRITICAL")}
NAGIOS_UNKNOWN = 3
_DANGERS_SHOWN_MAX = 10


@click.command("status")
@click.option("--check", "as_check", is_flag=True, help="Print one line as Nagios plug-ins do; exit code 0, 1, 2 or 3.")
@click.option("--metrics", is_flag=True, help="Print the metrics, as Prometheus reads them.")
@vault_options
def status_command(*, as_check: bool, metrics: bool, place: Place, out: Output) -> int:
    """Show at one glance how everything stands: sources and their objectives, verification, copies, schedule, alerts.

    Exit code 0 all is well, 3 something is in danger or an alert waits, 1 an objective is missed, 7 the vault cannot be read.

    Example: holdfast status --config /etc/holdfast/holdfast.toml
    """
    from holdfast.runs.status import status

    if as_check + metrics + out.as_json > 1:
        raise UsageError("--check, --metrics and --json are three forms of one answer", next="give one of them.")
    try:
        report = status(place.configuration())
    except Exception as error:
        if not as_check:
            raise
        click.echo(f"HOLDFAST UNKNOWN - {_first_line(error)}")
        return NAGIOS_UNKNOWN
    if metrics:
        from holdfast.runs.monitoring.metrics import encoded

        click.echo(encoded(report)[0].decode(), nl=False)
        return 0
    if as_check:
        code, line = nagios(report)
        out.answer(line)
        return code
    if not out.as_json:
        _show(report, out)
    return out.result("status", report, report.exit_code, [])


def _first_line(error: Exception) -> str:
    from holdfast.errors import HoldfastError

    return error.what.splitlines()[0] if isinstance(error, HoldfastError) else type(error).__name__


def nagios(report: StatusReport) -> tuple[int, str]:
    """Return exit code and line of a Nagios plug-in: the verdict, the worst of it, and performance data."""
    code, word = NAGIOS[report.verdict]
    missed = sum(source.verdict == "missed" for source in report.sources)
    said = []
    if report.vault_error:
        said.append(f"the vault cannot be read ({report.vault_error})")
    said += report.dangers[:_DANGERS_SHOWN_MAX]
    never = sum(source.verdict == "never" for source in report.sources)
    if never:
        said.append(f"{never} sources were never backed up")
    partial = sum(source.partial for source in report.sources)
    if partial:
        said.append(f"the newest snapshots of {partial} sources have findings")
    doubtful = sum(source.suspicious for source in report.sources)
    if doubtful:
        said.append(f"{doubtful} snapshots are suspicious")
    if report.scheduler_silent:
        said.append("the schedule's service does not run")
    if report.packs_pending:
        said.append(f"{report.packs_pending} packs wait for a store")
    if report.alerts_open:
        said.append(f"{report.alerts_open} alerts wait for an answer")
    text = "; ".join(said) or f"{len(report.sources)} sources, no alert"
    oldest = "U" if report.verified_oldest_days is None else f"{report.verified_oldest_days:.2f}"
    data = (
        f"rpo_missed={missed};;0 alerts_open={report.alerts_open};0 alerts_at_risk={report.alerts_at_risk};;0"
        f" verified_oldest_days={oldest};;{report.verified_within_days:.0f} sources={len(report.sources)}"
    )
    return code, f"HOLDFAST {word} - {text.replace('|', '/')} | {data}"


def _show(report: StatusReport, out: Output) -> None:
    head = {"ok": "All is well.", "attention": "Something needs attention.", "critical": "CRITICAL."}[report.verdict]
    out.answer(head + (f" The vault cannot be read ({report.vault_error})." if report.vault_error else ""))
    for danger in report.dangers:
        out.answer(f"  {danger}")
    out.table(
        (
            "SOURCE",
            "LAST GOOD",
            "AGE",
            "MAY BE",
            "VERDICT",
            "VERIFIED",
            "DRILL",
            "COPIES",
            "ALERTS",
            "SNAPSHOTS",
            "FINDINGS",
        ),
        [_source_row(source) for source in report.sources],
        right="789",
    )
    if report.classes:
        out.table(
            ("CLASS", "PACKS", "COPIES", "LACKING", "VERIFIED", "WITHIN"), [_class_row(each) for each in report.classes]
        )
    if report.entries:
        rows = [
            (
                entry.name,
                entry.kind,
                entry.state,
                f"{entry.next_due:%Y-%m-%d %H:%M}Z" if entry.next_due else "-",
                entry.code or "-",
            )
            for entry in report.entries
        ]
        out.table(("SCHEDULE", "KIND", "NEWEST RUN", "NEXT", "CODE"), rows)
    oldest = (
        "never all"
        if report.verified_oldest_days is None
        else f"{report.verified_oldest_days:.1f} days ago at the oldest"
    )
    out.answer(
        f"Verified: {report.packs_proved} of {report.packs} packs within {report.verified_within_days:.0f} days ({oldest})."
    )
    drill = "none" if report.drill_days is None else f"{report.drill_days:.0f} days ago"
    out.answer(f"Last drill that passed: {drill}. Copies: {report.copies} of {report.copies_wanted}.")
    _show_doubts(report, out)
    if report.packs_pending:
        out.answer(
            f"PENDING: {report.packs_pending} packs ({format_bytes(report.bytes_pending)}) wait for a store: `holdfast migrate`."
        )
    for store in report.stores:
        full = f", full in {store.full_in_days:.0f} days" if store.full_in_days is not None else ""
        out.answer(
            f"Store {store.name}: {format_bytes(store.free_bytes)} of {format_bytes(store.total_bytes)} free{full}."
        )
    out.answer(
        f"Alerts: {report.alerts_open} open, {report.alerts_acknowledged} acknowledged, {report.alerts_at_risk} at risk."
    )
    seen = f"{report.scheduler_seen:%Y-%m-%d %H:%M:%S}Z" if report.scheduler_seen else "never"
    silent = " IT DOES NOT RUN: nothing starts by itself, nobody is told." if report.scheduler_silent else ""
    if not report.vault_error:
        kit = f"{report.kit_rehearsed:%Y-%m-%d}" if report.kit_rehearsed else "NEVER: `holdfast key rehearse`"
        out.answer(f"Recovery kit last opened the vault: {kit}.")
        out.answer(f"Audit log last verified: {_audit_line(report)}.")
    out.answer(f"Schedule's service last seen: {seen}.{silent}")
    if report.nobody_told:
        out.answer("NOBODY IS TOLD when a run fails: no contacts are configured.")


def _audit_line(report: StatusReport) -> str:
    if report.audit_verified is None:
        return "never on this host: `holdfast audit verify`"
    verdict = "sound" if report.audit_sound else "NOT SOUND: `holdfast audit verify` names every fault"
    return f"{report.audit_verified:%Y-%m-%d}, {verdict}"


def _show_doubts(report: StatusReport, out: Output) -> None:
    doubtful = sum(source.suspicious for source in report.sources)
    if doubtful:
        out.answer(f"SUSPICIOUS: {doubtful} snapshots, which count as no good backup: `holdfast findings list`.")
        for source in report.sources:
            if source.locked_until is not None:
                part = f"{source.locked} of {source.objects} objects"
                out.answer(
                    f"  {source.name}: the last good one is locked until {source.locked_until:%Y-%m-%d}, {part}."
                )


def _source_row(source: SourceStatus) -> tuple[str, ...]:
    return (
        source.name,
        f"{source.last_good:%Y-%m-%d %H:%M}Z" if source.last_good else "never",
        format_seconds(source.age_seconds) if source.age_seconds is not None else "-",
        format_seconds(source.rpo_seconds) if source.rpo_seconds is not None else "-",
        source.verdict.upper() if source.verdict == "missed" else source.verdict,
        _days(source.verified_oldest_days, "never all") if source.copies is not None else "-",
        _days(source.drill_days, "none"),
        f"{source.copies} of {source.copies_wanted}" if source.copies is not None else "-",
        str(source.alerts),
        str(source.snapshots),
        str(source.findings),
    )


def _class_row(each: ClassStatus) -> tuple[str, ...]:
    copies = f"{each.copies} of {each.copies_wanted}"
    verified = _days(each.verified_oldest_days, "never all")
    return each.name, str(each.packs), copies, str(each.lacking), verified, f"{each.verified_within_days:.0f}d"


def _days(days: float | None, otherwise: str) -> str:
    return otherwise if days is None else f"{days:.1f}d ago"
