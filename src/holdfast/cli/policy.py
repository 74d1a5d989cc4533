"""`holdfast policy`: show, check, explain."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from holdfast.base.units import format_bytes, format_seconds
from holdfast.cli.options import Place, vault_options
from holdfast.cli.output import Output
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.config import Config
    from holdfast.runs.tier_results import PolicyExplained

__all__ = [
    "check_policy_command",
    "explain_policy_command",
    "exposed_command",
    "policy_command",
    "show_policy_command",
]

EXIT_EXPOSED = 3


@click.group("policy")
def policy_command() -> None:
    """Show, check and explain where data goes, by class and age."""


def _config(place: Place) -> Config:
    config = place.load()
    if config is None:
        raise UsageError("no configuration was named", next="give --config FILE (or HOLDFAST_CONFIG).")
    return config


@policy_command.command("show")
@vault_options
def show_policy_command(*, place: Place, out: Output) -> int:
    """Show what is done with each data class: the configuration over the healthcare defaults.

    Example: `holdfast policy show --config /etc/holdfast.toml`.
    """
    from holdfast.runs.policies import policy_book, policy_rows

    rows = policy_rows(policy_book(_config(place).settings))
    if out.as_json:
        for row in rows:
            out.row("policy", row, "")
    table = [
        (
            row.class_name,
            f"{row.copies}",
            ", ".join(row.stores),
            "; ".join(row.moves) or "-",
            format_seconds(row.verify_seconds),
            format_seconds(row.retain_seconds) if row.retain_seconds else "-",
        )
        for row in rows
    ]
    out.table(("CLASS", "COPIES", "STORES", "LATER", "VERIFIED WITHIN", "RETAINED"), table, right="1")
    return 0


@policy_command.command("check")
@vault_options
def check_policy_command(*, place: Place, out: Output) -> int:
    """List every fault of the policies at once. Exit code 2 if there is one.

    A class with nowhere to go, a single copy of patient data, a retention shorter than an object lock, a key beside the data.
    Example: `holdfast policy check --config /etc/holdfast.toml`.
    """
    from holdfast.runs.policies import policy_problems
    from holdfast.runs.tier_results import PolicyChecked

    settings = _config(place).settings
    configured = bool(settings.policies or settings.tiers)
    found = PolicyChecked(configured, policy_problems(settings) if configured else ())
    lines = [f"FAULT: {problem}" for problem in found.problems]
    if not configured:
        lines.append(
            "There are no policies: every pack stays on the home, once. docs/tiers.md shows how to change that."
        )
    elif not lines:
        lines.append("The policies are sound.")
    return out.result("policy-check", found, found.exit_code, lines)


@policy_command.command("explain")
@click.argument("what")
@click.option("--job", default="", help="By the class rules of this job of the configuration.")
@vault_options
def explain_policy_command(*, what: str, job: str, place: Place, out: Output) -> int:
    """Say where a file, a folder or a data class goes, and why.

    For a path the job's rules and the content decide, as in a backup; nothing is stored, no vault is opened. Examples:
    `holdfast policy explain imaging`, `holdfast policy explain /srv/ehr/2026 --job ehr`.
    """
    from holdfast.classes.policy import HEALTHCARE
    from holdfast.runs.policies import explain_class, explain_path, policy_book

    config = _config(place)
    if what in HEALTHCARE and not os.path.lexists(what):
        found: tuple[PolicyExplained, ...] = (explain_class(policy_book(config.settings), what),)
    else:
        found = explain_path(config.settings, what, job=job)
    for row in found:
        out.row("policy-explained", row, "\n".join(_lines(row)))
    return 0


def _lines(row: PolicyExplained) -> list[str]:
    files = f" ({row.files} files, {row.class_reason})" if row.files else ""
    lines = [f"{row.class_name}{files}", f"  stored on {', '.join(row.stores) or 'nothing'}: {row.store_reason}"]
    if row.alternates:
        lines.append(f"  {', '.join(row.alternates)} stands in while one of them is down")
    lines += [f"  later on {move}" for move in row.moves]
    lines.append(f"  never anywhere but on {', '.join(row.allowed)}; names and structure, sealed, on {row.metadata}")
    return lines


@policy_command.command("exposed")
@vault_options
def exposed_command(*, place: Place, out: Output) -> int:
    """List older copies that lie where they may not lie any more, because their files' class rose since. Exit code 3 if any do.

    They go with the snapshots that need them: forget those, then prune, to erase them early. Counts only, no names.
    Example: `holdfast policy exposed --config /etc/holdfast.toml`.
    """
    with place.open(_config(place)) as vault:
        found = vault.exposed()
    for row in found:
        text = (
            f"{row.source}: {row.files} files ({format_bytes(row.bytes)}) that are {row.now} now were stored as {row.was},"
            f" on {', '.join(row.stores)}, by {len(row.snapshots)} snapshots:"
        )
        out.row("exposure", row, "\n".join([text, *(f"  {snapshot}" for snapshot in row.snapshots)]))
    if not found:
        out.say("No older copy lies where it may not.")
    return EXIT_EXPOSED if found else 0
