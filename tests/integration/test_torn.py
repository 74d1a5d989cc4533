"""What a crash or a power loss leaves half done heals by itself: the next one whose affair it is replaces it. On stores in memory.

Each of these was found by a sweep (`holdfast.testing.sweep`), which strikes all of them at every operation.
"""

from __future__ import annotations

import pytest

import holdfast
from holdfast.errors import DamageError, EnrolmentError, RolledBackError, StoreRefusedError, VaultExistsError
from holdfast.repository.bodies import ComparedBody
from holdfast.repository.countersign import countersign, read_countersigns
from holdfast.repository.forget import admit
from holdfast.repository.listing import read_dropped
from holdfast.runs.enrolment import join_vault
from holdfast.runs.keys import enrolment
from holdfast.testing.sweep.ground import ground, opened, repository_of
from holdfast.testing.sweep.strike import SweptStore


@pytest.fixture
def place():
    with ground() as made:
        for name in ("phi/a", "phi/b", "imaging/c"):
            made.write(name)
        made.create()
        with made.open() as vault:
            made.backup(vault)
            made.write("phi/a", 1)
            made.pass_days(1)
            made.backup(vault)
        yield made


def tear(place, prefix, store="home"):
    """Leave half of the first object of a kind."""
    objects = place.stores[store].objects
    name = min(name for name in objects if name.startswith(prefix))
    objects[name] = objects[name][: len(objects[name]) // 2]
    return name


def whole(place):
    """Whether every acknowledged snapshot restores, and nothing is wrong."""
    with place.open() as vault:
        assert all(place.restored(vault, one) == content for one, content in place.acknowledged.items())
        return not vault.check().problems


def test_a_torn_tombstone_of_a_class_is_written_anew(place):
    first = next(iter(place.acknowledged))
    with place.open() as vault:
        repository = repository_of(vault)
        imaging = repository.class_id("imaging")
        place.stores["home"].objects[f"dropped/{first}/{imaging}"] = b"{"
        vault.forget(snapshots=[first], classes=["imaging"], reason="test")
        assert read_dropped(repository.home) == {first: frozenset({imaging})}
        assert not vault.check().problems


def test_a_torn_admission_is_written_anew_and_a_whole_one_stays(place):
    with place.open() as vault:
        repository = repository_of(vault)
        assert admit(repository) == 0, "a run that may do so admits its snapshot at once"
        name = tear(place, "admission/")
        with pytest.raises(DamageError):
            repository.home.written(name)
        assert admit(repository) == 1
        assert admit(repository) == 0
        repository.home.written(name)
    assert whole(place)


def test_a_torn_countersignature_is_written_anew_and_the_first_whole_one_counts(place):
    with place.open() as vault:
        repository = repository_of(vault)
        run = next(iter(repository.home.listed("index"))).partition("/")[2]
        assert countersign(repository.home, run, repository.root, scope="ward")
        tear(place, f"countersign/{run}")
        assert run not in read_countersigns(repository.home)
        assert countersign(repository.home, run, repository.root, scope="ward")
        assert countersign(repository.home, run, repository.root, scope="another")
        assert read_countersigns(repository.home)[run] == {"ward"}


def test_who_may_only_add_leaves_what_is_torn(place, monkeypatch):
    """A verifier whose store deletes nothing goes on: the run stays untrusted, and what it found is said under the next number."""
    with place.open() as vault:
        repository = repository_of(vault)
        run = next(iter(repository.home.listed("index"))).partition("/")[2]
        objects = place.stores["home"].objects
        objects[f"countersign/{run}"] = b"{"
        vault.verify()
        name = tear(place, "compared/")

        def refuse(_store, _name):
            raise StoreRefusedError("this credential deletes nothing")

        monkeypatch.setattr(SweptStore, "delete", refuse)
        assert not countersign(repository.home, run, repository.root)
        vault.verify()
        assert name in objects
        assert name[:-1] + "1" in objects


def test_a_torn_word_on_reference_sets_is_said_anew(place):
    with place.open() as vault:
        vault.verify()
        name = tear(place, "compared/")
        assert vault.check().problems
        vault.verify()
        assert name not in place.stores["home"].objects
        home = repository_of(vault).home
        assert all(home.read(each, ComparedBody) for each in home.listed("compared"))
    assert whole(place)


def test_a_torn_index_run_is_replaced_by_the_next_prune(place):
    first = next(iter(place.acknowledged))
    with place.open() as vault:
        vault.forget(snapshots=[first], reason="test")
        del place.acknowledged[first]
        name = tear(place, "index/")
        with pytest.raises(DamageError):
            vault.prune(dry_run=True)
        assert vault.prune(undo_days=0, repack_below=0.9).phase in {"nothing", "closed"}
        assert name not in place.stores["home"].objects
    assert whole(place)


def test_a_prune_goes_no_further_on_an_index_that_the_packs_cannot_replace(place):
    with place.open() as vault:
        vault.forget(snapshots=[next(iter(place.acknowledged))], reason="test")
        tear(place, "index/")
        objects = place.stores["home"].objects
        for name in [name for name in objects if name.startswith("data/")]:
            objects[name] = objects[name][:-1] + bytes([objects[name][-1] ^ 1])
        kept = dict(objects)
        with pytest.raises(DamageError):
            vault.prune(undo_days=0)
        packs = {name for name in kept if name.startswith(("data/", "meta/"))}
        assert packs <= objects.keys(), "nothing was deleted"


def test_a_torn_condemned_list_stops_who_writes_and_nobody_who_reads(place):
    first = next(iter(place.acknowledged))
    with place.open() as vault:
        vault.forget(snapshots=[first], reason="test")
        del place.acknowledged[first]
        vault.prune(repack_below=0.9)
    objects = place.stores["home"].objects
    for name in [name for name in objects if name.startswith(("plan/", "closed/"))]:
        del objects[name]
    tear(place, "condemn/")
    with place.open() as vault:
        assert place.restored(vault) == place.content()
        with pytest.raises(DamageError):
            opened(vault).index()
        with pytest.raises(DamageError):
            place.backup(vault)
        vault.prune(undo_days=0)
        assert place.backup(vault).exit_code == 0


def test_a_torn_list_of_damaged_packs_goes_with_the_next_repair(place):
    objects = place.stores["home"].objects
    name = min(name for name in objects if name.startswith("data/"))
    objects[name] = objects[name][:-1] + bytes([objects[name][-1] ^ 1])
    with place.open() as vault:
        vault.verify()
        torn = tear(place, "damaged/")
        report = vault.repair()
        assert report.damaged_list
        assert torn not in objects
        assert not vault.repair().damaged_list, "there is nothing to say any more"
    assert whole(place)


def behind():
    """A copy of the home that lacks the last snapshot, and a home that is lost."""
    made = ground("copied")
    place = made.__enter__()
    place.write("phi/a")
    place.create()
    with place.open() as vault:
        place.backup(vault)
    kept = dict(place.stores["second"].objects)
    with place.open() as vault:
        place.write("phi/a", 1)
        place.backup(vault)
    last = list(place.acknowledged)[-1]
    del place.acknowledged[last]
    place.stores["home"].objects.clear()
    second = place.stores["second"].objects
    for name in [name for name in second if name not in kept and not name.startswith(("data/", "member/"))]:
        del second[name]
    return made, place


@pytest.mark.parametrize("kind", ["epoch/", "vault"])
def test_a_promotion_that_a_power_loss_tore_is_made_whole_by_the_same_call(kind):
    with ground("copied") as place:
        place.write("phi/a")
        place.create()
        with place.open() as vault:
            place.backup(vault)
        second = place.stores["second"].objects
        assert holdfast.promote_home(place.url_of("second"), key_file=place.key, env=place.env) == 1
        name = tear(place, kind, "second")
        if kind == "epoch/":
            del second["vault"]
        torn = second[name]
        assert holdfast.promote_home(place.url_of("second"), key_file=place.key, env=place.env) == 1
        assert second[name] != torn
        with place.open() as vault:
            assert opened(vault).epoch == 1
            assert place.restored(vault) == place.content()
            assert vault.check().sound


def test_whoever_finds_a_policy_that_cannot_be_read_is_told_the_way_out(place):
    place.stores["home"].objects["access/00000000"] = b"{"
    with place.open() as vault:
        with pytest.raises(DamageError, match="--break-glass"):
            vault.snapshot().restore(place.root / "refused")
        assert vault.snapshot().restore(place.root / "out", break_glass="the ward waits").exit_code == 0


def test_a_promotion_is_no_older_state(tmp_path):
    """The old home had a snapshot that its copy lacked. Root gave it up by promoting: no host has to say so once more."""
    made, place = behind()
    try:
        holdfast.promote_home(place.url_of("second"), key_file=place.key, env=place.env)
        with place.open() as vault:
            assert vault.check().sound
            assert vault.prune(undo_days=0).phase in {"nothing", "closed"}
            assert [snapshot.id for snapshot in vault.snapshots()] == list(place.acknowledged)
        objects = place.stores["second"].objects
        del objects[min(name for name in objects if name.startswith("decision/"))]
        with place.open() as vault, pytest.raises(RolledBackError):
            vault.prune(undo_days=0)
    finally:
        made.__exit__(None, None, None)


def test_a_pack_that_moved_without_this_host_s_knowledge_is_thawed_where_it_lies(tmp_path):
    """Another host migrated, or this one was never told that its deletion took effect: the ledger is behind."""
    with ground("cold") as place:
        place.write("imaging/a")
        place.create()
        with place.open() as vault:
            place.backup(vault)
        place.pass_days(100)
        kept = place.keep()
        with place.open() as vault:
            vault.migrate()
        objects = {name: dict(store.objects) for name, store in place.stores.items()}
        place.put_back(kept)
        for name, store in place.stores.items():
            store.objects.clear()
            store.objects.update(objects[name])
        with place.open() as vault:
            assert vault.snapshot().restore_plan().thaw_packs == 1
            assert vault.snapshot().thaw().asked == 1
            assert place.restored(vault) == place.content()


def test_an_audit_log_that_is_begun_anew_twice_names_both_before_it(place):
    with place.open() as vault:
        vault.audit.head()
        first = vault.audit.renew("damaged")
        second = vault.audit.renew("again: the first call was not answered")
        assert second.previous == first.log
        named = {each.record.facts.get("previous") for each in vault.audit.records(kind="audit.renewed")}
        assert named == {first.previous, first.log}
        assert not vault.audit.verify().problems


def test_a_host_that_died_while_it_joined_goes_on_with_the_same_call(place):
    with place.open() as vault:
        file = place.live / "enrolment"
        file.write_bytes(enrolment(opened(vault), "host", (), group="", days=7))
        file.chmod(0o600)
    target = place.live / "credential"
    joined = join_vault(file, target, env=place.env)
    for name in (f"joined/{joined.id}", f"twin/joined/{joined.id}"):
        del place.stores["home"].objects[name]
    assert join_vault(file, target, env=place.env) == joined, "it died before the vault knew"
    assert join_vault(file, target, env=place.env) == joined, "it died before it was told"
    with place.open(credential=target) as vault:
        assert place.backup(vault).exit_code == 0
    with pytest.raises(EnrolmentError):
        join_vault(file, place.live / "another", env=place.env)
    (place.live / "taken").write_bytes(b"something else")
    (place.live / "taken").chmod(0o600)
    for name in (f"joined/{joined.id}", f"twin/joined/{joined.id}"):
        del place.stores["home"].objects[name]
    with pytest.raises(VaultExistsError):
        join_vault(file, place.live / "taken", env=place.env)
