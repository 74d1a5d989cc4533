"""What a command is to a sweep: how it is prepared, done, and seen to be done."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import holdfast
from holdfast.testing.sweep.ground import Ground, Layout

__all__ = ["Command", "newest", "nothing", "oldest"]


def nothing(_ground: Ground) -> None:
    """Prepare nothing."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command: how it is prepared, done, and seen to be done."""

    name: str
    do: Callable[[Ground, holdfast.Vault], object]
    done: Callable[[Ground, holdfast.Vault], bool]
    """Whether what was asked is so now. True after every run that ended without an error."""
    prepare: Callable[[Ground], object] = nothing
    gives_up: Callable[[Ground], frozenset[str]] = lambda _ground: frozenset()
    """Snapshots that it was asked to forget, or that nothing can bring back."""
    layout: Layout = "one"
    open: Callable[[Ground], AbstractContextManager[holdfast.Vault]] = Ground.open
    """How the vault is opened for it. That is not struck."""
    again: frozenset[str] = frozenset()
    """Codes with which it may refuse to be done once more."""
    heals: bool = False
    """Something is lost before it, so that snapshots restore when it, or the next run of it, was done."""
    incurable: bool = False
    """Something is lost before it that nothing brings back: `check` goes on naming it."""
    creates: bool = False
    """It makes the vault."""
    alone: bool = False
    """It opens no vault before it, as what it is about may open none."""
    then: Callable[[Ground, holdfast.Vault], bool] = lambda _ground, _vault: True
    """What is so besides after a run without a fault: what a store that is away may keep from being done, with an alert."""


def oldest(ground: Ground) -> str:
    """Return the oldest acknowledged snapshot."""
    return next(iter(ground.acknowledged))


def newest(ground: Ground) -> str:
    """Return the newest acknowledged snapshot."""
    return list(ground.acknowledged)[-1]
