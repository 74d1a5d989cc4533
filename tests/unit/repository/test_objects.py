"""Frames: whatever byte is changed, the object is refused; a newer version is told from rot; content is bound to its place."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from holdfast.errors import DamageError, LimitError, VersionError
from holdfast.repository import names, objects
from holdfast.repository.objects import SealedHead

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VAULT = bytes(16)
NAME = "session/" + "0" * 32
BODY = {"name": NAME, "type": "session", "vault": VAULT.hex(), "signer": "root", "text": "é"}
PART = "part/" + "0" * 32 + "/1"
IKM = b"k" * 32


def sealed(plain: bytes = b"secret" * 200) -> bytes:
    return objects.seal(SealedHead(4, VAULT, 1, 0, bytes(32), objects.ROOT_SIGNER, b"envelope"), IKM, plain, KEY)


def open_sealed(data: bytes) -> bytes:
    parsed = objects.parse_sealed(data, PART, VAULT)
    objects.check_sealed_signature(parsed, KEY.public_key(), PART)
    return objects.unseal(parsed, IKM, PART)


def rehash(data: bytes) -> bytes:
    return data[:-32] + hashlib.sha256(data[:-32]).digest()


def flips(data: bytes) -> list[bytes]:
    return [data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :] for at in range(len(data))]


def test_a_control_object_comes_back() -> None:
    data = objects.encode_control(BODY, KEY)
    control = objects.parse_control(data, NAME, VAULT.hex())
    objects.check_signature(control, KEY.public_key(), NAME)
    assert control.body == BODY
    assert control.sha == hashlib.sha256(data).hexdigest()


def test_every_flipped_bit_of_a_control_object_is_found() -> None:
    for data in flips(objects.encode_control(BODY, KEY)):
        with pytest.raises(DamageError):
            objects.parse_control(data, NAME, VAULT.hex())


def test_a_forged_control_object_is_found_by_its_signature() -> None:
    original = objects.encode_control(BODY, KEY)
    for data in flips(original)[16:-32]:
        with pytest.raises(DamageError):
            objects.check_signature(objects.parse_control(rehash(data), NAME, VAULT.hex()), KEY.public_key(), NAME)


def test_a_newer_version_is_told_from_rot() -> None:
    for original, parse in (
        (objects.encode_control(BODY, KEY), lambda d: objects.parse_control(d, NAME, VAULT.hex())),
        (sealed(), lambda d: objects.parse_sealed(d, PART, VAULT)),
    ):
        newer = rehash(original[:8] + b"\x02\x00" + original[10:])
        with pytest.raises(VersionError):
            parse(newer)


@pytest.mark.parametrize(
    ("name", "vault"), [("session/" + "1" * 32, VAULT.hex()), (NAME, "1" * 32), ("ack/" + "0" * 32, VAULT.hex())]
)
def test_a_control_object_elsewhere_is_refused(name: str, vault: str) -> None:
    with pytest.raises(DamageError):
        objects.parse_control(objects.encode_control(BODY, KEY), name, vault)


def test_trailing_bytes_and_other_json_are_refused() -> None:
    data = objects.encode_control(BODY, KEY)
    for wrong in (data + b"\0", data[:50], b"", rehash(data[:-32] + b"\0" + bytes(32))):
        with pytest.raises(DamageError):
            objects.parse_control(wrong, NAME, VAULT.hex())
    for text in (b'{"b":1,"a":1}', b'{"a": 1}', b"[]", b"{", b'{"a":1.50}'):
        with pytest.raises(DamageError):
            objects.parse_canonical(text, "a text")


def test_a_control_object_has_a_limit() -> None:
    with pytest.raises(LimitError):
        objects.encode_control({"a": "x" * objects.CONTROL_BYTES_MAX}, KEY)


@pytest.mark.parametrize("plain", [b"", b"short", b"secret" * 1000, bytes(range(256)) * 4])
def test_a_sealed_object_comes_back(plain: bytes) -> None:
    assert open_sealed(sealed(plain)) == plain


def test_every_flipped_bit_of_a_sealed_object_is_found() -> None:
    original = sealed()
    for data in flips(original):
        with pytest.raises(DamageError):
            open_sealed(data)
    for data in flips(original)[12:-32]:
        with pytest.raises(DamageError):
            open_sealed(rehash(data))


def test_a_sealed_object_opens_under_its_key_only() -> None:
    parsed = objects.parse_sealed(sealed(), PART, VAULT)
    with pytest.raises(DamageError):
        objects.unseal(parsed, b"x" * 32, PART)
    for name, vault in (("state/x", VAULT), (PART, b"1" * 16)):
        with pytest.raises(DamageError):
            objects.parse_sealed(sealed(), name, vault)


def test_names() -> None:
    one, sha = "0" * 32, "a" * 64
    known = [
        "vault", f"key/{one}", "keyring/00000001", f"ack/{one}/00000000", f"part/{one}/64", f"data/aa/{sha}",
        f"state/{one}/{one}/00000009", f"countersign/{sha}", names.pack(sha, 3), names.numbered("plan", 7),
    ]  # fmt: skip
    assert all(names.is_known(name) for name in known)
    assert not any(
        names.is_known(name) for name in ("vaults", "keyring/1", f"key/{one}/x", f"part/{one}/x", "data/aa/b")
    )
    with pytest.raises(ValueError, match="100000000"):
        names.number(10**8)
    with pytest.raises(ValueError, match="vault"):
        names.last_number("vault")
