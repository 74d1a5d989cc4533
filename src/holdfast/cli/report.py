"""`holdfast report`: what people read and file. A group whose commands are imported when they are called."""

from __future__ import annotations

import importlib

import click

from holdfast.cli.commands import Entry

__all__ = ["REPORTS", "ReportGroup", "report_command"]

REPORTS = {
    "drill": Entry("report_drill", "Write a drill's report as HTML, PDF or JSON."),
    "runbook": Entry("report_drill", "Write a service's runbook for the day."),
    "compliance": Entry("report_compliance", "Say which controls the records show, and which they do not."),
    "verify": Entry("report_drill", "Prove a report or a record offline."),
}
"""Which reports there are: the module that holds `NAME_report_command`, and its line."""


class ReportGroup(click.Group):
    """A group that imports a report's command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        """Return the reports in the order of the manual."""
        return list(REPORTS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's interface
        """Import and return a report's command; None if there is none of that name."""
        entry = REPORTS.get(cmd_name)
        if entry is None:
            return None
        module = importlib.import_module(f"holdfast.cli.{entry.module}")
        command: click.Command = getattr(module, f"{cmd_name}_report_command")
        return command


@click.group("report", cls=ReportGroup)
def report_command() -> None:
    """Write reports and runbooks, and prove them offline."""
