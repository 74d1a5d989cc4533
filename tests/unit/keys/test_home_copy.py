"""The home's copy keeps no key that the home gave up, and never brings one back."""

from __future__ import annotations

from holdfast.base.environment import Environment
from holdfast.repository import rotation
from holdfast.repository.credentials import KeyFile
from holdfast.repository.home_copy import copy_home, heal_essentials, plan_repair, withdrawn_keys
from holdfast.repository.repository import Repository
from holdfast.stores.memory import MemoryStore


def test_a_rotation_reaches_the_copy(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    copy = MemoryStore()
    copy_home(store, copy)
    old = {name for name in copy.objects if name.startswith(("key/", "keyring/", "twin/key/", "twin/keyring/"))}
    rotation.rotate_root(repository, rotation.plan_root(repository, at_hand=key))
    assert set(withdrawn_keys(store, copy)) == old
    # Not even before the copy was brought up to date does healing bring an old keyring back.
    assert heal_essentials(store, copy) == 0
    assert not [name for name in plan_repair(repository.home, copy).lost if name.startswith("keyring/")]
    copy_home(store, copy)
    assert withdrawn_keys(store, copy) == ()
    assert not old & set(copy.objects)
    # A keyring that the home lost, and did not give up, comes back.
    (present,) = [name for name in store.objects if name.startswith("keyring/")]
    store.delete(present)
    store.delete(f"twin/{present}")
    assert withdrawn_keys(store, copy) == ()
    assert heal_essentials(store, copy) == 1
    assert Repository.open(store, key, env).require_keyring().epoch == 1
