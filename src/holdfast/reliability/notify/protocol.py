"""What a channel is: it takes a message and answers with a receipt, or raises `ChannelError`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from holdfast.base.environment import Environment, format_time
from holdfast.config import ChannelSettings
from holdfast.errors import Safety

__all__ = ["Channel", "Maker", "Message", "Receipt"]


@dataclass(frozen=True, slots=True)
class Message:
    """What one contact is told. Made of alerts only, which never hold a path; so it holds none."""

    kind: str
    """`alert`, `collected` (several alerts), `resolved`, `test`, `heartbeat`, `digest` (the day in a few lines)."""
    site: str
    subject: str
    """One line."""
    body: str
    safety: Safety
    level: int
    at: datetime
    address: str = ""
    """Where the contact wants it, for channels that have addresses; empty: the channel's own recipients."""
    numbers: tuple[int, ...] = ()
    """The alerts it tells of."""
    codes: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()

    def record(self) -> dict[str, object]:
        """Return it as JSON has it: what webhooks, commands and files get."""
        return {
            "kind": self.kind,
            "site": self.site,
            "subject": self.subject,
            "body": self.body,
            "safety": self.safety.value,
            "level": self.level,
            "at": format_time(self.at),
            "alerts": list(self.numbers),
            "codes": list(self.codes),
            "subjects": list(self.subjects),
        }


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the other side answered: the evidence that a message was handed over. It says nothing of its being read."""

    reference: str
    """An id that the other side can be asked about: a message id, a status, a file and offset. Never a secret."""


class Channel(Protocol):
    """A way by which messages leave.

    Guarantees of an implementation: it returns within its time-out, it raises nothing but `ChannelError`, and neither its
    receipts nor its errors hold a secret or an address with a token in it.
    """

    def send(self, message: Message) -> Receipt:
        """Hand a message over. When it returns, the other side has accepted it (for UDP: it was sent)."""


class Maker(Protocol):
    """What a kind's entry point is: it makes a channel of its settings."""

    def __call__(self, name: str, settings: ChannelSettings, environ: Mapping[str, str], env: Environment) -> Channel:
        """Make the channel; nothing is contacted yet. `ConfigError` if a secret cannot be read."""
