"""The home's copy keeps no key that the home gave up, and never brings one back."""

from __future__ import annotations

from holdfast.base.environment import Environment
from holdfast.repository import rotation, writers
from holdfast.repository.credentials import KeyFile
from holdfast.repository.home_copy import apply_repair, copy_home, heal_essentials, plan_repair, withdrawn_keys
from holdfast.repository.repository import Repository
from holdfast.repository.wraps import SLOT, Wrap, read_wraps
from holdfast.stores.memory import MemoryStore


def test_a_rotation_reaches_the_copy(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    copy = MemoryStore()
    copy_home(repository.home, copy)
    old = {name for name in copy.objects if name.startswith(("key/", "keyring/", "twin/key/", "twin/keyring/"))}
    rotation.rotate_root(repository, rotation.plan_root(repository, at_hand=key))
    assert set(withdrawn_keys(repository.home, copy)) == old
    # Not even before the copy was brought up to date does healing bring an old keyring back.
    assert heal_essentials(store, copy) == 0
    assert not [name for name in plan_repair(repository.home, copy).lost if name.startswith("keyring/")]
    copy_home(repository.home, copy)
    assert withdrawn_keys(repository.home, copy) == ()
    assert not old & set(copy.objects)
    # A keyring that the home lost, and did not give up, comes back.
    (present,) = [name for name in store.objects if name.startswith("keyring/")]
    store.delete(present)
    store.delete(f"twin/{present}")
    assert withdrawn_keys(repository.home, copy) == ()
    assert heal_essentials(store, copy) == 1
    assert Repository.open(store, key, env).require_keyring().epoch == 1


def test_the_copy_gives_back_a_slot_and_a_grant_that_the_home_lost(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    """What the home lacks was not given up by that: the copy keeps the last that there is."""
    credential = writers.enrol(repository, "ward", [1])
    kit = KeyFile.new(env)
    repository.add_slot(kit)
    copy = MemoryStore()
    copy_home(repository.home, copy)
    before = dict(copy.objects)
    slot = next(f"key/{w.body.slot}" for w in read_wraps(repository.home) if _opens(repository, w, kit))
    lost = [slot, f"grant/{credential.id}/00000000"]
    for name in lost:
        del store.objects[name], store.objects[f"twin/{name}"]
    wrap = next(name for name in store.objects if name.startswith("wrap/") and slot[4:].encode() in store.objects[name])
    del store.objects[wrap]  # the entry is lost with its slot: the copy's word on it counts
    assert withdrawn_keys(repository.home, copy) == ()
    copy_home(repository.home, copy)
    assert copy.objects == before
    plan = plan_repair(repository.home, copy)
    assert set(plan.lost) == {*lost, wrap}
    apply_repair(repository.home, copy, plan)
    assert Repository.open(store, kit, env).is_root
    # A slot and a grant that root took back do not come back.
    stale = dict(copy.objects)
    root = Repository.open(store, key, env)
    dropped = next(w.id for w in read_wraps(root.home) if _opens(root, w, kit))
    rotation.rotate_root(root, rotation.plan_root(root, at_hand=key, drop=[dropped]))
    writers.revoke(root, credential.id)
    store.delete(lost[1])
    store.delete(f"twin/{lost[1]}")
    assert {slot, lost[1]} <= set(withdrawn_keys(root.home, copy))
    assert not {slot, lost[1]} & set(plan_repair(root.home, copy).lost)
    copy_home(root.home, copy)
    assert not {slot, lost[1]} & set(copy.objects)
    copy.objects.update({slot: stale[slot]})
    # Where the ledger cannot be read nobody knows: nothing goes, and nothing comes back.
    for name in [name for name in store.objects if name.startswith("wrap/")]:
        store.objects[name] = b"rotten"
    assert slot not in withdrawn_keys(root.home, copy)
    assert slot not in plan_repair(root.home, copy).lost


def _opens(repository: Repository, wrap: Wrap, secret: KeyFile) -> bool:
    return wrap.body.form == SLOT and rotation.wrap_of(repository, [wrap], secret) is not None
