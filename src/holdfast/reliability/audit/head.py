r"""Tree heads: the size, root and chain of the log at a moment, signed by the log's own key.

Ed25519 by default; ECDSA P-256 where policy asks for it. The signed bytes are ``holdfast audit head 1\n`` and the canonical
JSON of the head's fields; the public key travels as PEM (SubjectPublicKeyInfo).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from holdfast.base.environment import Environment, format_time, parse_time
from holdfast.base.plain_json import read_json
from holdfast.errors import AuditDamagedError, UsageError
from holdfast.reliability.audit.record import canonical

__all__ = ["ALGORITHMS", "PrivateKey", "PublicKey", "SignedHead", "genesis", "new_key", "read_key", "sign_head"]

ALGORITHMS = ("ed25519", "ecdsa-p256")
PrivateKey = Ed25519PrivateKey | ec.EllipticCurvePrivateKey
_CONTEXT = b"holdfast audit head 1\n"
_GENESIS = b"holdfast audit log 1\n"


def new_key(algorithm: str, env: Environment) -> PrivateKey:
    """Make a signing key. `UsageError` for an unknown algorithm."""
    if algorithm == "ed25519":
        return Ed25519PrivateKey.from_private_bytes(env.random_bytes(32))
    if algorithm == "ecdsa-p256":
        return ec.generate_private_key(ec.SECP256R1())
    raise UsageError(f"no signature algorithm {algorithm!r}", next=f"choose one of {', '.join(ALGORITHMS)}.")


def read_key(pem: bytes) -> PrivateKey:
    """Read a private key. `AuditDamagedError` if it is none of ours."""
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
        raise AuditDamagedError("the audit log's signing key cannot be read")
    return key


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The key that checks the heads of one log. `pem` is what an auditor keeps."""

    pem: str

    @classmethod
    def of(cls, key: PrivateKey) -> Self:
        """Return the public half."""
        return cls(
            key.public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            .decode()
        )

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the key's DER bytes: what is compared on the telephone."""
        der = self._load().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(der).hexdigest()

    def _load(self) -> Ed25519PublicKey | ec.EllipticCurvePublicKey:
        try:
            key = serialization.load_pem_public_key(self.pem.encode())
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PublicKey | ec.EllipticCurvePublicKey):
            raise UsageError(
                "this is no public key of an audit log", next="give the PEM that `holdfast audit head` shows."
            )
        return key

    def signed(self, head: SignedHead) -> bool:
        """Return whether a head was signed by this key's owner."""
        key = self._load()
        try:
            if isinstance(key, Ed25519PublicKey):
                key.verify(head.signature, head.message())
            else:
                key.verify(head.signature, head.message(), ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SignedHead:
    """The state of a log that its owner vouches for."""

    log: str
    """The log's id, 32 hex digits."""
    size: int
    """How many records there are."""
    root: str
    """The Merkle root over them, 64 hex digits."""
    chain: str
    """The chain value of the last of them, 64 hex digits."""
    time: datetime
    signature: bytes = b""

    def _fields(self) -> dict[str, object]:
        return {
            "log": self.log,
            "size": self.size,
            "root": self.root,
            "chain": self.chain,
            "time": format_time(self.time),
        }

    def message(self) -> bytes:
        """Return the bytes that are signed."""
        return _CONTEXT + canonical(self._fields())

    def encode(self) -> str:
        """Return the head as one line of canonical JSON."""
        return canonical(self._fields() | {"signature": base64.b64encode(self.signature).decode()}).decode()

    @classmethod
    def decode(cls, text: str | bytes) -> Self:
        """Read a head; its signature is not checked. `AuditDamagedError` if it is none."""
        try:
            return cls.of_fields(read_json(text))
        except (ValueError, TypeError, KeyError):
            raise AuditDamagedError("a head of the audit log cannot be read") from None

    @classmethod
    def of_fields(cls, body: Mapping[str, object]) -> Self:
        """Read a head from its fields. `KeyError`, `ValueError` or `TypeError` if they are not one's."""
        root, chain = bytes.fromhex(str(body["root"])), bytes.fromhex(str(body["chain"]))
        size = body["size"]
        if not isinstance(size, int) or size < 0:
            raise ValueError(size)
        return cls(
            log=str(body["log"]),
            size=size,
            root=root.hex(),
            chain=chain.hex(),
            time=parse_time(str(body["time"])),
            signature=base64.b64decode(str(body["signature"]), validate=True),
        )


def sign_head(key: PrivateKey, head: SignedHead) -> SignedHead:
    """Return the head with a signature."""
    message = head.message()
    signature = (
        key.sign(message) if isinstance(key, Ed25519PrivateKey) else key.sign(message, ec.ECDSA(hashes.SHA256()))
    )
    return SignedHead(head.log, head.size, head.root, head.chain, head.time, signature)


def genesis(log: str, public: PublicKey) -> bytes:
    """Return the chain value before the first record: it binds the log to its id and its key."""
    return hashlib.sha256(_GENESIS + log.encode() + b"\n" + public.pem.encode()).digest()
