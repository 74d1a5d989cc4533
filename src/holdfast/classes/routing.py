"""Where a pack belongs, now and at its age: pure decisions upon policies. Nothing here touches a store."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.base.units import format_seconds
from holdfast.base.values import dataclass
from holdfast.classes.policy import HOME, ClassPolicy, PolicyBook

__all__ = ["MovePlan", "MoveStep", "PackFacts", "Placement", "home_only", "level_of", "place", "plan_moves"]

METADATA = "meta"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where something belongs. `stores` hold it; `alternates` stand in, in order, while one of them is down."""

    stores: tuple[str, ...]
    alternates: tuple[str, ...] = ()
    copies: int = 1
    reason: str = ""

    @property
    def candidates(self) -> tuple[str, ...]:
        """All stores in the order they are tried."""
        return (*self.stores, *self.alternates)


@dataclass(frozen=True, slots=True)
class PackFacts:
    """One data pack as the plan sees it. `on` are the stores with a sound copy, `bad` those with a damaged one."""

    name: str
    class_name: str
    size: int
    age_seconds: float
    on: frozenset[str]
    bad: frozenset[str] = frozenset()
    spooled: bool = False
    waits: bool = False
    """A store was down when it was put."""
    restored_ago: float | None = None


@dataclass(frozen=True, slots=True)
class MoveStep:
    """What to do with one pack: first copy, then, when all copies are proved, delete."""

    pack: str
    class_name: str
    size: int
    copy_to: tuple[str, ...]
    delete_from: tuple[str, ...]
    reason: str
    urgency: int
    """0: it lies where it may not; 1: a copy is missing or bad; 2: it has reached an age."""


@dataclass(frozen=True, slots=True)
class MovePlan:
    """Steps in the order they are done. `later` steps did not fit into the budget."""

    steps: tuple[MoveStep, ...]
    copy_bytes: int
    later: int = 0
    later_bytes: int = 0


def home_only(reason: str = "metadata and control objects stay on the home") -> Placement:
    """Return the placement of everything that is no data pack."""
    return Placement((HOME,), reason=reason)


def place(
    book: PolicyBook,
    class_name: str,
    *,
    kind: str = "data",
    age_seconds: float = 0.0,
    restored_ago: float | None = None,
) -> Placement:
    """Return where a pack of a class belongs at an age. Stores that do not admit the class are never named."""
    if kind == METADATA:
        return home_only()
    policy = book.of(class_name)
    stores, reason = policy.stores, "from the first day"
    for move in policy.moves:
        if age_seconds < move.after_seconds:
            continue
        recent = move.unless_restored_within
        if recent and restored_ago is not None and restored_ago < recent:
            reason += f" (kept here: restored within {format_seconds(recent)})"
            continue
        stores, reason = move.stores, f"older than {format_seconds(move.after_seconds)}"
    allowed = book.allowed(class_name)
    usable = tuple(dict.fromkeys(name for name in stores if name in allowed))
    copies = min(policy.copies, len(usable))
    return Placement(usable[:copies], usable[copies:], policy.copies, reason)


def plan_moves(book: PolicyBook, packs: Iterable[PackFacts], *, budget_bytes: int | None = None) -> MovePlan:
    """Return what brings every pack to where it belongs: what may not lie there first, then copies, then ages.

    A step copies before it deletes. The budget counts bytes copied; the first step is planned whatever it costs.
    """
    steps = [step for pack in packs if (step := _step(book, pack)) is not None]
    steps.sort(key=lambda step: (step.urgency, step.pack))
    chosen: list[MoveStep] = []
    spent = later_bytes = later = 0
    for step in steps:
        cost = step.size * len(step.copy_to)
        if budget_bytes is not None and chosen and spent + cost > budget_bytes:
            later += 1
            later_bytes += cost
            continue
        chosen.append(step)
        spent += cost
    return MovePlan(tuple(chosen), spent, later, later_bytes)


def _step(book: PolicyBook, pack: PackFacts) -> MoveStep | None:
    """Return what one pack needs, None if it is where it belongs. A pack without any sound copy is left to `verify`."""
    if not pack.on and not pack.spooled:
        return None
    wanted = place(book, pack.class_name, age_seconds=pack.age_seconds, restored_ago=pack.restored_ago)
    if not wanted.stores:
        return None
    copy_to = tuple(name for name in wanted.stores if name not in pack.on)
    surplus = (pack.on | pack.bad) - set(wanted.stores)
    forbidden = surplus - book.allowed(pack.class_name)
    if not copy_to and not surplus and not pack.spooled:
        return None
    if forbidden:
        urgency, reason = 0, "it lies on a store that its class may not lie on"
    elif pack.spooled or len(pack.on) < min(wanted.copies, len(wanted.stores)) or pack.bad & set(wanted.stores):
        urgency, reason = 1, "a copy is missing or damaged"
    else:
        urgency, reason = 2, wanted.reason
    return MoveStep(pack.name, pack.class_name, pack.size, copy_to, tuple(sorted(surplus)), reason, urgency)


def level_of(policy: ClassPolicy, default: int) -> int:
    """Return the level of compression for a job whose default class this is."""
    return default if policy.level is None else policy.level
