"""What the schedule's book holds, and what an entry of the schedule is: frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from zoneinfo import ZoneInfo

from holdfast.base.calendar import Slots, Window
from holdfast.errors import Retry, Safety

__all__ = ["Entry", "Outcome", "RunRecord", "RunState"]


class RunState(Enum):
    """Where a scheduled run stands."""

    RUNNING = "running"
    WAITING = "waiting"
    """It failed, or was stopped by its window, and starts again."""
    DONE = "done"
    """It succeeded, perhaps with findings."""
    FAILED = "failed"
    """It failed for good: a person is told."""
    SKIPPED = "skipped"
    """It never started: what it waits for failed, or its time had passed and it does not catch up."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the schedule, as the service works with it. Durations are seconds."""

    name: str
    kind: str
    job: str = ""
    slots: Slots | None = None
    """None: it follows the entries of `after`."""
    after: tuple[str, ...] = ()
    windows: tuple[Window, ...] = ()
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    stop_at_window_end: bool = False
    catch_up: bool = True
    jitter_seconds: float = 0.0
    group: str = ""
    rpo_seconds: float | None = None
    grace_seconds: float = 3600.0
    attempts: int = 4
    retry_seconds: float = 300.0
    run_seconds_max: float = 172_800.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended. `code` is an error's stable code; empty after success."""

    exit_code: int
    code: str = ""
    what: str = ""
    safe: str = ""
    next: str = ""
    safety: Safety = Safety.INTACT
    retry: Retry = Retry.NEVER
    snapshot: str = ""
    incomplete: bool = False
    """Something was left out that is no file coming and going: a look again is worth while, and else a person's."""

    @property
    def succeeded(self) -> bool:
        """Whether what was to be done is done: complete, or committed with findings."""
        return self.exit_code in (0, 3)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run of an entry: one slot, however often it was attempted."""

    name: str
    """The entry."""
    slot: datetime
    """The time it was due."""
    state: RunState
    """Where it stands."""
    attempt: int
    """How often it was started."""
    started: datetime | None
    """When the newest attempt began."""
    ended: datetime | None
    """When the newest attempt ended."""
    next_at: datetime | None
    """When the next attempt begins, if it waits for one."""
    exit_code: int | None
    """How the newest attempt ended."""
    code: str
    """The error that stopped it, if one did."""
    what: str
    """What happened, in a sentence."""
    token: str = ""
    """What its output file is named by."""
