"""`holdfast findings`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from holdfast.cli.options import Place, vault_options
from holdfast.cli.output import Output

if TYPE_CHECKING:
    from holdfast.runs.suspicion import Suspicion

__all__ = ["SuspicionReleased", "findings_command", "list_command", "lock_command", "release_command"]

ID_SHOWN = 12


@dataclass(frozen=True, slots=True)
class SuspicionReleased:
    """A suspicious snapshot that a person released."""

    snapshot: str
    """Id of the snapshot. It pins nothing any more, and counts as ordinary from now on."""


@click.group("findings")
def findings_command() -> None:
    """List and release snapshots that look like ransomware's work."""


@findings_command.command("list")
@vault_options
def list_command(*, place: Place, out: Output) -> int:
    """List the suspicious snapshots that nobody released, and the last good one before each. Exit code 3 if there is one.

    While one is listed, nothing of its source is forgotten by a policy, and its last good snapshot by nobody.

    Example: holdfast findings list --json
    """
    with place.open() as vault:
        found = vault.suspicions()
    for row in found:
        out.row("suspicion", row, _text(row))
    if not out.as_json:
        out.say(f"{len(found)} suspicious snapshots wait for a person's word" if found else "Nothing is suspicious.")
    return 3 if found else 0


def _text(row: Suspicion) -> str:
    good = "none"
    if row.last_good_finished is not None:
        good = f"{row.last_good[:ID_SHOWN]} of {row.last_good_finished:%Y-%m-%d %H:%M}Z"
    lock = ""
    if row.locked_until is not None:
        part = "" if row.locked >= row.objects else f" ({row.locked} of {row.objects} objects)"
        lock = f", locked until {row.locked_until:%Y-%m-%d}{part}"
    again = f"\n  an attack: holdfast restore {row.last_good[:ID_SHOWN]} --to DIR" if row.last_good else ""
    return (
        f"{row.snapshot[:ID_SHOWN]} {row.finished:%Y-%m-%d %H:%M}Z {row.label or row.source[:ID_SHOWN]}:"
        f" {row.anomaly} of 1000; last good: {good}{lock}; {row.kept} snapshots kept"
        f"{again}\n  it was meant: holdfast findings release {row.snapshot[:ID_SHOWN]} --reason TEXT"
    )


@findings_command.command("lock")
@vault_options
def lock_command(*, place: Place, out: Output) -> int:
    """Have stores refuse to delete what the last good snapshots before suspicious ones need, for `anomaly.lock_days` from now.

    Runs do that by themselves, a bounded part each; this does all of it, with a credential that may set retention. Exit code
    3 if something could not be locked.

    Example: holdfast findings lock
    """
    with place.open() as vault:
        with out.events("Locking") as events:
            found = vault.extend_locks(events=events)
        waiting = len({row.last_good for row in vault.suspicions() if row.last_good})
    for row in found:
        out.row(
            "lock", row, f"{row.snapshot[:ID_SHOWN]} {row.locked} of {row.objects} objects until {row.until:%Y-%m-%d}"
        )
    if not out.as_json:
        out.say(f"{len(found)} of {waiting} pinned snapshots are locked." if waiting else "Nothing is pinned.")
    return 3 if sum(row.complete for row in found) < waiting else 0


@findings_command.command("release")
@click.argument("snapshot")
@click.option("--reason", required=True, help="Why the change was meant; kept in the vault.")
@vault_options
def release_command(*, snapshot: str, reason: str, place: Place, out: Output) -> int:
    """Say that a suspicious snapshot's change was meant: it pins nothing any more.

    Example: holdfast findings release 3f2a --reason "moved the document store, change 4711"
    """
    from holdfast.runs.alerting import ANOMALY_CODES

    with place.open() as vault:
        before = vault.suspicions()
        found = vault.release_suspicious(snapshot, reason=reason)
    subjects = {row.snapshot: row.subject for row in before}
    subject = subjects.pop(found, "")
    if subject and subject not in subjects.values():
        out.end_alerts(subject, ANOMALY_CODES, "what was suspicious was released")
    return out.result("released", SuspicionReleased(found), 0, [f"Snapshot {found[:ID_SHOWN]} is released."])
