"""Control and sealed objects: frames, signatures, canonical JSON (docs/format/objects.md). Pure: bytes in, values out.

A parser raises `VersionError` for an unknown version and `DamageError` for everything else that is not as written; it
never returns a part of an object.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import field

import zstandard
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from holdfast.base.plain_json import read_json
from holdfast.base.values import dataclass
from holdfast.errors import DamageError, LimitError, VersionError

FORMAT_VERSION = 1
CONTROL_MAGIC = bytes.fromhex("89484643540D0A1A")
SEALED_MAGIC = bytes.fromhex("894846534F0D0A1A")
CONTROL_BYTES_MAX = 16_777_216
SEALED_BYTES_MAX = 1_073_741_824
SIGNATURE_BYTES = 64
SHA_BYTES = 32
NONCE_BYTES = 32
ZERO_NONCE = bytes(12)
UNSIGNED = bytes(SIGNATURE_BYTES)
ROOT_SIGNER = bytes(16)
COMPRESS_FROM_BYTES = 512

INDEX_RUN, REFERENCE_SET, WRITER_STATE, SNAPSHOT_PART, KEYRING, GRANT = 1, 2, 3, 4, 5, 6
SEALED_TYPES = {
    "index": INDEX_RUN,
    "refs": REFERENCE_SET,
    "state": WRITER_STATE,
    "part": SNAPSHOT_PART,
    "keyring": KEYRING,
    "grant": GRANT,
}

_CONTROL_HEAD = struct.Struct("<8sHHI")
_SEALED_HEAD = struct.Struct("<8sHBB16sHHI32s16sQH")
_OWNER = slice(12, 28)
"""Where a sealed object says whose it is."""


def canonical(value: object) -> bytes:
    """Return canonical JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def parse_canonical(data: bytes, what: str) -> dict[str, object]:
    """Return the object that canonical JSON holds. `DamageError` if it is not canonical or no object."""
    try:
        value = read_json(data)
    except ValueError:
        value = None
    if not isinstance(value, dict) or canonical(value) != data:
        raise DamageError(f"{what} is not canonical JSON")
    return value


def b64(data: bytes) -> str:
    """Return bytes as canonical JSON holds them."""
    return base64.b64encode(data).decode()


def unb64(text: str) -> bytes:
    """Return the bytes of :func:`b64`. `ValueError` if it is not base64."""
    return base64.b64decode(text, validate=True)


def hkdf(ikm: bytes, salt: bytes, info: bytes) -> bytes:
    """Return HKDF-SHA-256 with 32 bytes of output."""
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(ikm)


def sha256(data: bytes) -> str:
    """Return the SHA-256 of an object, as names hold it."""
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, slots=True)
class Control:
    """A parsed control object. Its signature is *not* checked yet: see :func:`check_signature`."""

    body: Mapping[str, object]
    signer: str
    """A writer's id, `root`, or empty if unsigned."""
    sha: str
    data: bytes = field(repr=False)


def encode_control(body: Mapping[str, object], key: Ed25519PrivateKey | None) -> bytes:
    """Return a control object, unsigned if there is no key."""
    text = canonical(body)
    head = _CONTROL_HEAD.pack(CONTROL_MAGIC, FORMAT_VERSION, 0, len(text)) + text
    if len(head) + SIGNATURE_BYTES + SHA_BYTES > CONTROL_BYTES_MAX:
        raise LimitError("a control object would be larger than the format allows", limit=CONTROL_BYTES_MAX)
    signature = UNSIGNED if key is None else key.sign(_control_message(head))
    framed = head + signature
    return framed + hashlib.sha256(framed).digest()


