"""From settings to stores: unknown options, missing credentials and strange URLs are refused before anything is sent."""

from __future__ import annotations

import pytest

from holdfast.base.environment import ManualClock
from holdfast.config import SecretRef, StoreSettings
from holdfast.engine import Limits
from holdfast.errors import CapabilityError, ConfigError, HoldfastError, StoreRefusedError, UsageError
from holdfast.stores.assembly import assemble, locate
from holdfast.stores.layers import BoundedStore, LimitedStore
from holdfast.stores.memory import MemoryStore
from holdfast.stores.protocol import Capability, Readiness
from holdfast.testing.stores import StoreSuite

SECRET = SecretRef("env", "SECRET")


def opened(environ=None, **options):
    return locate("store:a", stores={"a": StoreSettings(**options)}, environ=environ or {})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"url": "s3://b/p", "account": "x", "region": "r"}, "no option account"),
        ({"url": "sftp://h/p", "region": "r"}, "no option region"),
        ({"url": "/srv/vault", "proxy": "http://p"}, "no option proxy"),
        ({"url": "s3://b/p", "region": "r"}, "no credential for an S3 store"),
        ({"url": "s3://b/p", "region": "r", "access_key_id": SECRET}, "both access_key_id and secret_access_key"),
        ({"url": "s3://b/p", "credentials": "none"}, "needs a region"),
        ({"url": "s3://b/p", "credentials": "none", "region": "r", "endpoint": "http://far"}, "without TLS"),
        ({"url": "s3://b/p", "credentials": "none", "region": "r", "ca_file": "/none"}, "ca_file"),
        ({"url": "s3://b/p", "credentials": "none", "region": "r", "ca_file": __file__}, "certificates"),
        ({"url": "s3://b/p", "credentials": "none", "region": "r", "proxy": "::"}, "proxy"),
        ({"url": "azure://c/p"}, "name of its account"),
        ({"url": "azure://c/p", "account": "a"}, "no credential for an Azure store"),
        ({"url": "azure://c/p", "account": "a", "credentials": "file"}, "account_key or sas_token"),
        ({"url": "azure://c/p", "account": "a", "account_key": SECRET}, "not of the form"),
        ({"url": "gs://b/p"}, "no credential for a Google Cloud store"),
        ({"url": "gs://b/p", "credentials": "file"}, "needs service_account"),
        ({"url": "gs://b/p", "service_account": SECRET}, "not of the form"),
        ({"url": "webdavs://h/p", "password": SECRET}, "needs a username"),
        ({"url": "webdav://far/p"}, "without TLS"),
        ({"url": "webdavs://h"}, "must be webdavs"),
        ({"url": "sftp://h"}, "must be sftp"),
        ({"url": "ssh://h/path"}, "must be ssh"),
        ({"url": "sftp://h/p", "known_hosts": "/none"}, "known hosts"),
        ({"url": "sftp://h/p", "known_hosts": __file__, "private_key": SECRET}, "no SSH key"),
        ({"url": "sftp://u:pw@h/p"}, "holds a password"),
        ({"url": "gopher://h/p"}, "no store of kind gopher"),
        ({"url": "store:b"}, "another store"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_sent(options, says):
    with pytest.raises(UsageError, match=says) as caught:
        opened({"SECRET": "not a key at all"}, **options)
    assert "pw" not in str(caught.value).split()
    assert "not a key at all" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 3


def test_a_store_that_the_configuration_lacks():
    with pytest.raises(ConfigError, match="no store far"):
        locate("store:far", stores={})


@pytest.mark.parametrize(
    ("environ", "options"),
    [
        ({"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}, {"url": "s3://b.c/p", "region": "r"}),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/t"}, {"url": "s3://b/p", "region": "r"}),
        ({}, {"url": "s3://b/p", "region": "r", "credentials": "instance"}),
        ({}, {"url": "s3://b/p", "endpoint": "https://h", "path_style": False, "credentials": "none"}),
        ({"AZURE_STORAGE_ACCOUNT_KEY": "a2V5"}, {"url": "azure://c", "account": "a"}),
        ({"S": "?sv=1&sig=x"}, {"url": "azure://c", "account": "a", "sas_token": SecretRef("env", "S")}),
        ({}, {"url": "azure://c", "account": "a", "credentials": "none"}),
        ({}, {"url": "azure://c", "account": "a", "credentials": "instance"}),
        ({}, {"url": "gs://b", "credentials": "none"}),
        ({}, {"url": "gs://b", "credentials": "instance"}),
        ({}, {"url": "webdavs://h/p"}),
    ],
)
def test_a_credential_is_found_where_the_settings_say(environ, options):
    store = opened(environ, **options)
    assert store.url == options["url"]
    assert store.local_root is None
    assert Capability.CREATE_IF_ABSENT in store.capabilities


def test_a_plug_in_is_found_by_its_scheme(monkeypatch):
    class Point:
        name = "tape"

        @staticmethod
        def load():
            return lambda url, settings, environ, limits: MemoryStore(
                f"{url} {settings.url} {len(environ)} {len(limits)}"
            )

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Point] if group == "holdfast.stores" else [])
    found = assemble("tape://robot/1", ManualClock().environment(), limits=[Limits()])
    assert "tape://robot/1 tape://robot/1" in found.url


def test_a_limit_holds_for_stores_without_a_hook_of_their_own():
    clock, limits = ManualClock(), Limits(None, 2_000_000)
    store = LimitedStore(MemoryStore(), clock.environment(), limits)
    store.put("data/00/a", bytes(500_000))
    limits.write_bytes_per_s = None
    assert store.put_new("data/00/b", b"x")
    assert clock.slept
    assert store.get("data/00/a") == bytes(500_000)


class TestBoundedStore(StoreSuite):
    @pytest.fixture
    def store(self):
        store = BoundedStore(MemoryStore(env=ManualClock().environment()), 2)
        store.create()
        return store

    def test_what_is_retained_stays(self, store):
        """By the clock of the test: the suite's own is the machine's."""
        store.put("data/00/a", b"x")
        assert store.retained_until("data/00/a") is None


def test_a_cold_object_is_read_after_a_thaw():
    store = MemoryStore(env=ManualClock().environment(), storage_class="cold")
    store.put("data/00/a", b"x")
    assert store.storage_state("data/00/a").readiness is Readiness.COLD
    with pytest.raises(StoreRefusedError, match="cold"):
        store.get("data/00/a")
    store.thaw("data/00/a", 3)
    assert store.get("data/00/a") == b"x"


def test_an_unclaimed_capability_is_an_error_of_its_own():
    with pytest.raises(CapabilityError) as caught:
        MemoryStore().thaw("data/00/a", 1)
    assert isinstance(caught.value, HoldfastError)
    assert caught.value.code == "store-capability"
