"""From a URL to a store ready for use: the one place where the order of layers is written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from holdfast.errors import ConfigError, UsageError
from holdfast.stores.layers import CountingStore, RetryingStore, RetryPolicy, VerifyingStore
from holdfast.stores.local import LocalStore
from holdfast.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from holdfast.base.environment import Environment
    from holdfast.config import StoreSettings
    from holdfast.stores.protocol import Data, Store

STORE = "store:"
"""How a URL refers to a table `[stores.NAME]` of the configuration."""


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
    stores: Mapping[str, StoreSettings] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Store:
    """Return the bare store of a URL or of `store:NAME`, by the tables of `stores`. `UsageError` for anything else.

    `write` makes the local store's files (see `LocalStore`); `environ` is where secrets and credentials are looked up.
    """
    settings = settings_of(url, stores)
    if settings is not None:
        url = settings.url
    if url.startswith("memory:"):
        return MemoryStore.shared(url.removeprefix("memory:"))
    if url.startswith("file:"):
        parts = urlsplit(url)
        path = unquote(parts.path)
        if parts.netloc not in {"", "localhost"} or not path.startswith("/") or parts.query or parts.fragment:
            raise UsageError("a file URL must be file:///FOLDER", next="write the folder's path, or file:///srv/vault")
        return LocalStore(path, write=write)
    if "://" in url:
        return _remote(url, settings, os.environ if environ is None else environ)
    if not url:
        raise UsageError("no vault given", next="name it with --vault DIR or HOLDFAST_VAULT")
    return LocalStore(str(Path(url).expanduser()), write=write)


def _remote(url: str, settings: StoreSettings | None, environ: Mapping[str, str]) -> Store:
    """Return a store behind a network."""
    del settings, environ
    scheme = url.partition("://")[0]
    raise UsageError(
        f"no store of kind {scheme} in this version", next="use a folder: local disk, NFS or a mounted medium"
    )


def layered(store: Store, env: Environment, policy: RetryPolicy | None = None) -> CountingStore:
    """Wrap a store in its layers: count(retry(verify(store)))."""
    return CountingStore(RetryingStore(VerifyingStore(store), env, policy or RetryPolicy()))
