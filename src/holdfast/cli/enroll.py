"""`holdfast enroll`: one file with which a host joins, once."""

from __future__ import annotations

from collections.abc import Sequence

import click

from holdfast.cli.keys import KeyChanged, write_secret
from holdfast.cli.options import Duration, Place, output_options, vault_options
from holdfast.cli.output import Output

__all__ = ["create_command", "enroll_command", "join_command"]

WEEK = 7 * 86_400


@click.group("enroll")
def enroll_command() -> None:
    """Let hosts join: each can add backups and read none, its own included."""


@enroll_command.command("create")
@click.argument("host")
@click.option("--out", "target", required=True, metavar="FILE", help="Where to write it; the file must not exist.")
@click.option("--class", "classes", multiple=True, metavar="CLASS", help="Only some data classes (all).")
@click.option("--group", default="", help="Hosts of one group may deduplicate against each other.")
@click.option("--within", type=Duration(), default=WEEK, show_default="7d", help="How long the file serves.")
@vault_options
def create_command(
    *, host: str, target: str, classes: Sequence[str], group: str, within: int, place: Place, out: Output
) -> int:
    """Write an enrolment file for a host. It serves once.

    Example: holdfast enroll create ward7 --class phi --class operational --out ward7.enrolment
    """
    with place.open() as vault:
        write_secret(target, vault.enroll_host(host, classes, group=group, days=within / 86_400))
    text = [f"Wrote the enrolment of {host}. On the host: `holdfast enroll join FILE --out CREDENTIAL`."]
    return out.result("key", KeyChanged("enroll", host), 0, text)


@enroll_command.command("join")
@click.argument("file")
@click.option(
    "--out", "target", required=True, metavar="FILE", help="Where to write this host's credential; must not exist."
)
@click.option(
    "--vault", metavar="URL", help="The vault, if this host reaches it under another name than the file says."
)
@output_options
def join_command(*, file: str, target: str, vault: str | None, out: Output) -> int:
    """Join a vault with an enrolment file: this host makes its own signing key, and the file serves no more.

    Example: holdfast enroll join ward7.enrolment --out /etc/holdfast/credential
    """
    from holdfast.runs.enrolment import join_vault

    joined = join_vault(file, target, vault=vault)
    text = [
        f"Joined vault {joined.vault}.",
        f"`holdfast backup --vault {joined.url} --credential {target} PATH` uses it.",
    ]
    return out.result("joined", joined, 0, text)
