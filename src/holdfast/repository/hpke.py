"""HPKE to a class: run keys and the secrets of sealed parts (docs/format/keys.md). A writer can seal and not open."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, mlkem
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM1024P384PrivateKey,
    MLKEM1024P384PublicKey,
    Suite,
)
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from holdfast.errors import DamageError, NotPermittedError
from holdfast.repository.objects import b64, unb64

RUN_KEY_BYTES = 32
HPKE_RECIPIENT, STATE_RECIPIENT = 1, 2
_ID_BYTES, _NONCE_BYTES = 16, 12


MLKEM_SEED_BYTES, P384_EXTRA_BYTES = 64, 56
P384_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973


def _expand(secret: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=b"", info=info).derive(secret)


def _suite() -> Suite:
    return Suite(KEM.MLKEM1024_P384, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def _info(label: bytes, vault: bytes, class_id: int, generation: int) -> bytes:
    return label + vault + struct.pack("<HI", class_id, generation)


def run_key_info(vault: bytes, class_id: int, generation: int) -> bytes:
    """Return what binds a wrapped run key to its vault, class and generation."""
    return _info(b"holdfast/1 run key", vault, class_id, generation)


def part_info(vault: bytes, class_id: int, generation: int) -> bytes:
    """Return what binds the secret of a sealed part to its vault, class and generation."""
    return _info(b"holdfast/1 part", vault, class_id, generation)


@dataclass(frozen=True, slots=True)
class ClassPublic:
    """The public half of a class generation."""

    mlkem: bytes
    p384: bytes

    def seal(self, secret: bytes, info: bytes) -> bytes:
        """Seal a secret to the holders of the class's private half."""
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), self.p384)
        key = MLKEM1024P384PublicKey(mlkem.MLKEM1024PublicKey.from_public_bytes(self.mlkem), point)
        return _suite().encrypt(secret, key, info=info)

    def encode(self) -> dict[str, object]:
        """Return it as the keyring holds it."""
        return {"mlkem": b64(self.mlkem), "p384": b64(self.p384)}

    @classmethod
    def decode(cls, value: Mapping[str, object]) -> Self:
        """Read what :meth:`encode` wrote. `ValueError`, `KeyError`, `TypeError` if malformed."""
        return cls(unb64(str(value["mlkem"])), unb64(str(value["p384"])))


@dataclass(frozen=True, slots=True)
class ClassPrivate:
    """The private half of a class generation: who holds it reads the class."""

    mlkem_seed: bytes = field(repr=False)
    p384_der: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """Make a new pair."""
        kem = mlkem.MLKEM1024PrivateKey.generate()
        curve = ec.generate_private_key(ec.SECP384R1())
        der = curve.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return cls(kem.private_bytes_raw(), der)

    @classmethod
    def derive(cls, secret: bytes) -> Self:
        """Return the pair that a secret of 32 bytes stands for: the P-384 half by FIPS 186-5 A.2.1 (extra random bits)."""
        seed = _expand(secret, b"holdfast/1 pair mlkem", MLKEM_SEED_BYTES)
        extra = int.from_bytes(_expand(secret, b"holdfast/1 pair p384", P384_EXTRA_BYTES))
        curve = ec.derive_private_key(extra % (P384_ORDER - 1) + 1, ec.SECP384R1())
        return cls(seed, curve.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))

    def _keys(self) -> tuple[mlkem.MLKEM1024PrivateKey, ec.EllipticCurvePrivateKey]:
        curve = load_der_private_key(self.p384_der, password=None)
        if not isinstance(curve, ec.EllipticCurvePrivateKey):
            raise DamageError("a class's private key is of another kind than the format says")
        return mlkem.MLKEM1024PrivateKey.from_seed_bytes(self.mlkem_seed), curve

    def public(self) -> ClassPublic:
        """Return the public half."""
        kem, curve = self._keys()
        point = curve.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return ClassPublic(kem.public_key().public_bytes_raw(), point)

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """Return what was sealed. `DamageError` if it was not sealed to this key under `info`."""
        try:
            return _suite().decrypt(sealed, MLKEM1024P384PrivateKey(*self._keys()), info=info)
        except (InvalidTag, ValueError):
            raise DamageError("an encapsulated key does not open under its class's key") from None

    def encode(self) -> dict[str, object]:
        """Return it as the keyring holds it."""
        return {"mlkem": b64(self.mlkem_seed), "p384": b64(self.p384_der)}

    @classmethod
    def decode(cls, value: Mapping[str, object]) -> Self:
        """Read what :meth:`encode` wrote."""
        return cls(unb64(str(value["mlkem"])), unb64(str(value["p384"])))


def envelope(recipients: list[tuple[int, bytes]]) -> bytes:
    """Return a pack envelope: `u16 count`, then per recipient `u8 type, u16 length, bytes`."""
    out = [struct.pack("<H", len(recipients))]
    for kind, data in recipients:
        out += [struct.pack("<BH", kind, len(data)), data]
    return b"".join(out)


def parse_envelope(data: bytes) -> list[tuple[int, bytes]]:
    """Return an envelope's recipients. `DamageError` if it is malformed."""
    try:
        (count,) = struct.unpack_from("<H", data)
        at, found = 2, []
        for _ in range(count):
            kind, length = struct.unpack_from("<BH", data, at)
            at += 3 + length
            found.append((kind, data[at - length : at]))
    except struct.error:
        raise DamageError("a pack's envelope is malformed") from None
    if at != len(data):
        raise DamageError("a pack's envelope is malformed")
    return found


def state_recipient(writer: bytes, state_key: bytes, nonce: bytes, run_key: bytes, info: bytes) -> bytes:
    """Return recipient type 2: a run key for the writer itself."""
    return writer + nonce + AESGCM(state_key).encrypt(nonce, run_key, info)


def open_envelope(
    data: bytes, info: bytes, private: ClassPrivate | None, writer: bytes, state_key: bytes | None
) -> bytes:
    """Return the run key. `NotPermittedError` if no recipient is us, `DamageError` if one is and does not open."""
    for kind, sealed in parse_envelope(data):
        if kind == HPKE_RECIPIENT and private is not None:
            return private.open(sealed, info)
        if kind == STATE_RECIPIENT and state_key is not None and sealed[:_ID_BYTES] == writer:
            start = _ID_BYTES + _NONCE_BYTES
            try:
                return AESGCM(state_key).decrypt(sealed[_ID_BYTES:start], sealed[start:], info)
            except (InvalidTag, ValueError):
                raise DamageError("a run key does not open under its writer's key") from None
    raise NotPermittedError("this content is sealed to a class whose private key is not at hand")
