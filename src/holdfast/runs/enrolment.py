"""Joining a vault with an enrolment file: what a new host does, with nothing but the file and the way to the store."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.base import environment
from holdfast.errors import HoldfastError, VaultMissingError
from holdfast.repository.credentials import RoleCredential, read_secret_file, write_secret_file
from holdfast.repository.enrolment import decode_enrolment, join
from holdfast.runs.assembly import open_store

if TYPE_CHECKING:
    from holdfast.base.environment import Environment
    from holdfast.runs.options import PathLike

__all__ = ["Joined", "join_vault"]


@dataclass(frozen=True, slots=True)
class Joined:
    """A host that joined."""

    vault: str
    """The vault's id."""
    id: str
    """The writer's id."""
    url: str
    """Where the vault is."""


def join_vault(file: PathLike, target: PathLike, *, vault: str | None = None, env: Environment | None = None) -> Joined:
    """Join with an enrolment file, and keep this host's credential in `target` (mode 0600, a new file).

    The credential is durable before the vault knows of it: a host that dies in between joins again with the same call, which goes
    on with that credential. `EnrolmentError`, `WrongKeyError`, `VaultMissingError`, `VaultExistsError` (there is such a file).
    """
    env = env or environment.system()
    enrolment = decode_enrolment(read_secret_file(Path(os.fsdecode(file))))
    url = vault or enrolment.store
    store = open_store(url, env, engine.Limits())
    try:
        if not store.exists():
            raise VaultMissingError(
                "there is no vault at this place", next="give --vault URL, as this host reaches it."
            )
        place = Path(os.path.abspath(os.fsdecode(target)))
        credential = join(
            store,
            enrolment,
            env,
            keep=lambda made: write_secret_file(place, made.encode()),
            begun=_begun(place, enrolment.credential),
        )
    finally:
        store.close()
    return Joined(credential.vault, credential.id, url)


def _begun(place: Path, enrolment: RoleCredential) -> RoleCredential | None:
    """Return the credential that a call with this enrolment left before it died; None if there is none of it."""
    if not place.exists():
        return None
    try:
        found = RoleCredential.read(place)
    except HoldfastError:
        return None
    own = (found.vault, found.id) == (enrolment.vault, enrolment.id)
    return found if own and found.body["signing_seed"] != enrolment.body["signing_seed"] else None
