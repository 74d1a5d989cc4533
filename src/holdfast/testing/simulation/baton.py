"""One thread runs at a time, and which one is decided by whoever holds the dice: the deterministic part of a simulation.

Each actor is an ordinary function in a thread of its own. At every :meth:`Baton.pause` (the simulated store calls it at every
operation) the world decides whether the actor goes on; if not, it gives the baton back and waits until it is its turn again: after
one other operation, or after simulated years.
A killed actor gets :class:`~holdfast.testing.faults.Crash` at its pause, and at every further one, so that no handler and no
`finally` has an effect any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from holdfast.testing.faults import Crash

__all__ = ["Actor", "Baton"]


@dataclass(eq=False, slots=True)
class Actor:
    """A function in a thread that runs only while it holds the baton."""

    name: str
    action: Callable[[], None]
    turn: threading.Lock = field(default_factory=threading.Lock)
    thread: threading.Thread | None = None
    killed: bool = False
    over: bool = False
    error: BaseException | None = None
    """What ended it, if it was neither a return nor a kill."""


class Baton:
    """Hands the turn to one actor at a time."""

    def __init__(self) -> None:
        """Begin with no actors; the caller's thread holds the baton."""
        self._back = threading.Lock()
        self._back.acquire()
        self.current: Actor | None = None
        self.goes_on: Callable[[], bool] = lambda: False
        """Asked at every pause, while the actor still holds the baton."""

    def start(self, name: str, action: Callable[[], None]) -> Actor:
        """Make an actor; it runs from its first turn on."""
        actor = Actor(name, action)
        actor.turn.acquire()
        actor.thread = threading.Thread(target=self._run, args=(actor,), name=name, daemon=True)
        actor.thread.start()
        return actor

    def _run(self, actor: Actor) -> None:
        actor.turn.acquire()
        try:
            if not actor.killed:
                actor.action()
        except Crash:
            pass
        except BaseException as error:  # noqa: BLE001 - whatever it is, the world judges it
            actor.error = error
        actor.over = True
        self._back.release()

    def turn(self, actor: Actor) -> bool:
        """Let an actor run to its next pause or to its end; return whether it goes on. Its own errors are raised here."""
        if actor.over:
            return False
        self.current = actor
        actor.turn.release()
        self._back.acquire()
        self.current = None
        return not self._ended(actor)

    @staticmethod
    def _ended(actor: Actor) -> bool:
        """Return whether an actor is over; raise what ended it."""
        if actor.over and actor.thread is not None:
            actor.thread.join()
            if actor.error is not None:
                raise actor.error
        return actor.over

    def pause(self) -> None:
        """Go on, or give the baton back and wait for the next turn. `Crash` if the actor is dead by then."""
        actor = self.current
        if actor is None:
            return
        if actor.killed:
            raise Crash
        if self.goes_on():
            return
        self._back.release()
        actor.turn.acquire()
        if actor.killed:
            raise Crash

    def kill(self, actor: Actor) -> None:
        """End an actor where it stands, as SIGKILL does."""
        actor.killed = True
        while self.turn(actor):
            pass
