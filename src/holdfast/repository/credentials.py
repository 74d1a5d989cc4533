"""What opens a vault: a key file, a passphrase, or a writer's credential."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from holdfast.base.environment import Environment


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The secret of a key file (or of a recovery kit, which is a key file with instructions after it)."""

    secret: bytes = field(repr=False)

    @classmethod
    def new(cls, env: Environment) -> Self:
        """Make a new secret."""
        raise NotImplementedError

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a key file. `NotPermittedError` if group or others may read it, `WrongKeyError` if it is none."""
        raise NotImplementedError

    def write(self, path: Path) -> None:
        """Write the key file, mode 0600, durably; never over an existing file (`UsageError`)."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Passphrase:
    """A passphrase."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class WriterCredential:
    """What lets a host add to a vault and read nothing of it."""

    vault: str
    writer: str
    body: dict[str, object] = field(repr=False)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a credential's bytes. `WrongKeyError` if it is none."""
        raise NotImplementedError

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a credential file. `NotPermittedError` if group or others may read it."""
        raise NotImplementedError

    def encode(self) -> bytes:
        """Return the credential file's bytes (canonical JSON)."""
        raise NotImplementedError

    def write(self, path: Path) -> None:
        """Write the credential, mode 0600, durably; never over an existing file."""
        raise NotImplementedError


Credential = KeyFile | Passphrase | WriterCredential
