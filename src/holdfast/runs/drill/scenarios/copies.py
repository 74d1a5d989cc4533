"""A copy of a vault that may be broken: all its objects in a folder, with a key slot of its own that the vault does not have."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import DrillError
from holdfast.repository import slots
from holdfast.repository.credentials import KeyFile
from holdfast.repository.keyring import public_of
from holdfast.stores.local import LocalStore

if TYPE_CHECKING:
    from holdfast.runs.assembly import OpenVault

__all__ = ["VaultCopy", "copied", "flip_bytes", "packs_of_content", "store_bytes"]

COPY_BYTES_MAX = 1 << 42


@dataclass(frozen=True, slots=True)
class VaultCopy:
    """A copy's folder, and a key file that opens it and nothing else."""

    url: str
    key_file: str
    slot: str
    """The name of its slot's object."""

    def names(self, prefix: str) -> list[str]:
        """Return the names of objects, sorted."""
        return [info.name for info in LocalStore(self.url).list(prefix)]

    def path(self, name: str) -> str:
        """Return an object's file, writable."""
        path = os.path.join(self.url, name)
        os.chmod(path, 0o600)
        return path

    def remove(self, names: Sequence[str]) -> int:
        """Remove objects; return how many."""
        for name in names:
            os.unlink(self.path(name))
        return len(names)


def store_bytes(vault: OpenVault) -> int:
    """Return how much a copy holds. `DrillError` if that is more than a copy for a scenario may be."""
    found = sum(info.size for info in vault.store.list(""))
    if found > COPY_BYTES_MAX:
        raise DrillError("the vault is too large to be copied for a scenario", next="play it on a vault of samples.")
    return found


def copied(vault: OpenVault, folder: str, name: str = "vault-copy") -> VaultCopy:
    """Copy a vault's objects below a folder and give the copy a key of its own."""
    target = os.path.join(folder, name)
    store = LocalStore(target)
    store.create()
    for info in vault.store.list(""):
        place = os.path.join(target, info.name)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        root = vault.store.local_root
        if root is not None:
            shutil.copyfile(os.path.join(root, info.name), place)
        else:
            Path(place).write_bytes(vault.store.get(info.name))
    secret = KeyFile.new(vault.env)
    key_file = Path(folder) / f"{name}.key"
    secret.write(key_file)
    slot = f"key/{vault.env.random_id()}"
    repository = vault.repository
    keyring = repository.require_keyring()
    empty, public = slots.make(secret, public_of(keyring.root_signing), repository.vault_id, vault.env)
    made = slots.seal(empty, public, repository.root_key, keyring.epoch, repository.vault_id)
    store.put(slot, repository.home.encode(slot, made, None))
    return VaultCopy(target, str(key_file), slot)


def packs_of_content(copy: VaultCopy) -> list[str]:
    """Return the packs that hold content, the largest first; packs of metadata where all content is that small."""

    def by_size(names: Sequence[str]) -> list[str]:
        return sorted(names, key=lambda name: (-os.path.getsize(os.path.join(copy.url, name)), name))

    return by_size(copy.names("data/")) or by_size(copy.names("meta/"))


def flip_bytes(path: str, places: Iterator[int] | Sequence[int]) -> None:
    """Change bytes of a file, and nothing that its length or times would show."""
    status = os.stat(path)
    with open(path, "r+b") as file:
        for place in places:
            file.seek(place)
            byte = file.read(1)
            file.seek(place)
            file.write(bytes([byte[0] ^ 0xFF]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
