"""Rehearsals: `rehearsal/N` says that a recovery kit, or another key kept for an emergency, opened the vault, and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from holdfast.errors import DamageError
from holdfast.repository import names
from holdfast.repository.bodies import Body
from holdfast.repository.home import ROOT

if TYPE_CHECKING:
    from holdfast.repository.home import Home
    from holdfast.repository.repository import Repository


@dataclass(frozen=True, slots=True)
class RehearsalBody(Body):
    """`rehearsal/N`: a key opened the vault and its keyring, and something that is sealed in it."""

    kind: ClassVar[str] = "rehearsal"
    wrap: str
    """The key's entry in the ledger."""
    epoch: int
    """Which root key it opened: after the next rotation it is another slot."""
    opened: datetime
    classes: int
    """Data classes whose keys it led to."""


def put_rehearsal(repository: Repository, entry: str, classes: int) -> RehearsalBody:
    """Record that the key behind a ledger entry opened the vault. The repository is one that this key opened."""
    epoch = repository.require_keyring().epoch
    body = RehearsalBody(entry, epoch, repository.env.now(), classes)
    repository.home.append("rehearsal", body, repository.root)
    return body


def last_rehearsal(home: Home) -> RehearsalBody | None:
    """Return the newest record that root signed; none if there is none that can be read."""
    for number in reversed(home.numbers("rehearsal")):
        try:
            read, body = home.read(names.numbered("rehearsal", number), RehearsalBody)
        except DamageError:
            continue
        if read.signer == ROOT:
            return body
    return None
