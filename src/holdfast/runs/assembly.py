"""The only place that constructs: stores, repositories, indexes, readers. Everything else is handed what it uses."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.base import environment
from holdfast.errors import LocalStateError, NotPermittedError, UsageError
from holdfast.repository.credentials import KeyFile, Passphrase, WriterCredential
from holdfast.repository.indexes import Indexes, IndexView
from holdfast.repository.repository import Repository
from holdfast.runs.options import Limits, PathLike
from holdfast.stores.assembly import layered, locate

if TYPE_CHECKING:
    from holdfast.base.environment import Environment
    from holdfast.repository.credentials import Credential
    from holdfast.repository.types import SnapshotInfo
    from holdfast.stores.layers import CountingStore
    from holdfast.stores.protocol import Store

STATE_VARIABLE = "HOLDFAST_STATE"


class OpenVault:
    """What a run works with: an open repository, this host's state folder, and readers over them.

    The index is read once and kept until :meth:`refresh`; a backup's session reads its own.
    """

    def __init__(self, store: CountingStore, repository: Repository, env: Environment, limits: engine.Limits) -> None:
        """Use :func:`open_vault` or :func:`create_vault`."""
        self.store = store
        self.repository = repository
        self.env = env
        self.limits = limits
        self.state_dir = state_root() / repository.vault_id.hex()
        self.indexes = Indexes(repository, self.folder("index"))
        self._view: IndexView | None = None
        self._keyring: engine.KeyRing | None = None
        self._lock = threading.RLock()

    @property
    def vault_id(self) -> str:
        """The vault's id, 32 hex digits."""
        return self.repository.vault_id.hex()

    def folder(self, name: str) -> Path:
        """Return a folder of the local state, made if need be. `LocalStateError` if it cannot be."""
        path = self.state_dir / name
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise LocalStateError(
                f"the state directory cannot be used ({os.strerror(error.errno or 0)})",
                next=f"make it writable, or set {STATE_VARIABLE} to a folder that is",
            ) from None
        return path

    def view(self) -> IndexView:
        """Return the index, reading it at the first call."""
        with self._lock:
            if self._view is None:
                self._view = self.indexes.read()
            return self._view

    def refresh(self) -> IndexView:
        """Read the index again: what other runs stored or pruned meanwhile counts from now on."""
        with self._lock:
            self._view = None
            return self.view()

    def keyring(self) -> engine.KeyRing:
        """Return the content keys of all readable classes, as the engine takes them."""
        with self._lock:
            if self._keyring is None:
                keys = [class_keys(self.repository, secrets.class_id, secrets.generation) for secrets in self._readable()]
                self._keyring = engine.KeyRing(keys, self.repository.open_envelope)
            return self._keyring

    def _readable(self) -> list[object]:
        return [secrets for secrets in self.repository.all_secrets() if self.repository.can_read(secrets.class_id)]

    def source(self) -> engine.PackSource:
        """Return where the engine reads packs: files if the store has any, else through the store."""
        root = self.store.local_root
        if root is not None:
            return engine.PackSource.local(root)
        return engine.PackSource.callback(self.store.get_range)

    def reader(self) -> engine.Reader:
        """Return a reader over the index as it is now held. `NotPermittedError` with a writer's credential."""
        if not self._readable():
            raise NotPermittedError(
                "this credential can add to the vault and read nothing back",
                next="open the vault with its key file, passphrase or recovery kit",
            )
        return engine.Reader(self.view().index, self.keyring(), self.source())

    def close(self) -> None:
        """Let go of keys, index and store."""
        with self._lock:
            self._view = None
            self._keyring = None
        self.store.close()
