"""Two independent S3 servers keep every promise of `stores.protocol`, with and without object lock: the shared suite."""

from __future__ import annotations

import itertools

import pytest

from holdfast.config import SecretRef, StoreSettings
from holdfast.stores.assembly import locate
from holdfast.testing.stores import StoreSuite
from servers.versitygw import versitygw

_numbers = itertools.count()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with versitygw(tmp_path_factory.mktemp("versitygw")) as server:
        server.make_bucket("plain")
        server.make_bucket("locked", lock=True)
        yield server


def open_at(server, url, **options):
    settings = StoreSettings(
        url=url,
        endpoint=server.endpoint,
        region=server.region,
        access_key_id=SecretRef("env", "KEY"),
        secret_access_key=SecretRef("env", "SECRET"),
        **options,
    )
    return locate("store:a", stores={"a": settings}, environ={"KEY": server.key, "SECRET": server.secret})


class TestVersitygw(StoreSuite):
    @pytest.fixture
    def store(self, gateway):
        store = open_at(gateway, f"s3://plain/v{next(_numbers)}")
        store.create()
        self.server = gateway
        return store

    def reopen(self, store):
        return open_at(self.server, store.url)


class TestVersitygwWithObjectLock(StoreSuite):
    @pytest.fixture
    def store(self, gateway):
        store = open_at(gateway, f"s3://locked/v{next(_numbers)}", object_lock="compliance")
        store.create()
        self.server = gateway
        return store

    def reopen(self, store):
        return open_at(self.server, store.url, object_lock="compliance")
