"""What the alert book holds: frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from holdfast.errors import Retry, Safety

__all__ = ["AT_ONCE", "SAFETY_RANK", "AlertRecord", "AlertState", "Delivery", "Telling"]

SAFETY_RANK = {Safety.UNTOUCHED: 0, Safety.INTACT: 1, Safety.DEGRADED: 2, Safety.AT_RISK: 3}
AT_ONCE = frozenset({"break-glass"})
"""Codes that are told as what is at risk is, though no backup is in danger: neither quiet hours nor storms hold them back."""


class AlertState(Enum):
    """Where an alert stands."""

    OPEN = "open"
    """Nobody has answered: it is escalated."""
    ACKNOWLEDGED = "acknowledged"
    """Somebody has taken it on: nobody else is told, until it gets worse or takes too long."""
    RESOLVED = "resolved"
    """It is over."""


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """One alert. Reports of equal (code, subject) are one alert, until it is resolved."""

    number: int
    """What it is acknowledged by."""
    code: str
    """The stable word for its kind."""
    subject: str
    """What it is about: a job, a store, a channel."""
    text: str
    """What happened, as last reported."""
    safety: Safety
    """The worst that was reported."""
    retry: Retry
    """Whether it may end by itself."""
    safe: str
    """What is safe."""
    next: str
    """What to do."""
    origin: str
    """Who reports it: `run`, `objective`, `channel`, `reply`, `schedule`, `test`."""
    state: AlertState
    """Where it stands."""
    opened: datetime
    """When it was first reported."""
    waiting_since: datetime
    """Since when it waits for an answer: the escalation counts from here."""
    last_seen: datetime
    """When it was last reported."""
    count: int
    """How often it was reported."""
    level: int = 0
    """The highest level that was told since it waits; 0: nobody yet."""
    acknowledged_by: str = ""
    """Who took it on."""
    acknowledged_at: datetime | None = None
    """When."""
    note: str = ""
    """What they said."""
    resolved_at: datetime | None = None
    """When it ended."""

    @property
    def urgent(self) -> bool:
        """Whether it is told at once, whatever quiet hours and storms say."""
        return self.safety is Safety.AT_RISK or self.code in AT_ONCE


@dataclass(frozen=True, slots=True)
class Telling:
    """What one contact has been told of one alert since it waits."""

    alert: int
    contact: str
    tried_at: datetime | None
    told_at: datetime | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message by one channel: the receipt, or why there is none."""

    at: datetime
    """When it was tried."""
    contact: str
    """Who was to be told; empty for a test of a channel or a sign of life."""
    channel: str
    """By which channel."""
    kind: str
    """`alert`, `collected`, `resolved`, `test`, `heartbeat`, `digest`."""
    level: int
    """The level that was told."""
    delivered: bool
    """Whether the other side accepted it."""
    reference: str
    """The receipt, or what failed."""
    alerts: tuple[int, ...] = ()
    """The numbers of the alerts it told of."""
