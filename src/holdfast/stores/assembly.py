"""From a URL to a store ready for use: the one place where kinds of stores and the order of layers are written."""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from holdfast.errors import ConfigError, UsageError
from holdfast.reliability.retry import POLICIES
from holdfast.stores.layers import (
    BoundedStore,
    CountingStore,
    LimitedStore,
    RetryingStore,
    VerifyingStore,
)
from holdfast.stores.local import LocalStore
from holdfast.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from holdfast.base.environment import Environment
    from holdfast.config import StoreSettings
    from holdfast.engine import Limits
    from holdfast.reliability.breaker import BreakerPolicy
    from holdfast.reliability.retry import RetryPolicy
    from holdfast.stores.protocol import Data, Store

__all__ = ["PLUGINS", "assemble", "layered", "locate", "settings_of"]

STORE = "store:"
"""How a URL refers to a table `[stores.NAME]` of the configuration."""
PLUGINS = "holdfast.stores"
"""The entry point group of other stores. Each is named by its scheme and called as `open(url, settings, environ, limits)`."""

_ALWAYS = frozenset({"url", "attempts", "capacity_bytes", "concurrency", "read_bytes_per_s", "write_bytes_per_s"})
_NET = _ALWAYS | {"connect_timeout_seconds", "timeout_seconds"}
_HTTP = _NET | {"ca_file", "proxy", "unsafe_plain_http", "credentials"}
_OBJECTS = _HTTP | {"endpoint", "storage_class"}
_KINDS: dict[str, tuple[str, frozenset[str]]] = {
    "s3": (
        "s3",
        _OBJECTS | {"region", "path_style", "access_key_id", "secret_access_key", "session_token", "object_lock"},
    ),
    "azure": ("azure", _OBJECTS | {"account", "account_key", "sas_token", "object_lock"}),
    "gs": ("gcs", _OBJECTS | {"service_account"}),
    "webdav": ("webdav", _HTTP | {"username", "password"}),
    "webdavs": ("webdav", _HTTP | {"username", "password"}),
    "sftp": ("sftp", _NET | {"known_hosts", "private_key", "password"}),
    "ssh": ("served", _NET | {"known_hosts", "private_key", "password"}),
}
"""Per scheme: the module that opens such a store, and the options that it has."""


def settings_of(url: str, stores: Mapping[str, StoreSettings] | None) -> StoreSettings | None:
    """Return the settings that `store:NAME` refers to; None for a URL of its own. `ConfigError` if there are none."""
    if not url.startswith(STORE):
        return None
    name = url.removeprefix(STORE)
    found = (stores or {}).get(name)
    if found is None:
        known = ", ".join(sorted(stores or {})) or "none"
        raise ConfigError(
            f"the configuration has no store {name}", next=f"add a table [stores.{name}]; its stores are: {known}."
        )
    if found.url.startswith(STORE):
        raise ConfigError(f"the store {name} refers to another store", next=f"give stores.{name}.url the place itself.")
    return found


def locate(
    url: str,
    *,
    write: Callable[[str, Data], None] | None = None,
    pass_read: Callable[[int], None] | None = None,
    stores: Mapping[str, StoreSettings] | None = None,
    environ: Mapping[str, str] | None = None,
    limits: Iterable[Limits] = (),
) -> Store:
    """Return the bare store of a URL or of `store:NAME`, by the tables of `stores`. `UsageError` for anything else.

    `write` makes the local store's files, and `pass_read` holds back reading them (see `LocalStore`); `environ` is where
    secrets and credentials are looked up; `limits` hold for what goes over a network.
    """
    settings = settings_of(url, stores)
    if settings is not None:
        url = settings.url
    scheme = urlsplit(url).scheme if ":" in url else ""
    if scheme == "memory":
        return MemoryStore.shared(url.removeprefix("memory:"))
    if "://" in url and scheme != "file":
        return _remote(scheme, url, settings, os.environ if environ is None else environ, limits)
    if not url:
        raise UsageError("no vault given", next="name it with --vault DIR or HOLDFAST_VAULT")
    if settings is not None:
        _check_options("file", settings, _ALWAYS)
    return LocalStore(_folder(url), write=write, pass_read=pass_read)


