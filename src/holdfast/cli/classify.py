"""`holdfast classify`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from holdfast.base.units import format_bytes, format_seconds
from holdfast.cli.options import output_options
from holdfast.cli.output import Output
from holdfast.cli.signals import interruptible
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.runs.classify import Classification
    from holdfast.runs.options import BackupOptions

__all__ = ["classify_command"]


@click.command("classify")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=bytes))
@click.option("--class", "rules", multiple=True, metavar="PATTERN=CLASS", help="A path rule; the last match decides.")
@click.option("--default-class", metavar="CLASS", help="The class of what no rule matches; phi unless said.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out what matches.")
@output_options
def classify_command(
    *, paths: Sequence[bytes], rules: Sequence[str], default_class: str | None, exclude: Sequence[str], out: Output
) -> int:
    """Report the data classes of files, in counts only.

    Looks at the first bytes of every file, for signatures only; shows no name and no content, and stores nothing.

    Example: holdfast classify /srv/share --default-class operational
    """
    from holdfast.runs.classify import classify

    with interruptible() as stop:
        found = classify(paths, options=_options(rules, default_class, exclude), stop=stop)
    out.table(
        ("CLASS", "FILES", "BYTES", "RECOGNISED BY", "CONFIDENCE", "RAISED"),
        [
            (kind.class_name, f"{kind.files}", format_bytes(kind.bytes), kind.rule or "path", kind.confidence or "-",
             f"{kind.raised}")
            for kind in found.kinds
        ],
        right="125",
    )  # fmt: skip
    return out.result("classify", found, found.exit_code, _summary(found))


def _options(rules: Sequence[str], default_class: str | None, exclude: Sequence[str]) -> BackupOptions:
    from holdfast.runs.options import BackupOptions, ClassRule

    pairs = [rule.rpartition("=") for rule in rules]
    if not all(pattern and name for pattern, _, name in pairs):
        raise UsageError("a rule is PATTERN=CLASS", next="write it as in --class '*.log=operational'.")
    usual = BackupOptions()
    return BackupOptions(
        class_rules=tuple(ClassRule(pattern, name) for pattern, _, name in pairs),
        default_class=default_class or usual.default_class,
        exclude=tuple(exclude),
    )


def _summary(found: Classification) -> list[str]:
    raised = sum(kind.raised for kind in found.kinds)
    lines = [
        f"Looked at {found.files()} files in {format_seconds(found.seconds)}; {raised} hold more than their path says"
    ]
    if found.unreadable:
        lines.append(f"PARTIAL: {found.unreadable} entries could not be looked at")
    return lines
