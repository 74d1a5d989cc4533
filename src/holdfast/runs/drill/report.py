"""A drill's report: what a director reads first, and an auditor after. A document made of the record alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from holdfast.base.units import format_bytes, format_seconds
from holdfast.reports.document import (
    Block,
    Document,
    Fact,
    Facts,
    Paragraph,
    Point,
    Section,
    Span,
    State,
    Table,
    Timeline,
    Trend,
    Verdict,
)
from holdfast.reports.seal import fingerprint
from holdfast.runs.drill.record import DrillRecord, digest_of

__all__ = ["drill_document"]

TREND_MAX = 12
HEADLINES: dict[str, tuple[State, str]] = {
    "passed": ("good", "{title} comes back within its objective"),
    "missed": ("attention", "{title} comes back, but misses its objective"),
    "failed": ("bad", "{title} does not come back as it should"),
}
KINDS = {
    "full": "full drill",
    "partial": "partial drill: a sample of files, no application",
    "mounted": "drill on a mount: the application and the questions asked, only what they touched",
    "bare": "bare-site drill: with a copy of the store and a recovery kit only",
}
NEXT = {
    "passed": "Nothing needs to be done. The next drill is due as the catalogue of services says.",
    "missed": "Decide: faster recovery hardware, more frequent backups, or another objective that clinical staff agree to.",
    "failed": "Treat this service as not restorable until the cause is removed and a drill has passed. An older snapshot may"
    " still come back: drill one (`holdfast drill run SERVICE --snapshot ID`).",
}
STATES: dict[str, State] = {"passed": "good", "failed": "bad", "skipped": "attention"}


def drill_document(record: DrillRecord, history: Sequence[DrillRecord], public: bytes) -> Document:
    """Return the report of a drill; `history` are the records before it, oldest first."""
    state, headline = HEADLINES[record.verdict]
    scenario = f" · injected failure: {record.scenario}" if record.scenario else ""
    return Document(
        title=f"Restore drill: {record.title}",
        subtitle=f"{KINDS[record.kind]}{scenario} · vault {record.vault_label or record.vault[:12]}",
        made=f"{_moment(record.began)} to {_moment(record.ended)} UTC · record {record.number}, drill {record.id[:12]}",
        lead=(Verdict(state, headline.format(title=record.title), _detail(record)), _figures(record)),
        sections=tuple(_sections(record, [each for each in history if each.service == record.service])),
        footer=(
            f"Record {record.number} of the evidence chain, SHA-256 {digest_of(record)}, signed with the vault's key"
            f" {fingerprint(public)}. Proof, without a network: holdfast report verify FILE. Made by Holdfast {record.holdfast}."
        ),
    )


def _moment(text: str) -> str:
    return text[:16].replace("T", " ")


def _detail(record: DrillRecord) -> str:
    if record.verdict == "passed":
        return (
            f"Everything selected was restored from the snapshot of {_moment(record.snapshot_started)} UTC, checked, and"
            " answered as it should."
        )
    return f"Cause: {record.cause}."


def _figures(record: DrillRecord) -> Facts:
    late: State = "bad" if record.rto_achieved > record.rto else "good"
    old: State = "neutral" if not record.rpo_judged else "bad" if record.rpo_achieved > record.rpo else "good"
    counted = not record.in_part
    return Facts(
        (
            Fact("Time to come back", format_seconds(record.rto_achieved), late if counted else "neutral"),
            Fact("Objective (RTO)", format_seconds(record.rto)),
            Fact("Age of the data", format_seconds(record.rpo_achieved), old),
            Fact("Objective (RPO)", format_seconds(record.rpo)),
            Fact("Restored", format_bytes(record.bytes)),
            Fact("Files", f"{record.files:,}".replace(",", " ")),
            Fact("Rate of the restore", f"{format_bytes(int(record.bytes_per_s))}/s"),
            Fact("Isolation", record.isolation, "attention" if record.weaker else "neutral"),
        )
    )


def _sections(record: DrillRecord, history: Sequence[DrillRecord]) -> Iterator[Section]:
    yield Section("What to do", (Paragraph(NEXT[record.verdict]), *_weaker(record)))
    yield Section("How long it took", tuple(_times(record)))
    yield Section("What was checked", (_checks(record),))
    if not record.in_part:
        yield Section("Against earlier drills", tuple(_trend(record, history)))
    yield Section(
        "What this proves",
        (
            Paragraph(
                f"{record.compared_files} entries were compared with the snapshot by kind, size, mode, owner and time, and"
                f" {format_bytes(record.compared_bytes)} of content were read back from the vault and compared byte by"
                " byte. The restore itself authenticates every byte."
            ),
            Paragraph(
                "The time to come back is the sum of the phases marked as counted, which a real recovery goes through as"
                " well. It does not include noticing the outage, deciding, or getting hardware ready."
            ),
        ),
    )


def _weaker(record: DrillRecord) -> Iterator[Block]:
    if record.weaker:
        yield Verdict("attention", "Isolated more weakly than it should be", "; ".join(record.weaker) + ".")


def _times(record: DrillRecord) -> Iterator[Block]:
    spans = tuple(
        Span(
            phase.name,
            phase.start,
            phase.seconds,
            format_seconds(phase.seconds),
            "neutral" if phase.counted else "muted",
        )
        for phase in record.phases
    )
    yield Timeline("Phases of the drill", spans, record.rto, f"objective {format_seconds(record.rto)}")
    rows = tuple(
        (phase.name, format_seconds(phase.seconds), "counted" if phase.counted else "added by the drill")
        for phase in record.phases
    )
    yield Table(("phase", "took", ""), rows, frozenset({1}))


def _checks(record: DrillRecord) -> Table:
    return Table(
        ("check", "wanted", "found", "cause"),
        tuple((each.name, each.wanted, each.found, each.cause) for each in record.outcomes),
        states=tuple(STATES[each.state] for each in record.outcomes),
        empty="Nothing was checked.",
    )


def _trend(record: DrillRecord, history: Sequence[DrillRecord]) -> Iterator[Block]:
    shown = [each for each in history if not each.in_part and not each.scenario and each.number < record.number]
    states: dict[str, State] = {"passed": "good", "missed": "attention", "failed": "bad"}
    points = tuple(
        Point(each.began[5:10], each.rto_achieved, format_seconds(each.rto_achieved), state=states[each.verdict])
        for each in [*shown[-TREND_MAX + 1 :], record]
    )
    forecast = record.forecast
    expected = None
    if forecast is not None:
        expected = Point(
            "at today's size", forecast.seconds, format_seconds(forecast.seconds), forecast.low, forecast.high
        )
    yield Trend("Time to come back", points, record.rto, f"objective {format_seconds(record.rto)}", expected)
    if forecast is None:
        yield Paragraph("There is no drill yet from which a forecast could be made.")
        return
    risk = " It may miss the objective." if forecast.at_risk(record.rto) else ""
    yield Paragraph(
        f"Forecast for {format_bytes(forecast.bytes)}: {format_seconds(forecast.seconds)}, between {format_seconds(forecast.low)} and"
        f" {format_seconds(forecast.high)} with about 90 % confidence, from {forecast.samples} drills.{risk}"
    )
