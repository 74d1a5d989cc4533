"""The errors of the schedule."""

from __future__ import annotations

from holdfast.errors.core import HoldfastError, Retry, Safety

__all__ = ["RunLostError", "RunOverdueError", "ScheduleBusyError"]


class ScheduleBusyError(HoldfastError):
    """Another schedule runs on this state already."""

    code = "schedule-busy"
    retry = Retry.LATER
    safety = Safety.UNTOUCHED
    meaning = "Another `holdfast schedule run` works on this host's state, or a run of the same job is under way."
    safe = "nothing was started twice."
    next = "leave it to the one that runs; one that died holds nothing up."


class RunLostError(HoldfastError):
    """A scheduled run ended without a result: killed, or out of memory."""

    code = "run-lost"
    retry = Retry.LATER
    meaning = "A scheduled run ended without saying how: it was killed, or the machine went down."
    safe = "every snapshot acknowledged before is as it was; what was uploaded is kept and used again."
    next = "it is started again by itself; if that happens often, look for the end of memory or a kill in the machine's log."


class RunOverdueError(HoldfastError):
    """A scheduled run took longer than it may."""

    code = "run-overdue"
    retry = Retry.LATER
    meaning = "A scheduled run took longer than `run_seconds_max` and was stopped; its checkpoint is kept."
    safe = "every snapshot acknowledged before is as it was; what was uploaded is kept and used again."
    next = "find what holds it up (source, store or network), or give it more time."
