"""Enrolment: one file with which a new host joins, once.

The file holds a signing key that can do one thing: sign `joined/ID`, in which the host names the key that it made for itself. The
first such object counts, whoever stole a copy of the file. The time to join ends when root, or the joining host, sees it ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from holdfast.errors import EnrolmentError, WrongKeyError
from holdfast.repository import names
from holdfast.repository.bodies import JoinedBody, WriterCertificate
from holdfast.repository.credentials import RoleCredential
from holdfast.repository.home import Home, Signer, create
from holdfast.repository.keyring import KEY_BYTES, public_of
from holdfast.repository.objects import b64, unb64
from holdfast.repository.roles import WRITER
from holdfast.repository.writers import issue, list_writers, revoke

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holdfast.base.environment import Environment
    from holdfast.repository.repository import Repository
    from holdfast.stores.protocol import Store

ENROLMENT_FORMAT = "holdfast-enrolment-1"
DAYS = 7.0


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an enrolment file holds."""

    store: str
    """The URL of the vault's home, as whoever made the file reaches it."""
    expires: datetime
    credential: RoleCredential


def create_enrolment(
    repository: Repository, label: str, classes: Sequence[int] = (), *, group: str = "", days: float = DAYS
) -> Enrolment:
    """Make an enrolment for a host. `NotPermittedError` without the root key, `UsageError`."""
    expires = repository.env.now() + timedelta(days=days)
    credential = issue(repository, WRITER, label, classes, group=group, join_until=expires)
    return Enrolment(repository.store.url, expires, credential)


def join(
    store: Store,
    enrolment: Enrolment,
    env: Environment,
    *,
    keep: Callable[[RoleCredential], object],
    begun: RoleCredential | None = None,
) -> RoleCredential:
    """Join a vault and return the host's own credential. `EnrolmentError` if the file served already, or ended; `WrongKeyError`.

    `keep` makes it durable before the vault knows of it: it exists nowhere else. `begun` is what a call kept that died before it
    was told what came of it: it is gone on with.
    """
    old = enrolment.credential
    home = Home(store, bytes.fromhex(old.vault), unb64(str(old.body["root_public"])), env)
    if begun is not None and _joined_as(home, begun):
        return begun
    certificate = _certificate(home, old, env)
    seed = env.random_bytes(KEY_BYTES) if begun is None else unb64(str(begun.body["signing_seed"]))
    signer = Signer(old.id, Ed25519PrivateKey.from_private_bytes(unb64(str(old.body["signing_seed"]))))
    if public_of(unb64(str(old.body["signing_seed"]))) != certificate.signing_public:
        raise WrongKeyError("the enrolment file does not fit its certificate")
    made = RoleCredential(old.vault, old.id, old.role, {**old.body, "signing_seed": b64(seed)})
    if begun is None:
        keep(made)
    name = f"joined/{old.id}"
    data = home.encode(name, JoinedBody(public_of(seed)), signer)
    if not create(home.store, name, data):
        raise EnrolmentError(
            "another host joined with this enrolment file at the same moment",
            safe="the credential just written opens nothing.",
        )
    home.keep_twin(name, data)
    return made


def _joined_as(home: Home, begun: RoleCredential) -> bool:
    """Return whether the vault knows a host by the key of a credential that a dying call left."""
    certificate = home.certificate(begun.id, fresh=True)
    public = public_of(unb64(str(begun.body["signing_seed"])))
    return certificate is not None and not certificate.joining and certificate.signing_public == public


def _certificate(home: Home, credential: RoleCredential, env: Environment) -> WriterCertificate:
    """Return the certificate as root stated it. `EnrolmentError` if it lets nobody join."""
    found = home.certified(credential.id)
    if found is None:
        raise WrongKeyError(
            "the vault knows nothing of this enrolment", next="check that file and vault belong together."
        )
    if found.revoked:
        raise EnrolmentError("the enrolment was withdrawn")
    if not found.joining:
        raise EnrolmentError("this is no enrolment, but a credential: it is used as it is")
    if found.join_until is not None and found.join_until <= env.now():
        raise EnrolmentError(f"the time to join ended at {found.join_until:%Y-%m-%d %H:%M} UTC")
    joined = f"joined/{credential.id}"
    if home.store.size(joined) is None and home.store.size(names.twin(joined)) is None:
        return found
    raise EnrolmentError("a host joined with this enrolment file already")


def expire(repository: Repository) -> int:
    """Withdraw enrolments whose time ended by root's clock and that nobody used; return how many."""
    now = repository.env.now()
    ended = [
        w for w in list_writers(repository) if w.joining and not w.revoked and w.join_until and w.join_until <= now
    ]
    for holder in ended:
        revoke(repository, holder.id)
    return len(ended)


def encode_enrolment(enrolment: Enrolment) -> dict[str, object]:
    """Return the file's content."""
    from holdfast.base.environment import format_time

    return {
        "format": ENROLMENT_FORMAT,
        "store": enrolment.store,
        "expires": format_time(enrolment.expires),
        "credential": enrolment.credential.body,
    }


def decode_enrolment(data: bytes) -> Enrolment:
    """Read an enrolment file. `WrongKeyError` if it is none."""
    import json

    from holdfast.base.environment import parse_time

    try:
        body = json.loads(data)
        inner = body["credential"] if body["format"] == ENROLMENT_FORMAT else {}
        credential = RoleCredential(str(inner["vault"]), str(inner["id"]), str(inner["role"]), inner)
        return Enrolment(str(body["store"]), parse_time(str(body["expires"])), credential)
    except (ValueError, KeyError, TypeError):
        raise WrongKeyError("the file is no enrolment", next="give what `holdfast enroll create` wrote.") from None


__all__ = ["DAYS", "Enrolment", "create_enrolment", "decode_enrolment", "encode_enrolment", "expire", "join"]
