"""A store whose packs of content lie cold: a service's archive class, as a layer before a copy of the vault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import StoreRefusedError
from holdfast.stores.layers import Wrapper
from holdfast.stores.protocol import Capability, Readiness, StorageState

if TYPE_CHECKING:
    from holdfast.base.environment import Environment
    from holdfast.stores.protocol import Store

__all__ = ["THAW_SECONDS", "ColdStore"]

THAW_SECONDS = 2.0
"""Hours, with a real service."""


class ColdStore(Wrapper):
    """Packs of content can be read some time after they were asked for; metadata stays hot, as policies have it."""

    def __init__(self, inner: Store, env: Environment) -> None:
        """Stand before a store."""
        super().__init__(inner)
        self._env = env
        self._ready_at: dict[str, float] = {}

    @property
    def local_root(self) -> None:
        """None: nothing is read past this layer."""
        return

    @property
    def capabilities(self) -> frozenset[Capability]:
        """The store's, and storage classes."""
        return self.inner.capabilities | {Capability.STORAGE_CLASS}

    def get(self, name: str) -> bytes:
        """Return an object that can be read."""
        self._refuse_cold(name)
        return self.inner.get(name)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Return a part of an object that can be read."""
        self._refuse_cold(name)
        return self.inner.get_range(name, offset, length)

    def storage_state(self, name: str) -> StorageState:
        """Return whether an object can be read."""
        if not name.startswith("data/"):
            return StorageState("standard", Readiness.READY)
        at = self._ready_at.get(name)
        if at is None:
            return StorageState("archive", Readiness.COLD)
        return StorageState("archive", Readiness.READY if self._env.monotonic() >= at else Readiness.THAWING)

    def thaw(self, name: str, days: int) -> None:
        """Begin to make an object readable."""
        if days > 0 and name.startswith("data/"):
            self._ready_at.setdefault(name, self._env.monotonic() + THAW_SECONDS)

    def _refuse_cold(self, name: str) -> None:
        if self.storage_state(name).readiness is not Readiness.READY:
            raise StoreRefusedError("an object is kept cold", next="thaw it first: `holdfast restore … --thaw`.")
