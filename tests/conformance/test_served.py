"""A folder served through an SSH forced command keeps every promise of `stores.protocol`, on a real OpenSSH server."""

from __future__ import annotations

import sys

import pytest

from holdfast.config import SecretRef, StoreSettings
from holdfast.stores.assembly import locate
from holdfast.stores.local import LocalStore
from holdfast.testing.stores import StoreSuite
from servers.sshd import make_key, sshd


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


class TestServed(StoreSuite):
    @pytest.fixture
    def store(self, server, tmp_path):
        (tmp_path / "vault").mkdir()
        key = make_key(tmp_path / "key")
        served = f"{sys.executable} -m holdfast serve --vault {tmp_path / 'vault'}"
        server.authorize(key, f'restrict,command="{served}"')
        self.settings = StoreSettings(
            url=server.url("", "ssh"), known_hosts=str(server.known_hosts), private_key=SecretRef("file", str(key))
        )
        stores = [locate("store:a", stores={"a": self.settings}, environ={}) for _ in range(2)]
        self.other = stores[1]
        stores[0].create()
        yield stores[0]
        for each in stores:
            each.close()

    def test_tells_the_room_of_the_served_folder(self, store, tmp_path):
        room = store.room()
        assert room is not None
        assert room.total_bytes == LocalStore(str(tmp_path)).room().total_bytes

    def reopen(self, store):
        del store
        return self.other
