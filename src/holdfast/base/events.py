"""What a run says while it runs: frozen values handed to one callback.

Guarantees to the callback: it is called from one thread at a time, in order; a :class:`Finding` is never dropped, a
:class:`Progress` may be (only the newest matters). An exception raised by it stops the run cleanly (checkpoint kept).
No event but :class:`Finding` carries a path. An :class:`Alert` is never dropped either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from holdfast.base.values import dataclass
from holdfast.errors import HoldfastError, Retry, Safety


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is. All counts grow monotonically within one phase; totals are None until known."""

    phase: str
    """`scan`, `read`, `store`, `commit`, `plan`, `write`, `verify`, `mark`, `delete`, `index`."""
    seconds: float = 0.0
    files: int = 0
    bytes: int = 0
    new_bytes: int = 0
    """Plaintext bytes that were not stored before."""
    stored_bytes: int = 0
    """Bytes put to (or read from) the store."""
    files_total: int | None = None
    bytes_total: int | None = None
    findings: int = 0

    @property
    def rate(self) -> float:
        """Plaintext bytes per second since the phase began; 0 before the first second fraction."""
        return self.bytes / self.seconds if self.seconds > 0 else 0.0

    @property
    def fraction(self) -> float | None:
        """Part done, 0 to 1, by bytes (by files if there are no bytes); None while the total is unknown."""
        if self.bytes_total:
            return min(1.0, self.bytes / self.bytes_total)
        if self.files_total:
            return min(1.0, self.files / self.files_total)
        return None

    @property
    def eta_seconds(self) -> float | None:
        """Seconds left at the mean rate so far; None while it cannot be said."""
        fraction = self.fraction
        if not fraction or self.seconds <= 0:
            return None
        return self.seconds / fraction - self.seconds


@dataclass(frozen=True, slots=True)
class Finding:
    """One file or object that is not as it should be. The run goes on; the result lists it and is partial."""

    path: bytes
    """The path in the tree, without a leading slash; empty if the finding is about no file."""
    kind: str
    """A stable word: `unreadable`, `vanished`, `changed`, `socket-skipped`, `stream-failed`, `damaged`, …"""
    detail: str
    """A sentence without any path."""
    class_id: int = 0
    """The data class of the path; 0 if none."""


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence worth an administrator's eye: a retry, a resumed session, a repaired index. Never a path."""

    text: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a person must know of, now or soon: the escalation decides who, when and how. Never a path."""

    code: str
    """A stable word for the kind: an error's code, or `rpo-danger`, `drill-failed`, `store-outage`, …"""
    subject: str
    """What it is about, opaque: a job's or service's name, a store's name, an id. Equal (code, subject) is one alert."""
    text: str
    """What happened, in a sentence."""
    safety: Safety = Safety.INTACT
    retry: Retry = Retry.NEVER
    safe: str = ""
    next: str = ""

    @classmethod
    def of(cls, error: HoldfastError, subject: str) -> Self:
        """Return the alert that an error is worth."""
        return cls(error.code, subject, error.what, error.safety, error.retry, error.safe, error.next)


Event = Progress | Finding | Note | Alert
Events = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Take an event and do nothing: the default callback."""
