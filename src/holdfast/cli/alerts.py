"""`holdfast alerts`."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import click

from holdfast.cli.keys import write_secret
from holdfast.cli.options import Place, output_options, vault_options
from holdfast.cli.output import Output
from holdfast.errors import MissingError, UsageError

if TYPE_CHECKING:
    from holdfast.reliability.alerts import AlertRecord, Delivery

__all__ = [
    "ReplyKey",
    "ReplySigned",
    "ack_command",
    "alerts_command",
    "key_command",
    "list_command",
    "receive_command",
    "reply_command",
    "resolve_command",
    "show_alert_command",
    "test_command",
]

REPLY_BYTES_MAX = 65536


@dataclass(frozen=True, slots=True)
class ReplyKey:
    """A key for signing replies that was made."""

    public_key: str
    """What the contact's `public_key` is set to, 64 hex digits."""


@dataclass(frozen=True, slots=True)
class ReplySigned:
    """A reply that was signed and written."""

    reference: str
    """The alert's reference."""
    action: str
    """`ack` or `resolve`."""
    by: str
    """The contact whose key signed it."""


@click.group("alerts")
def alerts_command() -> None:
    """List, acknowledge, resolve and test alerts."""


@alerts_command.command("list")
@click.option("--all", "everything", is_flag=True, help="Resolved ones too, newest first.")
@output_options
def list_command(*, everything: bool, out: Output) -> int:
    """List the alerts that are open or acknowledged. Exit code 3 if one waits for an answer.

    Example: holdfast alerts list --json
    """
    from holdfast.reliability.alerts import AlertState
    from holdfast.runs.alerting import open_book

    with open_book() as book:
        records = book.everything() if everything else book.live()
    if out.as_json:
        for record in records:
            out.row("alert-record", record, "")
    if not records:
        out.say("No alerts." if everything else "No alerts are open.")
    out.table(
        ("NUMBER", "STATE", "SAFETY", "CODE", "ABOUT", "SINCE", "SEEN", "LEVEL"), [_row(each) for each in records]
    )
    return 3 if any(record.state is AlertState.OPEN for record in records) else 0


def _row(record: AlertRecord) -> Sequence[str]:
    return (
        str(record.number),
        record.state.value + (f" by {record.acknowledged_by}" if record.acknowledged_by else ""),
        record.safety.value,
        record.code,
        record.subject,
        f"{record.opened:%Y-%m-%d %H:%M}Z",
        str(record.count),
        str(record.level),
    )


@alerts_command.command("show")
@click.argument("number", type=click.IntRange(1))
@output_options
def show_alert_command(*, number: int, out: Output) -> int:
    """Show an alert: what happened, what is safe, what to do, and who was told by which channel.

    Example: holdfast alerts show 12
    """
    from holdfast.reliability.alerts.messages import reference
    from holdfast.runs.alerting import open_book

    with open_book() as book:
        record = book.get(number)
        deliveries = book.deliveries(number)
    lines = [f"alert {reference(record)}: {record.code} ({record.subject}), {record.state.value}", record.text]
    lines += [f"SAFE: {record.safe}"] if record.safe else []
    lines += [f"NEXT: {record.next}"] if record.next else []
    if record.acknowledged_by:
        lines.append(f"taken on by {record.acknowledged_by}" + (f": {record.note}" if record.note else ""))
    out.row("alert-record", record, "\n".join(lines))
    for each in reversed(deliveries):
        out.row("delivery", each, _delivery_text(each))
    return 0


def _delivery_text(each: Delivery) -> str:
    verdict = "accepted" if each.delivered else "FAILED"
    to = f" to {each.contact}" if each.contact else ""
    return f"{each.at:%Y-%m-%d %H:%M:%S}Z {each.kind}{to} by {each.channel}: {verdict} ({each.reference})"


@alerts_command.command("ack")
@click.argument("numbers", type=click.IntRange(1), nargs=-1, required=True)
@click.option("--by", default="", help="Who takes it on; by default the user's name.")
@click.option("--note", default="", help="What is being done. No patient data.")
@output_options
def ack_command(*, numbers: Sequence[int], by: str, note: str, out: Output) -> int:
    """Acknowledge alerts: nobody else is told, until one gets worse or is still there after a day.

    Example: holdfast alerts ack 12 --note "disk ordered"
    """
    from holdfast.runs.alerting import open_book

    with open_book() as book:
        for number in numbers:
            record = book.acknowledge(number, by or getpass.getuser(), note)
            out.row("alert-record", record, f"alert {number} is {record.state.value} by {record.acknowledged_by}")
    return 0


