"""Thousands of worlds in a minute: the same object is parsed and its signature checked once in a process, not at every reading.

What an object says and who signed it is a function of its name and its bytes alone (nobody is certified anew in a world), so that
remembering it changes nothing but the time. What fails is not remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from holdfast.repository.home import Home

__all__ = ["verified_once"]

REMEMBERED_MAX = 20_000


@contextmanager
def verified_once() -> Iterator[None]:
    """Remember within this block what was verified; one vault only."""
    with (
        patch.object(Home, "verify", _remembering(Home.verify)),
        patch.object(Home, "verify_control", _remembering(Home.verify_control)),
        patch.object(Home, "verify_sealed", _remembering(Home.verify_sealed)),
    ):
        yield


def _remembering(method: Callable[..., Any]) -> Callable[..., Any]:
    known: dict[tuple[object, ...], Any] = {}

    def call(self: Home, *arguments: object) -> Any:  # noqa: ANN401 - whatever the method returns
        found = known.get(arguments)
        if found is None:
            if len(known) >= REMEMBERED_MAX:
                known.clear()
            found = known[arguments] = method(self, *arguments)
        return found

    return call
