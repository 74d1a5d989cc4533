"""The bytes of a Holdfast vault, format version 1, as ``docs/format`` specifies them.

This module turns bytes into values and refuses everything else: it opens no file and keeps no state.
Whatever does not parse, verify or decrypt raises `Damage`; a version from the future raises `UnknownVersion`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import zstandard
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from rescue_keys import ClassKeys

Body = dict[str, Any]  # of a canonical JSON object

FORMAT_VERSION = 1
ID_BYTES = 16
ORIGIN_BYTES = 16
NONCE_BYTES = 32
TAG_BYTES = 16
SEGMENT_PLAIN_BYTES_MAX = 16777216
PACK_BYTES_MAX = 134217728
PACK_ORIGINS_MAX = 4096
SEGMENT_CHUNKS_MAX = 65536
PATH_BYTES_MAX = 65536
INLINE_BYTES_MAX = 64
PIECES_INLINE_MAX = 32
LIST_ITEMS_MAX = 262144
NODE_BYTES_MAX = 8388608
NODE_EXPANDED_BYTES_MAX = 33554432
TREE_LEVELS_MAX = 16
MAP_GROUP_PAGES = 256
CONTROL_BYTES_MAX = 16777216
SEALED_BYTES_MAX = 1073741824

CONTROL_MAGIC = b"\x89HFCT\r\n\x1a"
SEALED_MAGIC = b"\x89HFSO\r\n\x1a"
PACK_MAGIC = b"\x89HFPK\r\n\x1a"
END_MAGIC = b"\x89HFEN\r\n\x1a"

CHUNK, NODE, PIECES, GROUP, PAGE, PAGES = 1, 2, 3, 4, 5, 6
FIXED_NONCE = bytes(12)
ALL_HOLE = bytes(ID_BYTES)
CLASS_RANK = ("phi-restricted", "phi", "imaging", "database", "operational", "system", "public")


class Damage(Exception):
    """These bytes are not what the format says they are; the text names what failed."""


class UnknownVersion(Damage):
    """Written by a newer release (or its version field is damaged); this reader must not guess."""


class WrongKey(Exception):
    """No key slot opens with the secret given, or a class's key is not in the keyring."""


# ---- primitives -------------------------------------------------------------------------------------------------


class Cursor:
    """Reads a byte string from its start; every read is checked, `finish` refuses trailing bytes."""

    def __init__(self, data: bytes, what: str) -> None:
        self.data, self.at, self.what = data, 0, what

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count < 0 or count > len(self.data) - self.at:
            raise Damage(f"{self.what}: ends too early")
        piece = self.data[self.at : self.at + count]
        self.at += count
        return piece

    def number(self, size: int) -> int:
        """A little-endian unsigned integer of `size` bytes."""
        return int.from_bytes(self.take(size), "little")

    def varint(self, most: int = 2**64 - 1) -> int:
        """An LEB128 number that is at most `most`."""
        value = shift = 0
        while True:
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise Damage(f"{self.what}: number too long")
        if value > most or (byte == 0 and shift):
            raise Damage(f"{self.what}: number out of range")
        return value

    def zigzag(self) -> int:
        """A signed 64-bit number."""
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def bytes_field(self, most: int) -> bytes:
        """A length and that many bytes."""
        return self.take(self.varint(most))

    def zero(self, count: int) -> None:
        """Reserved bytes: anything but zero is refused."""
        if any(self.take(count)):
            raise Damage(f"{self.what}: reserved field is not zero")

    def version(self, size: int) -> None:
        """A version field."""
        value = self.number(size)
        if value != FORMAT_VERSION:
            raise UnknownVersion(f"{self.what}: format version {value}; this reader knows {FORMAT_VERSION}")

    def finish(self) -> None:
        """The end must be here."""
        if self.at != len(self.data):
            raise Damage(f"{self.what}: trailing bytes")


def le16(value: int) -> bytes:
    """u16, little-endian."""
    return value.to_bytes(2, "little")


def le32(value: int) -> bytes:
    """u32, little-endian."""
    return value.to_bytes(4, "little")


