"""What a site wants done with each data class: stores by age, copies, verification, retention. Pure values and checks.

It refuses to know what a store is: stores are names with a tier, a lock and prices. :func:`problems` finds everything
that is wrong with a set of policies at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from holdfast.base.units import format_seconds

__all__ = [
    "DAY_SECONDS",
    "HEALTHCARE",
    "HOME",
    "ClassPolicy",
    "Move",
    "PolicyBook",
    "Preset",
    "StoreFacts",
    "problems",
]

HOME = "home"
"""The name of the vault's own store."""
DAY_SECONDS = 86400
OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Preset:
    """What a class gets where the site says nothing."""

    copies: int
    verify_seconds: int
    sensitive: bool
    """Patient data: a single copy is refused unless the site says that it means it."""


HEALTHCARE: dict[str, Preset] = {
    "phi-restricted": Preset(2, 30 * DAY_SECONDS, sensitive=True),
    "phi": Preset(2, 30 * DAY_SECONDS, sensitive=True),
    "imaging": Preset(2, 90 * DAY_SECONDS, sensitive=True),
    "database": Preset(2, 30 * DAY_SECONDS, sensitive=True),
    "operational": Preset(1, 90 * DAY_SECONDS, sensitive=False),
    "system": Preset(1, 180 * DAY_SECONDS, sensitive=False),
    "public": Preset(1, 180 * DAY_SECONDS, sensitive=False),
}
"""The classes that ship, the most sensitive first. 3-2-1 for what a patient could be harmed by losing; HIPAA asks for an
exact copy (45 CFR 164.308(a)(7)(ii)(A)) and 42 CFR 482.24 for five years, which is the archive's affair, not a backup's."""
STRICTEST = "phi-restricted"


@dataclass(frozen=True, slots=True)
class Move:
    """Other stores from an age on. The first `copies` of `stores` hold the pack."""

    after_seconds: int
    stores: tuple[str, ...]
    unless_restored_within: int = 0


@dataclass(frozen=True, slots=True)
class ClassPolicy:
    """What is done with one class. `stores` are in order: the first `copies` hold each pack, the rest stand in."""

    name: str
    stores: tuple[str, ...] = (HOME,)
    copies: int = 1
    moves: tuple[Move, ...] = ()
    level: int | None = None
    verify_seconds: int = 30 * DAY_SECONDS
    retain_seconds: int = 0
    spool: bool = True
    single_copy_accepted: bool = False
    parity: int | None = None
    """Parity rows of each group of its packs; None: the default where there is one copy, none where there are several."""

    @property
    def named(self) -> frozenset[str]:
        """Every store that the policy names at any age: the only ones that a pack of the class may ever lie on."""
        return frozenset(self.stores).union(*(move.stores for move in self.moves))

    @property
    def sensitive(self) -> bool:
        """Whether it is patient data. A site's own class counts as such."""
        return HEALTHCARE.get(self.name, HEALTHCARE[STRICTEST]).sensitive


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What a store costs and promises. `classes` empty: all may lie on it. Prices are in the site's currency."""

    name: str
    tier: str = "hot"
    classes: frozenset[str] = frozenset()
    lock_seconds: int = 0
    thaw_seconds: int = 0
    read_bytes_per_s: int | None = None
    price_per_gib: float = 0.0
    price_per_1000: float = 0.0

    def admits(self, class_name: str) -> bool:
        """Return whether packs of a class may lie on it."""
        return not self.classes or class_name in self.classes


@dataclass(frozen=True, slots=True)
class PolicyBook:
    """All policies and all stores of a site. An unknown class is treated as the strictest one."""

    policies: Mapping[str, ClassPolicy]
    stores: Mapping[str, StoreFacts] = field(default_factory=lambda: {HOME: StoreFacts(HOME)})

    def of(self, class_name: str) -> ClassPolicy:
        """Return the policy of a class."""
        return self.policies.get(class_name) or self.policies[STRICTEST]

    def allowed(self, class_name: str) -> frozenset[str]:
        """Return the stores that packs of a class may lie on: named by its policy, and admitted by the store."""
        return frozenset(
            name for name in self.of(class_name).named if name in self.stores and self.stores[name].admits(class_name)
        )

    def tier_rank(self, store: str) -> int:
        """Return how dear it is to read from a store: hot before warm before cold; the home first among equals."""
        order = ("hot", "warm", "cold", OFFLINE)
        facts = self.stores.get(store)
        return 2 * order.index(facts.tier if facts else OFFLINE) + (store != HOME)


def problems(
    book: PolicyBook,
    *,
    key_files: Mapping[str, str] | None = None,
    folders: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """Return everything that is wrong, each as `key: sentence`. Pure: the paths must be real paths already.

    `key_files` are the configured secrets that are files (option to path), `folders` the stores that are folders (name
    to path).
    """
    found = [text for policy in book.policies.values() for text in _of_policy(book, policy)]
    for store, folder in sorted((folders or {}).items()):
        for key, path in sorted((key_files or {}).items()):
            parent = folder.rstrip("/").rpartition("/")[0]
            if path.startswith(folder.rstrip("/") + "/") or path.rpartition("/")[0] == parent:
                found.append(f"{key}: the key lies beside the data of store {store}: who takes one takes both")
    return tuple(found)


def _of_policy(book: PolicyBook, policy: ClassPolicy) -> Iterator[str]:
    key = f"policies.{policy.name}"
    if policy.name not in HEALTHCARE:
        yield f"{key}: there is no data class of that name"
        return
    home = book.stores.get(HOME)
    if home is not None and not home.admits(policy.name):
        yield f"tiers.home.classes: the home carries the metadata of every class, {policy.name} too"
    stages = [(f"{key}.stores", policy.stores)]
    stages += [(f"{key}.moves.{at}.stores", move.stores) for at, move in enumerate(policy.moves)]
    for place, stores in stages:
        yield from _of_stage(book, policy, place, stores)
    ages = [move.after_seconds for move in policy.moves]
    if ages != sorted(set(ages)):
        yield f"{key}.moves: the ages must rise from one move to the next"
    for name in sorted(policy.named & book.stores.keys()):
        lock = book.stores[name].lock_seconds
        if lock > policy.retain_seconds:
            yield (
                f"{key}.retain_seconds: {format_seconds(policy.retain_seconds)} is shorter than the object lock"
                f" of store {name} ({format_seconds(lock)})"
            )


def _of_stage(book: PolicyBook, policy: ClassPolicy, place: str, stores: tuple[str, ...]) -> Iterator[str]:
    """Yield what is wrong with the stores of one age."""
    usable = 0
    for name in stores:
        facts = book.stores.get(name)
        if facts is None:
            yield f"{place}: there is no store {name}"
        elif facts.tier == OFFLINE:
            yield f"{place}: store {name} is offline: it is reached by `holdfast courier` only"
        elif not facts.admits(policy.name):
            yield f"{place}: store {name} does not admit {policy.name}"
        else:
            usable += 1
    if len(set(stores)) != len(stores):
        yield f"{place}: a store is named twice"
    if not usable:
        yield f"{place}: {policy.name} has nowhere to go"
    elif policy.sensitive and not policy.single_copy_accepted and min(policy.copies, usable) == 1:
        yield f"{place}: a single copy of {policy.name} (say `unsafe_single_copy = true` if that is meant)"
    elif policy.copies > len(stores):
        yield f"{place}: {policy.copies} copies are asked for and {len(stores)} stores named"
