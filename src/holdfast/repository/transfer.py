"""Transfer sets: what a courier carries, as signed lists. Pure; docs/tiers.md describes the medium to the byte.

A set is everything that the vault holds and no earlier set does. Each medium of it has a list of objects (hash, size, name)
and a manifest, signed by the vault's root, that names the list by its hash. A receipt says, per medium, that the objects
were read back at the far side: a keyed hash over what was read, under the manifest's own challenge.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from holdfast.base.environment import Environment
from holdfast.errors import DamageError, MediumDamageError
from holdfast.repository import names
from holdfast.repository.bodies import Body
from holdfast.repository.home import Signer
from holdfast.repository.objects import b64, check_signature, encode_control, parse_control
from holdfast.stores.protocol import ObjectInfo

__all__ = [
    "FIRST",
    "Manifest",
    "Receipt",
    "ReceiptPart",
    "SetObject",
    "digest_of",
    "encode_list",
    "in_order",
    "manifest_name",
    "open_manifest",
    "open_receipt",
    "parse_list",
    "seal_manifest",
    "write_receipt",
]

FIRST = ("data", "meta", "refs", "part", "index", "countersign", "key", "keyring", "writer", "twin", "vault")
"""Kinds of objects that travel first; what relies on them (sessions, snapshots, decisions, rounds) follows."""
LAST = ("admission", "hold", "forgotten", "dropped", "condemn", "plan", "closed", "decision", "committed")
"""These decide something, and travel last."""
RECEIPT = "receipt"
_ROW = re.compile(rb"([0-9a-f]{64}) (0|[1-9][0-9]{0,18}) ([!-~]+)")


@dataclass(frozen=True, slots=True)
class SetObject:
    """One object of a set."""

    name: str
    size: int
    sha: str


@dataclass(frozen=True, slots=True)
class Manifest(Body):
    """What one medium of a set holds. `last`: the set is complete with it."""

    kind = "courier"
    courier: str
    set: int
    medium: int
    medium_id: str
    last: bool
    previous: str
    """SHA-256 of the manifest of the medium before it in the set; empty for the first."""
    list_sha: str
    objects: int
    bytes_: int
    challenge: bytes


@dataclass(frozen=True, slots=True)
class ReceiptPart(Body):
    """One medium that was imported."""

    medium: int
    manifest: str
    digest: str
    objects: int
    bytes_: int


@dataclass(frozen=True, slots=True)
class Receipt(Body):
    """A set that is complete at the far side. It holds no secret and is not signed: the digests prove that the media were read."""

    kind = RECEIPT
    courier: str
    set: int
    media: tuple[ReceiptPart, ...]
    received: datetime


def in_order(listed: Iterable[ObjectInfo]) -> list[ObjectInfo]:
    """Return the objects of a set in the order in which they travel: what is relied on before what relies on it."""

    def rank(info: ObjectInfo) -> tuple[int, bool, str]:
        kind = names.VAULT if info.name == names.twin(names.VAULT) else info.name.split("/", maxsplit=1)[0]
        place = FIRST.index(kind) if kind in FIRST else len(FIRST) + 1 + (LAST.index(kind) + 1 if kind in LAST else 0)
        return place, names.untwinned(info.name) != info.name, info.name

    return sorted((info for info in listed if not info.name.startswith("probe/")), key=rank)


def encode_list(objects: Sequence[SetObject]) -> bytes:
    """Return a medium's list: one line per object, `SHA-256 SIZE NAME`."""
    return "".join(f"{one.sha} {one.size} {one.name}\n" for one in objects).encode("ascii")


def parse_list(data: bytes, manifest: Manifest) -> tuple[SetObject, ...]:
    """Return the objects of a list that a manifest names. `MediumDamageError` if it is another."""
    if hashlib.sha256(data).hexdigest() != manifest.list_sha:
        raise MediumDamageError(f"the list of medium {manifest.medium} of set {manifest.set} is not what was written")
    found = []
    for line in data.splitlines():
        row = _ROW.fullmatch(line)
        if row is None:
            raise MediumDamageError("a medium's list has a line that says nothing")
        sha, size, name = (part.decode("ascii") for part in row.groups())
        if not names.is_known(name):
            raise MediumDamageError("a medium's list names an object that the format does not have")
        found.append(SetObject(name, int(size), sha))
    return tuple(found)


def manifest_name(courier: str, number: int, medium: int) -> str:
    """Return the name that a manifest is signed under, which is also its place on the medium."""
    return names.numbered("courier", courier, number, medium)


def seal_manifest(manifest: Manifest, vault: str, root: Signer, env: Environment) -> bytes:
    """Return a manifest's bytes, signed."""
    name = manifest_name(manifest.courier, manifest.set, manifest.medium)
    return encode_control(manifest.encode() | _common(name, vault, root.name, env), root.key)


def open_manifest(data: bytes, name: str, vault: str, root_public: bytes) -> Manifest:
    """Verify a manifest found under a name. `MediumDamageError` if it is damaged, of another vault, or not root's."""
    try:
        control = parse_control(data, name, vault)
        check_signature(control, Ed25519PublicKey.from_public_bytes(root_public), name)
        return Manifest.decode(control.body)
    except DamageError as error:
        raise MediumDamageError(f"a manifest of the medium cannot be trusted: {error.what}") from None


def digest_of(challenge: bytes, shas: Iterable[str]) -> str:
    """Return what proves that objects were read: HMAC-SHA-256 under the challenge over their hashes, in the list's order."""
    mac = hmac.new(challenge, digestmod=hashlib.sha256)
    for sha in shas:
        mac.update(bytes.fromhex(sha))
    return mac.hexdigest()


def write_receipt(receipt: Receipt, vault: str, env: Environment) -> bytes:
    """Return a receipt's bytes."""
    name = names.numbered(RECEIPT, receipt.courier, receipt.set)
    return encode_control(receipt.encode() | _common(name, vault, "", env), None)


def open_receipt(data: bytes, courier: str, number: int) -> tuple[str, Receipt]:
    """Return a receipt and the vault that it names. `DamageError` if it is none, or of another set."""
    control = parse_control(data, names.numbered(RECEIPT, courier, number), "")
    return str(control.body.get("vault")), Receipt.decode(control.body)


def _common(name: str, vault: str, signer: str, env: Environment) -> dict[str, object]:
    return {
        "name": name,
        "type": name.split("/", maxsplit=1)[0],
        "vault": vault,
        "nonce": b64(env.random_bytes(16)),
        "time": env.timestamp(),
        "signer": signer,
    }
