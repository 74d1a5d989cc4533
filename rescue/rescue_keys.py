"""Keys of a Holdfast vault: what a person holds, and what a class of data is sealed under (``docs/format/keys.md``)."""

from __future__ import annotations

import base64
import hmac
import unicodedata

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, mlkem
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM1024P384PrivateKey, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from rescue_format import FIXED_NONCE, ID_BYTES, PAGE, Body, Damage, WrongKey, b64, gcm_open, hkdf, le16, le32

ITERATIONS_MIN, ITERATIONS_MAX = 210_000, 100_000_000
P384_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973


def read_secret(path: str, *, passphrase: bool) -> bytes:
    """The secret in a key file (or recovery kit), or a passphrase in the form that slots use."""
    with open(path, "rb") as stream:
        data = stream.read(2**20)
    if passphrase:
        return unicodedata.normalize("NFC", data.decode("utf-8").rstrip("\r\n")).encode("utf-8")
    lines = data.decode("ascii", "replace").splitlines()
    if len(lines) < 2 or lines[0].strip() != "HOLDFAST-KEY-1":
        raise WrongKey("that is not a Holdfast key file: its first line must be HOLDFAST-KEY-1")
    try:
        secret = base64.b64decode(lines[1].strip(), validate=True)
    except ValueError as failure:
        raise WrongKey("the key file's second line is not base64: copy it again") from failure
    if len(secret) != 32:
        raise WrongKey("the key file's second line has a wrong length: copy it again")
    return secret


def pair_of(slot_key: bytes) -> MLKEM1024P384PrivateKey:
    """The key pair that a slot key stands for."""
    seed = _expand(slot_key, b"holdfast/1 pair mlkem", 64)
    scalar = int.from_bytes(_expand(slot_key, b"holdfast/1 pair p384", 56), "big") % (P384_ORDER - 1) + 1
    return MLKEM1024P384PrivateKey(
        mlkem.MLKEM1024PrivateKey.from_seed_bytes(seed), ec.derive_private_key(scalar, ec.SECP384R1())
    )


def _expand(secret: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=b"", info=info).derive(secret)


def open_slot(slot_key: bytes, body: Body, vault: bytes, what: str) -> tuple[bytes, bytes]:
    """The root key in a slot, and the root's public key that the slot is bound to (empty in the older, symmetric form)."""
    salt, wrapped, aad = b64(body, "salt", what, 32), b64(body, "wrapped", what), b"holdfast/1 slot" + vault
    if not body.get("bound"):
        return gcm_open(slot_key, FIXED_NONCE, aad, wrapped, what), b""
    bound = gcm_open(
        hkdf(slot_key, salt, b"holdfast/1 slot bound"), FIXED_NONCE, aad, b64(body, "bound", what, 48), what
    )
    suite = Suite(KEM.MLKEM1024_P384, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    try:
        return suite.decrypt(wrapped, pair_of(slot_key), info=aad), bound
    except Exception as failure:
        raise Damage(f"{what}: what is sealed in it does not open") from failure


class ClassKeys:
    """All keys of one class generation that a reader needs. Of one that was erased only the index key is left."""

    def __init__(self, vault: bytes, record: Body) -> None:
        what = "keyring"
        self.vault, self.id, self.name, self.generation = vault, record["id"], record["name"], record["generation"]
        self.index_key = b64(record, "index_key", what, 32)
        self.scope = vault + le16(self.id) + le32(self.generation)
        self.erased = record.get("erased") is True
        if self.erased:
            return
        self._id_hmac = hmac.new(hkdf(b64(record, "dedup_key", what, 32), vault, b"holdfast/1 id"), digestmod="sha256")
        seed, der = b64(record["private"], "mlkem", what, 64), b64(record["private"], "p384", what)
        p384 = serialization.load_der_private_key(der, password=None)
        if not isinstance(p384, ec.EllipticCurvePrivateKey):
            raise Damage("keyring: a class's P-384 key is of another kind")
        self._private = MLKEM1024P384PrivateKey(mlkem.MLKEM1024PrivateKey.from_seed_bytes(seed), p384)

    def content_id(self, role: int, content: bytes) -> bytes:
        """The id of content in a role."""
        keyed = self._id_hmac.copy()
        keyed.update(bytes([role]))
        keyed.update(content)
        return keyed.digest()[:ID_BYTES]

    def page_ids(self, content: bytes, page_size: int) -> list[bytes]:
        """The ids of the pages of a chunk."""
        return [self.content_id(PAGE, content[at : at + page_size]) for at in range(0, len(content), page_size)]

    def open_hpke(self, purpose: bytes, wrapped: bytes, what: str) -> bytes:
        """A 32-byte secret sealed to this class for a purpose."""
        if self.erased:
            raise WrongKey(f"{what}: the keys of class {self.name}, generation {self.generation}, were destroyed")
        suite = Suite(KEM.MLKEM1024_P384, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
        try:
            secret = suite.decrypt(wrapped, self._private, info=purpose + self.scope)
        except Exception as failure:
            raise Damage(f"{what}: its key envelope does not open") from failure
        if len(secret) != 32:
            raise Damage(f"{what}: its key envelope holds no key")
        return secret


def hex_id(text: str, what: str) -> bytes:
    """The vault id in a slot."""
    try:
        value = bytes.fromhex(text)
    except ValueError as failure:
        raise Damage(f"{what}: its vault id is not hex") from failure
    if len(value) != 16:
        raise Damage(f"{what}: its vault id has a wrong length")
    return value


def stretch(secret: bytes, salt: bytes, body: Body) -> bytes:
    """The key of a passphrase slot."""
    iterations = body.get("iterations")
    if not isinstance(iterations, int) or not ITERATIONS_MIN <= iterations <= ITERATIONS_MAX:
        raise Damage("key slot: impossible number of iterations")
    return PBKDF2HMAC(algorithm=hashes.SHA512(), length=32, salt=salt, iterations=iterations).derive(secret)
