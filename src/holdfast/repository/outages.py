"""A store that failed in this process, and what people are told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.base.events import Alert
from holdfast.base.values import dataclass

if TYPE_CHECKING:
    from holdfast.errors import StoreError

__all__ = ["Outage"]


@dataclass(frozen=True, slots=True)
class Outage:
    """A store that failed: why, and how many packs went elsewhere because of it."""

    store: str
    error: StoreError
    packs: int

    @property
    def alert(self) -> Alert:
        """What people are told."""
        return Alert(
            "store-outage",
            self.store,
            f"store {self.store} does not take packs ({self.error.code}); {self.packs} went elsewhere or wait",
            self.error.safety,
            self.error.retry,
            "everything is stored and readable; what is not where it belongs waits and is listed.",
            "bring the store back; the next run, or `holdfast migrate`, moves what waits to where it belongs.",
        )