@alerts_command.command("resolve")
@click.argument("numbers", type=click.IntRange(1), nargs=-1, required=True)
@click.option("--by", default="", help="Who ends it; by default the user's name.")
@click.option("--note", default="", help="What was done. No patient data.")
@output_options
def resolve_command(*, numbers: Sequence[int], by: str, note: str, out: Output) -> int:
    """End alerts by hand. What is still wrong is reported again, as a new alert.

    Example: holdfast alerts resolve 12
    """
    from holdfast.runs.alerting import open_book

    with open_book() as book:
        for number in numbers:
            out.row("alert-record", book.resolve(number, by or getpass.getuser(), note), f"alert {number} is resolved")
    return 0


@alerts_command.command("test")
@click.argument("channels", nargs=-1)
@click.option(
    "--address",
    default="",
    help="Where to send it, for a channel of mail; by default its recipients, or a contact.",
)
@vault_options
def test_command(*, channels: Sequence[str], address: str, place: Place, out: Output) -> int:
    """Send a test by channels (without names: by all) and show the receipts. Exit code 1 if one does not work.

    Example: holdfast alerts test mail --address on-call@hospital.example
    """
    from holdfast.runs.alerting import open_desk

    settings = place.configuration().settings
    unknown = [name for name in channels if name not in settings.channels]
    if unknown or not settings.channels:
        known = ", ".join(sorted(settings.channels)) or "none"
        raise UsageError(
            f"there is no channel {', '.join(unknown)}".rstrip(), next=f"the configured channels are: {known}."
        )
    code = 0
    with open_desk(settings) as desk:
        for name in channels or sorted(settings.channels):
            delivery = desk.test(name, address)
            out.row("delivery", delivery, _delivery_text(delivery))
            code = code if delivery.delivered else 1
    return code


@alerts_command.command("key")
@click.option("--out", "path", required=True, metavar="FILE", help="Where the private key goes (mode 0600).")
@output_options
def key_command(*, path: str, out: Output) -> int:
    """Make a contact's key for signed replies; prints the public half for the configuration.

    Example: holdfast alerts key --out anna.key
    """
    from holdfast.reliability.alerts.replies import make_key

    public = make_key(path)
    return out.result("reply-key", ReplyKey(public), 0, [f'public_key = "{public}"'])


@alerts_command.command("reply")
@click.argument("reference")
@click.option("--by", required=True, help="The contact's name in the configuration.")
@click.option("--key", required=True, metavar="FILE", help="The contact's key.")
@click.option("--out", "path", required=True, metavar="FILE", help="Where the reply goes; must not exist.")
@click.option("--action", type=click.Choice(["ack", "resolve"]), default="ack", help="What to do.")
@click.option("--note", default="", help="What is being done. No patient data.")
@output_options
def reply_command(*, reference: str, by: str, key: str, path: str, action: str, note: str, out: Output) -> int:
    """Sign a reply to an alert on any machine; carry it to the host, whose reply folder or `alerts receive` takes it.

    Example: holdfast alerts reply 12-3f9a2c01 --by anna --key anna.key --out 12.reply
    """
    from holdfast.base.environment import system
    from holdfast.reliability.alerts.replies import check_reference, sign_reply

    check_reference(reference)
    write_secret(path, sign_reply(reference, action, by, note, key=key, env=system()))
    return out.result("reply", ReplySigned(reference, action, by), 0, [f"The reply to {reference} is signed."])


def _read(file: BinaryIO) -> bytes:
    try:
        return file.read(REPLY_BYTES_MAX)
    except OSError as error:
        raise MissingError(f"the reply cannot be read: {error.strerror}") from None


@alerts_command.command("receive")
@click.argument("files", type=click.File("rb"), nargs=-1, required=True)
@vault_options
def receive_command(*, files: Sequence[BinaryIO], place: Place, out: Output) -> int:
    """Take signed replies: each is proved by its contact's public key and taken once.

    Example: holdfast alerts receive 12.reply
    """
    from holdfast.reliability.alerts.configured import policy_of
    from holdfast.reliability.alerts.replies import take_reply
    from holdfast.runs.alerting import open_book

    policy = policy_of(place.configuration().settings)
    with open_book() as book:
        for file in files:
            record = take_reply(_read(file), book, policy)
            out.row(
                "alert-record", record, f"alert {record.number} is {record.state.value} by {record.acknowledged_by}"
            )
    return 0
