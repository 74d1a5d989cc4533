"""`holdfast serve`."""

from __future__ import annotations

import sys

import click

__all__ = ["serve_command"]


@click.command(
    "serve",
    epilog="""\b
In ~/.ssh/authorized_keys of the machine that holds the vault, on one line:
  restrict,command="holdfast serve --add-only --vault /srv/vault" ssh-ed25519 AAAA… ward7
The backed-up host uses the store ssh://backup@HOST with that key, and a writer's credential (`holdfast enroll`).""",
)
@click.option(
    "--vault", envvar="HOLDFAST_VAULT", metavar="DIR", required=True, help="The folder. Variable: HOLDFAST_VAULT."
)
@click.option("--add-only", is_flag=True, help="Refuse to remove anything: for the keys of hosts that are backed up.")
def serve_command(*, vault: str, add_only: bool) -> int:
    """Serve a vault's folder to one client over SSH.

    It speaks on standard input and output, listens on nothing and needs no key of the vault. This is what an SSH forced
    command runs.
    """
    from holdfast.runs.serve import run_serve

    run_serve(vault, sys.stdin.buffer, sys.stdout.buffer, add_only=add_only)
    return 0