def _folder(url: str) -> str:
    if not url.startswith("file:"):
        return str(Path(url).expanduser())
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc not in {"", "localhost"} or not path.startswith("/") or parts.query or parts.fragment:
        raise UsageError("a file URL must be file:///FOLDER", next="write the folder's path, or file:///srv/vault")
    return path


def _remote(
    scheme: str, url: str, settings: StoreSettings | None, environ: Mapping[str, str], limits: Iterable[Limits]
) -> Store:
    """Return a store behind a network, or a plug-in's."""
    if urlsplit(url).password is not None:
        raise UsageError(
            "the URL of a store holds a password",
            next="put it into a file, and refer to that file in a table [stores.NAME] of the configuration",
        )
    if settings is None:
        from holdfast.config import StoreSettings

        settings = StoreSettings(url=url)
    kind = _KINDS.get(scheme)
    if kind is None:
        made: Store = _plugin(scheme)(url, settings, environ, limits)
        return made
    module, options = kind
    _check_options(scheme, settings, options)
    opener: Callable[..., Store] = importlib.import_module(f"holdfast.stores.{module}").open_store
    return opener(url, settings, environ, limits)


def _check_options(scheme: str, settings: StoreSettings, options: frozenset[str]) -> None:
    """Refuse what this kind of store does not have: an option that does nothing would be trusted."""
    strange = sorted(settings.model_fields_set - options)
    if strange:
        raise ConfigError(
            f"a {scheme} store has no option {', '.join(strange)}",
            next=f"its options are: {', '.join(sorted(options))}.",
        )


def _plugin(scheme: str) -> Callable[..., Any]:
    from importlib.metadata import entry_points

    found = {point.name: point for point in entry_points(group=PLUGINS)}
    if scheme not in found:
        known = ", ".join(sorted({"file", *_KINDS, *found}))
        raise UsageError(f"no store of kind {scheme or 'of that form'} in this version", next=f"there are: {known}.")
    opener: Callable[..., Any] = found[scheme].load()
    return opener


def layered(
    store: Store,
    env: Environment,
    policy: RetryPolicy | Mapping[str, RetryPolicy] | None = None,
    *,
    breaker: BreakerPolicy | None = None,
    concurrency: int | None = None,
    limits: Limits | None = None,
) -> CountingStore:
    """Wrap a store in its layers: count(retry(bound(verify(limit(store))))). `policy` goes over the defaults.

    Retry is outside verify, so that a put that came back wrong is tried again; a pause of retry holds no place of bound;
    counting is outside retry, so that bytes are counted once. Limit is for stores that have no rate hook of their own.
    """
    inner: Store = store if limits is None else LimitedStore(store, env, limits)
    inner = VerifyingStore(inner)
    if concurrency is not None:
        inner = BoundedStore(inner, concurrency)
    return CountingStore(RetryingStore(inner, env, policy, breaker))


def assemble(
    url: str,
    env: Environment,
    *,
    write: Callable[[str, Data], None] | None = None,
    pass_read: Callable[[int], None] | None = None,
    stores: Mapping[str, StoreSettings] | None = None,
    limits: Iterable[Limits] = (),
    policies: Mapping[str, RetryPolicy] | None = None,
    breaker: BreakerPolicy | None = None,
) -> CountingStore:
    """Return the store of a URL or of `store:NAME` in its layers, as its settings say."""
    settings = settings_of(url, stores)
    limits = tuple(limits)
    store = locate(url, write=write, pass_read=pass_read, stores=stores, limits=limits)
    if settings is None:
        return layered(store, env, policies, breaker=breaker)
    usual = {**POLICIES, **(policies or {})}
    if "attempts" in settings.model_fields_set:
        usual["store-unreachable"] = replace(usual["store-unreachable"], attempts=settings.attempts)
    return layered(store, env, usual, breaker=breaker, concurrency=settings.concurrency)
