"""`holdfast demo`."""

from __future__ import annotations

from pathlib import Path

import click

from holdfast.base.events import Event, Note
from holdfast.cli.options import output_options
from holdfast.cli.output import Output
from holdfast.cli.signals import interruptible

__all__ = ["demo_command"]


@click.command("demo")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--seed", default=1, show_default=True, help="The same seed makes the same hospital.")
@output_options
def demo_command(*, folder: Path | None, seed: int, out: Output) -> int:
    """Build a small synthetic hospital in FOLDER (a new temporary one), back it up, damage the vault, heal and restore it.

    Every step is checked. Needs no server and no root; the folder is left there to look at.
    """
    from holdfast.runs.demo import STEP, run_demo

    def show(event: Event) -> None:
        if isinstance(event, Note) and event.code == STEP:
            out.say(event.text)

    with interruptible(at_once=True):
        report = run_demo(folder, seed=seed, events=show)
    summary = [f"All of it is proved, in {report.seconds:.1f} s.", f"The report is in {report.report}"]
    return out.result("demo", report, 0, summary)
