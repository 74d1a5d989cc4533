"""What opens a vault is kept twice: a twin serves where its object is lost, never before one that counts, and revives no key."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from tests.unit.repository.test_objects import rehash

from holdfast.base.environment import Environment
from holdfast.errors import (
    DamageError,
    KeySlotsDamagedError,
    NotPermittedError,
    ObjectMissingError,
    StoreRefusedError,
    VaultExistsError,
    VaultMissingError,
    VersionError,
    WrongKeyError,
)
from holdfast.repository import names, rotation, shred, slots, writers
from holdfast.repository.bodies import VaultHeader
from holdfast.repository.check import check
from holdfast.repository.credentials import KeyFile, Passphrase
from holdfast.repository.enrolment import create_enrolment, join
from holdfast.repository.home_copy import copy_home, plan_repair, withdrawn_keys
from holdfast.repository.objects import encode_control, parse_control, seal
from holdfast.repository.opening import open_home
from holdfast.repository.repository import Repository
from holdfast.repository.twin_repair import TwinRepair, apply_twins, mend_twins, plan_twins
from holdfast.repository.twins import keep_all, strange_twins
from holdfast.repository.wraps import read_wraps
from holdfast.stores.memory import MemoryStore
from holdfast.stores.protocol import Data
from holdfast.testing.faults import Crash, FaultStore
from holdfast.testing.hosts import FakeHost


def of_kind(store: MemoryStore, kind: str) -> list[str]:
    return sorted(name for name in store.objects if name == kind or name.startswith(f"{kind}/"))


def spoil(store: MemoryStore, name: str) -> None:
    data = store.objects[name]
    store.objects[name] = data[:40] + bytes([data[40] ^ 1]) + data[41:]


def spoil_all(store: MemoryStore, *kinds: str) -> None:
    for kind in kinds:
        for name in of_kind(store, kind):
            spoil(store, name)


def lose_all(store: MemoryStore, *kinds: str) -> None:
    for kind in kinds:
        for name in of_kind(store, kind):
            del store.objects[name]


def as_an_older_release_left_it(store: MemoryStore) -> None:
    lose_all(store, "twin")


def test_every_object_that_opens_the_vault_has_a_twin_of_the_same_bytes(
    repository: Repository, store: MemoryStore
) -> None:
    writers.enrol(repository, "ward", [1])
    repository.add_slot(KeyFile.new(repository.env))
    join(store, create_enrolment(repository, "host"), repository.env, keep=lambda made: made)
    assert {name.split("/")[1] for name in of_kind(store, "twin")} == set(names.TWINNED)
    for kind in names.TWINNED:
        assert of_kind(store, kind)
        for name in of_kind(store, kind):
            assert store.objects[f"twin/{name}"] == store.objects[name]
    assert not keep_all(repository.home), "nothing lacks a twin"


@pytest.mark.parametrize("harm", [spoil_all, lose_all], ids=["damaged", "lost"])
@pytest.mark.parametrize("kind", [*names.TWINNED, "all"])
def test_a_twin_serves_and_repair_puts_the_object_back(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile, tmp_path: Path, kind: str, harm
) -> None:
    credential = join(store, create_enrolment(repository, "ward", [1]), env, keep=lambda made: made)
    host = FakeHost(Repository.open(store, credential, env), tmp_path / "cache", "ab" * 16)
    snapshot = host.backup({"a": 1})
    before = dict(store.objects)
    harm(store, *(names.TWINNED if kind == "all" else (kind,)))
    opened = Repository.open(store, key, env)
    assert [s.id for s in opened.snapshots()] == [snapshot.id]
    assert Repository.open(store, credential, env).classes == {1: "phi"}
    found = check(opened)
    touched = len([name for name in before if before[name] != store.objects.get(name)])
    assert len(found.findings) == touched > 0
    superseded = ["keyring/00000000"] if harm is lose_all and kind in {"keyring", "all"} else []
    assert [f.object for f in found.findings if "left over" in f.text] == superseded
    assert all("its twin counts" in f.text for f in found.findings if f.object not in superseded)
    plan = plan_twins(opened)
    assert list(plan.drop) == superseded, "below the newest that counts: whoever deleted it may have erased keys"
    resealed = [name for name, _ in plan.reseal]
    assert resealed == (sorted(n for n in before if n.startswith("key/")) if kind in {"key", "all"} else []), (
        "nobody signs slots"
    )
    assert len(plan.back) + len(superseded) + len(resealed) == plan.lost == touched
    assert mend_twins(opened, dry_run=True) == plan
    assert store.objects != before
    assert apply_twins(opened, plan) == touched
    gone = {*superseded, *resealed}
    fresh = {n for n in store.objects if n not in before}
    assert {n: d for n, d in store.objects.items() if n not in fresh} == {
        n: d for n, d in before.items() if names.untwinned(n) not in gone
    }
    assert {n.partition("/")[0] for n in fresh} == ({"key", "twin", "wrap"} if resealed else set())
    assert Repository.open(store, key, env).is_root
    assert check(opened).problems == ()
    assert plan_twins(opened) == TwinRepair()


def test_a_damaged_or_missing_twin_is_made_anew(repository: Repository, store: MemoryStore) -> None:
    before = dict(store.objects)
    spoil(store, "twin/vault")
    del store.objects[of_kind(store, "twin/key")[0]]
    found = check(repository)
    assert [(f.kind, f.object) for f in found.findings] == [("twin", "vault")]
    assert any("1 objects that open the vault are kept once only" in note for note in found.notes)
    plan = mend_twins(repository)
    assert (len(plan.kept), plan.lost) == (2, 0)
    assert store.objects == before


def test_an_older_vault_is_as_good_as_it_was_and_gets_twins(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    as_an_older_release_left_it(store)
    opened = Repository.open(store, key, env)
    found = check(opened)
    assert found.problems == ()
    assert any("kept once only: `holdfast repair`" in note for note in found.notes)
    without = dict(store.objects)
    assert len(mend_twins(opened).kept) == len([n for n in without if names.is_twinned(n)])
    assert not check(opened).notes
    # The next change of keys does the same: it needs no repair.
    for change in (
        lambda: opened.add_slot(KeyFile.new(env)),
        lambda: writers.enrol(opened, "ward"),
        lambda: rotation.rotate_root(opened, rotation.plan_root(opened, at_hand=key)),
    ):
        as_an_older_release_left_it(store)
        change()
        assert not check(opened).notes


def test_keeping_twice_leaves_to_repair_what_does_not_prove_itself(repository: Repository, store: MemoryStore) -> None:
    as_an_older_release_left_it(store)
    spoil_all(store, "writer")
    assert keep_all(repository.home) == len(of_kind(store, "vault") + of_kind(store, "key") + of_kind(store, "keyring"))
    assert not of_kind(store, "twin/writer")


def test_what_counts_speaks_before_its_twin(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    writers.enrol(repository, "one")
    writers.enrol(repository, "two")
    last = of_kind(store, "keyring")[-1]
    store.objects[f"twin/{last}"] = store.objects["keyring/00000000"]
    opened = Repository.open(store, key, env)
    assert [w.label for w in opened.require_keyring().writers] == ["vault", "one", "two"]
    findings = {f.kind for f in check(opened).findings}
    assert findings == {"twin", "keyring"}
    assert mend_twins(opened).kept == (last,)
    assert check(opened).problems == ()


def test_a_keyring_that_was_exchanged_is_read_from_its_twin_and_put_back(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    writers.enrol(repository, "one")
    before = dict(store.objects)
    store.objects["keyring/00000001"] = store.objects["keyring/00000000"]
    opened = Repository.open(store, key, env)
    assert opened.require_keyring().number == 1
    assert any("it was exchanged" in text for text in check(opened).problems)
    assert mend_twins(opened).back == ("keyring/00000001",)
    assert store.objects == before


def test_a_higher_keyring_counts_of_which_the_twin_alone_is_left(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    writers.enrol(repository, "one")
    del store.objects["keyring/00000001"]
    opened = Repository.open(store, key, env)
    assert opened.require_keyring().number == 1
    writers.enrol(opened, "two")
    assert Repository.open(store, key, env).require_keyring().number == 2


def test_whoever_can_only_add_gains_nothing_by_twins(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    """He squats the twins of what root will put next, and plants ones of his own."""
    credential = writers.enrol(repository, "thief")
    thief = Repository.open(store, credential, env)
    for name in ("keyring/00000002", f"writer/{credential.id}/00000001", f"grant/{credential.id}/00000001"):
        store.objects[f"twin/{name}"] = b"squatted"
    store.objects[f"twin/key/{'0' * 32}"] = store.objects[of_kind(store, "keyring")[0]]
    forged = "writer/" + credential.id + "/00000002"
    certificate = repository.home.certificate(credential.id)
    assert certificate is not None
    for each in (forged, f"twin/{forged}"):  # he certifies himself: whoever looked that up would look it up again
        store.objects[each] = thief.home.encode(forged, certificate, thief.identity)
    opened = Repository.open(store, key, env)
    writers.revoke(opened, credential.id)
    writers.enrol(opened, "another")
    with pytest.raises(NotPermittedError, match="revoked"):
        Repository.open(store, credential, env)
    again = Repository.open(store, key, env)
    assert [w.label for w in again.require_keyring().writers] == ["vault", "thief", "another"]
    for name in of_kind(store, "writer") + of_kind(store, "keyring"):
        assert store.objects[f"twin/{name}"] == store.objects[name] or "squatted" not in str(store.objects[name])


def test_where_a_squatted_twin_cannot_be_deleted_the_key_is_changed_all_the_same(
    repository: Repository, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.objects["twin/keyring/00000001"] = b"squatted"

    def refuse(_store: MemoryStore, _name: str) -> None:
        raise StoreRefusedError("this store deletes nothing")

    monkeypatch.setattr(MemoryStore, "delete", refuse)
    keyring = writers.change_keyring(repository, lambda ring: ring)
    assert store.objects["twin/keyring/00000002"] == store.objects[f"keyring/{keyring.number:08d}"]


def test_no_crash_of_a_rotation_or_an_erasure_leaves_a_key_that_comes_back(
    store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    """At every write: what is deleted goes twin first, and when all is done nothing of the old keys is left in either form."""
    kit = KeyFile.new(env)
    at = 0
    while True:
        fresh = MemoryStore()
        root = Repository.create(fresh, env, secrets=[key, kit])
        old = {n: d for n, d in fresh.objects.items() if n.startswith(("key/", "keyring/"))}
        lost = next(w.id for w in read_wraps(root.home) if w.body.slot in _slot_of(root, kit))
        faulty = FaultStore(fresh, fail_at=at, writes_only=True)
        done = False
        with suppress(Crash):
            opened = Repository.open(faulty, key, env)
            rotation.rotate_root(opened, rotation.plan_root(opened, at_hand=key, drop=[lost]))
            done = True
        for name in old:
            assert name in fresh.objects or f"twin/{name}" not in fresh.objects, "a twin never outlives its object"
        root = Repository.open(fresh, key, env)
        with suppress(WrongKeyError):
            mended = mend_twins(root)
            assert not mended.back
        root = Repository.open(fresh, key, env)
        rotation.rotate_root(root, rotation.plan_root(root, at_hand=key, drop=[lost], again=True))
        assert not [name for name in fresh.objects if names.untwinned(name) in old]
        with pytest.raises(WrongKeyError):
            Repository.open(fresh, kit, env)
        if done:
            break
        at += 1
    assert at > 10


def _slot_of(root: Repository, secret: KeyFile) -> set[str]:
    wrap = rotation.wrap_of(root, read_wraps(root.home), secret)
    return set() if wrap is None else {wrap.body.slot}


def test_an_erasure_takes_twins_and_its_certificate_counts_them(
    repository: Repository, store: MemoryStore, env: Environment
) -> None:
    writers.issue(repository, "writer", "ward", [1])
    rotation.renew(repository, rotation.plan_renewal(repository, [1]))
    stolen = dict(store.objects)
    shred.order(repository, shred.plan_shred(repository, 1, 0), reason="the contract ended")
    found = shred.carry_out(repository, 1, 0)
    assert found.erased
    assert "the twins of keyring and grants" in found.body.places
    assert len(of_kind(store, "twin/keyring")) == len(of_kind(store, "keyring")) == 1
    # Somebody puts an old one back as a twin: not erased any more, and repair takes it away.
    old = of_kind(store, "twin/keyring")[0]
    store.objects[old] = stolen["keyring/00000001"]
    assert strange_twins(repository.home) == 1
    again = shred.certify(repository, 1, 0)
    assert again.body.outstanding == ("the twins of keyring and grants",)
    mend_twins(repository)
    assert shred.certify(repository, 1, 0).erased


def test_what_an_older_release_took_away_does_not_come_back_by_its_twin(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    """It knows no twins: a rotation of its own leaves them."""
    stale = {name: data for name, data in store.objects.items() if name.startswith(("twin/key/", "twin/keyring/"))}
    rotation.rotate_root(repository, rotation.plan_root(repository, at_hand=key))
    store.objects.update(stale)
    opened = Repository.open(store, key, env)
    assert opened.require_keyring().epoch == 1
    plan = mend_twins(opened)
    assert {names.twin(name) for name in plan.drop} == set(stale)
    assert not plan.back
    assert not stale.keys() & store.objects.keys()


def _erased(repository: Repository) -> None:
    rotation.renew(repository, rotation.plan_renewal(repository, [1]))
    shred.order(repository, shred.plan_shred(repository, 1, 0), reason="the contract ended")
    shred.carry_out(repository, 1, 0)


@pytest.mark.parametrize("revoked", [False, True])
def test_repair_brings_no_erased_key_back_from_a_twin_alone(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile, *, revoked: bool
) -> None:
    """As a release without twins leaves it, or a host that was suspended between an object and its twin."""
    reader = writers.issue(repository, "restorer", "reader", [1])
    before = dict(store.objects)
    _erased(repository)
    store.objects |= {n: d for n, d in before.items() if n == f"twin/grant/{reader.id}/00000000"}
    store.objects["twin/keyring/00000001"] = before["keyring/00000001"]
    if revoked:  # his newest is what was erased, and it is not his any more
        writers.revoke(repository, reader.id)
        for name in of_kind(store, f"grant/{reader.id}"):
            repository.home.remove(name)
    opened = Repository.open(store, key, env)
    found = check(opened)
    stale = {f"grant/{reader.id}/00000000", "keyring/00000001"}
    assert {f.object for f in found.findings} == stale
    assert all("left over" in text for text in found.problems)
    plan = mend_twins(opened)
    assert (set(plan.drop), plan.back) == (stale, ())
    assert not [n for n in store.objects if names.untwinned(n) in stale]
    assert check(opened).problems == ()


def test_repair_brings_no_grant_back_that_holds_what_was_erased(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    reader = writers.issue(repository, "restorer", "reader", [1])
    before = dict(store.objects)
    _erased(repository)
    for name in of_kind(store, f"grant/{reader.id}"):
        repository.home.remove(name)
    store.objects[f"twin/grant/{reader.id}/00000000"] = before[f"grant/{reader.id}/00000000"]
    assert mend_twins(Repository.open(store, key, env)).drop == (f"grant/{reader.id}/00000000",)


@pytest.mark.parametrize("victim", ["keyring", "grant"])
def test_whoever_was_suspended_between_object_and_twin_brings_nothing_back(
    env: Environment, key: KeyFile, victim: str
) -> None:
    """A keyring or a grant is put; before its twin is, somebody else erases."""

    class Suspending(MemoryStore):
        armed = False

        def put_new(self, name: str, data: Data) -> bool:
            if self.armed and name.startswith(f"twin/{victim}/"):
                self.armed = False
                _erased(Repository.open(self, key, env))
            return super().put_new(name, data)

    fresh = Suspending()
    first = Repository.create(fresh, env, secrets=[key])
    reader = writers.issue(first, "restorer", "reader", [1])
    behind = Repository.open(fresh, key, env)
    fresh.armed = True
    with suppress(ObjectMissingError):
        if victim == "keyring":
            writers.change_keyring(behind, lambda ring: ring)
        else:
            entry = next(w for w in behind.require_keyring().writers if w.id == reader.id)
            writers.put_grant(behind, behind.require_keyring(), entry)
    assert not fresh.armed
    alone = [n for n in fresh.objects if n.startswith("twin/") and names.untwinned(n) not in fresh.objects]
    assert alone == []


def test_a_removal_takes_a_twin_that_came_in_between(
    repository: Repository, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "keyring/00000000"
    data = store.objects[name]
    delete = store.delete

    def delete_and_then(each: str) -> None:
        delete(each)
        if each == f"twin/{name}" and name in store.objects:
            repository.home.keep_twin(name, data)  # by another host, which sees the object still

    monkeypatch.setattr(store, "delete", delete_and_then)
    repository.home.remove(name)
    assert not {name, f"twin/{name}"} & store.objects.keys()


def test_an_object_that_is_deleted_while_it_is_put_back_stays_gone(
    repository: Repository, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "keyring/00000000"
    spoil(store, name)
    plan = plan_twins(repository)
    put_new = store.put_new

    def erased_first(each: str, data: Data) -> bool:
        monkeypatch.undo()
        repository.home.remove(name)
        return put_new(each, data)

    monkeypatch.setattr(store, "put_new", erased_first)
    apply_twins(repository, plan)
    assert not {name, f"twin/{name}"} & store.objects.keys()
    apply_twins(repository, plan)
    assert not {name, f"twin/{name}"} & store.objects.keys()


class TestSlotsThatNobodySigned:
    """A slot that can be read is not for that the right one."""

    def forge(self, repository: Repository, store: MemoryStore, *, shape: bool) -> str:
        """Lay another slot over the object; with the right shape it holds a root key of the forger's own."""
        (name,) = of_kind(store, "key")
        (wrap,) = read_wraps(repository.home)
        slot, public = wrap.body.shape[0], wrap.body.public
        if not shape:
            slot, public = slots.make(KeyFile.new(repository.env), bytes(32), repository.vault_id, repository.env)
        forged = slots.seal(slot, public, bytes(32), 0, repository.vault_id)
        store.objects[name] = repository.home.encode(name, forged, None)
        return name

    @pytest.mark.parametrize("shape", [False, True])
    def test_the_twin_opens_and_repair_seals_anew_instead_of_laying_the_forged_one_over_it(
        self, repository: Repository, store: MemoryStore, env: Environment, key: KeyFile, *, shape: bool
    ) -> None:
        name = self.forge(repository, store, shape=shape)
        opened = Repository.open(store, key, env)
        assert name in {f.object for f in check(opened).findings}
        assert [each for each, _ in mend_twins(opened).reseal] == [name]
        assert Repository.open(store, key, env).is_root
        assert check(Repository.open(store, key, env)).problems == ()
        assert of_kind(store, name) == []

    def test_a_forged_one_in_both_forms_is_found_and_sealed_anew(
        self, repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
    ) -> None:
        name = self.forge(repository, store, shape=False)
        store.objects[f"twin/{name}"] = store.objects[name]
        with pytest.raises(WrongKeyError):
            Repository.open(store, key, env)
        assert any("another than the ledger says" in text for text in check(repository).problems)
        assert [each for each, _ in mend_twins(repository).reseal] == [name]
        assert Repository.open(store, key, env).is_root

    def test_without_a_ledger_neither_form_is_laid_over_the_other(
        self, repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
    ) -> None:
        name = self.forge(repository, store, shape=False)
        lose_all(store, "wrap")
        before = dict(store.objects)
        assert mend_twins(repository).beyond == (name,)
        assert store.objects == before
        spoil(store, name)
        assert plan_twins(repository).back == (name,)
        store.objects[name], store.objects[f"twin/{name}"] = store.objects[f"twin/{name}"], store.objects[name]
        assert plan_twins(repository).kept == (name,)
        assert Repository.open(store, key, env).is_root
        spoil(store, name)
        assert plan_twins(repository).beyond == (name,)


