"""`holdfast key rotate`, `shred`, `certificate`, `destroyed`, `retention`: keys that are replaced, and keys that end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from holdfast.cli.keys import KeyChanged, key_command, write_secret
from holdfast.cli.options import Place, vault_options
from holdfast.cli.output import Output
from holdfast.errors import MissingError, UsageError

if TYPE_CHECKING:
    from holdfast.runs.key_results import Erasure

__all__ = [
    "MinimumRetention",
    "certificate_command",
    "destroyed_command",
    "retention_command",
    "rotate_class_command",
    "rotate_command",
    "rotate_root_command",
    "rotate_writer_command",
    "shred_command",
]

OUTSTANDING = 3


@dataclass(frozen=True, slots=True)
class MinimumRetention:
    """For how long snapshots of a data class must be kept, as the vault itself says."""

    name: str
    """The data class."""
    days: int
    """Counted from their admission."""


@key_command.group("rotate")
def rotate_command() -> None:
    """Replace the root key, the keys of data classes, or a writer's signing key."""


@rotate_command.command("root")
@click.option(
    "--drop", "drop", multiple=True, metavar="KEY", help="A key that shall open nothing any more, by id or label."
)
@click.option("--again", is_flag=True, help="Begin anew although somebody began, and nobody got the new key.")
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@vault_options
def rotate_root_command(*, drop: Sequence[str], again: bool, dry_run: bool, place: Place, out: Output) -> int:
    """Replace the root key. Every other key that opens the vault goes on doing so; nobody has to come and present one.

    Interrupted, the vault opens all the same, and the same command finishes. Whoever had the old root key and a copy of the
    keyring has the keys of all classes of that time: replace them, too (`rotate class`).

    Example: holdfast key rotate root --drop "kit that was lost"
    """
    with place.open() as vault:
        done = vault.rotate_root(drop=drop, again=again, dry_run=dry_run)
    begun = "Would replace" if dry_run else "Finished replacing" if done.finished else "Replaced"
    text = [
        f"{begun} the root key: {done.resealed} keys sealed anew, {done.dropped} dropped, {done.unlisted} unknown ones ended."
    ]
    return out.result("rotate-root", done, 0, text)


@rotate_command.command("class")
@click.argument("classes", nargs=-1, required=True)
@click.option("--again", is_flag=True, help="Although the newest keyring is lost: what it held is given up.")
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@vault_options
def rotate_class_command(*, classes: Sequence[str], again: bool, dry_run: bool, place: Place, out: Output) -> int:
    """Make new keys for data classes. What is stored from now on is sealed under them; what is there stays readable.

    Hosts find their new keys in the vault; each one's next backup stores these classes anew.

    Example: holdfast key rotate class phi phi-restricted
    """
    with place.open() as vault:
        done = vault.rotate_classes(classes, again=again, dry_run=dry_run)
    names = ", ".join(done.generations) or "nothing new (an interrupted rotation was finished)"
    text = [
        f"{'Would write' if dry_run else 'Written'} to from now on: {names}. {done.holders} credentials have new keys."
    ]
    return out.result("rotate-class", done, 0, text)


@rotate_command.command("writer")
@click.argument("writer")
@click.option("--out", "target", required=True, metavar="FILE", help="Where to write the credential; must not exist.")
@vault_options
def rotate_writer_command(*, writer: str, target: str, place: Place, out: Output) -> int:
    """Give a writer another signing key. What it stored counts on; its old credential is refused, and says what to do.

    For a credential that was stolen, revoke the writer instead.

    Example: holdfast key rotate writer ward7 --out ward7.credential
    """
    with place.open() as vault:
        write_secret(target, vault.reissue_writer(writer))
    return out.result(
        "key", KeyChanged("reissue", writer), 0, [f"Wrote the new credential of {writer}. Move it to the host."]
    )


