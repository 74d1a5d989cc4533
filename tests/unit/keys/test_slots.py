"""Slots: every kind of secret opens; none but its own; a slot planted by a thief of the store opens nothing and fools nobody."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.base.environment import Environment
from holdfast.errors import DamageError, KeyServiceError, NotPermittedError, UsageError, WrongKeyError
from holdfast.repository import slots
from holdfast.repository.bodies import Slot
from holdfast.repository.credentials import KeyFile, Passphrase, Shares
from holdfast.repository.hpke import P384_ORDER, ClassPrivate
from holdfast.repository.keyring import public_of
from holdfast.repository.objects import ZERO_NONCE, hkdf
from holdfast.repository.opening import open_root
from holdfast.repository.repository import Repository
from holdfast.repository.shares import split
from holdfast.repository.wraps import find_wrap, read_wraps
from holdfast.repository.writers import issue, make_recovery_kit
from holdfast.stores.memory import MemoryStore
from holdfast.testing.key_services import MemoryKeyService


def test_every_kind_of_secret_opens(repository: Repository, store: MemoryStore, env: Environment, key: KeyFile) -> None:
    service = MemoryKeyService(env)
    secret, sheets = split(2, 3, env)
    kit = KeyFile.parse(make_recovery_kit(repository, label="safe"))
    for each in (Passphrase("correct horse"), service, secret):
        repository.add_slot(each, label="x")
    for opener in (key, kit, Passphrase("correct horse"), service, Shares(sheets[1:])):
        opened = Repository.open(store, opener, env)
        assert opened.root_key == repository.root_key
        assert opened.is_root
    methods = sorted(w.body.method for w in read_wraps(repository.home))
    assert methods == ["keyfile", "kit", "passphrase", "pkcs11", "shares"]
    assert find_wrap(read_wraps(repository.home), "safe").body.method == "kit"
    for stranger in (KeyFile.new(env), Passphrase("wrong horse"), MemoryKeyService(env), Shares(split(2, 2, env)[1])):
        with pytest.raises(WrongKeyError):
            Repository.open(store, stranger, env)
    with pytest.raises(UsageError, match="new secret"):
        repository.add_slot(Shares(sheets))


def test_a_service_that_is_away_is_no_wrong_key(repository: Repository, store: MemoryStore, env: Environment) -> None:
    service = MemoryKeyService(env)
    repository.add_slot(service)
    service.down = True
    with pytest.raises(KeyServiceError):
        Repository.open(store, service, env)


def test_the_older_symmetric_slot_still_opens(repository: Repository, store: MemoryStore, env: Environment) -> None:
    old = KeyFile.new(env)
    salt = env.random_bytes(32)
    aad = b"holdfast/1 slot" + repository.vault_id
    wrapped = AESGCM(hkdf(old.secret, salt, b"holdfast/1 slot")).encrypt(ZERO_NONCE, repository.root_key, aad)
    repository.store_slot(env.random_id(), Slot("keyfile", salt, wrapped))
    assert Repository.open(store, old, env).root_key == repository.root_key


def test_a_planted_slot_leads_to_no_other_root(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    """A thief of the store knows the public half of a slot's pair, and can seal a root key of his own to it. Nobody follows it."""
    (wrap,) = read_wraps(repository.home)
    theirs = Repository.create(MemoryStore(), env, secrets=[KeyFile.new(env)])
    planted = slots.seal(wrap.body.shape[0], wrap.body.public, theirs.root_key, 0, repository.vault_id)
    for name in [name for name in store.objects if name.startswith(("key/", "twin/key/"))]:
        store.delete(name)
    repository.store_slot(env.random_id(), planted)
    with pytest.raises(DamageError):
        Repository.open(store, key, env)
    # Neither is a header with another root believed: the slot says which root it is bound to.
    bound = slots.unwrap(planted, key, repository.vault_id)
    assert bound is not None
    assert bound.root_public == public_of(repository.require_keyring().root_signing)
    forged = replace(planted, wrapped=planted.wrapped[:-1] + bytes([planted.wrapped[-1] ^ 1]))
    with pytest.raises(DamageError, match="does not open"):
        slots.unwrap(forged, key, repository.vault_id)


def test_a_header_exchanged_for_another_root_is_refused(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile
) -> None:
    (wrap,) = read_wraps(repository.home)
    other = env.random_bytes(32)
    foreign = AESGCM(slots._bound_key(hkdf(key.secret, wrap.body.shape[0].salt, slots.LABEL), wrap.body.shape[0].salt))
    moved = replace(
        wrap.body.shape[0],
        bound=foreign.encrypt(ZERO_NONCE, public_of(other), slots.LABEL + repository.vault_id),
    )
    repository.home.remove(next(name for name in store.objects if name.startswith("key/")))
    sealed = slots.seal(moved, wrap.body.public, repository.root_key, 0, repository.vault_id)
    repository.store_slot(env.random_id(), sealed)
    assert open_root(repository.home, key)[0].root_public == public_of(other)
    with pytest.raises(DamageError, match="exchanged"):
        Repository.open(store, key, env)


def test_only_root_adds_keys(repository: Repository, store: MemoryStore, env: Environment) -> None:
    credential = issue(repository, "writer", "ward7")
    opened = Repository.open(store, credential, env)
    with pytest.raises(NotPermittedError):
        opened.add_slot(KeyFile.new(env))
    with pytest.raises(NotPermittedError):
        _ = opened.root_key


def test_a_pair_follows_from_its_secret() -> None:
    assert P384_ORDER.bit_length() == 384
    for number in range(8):
        secret = bytes([number]) * 32
        first, second = ClassPrivate.derive(secret), ClassPrivate.derive(secret)
        assert first.public() == second.public()
        assert second.open(first.public().seal(b"k" * 32, b"i"), b"i") == b"k" * 32
