"""Every parser of foreign bytes that is written in Python, as a function to be fuzzed.

A parser may refuse: with the project's own errors, and with no other. What it accepts must hold up: encoded again it is the
same. Where a random byte would never get past a hash, a signature or a seal, the function here makes them, with keys of its own,
so that what lies behind is tried. `PARSERS` maps a name, which is also that of its corpus, to its function.

Long runs: `python fuzz/long.py`; in the test suite the corpus and some thousand mutations of each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from holdfast.config.load import loads
from holdfast.config.render import explain
from holdfast.errors import DamageError, HoldfastError, InternalError, WrongKeyError
from holdfast.reliability.audit.files import segment_name
from holdfast.reliability.audit.head import PublicKey, SignedHead
from holdfast.reliability.audit.read import check_proof
from holdfast.reliability.audit.record import AuditRecord
from holdfast.repository import bodies, names, objects, refsets, snapshots, transfer, wire
from holdfast.repository.access import AccessPolicy, ApprovalUsed, Statement
from holdfast.repository.anchors import AnchorBody
from holdfast.repository.credentials import KeyFile, RoleCredential
from holdfast.repository.hpke import envelope, open_envelope, parse_envelope
from holdfast.repository.keyring import ClassGeneration, Keyring
from holdfast.repository.listing import decode_part, encode_part
from holdfast.repository.slots import unwrap
from holdfast.runs.approvals import read_request
from holdfast.runs.drill.record import check_record, read_record

__all__ = ["PARSERS", "feed"]

VAULT = "11" * 16
_VAULT_ID = bytes.fromhex(VAULT)
_KEY = bytes(range(32))
_ROOT = Ed25519PrivateKey.from_private_bytes(_KEY)
_ROOT_PUBLIC = _ROOT.public_key().public_bytes_raw()
_AUDIT_KEY = PublicKey.of(_ROOT)
_NOW = datetime(2026, 11, 23, tzinfo=UTC)

BODIES: Mapping[str, type[bodies.Body]] = {
    body.kind: body
    for body in (
        *(bodies.VaultHeader, bodies.Slot, bodies.WriterCertificate, bodies.SessionBody, bodies.CheckpointBody),
        *(
            bodies.AckBody,
            bodies.DecisionBody,
            bodies.CommittedBody,
            bodies.EnvelopeBody,
            bodies.HoldBody,
            bodies.AdmissionBody,
        ),
        *(bodies.ForgottenBody, bodies.CondemnBody, bodies.PlanBody, bodies.ClosedBody, bodies.DamagedBody),
        *(bodies.CountersignBody, AccessPolicy, ApprovalUsed, AnchorBody),
    )
}


def feed(name: str, data: bytes) -> None:
    """Feed a parser. A refusal by an error of the project ends quietly; any other exception is a defect found."""
    with suppress(HoldfastError):
        PARSERS[name](data)


def _framed(body: bytes) -> bytes:
    """Return a control object around any body: frame, signature and hash are right."""
    head = objects.CONTROL_MAGIC + b"\1\0\0\0" + len(body).to_bytes(4, "little") + body
    signed = head + _ROOT.sign(b"holdfast/1 control" + hashlib.sha256(head).digest())
    return signed + hashlib.sha256(signed).digest()


def _control(data: bytes) -> None:
    """A control object: as it is, and around the input as its body."""
    with suppress(HoldfastError):
        objects.parse_control(data, "vault", "")
    try:
        body = objects.parse_canonical(data, "the input")
    except DamageError:
        body = {}
    control = objects.parse_control(_framed(data), str(body.get("name")), str(body.get("vault")))
    objects.check_signature(control, _ROOT.public_key(), "the input")
    assert objects.canonical(control.body) == data
    known = BODIES.get(str(body.get("type")))
    if known is not None:
        value = known.decode(control.body)
        assert known.decode(value.encode()) == value
        if isinstance(value, bodies.CondemnBody):
            bodies.check_shas(value.packs)


def _sealed(data: bytes) -> None:
    """A sealed object: with its hash and signature put right; and one whose content, coded, is the input."""
    name = f"index/{'0' * 64}"
    before = data[: -objects.SIGNATURE_BYTES - objects.SHA_BYTES]
    signed = before + _ROOT.sign(b"holdfast/1 sealed" + hashlib.sha256(before).digest())
    found = None
    with suppress(HoldfastError):
        found = objects.parse_sealed(signed + hashlib.sha256(signed).digest(), name, data[12:28])
    if found is not None:
        objects.check_sealed_signature(found, _ROOT.public_key(), name)
        assert found.data[12:28] == found.vault
        with suppress(HoldfastError):
            objects.unseal(found, _KEY, name)
    _content(data, name)


def _content(data: bytes, name: str) -> None:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    codec, length, coded = data[:1], data[1:5].ljust(8, b"\0"), data[5:]
    aad = objects.SEALED_MAGIC + b"\1\0\1" + codec + _VAULT_ID + bytes(8) + _KEY + bytes(16) + length + b"\0\0"
    sealing = AESGCM(objects.hkdf(_KEY, _KEY, b"holdfast/1 sealed\1"))
    before = aad + sealing.encrypt(objects.ZERO_NONCE, coded, aad)
    signed = before + bytes(objects.SIGNATURE_BYTES)
    sealed = objects.parse_sealed(signed + hashlib.sha256(signed).digest(), name, _VAULT_ID)
    assert len(objects.unseal(sealed, _KEY, name)) == sealed.plain_bytes


def _keyring(data: bytes) -> None:
    ring = Keyring.decode(objects.parse_canonical(data, "the keyring"))
    assert Keyring.decode(ring.encode()) == ring


def _credential(data: bytes) -> None:
    credential = RoleCredential.parse(data)
    assert RoleCredential.parse(credential.encode()) == credential
    with suppress(KeyError, TypeError, ValueError):  # as it promises
        ClassGeneration.decode_all(credential.body.get("classes"))


def _key_file(data: bytes) -> None:
    try:
        key = KeyFile.parse(data)
    except WrongKeyError:
        return
    assert KeyFile.parse(key.encode("more lines, for people\n")) == key


def _slot(data: bytes) -> None:
    slot = bodies.Slot.decode(objects.parse_canonical(data, "a key slot"))
    assert bodies.Slot.decode(slot.encode()) == slot
    unwrap(slot, KeyFile(_KEY), _VAULT_ID)


def _envelope(data: bytes) -> None:
    found = parse_envelope(data)
    assert envelope(found) == data
    open_envelope(data, b"info", None, bytes(16), _KEY)


def _references(data: bytes) -> None:
    found = refsets.parse(data)
    if not found.parent:
        assert found.added.encode() == data, "one spelling of every set"
    both, less = found.added.union(found.removed), found.added.minus(found.removed)
    assert refsets.parse(both.encode()).added == both
    assert len(less) <= len(found.added) <= len(both) <= len(found.added) + len(found.removed)
    assert not len(less.minus(found.added))


def _part(data: bytes) -> None:
    part = decode_part(objects.parse_canonical(data, "a sealed part"), 1, 0)
    again = decode_part(objects.parse_canonical(encode_part(part, main=True), "a sealed part"), 1, 0)
    assert again == part


def _list(data: bytes) -> None:
    """The list of a courier's medium, under a manifest that names it."""
    manifest = transfer.Manifest(
        courier="c", set=0, medium=0, medium_id="", last=True, previous="", list_sha=hashlib.sha256(data).hexdigest(),
        objects=0, bytes_=0, challenge=_KEY,
    )  # fmt: skip
    found = transfer.parse_list(data, manifest)
    assert transfer.parse_list(transfer.encode_list(found), _renamed(manifest, found)) == found
    transfer.digest_of(_KEY, [one.sha for one in found])