@key_command.command("shred")
@click.argument("class_name", metavar="CLASS")
@click.argument("generation", type=click.IntRange(0))
@click.option("--reason", required=True, help="Why: it is signed, and kept for ever.")
@click.option("--with-snapshots", is_flag=True, help="Give up the part that snapshots have of it.")
@click.option("--dry-run", is_flag=True, help="Say what would be lost, and what would stay outstanding.")
@vault_options
def shred_command(
    *, class_name: str, generation: int, reason: str, with_snapshots: bool, dry_run: bool, place: Place, out: Output
) -> int:
    """Destroy the keys of a generation of a data class, and so all that was ever sealed under it, on every store and medium.

    Refused under legal hold and minimum retention. Ends with 3 while a place is outstanding.

    Example: holdfast key shred phi 0 --reason "contract 4711 ended" --dry-run
    """
    with place.open() as vault:
        done = vault.shred(class_name, generation, reason=reason, with_snapshots=with_snapshots, dry_run=dry_run)
    code = 0 if done.erased or dry_run else OUTSTANDING
    return out.result("erasure", done, code, _erasure_text(done))


def _erasure_text(done: Erasure) -> list[str]:
    if done.dry_run:
        head = f"{done.snapshots} snapshots would lose their part of {done.name}."
    else:
        head = f"{done.name} is {'ERASED' if done.erased else 'NOT YET ERASED'} (certificate {done.number})."
    return [
        head,
        *(f"  gone: {place}" for place in done.gone),
        *(f"  OUTSTANDING: {place}" for place in done.outstanding),
        *(
            [
                "When one is destroyed, say so: `holdfast key destroyed KEY --statement TEXT`; then `holdfast key certificate`."
            ]
            if done.outstanding
            else []
        ),
    ]


@key_command.command("certificate")
@click.argument("class_name", metavar="CLASS", required=False)
@click.argument("generation", type=click.IntRange(0), required=False)
@vault_options
def certificate_command(*, class_name: str | None, generation: int | None, place: Place, out: Output) -> int:
    """Show what has become of destroyed keys; for one generation, sign it anew as the ledger now stands.

    Example: holdfast key certificate phi 0
    """
    if (class_name is None) != (generation is None):
        raise UsageError("a certificate is of a class and a generation")
    with place.open() as vault:
        if class_name is not None and generation is not None:
            found = [vault.certify_erasure(class_name, generation)]
        else:
            found = list(vault.erasures())
    if not found:
        raise MissingError("no keys of this vault were destroyed")
    for done in found:
        out.result("erasure", done, 0 if done.erased else OUTSTANDING, _erasure_text(done))
    return 0 if all(done.erased for done in found) else OUTSTANDING


@key_command.command("destroyed")
@click.argument("name", metavar="KEY")
@click.option("--statement", required=True, help="Who destroyed it, and how: it is signed, and kept for ever.")
@vault_options
def destroyed_command(*, name: str, statement: str, place: Place, out: Output) -> int:
    """Write into the ledger that every copy of a revoked key, or a medium, is destroyed.

    Example: holdfast key destroyed radiology --statement "shredded by M. Adler and P. Voss"
    """
    with place.open() as vault:
        entry = vault.key_destroyed(name, statement)
    return out.result("key", KeyChanged("destroyed", entry), 0, [f"Key {entry} is on record as destroyed."])


@key_command.command("retention")
@click.option(
    "--class", "classes", multiple=True, metavar="CLASS=DAYS", help="Keep snapshots of a class for so long; 0 ends it."
)
@vault_options
def retention_command(*, classes: Sequence[str], place: Place, out: Output) -> int:
    """Show or set for how long snapshots must be kept, in the vault itself, whatever a configuration says.

    Raising it needs nobody. Lowering it needs the approvals of the access policy, if that names `floor`.

    Example: holdfast key retention --class phi=2190
    """
    wanted: dict[str, int] = {}
    for text in classes:
        name, separator, days = text.partition("=")
        if not separator or not days.isdecimal():
            raise UsageError("a minimum retention is CLASS=DAYS")
        wanted[name] = int(days)
    with place.open() as vault:
        found = vault.set_minimum_retention(wanted) if wanted else vault.minimum_retention
    if not found:
        out.say("The vault has no minimum retention.")
    for name, least in found.items():
        out.row("minimum-retention", MinimumRetention(name, least), f"{name}: {least} days")
    return 0
