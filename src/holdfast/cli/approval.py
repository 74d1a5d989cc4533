"""`holdfast approval`: who must agree to what, and agreeing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.base.environment import system
from holdfast.base.units import format_seconds
from holdfast.cli.keys import write_secret
from holdfast.cli.options import Duration, Place, output_options, vault_options
from holdfast.cli.output import Output
from holdfast.errors import MissingError, UsageError

if TYPE_CHECKING:
    from holdfast.repository.access import AccessPolicy, Approver

__all__ = [
    "PolicyShown",
    "Signed",
    "approval_command",
    "key_command",
    "policy_command",
    "sign_command",
]


@dataclass(frozen=True, slots=True)
class PolicyShown:
    """The access policy in force."""

    approvers: tuple[str, ...]
    """Their names."""
    required: int
    """How many of them must agree; 0: nothing needs approval."""
    delay_seconds: int
    operations: tuple[str, ...]
    folder: str
    """Where requests are written on this host, and statements are put."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A key or a statement that was made."""

    what: str
    """`key` or `statement`."""
    operation: str
    """What was agreed to; empty for a key."""


@click.group("approval")
def approval_command() -> None:
    """Who must agree to deletions and key changes, and how. Restores of restricted classes can need it, too.

    A command that needs approvals writes a request and stops. Approvers sign it, on any machine; their statements are put into
    the folder of the request, and the same command, run again, goes through.
    """


@approval_command.command("key")
@click.option("--out", "target", required=True, metavar="FILE", help="Where to write the private key; must not exist.")
@click.option("--public", required=True, metavar="FILE", help="Where to write the public key; must not exist.")
@output_options
def key_command(*, target: str, public: str, out: Output) -> int:
    """Make an approver's key. The private half stays with the person; the public half goes into the policy.

    Example: holdfast approval key --out alice.key --public alice.pub
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(system().random_bytes(32))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_secret(target, pem)
    write_secret(public, key.public_key().public_bytes_raw().hex().encode() + b"\n")
    return out.result(
        "approval", Signed("key", ""), 0, ["Wrote the approver's key. Keep it away from the backup host."]
    )


@approval_command.command("policy")
@click.option(
    "--approver", "approvers", multiple=True, metavar="NAME=FILE", help="A person and the file of the public key."
)
@click.option("--required", type=click.IntRange(0), help="How many of them must agree; 0 ends the policy.")
@click.option("--delay", type=Duration(), default=0, help="How long after the last signature the operation may begin.")
@click.option(
    "--operation",
    "operations",
    multiple=True,
    help="forget, prune, release, revoke, enroll, key, export, shred, floor, restore:CLASS.",
)
@vault_options
def policy_command(
    *,
    approvers: Sequence[str],
    required: int | None,
    delay: int,
    operations: Sequence[str],
    place: Place,
    out: Output,
) -> int:
    """Show who must agree to what or, with --required, set it. Changing a policy needs the approvals of the one in force.

    Example: holdfast approval policy --approver alice=alice.pub --approver bob=bob.pub --required 2 --operation forget
    """
    from holdfast.repository.access import AccessPolicy

    with place.open() as vault:
        access = vault.approvals
        if required is None:
            policy = access.policy
        else:
            people = tuple(map(_approver, approvers))
            policy = access.set_policy(AccessPolicy(people, required, delay, tuple(operations)))
        shown = _shown(policy, access.folder)
    return out.result("approval-policy", shown, 0, _policy_text(shown))


def _approver(text: str) -> Approver:
    from holdfast.repository.access import Approver

    name, separator, file = text.partition("=")
    if not separator or not name:
        raise UsageError("an approver is NAME=FILE")
    try:
        public = bytes.fromhex(Path(file).read_text(encoding="ascii").strip())
    except OSError:
        raise MissingError("the file of a public key cannot be read") from None
    except ValueError:
        raise UsageError(
            "the file of a public key holds none", next="give what `approval key --public` wrote."
        ) from None
    return Approver(name, public)


def _shown(policy: AccessPolicy, folder: str) -> PolicyShown:
    names = tuple(approver.name for approver in policy.approvers)
    return PolicyShown(names, policy.required, policy.delay_seconds, policy.operations, folder)


def _policy_text(shown: PolicyShown) -> list[str]:
    if not shown.required:
        return ["Nothing needs approval."]
    return [
        f"{shown.required} of {', '.join(shown.approvers)} must agree to: {', '.join(shown.operations)}.",
        f"An operation may begin {format_seconds(shown.delay_seconds)} after the last signature that it needs.",
        f"Requests and statements: {shown.folder}",
    ]


@approval_command.command("sign")
@click.argument("request")
@click.option("--key", required=True, metavar="FILE", help="The approver's private key.")
@click.option("--name", required=True, help="The approver's name, as in the policy.")
@click.option("--out", "target", metavar="FILE", help="Where to write the statement (beside the request).")
@output_options
def sign_command(*, request: str, key: str, name: str, target: str | None, out: Output) -> int:
    """Agree to a request: read what it says, then sign it. Needs no vault and no network.

    Example: holdfast approval sign request-0123456789ab.json --key alice.key --name alice
    """
    from holdfast.repository.access import read_approver_key, sign_request
    from holdfast.repository.credentials import read_secret_file
    from holdfast.runs.approvals import read_request

    try:
        asked = read_request(Path(request).read_bytes())
    except OSError:
        raise MissingError("the request cannot be read") from None
    statement = sign_request(asked, name, read_approver_key(read_secret_file(Path(key))), system().now())
    place = target or os.path.join(os.path.dirname(request), f"approval-{asked.nonce[:12]}-{name}.json")
    write_secret(place, statement.encode().encode())
    said = ", ".join(f"{label} {value}" for label, value in asked.what.items())
    text = [
        f"Agreed to: {asked.operation} {said}, in vault {asked.vault}.",
        "Put the statement into the request's folder.",
    ]
    return out.result("approval", Signed("statement", asked.operation), 0, text)