def _renamed(manifest: transfer.Manifest, found: tuple[transfer.SetObject, ...]) -> transfer.Manifest:
    from dataclasses import replace

    return replace(manifest, list_sha=hashlib.sha256(transfer.encode_list(found)).hexdigest())


def _set(data: bytes) -> None:
    """A manifest and a receipt of a courier, around the input as their body."""
    try:
        name = str(objects.parse_canonical(data, "the input").get("name"))
    except DamageError:
        name = ""
    with suppress(HoldfastError):
        transfer.open_manifest(data, name, VAULT, _ROOT_PUBLIC)
    with suppress(HoldfastError):
        manifest = transfer.open_manifest(_framed(data), name, VAULT, _ROOT_PUBLIC)
        assert transfer.Manifest.decode(manifest.encode()) == manifest
    transfer.open_receipt(_framed(data), "a", 0)


def _configuration(data: bytes) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    config = loads(text, environ={})
    assert explain("vault.url", config)


def _evidence(data: bytes) -> None:
    """A drill's record: what is read can be written, read again, and checked."""
    signed = read_record(data)
    assert read_record(signed.encode()) == signed
    check_record(signed)


def _audit(data: bytes) -> None:
    """A line, a head, and a proof of the audit log; an approval and a request."""
    for read in (SignedHead.decode, Statement.decode, read_request, _audit_record, _proof, _public_key):
        with suppress(HoldfastError):
            read(data)


def _audit_record(data: bytes) -> None:
    record = AuditRecord.decode(data)
    with suppress(InternalError):  # a text outside the alphabet: read, for it is what was written, and never written
        assert AuditRecord.decode(record.encode()) == record


def _proof(data: bytes) -> None:
    check_proof(data, _AUDIT_KEY)


def _public_key(data: bytes) -> None:
    with suppress(UnicodeDecodeError):
        assert PublicKey(data.decode()).fingerprint


def _names(data: bytes) -> None:
    """Names of objects, selectors of snapshots, numbers."""
    text = data.decode(errors="surrogateescape")
    if names.is_known(text):
        assert text.isascii()
        assert ".." not in text
    with suppress(ValueError):
        number = names.last_number(text)
        assert segment_name(number).endswith(names.number(number))
    for choose in (lambda: snapshots.select((), text), lambda: snapshots.parse_moment(text)):
        with suppress(HoldfastError):
            choose()
    cursor = wire.Cursor(data)
    with suppress(DamageError):
        while cursor.at < cursor.end:
            at = cursor.at
            value = cursor.varint()
            assert wire.varint(value) == data[at : cursor.at], "one spelling of every number"


PARSERS: Mapping[str, Callable[[bytes], None]] = {
    "control": _control,
    "sealed": _sealed,
    "keyring": _keyring,
    "credential": _credential,
    "keyfile": _key_file,
    "slot": _slot,
    "envelope": _envelope,
    "references": _references,
    "part": _part,
    "list": _list,
    "set": _set,
    "configuration": _configuration,
    "evidence": _evidence,
    "audit": _audit,
    "names": _names,
}
"""What each parser is called, and its function."""