def hkdf(ikm: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA-256 with 32 bytes of output."""
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info).derive(ikm)


def gcm_open(key: bytes, nonce: bytes, aad: bytes, sealed: bytes, what: str) -> bytes:
    """AES-256-GCM, or `Damage`."""
    try:
        return AESGCM(key).decrypt(nonce, sealed, aad)
    except (InvalidTag, ValueError) as failure:
        raise Damage(f"{what}: does not decrypt (changed, or sealed under another key)") from failure


def decode(codec: int, coded: bytes, length: int, what: str) -> bytes:
    """Undo the codec; never produces more than `length` bytes, and exactly that many or nothing."""
    if codec == 0:
        plain = coded
    elif codec == 1:
        try:
            recorded = zstandard.frame_content_size(coded)
            if recorded not in (-1, length):
                raise Damage(f"{what}: says another length than its frame")
            engine = zstandard.ZstdDecompressor()
            if recorded == -1:
                plain = engine.stream_reader(coded).read(length + 1)
            else:
                plain = engine.decompress(coded, max_output_size=length, allow_extra_data=False)
        except zstandard.ZstdError as failure:
            raise Damage(f"{what}: does not decompress") from failure
    else:
        raise Damage(f"{what}: unknown codec {codec}")
    if len(plain) != length:
        raise Damage(f"{what}: has another length than it says")
    return plain


def b64(body: Body, key: str, what: str, length: int | None = None) -> bytes:
    """A base64 field of a JSON body."""
    try:
        value = base64.b64decode(body[key], validate=True)
    except (KeyError, TypeError, ValueError) as failure:
        raise Damage(f"{what}: field {key} is missing or not base64") from failure
    if length is not None and len(value) != length:
        raise Damage(f"{what}: field {key} has a wrong length")
    return value


def canonical_json(data: bytes, what: str) -> Body:
    """A canonical JSON object; other spellings of the same object are refused."""
    try:
        body = json.loads(data.decode("utf-8"))
        again = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as failure:
        raise Damage(f"{what}: not JSON") from failure
    if not isinstance(body, dict) or again != data:
        raise Damage(f"{what}: not canonical JSON")
    return body


def signature_holds(public: bytes, signature: bytes, message: bytes) -> bool:
    """Ed25519."""
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


# ---- control and sealed objects -----------------------------------------------------------------------------------


class Control(NamedTuple):
    """A control object whose frame holds; `signed` is its signature over `message`, not yet checked."""

    body: Body
    message: bytes
    signature: bytes

    def signed_by(self, public: bytes | None) -> bool:
        """Whether this key signed it."""
        return public is not None and signature_holds(public, self.signature, self.message)


def parse_control(data: bytes, kind: str, vault: str | None, what: str) -> Control:
    """The frame of the control object named `what`, of type `kind`, belonging to `vault` (hex; None: any)."""
    if len(data) > CONTROL_BYTES_MAX or len(data) < 112:
        raise Damage(f"{what}: impossible size")
    if hashlib.sha256(data[:-32]).digest() != data[-32:]:
        raise Damage(f"{what}: its hash does not match")
    cursor = Cursor(data, what)
    if cursor.take(8) != CONTROL_MAGIC:
        raise Damage(f"{what}: not a control object")
    cursor.version(2)
    cursor.zero(2)
    body = canonical_json(cursor.take(cursor.number(4)), what)
    message = b"holdfast/1 control" + hashlib.sha256(data[: cursor.at]).digest()
    signature = cursor.take(64)
    cursor.take(32)
    cursor.finish()
    if body.get("type") != kind or not isinstance(body.get("vault"), str) or not isinstance(body.get("signer"), str):
        raise Damage(f"{what}: is an object of another kind")
    if body.get("name") != what:
        raise Damage(f"{what}: is an object of another name")
    if vault is not None and body["vault"] != vault:
        raise Damage(f"{what}: belongs to another vault")
    return Control(body, message, signature)


class Sealed(NamedTuple):
    """A sealed object whose frame holds; `open_with` gives its plaintext."""

    type: int
    codec: int
    class_id: int
    generation: int
    nonce: bytes
    signer: bytes
    length: int
    envelope: bytes
    aad: bytes
    ciphertext: bytes
    message: bytes
    signature: bytes
    what: str

    def open_with(self, ikm: bytes) -> bytes:
        """The plaintext, under the key material that its type calls for."""
        key = hkdf(ikm, self.nonce, b"holdfast/1 sealed" + bytes([self.type]))
        return decode(
            self.codec, gcm_open(key, FIXED_NONCE, self.aad, self.ciphertext, self.what), self.length, self.what
        )

    def signed_by(self, public: bytes | None) -> bool:
        """Whether this key signed it."""
        return public is not None and signature_holds(public, self.signature, self.message)


def parse_sealed(data: bytes, kind: int, vault: bytes, what: str) -> Sealed:
    """The frame of a sealed object of type number `kind`."""
    if len(data) < 94 + TAG_BYTES + 96 or len(data) > SEALED_BYTES_MAX + 2**20:
        raise Damage(f"{what}: impossible size")
    if hashlib.sha256(data[:-32]).digest() != data[-32:]:
        raise Damage(f"{what}: its hash does not match")
    cursor = Cursor(data[:-96], what)
    if cursor.take(8) != SEALED_MAGIC:
        raise Damage(f"{what}: not a sealed object")
    cursor.version(2)
    number, codec = cursor.number(1), cursor.number(1)
    if number != kind or cursor.take(16) != vault:
        raise Damage(f"{what}: is an object of another kind or vault")
    class_id = cursor.number(2)
    cursor.zero(2)
    generation, nonce, signer = cursor.number(4), cursor.take(NONCE_BYTES), cursor.take(16)
    length = cursor.number(8)
    if length > SEALED_BYTES_MAX:
        raise Damage(f"{what}: says it is larger than an object may be")
    envelope = cursor.take(cursor.number(2))
    aad = data[: cursor.at]
    ciphertext = cursor.take(len(data) - 96 - cursor.at)
    message = b"holdfast/1 sealed" + hashlib.sha256(data[:-96]).digest()
    return Sealed(
        number,
        codec,
        class_id,
        generation,
        nonce,
        signer,
        length,
        envelope,
        aad,
        ciphertext,
        message,
        data[-96:-32],
        what,
    )


# ---- packs ----------------------------------------------------------------------------------------------------------


class PackHeader(NamedTuple):
    """The plain start of a pack."""

    kind: int
    class_id: int
    generation: int
    nonce: bytes
    length: int
    envelopes: list[list[tuple[int, bytes]]]
    origins: list[tuple[bytes, int]]


PACK_FIXED_BYTES = 76
NO_ENVELOPE = 0xFFFF


def pack_header_length(start: bytes, what: str) -> int:
    """H, from the first 76 bytes."""
    length = int.from_bytes(start[68:72], "little")
    if start[:8] != PACK_MAGIC or not PACK_FIXED_BYTES <= length <= PACK_BYTES_MAX:
        raise Damage(f"{what}: not a pack")
    return length


def parse_pack_header(data: bytes, vault: bytes, what: str) -> PackHeader:
    """Bytes 0 to H of a pack."""
    cursor = Cursor(data, what)
    if cursor.take(8) != PACK_MAGIC:
        raise Damage(f"{what}: not a pack")
    cursor.version(2)
    kind = cursor.number(1)
    cursor.zero(1)
    if kind not in (1, 2, 3) or cursor.take(16) != vault:
        raise Damage(f"{what}: of an unknown kind, or of another vault")
    class_id = cursor.number(2)
    cursor.zero(2)
    generation, nonce, length = cursor.number(4), cursor.take(NONCE_BYTES), cursor.number(4)
    envelope_count, origin_count = cursor.number(2), cursor.number(2)
    if length != len(data) or not 1 <= origin_count <= PACK_ORIGINS_MAX:
        raise Damage(f"{what}: header of an impossible shape")
    envelopes = []
    for _ in range(envelope_count):
        recipients = cursor.number(2)
        envelopes.append([(cursor.number(1), cursor.take(cursor.number(2))) for _ in range(recipients)])
    origins = [(cursor.take(NONCE_BYTES), cursor.number(2)) for _ in range(origin_count)]
    cursor.finish()
    for position, (_, index) in enumerate(origins):
        if index >= envelope_count and not (position == 0 and index == NO_ENVELOPE):
            raise Damage(f"{what}: an origin without an envelope")
    if origins[0][0] != nonce:
        raise Damage(f"{what}: its first origin is not itself")
    return PackHeader(kind, class_id, generation, nonce, length, envelopes, origins)


class Segment(NamedTuple):
    """One segment in a pack's directory. Chunk i has `ids[16*i:16*i+16]`, `roles[i]` (as coded), `bounds[i]:bounds[i+1]`."""

    origin: bytes
    ordinal: int
    offset: int
    stored: int
    codec: int
    length: int
    ids: bytes
    roles: bytes
    bounds: list[int]


def origin_of(run_key: bytes, nonce: bytes) -> bytes:
    """The origin that a run key makes of the second half of a pack nonce; it must be the first half."""
    return hmac.new(run_key, b"holdfast/1 origin" + nonce[ORIGIN_BYTES:], "sha256").digest()[:ORIGIN_BYTES]


def directory_key(keys: ClassKeys, pack_nonce: bytes) -> bytes:
    """The key of a pack's directory."""
    return hkdf(keys.index_key, pack_nonce, b"holdfast/1 directory")


def parse_directory(plain: bytes, nonces: list[bytes], end: int, what: str) -> dict[tuple[bytes, int], Segment]:
    """The segments by (origin, ordinal); `end` is where the pack's segments must have ended."""
    cursor = Cursor(plain, what)
    cursor.version(1)
    segments: dict[tuple[bytes, int], Segment] = {}
    for _ in range(cursor.varint(PACK_BYTES_MAX)):
        nonce = nonces[cursor.varint(len(nonces) - 1)]
        ordinal, offset = cursor.varint(2**32 - 1), cursor.varint(end)
        stored = cursor.varint(SEGMENT_PLAIN_BYTES_MAX * 2)
        codec, length = cursor.number(1), cursor.varint(SEGMENT_PLAIN_BYTES_MAX)
        ids, roles, bounds = bytearray(), bytearray(), [0]
        for _ in range(cursor.varint(SEGMENT_CHUNKS_MAX)):
            ids += cursor.take(ID_BYTES)
            roles.append(_role(cursor.number(1), what))
            bounds.append(bounds[-1] + cursor.varint(SEGMENT_PLAIN_BYTES_MAX))
            if bounds[-1] == bounds[-2]:
                raise Damage(f"{what}: an empty chunk")
        if (
            bounds[-1] != length
            or stored < TAG_BYTES
            or offset + stored > end
            or (key := (nonce[:ORIGIN_BYTES], ordinal)) in segments
        ):
            raise Damage(f"{what}: directory of an impossible shape")
        segments[key] = Segment(nonce, ordinal, offset, stored, codec, length, bytes(ids), bytes(roles), bounds)
    cursor.finish()
    return segments


def _role(coded: int, what: str) -> int:
    role, size = coded & 15, coded >> 4
    if role not in (CHUNK, NODE, PIECES, GROUP, PAGES) or not (1 <= size <= 8 if role == PAGES else size == 0):
        raise Damage(f"{what}: chunk of an unknown role")
    return coded


def open_segment(keys: ClassKeys, run_key: bytes, kind: int, segment: Segment, sealed: bytes, what: str) -> bytes:
    """The plaintext of a segment."""
    pack_key = hkdf(run_key, segment.origin, b"holdfast/1 segment" + keys.scope + bytes([kind]))
    aad = (
        b"HFSG\x01" + bytes([kind]) + le16(keys.id) + le32(keys.generation) + keys.vault
        + segment.origin + le32(segment.ordinal) + bytes([segment.codec]) + le32(segment.length)
    )  # fmt: skip
    coded = gcm_open(pack_key, le32(segment.ordinal) + bytes(8), aad, sealed, what)
    return decode(segment.codec, coded, segment.length, what)


class RunPack(NamedTuple):
    """One pack as an index run lists it."""

    name: str
    size: int
    kind: int
    nonces: list[bytes]
    directory: bytes


def parse_run(plain: bytes, what: str) -> list[RunPack]:
    """The packs of an index run."""
    cursor = Cursor(plain, what)
    cursor.version(1)
    packs = []
    for _ in range(cursor.varint()):
        name, size, kind = cursor.take(32).hex(), cursor.varint(PACK_BYTES_MAX), cursor.number(1)
        nonces = [cursor.take(NONCE_BYTES) for _ in range(cursor.varint(PACK_ORIGINS_MAX))]
        packs.append(RunPack(name, size, kind, nonces, cursor.bytes_field(PACK_BYTES_MAX)))
        if not nonces or kind not in (1, 2, 3):
            raise Damage(f"{what}: a pack without an origin, or of an unknown kind")
    cursor.finish()
    return packs
