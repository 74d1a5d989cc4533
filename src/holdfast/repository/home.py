"""The home store as a place of typed, signed objects.

`Home` reads and writes control and sealed objects of one vault. It knows who may sign (the root key and the certified
writers) and refuses to know what the objects mean. A create is decided by reading back: after "exists", a time-out or a
lost reply the bytes are compared, as `docs/format/protocol.md` demands.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import field, replace
from datetime import datetime
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from holdfast.base.environment import Environment, parse_time
from holdfast.base.values import dataclass
from holdfast.errors import DamageError, ObjectMissingError, StoreError, StoreRefusedError, StoreRetainedError
from holdfast.repository import names
from holdfast.repository.bodies import Body, FormerKey, JoinedBody, WriterCertificate
from holdfast.repository.objects import (
    INDEX_RUN,
    NONCE_BYTES,
    REFERENCE_SET,
    ROOT_SIGNER,
    SEALED_TYPES,
    Control,
    Sealed,
    SealedHead,
    b64,
    check_sealed_signature,
    check_signature,
    damaged,
    encode_control,
    parse_control,
    parse_sealed,
    seal,
    sha256,
)
from holdfast.repository.roles import may
from holdfast.stores.protocol import Store

ROOT = "root"
B = TypeVar("B", bound=Body)
T = TypeVar("T")
_ANY_TIME = frozenset({"audit", "joined"})
"""Kinds that a replaced key may have signed at any time: what they say is signed by a key of its own, or was said once for all."""


UNKNOWN_SIGNER = "its signer is not known to the vault"


@dataclass(frozen=True, slots=True)
class Signer:
    """Somebody who signs: `root`, or a writer by its id."""

    name: str
    key: Ed25519PrivateKey = field(repr=False)

    @property
    def raw(self) -> bytes:
        """The signer as sealed objects hold it."""
        return ROOT_SIGNER if self.name == ROOT else bytes.fromhex(self.name)


@dataclass(frozen=True, slots=True)
class Read:
    """A control object that was read and verified."""

    control: Control

    @property
    def signer(self) -> str:
        """Who signed it."""
        return self.control.signer

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.control.body["name"])

    @property
    def sha(self) -> str:
        """The hash of the object."""
        return self.control.sha


def create(store: Store, name: str, data: bytes) -> bool:
    """Create an object if absent; return whether exactly these bytes are there now, whoever's call put them.

    A store error after which the object cannot be found is raised as it was.
    """
    try:
        if store.put_new(name, data):
            return True
    except StoreError:
        try:
            return store.get(name) == data
        except ObjectMissingError:
            pass
        raise
    return store.get(name) == data


def first_valid(store: Store, name: str, verify: Callable[[bytes], T]) -> T:
    """Return what `verify` makes of an object or, where that is missing or damaged, of its twin, by the same rules.

    What is right always speaks before its twin. If neither can be used, the object's own error is raised.
    """
    try:
        return verify(store.get(name))
    except DamageError as error:
        if not names.is_twinned(name):
            raise
        first = error
    try:
        return verify(store.get(names.twin(name)))
    except DamageError:
        raise first from None


def _any(keys: list[Ed25519PublicKey], check: Callable[[Ed25519PublicKey], None]) -> None:
    """Check a signature by the newest key, then by those before it. `DamageError` if it is none of theirs."""
    for key in keys[:-1]:
        try:
            return check(key)
        except DamageError:
            continue
    return check(keys[-1])


class Home:
    """Signed objects of one vault in its home store."""

    def __init__(self, store: Store, vault_id: bytes, root_public: bytes, env: Environment) -> None:
        """Use a store; certificates are read when a writer's signature is first met."""
        self.store = store
        self.env = env
        self.vault_id = vault_id
        self.root_public = root_public
        self._root = Ed25519PublicKey.from_public_bytes(root_public)
        self._certificates: dict[str, WriterCertificate] = {}

    def on(self, store: Store) -> Home:
        """Return the same vault's objects as another store has them."""
        return Home(store, self.vault_id, self.root_public, self.env)

    @property
    def vault(self) -> str:
        """The vault's id in hex."""
        return self.vault_id.hex()

    def certificate(self, writer: str, *, fresh: bool = False) -> WriterCertificate | None:
        """Return the newest readable certificate of a writer, None if there is none.

        An unreadable newer one is passed over only if an older one can be read: the signature key is the same in all.
        """
        if writer in self._certificates and not fresh:
            return self._certificates[writer]
        if not names.ID.fullmatch(writer):
            return None
        body = self.certified(writer)
        if body is None:
            return None
        self._certificates[writer] = self._joined(body)
        return self._certificates[writer]

    def certified(self, writer: str) -> WriterCertificate | None:
        """Return the newest readable certificate of a writer as root stated it."""
        for name in reversed(list(self.listed(f"writer/{writer}"))):
            with suppress(DamageError, ValueError):
                return first_valid(self.store, name, functools.partial(self.certificate_in, name))
        return None

    def certificate_in(self, name: str, data: bytes) -> WriterCertificate:
        """Verify the bytes of a certificate of the holder that its name says. `DamageError`."""
        _, body = self.verify(name, data, WriterCertificate)
        if body.id != names.middle(name):
            raise damaged(name, "it certifies another")
        return body

    def _joined(self, certificate: WriterCertificate) -> WriterCertificate:
        """Return the certificate with the key that the host made for itself when it joined, if it did."""
        if not certificate.joining:
            return certificate
        name = f"joined/{certificate.id}"
        try:
            body = first_valid(self.store, name, lambda data: self._joined_by(certificate, name, data))
        except (DamageError, ValueError):
            return certificate
        before = FormerKey(certificate.signing_public, (), (), ())
        return replace(
            certificate, signing_public=body.signing_public, joining=False, former=(*certificate.former, before)
        )

    def _joined_by(self, certificate: WriterCertificate, name: str, data: bytes) -> JoinedBody:
        """Verify the bytes by which a host joined: the enrolment's key, or one replaced since, signed them."""
        control = parse_control(data, name, self.vault)
        keys = [certificate.signing_public] if certificate.joining else [each.public for each in certificate.former]
        if control.signer != certificate.id or not keys:
            raise damaged(name, "no enrolment's key signed it")
        _any([Ed25519PublicKey.from_public_bytes(key) for key in keys], lambda key: check_signature(control, key, name))
        return JoinedBody.decode(control.body)

    def joined_in(self, name: str, data: bytes) -> JoinedBody:
        """Verify the bytes by which the host that a name says joined. `DamageError`."""
        certificate = self.certified(names.middle(name))
        if certificate is None:
            raise damaged(name, UNKNOWN_SIGNER)
        return self._joined_by(certificate, name, data)

    def may(self, signer: str, power: str, name: str) -> bool:
        """Return whether a signature under an object is worth something for what it says: root's always is.

        Of somebody who was revoked, what was said before counts on.
        """
        if signer == ROOT:
            return True
        certificate = self.certificate(signer)
        if certificate is None or not may(certificate.role, power):
            return False
        return not certificate.revoked or name in certificate.sessions

    def public_keys(self, signer: str, name: str) -> list[Ed25519PublicKey]:
        """Return the keys that may have signed an object for a signer; none if nobody certified it.

        A key that was replaced counts for what it had signed by then.
        """
        if signer == ROOT:
            return [self._root]
        certificate = self.certificate(signer)
        if certificate is None:
            return []
        kind, _, rest = name.partition("/")
        # The key of an enrolment that nobody used signs one thing, and nothing that counts.
        known = [certificate.signing_public] if not certificate.joining or kind == "joined" else []
        for former in certificate.former:
            listed = former.states if kind == "state" else (*former.sessions, *former.runs)
            if kind in _ANY_TIME or (rest if kind == "state" else rest.partition("/")[0]) in listed:
                known.append(former.public)
        return [Ed25519PublicKey.from_public_bytes(public) for public in known]

    def read(self, name: str, kind: type[B]) -> tuple[Read, B]:
        """Read and verify a control object, or its twin. `ObjectMissingError`, `DamageError`, `VersionError`."""
        return first_valid(self.store, name, lambda data: self.verify(name, data, kind))

    def verify(self, name: str, data: bytes, kind: type[B]) -> tuple[Read, B]:
        """Verify a control object's bytes."""
        control = self.verify_control(name, data)
        return Read(control), kind.decode(control.body)

    def verify_control(self, name: str, data: bytes) -> Control:
        """Verify frame, place and signature of a control object whatever its type; unsigned only where the format says so."""
        control = parse_control(data, name, self.vault)
        if name == names.VAULT or name.startswith("key/"):
            return control
        if name.startswith("writer/") and control.signer != ROOT:
            # Not looked up: a holder who certifies himself would be asked for by his own certificate, without end.
            raise damaged(name, "root did not sign it")
        keys = self._keys_or_damage(control.signer, name)
        _any(keys, lambda key: check_signature(control, key, name))
        return control

    def _keys_or_damage(self, signer: str, name: str) -> list[Ed25519PublicKey]:
        keys = self.public_keys(signer, name)
        if not keys:
            raise damaged(name, UNKNOWN_SIGNER)
        return keys

    def written(self, name: str) -> datetime:
        """Return the time that a verified control object carries. It informs; no rule of the protocol compares it."""
        control = self.verify_control(name, self.store.get(name))
        try:
            return parse_time(str(control.body.get("time")))
        except ValueError:
            raise damaged(name, "its time is malformed") from None

    def encode(self, name: str, body: Body, signer: Signer | None) -> bytes:
        """Return a control object's bytes with a fresh nonce."""
        common = {
            "name": name,
            "type": name.split("/")[0],
            "vault": self.vault,
            "nonce": b64(self.env.random_bytes(16)),
            "time": self.env.timestamp(),
            "signer": signer.name if signer else "",
        }
        return encode_control(body.encode() | common, signer.key if signer else None)

    def create(self, name: str, body: Body, signer: Signer) -> bool:
        """Create a control object; return whether it is there as written here, by this call or its lost twin."""
        return create(self.store, name, self.encode(name, body, signer))

    def create_or_replace(self, name: str, body: Body, signer: Signer, counts: Callable[[], bool]) -> bool:
        """Create a control object in place of what counts for nobody there: torn, rotten, or a squatter's.

        Return whether it is there as written, or another that `counts`.
        """
        if self.create(name, body, signer) or counts():
            return True
        self.store.delete(name)
        return self.create(name, body, signer) or counts()

    def append(self, prefix: str, body: Body, signer: Signer) -> tuple[int, str]:
        """Create a control object under the next free number of `prefix/N`; return number and hash."""
        while True:
            at = self.next_number(prefix, signer)
            name = f"{prefix}/{names.number(at)}"
            data = self.encode(name, body, signer)
            if create(self.store, name, data):
                self.keep_twin(name, data)
                return at, sha256(data)

    def next_number(self, prefix: str, signer: Signer) -> int:
        """Return the first free number above the highest `prefix/N` that is validly the signer's own.

        Whoever may add objects can take any number, the highest too: what he put there is stepped over, and ends nothing.
        """
        taken = self.numbers(prefix)
        at = next((number for number in reversed(taken) if self._is_of(f"{prefix}/{names.number(number)}", signer)), -1)
        free = at + 1
        for number in taken[bisect.bisect_left(taken, free) :]:
            if number != free:
                break
            free += 1
        return free

    def _is_of(self, name: str, signer: Signer) -> bool:
        """Return whether an object verifies and is signed by this signer."""
        try:
            return first_valid(self.store, name, lambda data: self.signer_of(name, data)) == signer.name
        except DamageError:
            return False

    def signer_of(self, name: str, data: bytes) -> str:
        """Verify a control or sealed object's bytes and return who signed them."""
        if name.partition("/")[0] in SEALED_TYPES:
            return self.verify_sealed(name, data).signer_name
        return self.verify_control(name, data).signer

    def keep_twin(self, name: str, data: bytes) -> None:
        """Keep the bytes of an object that was just put a second time, if it is one of those that open a vault.

        What lies there counts for nobody: torn, or put by somebody who can only add. Where it cannot be deleted it stays.
        An object that somebody deleted meanwhile gets none: the deletion came first.
        """
        if not names.is_twinned(name):
            return
        if not create(self.store, names.twin(name), data):
            with suppress(StoreRefusedError, StoreRetainedError):
                self.store.delete(names.twin(name))
                create(self.store, names.twin(name), data)
        if self.store.size(name) is None:
            self.store.delete(names.twin(name))

    def remove(self, name: str) -> None:
        """Delete an object that is kept twice: its twin first, so that a crash in between brings nothing back.

        Once more after it: whoever put the object may have been between it and its twin (see :meth:`keep_twin`).
        """
        self.store.delete(names.twin(name))
        self.store.delete(name)
        self.store.delete(names.twin(name))

    def newest(self, prefix: str, kind: type[B]) -> tuple[int, B] | None:
        """Return number and body of the highest `prefix/N`. `DamageError` if that one cannot be read."""
        last = max(self.listed(prefix), default=None)
        return None if last is None else (names.last_number(last), self.read(last, kind)[1])

    def numbers(self, prefix: str) -> list[int]:
        """Return the numbers N that exist as `prefix/N`, ascending."""
        return sorted(names.last_number(name) for name in self.listed(prefix))

    def ids(self, kind: str) -> list[str]:
        """Return the distinct ids under `kind/`, sorted."""
        return sorted({names.middle(name) for name in self.listed(kind)})

    def put_sealed(self, name: str, head: SealedHead, ikm: bytes, plaintext: bytes, signer: Signer) -> str:
        """Seal and put an object; a name that ends in `/` is completed by the object's hash. Return the hash."""
        data = seal(head, ikm, plaintext, signer.key)
        sha = sha256(data)
        full = name + sha if name.endswith("/") else name
        self.store.put(full, data)
        self.keep_twin(full, data)
        return sha

    def head(self, kind: int, class_id: int, generation: int, signer: Signer, envelope: bytes = b"") -> SealedHead:
        """Return the head of an object about to be sealed, with a fresh nonce."""
        nonce = self.env.random_bytes(NONCE_BYTES)
        return SealedHead(kind, self.vault_id, class_id, generation, nonce, signer.raw, envelope)

    def read_sealed(self, name: str) -> Sealed:
        """Read a sealed object, or its twin, and verify its hash and signature; its content stays sealed."""
        return first_valid(self.store, name, lambda data: self.verify_sealed(name, data))

    def verify_sealed(self, name: str, data: bytes) -> Sealed:
        """Verify a sealed object's bytes."""
        sealed = parse_sealed(data, name, self.vault_id)
        if SEALED_TYPES[name.split("/")[0]] in {INDEX_RUN, REFERENCE_SET} and not name.endswith(sealed.sha):
            raise damaged(name, "its bytes are not those its name says")
        keys = self._keys_or_damage(sealed.signer_name, name)
        _any(keys, lambda key: check_sealed_signature(sealed, key, name))
        return sealed

    def listed(self, prefix: str) -> Iterator[str]:
        """Yield the names under `prefix/` that the format knows, sorted; `check` reports others.

        Of what is kept twice also those of which the twin only is left.
        """
        found = (info.name for info in self.store.list(prefix + "/") if names.is_known(info.name))
        if not names.is_twinned(prefix):
            return found
        twins = (info.name for info in self.store.list(names.twin(prefix) + "/") if names.is_known(info.name))
        return iter(sorted({*found, *map(names.untwinned, twins)}))
