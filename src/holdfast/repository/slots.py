"""Key slots: the root key under a key file, a passphrase, shares or a key service (docs/format/keys.md).

Every secret leads to a slot key of 32 bytes. From the slot key come a key pair, to which the root key is sealed, and a key
that binds the slot to the vault's root signature. The ledger keeps the public half: the root key can be replaced, and sealed
again to every kit in every safe, without opening a safe. A thief of the old root key opens none of the new wraps.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from holdfast.errors import DamageError, UsageError, WrongKeyError
from holdfast.repository.bodies import Slot
from holdfast.repository.credentials import KeyFile, Passphrase, Shares
from holdfast.repository.hpke import ClassPrivate, ClassPublic
from holdfast.repository.objects import ZERO_NONCE, hkdf

if TYPE_CHECKING:
    from holdfast.base.environment import Environment
    from holdfast.repository.credentials import Secret

KEY_BYTES = 32
SALT_BYTES = 32
ITERATIONS = 600_000
"""PBKDF2 iterations of new slots."""
ITERATIONS_MIN, ITERATIONS_MAX = 210_000, 100_000_000
PASSPHRASE_LENGTH_MIN = 8
LABEL = b"holdfast/1 slot"
BOUND = b"holdfast/1 slot bound"
SHARES = "shares"


@dataclass(frozen=True, slots=True)
class SplitSecret:
    """A secret that is about to be handed out in shares: what the slot keeps of them."""

    secret: bytes = field(repr=False)
    threshold: int
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpenedSlot:
    """A slot that a secret opened. `root_public` is empty for a slot of the older form, which says nothing of it."""

    root_key: bytes = field(repr=False)
    root_public: bytes


def method_of(secret: Secret | SplitSecret) -> str:
    """Return the slot method that a secret opens."""
    match secret:
        case KeyFile():
            return "keyfile"
        case Passphrase():
            return "passphrase"
        case Shares() | SplitSecret():
            return SHARES
        case _:
            return secret.method


def make(secret: Secret | SplitSecret, root_public: bytes, vault: bytes, env: Environment) -> tuple[Slot, ClassPublic]:
    """Return a slot that the secret will open, still without the root key, and the public half to seal that to.

    `UsageError` for a passphrase that is too short; `KeyServiceError`.
    """
    if isinstance(secret, Passphrase) and len(secret.text) < PASSPHRASE_LENGTH_MIN:
        raise UsageError(
            f"the passphrase has fewer than {PASSPHRASE_LENGTH_MIN} characters", next="choose a longer one."
        )
    slot = Slot(method_of(secret), env.random_bytes(SALT_BYTES), b"")
    match secret:
        case KeyFile():
            slot_key = hkdf(secret.secret, slot.salt, LABEL)
        case Passphrase():
            slot = replace(slot, iterations=ITERATIONS)
            slot_key = _stretch(secret, slot)
        case SplitSecret():
            slot = replace(slot, threshold=secret.threshold, shares=secret.digests)
            slot_key = hkdf(secret.secret, slot.salt, LABEL)
        case Shares():
            raise UsageError("shares open a slot; a new slot is made from a new secret")
        case _:
            inner = env.random_bytes(KEY_BYTES)
            sealed, mechanism = secret.seal(inner, LABEL + vault)
            slot = replace(slot, sealed=sealed, mechanism=mechanism)
            slot_key = hkdf(inner, slot.salt, LABEL)
    bound = AESGCM(_bound_key(slot_key, slot.salt)).encrypt(ZERO_NONCE, root_public, LABEL + vault)
    return replace(slot, bound=bound), ClassPrivate.derive(slot_key).public()


def seal(slot: Slot, public: ClassPublic, root_key: bytes, epoch: int, vault: bytes) -> Slot:
    """Return the slot with the root key of an epoch in it."""
    return replace(slot, epoch=epoch, wrapped=public.seal(root_key, LABEL + vault))


def unwrap(slot: Slot, secret: Secret, vault: bytes) -> OpenedSlot | None:
    """Return what the slot holds, or None if it is for another secret.

    `DamageError` if the slot makes no sense, `ShareError` if shares belong to it and do not open it, `KeyServiceError`.
    """
    if slot.method != method_of(secret):
        return None
    slot_key = _slot_key(slot, secret, vault)
    if slot_key is None:
        return None
    try:
        if not slot.bound:
            return OpenedSlot(AESGCM(slot_key).decrypt(ZERO_NONCE, slot.wrapped, LABEL + vault), b"")
        root_public = AESGCM(_bound_key(slot_key, slot.salt)).decrypt(ZERO_NONCE, slot.bound, LABEL + vault)
    except (InvalidTag, ValueError):
        return None
    try:
        return OpenedSlot(ClassPrivate.derive(slot_key).open(slot.wrapped, LABEL + vault), root_public)
    except DamageError:
        raise DamageError("a key slot is bound to its secret, and what is sealed in it does not open") from None


def _slot_key(slot: Slot, secret: Secret, vault: bytes) -> bytes | None:
    match secret:
        case KeyFile():
            return hkdf(secret.secret, slot.salt, LABEL)
        case Passphrase():
            if not ITERATIONS_MIN <= slot.iterations <= ITERATIONS_MAX:
                raise DamageError("a key slot asks for an impossible number of iterations")
            return _stretch(secret, slot)
        case Shares():
            # Imported when asked: it needs a library of its own.
            from holdfast.repository.shares import combine

            inner = combine(secret.texts, slot.threshold, slot.shares)
        case _:
            inner = secret.open(slot.sealed, slot.mechanism, LABEL + vault)
    return None if inner is None else hkdf(inner, slot.salt, LABEL)


def _stretch(secret: Passphrase, slot: Slot) -> bytes:
    text = unicodedata.normalize("NFC", secret.text).encode()
    return PBKDF2HMAC(algorithm=SHA512(), length=KEY_BYTES, salt=slot.salt, iterations=slot.iterations).derive(text)


def _bound_key(slot_key: bytes, salt: bytes) -> bytes:
    return hkdf(slot_key, salt, BOUND)


def refusal(secret: Secret) -> WrongKeyError:
    """Return the error for a secret that opens no slot."""
    words = {
        "keyfile": "the key file does not open this vault",
        "passphrase": "the passphrase does not open this vault",
        SHARES: "the shares belong to no key of this vault",
    }
    said = words.get(method_of(secret), "the key service holds no key that opens this vault")
    return WrongKeyError(said)
