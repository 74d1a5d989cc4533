"""Prune rounds as they stand in the home: `condemn/N`, `plan/N`, `closed/N`, and the list of damaged packs.

Only what root signed counts. A condemned list that cannot be read and is not closed stops a writer (`DamageError`): it
could not know what to avoid. The next prune closes such a round without deleting anything.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TypeVar

from holdfast.base.values import dataclass
from holdfast.errors import DamageError, ObjectMissingError, StoreRefusedError, StoreRetainedError
from holdfast.repository import names
from holdfast.repository.bodies import Body, ClosedBody, CondemnBody, DamagedBody, PlanBody, check_shas
from holdfast.repository.home import Home, Signer
from holdfast.repository.roles import PRUNE, VOUCH

B = TypeVar("B", bound=Body)
POWERS = {"condemn": (PRUNE,), "plan": (PRUNE,), "closed": (PRUNE,), "damaged": (PRUNE, VOUCH)}
"""Whose word each of them is, beside root's."""


@dataclass(frozen=True, slots=True)
class Round:
    """One round. `condemned` is None if the list cannot be read."""

    number: int
    condemned: CondemnBody | None
    plan: PlanBody | None
    closed: bool


@dataclass(frozen=True, slots=True)
class Rounds:
    """All rounds, in order."""

    rounds: tuple[Round, ...]

    @property
    def open(self) -> tuple[Round, ...]:
        """Rounds that are not closed."""
        return tuple(r for r in self.rounds if not r.closed)

    @property
    def deleted(self) -> frozenset[str]:
        """Packs that some plan deletes, for ever: a pack's name never comes back."""
        return frozenset(sha for r in self.rounds if r.plan for sha in r.plan.delete)

    def excluded(self) -> frozenset[str]:
        """Packs that nothing new may rest on. `DamageError` if an open round's list cannot be read."""
        found = set(self.deleted)
        for r in self.open:
            if r.plan is not None:
                continue  # a plan is final: what left the list is safe again, what it deletes is in `deleted`
            if r.condemned is None:
                raise DamageError(
                    f"the condemned list of prune round {r.number} cannot be read, so nothing can be stored beside it",
                    next="run `holdfast prune`: it closes the round without deleting anything.",
                )
            found.update(r.condemned.packs)
        return frozenset(found)


def read_rounds(home: Home) -> Rounds:
    """Read every round. An object that nobody but root could have written and that root did not sign is passed over."""
    plans, closed = set(home.numbers("plan")), set(home.numbers("closed"))
    found = []
    for number in home.numbers("condemn"):
        condemned, foreign = _read(home, "condemn", number, CondemnBody)
        if foreign:
            continue
        plan = _read(home, "plan", number, PlanBody)[0] if number in plans else None
        ended = _read(home, "closed", number, ClosedBody)[0] if number in closed else None
        found.append(Round(number, condemned, plan, closed=ended is not None))
    return Rounds(tuple(found))


def _read(home: Home, kind: str, number: int, body: type[B]) -> tuple[B | None, bool]:
    """Return the body if root signed it; else None and whether somebody else validly did."""
    try:
        read, value = home.read(names.numbered(kind, number), body)
    except DamageError:
        return None, False
    return (value, False) if any(home.may(read.signer, power, read.name) for power in POWERS[kind]) else (None, True)


def read_damaged(home: Home) -> frozenset[str]:
    """Return the packs known to be damaged: the highest list that can be read, with all below it if a higher cannot."""
    found: set[str] = set()
    unreadable = False
    for number in reversed(home.numbers("damaged")):
        value, foreign = _read(home, "damaged", number, DamagedBody)
        if foreign:
            continue
        if value is None:
            unreadable = True
            continue
        found.update(check_shas(value.packs))
        if not unreadable:
            break
    return frozenset(found)


def write_damaged(home: Home, signer: Signer, packs: frozenset[str]) -> str:
    """Publish the whole list of damaged packs; return its name. Lists that cannot be read go: this one takes their place."""
    number, _ = home.append("damaged", DamagedBody(tuple(sorted(packs))), signer)
    for name in unreadable_lists(home):
        with suppress(StoreRefusedError, StoreRetainedError):
            home.store.delete(name)
    return names.numbered("damaged", number)


def unreadable_lists(home: Home) -> list[str]:
    """Return the lists of damaged packs that cannot be read: torn, or rotten."""
    found = []
    for name in list(home.listed("damaged")):
        try:
            home.read(name, DamagedBody)
        except ObjectMissingError:
            continue
        except DamageError:
            found.append(name)
    return found
