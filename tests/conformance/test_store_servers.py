"""Every kind of store keeps every promise of `stores.protocol` on a real server: the shared suite, the same for all."""

from __future__ import annotations

import pytest

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


class TestS3(ServedSuite):
    kind = "s3"


class TestS3WithObjectLock(ServedSuite):
    kind = "s3"
    object_lock = "compliance"

    def test_claims_what_it_was_asked_for(self, store):
        assert Capability.RETAIN_UNTIL in store.capabilities


class TestSftp(ServedSuite):
    kind = "sftp"


class TestAzure(ServedSuite):
    kind = "azure"


class TestWebDav(ServedSuite):
    kind = "webdav"


class TestGcs(ServedSuite):
    kind = "gcs"
