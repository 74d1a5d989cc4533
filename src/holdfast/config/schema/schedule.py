"""Settings of the schedule, and of what is watched."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints
from pydantic.types import StrictBool, StrictInt, StrictStr

from holdfast.config.schema.alerts import Names
from holdfast.config.schema.fields import DAY, Listen, Name, Seconds, Section, Text, Texts, option

__all__ = ["MonitoringSettings", "ScheduleSettings", "SchedulerSettings"]

Line = Annotated[StrictStr, StringConstraints(max_length=4096)]


class SchedulerSettings(Section):
    """How `holdfast schedule run` works."""

    zone: Text = option("UTC", "The time zone of cron expressions and windows, as `Europe/Berlin`.")
    concurrent: StrictInt = option(2, "Runs at the same time.", unit="runs", ge=1, le=256)
    keep_days: StrictInt = option(400, "How long ended runs are remembered.", unit="days", ge=1, le=36_500)
    log: Literal["human", "json"] = option("human", "How the service writes its log.")
    unsafe_unrehearsed: StrictBool = option(
        False,
        "Run although no recovery kit was ever tried out (`holdfast key rehearse`): nobody knows that one opens the vault.",
    )


class ScheduleSettings(Section):
    """A job that starts by itself."""

    kind: Name = option(
        "backup",
        "`backup`, `verify`, `prune`, `forget`, `check`, `migrate`, `drill`, `audit` (verify the audit log), `digest`, or a"
        " plug-in's kind.",
    )
    job: Line = option(
        "", "The job of `[jobs.NAME]` that is backed up (backup), or the service that is tried; empty: all (drill)."
    )
    cron: Line = option("", "When: `MINUTE HOUR DAY MONTH WEEKDAY`, on the clock of the zone.")
    every_seconds: Seconds | None = option(None, "Or: how often.", unit="seconds", ge=60, le=366 * DAY)
    after: Names = option((), "Or, or as well: the entries of the schedule that must have succeeded before.")
    windows: Texts = option((), "Hours such as `Mon-Fri 20:00-06:00` in which it may start.")
    stop_at_window_end: StrictBool = option(False, "Stop it when its window closes; it goes on in the next.")
    catch_up: StrictBool = option(True, "Start once, late, when the machine was down at its time.")
    jitter_seconds: Seconds = option(
        0, "Start up to so long after its time, so that hosts do not start at once.", unit="seconds", ge=0, le=DAY
    )
    group: Line = option("", "Entries of one group never run at the same time.")
    grace_seconds: Seconds = option(3600, "A start later than this is an alert.", unit="seconds", ge=60, le=30 * DAY)
    attempts: StrictInt = option(4, "How often a run that may succeed later is started.", unit="attempts", ge=1, le=100)
    retry_seconds: Seconds = option(
        300, "How long to wait before the second attempt; the wait doubles each time.", unit="seconds", ge=1, le=DAY
    )
    run_seconds_max: Seconds = option(
        2 * DAY, "A run that takes longer is stopped; its checkpoint is kept.", unit="seconds", ge=60, le=60 * DAY
    )


class MonitoringSettings(Section):
    """What is watched, and where figures are given out."""

    listen: Listen = option("", "Where Prometheus may fetch figures, as `127.0.0.1:9187`; empty: nothing listens.")
    textfile: Line = option("", "A file `….prom` for the textfile collector of node_exporter.")
    verification_days: StrictInt = option(
        35, "Every byte must have been read again within so many days.", unit="days", ge=1, le=3660
    )
    drill_days: StrictInt = option(
        0, "A drill must have succeeded within so many days; 0: not watched.", unit="days", ge=0
    )
    copies: StrictInt = option(1, "On how many stores each backup must be.", unit="stores", ge=1, le=16)
    host_silent_days: StrictInt = option(
        7, "A source of the vault that is heard of no more for so long is an alert.", unit="days", ge=1, le=3660
    )
    store_full_days: StrictInt = option(
        14, "A store that will be full within so many days is an alert.", unit="days", ge=1, le=366
    )
    store_free_percent: StrictInt = option(
        5, "A store with less room than this is an alert.", unit="percent", ge=0, le=90
    )
    expiry_days: StrictInt = option(
        30, "A key or certificate that expires within so many days is an alert.", unit="days", ge=1, le=366
    )
    certificates: Texts = option((), "Files of certificates whose expiry is watched.")
