"""Writers: enrolling a host, which gets a credential that can only add; and revoking one.

A credential holds the public halves of its classes, so it seals and never opens. Enrolment is durable in this order:
keyring, certificate, and only then the credential is handed out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.base.values import dataclass
from holdfast.errors import DamageError, LimitError, MissingError, NotPermittedError, UsageError
from holdfast.repository import names
from holdfast.repository.bodies import REVOKED, DecisionBody, WriterCertificate
from holdfast.repository.credentials import CREDENTIAL_FORMAT, KeyFile, WriterCredential, recovery_kit
from holdfast.repository.decisions import decide, open_sessions, owner_of
from holdfast.repository.home import create
from holdfast.repository.keyring import KEY_BYTES, Keyring, WriterEntry, newest, public_of
from holdfast.repository.objects import KEYRING, b64, canonical, seal
from holdfast.repository.repository import read_keyring

if TYPE_CHECKING:
    from holdfast.repository.home import Home
    from holdfast.repository.repository import Repository

KEYRING_TRIES_MAX = 100
GROUP_LENGTH_MAX = 64


@dataclass(frozen=True, slots=True)
class WriterInfo:
    """A writer, as its newest certificate says."""

    id: str
    label: str
    classes: tuple[int, ...]
    revoked: bool


def list_writers(repository: Repository) -> tuple[WriterInfo, ...]:
    """Return every certified writer, by label."""
    found = []
    for writer in repository.home.ids("writer"):
        certificate = repository.home.certificate(writer, fresh=True)
        if certificate is not None:
            found.append(WriterInfo(writer, certificate.label, certificate.classes, certificate.revoked))
    return tuple(sorted(found, key=lambda w: (w.label, w.id)))


def enrol(repository: Repository, label: str, classes: Sequence[int] = (), *, group: str = "") -> WriterCredential:
    """Make a writer for some classes (none given: all) and return its credential.

    Writers of one `group` deduplicate against each other's index runs once a verifier has countersigned them; inside a
    group known content can be confirmed by guessing. Without one the writer is alone.

    It is the only copy of the writer's secrets but the keyring's. `NotPermittedError` without the root key, `UsageError`
    for a class that is not known.
    """
    root, env = repository.root, repository.env
    if len(group) > GROUP_LENGTH_MAX or names.ID.fullmatch(group):
        raise UsageError(f"a group of writers has a name of at most {GROUP_LENGTH_MAX} characters that is no id")
    chosen = tuple(sorted(set(classes or repository.classes)))
    if not set(chosen) <= set(repository.classes):
        raise UsageError("a writer cannot be given a data class that the vault does not have")
    seed, state_key = env.random_bytes(KEY_BYTES), env.random_bytes(KEY_BYTES)
    entry = WriterEntry(env.random_id(), label, public_of(seed), state_key, chosen)
    keyring = _add_to_keyring(repository, entry)
    certificate = WriterCertificate(
        entry.id, label, entry.signing_public, chosen, group or entry.id, revoked=False, distrust_runs=()
    )
    repository.home.append(f"writer/{entry.id}", certificate, root)
    known = [newest(keyring.classes, class_id) for class_id in chosen]
    body: dict[str, object] = {
        "format": CREDENTIAL_FORMAT,
        "role": "writer",
        "vault": repository.home.vault,
        "id": entry.id,
        "signing_seed": b64(seed),
        "state_key": b64(state_key),
        "root_public": b64(public_of(keyring.root_signing)),
        "classes": [c.encode(with_private=False) for c in known if c is not None],
    }
    return WriterCredential(repository.home.vault, entry.id, body)


def _add_to_keyring(repository: Repository, entry: WriterEntry) -> Keyring:
    """Put a keyring with the writer in it. Enrolments that race each build on the one before."""
    home = repository.home
    for _ in range(KEYRING_TRIES_MAX):
        current = read_keyring(home, repository.root_key)
        number = max(home.numbers("keyring"), default=-1) + 1
        keyring = replace(current, number=number, writers=(*current.writers, entry))
        if put_keyring(repository, keyring):
            return keyring
    raise LimitError("the keyring changes too often to add a writer", limit=KEYRING_TRIES_MAX)


def put_keyring(repository: Repository, keyring: Keyring) -> bool:
    """Create a keyring under its number; return whether it is there as written."""
    root, home = repository.root, repository.home
    name = names.numbered("keyring", keyring.number)
    data = seal(home.head(KEYRING, 0, 0, root), repository.root_key, canonical(keyring.encode()), root.key)
    return create(home.store, name, data)


def find_writer(repository: Repository, writer: str) -> WriterInfo:
    """Return a writer by id, unique beginning of it, or label. `MissingError`, `UsageError` if several fit."""
    fits = [w for w in list_writers(repository) if w.label == writer or w.id.startswith(writer)]
    if not fits:
        raise MissingError("there is no such writer")
    if len(fits) > 1:
        raise UsageError("several writers fit; give the id", fits=len(fits))
    return fits[0]


def runs_of(home: Home, writer: str) -> Iterable[str]:
    """Yield the index runs that a writer signed."""
    for name in home.listed("index"):
        try:
            if home.read_sealed(name).signer_name == writer:
                yield name.partition("/")[2]
        except DamageError:
            continue


def revoke(repository: Repository, writer: str, *, distrust_all: bool = True) -> None:
    """Revoke a writer: its certificate first, then its open sessions are decided against.

    Its snapshots stay. Sessions that it begins afterwards are no snapshots for anybody. With `distrust_all` nobody
    deduplicates against its runs any more, so that their content is stored again. `NotPermittedError` for the vault's
    own writer. Idempotent: a crash is finished by the next call.
    """
    root, home = repository.root, repository.home
    if writer == repository.writer_id:
        raise NotPermittedError(
            "the vault's own writer cannot be revoked", next="make a new vault for a stolen root key."
        )
    certificate = home.certificate(writer, fresh=True)
    if certificate is None:
        raise MissingError("there is no such writer")
    if not certificate.revoked:
        sessions = tuple(
            s for s in sorted({*home.ids("snapshot"), *home.ids("session")}) if owner_of(home, s) == writer
        )
        distrust = tuple(runs_of(home, writer)) if distrust_all else ()
        revoked = replace(certificate, revoked=True, distrust_runs=distrust, sessions=sessions)
        home.append(f"writer/{writer}", revoked, root)
        home.certificate(writer, fresh=True)
    for session in open_sessions(home):
        if session.owner == writer and not session.counts:
            decide(home, session.id, session.owner, DecisionBody(REVOKED, ""), root)


def make_recovery_kit(repository: Repository, stores: Sequence[str] = ()) -> bytes:
    """Make a key of its own for the kit, add its slot, and return the kit: a key file with instructions for people."""
    secret = KeyFile.new(repository.env)
    repository.add_slot(secret)
    return recovery_kit(
        secret,
        vault=repository.home.vault,
        label=repository.label,
        stores=tuple(stores) or (repository.store.url,),
        made=repository.env.timestamp(),
    )
