"""One way to open a store on each server of the tests: the same for conformance, faults and whole vaults."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.config import SecretRef, StoreSettings
from holdfast.stores.assembly import locate
from holdfast.stores.protocol import Store
from servers.azurite import azurite
from servers.ceph import ceph
from servers.gcs import fake_gcs
from servers.s3 import S3Server
from servers.sshd import sshd
from servers.versitygw import versitygw
from servers.webdav import wsgidav

KINDS = ("s3", "sftp", "azure", "webdav", "gcs")
Settings = Callable[..., StoreSettings]
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Served:
    """A running server: the settings of a new empty store on it (`port`: that of a proxy before it), and their secrets."""

    port: int
    settings: Settings
    environ: dict[str, str]
    server: Any

    def open(self, settings: StoreSettings) -> Store:
        """Open the bare store of settings."""
        return locate("store:a", stores={"a": settings}, environ=self.environ)


def _ref(name: str) -> SecretRef:
    return SecretRef("env", name)


@contextmanager
def served(kind: str, folder: Path) -> Iterator[Served]:
    """Run the server of a kind of store."""
    with _BY_KIND[kind](folder) as found:
        yield found


@contextmanager
def _s3(folder: Path) -> Iterator[Served]:
    with versitygw(folder) as server:
        yield from _buckets(server)


@contextmanager
def _ceph(folder: Path) -> Iterator[Served]:
    with ceph(folder) as server:
        yield from _buckets(server)


def _buckets(server: S3Server) -> Iterator[Served]:
    server.make_bucket("plain")
    server.make_bucket("locked", lock=True)

    def settings(port: int | None = None, **options: Any) -> StoreSettings:
        bucket = "locked" if "object_lock" in options else "plain"
        given = {
            "url": f"s3://{bucket}/v{next(_numbers)}",
            "endpoint": f"http://127.0.0.1:{port or server.port}",
            "region": server.region,
            "access_key_id": _ref("TEST_S3_KEY"),
            "secret_access_key": _ref("TEST_S3_SECRET"),
        }
        return StoreSettings(**(given | options))

    yield Served(server.port, settings, {"TEST_S3_KEY": server.key, "TEST_S3_SECRET": server.secret}, server)


@contextmanager
def _sftp(folder: Path) -> Iterator[Served]:
    with sshd(folder) as server:

        def settings(port: int | None = None, **options: Any) -> StoreSettings:
            given = {
                "url": server.url(folder / "far" / f"v{next(_numbers)}", port=port),
                "known_hosts": str(server.hosts_at(port) if port else server.known_hosts),
                "private_key": SecretRef("file", str(server.private_key)),
            }
            return StoreSettings(**(given | options))

        yield Served(server.port, settings, {}, server)


@contextmanager
def _azure(folder: Path) -> Iterator[Served]:
    with azurite(folder) as server:
        server.make_container("vaults")

        def settings(port: int | None = None, **options: Any) -> StoreSettings:
            given = {
                "url": f"azure://vaults/v{next(_numbers)}",
                "endpoint": server.endpoint(port),
                "account": server.account,
                "account_key": _ref("TEST_AZURE_KEY"),
            }
            return StoreSettings(**(given | options))

        yield Served(server.port, settings, {"TEST_AZURE_KEY": server.key}, server)


@contextmanager
def _webdav(folder: Path) -> Iterator[Served]:
    with wsgidav(folder) as server:

        def settings(port: int | None = None, **options: Any) -> StoreSettings:
            given = {
                "url": server.url(f"far/v{next(_numbers)}", port),
                "username": _ref("TEST_DAV_USER"),
                "password": _ref("TEST_DAV_PASSWORD"),
            }
            return StoreSettings(**(given | options))

        environ = {"TEST_DAV_USER": server.user, "TEST_DAV_PASSWORD": server.password}
        yield Served(server.port, settings, environ, server)


@contextmanager
def _gcs(folder: Path) -> Iterator[Served]:
    with fake_gcs(folder) as server:
        server.make_bucket("vaults")

        def settings(port: int | None = None, **options: Any) -> StoreSettings:
            given = {"url": f"gs://vaults/v{next(_numbers)}", "endpoint": server.endpoint(port), "credentials": "none"}
            return StoreSettings(**(given | options))

        yield Served(server.port, settings, {}, server)


_BY_KIND = {"s3": _s3, "sftp": _sftp, "azure": _azure, "webdav": _webdav, "gcs": _gcs, "ceph": _ceph}
