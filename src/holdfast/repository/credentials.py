"""What opens a vault: a key file, a passphrase, shares, a key service, or the credential of a role; and the files that hold them.

A file with a secret is made with mode 0600, durably and never over another file, and is refused when group or others
may read it.
"""

from __future__ import annotations

import base64
import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from holdfast.base.environment import Environment
from holdfast.errors import DamageError, LimitError, NotPermittedError, VaultExistsError, WrongKeyError
from holdfast.repository.objects import b64, canonical, parse_canonical

KEY_FILE_HEAD = "HOLDFAST-KEY-1"
CREDENTIAL_FORMAT = "holdfast-credential-1"
SECRET_BYTES = 32
FILE_BYTES_MAX = 1 << 20


def read_secret_file(path: Path) -> bytes:
    """Return a secret file's bytes. `NotPermittedError` if others may read it, `WrongKeyError` if it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            os.close(fd)
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    except OSError as error:
        raise WrongKeyError(
            f"the key cannot be read: {os.strerror(error.errno or 0)}",
            next="check the name of the key file and its owner.",
        ) from None
    with os.fdopen(fd, "rb") as file:
        if stat.S_IMODE(os.fstat(fd).st_mode) & 0o077:
            raise NotPermittedError(
                "the key file may be read by other users than its owner",
                next="give it mode 0600 (`chmod 600 FILE`), and consider the key known if others had access.",
            )
        data = file.read(FILE_BYTES_MAX + 1)
    if len(data) > FILE_BYTES_MAX:
        raise LimitError("the key file is larger than any key", limit=FILE_BYTES_MAX)
    return data


def write_secret_file(path: Path, data: bytes) -> None:
    """Write a new file of mode 0600, durably. `VaultExistsError` if there is a file."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise VaultExistsError(
            "there is a key file already", safe="it was not touched.", next="choose another name, or use it."
        ) from None
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The secret of a key file (or of a recovery kit, which is a key file with instructions after it)."""

    secret: bytes = field(repr=False)

    @classmethod
    def new(cls, env: Environment) -> Self:
        """Make a new secret."""
        return cls(env.random_bytes(SECRET_BYTES))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a key file's bytes: two lines count. `WrongKeyError` if it is none."""
        lines = data.split(b"\n", 2)
        try:
            if lines[0].strip().decode() == KEY_FILE_HEAD:
                secret = base64.b64decode(lines[1].strip(), validate=True)
                if len(secret) == SECRET_BYTES:
                    return cls(secret)
        except (IndexError, ValueError):
            pass
        raise WrongKeyError(
            "the file is not a Holdfast key file", next=f"give the key file itself; its first line is {KEY_FILE_HEAD}."
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a key file. `NotPermittedError` if group or others may read it, `WrongKeyError` if it is none."""
        return cls.parse(read_secret_file(path))

    def encode(self, instructions: str = "") -> bytes:
        """Return the key file's bytes; with instructions it is a recovery kit."""
        return f"{KEY_FILE_HEAD}\n{b64(self.secret)}\n{instructions}".encode()

    def write(self, path: Path) -> None:
        """Write the key file, mode 0600, durably; never over an existing file (`VaultExistsError`)."""
        write_secret_file(path, self.encode())


@dataclass(frozen=True, slots=True)
class Passphrase:
    """A passphrase."""

    text: str = field(repr=False)


class KeyService(Protocol):
    """A key that never leaves its place (a PKCS#11 token, a transit engine), which seals and opens a secret of 32 bytes."""

    @property
    def method(self) -> str:
        """The slot method: `pkcs11` or `transit`."""
        ...

    def seal(self, secret: bytes, context: bytes) -> tuple[bytes, str]:
        """Return the sealed secret and the mechanism that sealed it. `KeyServiceError`."""
        ...

    def open(self, sealed: bytes, mechanism: str, context: bytes) -> bytes | None:
        """Return the secret; None if another key sealed it. `KeyServiceError`."""
        ...


@dataclass(frozen=True, slots=True)
class Shares:
    """The sheets of some of the holders of a key's shares, as text."""

    texts: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class RoleCredential:
    """What lets its holder do what a role does: a writer adds to a vault and reads nothing of it."""

    vault: str
    id: str
    role: str
    body: dict[str, object] = field(repr=False)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a credential's bytes. `WrongKeyError` if it is none."""
        try:
            body = parse_canonical(data.strip(), "the credential")
        except DamageError:
            body = {}
        vault, writer = body.get("vault"), body.get("id")
        if body.get("format") != CREDENTIAL_FORMAT or not isinstance(vault, str) or not isinstance(writer, str):
            raise WrongKeyError("the file is not a credential")
        return cls(vault, writer, str(body.get("role")), body)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a credential file. `NotPermittedError` if group or others may read it."""
        return cls.parse(read_secret_file(path))

    def encode(self) -> bytes:
        """Return the credential file's bytes (canonical JSON)."""
        return canonical(self.body)

    def write(self, path: Path) -> None:
        """Write the credential, mode 0600, durably; never over an existing file."""
        write_secret_file(path, self.encode())


Secret = KeyFile | Passphrase | Shares | KeyService
"""What opens a key slot, and with it everything."""
Credential = Secret | RoleCredential


def recovery_kit(secret: KeyFile, *, vault: str, label: str, stores: Sequence[str], made: str) -> bytes:
    """Return a recovery kit: a key file that says, to a person, what it opens and how."""
    lines = [
        "",
        "RECOVERY KIT of a Holdfast vault. Whoever holds this paper or file can read every backup in it.",
        "Keep it where a fire, a thief and an intruder in the network do not find it together with the backups.",
        "",
        f"vault:   {vault}" + (f"  ({label})" if label else ""),
        f"made:    {made}",
        *(f"store:   {url}" for url in stores),
        "",
        "To restore: save this text, from its first line, as a file readable by its owner only (chmod 600), then",
        "",
        "    holdfast snapshots --vault STORE --key-file THIS-FILE",
        "    holdfast restore latest --vault STORE --key-file THIS-FILE --to EMPTY-FOLDER",
        "",
        "Without Holdfast: rescue/ in the vault's medium or in Holdfast's source holds a reader that needs only Python.",
        "",
    ]
    return secret.encode("\n".join(lines))
