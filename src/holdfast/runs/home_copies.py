"""The home's copy as runs keep it, heal from it and promote it. Which store it is, `Tiers.copy_name` says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.base.events import Alert, ignore
from holdfast.errors import (
    HomeReplacedError,
    Retry,
    Safety,
    StoreError,
    UsageError,
    VaultMissingError,
)
from holdfast.repository import home_copy, names
from holdfast.repository.home import Home
from holdfast.repository.keyring import public_of
from holdfast.repository.placed import PlacedStore
from holdfast.repository.repository import Repository
from holdfast.repository.twin_repair import mend_twins
from holdfast.stores.layers import Wrapper

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.base.environment import Environment
    from holdfast.base.events import Events
    from holdfast.repository.credentials import Credential
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.tiering import Tiers
    from holdfast.stores.layers import CountingStore
    from holdfast.stores.protocol import Store

__all__ = ["AsVault", "HomeRepaired", "copy_after", "copy_store", "opened_or_healed", "promote_copy", "run_repair_home"]


@dataclass(frozen=True, slots=True)
class HomeRepaired:
    """What the home's copy gave back to the home, or would."""

    lost: int
    """Objects that the home lacked."""
    damaged: int
    """Objects that did not verify."""
    beyond: int
    """Damaged objects that the copy cannot replace: `holdfast check` names them."""
    copied: int = 0
    """Objects that the copy lacked."""
    dry_run: bool = False

    @property
    def exit_code(self) -> int:
        """0, or 4 if something is beyond repair."""
        return 4 if self.beyond else 0


def copy_store(vault: OpenVault) -> Store | None:
    """Return the store that the home is copied to, None if there is none."""
    name = vault.tiers.copy_name if vault.tiers is not None else ""
    return vault.store.stores[name] if isinstance(vault.store, PlacedStore) and name else None


def copy_after(vault: OpenVault, events: Events = ignore) -> int:
    """Bring the copy up to date after a run; return how many objects were copied. A copy that cannot be is an alert."""
    copy = copy_store(vault)
    if copy is None:
        return 0
    try:
        if copy.size(names.VAULT) is not None:
            raise UsageError(
                "the store for the home's copy is a vault itself", next="set `vault.home_copy` to another."
            )
        copy.create()
        return home_copy.copy_home(vault.repository.home, copy)
    except StoreError as error:
        events(
            Alert(
                "home-copy-behind",
                vault.tiers.copy_name if vault.tiers is not None else "",
                f"the copy of the vault's home is not up to date ({error.code})",
                Safety.INTACT,
                Retry.LATER,
                "the home itself has everything; only its copy lacks what is newest.",
                "bring the store back: the next run copies what it lacks.",
            )
        )
        return 0


def opened_or_healed(
    store: CountingStore,
    secret: Credential,
    env: Environment,
    tiers: Tiers | None,
    glance: Callable[[str], CountingStore],
) -> Repository:
    """Open a repository; where the home has lost its keyring or a certificate, put it back from the copy first.

    `glance` opens a store that is asked once: one that is down must not hold up a restore. `HomeReplacedError` if the copy
    was promoted.
    """
    url = tiers.urls.get(tiers.copy_name) if tiers is not None else None
    if url is None or next(iter(store.list("keyring/")), next(iter(store.list("snapshot/")), None)) is None:
        return Repository.open(store, secret, env)  # no copy; or an empty place: nothing is put into a wrong mount
    copy = glance(url)
    try:
        home_copy.heal_essentials(store, copy)
        repository = Repository.open(store, secret, env)
        home_copy.require_current(repository.home, [copy])
    except HomeReplacedError:
        raise
    except StoreError:
        return Repository.open(store, secret, env)  # the copy does not answer: the home must do
    else:
        return repository
    finally:
        copy.close()


def run_repair_home(vault: OpenVault, *, dry_run: bool = False) -> HomeRepaired:
    """Heal the home from its copy, then bring the copy up to date; see `Vault.repair_home`."""
    copy = copy_store(vault)
    if copy is None:
        raise UsageError("the vault's home has no copy", next="configure a second store; `vault.home_copy` names it.")
    vault.repository.root  # noqa: B018 - refused early without the root key
    if not dry_run:
        mend_twins(vault.repository)  # what has a second form at home needs no copy
    plan = home_copy.plan_repair(vault.repository.home, copy)
    copied = 0
    if not dry_run:
        home_copy.apply_repair(vault.repository.home, copy, plan)
        copied = home_copy.copy_home(vault.repository.home, copy)
    return HomeRepaired(len(plan.lost), len(plan.damaged), len(plan.beyond), copied, dry_run)


class AsVault(Wrapper):
    """A copy read as the vault that it would be."""

    def get(self, name: str) -> bytes:
        """Return an object; the header from where a copy has it."""
        return self.inner.get(home_copy.HEADER if name == names.VAULT else name)


def promote_copy(copy: CountingStore, secret: Credential, env: Environment, old: CountingStore | None = None) -> int:
    """Make the copy of a lost home the vault's home; return the new epoch. Needs the root key.

    `old`: the lost home's store if it may come back: it is told, and refused from then on by whoever knows only it.
    `VaultMissingError` if the store holds no copy, `WrongKeyError`.
    """
    header = home_copy.header_of(copy)
    repository = Repository.open(AsVault(copy), secret, env)
    repository.home.store = copy
    root = repository.root
    epoch = home_copy.promote(repository.home, root, header=header)
    if old is not None:
        home_copy.retire(_home_of(old, repository), copy)
    return epoch


def _home_of(store: CountingStore, repository: Repository) -> Home:
    if repository.keyring is None:
        raise VaultMissingError("a copy without a keyring cannot be promoted")
    return Home(store, repository.vault_id, public_of(repository.keyring.root_signing), repository.env)
