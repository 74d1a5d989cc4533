"""A folder of an OpenSSH server keeps every promise of `stores.protocol`: the shared suite."""

from __future__ import annotations

import pytest

from holdfast.config import SecretRef, StoreSettings
from holdfast.stores.assembly import locate
from holdfast.testing.stores import StoreSuite
from servers.sshd import sshd


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


def open_at(server, url, **options):
    settings = StoreSettings(
        url=url,
        known_hosts=options.pop("known_hosts", str(server.known_hosts)),
        private_key=SecretRef("file", str(server.private_key)),
        **options,
    )
    return locate("store:a", stores={"a": settings}, environ={})


class TestOpenSsh(StoreSuite):
    @pytest.fixture
    def store(self, server, tmp_path):
        self.server = server
        self.opened = []
        store = self.remember(open_at(server, server.url(tmp_path / "a" / "vault")))
        store.create()
        yield store
        for each in self.opened:
            each.close()

    def remember(self, store):
        self.opened.append(store)
        return store

    def reopen(self, store):
        return self.remember(open_at(self.server, store.url))
