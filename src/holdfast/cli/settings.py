"""`holdfast config`, `explain`, `completion`."""

from __future__ import annotations

import os
from dataclasses import dataclass

import click

from holdfast.cli.options import Place, output_options, vault_options
from holdfast.cli.output import Output
from holdfast.errors import UsageError, error_classes

__all__ = [
    "AlertExplained",
    "ConfigChecked",
    "ErrorExplained",
    "Setting",
    "check_config_command",
    "completion_command",
    "config_command",
    "explain_command",
    "explain_key_command",
    "sample_command",
    "show_command",
]


@dataclass(frozen=True, slots=True)
class Setting:
    """One value in force."""

    key: str
    """Its dotted name."""
    value: str
    """As people read it; secrets are references."""
    origin: str
    """Where it is from: `default`, `file NAME:LINE`, `environment NAME`."""


@dataclass(frozen=True, slots=True)
class ErrorExplained:
    """What an error code means."""

    code: str
    """The stable code."""
    exit_code: int
    """The exit code of a command that stops with it."""
    meaning: str
    """What happened."""
    safe: str
    """What is safe."""
    next: str
    """What to do."""


@dataclass(frozen=True, slots=True)
class ConfigChecked:
    """A configuration without a fault."""

    name: str
    """The file's name, without its folder."""
    jobs: int
    """How many jobs it has."""
    nobody_told: bool
    """Whether it has a schedule and no contact: nobody hears of what fails."""
    notes: tuple[str, ...] = ()
    """What its channels name and this host does not have now."""


@dataclass(frozen=True, slots=True)
class AlertExplained:
    """What the code of an alert means that is no error's."""

    code: str
    """The stable code."""
    meaning: str
    """What happened."""
    next: str
    """What to do."""


@click.group("config")
def config_command() -> None:
    """Show, explain, check or sample the configuration."""


@config_command.command("show")
@vault_options
def show_command(*, place: Place, out: Output) -> int:
    """Show every value in force and where it is from."""
    from holdfast.config.render import show

    config = place.load()
    if config is None:
        raise UsageError("no configuration was named", next="give --config FILE (or HOLDFAST_CONFIG).")
    rows = [Setting(*row) for row in show(config)]
    if out.as_json:
        for row in rows:
            out.row("setting", row, "")
    out.table(("KEY", "VALUE", "FROM"), [(row.key, row.value, row.origin) for row in rows])
    return 0


@config_command.command("explain")
@click.argument("key")
@vault_options
def explain_key_command(*, key: str, place: Place, out: Output) -> int:
    """Explain one option: what it takes, its default and, with a configuration, its value and where that is from."""
    from holdfast.config.render import explain

    out.page("option", explain(key, place.load()))
    return 0


@config_command.command("check")
@vault_options
def check_config_command(*, place: Place, out: Output) -> int:
    """List every fault of a configuration at once."""
    config = place.load()
    if config is None:
        raise UsageError("no configuration was named", next="give --config FILE (or HOLDFAST_CONFIG).")
    from holdfast.base import environment
    from holdfast.config.checks import nobody_told
    from holdfast.config.notes import channel_notes
    from holdfast.runs.governor_settings import calendar_of
    from holdfast.runs.policies import tiers

    tiers(config.settings)
    calendar_of(config.settings).check(environment.system().now())
    silent = nobody_told(config.settings)
    text = [f"{config.name} is valid: {len(config.settings.jobs)} jobs."]
    if silent:
        text.append("note: nobody is told when a run of the schedule fails: there are no contacts (docs/alerts.md)")
    notes = channel_notes(config.settings, os.environ)
    text += [f"note: {note}" for note in notes]
    return out.result("config-check", ConfigChecked(config.name, len(config.settings.jobs), silent, notes), 0, text)


@config_command.command("sample")
@output_options
def sample_command(*, out: Output) -> int:
    """Print a configuration to start from."""
    from holdfast.config.render import sample

    out.page("sample", sample())
    return 0


@click.command("explain")
@click.argument("code", required=False)
@output_options
def explain_command(*, code: str | None, out: Output) -> int:
    """Explain the code of an error or of an alert; without one, list all.

    Example: holdfast explain rpo-missed
    """
    from holdfast.base.alert_codes import ALERT_CODES

    code = code.lower() if code is not None else None
    errors = {cls.code: cls for cls in error_classes()}
    if code is not None and code not in errors and code not in ALERT_CODES:
        raise UsageError(f"no error and no alert has the code {code}", next="`holdfast explain` lists all.")
    # One word may be both: an error of a command, and an alert of the schedule.
    for name, cls in errors.items():
        if code in (None, name):
            explained = ErrorExplained(name, cls.exit_code, cls.meaning, cls.safe, cls.next)
            head = f"{name} (exit code {cls.exit_code}, {cls.safety.value})"
            text = f"{head}\n{cls.meaning}\nSAFE: {cls.safe}\nNEXT: {cls.next}"
            out.row("error-explained", explained, text if code else f"{name:<22} {cls.meaning}")
    for name, alert in ALERT_CODES.items():
        if code in (None, name):
            text = f"{name} (alert)\n{alert.meaning}\nNEXT: {alert.next}"
            out.row(
                "alert-explained",
                AlertExplained(name, alert.meaning, alert.next),
                text if code else f"{name:<22} {alert.meaning}",
            )
    return 0


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(*, shell: str) -> int:
    """Print the completion script for a shell, as in: eval "$(holdfast completion bash)"."""
    from click.shell_completion import get_completion_class

    from holdfast.cli.main import cli

    found = get_completion_class(shell)
    if found is None:
        raise UsageError(f"no completion for {shell}")
    click.echo(found(cli, {}, "holdfast", "_HOLDFAST_COMPLETE").source())
    return 0
