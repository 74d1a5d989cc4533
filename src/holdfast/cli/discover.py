"""`holdfast discover`."""

from __future__ import annotations

import os
from dataclasses import dataclass

import click

from holdfast.cli.options import Place, vault_options
from holdfast.cli.output import Output
from holdfast.errors import ApplicationUnsuitableError

__all__ = ["ApplicationFound", "DangerFound", "discover_command"]


@dataclass(frozen=True, slots=True)
class ApplicationFound:
    """An application on this host."""

    name: str
    """The name that is proposed for it."""
    connector: str
    """Its kind."""
    live: bool
    """A server runs on it now."""
    settings: tuple[tuple[str, str], ...]
    """The settings that are proposed, as pairs."""


@dataclass(frozen=True, slots=True)
class DangerFound:
    """A database inside a plain path of a job: a file backup alone stores it torn."""

    job: str
    """The job."""
    connector: str
    """The kind of database."""
    live: bool
    """A server runs on it now."""
    forbidden: bool
    """The job's data class is `phi`: the command ends with an error."""


@click.command("discover")
@click.argument("roots", nargs=-1, type=click.Path(exists=True, file_okay=False))
@click.option(
    "--composite", "product", metavar="NAME", help="Print the ready-made group of a product instead: openemr, mirth, …"
)
@vault_options
def discover_command(*, roots: tuple[str, ...], product: str | None, place: Place, out: Output) -> int:
    """Find databases on this host, and propose a configuration for them.

    Looks at running servers and at data folders below ROOTS (/var/lib, /srv and /opt without any). With a configuration it
    also says which databases lie inside plain paths of jobs: a file backup alone would store them torn. Connects to nothing,
    changes nothing.

    Example: holdfast discover /srv > applications.toml
    """
    if product is not None:
        from holdfast.sources.composites import composite

        out.page("applications", composite(product).configuration())
        return 0
    from holdfast.sources.connectors import kinds
    from holdfast.sources.discovery import configuration, endangered, look

    found, live = look(roots or tuple(path for path in ("/var/lib", "/srv", "/opt") if os.path.isdir(path)))
    if out.as_json:
        for row in found:
            out.row("application-found", ApplicationFound(row.name, row.connector, row.name in live, row.settings), "")
    else:
        out.answer(configuration(found, kinds()).rstrip())
    config = place.load()
    if config is None:
        return 0
    jobs = {
        name: (tuple(map(os.fsencode, job.paths)), job.default_class)
        for name, job in config.settings.jobs.items()
        if job.paths
    }
    captured = [os.fsencode(row.path) for row in config.settings.applications.values() if row.path]
    dangers = endangered(jobs, found, live, captured)
    for danger in dangers:
        state = "a live" if danger.live else "a stopped"
        text = f"# job {danger.job}: {state} {danger.connector} database lies in its paths; a file backup alone would store it torn"
        out.row("danger", DangerFound(danger.job, danger.connector, danger.live, danger.forbidden), text)
    if any(danger.forbidden for danger in dangers):
        raise ApplicationUnsuitableError(
            f"{sum(danger.forbidden for danger in dangers)} live databases with patient data lie in plain paths of jobs",
            next="give each an application (see above) and leave its data folder out of the job's paths.",
        )
    return 3 if dangers else 0