def parse_control(data: bytes, name: str, vault: str) -> Control:
    """Check frame, hash, type and vault of a control object found under `name`."""
    if len(data) < _CONTROL_HEAD.size + SIGNATURE_BYTES + SHA_BYTES or len(data) > CONTROL_BYTES_MAX:
        raise damaged(name, "its length is impossible")
    magic, version, reserved, length = _CONTROL_HEAD.unpack_from(data)
    _check_head(data, name, magic == CONTROL_MAGIC, version)
    if reserved or len(data) != _CONTROL_HEAD.size + length + SIGNATURE_BYTES + SHA_BYTES:
        raise damaged(name, "its frame is inconsistent")
    body = parse_canonical(data[_CONTROL_HEAD.size : _CONTROL_HEAD.size + length], f"object {name}")
    signer = body.get("signer")
    # Compared in a tuple, not in a set: what stands there may be a list, which has no hash.
    if body.get("name") != name or body.get("type") != name.split("/")[0] or vault not in ("", body.get("vault")):
        raise damaged(name, "it belongs to another place or another vault")
    if not isinstance(signer, str):
        raise damaged(name, "it names no signer")
    return Control(body, signer, sha256(data), data)


def check_signature(control: Control, key: Ed25519PublicKey, name: str) -> None:
    """Check a control object's signature. `DamageError` if it is not the key's."""
    head = control.data[: -(SIGNATURE_BYTES + SHA_BYTES)]
    _verify(key, control.data[len(head) : len(head) + SIGNATURE_BYTES], _control_message(head), name)


def _control_message(head: bytes) -> bytes:
    return b"holdfast/1 control" + hashlib.sha256(head).digest()


def _sealed_message(before: bytes) -> bytes:
    return b"holdfast/1 sealed" + hashlib.sha256(before).digest()


def _verify(key: Ed25519PublicKey, signature: bytes, message: bytes, name: str) -> None:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        raise damaged(name, "its signature is not its signer's") from None


def _check_head(data: bytes, name: str, magic: bool, version: int) -> None:  # noqa: FBT001 - an inner function
    """Tell rot from a newer version: a version counts only if the object's hash is right."""
    intact = hashlib.sha256(data[:-SHA_BYTES]).digest() == data[-SHA_BYTES:]
    if not intact or not magic:
        raise damaged(name, "its bytes are not what was written")
    if version != FORMAT_VERSION:
        raise VersionError(f"object {name} has format version {version}; this release reads {FORMAT_VERSION}")


def damaged(name: str, why: str) -> DamageError:
    """Return the error for an object that is not as it was written."""
    return DamageError(f"object {name} is damaged: {why}", object=name)


def of_other_vault(name: str, data: bytes, vault: bytes) -> bool:
    """Return whether bytes are whole, in their place, and another vault's. Anybody can make such: what it means is another matter."""
    try:
        if name.split("/")[0] not in SEALED_TYPES:
            return parse_control(data, name, "").body.get("vault") != vault.hex()
        owner = data[_OWNER]
        return owner != vault and parse_sealed(data, name, owner).vault == owner
    except (DamageError, VersionError):
        return False


@dataclass(frozen=True, slots=True)
class Sealed:
    """A parsed sealed object; its plaintext is still sealed, its signature not checked."""

    kind: int
    codec: int
    vault: bytes
    class_id: int
    generation: int
    nonce: bytes
    signer: bytes
    plain_bytes: int
    envelope: bytes
    sha: str
    data: bytes = field(repr=False)

    @property
    def signer_name(self) -> str:
        """The signer as control objects name it."""
        return "root" if self.signer == ROOT_SIGNER else self.signer.hex()


@dataclass(frozen=True, slots=True)
class SealedHead:
    """What a sealed object is about to be."""

    kind: int
    vault: bytes
    class_id: int
    generation: int
    nonce: bytes
    signer: bytes
    envelope: bytes = b""


