"""Errors of the governor: a run that pauses, probes that cannot be used, runs that cannot be steered."""

from __future__ import annotations

from holdfast.errors.core import HoldfastError, MissingError, Retry, Safety, UsageError

__all__ = ["PausedError", "ProbeUnusableError", "RunMissingError", "SteeringError"]


class PausedError(HoldfastError):
    """A run pauses: its window closed, or an operator said so. The checkpoint is kept."""

    code = "paused"
    exit_code = 9
    retry = Retry.LATER
    meaning = "The run pauses: its window has closed, its budget is zero, or an operator paused it."
    safe = "every snapshot acknowledged before is as it was; the checkpoint is kept."
    next = (
        "run the same command again in the next window, or after `holdfast resume`; what is stored is not stored twice."
    )


class ProbeUnusableError(UsageError):
    """A probe of the application cannot be used as it is configured."""

    code = "probe-unusable"
    meaning = "A probe of the application cannot be used: its driver is missing or its target makes no sense."
    next = "correct the table [governor.probes.NAME], or install what the first line names."


class RunMissingError(MissingError):
    """No run of that name runs on this machine."""

    code = "run-missing"
    meaning = "No run of that id runs on this machine under this user."
    next = "`holdfast limits` lists the runs there are."


class SteeringError(HoldfastError):
    """A run could not be steered: it does not answer on its control socket."""

    code = "steering"
    safety = Safety.UNTOUCHED
    retry = Retry.LATER
    meaning = "A run does not answer on its control socket, or did not understand what was asked."
    safe = "the run goes on as it did; no limit was changed."
    next = "try again; `holdfast pause` without --run needs no answer."
