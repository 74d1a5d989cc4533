r"""A page's seal: an Ed25519 signature over its bytes, kept inside the file as a comment that no browser shows.

Anybody with the public key proves a page offline, with no vault and no network: the digest is of the page without its seal,
so one changed byte is found. Signatures are over a message that no other object of Holdfast begins with.

Ed25519 as in RFC 8032; the message is ``holdfast report v1\n`` and the SHA-256 of the page in hexadecimal digits.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Protocol

from holdfast.errors import EvidenceError

__all__ = ["PageSeal", "Signs", "check_page", "fingerprint", "seal_page"]

MESSAGE = b"holdfast report v1\n"
_SEAL = re.compile(rb"<!-- holdfast-seal key=([0-9a-f]{64}) signature=([0-9a-f]{128}) -->\n\Z")


class Signs(Protocol):
    """What signs: a vault's root key, or anything else that makes Ed25519 signatures."""

    @property
    def public(self) -> bytes:
        """The 32 bytes of the public key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of the signature."""
        ...


@dataclass(frozen=True, slots=True)
class PageSeal:
    """Whose signature a page carries. It proves that the page is whole, and made by whoever holds that key."""

    public: str
    """The public key, 64 hexadecimal digits."""
    sha256: str
    """Of the page without the seal."""


def fingerprint(public: bytes) -> str:
    """Return what people compare: the first 32 hexadecimal digits of the key's SHA-256, in groups of four."""
    digits = hashlib.sha256(public).hexdigest()[:32]
    return " ".join(digits[at : at + 4] for at in range(0, 32, 4))


def seal_page(html: str, signer: Signs) -> bytes:
    """Return the page with its seal at the end."""
    content = html.encode()
    signature = signer.sign(MESSAGE + hashlib.sha256(content).hexdigest().encode())
    return content + f"<!-- holdfast-seal key={signer.public.hex()} signature={signature.hex()} -->\n".encode()


def check_page(content: bytes, public: bytes | None = None) -> PageSeal:
    """Prove a sealed page; `public` is the key it must be signed with, if known.

    `EvidenceError` if there is no seal, if a byte differs from what was signed, or if another key signed it.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    match = _SEAL.search(content)
    if match is None:
        raise EvidenceError("the page carries no seal")
    key, signature = bytes.fromhex(match[1].decode()), bytes.fromhex(match[2].decode())
    if public is not None and key != public:
        raise EvidenceError("the page is sealed with another key than the one given")
    digest = hashlib.sha256(content[: match.start()]).hexdigest()
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, MESSAGE + digest.encode())
    except InvalidSignature:
        raise EvidenceError("the page is not what was sealed: it was changed, or its seal is forged") from None
    return PageSeal(key.hex(), digest)