class TestEverySlotDamaged:
    def test_it_is_said_that_it_is_no_wrong_key(
        self, repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
    ) -> None:
        repository.add_slot(Passphrase("correct horse"))
        spoil_all(store, "key", "twin/key")
        with pytest.raises(
            KeySlotsDamagedError, match="all 2 key slots of the vault are damaged, and so are their twins"
        ) as caught:
            Repository.open(store, key, env)
        what, safe, advice = str(caught.value).split("\n")
        assert "no secret can open it now" in what
        assert "every snapshot is as it was" in safe
        assert "copy of the home" in advice
        assert caught.value.facts == {"slots": 2, "damaged": 2}

    def test_another_key_is_named_where_one_may_open(
        self, repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
    ) -> None:
        own = of_kind(store, "key")[0]
        repository.add_slot(Passphrase("correct horse"))
        spoil(store, own)
        spoil(store, f"twin/{own}")
        with pytest.raises(
            KeySlotsDamagedError, match="1 of the vault's 2 key slots are damaged, and no other"
        ) as caught:
            Repository.open(store, key, env)
        assert "recovery kit" in caught.value.next

    def test_a_wrong_key_is_no_damage_and_is_told_what_may_be(
        self, repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
    ) -> None:
        own = of_kind(store, "key")[0]
        kit = KeyFile.parse(writers.make_recovery_kit(repository, ["/mnt"]))
        spoil(store, own)
        spoil(store, f"twin/{own}")
        with pytest.raises(
            WrongKeyError, match="1 of its 2 key slots are damaged, and its own may be one of them"
        ) as caught:
            Repository.open(store, key, env)
        assert "if it is the right one, open the vault with another" in caught.value.next
        opened = Repository.open(store, kit, env)
        # The ledger knows to whom: the root key is sealed to the damaged slot's holder once more.
        plan = mend_twins(opened)
        assert [name for name, _ in plan.reseal] == [own]
        assert Repository.open(store, key, env).is_root
        assert check(opened).problems == ()
        assert of_kind(store, own) == []

    def test_a_creation_that_never_finished_left_no_damage(
        self, repository: Repository, store: MemoryStore, env: Environment
    ) -> None:
        other = MemoryStore()
        Repository.create(other, env, secrets=[KeyFile.new(env)])
        store.objects |= {n: d for n, d in other.objects.items() if n.startswith(("key/", "twin/key/"))}
        with pytest.raises(WrongKeyError) as caught:
            Repository.open(store, KeyFile.new(env), env)
        assert "damaged" not in caught.value.what
        assert check(repository).problems == ()
        assert plan_twins(repository).beyond == ()


