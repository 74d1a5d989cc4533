"""Every kind of store answers the same faults in the same way, on a real server behind a proxy that misbehaves."""

from __future__ import annotations

import pytest

from holdfast.base import environment
from holdfast.reliability.breaker import BreakerPolicy
from holdfast.reliability.retry import RetryPolicy
from holdfast.stores.assembly import layered
from holdfast.testing.proxy import fault_proxy
from holdfast.testing.store_faults import ATTEMPTS, HttpStoreFaultSuite, StoreFaultSuite
from servers.stores import served

PATIENT = BreakerPolicy(failures=1000)
"""The store's own answers are what is looked at here; its breaker has tests of its own."""
QUICK = RetryPolicy(attempts=ATTEMPTS, first_seconds=0.01, longest_seconds=0.05)


class ServedFaults:
    """What the suite needs, on a server of one kind."""

    kind: str

    @pytest.fixture(scope="class")
    @classmethod
    def running(cls, tmp_path_factory):
        with served(cls.kind, tmp_path_factory.mktemp(cls.kind)) as found:
            yield found

    @pytest.fixture
    def proxy(self, running):
        with fault_proxy(running.port) as found:
            yield found

    @pytest.fixture
    def direct(self, running):
        self.settings = running.settings()
        store = running.open(self.settings)
        store.create()
        yield store
        store.close()

    @pytest.fixture
    def store(self, running, direct, proxy):
        place = self.settings.url if "@" not in self.settings.url and "127" not in self.settings.url else None
        place = place or self.settings.url.replace(f":{running.port}/", f":{proxy.port}/")
        settings = running.settings(proxy.port, url=place, timeout_seconds=1, connect_timeout_seconds=3)
        store = layered(running.open(settings), environment.system(), QUICK, breaker=PATIENT)
        yield store
        store.close()


class TestS3(ServedFaults, HttpStoreFaultSuite):
    kind = "s3"


class TestSftp(ServedFaults, StoreFaultSuite):
    kind = "sftp"


class TestAzure(ServedFaults, HttpStoreFaultSuite):
    kind = "azure"


class TestWebDav(ServedFaults, HttpStoreFaultSuite):
    kind = "webdav"


class TestGcs(ServedFaults, HttpStoreFaultSuite):
    kind = "gcs"
