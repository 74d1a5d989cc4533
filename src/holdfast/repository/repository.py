"""An open vault's repository: its home store, what the credential at hand opens, and the identity it writes as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from holdfast.base.environment import Environment
from holdfast.repository.credentials import Credential, KeyFile, Passphrase
from holdfast.repository.types import SealedPart, SnapshotInfo
from holdfast.stores.protocol import Store


@dataclass(frozen=True, slots=True)
class ClassSecrets:
    """One class generation: what `_core.ClassKeys` is made of (`vault`, `class_id`, `generation`, `dedup_key`, `index_key`)."""

    vault: bytes
    class_id: int
    name: str
    generation: int
    dedup_key: bytes = field(repr=False)
    index_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class RunKey:
    """A fresh run key of one class generation with its pack envelopes (`u16 recipients`, then each)."""

    class_id: int
    generation: int
    key: bytes = field(repr=False)
    envelope: bytes
    """For data and metadata packs: HPKE to the class."""
    state_envelope: bytes
    """For map packs: HPKE to the class, and the run key under the writer's state key."""


class Repository:
    """An open repository. Thread-safe: it holds keys and a store and no other state."""

    store: Store
    env: Environment
    vault_id: bytes
    label: str
    writer_id: str
    is_root: bool
    """Whether the root key is at hand: everything but a writer's credential."""

    @classmethod
    def create(
        cls, store: Store, env: Environment, *, secrets: Sequence[KeyFile | Passphrase], label: str = ""
    ) -> Self:
        """Make a vault: keyring, slots and certificate first, the header last. A crash leaves a whole vault or none.

        `VaultExistsError`; `StoreRefusedError` if the store loses the create-if-absent race: it cannot be a home.
        """
        raise NotImplementedError

    @classmethod
    def open(cls, store: Store, credential: Credential, env: Environment) -> Self:
        """Open a vault. `VaultMissingError`, `WrongKeyError`, `DamageError`, `VersionError`, `NotPermittedError` (revoked)."""
        raise NotImplementedError

    @property
    def classes(self) -> dict[int, str]:
        """Ids and names of the classes known to the credential."""
        raise NotImplementedError

    def class_id(self, name: str) -> int:
        """Return a class's id by its name. `UsageError` if there is none."""
        raise NotImplementedError

    def can_read(self, class_id: int) -> bool:
        """Return whether content of the class can be opened (never with a writer's credential)."""
        raise NotImplementedError

    def secrets(self, class_id: int, generation: int | None = None) -> ClassSecrets:
        """Return a class generation, the one written to by default."""
        raise NotImplementedError

    def all_secrets(self) -> tuple[ClassSecrets, ...]:
        """Return every class generation known."""
        raise NotImplementedError

    def new_run_key(self, class_id: int) -> RunKey:
        """Make a run key for the generation written to."""
        raise NotImplementedError

    def open_envelope(self, class_id: int, generation: int, envelope: bytes) -> bytes:
        """Return the run key in a pack's envelope: the callback of `_core.KeyRing`. `NotPermittedError`, `DamageError`."""
        raise NotImplementedError

    def snapshots(self) -> tuple[SnapshotInfo, ...]:
        """Return the committed snapshots, newest last (by admission, then finish)."""
        raise NotImplementedError

    def part(self, snapshot: SnapshotInfo, class_id: int) -> SealedPart:
        """Open one sealed part. `NotPermittedError`, `DamageError`, `ObjectMissingError`."""
        raise NotImplementedError

    def add_slot(self, secret: KeyFile | Passphrase) -> str:
        """Wrap the root key once more; return the slot's id."""
        raise NotImplementedError
