"""`holdfast audit`: the log of every operation."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from holdfast.base.environment import system
from holdfast.cli.keys import write_parts, write_secret
from holdfast.cli.options import Place, vault_options
from holdfast.cli.output import AUDIT_VERIFY, Output
from holdfast.errors import MissingError, UsageError
from holdfast.reliability.audit.collect import Sent
from holdfast.reliability.audit.read import ProofChecked
from holdfast.reliability.audit.verify import LogReport
from holdfast.runs.audit import AuditTrail, Renewed
from holdfast.runs.trail import AUDIT_LOG, AUDIT_UNSOUND

if TYPE_CHECKING:
    from holdfast.reliability.audit import PublicKey, SignedHead
    from holdfast.reliability.audit.read import Listed

__all__ = [
    "HeadShown",
    "LogReport",
    "ProofChecked",
    "RecordListed",
    "Renewed",
    "Sent",
    "Written",
    "audit_command",
    "daily_command",
    "export_command",
    "head_command",
    "list_command",
    "prove_command",
    "renew_command",
    "send_command",
    "verify_command",
]


NEWEST_MAX = 100_000
"""The newest so many are held; older ones are listed from a time on, without holding any."""


@dataclass(frozen=True, slots=True)
class RecordListed:
    """A record of the audit log."""

    number: int
    """Its place in the log, from 0."""
    time: datetime
    kind: str
    """`backup`, `restore`, `forget`, …"""
    phase: str
    """`begin`, `end` or `event`."""
    outcome: str
    """`success`, `partial`, `failure`, `denied`, `interrupted`; empty for a beginning."""
    user: str
    uid: int
    host: str
    role: str
    """What the credential could do."""
    subject: str
    """What it was about, opaque."""
    code: str
    """The error's code, if there was one."""
    operation: str
    """What a beginning and its end have in common."""


@dataclass(frozen=True, slots=True)
class HeadShown:
    """A signed head of the audit log."""

    log: str
    """The log's id."""
    size: int
    """How many records it counts."""
    root: str
    """The Merkle root over them."""
    time: datetime
    signature: str
    """Base64."""
    fingerprint: str
    """SHA-256 of the public key."""
    anchored: bool
    """Whether it was put into the vault, too."""


@dataclass(frozen=True, slots=True)
class Written:
    """A file that a command wrote."""

    what: str
    """`proof`, `export`, `public-key` or `heads`."""
    count: int
    """How many records or heads are in it."""


