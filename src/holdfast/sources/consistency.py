"""Capture one application, or several as one consistency group: frozen together, captured, thawed, then copied by the run.

    with consistent(members, env=env, folder=state) as group:
        ...store what group.captures name...
        concluded = group.conclude()

Whatever happens in between, on leaving the block nothing is frozen and nothing is held. The order of effects: every check
first; the watchdog armed; freezes in the order given; captures; thaws in reverse. All of a group stand still together, so
that what is captured of one is of the same moment as what is captured of the others.

Two budgets hold for a group: the strictest of its members. On an overrun the group is thawed first; then it is tried again
as often as the budget says; then each member's policy decides: `fail`, store what a `crash` would leave, or `fallback` to a
capture without a freeze. A watchdog that had to act means the same as an overrun.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from holdfast.base.events import Alert, ignore
from holdfast.errors import (
    ApplicationChangedError,
    ApplicationError,
    FreezeOverrunError,
    HoldfastError,
    StillFrozenError,
    WatchdogError,
)
from holdfast.sources.connectors.protocol import Attempt, Evidence, Verdict, worst
from holdfast.sources.watchdog import Watchdog, sweep

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from holdfast.base.environment import Environment
    from holdfast.base.events import Events
    from holdfast.sources.connectors.protocol import Beside, Capture, Connector, Facts, Member, ThawOrder

__all__ = ["Concluded", "Group", "consistent"]

CAPTURE_SECONDS_MAX = 600.0
"""For a capture that nobody waits for."""


@dataclass(slots=True)
class _State:
    """One member on its way."""

    member: Member
    connector: Connector
    facts: Facts
    capture: Capture | None = None
    verdict: Verdict = Verdict.APPLICATION
    """The most that the capture can still be worth."""
    attempts: list[Attempt] = field(default_factory=list)
    error: str = ""
    notes: tuple[str, ...] = ()
    asked_at: float | None = None
    frozen_at: float | None = None
    thawed_at: float = 0.0
    thaw_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Concluded:
    """The end of one member: its evidence, what belongs to its copy, and the folders that must be stored now (logs)."""

    evidence: Evidence
    beside: tuple[Beside, ...] = ()
    follow: tuple[bytes, ...] = ()
    problems: tuple[str, ...] = ()


class Group:
    """Applications that were captured together. Made by :func:`consistent`."""

    def __init__(self, states: Sequence[_State], env: Environment, began: float, events: Events) -> None:
        """Use :func:`consistent`."""
        self._states = list(states)
        self._env = env
        self._began = began
        self._events = events

    @property
    def captures(self) -> tuple[Capture, ...]:
        """What is to be stored, in the order of the members."""
        return tuple(state.capture for state in self._states if state.capture is not None)

    @property
    def verdict(self) -> Verdict:
        """The most that the group can still be worth."""
        return worst(*(state.verdict for state in self._states))

    def conclude(self) -> tuple[Concluded, ...]:
        """Check after the copy: the truth about each member, what belongs beside its copy, and what must follow.

        A member whose check fails has the verdict `none` and the error's code, unless its policy is `fail`: then the error
        is raised, and nothing must be committed.
        """
        return tuple(self._concluded(state) for state in self._states)

    def _concluded(self, state: _State) -> Concluded:
        evidence = Evidence(
            application=state.connector.name,
            connector=state.connector.kind,
            version=state.facts.version,
            verdict=Verdict.NONE,
            attempts=tuple(state.attempts),
            facts=state.facts.facts,
            notes=(*state.facts.notes, *state.notes),
            error=state.error,
        )
        try:
            end = state.connector.conclude()
        except ApplicationError as error:
            if state.member.degrade == "fail":
                raise
            self._events(Alert.of(error, state.connector.name))
            return Concluded(replace(evidence, error=error.code, seconds=self._env.monotonic() - self._began))
        evidence = replace(
            evidence,
            verdict=worst(state.verdict, end.verdict),
            proofs=end.proofs,
            notes=(*evidence.notes, *end.notes),
            seconds=self._env.monotonic() - self._began,
        )
        return Concluded(evidence, end.beside, end.follow, end.problems)


@contextmanager
def consistent(
    members: Sequence[Member], *, env: Environment, folder: Path | None = None, events: Events = ignore
) -> Iterator[Group]:
    """Capture the members as one group and yield it; afterwards everything is thawed and released.

    `folder` holds the watchdog's state files; what runs before left frozen there is thawed first. Errors: those of
    `Connector.check` (nothing was touched), `FreezeOverrunError` (thawed; policy `fail`), `StillFrozenError` (act now),
    `WatchdogError` (nothing was frozen).
    """
    began = env.monotonic()
    if folder is not None:
        _sweep(folder, events)
    states: list[_State] = []
    try:
        states.extend(_State(member, member.connector, _checked(member)) for member in members)
        _capture(states, env, folder, events)
        yield Group(states, env, began, events)
    finally:
        for member in reversed(members):
            member.connector.close()
        for state in reversed(states):
            if state.connector is not state.member.connector:
                state.connector.close()


def _checked(member: Member) -> Facts:
    """Check before anything is touched; the only call to an application that is repeated while it is away or busy."""
    return member.approach.check(member.connector) if member.approach is not None else member.connector.check()


def _sweep(folder: Path, events: Events) -> None:
    """Thaw what is left of runs that are gone, and say so."""
    for swept in sweep(folder):
        if swept.failed:
            error = StillFrozenError("an application that a lost run had frozen could not be thawed")
            events(Alert.of(error, "watchdog"))
        else:
            events(
                Alert(
                    "freeze-swept", "watchdog", "a run was lost while it had an application frozen; it was thawed now"
                )
            )


def _capture(states: Sequence[_State], env: Environment, folder: Path | None, events: Events) -> None:
    """Capture everything: frozen if anybody freezes, as often as the budgets allow, then as the policies say."""
    freezing = [state for state in states if state.connector.freezes]
    if not freezing:
        for state in states:
            state.capture = state.connector.capture(CAPTURE_SECONDS_MAX)
        return
    attempts = min(state.member.budgets.attempts for state in freezing)
    error = _attempt(states, freezing, env, folder, events)
    for _ in range(1, attempts):
        if error is not None:
            error = _attempt(states, freezing, env, folder, events)
    if error is not None:
        _degrade(states, freezing, error, events)


def _attempt(
    states: Sequence[_State], freezing: Sequence[_State], env: Environment, folder: Path | None, events: Events
) -> ApplicationError | None:
    """Freeze, capture and thaw once; return the error that cut it short, None if it is good.

    `StillFrozenError` is raised: there is nothing more to try.
    """
    acquire = min(state.member.budgets.acquire_seconds for state in freezing)
    hold = min(state.member.budgets.hold_seconds for state in freezing)
    orders: tuple[ThawOrder, ...] = tuple(order for state in freezing for order in state.connector.thaw_orders())
    watchdog = Watchdog.arm(orders, acquire + hold, env=env, folder=folder)
    failure: BaseException | None = None
    for state in freezing:
        state.asked_at = state.frozen_at = None
    try:
        _freeze(freezing, watchdog, acquire, hold, env)
        left = (freezing[0].frozen_at or 0.0) + hold - env.monotonic()
        for state in states:
            state.capture = state.connector.capture(max(0.0, left))
    except BaseException as error:  # noqa: BLE001 - whatever it is, the applications are thawed first
        failure = error
    stuck = _thaw(freezing, env)
    fired = watchdog.fire() if stuck else watchdog.disarm()
    stuck, changed = _verify_thawed(freezing)
    if stuck is not None:
        events(Alert.of(stuck, freezing[0].connector.name))
        raise stuck from failure
    cut = _cut(failure, fired.why, changed, freezing, hold)
    for state in freezing:
        state.attempts.append(_measured(state, cut))
    if failure is not None and not isinstance(failure, ApplicationError):
        raise failure
    if isinstance(failure, ApplicationError):
        return failure
    return FreezeOverrunError(_SENTENCES.get(cut, _SENTENCES["hold"])) if cut else None


_SENTENCES = {
    "hold": "an application stood still longer than its budget",
    "watchdog": "the watchdog had to thaw an application before the run did",
    "application-changed": "somebody else thawed an application while it was being captured",
}


def _freeze(freezing: Sequence[_State], watchdog: Watchdog, acquire: float, hold: float, env: Environment) -> None:
    """Freeze all, in order, within the budgets."""
    end = env.monotonic() + acquire
    for state in freezing:
        state.asked_at = env.monotonic()
        left = end - state.asked_at
        if left <= 0:
            raise FreezeOverrunError("the applications of the group could not all be frozen in time")
        state.connector.freeze(left)
        state.frozen_at = env.monotonic()
        if state is freezing[0]:
            watchdog.holding(hold)
    for state in freezing:
        state.connector.verify_frozen()
    if not watchdog.alive:
        raise WatchdogError("the watchdog is gone, or had to act, while an application was frozen")


def _thaw(freezing: Sequence[_State], env: Environment) -> StillFrozenError | None:
    """Thaw all, the last first; return the error of one that would not."""
    stuck = None
    for state in reversed(freezing):
        began = env.monotonic()
        try:
            state.connector.thaw()
        except HoldfastError as error:
            stuck = error if isinstance(error, StillFrozenError) else StillFrozenError(error.what)
        state.thawed_at = env.monotonic()
        state.thaw_seconds = state.thawed_at - began
    return stuck


def _verify_thawed(freezing: Sequence[_State]) -> tuple[StillFrozenError | None, bool]:
    """Look whether all work again; return the error of one that does not, and whether one was thawed by somebody else."""
    stuck, changed = None, False
    for state in freezing:
        try:
            state.connector.verify_thawed()
        except StillFrozenError as error:
            stuck = error
        except ApplicationChangedError:
            changed = True
    return stuck, changed


def _cut(failure: BaseException | None, fired: str, changed: bool, freezing: Sequence[_State], hold: float) -> str:  # noqa: FBT001 - one caller
    """Return why an attempt does not count; empty if it does."""
    if isinstance(failure, HoldfastError):
        return failure.code
    if failure is not None:
        return "interrupted"
    if fired:
        return "watchdog"
    if changed:
        return ApplicationChangedError.code
    if any(_held(state) > hold for state in freezing):
        return "hold"
    return ""


def _held(state: _State) -> float:
    """Return how long it stood still."""
    return state.thawed_at - state.frozen_at if state.frozen_at is not None else 0.0


def _measured(state: _State, cut: str) -> Attempt:
    until = state.thawed_at if state.frozen_at is None else state.frozen_at
    return Attempt(
        acquire_ms=(until - state.asked_at) * 1000 if state.asked_at is not None else 0.0,
        hold_ms=_held(state) * 1000,
        thaw_ms=state.thaw_seconds * 1000,
        verdict=state.connector.unfrozen if cut else Verdict.APPLICATION,
        cut=cut,
    )


def _degrade(states: Sequence[_State], freezing: Sequence[_State], error: ApplicationError, events: Events) -> None:
    """After the last attempt: everything is thawed, and the policies decide. Members that froze all the same are no better."""
    if any(state.member.degrade == "fail" for state in freezing):
        raise error
    events(Alert.of(error, freezing[0].connector.name))
    for state in freezing:
        state.error = error.code
        other = state.connector.without_freeze() if state.member.degrade == "fallback" else None
        if state.member.degrade == "fallback" and other is None:
            raise error
        if other is None:
            state.verdict = state.connector.unfrozen
        else:
            state.connector = other
            state.facts = other.check()
    for state in states:
        state.capture = state.connector.capture(CAPTURE_SECONDS_MAX)
