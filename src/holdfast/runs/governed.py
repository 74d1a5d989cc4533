"""The one helper around the poll loops of runs: it starts the governor, and says when to stop, why, and when to begin again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from holdfast.base.events import Note
from holdfast.errors import HoldfastError, Interrupted
from holdfast.governor.budget import UNLIMITED, apply, tightest
from holdfast.governor.cgroups import device_of
from holdfast.governor.plan import Course
from holdfast.governor.priority import lowered
from holdfast.governor.steering import Governor
from holdfast.governor.windows import Calendar
from holdfast.runs.assembly import state_root
from holdfast.runs.options import usual_budget

if TYPE_CHECKING:
    from holdfast.base.events import Events
    from holdfast.governor.record import GovernorRecord
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.options import Cancel, Limits

__all__ = ["FOLDER", "GovernedRun", "Yielded", "governed"]

FOLDER = "governor"
"""Of the local state: the machine's runs, what an operator paused, what is usual for the application."""
URGENT = frozenset({"restore", "repair"})
"""What is missed on the wards, or at risk until it is done: its limits hold, but neither load nor windows stop it."""
_T = TypeVar("_T")


class Yielded(Exception):  # noqa: N818 - no fault: the run gave its memory back and goes on later
    """A run kept its checkpoint and ended this attempt; the next one goes on from there."""


@dataclass(slots=True)
class GovernedRun:
    """What a run's poll loop asks. All of it on the run's own thread."""

    governor: Governor
    events: Events
    stop: Cancel | None
    safe: str | None = None
    """What an interrupted run of this kind says is safe."""

    def is_over(self) -> bool:
        """Return whether the run must stop now, for whatever reason; passes on what the governor has to say.

        From then on it is held no longer: it has to come to its end.
        """
        self.tell()
        over = self._is_cancelled() or self.governor.course() in (Course.YIELD, Course.LEAVE)
        if over:
            self.governor.release()
        return over

    def tell(self) -> None:
        """Pass on what the governor has to say; for a run that does not ask whether it is over."""
        for event in self.governor.events():
            self.events(event)

    def why(self) -> Exception:
        """Return what a run that was over ends with: `Interrupted`, `PausedError`, or `Yielded` to begin again later."""
        if self._is_cancelled():
            return self.interrupted()
        return self.governor.paused() if self.governor.course() is Course.LEAVE else Yielded()

    def interrupted(self) -> HoldfastError:
        """Return the error of a run that was told to stop."""
        return Interrupted(safe=self.safe)

    def attempts(self, attempt: Callable[[], _T]) -> _T:
        """Return what an attempt returns; one that yields is made again when it may. `Interrupted`, `PausedError`."""
        while True:
            try:
                return attempt()
            except Yielded:
                self.events(
                    Note("the run keeps a checkpoint and its memory goes back; it goes on when it may", "yielded")
                )
                if not self.governor.wait(self._is_cancelled):
                    raise self.interrupted() from None

    def record(self) -> GovernorRecord:
        """Return what was used against what was allowed."""
        return self.governor.record()

    def _is_cancelled(self) -> bool:
        return self.stop is not None and self.stop.is_set()


@contextmanager
def governed(
    vault: OpenVault,
    limits: Limits | None,
    *,
    kind: str,
    label: str = "",
    events: Events,
    stop: Cancel | None,
    can_yield: bool = False,
    safe: str | None = None,
    last_good: Callable[[], datetime | None] = lambda: None,
    paths: Sequence[bytes] = (),
) -> Iterator[GovernedRun]:
    """Govern a run of a vault: its own limits and what the plan says. Afterwards the vault is limited no more.

    `PausedError` if it may not begin. `paths` are what it reads or writes beside the store.
    A run that cannot yield holds still for as long as it must, with its memory. One that never asks `is_over` is not ended
    by a window that closes; load, limits and pauses hold for it all the same.
    """
    plan = vault.governor()
    plan = replace(plan, rpo=plan.objectives.get(label))
    calendar = replace(plan.calendar, usual=tightest(plan.calendar.usual, usual_budget(limits)))
    if not can_yield:
        plan = replace(plan, hold_seconds=math.inf)
    if kind in URGENT:
        plan = replace(plan, active=False, calendar=Calendar(usual=calendar.usual), probes=())
    else:
        plan = replace(plan, calendar=calendar)
    places: list[str | bytes] = [*paths]
    if vault.store.local_root is not None:
        places.append(vault.store.local_root)
    found = map(device_of, places) if plan.cgroup else ()
    governor = Governor(
        vault.limits,
        plan,
        vault.env,
        state_root() / FOLDER,
        kind=kind,
        label=label,
        last_good=last_good() if plan.rpo is not None else None,
        is_stopped=lambda: stop is not None and stop.is_set(),
        devices=tuple(dict.fromkeys(device for device in found if device is not None)),
    )
    with ExitStack() as stack:
        stack.callback(apply, vault.limits, UNLIMITED)
        # The governor's own threads keep their priority: they begin before the run's is lowered.
        stack.enter_context(governor)
        stack.enter_context(lowered(plan.priority))
        yield GovernedRun(governor, events, stop, safe)