def seal(head: SealedHead, ikm: bytes, plaintext: bytes, key: Ed25519PrivateKey) -> bytes:
    """Return a sealed object. `ikm` must fit the type; the nonce must be fresh."""
    if len(plaintext) > SEALED_BYTES_MAX:
        raise LimitError("a sealed object would be larger than the format allows", limit=SEALED_BYTES_MAX)
    codec, coded = 0, plaintext
    if len(plaintext) >= COMPRESS_FROM_BYTES:
        small = zstandard.ZstdCompressor(level=3).compress(plaintext)
        codec, coded = (1, small) if len(small) < len(plaintext) else (0, plaintext)
    aad = (
        _SEALED_HEAD.pack(
            SEALED_MAGIC,
            FORMAT_VERSION,
            head.kind,
            codec,
            head.vault,
            head.class_id,
            0,
            head.generation,
            head.nonce,
            head.signer,
            len(plaintext),
            len(head.envelope),
        )
        + head.envelope
    )
    before = aad + AESGCM(_sealed_key(head.kind, head.nonce, ikm)).encrypt(ZERO_NONCE, coded, aad)
    framed = before + key.sign(_sealed_message(before))
    return framed + hashlib.sha256(framed).digest()


def parse_sealed(data: bytes, name: str, vault: bytes) -> Sealed:
    """Check frame, hash, type and vault of a sealed object found under `name`."""
    if len(data) < _SEALED_HEAD.size + 16 + SIGNATURE_BYTES + SHA_BYTES or len(data) > SEALED_BYTES_MAX + 65536:
        raise damaged(name, "its length is impossible")
    head = _SEALED_HEAD.unpack_from(data)
    magic, version, kind, codec, owner, class_id, reserved, generation, nonce, signer, plain_bytes, envelope_bytes = (
        head
    )
    _check_head(data, name, magic == SEALED_MAGIC, version)
    start = _SEALED_HEAD.size + envelope_bytes
    if kind != SEALED_TYPES.get(name.split("/")[0]) or owner != vault:
        raise damaged(name, "it belongs to another place or another vault")
    if reserved or codec > 1 or plain_bytes > SEALED_BYTES_MAX or start + 16 + SIGNATURE_BYTES + SHA_BYTES > len(data):
        raise damaged(name, "its frame is inconsistent")
    envelope = data[_SEALED_HEAD.size : start]
    sha = sha256(data)
    return Sealed(kind, codec, owner, class_id, generation, nonce, signer, plain_bytes, envelope, sha, data)


def check_sealed_signature(sealed: Sealed, key: Ed25519PublicKey, name: str) -> None:
    """Check a sealed object's signature. `DamageError` if it is not the key's."""
    before = sealed.data[: -(SIGNATURE_BYTES + SHA_BYTES)]
    _verify(key, sealed.data[len(before) : len(before) + SIGNATURE_BYTES], _sealed_message(before), name)


def unseal(sealed: Sealed, ikm: bytes, name: str) -> bytes:
    """Return the plaintext. `DamageError` if the key does not open it or the length is not the one stated."""
    start = _SEALED_HEAD.size + len(sealed.envelope)
    try:
        coded = AESGCM(_sealed_key(sealed.kind, sealed.nonce, ikm)).decrypt(
            ZERO_NONCE, sealed.data[start : -(SIGNATURE_BYTES + SHA_BYTES)], sealed.data[:start]
        )
    except InvalidTag:
        raise damaged(name, "it does not open under its key") from None
    if sealed.codec == 0:
        plain = coded
    else:
        try:
            # The frame must state the length that the signed head states: nothing larger is ever allocated.
            stated = zstandard.frame_content_size(coded) == sealed.plain_bytes
            plain = zstandard.ZstdDecompressor().decompress(coded) if stated else b""
        except zstandard.ZstdError:
            raise damaged(name, "its content does not decompress") from None
    if len(plain) != sealed.plain_bytes:
        raise damaged(name, "its content has another length than stated")
    return plain


def _sealed_key(kind: int, nonce: bytes, ikm: bytes) -> bytes:
    return hkdf(ikm, nonce, b"holdfast/1 sealed" + bytes((kind,)))
