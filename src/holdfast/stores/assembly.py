"""From a URL to a store ready for use: the one place where the order of layers is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from holdfast.errors import UsageError
from holdfast.stores.layers import CountingStore, RetryingStore, VerifyingStore
from holdfast.stores.local import LocalStore
from holdfast.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from holdfast.base.environment import Environment
    from holdfast.reliability.breaker import BreakerPolicy
    from holdfast.reliability.retry import RetryPolicy
    from holdfast.stores.protocol import Data, Store


def locate(url: str, *, write: Callable[[str, Data], None] | None = None) -> Store:
    """Return the bare store of a URL: a folder, `file:///FOLDER`, or `memory:NAME`. `UsageError` for anything else.

    `write` makes the local store's files (see `LocalStore`).
    """
    if url.startswith("memory:"):
        return MemoryStore.shared(url.removeprefix("memory:"))
    if url.startswith("file:"):
        parts = urlsplit(url)
        path = unquote(parts.path)
        if parts.netloc not in {"", "localhost"} or not path.startswith("/") or parts.query or parts.fragment:
            raise UsageError("a file URL must be file:///FOLDER", next="write the folder's path, or file:///srv/vault")
        return LocalStore(path, write=write)
    if "://" in url:
        scheme = url.partition("://")[0]
        raise UsageError(
            f"no store of kind {scheme} in this version", next="use a folder: local disk, NFS or a mounted medium"
        )
    if not url:
        raise UsageError("no vault given", next="name it with --vault DIR or HOLDFAST_VAULT")
    return LocalStore(str(Path(url).expanduser()), write=write)


def layered(
    store: Store,
    env: Environment,
    policy: RetryPolicy | Mapping[str, RetryPolicy] | None = None,
    *,
    breaker: BreakerPolicy | None = None,
) -> CountingStore:
    """Wrap a store in its layers: count(retry(verify(store))). `policy` goes over the defaults, see `RetryingStore`."""
    return CountingStore(RetryingStore(VerifyingStore(store), env, policy, breaker))