def test_headers_and_keyrings_that_are_lost_twice_are_said_to_be(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    kept = dict(store.objects)
    lose_all(store, "vault")
    with pytest.raises(VaultExistsError, match="header is lost"):
        Repository.create(store, env, secrets=[key])
    lose_all(store, "twin/vault")
    with pytest.raises(VaultMissingError, match="header of the vault at this place is lost") as caught:
        Repository.open(store, key, env)
    assert "rescue reader" in caught.value.next
    store.objects |= kept
    spoil_all(store, "vault", "twin/vault")
    with pytest.raises(DamageError) as damaged:
        Repository.open(store, key, env)
    assert "copy/vault" in damaged.value.next
    store.objects |= kept
    spoil_all(store, "keyring", "twin/keyring")
    with pytest.raises(DamageError) as damaged:
        Repository.open(store, key, env)
    assert "`keyring/`" in damaged.value.next
    lose_all(store, "keyring", "twin/keyring")
    with pytest.raises(DamageError, match="no keyring"):
        Repository.open(store, key, env)


def test_what_is_damaged_twice_is_mended_by_what_root_knows_or_named(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    credential = writers.enrol(repository, "ward", [1])
    gone = writers.enrol(repository, "gone", [1])
    writers.revoke(repository, gone.id)
    for name in (f"grant/{credential.id}/00000000", f"grant/{gone.id}/00000000", "keyring/00000000"):
        spoil(store, name)
        spoil(store, f"twin/{name}")
    newest = of_kind(store, f"writer/{gone.id}")[-1]
    spoil(store, newest)
    spoil(store, f"twin/{newest}")
    opened = Repository.open(store, key, env)
    plan = mend_twins(opened)
    assert plan.drop == ("keyring/00000000",)
    assert sorted(entry.id for _, entry in plan.leave) == sorted([credential.id, gone.id])
    assert plan.beyond == (newest,)
    assert [len(of_kind(store, f"grant/{each.id}")) for each in (credential, gone)] == [1, 1]
    (finding,) = check(opened).findings
    assert finding.object == newest
    assert "older certificate may give back" in finding.text
    assert Repository.open(store, credential, env).classes == {1: "phi"}


def test_beside_a_rotation_nothing_is_sealed_to_anybody(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    repository.add_slot(KeyFile.new(env))
    own = next(iter(_slot_of(repository, key)))
    behind = Repository.open(store, key, env)
    faulty = FaultStore(store, fail_at=2, writes_only=True)  # the keyring of the next epoch, and its twin
    with suppress(Crash):
        opened = Repository.open(faulty, key, env)
        rotation.rotate_root(opened, rotation.plan_root(opened, at_hand=key))
    for name in (f"key/{own}", f"twin/key/{own}"):
        spoil(store, name)
    plan = plan_twins(behind)
    assert not plan.reseal
    assert plan.beyond == (f"key/{own}",)


def test_repair_of_keys_needs_the_root_key(repository: Repository, store: MemoryStore, env: Environment) -> None:
    credential = writers.enrol(repository, "ward")
    with pytest.raises(NotPermittedError):
        plan_twins(Repository.open(store, credential, env))


def test_what_verifies_and_belongs_elsewhere_does_not_count(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    """A header of another root, another holder's certificate and grant, a keyring that a writer signed: each is read from its twin."""
    one, two = writers.enrol(repository, "one", [1]), writers.enrol(repository, "two", [1, 2])
    before = dict(store.objects)
    certificate = repository.home.certificate(two.id)
    assert certificate is not None
    for kind, own in (("writer", f"writer/{one.id}/00000000"), ("grant", f"grant/{one.id}/00000000")):
        store.objects[own] = (
            repository.home.encode(own, certificate, repository.root)
            if kind == "writer"
            else store.objects[f"grant/{two.id}/00000000"]
        )
    thief = Repository.open(store, two, env)
    head = thief.home.head(5, 0, 0, thief.identity)
    store.objects["keyring/00000002"] = seal(head, bytes(32), b"{}", thief.identity.key)
    header = VaultHeader(1, bytes(range(32)), env.now(), "another")
    store.objects["vault"] = repository.home.encode("vault", header, None)
    with pytest.raises(DamageError):
        Repository.open(store, key, env)  # a header that can be read speaks: whose vault it is, nobody guesses
    assert any("it names another root" in f.text for f in check(repository).findings)
    store.objects["vault"] = before["vault"]
    assert Repository.open(store, one, env).classes == {1: "phi"}
    plan = mend_twins(Repository.open(store, key, env))
    assert plan.back == (f"grant/{one.id}/00000000", "keyring/00000002", f"writer/{one.id}/00000000")
    assert store.objects == before


def test_an_object_of_a_newer_release_is_left_alone(repository: Repository, store: MemoryStore) -> None:
    (slot,) = of_kind(store, "key")
    newer = rehash(store.objects[slot][:8] + b"\x02\x00" + store.objects[slot][10:])
    store.objects[slot] = store.objects[f"twin/{slot}"] = newer
    assert plan_twins(repository) == TwinRepair()
    as_an_older_release_left_it(store)
    keep_all(repository.home)
    assert not of_kind(store, f"twin/{slot}")


def test_a_header_without_an_id_and_one_of_another_format(
    store: MemoryStore, env: Environment, repository: Repository
) -> None:
    header = VaultHeader(2, repository.home.root_public, env.now(), "")
    store.objects["vault"] = repository.home.encode("vault", header, None)
    with pytest.raises(VersionError, match="format 2"):
        open_home(store, env)
    control = parse_control(store.objects["twin/vault"], "vault", "")
    store.objects["vault"] = encode_control({**control.body, "vault": "no id"}, None)
    del store.objects["twin/vault"]
    with pytest.raises(DamageError, match="malformed"):
        open_home(store, env)


def test_the_copy_of_the_home_gives_back_no_twin_of_what_is_whole(
    repository: Repository, store: MemoryStore, env: Environment
) -> None:
    copy = MemoryStore()
    copy_home(repository.home, copy)
    assert "twin/vault" not in copy.objects, "nobody takes a copy for a vault"
    slot = of_kind(store, "key")[0]
    for each in (f"twin/{slot}", "twin/keyring/00000000"):
        spoil(store, each)
    spoil(copy, f"twin/{slot}")
    plan = plan_repair(repository.home, copy)
    assert (plan.damaged, plan.beyond, plan.lost) == (("twin/keyring/00000000",), (), ())
    # A slot of which only the twin is left is not given up: the copy keeps it.
    repository.add_slot(KeyFile.new(env))
    del store.objects[slot]
    store.objects[f"twin/{slot}"] = copy.objects[slot]
    assert withdrawn_keys(repository.home, copy) == ()


def test_a_slot_that_was_sealed_anew_already_is_dropped_by_the_next_repair(
    repository: Repository, store: MemoryStore
) -> None:
    name = of_kind(store, "key")[0]
    for each in (name, names.twin(name)):
        spoil(store, each)
    rotten = store.objects[name]
    assert [each for each, _ in mend_twins(repository).reseal] == [name]
    store.objects[name] = rotten  # the repair was killed before it came to the object
    assert any(name in finding.text for finding in check(repository).findings)
    assert mend_twins(repository).drop == (name,)
    assert not check(repository).findings
