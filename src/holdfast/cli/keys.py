"""`holdfast key`: secrets go to files that only their owner reads, never to the screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.base.files import write_new
from holdfast.cli.options import Place, vault_options
from holdfast.cli.output import Output
from holdfast.errors import StoreRefusedError, UsageError, VaultExistsError

if TYPE_CHECKING:
    from holdfast.runs.key_results import KeyRow

__all__ = [
    "KeyChanged",
    "add_passphrase_command",
    "add_service_command",
    "issue_command",
    "key_command",
    "kit_command",
    "list_keys_command",
    "rehearse_command",
    "revoke_command",
    "revoke_writer_command",
    "split_command",
    "write_parts",
    "write_secret",
]

ROLES = ("writer", "restorer", "verifier", "auditor", "pruner", "root")


@dataclass(frozen=True, slots=True)
class KeyChanged:
    """A key slot or a credential that was added or revoked."""

    action: str
    """`kit`, `add-passphrase`, `add-service`, `split`, `issue`, `enroll`, `revoke`, `revoke-writer`, `reissue`, `destroyed`."""
    id: str
    """Its entry in the ledger, or the label that was given; empty for a kit."""
    digests: tuple[str, ...] = ()
    """Of the sheets of a key that was split."""
    renewed: tuple[str, ...] = ()
    """Generations that a revocation made, as `CLASS/GENERATION`."""


@click.group("key")
def key_command() -> None:
    """Keys: who has which; kits, shares, tokens and credentials; rotation and erasure."""


@key_command.command("list")
@vault_options
def list_keys_command(*, place: Place, out: Output) -> int:
    """List every place where a key of the vault was written. Needs no more than an auditor's credential.

    Example: holdfast key list
    """
    with place.open() as vault:
        rows = vault.key_ledger()
    if out.as_json:
        for row in rows:
            out.row("key-row", row, "")
    out.table(("ID", "FORM", "ROLE", "METHOD", "LABEL", "STATE", "MADE", "ENDS", "READS"), [_row(row) for row in rows])
    return 0


def _row(row: KeyRow) -> tuple[str, ...]:
    reads = "everything" if row.form == "slot" else ", ".join(row.reads) or "nothing"
    return (
        row.id[:12], row.form, row.role or "-", row.method or "-", row.label or "-", row.state, f"{row.made:%Y-%m-%d}",
        f"{row.expires:%Y-%m-%d}" if row.expires else "-", "a copy of the keyring" if row.form == "medium" else reads,
    )  # fmt: skip


@key_command.command("kit")
@click.option("--out", "target", required=True, metavar="FILE", help="Where to write it; the file must not exist.")
@click.option("--label", default="", help="What the ledger calls it: where it will be kept, for instance.")
@vault_options
def kit_command(*, target: str, label: str, place: Place, out: Output) -> int:
    """Write a recovery kit: a key file with instructions for people. Print it, and keep it away from the vault.

    Example: holdfast key kit --out kit.txt --label "safe of the pharmacy"
    """
    with place.open() as vault:
        write_secret(target, vault.recovery_kit(label=label))
    text = [
        "Wrote the recovery kit. Whoever holds it can read the vault.",
        "Try it now: `holdfast key rehearse --kit FILE`.",
    ]
    return out.result("key", KeyChanged("kit", ""), 0, text)


@key_command.command("rehearse")
@click.option(
    "--kit", metavar="FILE", help="The kit, typed or scanned back from paper; or give --share for each sheet."
)
@vault_options
def rehearse_command(*, kit: str | None, place: Place, out: Output) -> int:
    """Open the vault with a recovery kit, or with shares, and put that on record. Until then no schedule runs unattended.

    Example: holdfast key rehearse --kit kit.txt --vault /srv/vault
    """
    if bool(kit) == bool(place.shares):
        raise UsageError("a rehearsal takes a kit or shares, one of the two", next="give --kit FILE.")
    with place.only(key_file=kit).open() as vault:
        done = vault.rehearse()
    text = [
        f"The {done.method} opened the vault, and {'the newest snapshot' if done.snapshot else 'its keys'}. It is on record."
    ]
    return out.result("rehearsal", done, 0, text)


@key_command.command("add-passphrase")
@click.option("--new", "new", metavar="REF", default="ask", show_default=True, help="`file:PATH`, `env:NAME` or `ask`.")
@click.option("--label", default="", help="What the ledger calls it.")
@vault_options
def add_passphrase_command(*, new: str, label: str, place: Place, out: Output) -> int:
    """Let a passphrase open the vault, too."""
    passphrase = Place(None, None, new, None, None).secret(confirm=True)
    if not passphrase:
        raise UsageError("an empty passphrase")
    with place.open() as vault:
        entry = vault.add_passphrase(passphrase, label=label)
    return out.result("key", KeyChanged("add-passphrase", entry), 0, [f"Added key {entry}."])


@key_command.command("add-service")
@click.argument("uri")
@click.option("--create", is_flag=True, help="Make the key there if it is not there.")
@click.option("--label", default="", help="What the ledger calls it.")
@vault_options
def add_service_command(*, uri: str, create: bool, label: str, place: Place, out: Output) -> int:
    """Let a key of a PKCS#11 token or a transit engine open the vault, too.

    Example: holdfast key add-service 'transit:https://vault.example:8200/transit/keys/holdfast?token-source=file:/etc/holdfast/token'
    """
    with place.open() as vault:
        entry = vault.add_key_service(uri, label=label, create=create)
    return out.result("key", KeyChanged("add-service", entry), 0, [f"Added key {entry}."])


@key_command.command("split")
@click.option("--threshold", type=click.IntRange(2, 16), required=True, help="How many sheets open the vault.")
@click.option("--of", "count", type=click.IntRange(2, 16), required=True, help="How many sheets there are.")
@click.option("--out", "target", required=True, metavar="DIR", help="A folder for the sheets, made if it is not there.")
@click.option("--label", default="", help="What the ledger calls the key.")
@vault_options
def split_command(*, threshold: int, count: int, target: str, label: str, place: Place, out: Output) -> int:
    """Make a key and split it into sheets: any so many of them open the vault. Print each, give it to its holder, delete it here.

    Example: holdfast key split --threshold 2 --of 3 --out sheets
    """
    folder = Path(target)
    names = [folder / f"share-{number}-of-{count}.txt" for number in range(1, count + 1)]
    if any(name.exists() for name in names):
        raise VaultExistsError(
            "a sheet of that name exists already", safe="it is as it was.", next="choose another folder."
        )
    with place.open() as vault:
        made = vault.split_key(threshold, count, label=label)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, sheet in zip(names, made.sheets, strict=True):
        write_secret(str(name), sheet)
    text = [f"Wrote {count} sheets, of which any {threshold} open the vault. Print each, then delete the files."]
    text += [f"  sheet {number}: digest {digest}" for number, digest in enumerate(made.digests, 1)]
    return out.result("key", KeyChanged("split", made.id, made.digests), 0, text)


@key_command.command("issue")
@click.argument("role", type=click.Choice(ROLES))
@click.argument("label")
@click.option("--to", "target", required=True, metavar="FILE", help="Where to write it; the file must not exist.")
@click.option("--class", "classes", multiple=True, metavar="CLASS", help="Only some data classes (all).")
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="Until when it serves (for ever).")
@click.option("--group", default="", help="Writers of one group may deduplicate against each other.")
@vault_options
def issue_command(
    *,
    role: str,
    label: str,
    target: str,
    classes: Sequence[str],
    days: float | None,
    group: str,
    place: Place,
    out: Output,
) -> int:
    """Issue the credential of a role: what it cannot do, it lacks the key for.

    A writer adds; a restorer reads some classes or all; a verifier proves content and vouches for it; an auditor sees hashes,
    signatures and envelopes; a pruner forgets and deletes without seeing a name. `root` is a key file.

    Example: holdfast key issue restorer radiology --class imaging --days 365 --to radiology.credential
    """
    with place.open() as vault:
        write_secret(target, vault.issue_credential(role, label, classes, days=days, group=group))
    how = "--key-file FILE" if role == "root" else "--credential FILE"
    return out.result("key", KeyChanged("issue", label), 0, [f"Wrote the {role}'s key of {label}; `{how}` uses it."])


@key_command.command("revoke")
@click.argument("name")
@vault_options
def revoke_command(*, name: str, place: Place, out: Output) -> int:
    """Take a key away, by its id or label in `holdfast key list`.

    A slot is revoked by another root key; a credential by its certificate, and what it reads gets new keys for what is stored
    from now on. What its holder read or copied before cannot be taken back.

    Example: holdfast key revoke radiology
    """
    with place.open() as vault:
        done = vault.revoke_key(name)
    text = [f"Revoked {name}. What it opened until now may have been read and copied."]
    renewed = done.generations if done is not None else ()
    if renewed:
        text.append(f"New content is sealed under {', '.join(renewed)}, which it does not read.")
    return out.result("key", KeyChanged("revoke", name, renewed=renewed), 0, text)


@key_command.command("revoke-writer")
@click.argument("writer")
@vault_options
def revoke_writer_command(*, writer: str, place: Place, out: Output) -> int:
    """Revoke a writer, by id or label: it can add no more, and what it indexed is trusted no longer."""
    with place.open() as vault:
        vault.revoke_writer(writer)
    return out.result("key", KeyChanged("revoke-writer", writer), 0, [f"Revoked writer {writer}."])


def write_secret(target: str, content: bytes) -> None:
    """Write a file that only its owner reads and that did not exist. `VaultExistsError` if it does."""
    write_parts(target, (content,))


def write_parts(target: str, parts: Iterable[bytes]) -> int:
    """Do the same for what comes in parts, none of which is kept; return how many there were. On any failure there is no file."""
    try:
        return write_new(target, parts)
    except FileExistsError:
        raise VaultExistsError(
            "the file to write exists already", safe="it is as it was.", next="choose another name."
        ) from None
    except OSError as error:
        raise StoreRefusedError(
            f"the file cannot be written: {error.strerror}", next="choose another place."
        ) from error


# The rest of the group, in a room of its own.
from holdfast.cli import key_rotation  # noqa: E402, F401 - it adds its commands to the group above
