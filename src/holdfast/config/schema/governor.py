"""Settings of the governor: budgets, the application's tolerance, probes, windows."""

from __future__ import annotations

from datetime import date, time
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic.types import StrictBool, StrictFloat, StrictInt, StrictStr

from holdfast.config.schema.fields import MIB, Name, Seconds, Secret, Section, Size, Text, Texts, option

__all__ = ["GovernorSettings", "LimitSettings", "MachineSettings", "ProbeSettings", "WindowSettings"]

_DAY_WORDS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun", "workday", "weekend", "holiday", "daily")


def _clock(value: str) -> str:
    time.fromisoformat(value)
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (OSError, ValueError, KeyError):
        message = "not a time zone that this machine knows (write Europe/Berlin, America/New_York, UTC)"
        raise ValueError(message) from None
    return value


def _days(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values or any(value not in _DAY_WORDS for value in values):
        message = f"days are {', '.join(_DAY_WORDS)}"
        raise ValueError(message)
    return values


def _dates(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        date.fromisoformat(value)
    return values


Clock = Annotated[StrictStr, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$"), AfterValidator(_clock)]
Zone = Annotated[StrictStr, AfterValidator(_zone)]
Days = Annotated[tuple[StrictStr, ...], AfterValidator(_days)]
Dates = Annotated[tuple[StrictStr, ...], Field(max_length=1000), AfterValidator(_dates)]
Share = StrictFloat | StrictInt


class LimitSettings(Section):
    """How hard one run may press on the machine. Without a value there is no limit."""

    read_bytes_per_s: Size | None = option(None, "Reading from the sources.", unit="bytes per second", ge=1024)
    write_bytes_per_s: Size | None = option(
        None, "Writing to a local store, or to restored files.", unit="bytes per second", ge=1024
    )
    network_bytes_per_s: Size | None = option(
        None, "To and from stores over a network.", unit="bytes per second", ge=1024
    )
    operations_per_s: StrictInt | None = option(
        None, "Opens, reads and listings that disks must answer.", unit="operations per second", ge=1
    )
    cpu_cores: Share | None = option(
        None, "CPU time of the whole process: 0.5 is half a core.", unit="cores", gt=0, le=4096
    )
    threads: StrictInt | None = option(None, "Threads that compute at the same time.", unit="threads", ge=1, le=4096)
    memory_bytes: Size | None = option(
        None,
        "Packs in memory; the program, its index and its queues take about 100 MiB besides.",
        unit="bytes",
        ge=8 * MIB,
    )


class MachineSettings(LimitSettings):
    """What all runs of this machine may take together: they share it, and what one leaves goes to the others."""


class ProbeSettings(Section):
    """A question to the application, whose answer tells how fast it is."""

    sql: Text | None = option(
        None, "The database, as `postgresql://user@host:port/db` or `mariadb://…`; no password in it."
    )
    statement: Text = option("SELECT 1", "What is asked of it: best what the application does all day.")
    password: Secret | None = option(None, "The database user's password.", unit="reference")
    http: Text | None = option(None, "A page that the application serves, as `http://…` or `https://…`.")
    command: Texts = option((), "A command that ends with 0 when the application has answered; no shell is involved.")
    timeout_seconds: Share = option(
        5, "An answer that takes longer is none: that is load, and an alert.", unit="seconds", gt=0, le=60
    )

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        if sum((self.sql is not None, self.http is not None, bool(self.command))) != 1:
            message = "a probe has one of `sql`, `http` and `command`"
            raise ValueError(message)
        return self


class WindowSettings(Section):
    """Hours of some days, and what holds in them."""

    mode: Literal["peak", "closed", "maintenance"] = option(
        "peak",
        "`closed`: no run, one that runs pauses; `peak`: at most the window's limits; `maintenance`: the window's limits in place "
        "of the usual ones. Closed goes before all, and of peaks the tightest counts.",
    )
    days: Days = option(
        ("workday",),
        "`mon` … `sun`, `workday`, `weekend`, `daily`, `holiday`. On a holiday only windows with `holiday` or `daily` hold.",
    )
    start: Clock = option(..., "When it begins, by the clock on the wall: `07:00`.")
    end: Clock = option(..., "When it ends; not after the start means on the next day, equal to it a whole day.")
    zone: Zone = option("UTC", "The time zone of the clock on the wall.")
    holidays: Dates = option((), "Dates that are holidays, as `2026-12-25`.")
    slowdown_max: Share | None = option(
        None, "What part of its speed the application may lose in the window; none: the usual.", gt=0, le=10
    )
    read_bytes_per_s: Size | None = option(None, "Reading; 0 pauses.", unit="bytes per second", ge=0)
    write_bytes_per_s: Size | None = option(None, "Writing; 0 pauses.", unit="bytes per second", ge=0)
    network_bytes_per_s: Size | None = option(None, "Network; 0 pauses.", unit="bytes per second", ge=0)
    operations_per_s: StrictInt | None = option(None, "Calls to disks; 0 pauses.", unit="operations per second", ge=0)
    cpu_cores: Share | None = option(None, "CPU time; 0 pauses.", unit="cores", ge=0, le=4096)


class GovernorSettings(Section):
    """How runs yield to the application. Probes speak for it; without any, stalls of the machine do."""

    enabled: StrictBool = option(True, "Whether load makes runs yield. Limits, windows and pauses hold in any case.")
    slowdown_max: Share = option(0.10, "What part of its speed the application may lose.", gt=0, le=10)
    slowdown_max_for_rpo: Share = option(
        0.25, "The same while the run's source would miss its objective otherwise.", gt=0, le=10
    )
    only_in_maintenance: StrictBool = option(False, "Run only in maintenance windows.")
    wait_for_window: StrictBool = option(
        False, "Wait in the process for the next window, instead of ending with exit code 9 and a checkpoint."
    )
    hold_seconds: Seconds = option(
        60, "A run that held still for so long keeps a checkpoint and gives its memory back.", unit="seconds", ge=0
    )
    priority: Literal["normal", "low", "idle"] = option(
        "low", "Of the run's threads: `low` is nice 10, `idle` runs only when nobody else wants the CPU or the disk."
    )
    cgroup: StrictBool = option(
        False, "Put the run into a control group of its own with the same limits, where the system permits it."
    )
    machine: MachineSettings = Field(default_factory=MachineSettings)
    probes: dict[Name, ProbeSettings] = Field(default_factory=dict, max_length=32)
