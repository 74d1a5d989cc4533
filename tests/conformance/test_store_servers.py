"""Every kind of store keeps every promise of `stores.protocol` on a real server: the shared suite, the same for all."""

from __future__ import annotations

import shutil
from datetime import timedelta

import pytest

from holdfast.base import environment
from holdfast.errors import StoreRefusedError, StoreRetainedError
from holdfast.repository.repository import probe_home
from holdfast.stores.protocol import Capability
from holdfast.testing.stores import StoreSuite
from servers.stores import served


class ServedSuite(StoreSuite):
    """The suite on a server of one kind."""

    kind: str
    object_lock = ""

    @pytest.fixture(scope="class")
    @classmethod
    def running(cls, tmp_path_factory):
        with served(cls.kind, tmp_path_factory.mktemp(cls.kind)) as found:
            yield found

    @pytest.fixture
    def store(self, running):
        settings = running.settings(**({"object_lock": self.object_lock} if self.object_lock else {}))
        stores = [running.open(settings) for _ in range(2)]
        self.other = stores[1]
        stores[0].create()
        yield stores[0]
        for each in stores:
            each.close()

    def reopen(self, store):
        del store
        return self.other


def assert_of_this_disk(room):
    here = shutil.disk_usage("/")
    assert room is not None
    assert room.total_bytes > 0
    assert abs(room.free_bytes - here.free) < here.total / 4


class TestS3(ServedSuite):
    kind = "s3"

    def test_tells_of_no_room(self, store):
        assert store.room() is None


class TestS3WithObjectLock(ServedSuite):
    kind = "s3"
    object_lock = "compliance"

    def test_claims_what_it_was_asked_for(self, store):
        assert Capability.RETAIN_UNTIL in store.capabilities


class TestCeph(ServedSuite):
    kind = "ceph"

    def test_a_bucket_with_versions_is_no_home(self, running):
        """Ceph 16 lets two creations win there: the probe sees it, and no vault is made. Packs can be kept all the same."""
        store = running.open(running.settings(object_lock="compliance"))
        with pytest.raises(StoreRefusedError, match="cannot be a vault's home"):
            probe_home(store, environment.system())
        now = environment.system().now()
        store.put("data/00/a", b"x")
        store.retain_until("data/00/a", now + timedelta(days=1))
        with pytest.raises(StoreRetainedError):
            store.delete("data/00/a")
        assert store.get("data/00/a") == b"x"


class TestSftp(ServedSuite):
    kind = "sftp"

    def test_tells_the_room_of_its_disk(self, store):
        assert_of_this_disk(store.room())


class TestAzure(ServedSuite):
    kind = "azure"


class TestWebDav(ServedSuite):
    kind = "webdav"

    def test_tells_its_quota(self, store):
        """The server of tests tells its disk's room as the quota, as Nextcloud and Apache do theirs."""
        assert_of_this_disk(store.room())


class TestGcs(ServedSuite):
    kind = "gcs"
