"""Every store keeps the promises of `stores.protocol`: the shared suite, on each store and through the layers."""

from __future__ import annotations

import pytest

from holdfast.base.environment import ManualClock
from holdfast.stores.assembly import layered
from holdfast.stores.local import LocalStore
from holdfast.stores.memory import MemoryStore
from holdfast.testing.stores import StoreSuite


class TestMemoryStore(StoreSuite):
    @pytest.fixture
    def store(self):
        store = MemoryStore("suite")
        store.create()
        return store


class TestLocalStore(StoreSuite):
    @pytest.fixture
    def store(self, tmp_path):
        store = LocalStore(str(tmp_path / "vault"))
        store.create()
        return store

    def reopen(self, store):
        return LocalStore(store.url)


class TestLayeredStore(StoreSuite):
    @pytest.fixture
    def store(self, tmp_path):
        store = layered(LocalStore(str(tmp_path / "vault")), ManualClock().environment())
        store.create()
        return store
