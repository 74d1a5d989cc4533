"""The generated pages: docs/config.md, docs/errors.md, docs/cli.md. `python -m holdfast.cli.manual` writes them anew."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

import click

from holdfast.base.alert_codes import ALERT_CODES
from holdfast.cli.commands import COMMANDS
from holdfast.cli.exits import EXIT_CODES
from holdfast.cli.integrity import check_command
from holdfast.cli.main import cli
from holdfast.cli.shapes import ERROR_FIELDS, EXTRA, RECORDS, RESULTS, Shape, shape
from holdfast.config.render import manual
from holdfast.errors import error_classes

__all__ = ["cli_page", "errors_page", "main", "pages"]

SHARED = {"as_json", "quiet", "show_paths", "vault", "key_file", "passphrase", "credential", "config"}


def pages() -> dict[str, str]:
    """Return every generated page by its name in docs/."""
    return {"cli.md": cli_page(), "config.md": manual(), "errors.md": errors_page()}


def errors_page() -> str:
    """Return docs/errors.md."""
    lines = [
        "# Errors",
        "",
        "Generated from `src/holdfast/errors`; a test compares. Every error is three lines: what happened, `SAFE:` what is safe,",
        "`NEXT:` what to do. `holdfast explain CODE` says the same as this page. Codes and exit codes are never reused.",
        "The words below are each class's own; where more is known, an error says more.",
        "",
        "## Exit codes",
        "",
        "| code | meaning |",
        "|---|---|",
        *(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()),
        "",
        "Several at once: a signal, then 4 before 7 before 1 before 3.",
        "",
        "## Codes",
    ]
    for cls in error_classes():
        lines += [
            "",
            f"### `{cls.code}`",
            "",
            f"{cls.meaning} (`{cls.__name__}`, exit code {cls.exit_code})",
            "",
            f"- Backups that exist: {cls.safety.value}; trying again: {cls.retry.value}",
            f"- SAFE: {cls.safe}",
            f"- NEXT: {cls.next}",
        ]
    lines += [
        "",
        "## Codes of alerts",
        "",
        "An alert that is made of an error has the error's code. These are no errors; from `src/holdfast/base/alert_codes.py`.",
        "Messages to people carry the last column, unless the alert knows better in its case.",
        "",
        "| code | meaning | next |",
        "|---|---|---|",
        *(f"| `{each.code}` | {each.meaning} | {each.next} |" for each in ALERT_CODES.values()),
    ]
    return "\n".join(lines) + "\n"


def cli_page() -> str:
    """Return docs/cli.md."""
    lines = [
        "# The command line",
        "",
        "Generated from the commands and result types; a test compares. Exit codes and error codes are in [errors.md](errors.md),",
        "the configuration is in [config.md](config.md).",
        "",
        "## Options of every command",
        "",
        "Options go before variables, and variables before the configuration.",
        "",
    ]
    context = click.Context(cli, info_name="holdfast")
    lines += _option_table([option for option in _options(check_command) if option.name in SHARED], context)
    lines += ["", "## Commands"]
    for name in COMMANDS:
        command = cli.get_command(context, name)
        if command is not None:
            lines += _command(command, f"holdfast {name}")
    lines += [
        "",
        "## JSON lines",
        "",
        "With `--json` a command prints one object per line on standard output: `progress` (at most one a second and phase),",
        "`finding` and `note` while it runs, then rows or one result, which carries `exit_code`. An error that stops the command",
        "is a record of type `error`. New fields may come; those that are here keep their meaning.",
        "",
        "A *path* is text. If its bytes are not UTF-8, the field `NAME_base64` stands beside it and is exact. Where the operator",
        "did not ask for paths (`--show-paths`), `path_digest` stands for the path of a finding, and `paths_count` for a list.",
        "A *time* is RFC 3339 in UTC with microseconds.",
    ]
    objects: list[type] = []
    for kind, cls in RECORDS.items():
        lines += ["", f"### `{kind}`", "", _first_line(cls), "", *_fields(kind, cls)]
        objects += [found for found in _nested(cls) if found not in objects]
    lines += [
        "",
        "### `error`",
        "",
        "The error that stopped the command.",
        "",
        "| field | kind | meaning |",
        "|---|---|---|",
    ]
    lines += [
        f"| `{name}` | {'integer' if name == 'exit_code' else 'text'} | {text} |" for name, text in ERROR_FIELDS.items()
    ]
    lines += ["", "## Objects within records"]
    for cls in objects:
        lines += ["", f"### {cls.__name__}", "", _first_line(cls), "", *_fields("", cls)]
    return "\n".join(lines) + "\n"


def _command(command: click.Command, name: str) -> Iterator[str]:
    context = click.Context(command, info_name=name)
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None:
                yield from _command(found, f"{name} {child}")
        return
    usage = " ".join(command.collect_usage_pieces(context))
    yield from ("", f"### `{name}`", "", f"`{name} {usage}`", "", inspect.cleandoc(command.help or ""))
    own = [option for option in _options(command) if option.name not in SHARED]
    if own:
        yield from ("", *_option_table(own, context))


def _options(command: click.Command) -> list[click.Option]:
    return [parameter for parameter in command.params if isinstance(parameter, click.Option)]


def _option_table(options: Sequence[click.Option], context: click.Context) -> Iterator[str]:
    yield from ("| option | meaning |", "|---|---|")
    for option in options:
        usage, text = option.get_help_record(context) or ("", "")
        yield f"| `{usage.replace('|', ' ')}` | {text} |"


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().splitlines()[0]


def _fields(kind: str, cls: type) -> Iterator[str]:
    yield from ("| field | kind | meaning |", "|---|---|---|")
    for field in shape(cls):
        yield f"| `{field.name}` | {field.kind} | {field.meaning} |"
    for name, text in EXTRA.get(kind, {}).items():
        yield f"| `{name}` | {text} | |"
    if kind in RESULTS:
        yield "| `exit_code` | integer | The exit code of the command. |"


def _nested(cls: type) -> Iterator[type]:
    """Yield the classes of the objects within a record, however deep."""
    for field in shape(cls):
        for found in _classes(field):
            yield found
            yield from _nested(found)


def _classes(field: Shape) -> Iterator[type]:
    stack = [field.annotation]
    while stack:
        part = stack.pop()
        if isinstance(part, type) and dataclasses.is_dataclass(part):
            yield part
        stack.extend(get_args(part))


def main() -> None:
    """Write the pages into the folder named by the argument, `docs` by default."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    for name, text in pages().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main()
