"""Several stores under one vault: from policies and settings to the stores as one. Construction only; the assembly calls it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.classes.policy import HOME, PolicyBook
from holdfast.errors import ConfigError
from holdfast.repository.placed import PlacedStore
from holdfast.repository.placements import Placements
from holdfast.repository.spool import Spool
from holdfast.stores.local import LocalStore
from holdfast.stores.protocol import Capability

if TYPE_CHECKING:
    from holdfast.base.environment import Environment
    from holdfast.stores.layers import CountingStore

__all__ = ["LEDGER_FILE", "Tiers", "open_placed"]

LEDGER_FILE = "placement.sqlite"
AUTO = "auto"
SPOOL_BYTES_MAX = 10 << 30
SPOOL_ALARM_SECONDS = 4 * 3600


@dataclass(frozen=True, slots=True)
class Tiers:
    """Which packs go where. `urls` are the stores beside the home, by the names that the policies use."""

    book: PolicyBook
    urls: Mapping[str, str] = field(default_factory=dict)
    spool_folder: str | None = None
    """None: in the local state."""
    spool_bytes_max: int = SPOOL_BYTES_MAX
    spool_alarm_seconds: int = SPOOL_ALARM_SECONDS
    home_copy: str = AUTO
    """The store that the home's objects are copied to: `auto` the best one that may hold them, `none`, or its name."""

    @property
    def copy_name(self) -> str:
        """The store that the home is copied to; empty if there is none.

        One whose objects can be deleted (wrapped keys must not lie under a lock), that every class may lie on, and that
        answers at once.
        """
        if self.home_copy != AUTO:
            return self.home_copy if self.home_copy in self.urls else ""
        fit = (
            facts
            for name, facts in self.book.stores.items()
            if name in self.urls
            and not facts.lock_seconds
            and facts.tier in {"hot", "warm"}
            and all(name in self.book.allowed(class_name) for class_name in self.book.policies)
        )
        return min((facts.name for facts in fit), key=lambda name: (self.book.tier_rank(name), name), default="")


def open_placed(
    home: CountingStore,
    tiers: Tiers,
    *,
    state: Path,
    vault_id: str,
    env: Environment,
    open_store: Callable[[str], CountingStore],
) -> PlacedStore:
    """Open the other stores, the ledger and the spool. `state` is this host's folder for the vault.

    `ConfigError` if a store is to lock what is put and cannot.
    """
    others = {name: open_store(url) for name, url in tiers.urls.items()}
    every = {HOME: home, **others}
    problems = tuple(
        f"tiers.{name}.lock_seconds: store {name} has no object lock"
        for name, facts in sorted(tiers.book.stores.items())
        if facts.lock_seconds and name in every and Capability.RETAIN_UNTIL not in every[name].capabilities
    )
    if problems:
        raise ConfigError("the policies ask for what a store cannot do", problems=problems)
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    spool = LocalStore(tiers.spool_folder or str(state / "spool"))
    return PlacedStore(
        home,
        others,
        home_name=HOME,
        vault_id=vault_id,
        book=tiers.book,
        placements=Placements(state / LEDGER_FILE),
        spool=Spool(spool, tiers.spool_bytes_max),
        env=env,
    )
