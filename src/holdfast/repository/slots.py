"""Key slots: the root key under a key file or a passphrase (docs/format/keys.md)."""

from __future__ import annotations

import unicodedata
from typing import assert_never

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from holdfast.base.environment import Environment
from holdfast.errors import DamageError, UsageError
from holdfast.repository.bodies import Slot
from holdfast.repository.credentials import KeyFile, Passphrase
from holdfast.repository.objects import ZERO_NONCE, hkdf

KEY_BYTES = 32
SALT_BYTES = 32
ITERATIONS = 600_000
"""PBKDF2 iterations of new slots."""
ITERATIONS_MIN, ITERATIONS_MAX = 210_000, 100_000_000
PASSPHRASE_LENGTH_MIN = 8
LABEL = b"holdfast/1 slot"


def method_of(secret: KeyFile | Passphrase) -> str:
    """Return the slot method that a secret opens."""
    return "keyfile" if isinstance(secret, KeyFile) else "passphrase"


def wrap(root_key: bytes, secret: KeyFile | Passphrase, vault: bytes, env: Environment) -> Slot:
    """Return a slot that the secret opens. `UsageError` for a passphrase that is too short."""
    if isinstance(secret, Passphrase) and len(secret.text) < PASSPHRASE_LENGTH_MIN:
        raise UsageError(
            f"the passphrase has fewer than {PASSPHRASE_LENGTH_MIN} characters", next="choose a longer one."
        )
    salt = env.random_bytes(SALT_BYTES)
    iterations = ITERATIONS if isinstance(secret, Passphrase) else 0
    wrapped = AESGCM(_slot_key(secret, salt, iterations)).encrypt(ZERO_NONCE, root_key, LABEL + vault)
    return Slot(method_of(secret), salt, wrapped, iterations)


def unwrap(slot: Slot, secret: KeyFile | Passphrase, vault: bytes) -> bytes | None:
    """Return the root key, or None if the slot is for another secret. `DamageError` if the slot makes no sense."""
    if slot.method != method_of(secret):
        return None
    if slot.method == "passphrase" and not ITERATIONS_MIN <= slot.iterations <= ITERATIONS_MAX:
        raise DamageError("a key slot asks for an impossible number of iterations")
    try:
        return AESGCM(_slot_key(secret, slot.salt, slot.iterations)).decrypt(ZERO_NONCE, slot.wrapped, LABEL + vault)
    except (InvalidTag, ValueError):
        return None


def _slot_key(secret: KeyFile | Passphrase, salt: bytes, iterations: int) -> bytes:
    match secret:
        case KeyFile():
            return hkdf(secret.secret, salt, LABEL)
        case Passphrase():
            text = unicodedata.normalize("NFC", secret.text).encode()
            return PBKDF2HMAC(algorithm=SHA512(), length=KEY_BYTES, salt=salt, iterations=iterations).derive(text)
        case _:
            assert_never(secret)
