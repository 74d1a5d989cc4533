"""`holdfast init`."""

from __future__ import annotations

from dataclasses import dataclass

import click

from holdfast.cli.options import Place, vault_options
from holdfast.cli.output import Output
from holdfast.errors import UsageError

__all__ = ["VaultMade", "init_command"]


@dataclass(frozen=True, slots=True)
class VaultMade:
    """A vault that was made."""

    vault: str
    """Its id, 32 hex digits."""
    url: str
    """Where it is."""


@click.command("init")
@click.option("--label", default="", help="The operator's own name for the vault. It is not encrypted.")
@vault_options
def init_command(*, place: Place, out: Output, label: str) -> int:
    """Make a vault and its key file.

    A key file that does not exist is made, one that exists is used. Keep a copy away from the vault: without a key nobody
    can read it.
    """
    import holdfast

    if place.credential is not None:
        raise UsageError("a vault is made with a key file or a passphrase, not with a credential")
    found = place.access(confirm=True)
    if not found.key_file and found.passphrase is None and not found.key_service:
        raise UsageError("a vault needs a key", next="give --key-file FILE (it is made if absent) or --passphrase ask.")
    with holdfast.Vault.create(
        found.url,
        key_file=found.key_file,
        passphrase=found.passphrase,
        key_service=found.key_service,
        label=label,
        stores=found.stores,
        tiers=found.tiers,
    ) as vault:
        vault.listen(place.hear)
        made = VaultMade(vault.id, vault.url)
    return out.result(
        "init",
        made,
        0,
        [
            f"Made vault {made.vault} at {made.url}.",
            "Keep a copy of the key away from the vault: `holdfast key kit` writes one to print.",
        ],
    )
