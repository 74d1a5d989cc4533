"""`holdfast check`, `verify`, `stats`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from holdfast.base.units import format_bytes, format_seconds
from holdfast.cli.options import Duration, Place, Size, vault_options
from holdfast.cli.output import Output
from holdfast.cli.records import path_text
from holdfast.cli.signals import interruptible
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.runs.keyless import KeylessReport
    from holdfast.runs.results import CheckReport, DamagedPack, SnapshotCost, VaultStats, VerifyReport

__all__ = ["Part", "check_command", "damaged_lines", "stats_command", "verify_command"]

PROBLEMS_SHOWN_MAX = 50


@click.command("check")
@click.option(
    "--accept-older", metavar="REASON", help="Take the older state that the store shows for the vault's, first."
)
@click.option(
    "--no-key", is_flag=True, help="Ask for no secret: compare what bytes prove by themselves, say what is left out."
)
@vault_options
def check_command(*, place: Place, out: Output, accept_older: str | None, no_key: bool) -> int:
    """Check the structure of the vault; needs no key to content.

    Every object's frame and signature, every reference, presence and size of each pack, and whether the store shows an older state
    than this host has seen. Exit code 4 if anything is wrong. `--accept-older` is for a newer state that is lost for good.
    `--no-key` takes any store of the vault, a copy on a disk, or the folder `vault` of a courier's medium.
    Example: `holdfast check --no-key --vault /mnt/medium/vault`.
    """
    if no_key:
        return _without_key(place, out, packs=False)
    with place.open() as vault, interruptible(at_once=True), out.events("check") as events:
        if accept_older is not None:
            vault.accept_older_state(reason=accept_older)
        report = vault.check(show_paths=out.show_paths, events=events)
    return out.result("check", report, report.exit_code, _check_summary(report))


def _without_key(place: Place, out: Output, *, packs: bool, limit_read: int | None = None) -> int:
    """Do what needs no secret, for both commands."""
    with interruptible(at_once=True), out.events("check") as events:
        report = place.check_without_key(packs=packs, limit_read=limit_read, events=events)
    return out.result("check-no-key", report, report.exit_code, _keyless_summary(report))


def _keyless_summary(report: KeylessReport) -> list[str]:
    lines = [
        *(f"note: {note}" for note in report.notes),
        *(f"not compared: {each}" for each in report.not_compared),
        *(f"DAMAGE: {problem}" for problem in report.problems[:PROBLEMS_SHOWN_MAX]),
    ]
    if len(report.problems) > PROBLEMS_SHOWN_MAX:
        lines.append(f"… and {len(report.problems) - PROBLEMS_SHOWN_MAX} more problems (--json lists all)")
    verdict = (
        "nothing wrong as far as can be seen without a key" if report.sound else f"{len(report.problems)} problems"
    )
    lines.append(
        f"Checked {report.objects} objects ({format_bytes(report.bytes)}) without a key, read {report.packs_read} of"
        f" {report.packs} packs and parity rows in {format_seconds(report.seconds)}: {verdict}"
    )
    return lines


def _check_summary(report: CheckReport) -> list[str]:
    lines = [
        *(f"note: {note}" for note in report.notes),
        *(f"DAMAGE: {problem}" for problem in report.problems[:PROBLEMS_SHOWN_MAX]),
    ]
    lines += damaged_lines(report.damaged, report.costs)
    if len(report.problems) > PROBLEMS_SHOWN_MAX:
        lines.append(f"… and {len(report.problems) - PROBLEMS_SHOWN_MAX} more problems (--json lists all)")
    damaged = f"{len(report.damaged)} packs damaged"
    verdict = "sound" if report.sound else f"{len(report.problems)} problems" if report.problems else damaged
    lines.append(
        f"Checked {report.objects} objects, {report.packs} packs ({format_bytes(report.bytes)}), {report.snapshots} snapshots"
        f" in {format_seconds(report.seconds)}: {verdict}"
    )
    return lines


def damaged_lines(damaged: Sequence[DamagedPack], costs: Sequence[SnapshotCost]) -> list[str]:
    """Return what damaged packs cost: class, files, snapshots; paths where they were asked for."""
    lines = []
    for pack in damaged[:PROBLEMS_SHOWN_MAX]:
        why = "no key" if pack.key_missing else "a part that says so cannot be read"
        files = f"files not counted ({why})" if pack.files < 0 else f"{pack.files} files, {format_bytes(pack.bytes)}"
        unnamed = f", {pack.unnamed} entries without a name" if pack.unnamed else ""
        lines.append(
            f"DAMAGE: pack {pack.pack[:12]} ({pack.class_name}): {pack.reason}; {files}{unnamed}"
            f" in {len(pack.snapshots)} snapshots"
        )
        lines += [f"  {path_text(path)}" for path in pack.paths[:PROBLEMS_SHOWN_MAX]]
    for cost in costs[:PROBLEMS_SHOWN_MAX]:
        lines.append(f"DAMAGE: snapshot {cost.snapshot[:12]} ({cost.class_name}): {_cost_text(cost)}")
        lines += [f"  {path_text(path)}" for path in cost.paths[:PROBLEMS_SHOWN_MAX]]
    if len(costs) > PROBLEMS_SHOWN_MAX:
        lines.append(f"… and {len(costs) - PROBLEMS_SHOWN_MAX} more snapshots lose something (--json lists all)")
    return lines


def _cost_text(cost: SnapshotCost) -> str:
    if cost.files < 0:
        return "what it loses could not be counted"
    parts = [f"{cost.files} files do not come back whole ({format_bytes(cost.bytes)})"]
    if cost.unnamed:
        parts.append(f"{cost.unnamed} entries are lost with their names ({format_bytes(cost.unnamed_bytes)})")
    if cost.unlisted:
        parts.append(f"{cost.unlisted} more are not listed: `holdfast repair index`")
    return "; ".join(parts)


class Part(click.ParamType[float]):
    """A part of the whole: `10%` or `0.1`."""

    name = "part"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - as click
        """Read it; a usage error otherwise."""
        try:
            part = float(value[:-1]) / 100 if isinstance(value, str) and value.endswith("%") else float(value)
        except ValueError:
            part = 0.0
        if not 0 < part <= 1:
            self.fail("not a part of the whole (write 10% or 0.1)", param, ctx)
        return part


@click.command("verify")
@click.option("--sample", type=Part(), help="Read only this part of all packs, those that waited longest first.")
@click.option("--older-than-days", type=click.FloatRange(0), help="Read only packs not verified for so long.")
@click.option("--snapshot", "snapshots", multiple=True, help="Read only what a snapshot needs.")
@click.option("--due", is_flag=True, help="Read only packs of which a copy is due by its class's policy.")
@click.option(
    "--max-bytes",
    type=Size(),
    help="Read no more bytes of packs (one at least) and parity than this; the next run goes on.",
)
@click.option("--max-time", type=Duration(), help="Begin no pack and no parity after so long; the next run goes on.")
@click.option("--content", is_flag=True, help="Open every segment again, also where this host did so before.")
@click.option(
    "--no-key", is_flag=True, help="Ask for no secret: every pack of this store against its name, and no more."
)
@click.option("--no-mark", is_flag=True, help="Do not tell writers about damage.")
@click.option("--limit-read", type=Size(), help="Read at most so many bytes per second.")
@vault_options
def verify_command(
    *,
    sample: float | None,
    older_than_days: float | None,
    snapshots: Sequence[str],
    due: bool,
    max_bytes: int | None,
    max_time: int | None,
    content: bool,
    no_key: bool,
    no_mark: bool,
    limit_read: int | None,
    place: Place,
    out: Output,
) -> int:
    """Read packs back and prove every byte.

    With several stores every copy is read. Without a key to content: each pack against its name. With one: every segment is
    opened and every id recomputed, once for each pack; later its name proves that it is still the same. Exit code 4 if there
    is damage; what it costs is said, and the next backup of each source stores the content again. `--no-key` checks one store,
    a copy or a medium as `check --no-key` does, and every pack and row of parity against its name.
    """
    if no_key:
        if sample or older_than_days or snapshots or due or content or max_bytes or max_time:
            raise UsageError("without a key every pack of one store is read, and nothing is chosen or opened")
        return _without_key(place, out, packs=True, limit_read=limit_read)
    from holdfast.runs.configured import limits
    from holdfast.runs.options import Limits
    from holdfast.runs.verify import VerifyRequest

    config = place.load()
    settings = config.settings.verify if config is not None else VerifyRequest()
    general = limits(config.settings) if config is not None else Limits()
    with place.open(config) as vault, interruptible() as stop, out.events("verify") as events:
        report = vault.verify(
            sample=settings.sample if sample is None else sample,
            older_than_days=settings.older_than_days if older_than_days is None else older_than_days,
            snapshots=snapshots,
            show_paths=out.show_paths,
            mark_damaged=not no_mark,
            due=due,
            content=content,
            bytes_max=settings.bytes_max if max_bytes is None else max_bytes,
            seconds_max=settings.seconds_max if max_time is None else max_time,
            limits=dataclasses.replace(general, read_bytes_per_s=limit_read or general.read_bytes_per_s),
            events=events,
            stop=stop,
        )
    return out.result("verify", report, report.exit_code, _verify_summary(report))


def _verify_summary(report: VerifyReport) -> list[str]:
    lines = [f"DAMAGE: {problem}" for problem in report.problems[:PROBLEMS_SHOWN_MAX]]
    lines += damaged_lines(report.damaged, report.costs)
    lines.append(
        f"Verified {report.packs} of {report.packs_total} packs, {report.segments} segments, {format_bytes(report.bytes)}"
        f" in {format_seconds(report.seconds)}: {_verdict(report)}"
    )
    if report.copies:
        lines.append(f"  {report.copies} further copies on other stores were read and hashed.")
    if report.parity:
        lines.append(f"  {report.parity} parity objects were read and hashed ({format_bytes(report.parity_bytes)}).")
    if report.cold:
        lines.append(f"  {report.cold} packs lie cold and were not read: `holdfast restore … --thaw` asks for them.")
    if report.left:
        lines.append(f"  {report.left} packs wait for the next run, which begins with them: the budget was spent.")
    if report.sets_compared:
        lines.append(f"  {report.sets_compared} reference sets were compared with their trees.")
    if report.runs_countersigned:
        lines.append(f"  {report.runs_countersigned} index runs were countersigned for their writers' groups.")
    if report.damaged_list:
        lines.append("  The next backup of each source stores the affected content again.")
    if report.oldest_days is not None:
        lines.append(f"  No pack was verified longer than {report.oldest_days:.1f} days ago.")
    if report.classes_missing:
        lines.append(f"PARTIAL: {report.classes_missing} data classes were not opened: their key is not at hand")
    return lines


def _verdict(report: VerifyReport) -> str:
    found = [
        *([f"{len(report.damaged)} packs damaged"] if report.damaged else []),
        *([f"{len(report.problems)} problems"] if report.problems else []),
    ]
    return ", ".join(found) or "no damage"


@click.command("stats")
@click.option(
    "--by", type=click.Choice(["class", "source", "snapshot"]), multiple=True, help="Only some of the tables."
)
@vault_options
def stats_command(*, by: Sequence[str], place: Place, out: Output) -> int:
    """Show where the space goes: by class, by source and by snapshot."""
    wanted = set(by or ("class", "source", "snapshot"))
    with place.open() as vault:
        stats = vault.stats(by_snapshot="snapshot" in wanted)
    _stats_tables(out, stats, wanted)
    return out.result(
        "stats",
        stats,
        0,
        [
            f"{format_bytes(stats.bytes)} in {stats.objects} objects, {stats.snapshots} snapshots;"
            f" {format_bytes(stats.unreferenced_bytes)} needed by none (`holdfast prune`)"
        ],
    )


def _stats_tables(out: Output, stats: VaultStats, wanted: set[str]) -> None:
    size = format_bytes
    if "class" in wanted:
        out.table(
            ("CLASS", "PACKS", "STORED", "SEGMENTS", "PLAIN"),
            [
                (c.class_name, f"{c.packs}", size(c.pack_bytes), f"{c.segments}", size(c.plain_bytes))
                for c in stats.classes
            ],
            right="1234",
        )
    if "source" in wanted:
        out.table(
            ("SOURCE", "SNAPSHOTS", "NEEDS", "ALONE"),
            [
                (s.label or s.source[:12], f"{s.snapshots}", size(s.stored_bytes), size(s.exclusive_bytes))
                for s in stats.sources
            ],
            right="123",
        )
    if "snapshot" in wanted:
        out.table(
            ("SNAPSHOT", "NEEDS", "ALONE"),
            [(s.snapshot[:12], size(s.stored_bytes), size(s.exclusive_bytes)) for s in stats.by_snapshot],
            right="12",
        )
