"""A keyring that is lost takes no number with it: no generation has two keys, and no key is changed before it is back."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.keys.test_twins import spoil

from holdfast.base.environment import Environment
from holdfast.errors import KeyringLostError
from holdfast.repository import generations, rotation, writers
from holdfast.repository.bodies import EnvelopeBody, EnvelopeClass
from holdfast.repository.credentials import KeyFile
from holdfast.repository.repository import Repository
from holdfast.repository.twin_repair import plan_twins
from holdfast.stores.memory import MemoryStore
from holdfast.testing.hosts import FakeHost

SOURCE = "ab" * 16


def rotate(opened: Repository, *, again: bool = False) -> tuple[tuple[int, int], ...]:
    return rotation.renew(opened, rotation.plan_renewal(opened, [1], again=again)).generations


def lose_newest(store: MemoryStore) -> dict[str, bytes]:
    newest = max(name for name in store.objects if name.startswith("keyring/"))
    kept = {name: store.objects[name] for name in (newest, f"twin/{newest}")}
    for name in kept:
        spoil(store, name)
    return kept


def test_no_generation_gets_two_keys_and_a_keyring_that_comes_back_gives_its_own(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile, tmp_path: Path
) -> None:
    assert rotate(repository) == ((1, 1),)
    first = FakeHost(repository, tmp_path / "cache", SOURCE).backup({"a": 1})
    kept = lose_newest(store)
    opened = Repository.open(store, key, env)
    for change in (
        lambda: rotate(opened),
        lambda: writers.enrol(opened, "ward"),
        lambda: opened.add_slot(KeyFile.new(env)),
    ):
        with pytest.raises(KeyringLostError, match="newer keys of 1 data classes are in use") as caught:
            change()
        assert caught.value.exit_code == 4
        assert "repair home" in caught.value.next
    with pytest.raises(KeyringLostError) as root:
        rotation.plan_root(opened, at_hand=key)
    assert "rotate root --again" in root.value.next
    assert not plan_twins(opened).reseal
    with pytest.raises(KeyringLostError, match="generation 1 of data class phi are in no keyring") as lost:
        opened.part(opened.snapshots()[0], 1)
    assert "use the key file" not in lost.value.next
    with pytest.raises(KeyringLostError):
        rotate(opened)
    assert rotate(opened, again=True) == ((1, 2),)
    store.objects.update(kept)
    again = Repository.open(store, key, env)
    assert [c.generation for c in again.generations() if c.id == 1] == [0, 1, 2]
    assert again.part(again.snapshots()[0], 1).class_id == 1
    assert [s.id for s in again.snapshots()] == [first.id]
    writers.enrol(again, "ward")
    assert not again.require_keyring().has_gaps


def test_certificates_and_the_ledger_name_generations_too(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    writers.enrol(repository, "ward", [1])
    writers.issue(repository, "restorer", "rest", [1])
    rotate(repository)
    assert generations.certified(repository.home)[1] == 1
    lose_newest(store)
    with pytest.raises(KeyringLostError):
        writers.enrol(Repository.open(store, key, env), "another")


def test_what_this_host_opened_before_is_asked_for(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    writers.enrol(repository, "ward", [1])
    lose_newest(store)
    opened = Repository.open(store, key, env)
    opened.keyring_seen = 1
    with pytest.raises(KeyringLostError, match=r"has opened keyring 1 .* that can be read is 0"):
        writers.enrol(opened, "another")
    writers.change_keyring(opened, lambda ring: ring, given_up=True)
    writers.enrol(opened, "another")


def test_a_revoked_writer_stops_no_change_of_keys_and_nobody_uses_up_the_numbers(
    repository: Repository, store: MemoryStore, env: Environment
) -> None:
    credential = writers.enrol(repository, "thief", [1])
    thief = Repository.open(store, credential, env)
    now = env.now()
    for claimed in (5, generations.GENERATION_MAX + 1):
        name = f"snapshot/{env.random_id()}"
        rows = (EnvelopeClass(1, claimed, "", "", 0, 0, 0),)
        body = EnvelopeBody(SOURCE, "", now, now, partial=False, classes=rows, anomaly=0, retain_until=None, findings=0)
        assert thief.home.create(name, body, thief.identity)
    with pytest.raises(KeyringLostError):
        rotate(repository)
    writers.revoke(repository, credential.id)
    assert rotate(repository) == ((1, 6),)


def test_who_lost_his_key_and_reads_what_is_stored_is_told(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    rest = writers.issue(repository, "restorer", "rest", [1])
    assert not generations.open_to_revoked(repository.home, repository.require_keyring())
    writers.revoke(repository, rest.id)
    assert generations.open_to_revoked(repository.home, repository.require_keyring()) == (1,)
    rotate(repository)
    assert not generations.open_to_revoked(repository.home, repository.require_keyring())
    lose_newest(store)
    opened = Repository.open(store, key, env)
    assert generations.open_to_revoked(opened.home, opened.require_keyring()) == (1,)
