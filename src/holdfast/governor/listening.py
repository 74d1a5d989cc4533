"""Listening to the application: its probes, what is usual for them, and the moments in which a run is held still to learn that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from holdfast.base.environment import Environment
from holdfast.base.events import Alert
from holdfast.errors import Retry
from holdfast.governor.baseline import Baseline, slot_of
from holdfast.governor.probes import Probe, Watch
from holdfast.governor.signals import ProbeReading

__all__ = ["Listening", "silent_alert"]

ROUNDS_MAX = 10
"""So often in a row a run is held still to learn what is usual; then it goes on without knowing."""


class Listening:
    """The probes of a run. `is_alone` says whether no other run presses on the machine: only then what is heard is usual."""

    def __init__(
        self,
        probes: Sequence[Probe],
        baseline: Baseline,
        env: Environment,
        is_alone: Callable[[], bool],
        *,
        probe_seconds: float,
        learn_seconds: float,
        learn_every_seconds: float,
    ) -> None:
        """Ask each probe every `probe_seconds`; hold still for `learn_seconds` at a time."""
        self._watches = [Watch(probe, env, probe_seconds) for probe in probes]
        self._baseline, self._env, self._is_alone = baseline, env, is_alone
        self._learn_seconds, self._learn_every_seconds = learn_seconds, learn_every_seconds
        self._until: float | None = None
        self._learned_at = env.monotonic()
        self._rounds = 0

    @property
    def has_probes(self) -> bool:
        """Whether anything speaks for the application."""
        return bool(self._watches)

    @property
    def is_learning(self) -> bool:
        """Whether the run is to be held still, so that the application can be heard without it."""
        return self._until is not None

    def start(self) -> None:
        """Begin to ask; and to learn, if what is usual at this hour is not known."""
        for watch in self._watches:
            watch.start()
        if self._watches and not self._is_known(self._slot()) and self._is_alone():
            self._until = self._env.monotonic() + self._learn_seconds

    def close(self) -> bool:
        """Ask no more; return whether what was learned could be kept (or there was nothing)."""
        for watch in self._watches:
            watch.close()
        return not self._watches or self._baseline.save()

    def readings(self) -> tuple[ProbeReading, ...]:
        """Return what each probe heard last."""
        slot = self._slot()
        names = [watch.probe.name for watch in self._watches]
        return tuple(
            watch.latest(self._baseline.usual(name, slot), self._baseline.scatter(name, slot))
            for name, watch in zip(names, self._watches, strict=True)
        )

    def learn(self, now: float, *, may_hold: bool) -> None:
        """Note what was heard while the run was held still; begin to hold it still when it is time to."""
        if not self._watches:
            return
        if self._until is None:
            if may_hold and now - self._learned_at >= self._learn_every_seconds and self._is_alone():
                self._forget()
                self._rounds, self._until = ROUNDS_MAX, now + self._learn_seconds
            return
        if now < self._until:
            return
        slot = self._slot()
        silent = any(watch.latest(None).state != "learning" for watch in self._watches)
        for watch in self._watches:
            for answer in watch.answers():
                self._baseline.learn(watch.probe.name, slot, answer)
        self._forget()
        self._until, self._learned_at, self._rounds = None, now, self._rounds + 1
        if not silent and not self._is_known(slot) and self._rounds < ROUNDS_MAX:
            self._until = now + self._learn_seconds

    def _forget(self) -> None:
        """Drop answers: what follows is measured under other circumstances."""
        for watch in self._watches:
            watch.forget()

    def _is_known(self, slot: int) -> bool:
        return all(self._baseline.usual(watch.probe.name, slot) is not None for watch in self._watches)

    def _slot(self) -> int:
        wall: datetime = self._env.now()
        return slot_of(wall.astimezone())


def silent_alert(reading: ProbeReading) -> Alert:
    """Return the alert that a probe is worth which hangs or fails."""
    return Alert(
        code="probe-silent",
        subject=reading.name,
        text=f"the probe {reading.name} of the application is {reading.state}; the run treats that as load",
        retry=Retry.LATER,
        safe="every snapshot is as it was; the run holds back until the probe answers.",
        next="look at the application, then at the probe's settings in [governor.probes].",
    )