@click.group("audit")
def audit_command() -> None:
    """The audit log: who did what, when, with which outcome; append-only, hash-chained, anchored in the vault."""


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError("a time is written as 2026-11-23 or 2026-11-23T03:00:00+00:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _span(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--since` and `--until`."""
    for name, text in (("until", "Only before this time."), ("since", "Only from this time on (UTC without a zone).")):
        function = click.option(f"--{name}", metavar="TIME", help=text)(function)
    return function


@audit_command.command("list")
@_span
@click.option("--kind", default="", help="Only one kind, as `restore`.")
@click.option("--newest", type=click.IntRange(0, NEWEST_MAX), default=0, help="Only the newest so many.")
@vault_options
def list_command(*, since: str | None, until: str | None, kind: str, newest: int, place: Place, out: Output) -> int:
    """List records, oldest first. Reading the log is itself recorded.

    Example: holdfast audit list --since 2026-11-01 --kind restore
    """
    span = {"since": _moment(since), "until": _moment(until)}
    with place.open() as vault, closing(vault.audit.records(**span, kind=kind, newest=newest)) as found:
        for each in found:
            row = _row(each)
            text = f"{row.number:>8}  {row.time:%Y-%m-%d %H:%M:%S}Z  {row.kind:<18} {row.phase:<5} {row.outcome or '-':<11}"
            out.row("audit-record", row, f"{text} {row.user}@{row.host} {row.subject} {row.code}".rstrip())
    return 0


def _row(each: Listed) -> RecordListed:
    record = each.record
    return RecordListed(
        each.number,
        record.time,
        record.kind,
        record.phase,
        record.outcome,
        record.actor.user,
        record.actor.uid,
        record.actor.host,
        record.actor.role,
        record.subject,
        record.code,
        record.operation,
    )


@audit_command.command("verify")
@click.option("--log", "log", metavar="DIR", help="A copy of the log's folder: no vault is opened.")
@click.option("--public-key", metavar="FILE", help="The public key that the auditor keeps (PEM).")
@click.option("--heads", "heads", multiple=True, metavar="FILE", help="Heads kept elsewhere, one per line.")
@click.option("--proof", metavar="FILE", help="Check one proof with the public key, and nothing else.")
@vault_options
def verify_command(
    *,
    log: str | None,
    public_key: str | None,
    heads: Sequence[str],
    proof: str | None,
    place: Place,
    out: Output,
) -> int:
    """Verify that no record was changed, removed, reordered or cut off up to the last head. Exit code 4 if one was.

    With the vault, its anchored heads count, too. Offline, with the public key alone:

    holdfast audit verify --log COPY --public-key audit.pem --heads heads.txt
    """
    public = _public(public_key)
    if proof is not None:
        return _check_proof(proof, public, out)
    from holdfast.runs.audit import heads_of_file

    given = [head for name in heads for head in heads_of_file(Path(name))]
    if log is not None:
        report = _verify_copy(Path(log), public, given)
        return out.result("audit-verify", report, report.exit_code, _verify_summary(report))
    with out.events(AUDIT_VERIFY) as events, place.open() as vault:
        report = vault.audit.verify(public=public, heads=given, events=events)
    if report.sound:
        out.end_alerts(AUDIT_LOG, frozenset({AUDIT_UNSOUND}), "the log was verified and is sound")
    return out.result("audit-verify", report, report.exit_code, _verify_summary(report))


def _verify_copy(folder: Path, public: PublicKey | None, heads: Sequence[SignedHead]) -> LogReport:
    from holdfast.reliability.audit.verify import verify_log

    if public is None:
        raise UsageError("a copy of a log is verified with the public key", next="give --public-key FILE.")
    try:
        return verify_log(folder, system(), public=public, anchored=heads)
    except FileNotFoundError:
        raise MissingError(
            "there is no audit log in this folder", next="name the folder that holds `log.json`, or a copy of it."
        ) from None


def _public(name: str | None) -> PublicKey | None:
    if name is None:
        return None
    from holdfast.reliability.audit import PublicKey

    try:
        found = PublicKey(Path(name).read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError):
        raise MissingError("the file of the public key cannot be read") from None
    _ = found.fingerprint
    return found


def _check_proof(name: str, public: PublicKey | None, out: Output) -> int:
    from holdfast.reliability.audit.read import PROOF_BYTES_MAX, check_proof

    if public is None:
        raise UsageError("a proof is checked with the public key", next="give --public-key FILE.")
    try:
        with open(name, "rb") as file:
            data = file.read(PROOF_BYTES_MAX)
    except OSError:
        raise MissingError("the proof cannot be read") from None
    found = check_proof(data, public)
    said = f"record {found.number} is" if found.kind == "record" else f"the first {found.number} records are"
    text = [
        f"Holds: {said} in log {found.log} of {found.size} records, signed {found.signed:%Y-%m-%d %H:%M:%S}Z.",
        found.record,
    ]
    return out.result("audit-proof", found, 0, [line for line in text if line])


_UNPROVED = frozenset({"other-key", "unsigned"})
"""Problems that are no change, but leave everything unproved."""


def _verify_summary(report: LogReport) -> list[str]:
    lines = [
        f"{'UNPROVED' if problem.kind in _UNPROVED else 'TAMPERED'}: {problem.kind}: {problem.text}"
        for problem in report.problems
    ]
    if report.torn_bytes:
        lines.append(f"note: {report.torn_bytes} bytes at the end are of a record that was cut short, or cut off since")
    if report.sound and report.proved < report.records:
        left = report.records - report.proved
        lines.append(
            f"note: the last {left} records are not under a signed head yet: whoever owns these files could write those"
        )
    if report.sound and not report.anchored:
        lines.append(
            "note: no head from elsewhere was at hand: who owns this host's files could have cut or rewritten all"
        )
    verdict = "sound" if report.sound else f"{len(report.problems)} faults"
    lines.append(
        f"Verified {report.records} records and {report.heads} signed heads in {report.seconds:.1f} s: {verdict}."
        f" Proved are the first {report.proved}. Heads from elsewhere cover {report.anchored} records."
        + (f" Key {report.fingerprint[:16]}." if report.fingerprint else "")
    )
    return lines


@audit_command.command("head")
@click.option("--public-key", "public_key", metavar="FILE", help="Write the public key there, for the auditor.")
@click.option("--heads", "heads", metavar="FILE", help="Write all heads that the vault keeps there, for the auditor.")
@vault_options
def head_command(*, public_key: str | None, heads: str | None, place: Place, out: Output) -> int:
    """Sign the log as it is now, keep the head in the vault, and show it: print it, or send it elsewhere."""
    from base64 import b64encode

    from holdfast.reliability.audit import PublicKey
    from holdfast.runs.audit import anchors_file

    with place.open() as vault:
        audit = vault.audit
        head, public = audit.head(), PublicKey(audit.public_key)
        if public_key is not None:
            write_secret(public_key, public.pem.encode())
        if heads is not None:
            write_secret(heads, anchors_file([anchor.head for anchor in audit.anchors()]).encode())
    shown = HeadShown(
        head.log, head.size, head.root, head.time, b64encode(head.signature).decode(), public.fingerprint, anchored=True
    )
    text = [f"Log {head.log}: {head.size} records, root {head.root}.", f"Key {public.fingerprint}.", head.encode()]
    return out.result("audit-head", shown, 0, text)


@audit_command.command("prove")
@click.argument("record", type=click.IntRange(0))
@click.option("--out", "target", required=True, metavar="FILE", help="Where to write the proof; must not exist.")
@vault_options
def prove_command(*, record: int, target: str, place: Place, out: Output) -> int:
    """Write a proof that a record is in the log. `holdfast audit verify --proof FILE --public-key FILE` checks it anywhere."""
    with place.open() as vault:
        write_secret(target, vault.audit.prove(record))
    return out.result("audit-written", Written("proof", 1), 0, [f"Wrote the proof of record {record}."])


@audit_command.command("export")
@click.option(
    "--format",
    "form",
    type=click.Choice(["R4", "R5", "DICOM"]),
    default="R4",
    show_default=True,
    help="FHIR AuditEvent of a version (NDJSON), or DICOM audit messages (XML), one per line.",
)
@_span
@click.option("--out", "target", required=True, metavar="FILE", help="Where to write it; must not exist.")
@vault_options
def export_command(
    *,
    form: Literal["R4", "R5", "DICOM"],
    since: str | None,
    until: str | None,
    target: str,
    place: Place,
    out: Output,
) -> int:
    """Write records as FHIR AuditEvent resources or DICOM audit messages, one per line, as they are read: none is kept.

    Example: holdfast audit export --format R4 --since 2026-11-01 --out november.ndjson
    """
    span = {"since": _moment(since), "until": _moment(until)}
    with place.open() as vault, closing(_exported(vault.audit, form, **span)) as lines:
        count = write_parts(target, lines)
    what = "audit messages" if form == "DICOM" else "AuditEvent resources"
    return out.result("audit-written", Written("export", count), 0, [f"Wrote {count} {what}."])


def _exported(
    audit: AuditTrail, form: Literal["R4", "R5", "DICOM"], *, since: datetime | None, until: datetime | None
) -> Generator[bytes]:
    if form == "DICOM":
        yield from (message + b"\n" for message in audit.messages(since=since, until=until))
    else:
        yield from (json.dumps(each).encode() + b"\n" for each in audit.export(form, since=since, until=until))


@audit_command.command("daily")
@click.option("--day", metavar="DATE", help="The day (yesterday), in UTC.")
@click.option(
    "--send", "sends", is_flag=True, help="Send it to `alerts.digest_contacts`, with the state of everything."
)
@vault_options
def daily_command(*, day: str | None, sends: bool, place: Place, out: Output) -> int:
    """Print the digest of a day, for the morning's mail: what was done, by whom, and what to look at.

    Example: holdfast audit daily --send --config /etc/holdfast/holdfast.toml
    """
    try:
        chosen = date.fromisoformat(day) if day else (system().now() - timedelta(days=1)).date()
    except ValueError:
        raise UsageError("a day is written as 2026-11-23") from None
    if sends:
        from holdfast.runs.digest import send_digest

        config = place.configuration()
        with place.open(config) as vault:
            _, sent = send_digest(vault, config, chosen)
        for each in sent:
            out.row("delivery", each, f"{each.contact}: {each.reference} by {each.channel}")
        return 0
    with place.open() as vault:
        text = vault.audit.daily(chosen)
    out.page("digest", text)
    return 0


@audit_command.command("send")
@vault_options
def send_command(*, place: Place, out: Output) -> int:
    """Send the configured collectors what they have not got. Exit code 7 if one takes nothing: the log keeps the rest."""
    from holdfast.runs.configured import trail_options

    config = place.load()
    collectors = trail_options(config.settings).collectors if config is not None else ()
    if not collectors:
        raise UsageError("no collector is configured", next="add a table [collectors.NAME] to the configuration.")
    with place.open(config) as vault:
        sent = vault.audit.send(collectors)
    for each in sent:
        state = f"stopped: {each.failure}" if each.failure else "complete"
        out.row("audit-sent", each, f"{each.collector}: {each.records} records sent, {state}")
    return 7 if any(each.failure for each in sent) else 0


@audit_command.command("renew")
@click.option("--reason", required=True, help="Why; its digest is recorded.")
@vault_options
def renew_command(*, reason: str, place: Place, out: Output) -> int:
    """Move a damaged log aside, whole, and begin a new one that names it. Keep the old folder: it is evidence."""
    with place.open() as vault:
        renewed = vault.audit.renew(reason)
    text = [f"Began log {renewed.log}. The old one, {renewed.previous or 'unreadable'}, is kept beside it."]
    return out.result("audit-renewed", renewed, 0, text)
