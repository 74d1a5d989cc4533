r"""The record of a drill: what is signed, chained and kept. Frozen values to canonical JSON and back; no path, name or content.

A record's signature is Ed25519 (RFC 8032) over ``holdfast drill v1\n`` and the SHA-256, in hexadecimal digits, of its canonical
JSON; each record holds its number in the chain and the digest of the one before, so one that is removed or put in is found.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from holdfast.base.plain_json import read_json
from holdfast.errors import EvidenceError
from holdfast.repository.objects import canonical
from holdfast.services.forecast import Forecast
from holdfast.services.judge import Outcome

if TYPE_CHECKING:
    from holdfast.reports.seal import Signs

__all__ = [
    "COUNTED",
    "IN_PART",
    "DrillRecord",
    "Phase",
    "SignedRecord",
    "check_record",
    "digest_of",
    "read_record",
    "sign_record",
]

SCHEMA = 1
IN_PART = frozenset({"partial", "mounted"})
"""Kinds of drills of a part of a service."""
MESSAGE = b"holdfast drill v1\n"
RECORD_BYTES_MAX = 8 << 20
COUNTED = ("locate", "keys", "rehydrate", "fetch", "application recovery", "service check")
"""Phases that a real recovery goes through, too: their sum is the RTO achieved. Setting up the isolated place, comparing with the
snapshot, the application's own deep verification and clearing away are what a drill adds; a restore verifies every byte itself."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of a drill, in seconds from its beginning. `counted`: it is part of the RTO achieved."""

    name: str
    start: float
    seconds: float
    counted: bool


@dataclass(frozen=True, slots=True)
class DrillRecord:
    """What one drill did, measured and found. Times are RFC 3339 texts in UTC, durations seconds."""

    id: str
    number: int
    """Its place in the chain of this evidence folder, from 1."""
    previous: str
    """SHA-256 of the record before; empty for the first."""
    vault: str
    vault_label: str
    service: str
    title: str
    kind: str
    """`full`, `bare` (with a copy of the store and a recovery kit only), `partial` (a sample of files, no application) or
    `mounted` (the application on a mount, some questions, only what they touched)."""
    scenario: str
    """The failure that was injected before; empty: none."""
    verdict: str
    """`passed`, `missed` (came back right, and too late or too old) or `failed`."""
    cause: str
    """Why it is not `passed`; empty if it is."""
    snapshot: str
    snapshot_started: str
    began: str
    ended: str
    isolation: str
    weaker: tuple[str, ...]
    """In which ways the place was isolated less than it should be; empty: it was isolated."""
    phases: tuple[Phase, ...]
    rto: float
    """The objective."""
    rto_achieved: float
    rpo: float
    """The objective."""
    rpo_achieved: float
    """Age of the snapshot's data when the drill began."""
    rpo_judged: bool
    """Whether that age was held against the objective: not if an older snapshot was chosen on purpose."""
    files: int
    bytes: int
    bytes_per_s: float
    """Plaintext bytes per second of the phase `fetch`."""
    first_byte: float
    """Seconds of `fetch` before the first byte was written."""
    compared_files: int
    """Entries whose kind, size, mode and times were compared with the snapshot."""
    compared_bytes: int
    """Bytes of content that were read back from the vault and compared."""
    outcomes: tuple[Outcome, ...]
    forecast: Forecast | None
    """For the service's size today; None where it cannot be said."""
    holdfast: str
    schema: int = SCHEMA

    @property
    def proves(self) -> bool:
        """Whether it shows that the service comes back: it passed, whole, and nothing was broken on purpose."""
        return self.verdict == "passed" and not self.in_part and not self.scenario

    @property
    def in_part(self) -> bool:
        """Whether only a part of the service was drilled: its time says nothing of the whole."""
        return self.kind in IN_PART

    def phase(self, name: str) -> float:
        """Return the seconds of a phase, all its spans together; 0 if it did not happen."""
        return sum(phase.seconds for phase in self.phases if phase.name == name)


@dataclass(frozen=True, slots=True)
class SignedRecord:
    """A record with its signature, as a file holds it."""

    record: DrillRecord
    public: str
    signature: str

    def encode(self) -> bytes:
        """Return the bytes of its file."""
        body = {"record": dataclasses.asdict(self.record), "key": self.public, "signature": self.signature}
        return json.dumps(body, ensure_ascii=False, indent=1, sort_keys=True).encode() + b"\n"


def digest_of(record: DrillRecord) -> str:
    """Return the SHA-256 of a record's canonical JSON."""
    # Canonical JSON of the format has no fractions; durations count in microseconds there.
    return hashlib.sha256(canonical(_whole(dataclasses.asdict(record)))).hexdigest()


def _whole(value: Any) -> Any:  # noqa: ANN401 - whatever a record holds
    if isinstance(value, float):
        return {"us": round(value * 1_000_000)}
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(item) for item in value]
    return value


def sign_record(record: DrillRecord, signer: Signs) -> SignedRecord:
    """Return the record signed."""
    return SignedRecord(record, signer.public.hex(), signer.sign(MESSAGE + digest_of(record).encode()).hex())


def read_record(data: bytes) -> SignedRecord:
    """Parse a record's file. `EvidenceError` if it is none; the signature is not looked at yet."""
    try:
        body = read_json(data[:RECORD_BYTES_MAX])
        return SignedRecord(_made(DrillRecord, body["record"]), str(body["key"]), str(body["signature"]))
    except (ValueError, KeyError, TypeError, OverflowError):
        raise EvidenceError("the file is no drill record") from None


def check_record(signed: SignedRecord, public: bytes | None = None) -> None:
    """Prove a record's signature; `public` is the key it must be signed with, if known. `EvidenceError`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key, signature = bytes.fromhex(signed.public), bytes.fromhex(signed.signature)
        Ed25519PublicKey.from_public_bytes(key).verify(signature, MESSAGE + digest_of(signed.record).encode())
    except (InvalidSignature, ValueError, OverflowError):
        raise EvidenceError(
            "the drill record is not what was signed: it was changed, or its signature is forged"
        ) from None
    if public is not None and key != public:
        raise EvidenceError("the drill record is signed with another key than the one given")


def _made(kind: Any, value: Any) -> Any:  # noqa: ANN401 - kinds of fields are of any kind
    """Make a value of a record from JSON: exactly the fields there are, each of its kind. `TypeError`, `KeyError`."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return None if value is None else _made(arguments[0], value)
    if origin is tuple:
        if not isinstance(value, list):
            raise TypeError
        return tuple(_made(arguments[0], item) for item in value)
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        if not isinstance(value, Mapping) or value.keys() != hints.keys():
            raise TypeError
        return kind(**{name: _made(hint, value[name]) for name, hint in hints.items()})  # type: ignore[operator]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and type(value) is not kind:
        raise TypeError
    return value
