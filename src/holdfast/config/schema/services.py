"""Settings of services (what a hospital needs back, how soon, in which order) and of the drills that prove it."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints
from pydantic.types import StrictFloat, StrictInt, StrictStr

from holdfast.base.units import format_seconds
from holdfast.config.schema.fields import DAY, Name, Seconds, Section, Size, Text, Texts, option

__all__ = ["DrillCheckSettings", "DrillSettings", "ServiceSettings", "Services", "service_problems"]

Optional = Annotated[StrictStr, StringConstraints(max_length=4096)]
YEAR = 365 * DAY


class DrillCheckSettings(Section):
    """A question that a restored service must answer as it should."""

    name: Name = option(..., "The check's name, which reports show; the question itself is in no report.")
    kind: Literal["query", "http", "command", "file"] = option(
        "query", "How it is asked: `query` (SQL), `http` (a GET), `command`, or `file` (there, and not empty)."
    )
    query: Optional = option("", "The SQL query; its first column of its first row is the answer.")
    database: Optional = option("", "The database that the query is for; a file below `data` for SQLite.")
    path: Optional = option("", "The path of the HTTP request, or of the file within the snapshot.")
    command: Texts = option((), "The command and its arguments; what it prints is the answer, and it must exit with 0.")
    equals: Optional = option("", "What the answer must be.")
    at_least: StrictInt | None = option(None, "The least that the answer, a number, may be.", ge=0)
    drop_max: StrictFloat | None = option(
        None,
        "By how much the answer may be smaller than in the last drill that passed.",
        unit="fraction",
        ge=0.0,
        le=1.0,
    )


class ServiceSettings(Section):
    """A service: what people use, how soon it must be back, and how a drill proves that it is."""

    title: Optional = option("", "What people call it.")
    criticality: Literal["vital", "important", "deferrable"] = option(
        "important", "How much depends on it: `vital`, `important` or `deferrable`; the vital ones are restored first."
    )
    rto: Seconds = option(
        4 * 3600, "How soon it must be back (recovery time objective).", unit="seconds", ge=1, le=YEAR
    )
    rpo: Seconds = option(DAY, "How much work may be lost (recovery point objective).", unit="seconds", ge=1, le=YEAR)
    needs: tuple[Name, ...] = option((), "Services that must be back before it.")
    source: Optional = option("", "The job, label or source that backs it up; empty: the service's own name.")
    paths: Texts = option((), "The part of the snapshot that is the service; empty: all of it.")
    application: Name = option(
        "files",
        "What runs on it: `files`, `postgresql`, `mariadb`, `sqlite`, `orthanc`, `command`, `host`, or a name that a plug-in brings.",
    )
    data: Optional = option("", "The folder or file of the application's data, as in the snapshot.")
    recovers: Optional = option(
        "",
        "The PostgreSQL application (`[applications.NAME]`) whose base backup and WAL are recovered; empty: files as they are.",
    )
    programs: Optional = option("", "The folder of the application's programs; empty: where the system has them.")
    command: Texts = option((), "For `command`: what starts the service in the foreground, in the restored folder.")
    port: StrictInt = option(
        0, "For `command`: the port that its HTTP checks ask, inside the isolated place.", ge=0, le=65535
    )
    ready_seconds: Seconds = option(
        300, "How long the application may take to answer.", unit="seconds", ge=1, le=7 * DAY
    )
    drill_every: Seconds = option(
        90 * DAY, "How old the last drill that passed may be.", unit="seconds", ge=3600, le=5 * YEAR
    )
    size: Size | None = option(None, "How much data it is expected to grow to.", unit="bytes", ge=0)
    restore_bytes_per_s: Size | None = option(
        None, "The most that the recovery hardware restores.", unit="bytes per second", ge=1024
    )
    checks: tuple[DrillCheckSettings, ...] = option((), "Questions that the restored service must answer.")


class DrillSettings(Section):
    """Where and how drills run, and where their evidence is kept."""

    place: Text = option("/var/tmp/holdfast-drills", "The folder that drills restore into; never a production place.")  # noqa: S108 - a folder below it is made for this user alone
    evidence: Optional = option("", "The folder for records and reports; empty: the local state of the vault.")
    isolation: Literal["required", "preferred"] = option(
        "required",
        "Whether a drill is refused without namespaces of its own, or runs with weaker isolation and says so.",
    )
    conceal: Texts = option((), "Folders that a drilled application must not even see, beside those of all jobs.")
    sample_files: StrictInt = option(200, "How many files a partial drill restores.", unit="files", ge=1, le=10_000_000)
    seconds_max: Seconds = option(12 * 3600, "When a drill is given up.", unit="seconds", ge=1, le=30 * DAY)
    attention: StrictFloat = option(
        0.8, "From which part of an objective on a service counts as in danger.", unit="fraction", gt=0.0, le=1.0
    )


def service_problems(services: Mapping[str, ServiceSettings]) -> list[str]:
    """Return what is wrong between services: unknown needs, cycles, objectives that no restore can meet."""
    found = [
        f"{name} needs {needed}, which is no service"
        for name, service in services.items()
        for needed in service.needs
        if needed not in services
    ]
    try:
        TopologicalSorter({name: service.needs for name, service in services.items()}).prepare()
    except CycleError as error:
        found.append(f"services need each other in a circle: {' → '.join(reversed(error.args[1]))}")
        return found
    for name, service in services.items():
        found += _impossible(name, service, services)
        names = [check.name for check in service.checks]
        found += [f"{name} has two checks named {twice}" for twice in sorted({n for n in names if names.count(n) > 1})]
    return found


def _impossible(name: str, service: ServiceSettings, services: Mapping[str, ServiceSettings]) -> list[str]:
    """Return why arithmetic alone forbids a service's objective."""
    found = [
        f"{name} is to be back in {format_seconds(service.rto)}, and needs {needed}, which may take {format_seconds(other.rto)}"
        for needed in service.needs
        if (other := services.get(needed)) is not None and other.rto > service.rto
    ]
    if service.size is not None and service.restore_bytes_per_s is not None:
        least = service.size / service.restore_bytes_per_s
        if least > service.rto:
            found.append(
                f"{name} is to be back in {format_seconds(service.rto)}, and copying its data alone takes {format_seconds(least)}"
            )
    return found


def _checked(services: dict[str, ServiceSettings]) -> dict[str, ServiceSettings]:
    problems = service_problems(services)
    if problems:
        raise ValueError("; ".join(problems))
    return services


Services = Annotated[dict[Name, ServiceSettings], AfterValidator(_checked), Field(max_length=10_000)]
