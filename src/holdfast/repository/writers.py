"""Credentials: issuing one to a role, renewing it, and taking it away; who holds one.

A credential holds of each class what its role needs: a writer the public halves, so that it seals and never opens. Issuing is
durable in this order: keyring, ledger, what root leaves for the holder in the vault, certificate; only then it is handed out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from holdfast.base.values import dataclass
from holdfast.errors import DamageError, LimitError, MissingError, NotPermittedError, UsageError
from holdfast.repository import names
from holdfast.repository.bodies import (
    REVOKED,
    DecisionBody,
    FormerKey,
    GenerationRef,
    WriterCertificate,
)
from holdfast.repository.credentials import CREDENTIAL_FORMAT, KeyFile, RoleCredential, recovery_kit
from holdfast.repository.decisions import decide, open_sessions, owner_of
from holdfast.repository.home import create
from holdfast.repository.keyring import KEY_BYTES, Keyring, WriterEntry, newest, public_of
from holdfast.repository.objects import GRANT, KEYRING, b64, canonical, seal
from holdfast.repository.opening import read_grant, read_keyring
from holdfast.repository.roles import ISSUED, KEYS, READS_CONTENT, WRITER
from holdfast.repository.twins import keep_all
from holdfast.repository.wraps import CREDENTIAL, LIVE, WrapBody, newest_word, pending, write_wrap
from holdfast.repository.wraps import REVOKED as WITHDRAWN

if TYPE_CHECKING:
    from holdfast.repository.home import Home
    from holdfast.repository.repository import Repository

KEYRING_TRIES_MAX = 100
KIT = "kit"
_SPOKEN = (
    "forgotten",
    "admission",
    "condemn",
    "plan",
    "closed",
    "damaged",
    "dropped",
    "countersign",
    "compared",
    "decision",
)
"""Kinds of objects that pruners and verifiers sign: what they said before they were revoked counts on."""
GROUP_LENGTH_MAX = 64


@dataclass(frozen=True, slots=True)
class WriterInfo:
    """The holder of a credential, as its newest certificate says."""

    id: str
    label: str
    classes: tuple[int, ...]
    revoked: bool
    role: str = WRITER
    group: str = ""
    expires: datetime | None = None
    joining: bool = False
    """It has an enrolment file that no host joined with yet."""
    join_until: datetime | None = None


def list_writers(repository: Repository) -> tuple[WriterInfo, ...]:
    """Return every holder of a certificate, by label."""
    found = []
    for writer in repository.home.ids("writer"):
        certificate = repository.home.certificate(writer, fresh=True)
        if certificate is not None:
            found.append(
                WriterInfo(
                    writer, certificate.label, certificate.classes, certificate.revoked, certificate.role,
                    certificate.group, certificate.expires, certificate.joining, certificate.join_until,
                )
            )  # fmt: skip
    return tuple(sorted(found, key=lambda w: (w.label, w.id)))


def enrol(repository: Repository, label: str, classes: Sequence[int] = (), *, group: str = "") -> RoleCredential:
    """Make a writer for some classes (none given: all) and return its credential; see :func:`issue`."""
    return issue(repository, WRITER, label, classes, group=group)


def issue(
    repository: Repository,
    role: str,
    label: str,
    classes: Sequence[int] = (),
    *,
    group: str = "",
    expires: datetime | None = None,
    join_until: datetime | None = None,
) -> RoleCredential:
    """Make a credential of a role for some classes (none given: all) and return it.

    It is the only copy of its secrets but the keyring's. With `join_until` its signing key only lets one host join, by then, with
    a key that the host makes itself. `NotPermittedError` without the root key, `UsageError` for a role or class that is not
    known, `KeyRotationError`.

    Writers of one `group` deduplicate against each other's index runs once a verifier has countersigned them; inside a
    group known content can be confirmed by guessing. Without one the writer is alone.
    """
    root, env, home = repository.root, repository.env, repository.home
    if len(group) > GROUP_LENGTH_MAX or names.ID.fullmatch(group):
        raise UsageError(f"a group of writers has a name of at most {GROUP_LENGTH_MAX} characters that is no id")
    if role not in ISSUED:
        raise UsageError(f"there is no role {role!r} that has credentials", next=f"choose from {', '.join(ISSUED)}.")
    chosen = tuple(sorted(set(classes or repository.classes))) if KEYS[role] else ()
    if not set(chosen) <= set(repository.classes):
        raise UsageError("a credential cannot be given a data class that the vault does not have")
    seed, state_key = env.random_bytes(KEY_BYTES), env.random_bytes(KEY_BYTES)
    entry = WriterEntry(env.random_id(), label, public_of(seed), state_key, chosen, role)
    keyring = change_keyring(repository, lambda ring: replace(ring, writers=(*ring.writers, entry)))
    private = private_generations(keyring, entry)
    listed = WrapBody(CREDENTIAL, role, "", label, env.now(), LIVE, expires=expires, private=private)
    write_wrap(home, root, entry.id, pending(listed))
    put_grant(repository, keyring, entry)
    certificate = WriterCertificate(
        entry.id, label, entry.signing_public, chosen, group or entry.id, revoked=False, distrust_runs=(), role=role,
        expires=expires, joining=join_until is not None, join_until=join_until,
    )  # fmt: skip
    home.append(f"writer/{entry.id}", certificate, root)
    write_wrap(home, root, entry.id, listed)
    return _credential(repository, keyring, entry, seed)


def _credential(repository: Repository, keyring: Keyring, entry: WriterEntry, seed: bytes) -> RoleCredential:
    body: dict[str, object] = {
        "format": CREDENTIAL_FORMAT,
        "role": entry.role,
        "vault": repository.home.vault,
        "id": entry.id,
        "signing_seed": b64(seed),
        "state_key": b64(entry.state_key),
        "root_public": b64(public_of(keyring.root_signing)),
        "classes": holder_classes(keyring, entry),
    }
    return RoleCredential(repository.home.vault, entry.id, entry.role, body)


def holder_classes(keyring: Keyring, entry: WriterEntry) -> list[dict[str, object]]:
    """Return the generations of its classes as the holder of a credential is given them."""
    return [c.encode(KEYS[entry.role]) for c in keyring.classes if c.id in entry.classes]


def private_generations(keyring: Keyring, entry: WriterEntry) -> tuple[GenerationRef, ...]:
    """Return the generations whose content a credential reads."""
    if entry.role not in READS_CONTENT:
        return ()
    known = [c for c in keyring.classes if c.id in entry.classes and c.private is not None]
    return tuple(GenerationRef(c.id, c.generation) for c in known)


def put_grant(repository: Repository, keyring: Keyring, entry: WriterEntry) -> None:
    """Leave the holder of a credential its keys, sealed to it: it has them at its next opening, wherever it is."""
    home, root = repository.home, repository.root
    number = home.next_number(f"grant/{entry.id}", root)
    name = names.numbered("grant", entry.id, number)
    plain = canonical({"name": name, "classes": holder_classes(keyring, entry)})
    home.put_sealed(name, home.head(GRANT, 0, 0, root), entry.state_key, plain, root)


def granted(repository: Repository, keyring: Keyring, entry: WriterEntry) -> bool:
    """Return whether what root left for the holder is all that it should have."""
    left = read_grant(repository.home, entry.id, entry.state_key)
    return [c.encode() for c in left] == holder_classes(keyring, entry)


def change_keyring(repository: Repository, change: Callable[[Keyring], Keyring], *, given_up: bool = False) -> Keyring:
    """Put a changed keyring. Changes that race each build on the one before.

    `given_up`: although a newer one is lost. `KeyRotationError`, `KeyringLostError`, `NotPermittedError`.
    """
    home = repository.home
    for _ in range(KEYRING_TRIES_MAX):
        repository.require_newest(given_up=given_up)
        current = read_keyring(home, repository.root_key)
        number = home.next_number("keyring", repository.root)
        keyring = replace(change(current), number=number)
        if put_keyring(repository, keyring, repository.root_key):
            repository.adopt(keyring)
            keep_all(home)
            return keyring
    raise LimitError("the keyring changes too often to be changed once more", limit=KEYRING_TRIES_MAX)


def put_keyring(repository: Repository, keyring: Keyring, root_key: bytes) -> bool:
    """Create a keyring under its number; return whether it is there as written."""
    root, home = repository.root, repository.home
    name = names.numbered("keyring", keyring.number)
    data = seal(home.head(KEYRING, 0, 0, root), root_key, canonical(keyring.encode()), root.key)
    if not create(home.store, name, data):
        return False
    home.keep_twin(name, data)
    return True


def find_writer(repository: Repository, writer: str) -> WriterInfo:
    """Return a holder by id, unique beginning of it, or label. `MissingError`, `UsageError` if several fit."""
    fits = [w for w in list_writers(repository) if w.label == writer or w.id.startswith(writer)]
    fits = [w for w in fits if not w.revoked] or fits
    if not fits:
        raise MissingError("there is no such writer, nor another holder of a credential")
    if len(fits) > 1:
        raise UsageError("several credentials fit; give the id", fits=len(fits))
    return fits[0]


def runs_of(home: Home, writer: str) -> Iterable[str]:
    """Yield the index runs that a writer signed."""
    for name in home.listed("index"):
        try:
            if home.read_sealed(name).signer_name == writer:
                yield name.partition("/")[2]
        except DamageError:
            continue


def sessions_of(home: Home, writer: str) -> tuple[str, ...]:
    """Return the sessions of a writer."""
    return tuple(s for s in sorted({*home.ids("snapshot"), *home.ids("session")}) if owner_of(home, s) == writer)


def revoke(repository: Repository, writer: str, *, distrust_all: bool = True) -> None:
    """Revoke a credential: its certificate first, then its open sessions are decided against, then the ledger says so.

    Snapshots of a writer stay. Sessions that it begins afterwards are no snapshots for anybody. With `distrust_all` nobody
    deduplicates against its runs any more, so that their content is stored again. What a pruner or a verifier said before
    counts on. What it could read it may have read: see `rotation.renew`. `NotPermittedError` for the vault's own writer.
    Idempotent: a crash is finished by the next call.
    """
    root, home = repository.root, repository.home
    if writer == repository.writer_id:
        raise NotPermittedError(
            "the vault's own writer cannot be revoked",
            next="`holdfast key rotate root` for a key that is known; a stolen root key takes a new vault.",
        )
    certificate = home.certificate(writer, fresh=True)
    if certificate is None:
        raise MissingError("there is no such writer, nor another holder of a credential")
    if not certificate.revoked:
        said = sessions_of(home, writer) if certificate.role == WRITER else _statements_of(home, writer)
        distrust = tuple(runs_of(home, writer)) if distrust_all else ()
        revoked = replace(certificate, revoked=True, distrust_runs=distrust, sessions=said)
        home.append(f"writer/{writer}", revoked, root)
        home.certificate(writer, fresh=True)
    for session in open_sessions(home):
        if session.owner == writer and not session.counts:
            decide(home, session.id, session.owner, DecisionBody(REVOKED, ""), root)
    _say_revoked(repository, writer, certificate)


def _say_revoked(repository: Repository, writer: str, certificate: WriterCertificate) -> None:
    """Tell the ledger. A credential from before there was a ledger gets its entry now. What verifies for nobody is passed over."""
    home = repository.home
    entry, unread = newest_word(home, writer)
    if entry is not None:
        body = entry.body
    else:
        body = WrapBody(CREDENTIAL, certificate.role, "", certificate.label, repository.env.now(), LIVE)
    if unread and certificate.role in READS_CONTENT:
        # What the word that nobody can read said of his keys is not known: he may have had every one of his classes.
        had = (GenerationRef(c.id, c.generation) for c in repository.generations() if c.id in certificate.classes)
        body = replace(body, private=tuple(dict.fromkeys((*body.private, *had))))
    if body.state == LIVE:
        write_wrap(home, repository.root, writer, replace(body, state=WITHDRAWN))


def _statements_of(home: Home, signer: str) -> tuple[str, ...]:
    """Return the names of all that somebody signed beside sessions."""
    found = []
    for kind in _SPOKEN:
        for name in home.listed(kind):
            try:
                if home.verify_control(name, home.store.get(name)).signer == signer:
                    found.append(name)
            except DamageError:
                continue
    return tuple(found)


def renew_signing_key(repository: Repository, writer: str) -> RoleCredential:
    """Give the holder of a credential another signing key, and return the credential that replaces its own.

    All that was signed until now counts on, and nothing else under the old key does. The old file gets `KeyReplacedError`.
    """
    root, home, env = repository.root, repository.home, repository.env
    certificate = home.certificate(writer, fresh=True)
    if certificate is None or certificate.revoked or writer == repository.writer_id:
        raise NotPermittedError("only a credential that is in force is given another signing key")
    seed = env.random_bytes(KEY_BYTES)
    public = public_of(seed)

    def change(ring: Keyring) -> Keyring:
        entries = tuple(replace(w, signing_public=public) if w.id == writer else w for w in ring.writers)
        return replace(ring, writers=entries)

    former = FormerKey(
        certificate.signing_public,
        sessions_of(home, writer),
        (*runs_of(home, writer), *_refs_of(home, writer)),
        tuple(name.partition("/")[2] for name in home.listed(f"state/{writer}")),
    )
    for session in open_sessions(home):
        if session.owner == writer and not session.counts:
            decide(home, session.id, session.owner, DecisionBody(REVOKED, ""), root)
    keyring = change_keyring(repository, change)
    renewed = replace(
        certificate, signing_public=public, former=(*certificate.former, former), joining=False, join_until=None
    )
    home.append(f"writer/{writer}", renewed, root)
    home.certificate(writer, fresh=True)
    entry = next(w for w in keyring.writers if w.id == writer)
    return _credential(repository, keyring, entry, seed)


def _refs_of(home: Home, writer: str) -> Iterable[str]:
    for name in home.listed("refs"):
        try:
            if home.read_sealed(name).signer_name == writer:
                yield name.partition("/")[2]
        except DamageError:
            continue


def demand_newest(repository: Repository, keyring: Keyring, entry: WriterEntry) -> None:
    """Certify that a writer writes to the newest generations from now on: one that has not got them stops."""
    home = repository.home
    certificate = home.certificate(entry.id, fresh=True)
    found = [newest(keyring.classes, class_id) for class_id in entry.classes]
    wanted = tuple(GenerationRef(c.id, c.generation) for c in found if c is not None)
    if certificate is not None and not certificate.revoked and certificate.newest != wanted:
        raw = replace(certificate, newest=wanted)
        home.append(f"writer/{entry.id}", _as_certified(home, raw), repository.root)
        home.certificate(entry.id, fresh=True)


def _as_certified(home: Home, certificate: WriterCertificate) -> WriterCertificate:
    """Return a certificate as root states it: without what the host's own joining put over it."""
    stored = home.certified(certificate.id) or certificate
    return replace(certificate, signing_public=stored.signing_public, joining=stored.joining, former=stored.former)


def make_recovery_kit(repository: Repository, stores: Sequence[str] = (), *, label: str = "") -> bytes:
    """Make a key of its own for the kit, add its slot, and return the kit: a key file with instructions for people."""
    secret = KeyFile.new(repository.env)
    repository.add_slot(secret, label=label, method=KIT)
    return recovery_kit(
        secret,
        vault=repository.home.vault,
        label=repository.label,
        stores=tuple(stores) or (repository.store.url,),
        made=repository.env.timestamp(),
    )
