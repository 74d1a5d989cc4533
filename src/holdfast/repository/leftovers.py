"""What runs that have ended left behind, and that is damaged: nobody needs it, and nobody would clear it away.

A run has ended when a decision about it counts, or its snapshot is forgotten. What it announced, noted and acknowledged is needed
until then, and not after. One that is not decided is left to the protocol: a prune waits for it, then decides (`prune`).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import DamageError, ObjectMissingError, UsageError, VersionError
from holdfast.repository import names
from holdfast.repository.bodies import REVOKED, DecisionBody
from holdfast.repository.decisions import (
    Verdict,
    copied_bytes,
    is_forgotten,
    open_sessions,
    outcome,
    owner_of,
    put_back,
)
from holdfast.stores.protocol import delete_unless_retained

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.repository.home import Home
    from holdfast.repository.repository import Repository

NOTES = ("session", "checkpoint", "ack")
"""What a run says of itself while it is under way."""
DECISION = "decision"
CONTENT = (*NOTES, "compared", "admission", "committed", "snapshot", "part")
"""What is about a snapshot, and about none once that is forgotten or was never to be."""


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What is to be cleared away, and which decisions of forgotten snapshots are to be said again."""

    gone: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many objects that is."""
        return len(self.gone) + len(self.decisions)


def plan_leftovers(home: Home) -> Leftovers:
    """Return what runs that have ended left damaged. Reads what it may have to name; nothing changes."""
    kept = _going_on(home)
    listed: dict[str, list[str]] = {}
    for kind in (*CONTENT, DECISION):
        for name in home.listed(kind):
            listed.setdefault(names.middle(name), []).append(name)
    gone: list[str] = []
    decisions: list[str] = []
    for run in sorted(listed.keys() - kept):
        forgotten = is_forgotten(home, run)
        verdict = outcome(home, run, owner_of(home, run)).verdict
        if forgotten or verdict is Verdict.REVOKED:
            gone += _damaged(home, listed[run], CONTENT)
        elif verdict is Verdict.COMMIT:
            gone += _damaged(home, listed[run], NOTES)
        if forgotten:
            decisions += _damaged(home, listed[run], (DECISION,))
    return Leftovers(tuple(gone), tuple(decisions))


def clear(repository: Repository, plan: Leftovers) -> int:
    """Carry a plan out; return how many objects are damaged no more. Idempotent; what a store retains goes another time.

    A decision of a forgotten snapshot comes back from its copy; where there is none, root says that the run is revoked: a writer
    that was suspended before it heard of its own commit begins anew then, and the tombstone stays whatever it does.
    """
    home = repository.home
    done = sum(delete_unless_retained(repository.store, name) for name in plan.gone)
    for name in plan.decisions:
        run = names.middle(name)
        found = copied_bytes(home, run)
        if found is not None and found[0] == name:
            done += put_back(home, run)
        elif delete_unless_retained(repository.store, name):
            done += home.create(name, DecisionBody(REVOKED, ""), repository.root)
    return done


CLEARABLE = ("access", "wrap", "writer")
"""Kinds of which one that cannot be read keeps root from something. Whoever can add objects can plant one."""


def unreadable(home: Home, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the objects that root wants cleared away, their twins with them. Nothing changes.

    They must be of a kind whose unreadable objects stop something, and verify for nobody: `UsageError` otherwise. Nobody can tell
    one that rotted from one that was planted: what it said, if it ever said anything, is given up, so it is asked for by name.
    """
    found: list[str] = []
    for given in wanted:
        name = names.untwinned(given)
        forms = [each for each in (name, names.twin(name)) if home.store.size(each) is not None]
        if not names.is_known(name) or name.partition("/")[0] not in CLEARABLE or not forms:
            raise UsageError(
                "no such object, or none that is cleared by its name",
                next="`holdfast check` names what cannot be read.",
            )
        if not all(_verifies_for_nobody(home, name, home.store.get(each)) for each in forms):
            raise UsageError(
                "the object, or its twin, can be read: it is not cleared away", next="`holdfast repair` mends it."
            )
        found += forms
    return tuple(dict.fromkeys(found))


def _verifies_for_nobody(home: Home, name: str, data: bytes) -> bool:
    try:
        home.verify_control(name, data)
    except VersionError:
        return False
    except DamageError:
        return True
    return False


def _going_on(home: Home) -> set[str]:
    """Return the runs that are not decided, and those that they go on from."""
    running = open_sessions(home)
    return {s.id for s in running} | {r for s in running if s.body for r in s.body.resumes}


def _damaged(home: Home, listed: list[str], kinds: tuple[str, ...]) -> Iterator[str]:
    """Yield the objects of some kinds that do not verify."""
    return (name for name in listed if name.partition("/")[0] in kinds and _is_damaged(home, name))


def _is_damaged(home: Home, name: str) -> bool:
    with suppress(ObjectMissingError, VersionError):
        data = home.store.get(name)
        try:
            home.signer_of(name, data)
        except DamageError:
            return True
    return False
