"""`holdfast key` and `enroll`: secrets go to files that only their owner reads, never to the screen."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import click

from holdfast.cli.options import Place, vault_options
from holdfast.cli.output import Output
from holdfast.errors import StoreRefusedError, UsageError, VaultExistsError

__all__ = [
    "KeyChanged",
    "add_passphrase_command",
    "enroll_command",
    "key_command",
    "kit_command",
    "revoke_writer_command",
    "write_secret",
]


@dataclass(frozen=True, slots=True)
class KeyChanged:
    """A key slot or a writer that was added or revoked."""

    action: str
    """`kit`, `add-passphrase`, `enroll` or `revoke-writer`."""
    id: str
    """The slot's or the writer's id or label; empty for a kit."""


@click.group("key")
def key_command() -> None:
    """Recovery kits, passphrases and the revoking of writers."""


@key_command.command("kit")
@click.option("--out", "target", required=True, metavar="FILE", help="Where to write it; the file must not exist.")
@vault_options
def kit_command(*, target: str, place: Place, out: Output) -> int:
    """Write a recovery kit: a key file with instructions for people. Print it, and keep it away from the vault."""
    with place.open() as vault:
        write_secret(target, vault.recovery_kit())
    return out.result("key", KeyChanged("kit", ""), 0, ["Wrote the recovery kit. Whoever holds it can read the vault."])


@key_command.command("add-passphrase")
@click.option("--new", "new", metavar="REF", default="ask", show_default=True, help="`file:PATH`, `env:NAME` or `ask`.")
@vault_options
def add_passphrase_command(*, new: str, place: Place, out: Output) -> int:
    """Let a passphrase open the vault, too."""
    passphrase = Place(None, None, new, None, None).secret(confirm=True)
    if not passphrase:
        raise UsageError("an empty passphrase")
    with place.open() as vault:
        slot = vault.add_passphrase(passphrase)
    return out.result("key", KeyChanged("add-passphrase", slot), 0, [f"Added key slot {slot}."])


@key_command.command("revoke-writer")
@click.argument("writer")
@vault_options
def revoke_writer_command(*, writer: str, place: Place, out: Output) -> int:
    """Revoke a writer, by id or label: it can add no more, and what it indexed is trusted no longer."""
    with place.open() as vault:
        vault.revoke_writer(writer)
    return out.result("key", KeyChanged("revoke-writer", writer), 0, [f"Revoked writer {writer}."])


@click.command("enroll")
@click.argument("label")
@click.option("--out", "target", required=True, metavar="FILE", help="Where to write the credential; must not exist.")
@click.option("--class", "classes", multiple=True, metavar="CLASS", help="Only some data classes (all).")
@click.option("--group", default="", metavar="NAME", help="Hosts of one group share what `verify` has countersigned.")
@vault_options
def enroll_command(*, label: str, target: str, classes: Sequence[str], group: str, place: Place, out: Output) -> int:
    """Make a credential for a host: it can add backups and read none, its own included."""
    with place.open() as vault:
        write_secret(target, vault.enroll_writer(label, classes, group=group))
    text = [f"Wrote the credential of {label}. Move it to the host; `--credential FILE` uses it."]
    return out.result("key", KeyChanged("enroll", label), 0, text)


def write_secret(target: str, content: bytes) -> None:
    """Write a file that only its owner reads and that did not exist. `VaultExistsError` if it does."""
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise VaultExistsError(
            "the file to write exists already", safe="it is as it was.", next="choose another name."
        ) from None
    except OSError as error:
        raise StoreRefusedError(
            f"the file cannot be written: {error.strerror}", next="choose another place."
        ) from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
