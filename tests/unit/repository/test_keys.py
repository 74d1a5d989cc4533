"""Opening: the right key opens, a wrong one, a damaged vault and a newer vault are three different errors; a writer reads nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.repository.test_objects import rehash

from holdfast.base.environment import Environment
from holdfast.errors import (
    DamageError,
    MissingError,
    NotPermittedError,
    RevokedError,
    StoreRefusedError,
    UsageError,
    VaultExistsError,
    VaultMissingError,
    VersionError,
    WrongKeyError,
)
from holdfast.repository import slots, writers
from holdfast.repository.check import check
from holdfast.repository.credentials import KeyFile, Passphrase, RoleCredential
from holdfast.repository.repository import Repository
from holdfast.stores.layers import Wrapper
from holdfast.stores.memory import MemoryStore
from holdfast.stores.protocol import Data
from holdfast.testing.hosts import FakeHost


@pytest.fixture(autouse=True)
def quick_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "ITERATIONS", slots.ITERATIONS_MIN)


def damage(store: MemoryStore, name: str) -> None:
    data = store.objects[name]
    store.objects[name] = data[:40] + bytes([data[40] ^ 1]) + data[41:]


def test_each_secret_opens(store: MemoryStore, env: Environment, key: KeyFile) -> None:
    made = Repository.create(store, env, secrets=[key, Passphrase("correct horse")], label="ward 7")
    for secret in (key, Passphrase("correct horse")):
        opened = Repository.open(store, secret, env)
        assert (opened.vault_id, opened.label, opened.is_root) == (made.vault_id, "ward 7", True)
        assert opened.can_read(1)
        run = made.new_run_key(1)
        assert opened.open_envelope(1, 0, run.envelope) == run.key
        assert opened.open_envelope(1, 0, run.map_envelope) == run.map_key != run.key


def test_wrong_keys(repository: Repository, store: MemoryStore, env: Environment) -> None:
    for secret in (KeyFile.new(env), Passphrase("wrong horse")):
        with pytest.raises(WrongKeyError):
            Repository.open(store, secret, env)
    with pytest.raises(VaultMissingError):
        Repository.open(MemoryStore(), KeyFile.new(env), env)


@pytest.mark.parametrize("kind", ["vault", "key/", "keyring/"])
def test_damage_is_not_a_wrong_key(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile, kind: str
) -> None:
    for prefix in (kind, f"twin/{kind}"):
        damage(store, next(name for name in store.objects if name.startswith(prefix)))
    with pytest.raises(DamageError):
        Repository.open(store, key, env)


def test_a_newer_vault(repository: Repository, store: MemoryStore, env: Environment, key: KeyFile) -> None:
    data = store.objects["vault"]
    store.objects["vault"] = rehash(data[:8] + b"\x02\x00" + data[10:])
    with pytest.raises(VersionError):
        Repository.open(store, key, env)


def test_one_damaged_slot_leaves_the_others(repository: Repository, store: MemoryStore, env: Environment) -> None:
    for prefix in ("key/", "twin/key/"):
        damage(store, next(name for name in store.objects if name.startswith(prefix)))
    second = KeyFile.new(env)
    repository.add_slot(second)
    assert Repository.open(store, second, env).is_root


def test_a_header_of_another_root_is_refused(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    other = MemoryStore()
    Repository.create(other, env, secrets=[key])
    store.objects["vault"] = other.objects["vault"]
    with pytest.raises((DamageError, WrongKeyError)):
        Repository.open(store, key, env)


def test_create_refuses(repository: Repository, store: MemoryStore, env: Environment, key: KeyFile) -> None:
    with pytest.raises(VaultExistsError):
        Repository.create(store, env, secrets=[key])
    with pytest.raises(UsageError):
        Repository.create(MemoryStore(), env, secrets=[])
    with pytest.raises(UsageError):
        Repository.create(MemoryStore(), env, secrets=[Passphrase("short")])


class LastWins(Wrapper):
    """A store whose create-if-absent is none."""

    def put_new(self, name: str, data: Data) -> bool:
        assert isinstance(self.inner, MemoryStore)
        self.inner.objects[name] = bytes(data)
        return True


def test_a_store_that_loses_the_race_is_no_home(env: Environment, key: KeyFile) -> None:
    store = MemoryStore()
    with pytest.raises(StoreRefusedError):
        Repository.create(LastWins(store), env, secrets=[key])
    assert store.size("vault") is None


def test_key_files(tmp_path: Path, env: Environment, key: KeyFile) -> None:
    path = tmp_path / "key"
    key.write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert KeyFile.read(path) == key
    with pytest.raises(VaultExistsError):
        key.write(path)
    path.chmod(0o640)
    with pytest.raises(NotPermittedError):
        KeyFile.read(path)
    with pytest.raises(WrongKeyError):
        KeyFile.read(tmp_path / "none")
    for text in (b"", b"HOLDFAST-KEY-1\n", b"HOLDFAST-KEY-1\nAAAA\n", b"other\n" + key.encode()):
        with pytest.raises(WrongKeyError):
            KeyFile.parse(text)
    assert "secret" not in repr(key)


def test_a_recovery_kit_is_a_key_file_for_people(repository: Repository, store: MemoryStore, env: Environment) -> None:
    kit = writers.make_recovery_kit(repository, ["/mnt/vault"])
    assert Repository.open(store, KeyFile.parse(kit), env).is_root
    assert b"/mnt/vault" in kit
    assert repository.home.vault.encode() in kit


def test_a_writer_adds_and_reads_nothing(
    repository: Repository, store: MemoryStore, env: Environment, tmp_path: Path, key: KeyFile
) -> None:
    path = tmp_path / "credential"
    writers.enrol(repository, "ehr-1", [1]).write(path)
    opened = Repository.open(store, RoleCredential.read(path), env)
    assert (opened.is_root, opened.can_read(1), opened.classes) == (False, False, {1: "phi"})
    run = opened.new_run_key(1)
    assert opened.open_envelope(1, 0, run.map_envelope) == run.map_key, "its own page maps"
    with pytest.raises(NotPermittedError):
        opened.open_envelope(1, 0, run.envelope)
    with pytest.raises(NotPermittedError):
        opened.new_run_key(2)
    for forbidden in ("root", "root_key"):
        with pytest.raises(NotPermittedError):
            getattr(opened, forbidden)
    host = FakeHost(opened, tmp_path / "cache", "ab" * 16)
    info = host.backup({"a": 1}, label="ehr")
    assert info.label == "ehr"
    (seen,) = opened.snapshots()
    assert (seen.label, seen.writer) == ("", opened.writer_id)
    with pytest.raises(NotPermittedError):
        opened.part(seen, 1)
    (read,) = Repository.open(store, key, env).snapshots()
    assert read.label == "ehr"
    assert check(repository).problems == ()


def test_a_credential_fits_one_vault(repository: Repository, env: Environment) -> None:
    credential = writers.enrol(repository, "ehr-1")
    other = MemoryStore()
    Repository.create(other, env, secrets=[KeyFile.new(env)])
    with pytest.raises(WrongKeyError):
        Repository.open(other, credential, env)
    for text in (b"", b"{}", b'{"format":"holdfast-credential-1"}'):
        with pytest.raises(WrongKeyError):
            RoleCredential.parse(text)
    with pytest.raises(UsageError):
        writers.enrol(repository, "x", [99])


def test_a_revoked_writer(
    repository: Repository, store: MemoryStore, env: Environment, tmp_path: Path, key: KeyFile
) -> None:
    credential = writers.enrol(repository, "ehr-1")
    thief = Repository.open(store, credential, env)
    host = FakeHost(thief, tmp_path / "cache", "ab" * 16)
    before = host.backup({"a": 1})
    session = host.begin()
    where = host.store(session, {"a": 1, "b": 1})
    writer = writers.find_writer(repository, "ehr-1").id
    writers.revoke(repository, writer)
    with pytest.raises(RevokedError):
        host.commit(session, where)
    late = host.backup({"evil": 1})
    listed = {s.id for s in Repository.open(store, key, env).snapshots()}
    assert before.id in listed
    assert late.id not in listed, "a session begun after the revocation is no snapshot"
    with pytest.raises(NotPermittedError):
        Repository.open(store, credential, env)
    with pytest.raises(NotPermittedError):
        writers.revoke(repository, repository.writer_id)
    with pytest.raises(MissingError):
        writers.revoke(repository, "0" * 32)
    with pytest.raises(MissingError):
        writers.find_writer(repository, "nobody")


def test_an_older_keyring_under_a_newer_name_does_not_count(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    writers.enrol(repository, "ehr-1")
    store.objects["keyring/00000005"] = store.objects["keyring/00000000"]
    opened = Repository.open(store, key, env)
    assert opened.keyring is not None
    assert [w.label for w in opened.keyring.writers] == ["vault", "ehr-1"]
