"""Every kind of store keeps every promise of `stores.protocol` on a real server: the shared suite, the same for all."""

from __future__ import annotations

import pytest

from holdfast.stores.protocol import Capability
from holdfast.testing.stores import StoreSuite
from store_servers import served


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
        self.settings = running.settings(**({"object_lock": self.object_lock} if self.object_lock else {}))
        self.running = running
        self.opened = []
        store = self.reopen(None)
        store.create()
        yield store
        for each in self.opened:
            each.close()

    def reopen(self, store):
        del store
        self.opened.append(self.running.open(self.settings))
        return self.opened[-1]


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
