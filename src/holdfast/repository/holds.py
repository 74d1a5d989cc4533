"""Legal holds: `hold/ID/N`, of which the highest N counts.

A hold that cannot be read holds: damage never releases. A release on an anomalous snapshot also ends the pin that its
anomaly puts on its source.
"""

from __future__ import annotations

from holdfast.base.values import dataclass
from holdfast.errors import DamageError
from holdfast.repository.bodies import HoldBody
from holdfast.repository.home import ROOT, Home, Signer


@dataclass(frozen=True, slots=True)
class HoldState:
    """The newest word on a snapshot."""

    held: bool = False
    released: bool = False
    reason: str = ""


def read_hold(home: Home, snapshot: str) -> HoldState:
    """Return whether a snapshot is held."""
    for number in reversed(home.numbers(f"hold/{snapshot}")):
        try:
            read, body = home.read(f"hold/{snapshot}/{number:08d}", HoldBody)
        except DamageError:
            return HoldState(held=True, reason="its newest hold cannot be read")
        if read.signer == ROOT:
            return HoldState(body.held, not body.held, body.reason)
    return HoldState()


def read_holds(home: Home) -> dict[str, HoldState]:
    """Return the state of every snapshot that ever was held."""
    return {snapshot: read_hold(home, snapshot) for snapshot in home.ids("hold")}


def set_hold(home: Home, snapshot: str, signer: Signer, *, held: bool, reason: str) -> None:
    """Hold a snapshot, or release it. Idempotent in effect: the highest number counts."""
    home.append(f"hold/{snapshot}", HoldBody(held, reason), signer)
