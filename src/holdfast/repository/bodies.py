"""Bodies of control objects as typed values (docs/format/objects.md, keys.md, protocol.md). Pure.

`encode` gives the fields of the body without the five that every body has; `decode` takes a parsed body and raises
`DamageError` for a field that is missing or of another type. Unknown keys are ignored, as the format demands.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Self, get_type_hints

from holdfast.base.environment import format_time, parse_time
from holdfast.base.values import dataclass
from holdfast.errors import DamageError
from holdfast.repository.objects import b64, unb64

COMMIT, REVOKED = "commit", "revoked"
_SHA = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Body:
    """Base of all bodies: fields of type str, int, bool, bytes, time, or a tuple of bodies or strings."""

    kind: ClassVar[str] = ""

    def encode(self) -> dict[str, object]:
        """Return the fields as canonical JSON holds them."""
        return {f.name.rstrip("_"): _write(getattr(self, f.name)) for f in dataclasses.fields(self)}

    @classmethod
    def decode(cls, body: Mapping[str, object]) -> Self:
        """Return the typed value of a body. `DamageError` if a field is missing or malformed."""
        hints = _hints(cls)
        values: dict[str, object] = {}
        for f in dataclasses.fields(cls):
            raw = body.get(f.name.rstrip("_"), _MISSING)
            if raw is _MISSING:
                if f.default is dataclasses.MISSING:
                    raise DamageError(f"a {cls.kind or cls.__name__} object lacks its field {f.name}")
                continue
            try:
                values[f.name] = _read(raw, hints[f.name])
            except (ValueError, TypeError):
                raise DamageError(f"a {cls.kind or cls.__name__} object has a malformed field {f.name}") from None
        return cls(**values)


_MISSING = object()


_hints_of: dict[str, dict[str, object]] = {}


def _hints(cls: type[Body]) -> dict[str, object]:
    if cls.__name__ not in _hints_of:
        _hints_of[cls.__name__] = get_type_hints(cls)
    return _hints_of[cls.__name__]


def _write(value: object) -> object:
    if isinstance(value, Body):
        return value.encode()
    if isinstance(value, tuple):
        return [_write(item) for item in value]
    if isinstance(value, bytes):
        return b64(value)
    if isinstance(value, datetime):
        return format_time(value)
    return "" if value is None else value


def _read(raw: object, hint: object) -> object:
    if isinstance(hint, types.UnionType):  # `datetime | None`: the empty text is None
        return None if raw == "" else _read(raw, typing.get_args(hint)[0])
    if typing.get_origin(hint) is tuple:
        if not isinstance(raw, list):
            raise TypeError
        return tuple(_read(item, typing.get_args(hint)[0]) for item in raw)
    if isinstance(hint, type) and issubclass(hint, Body):
        if not isinstance(raw, dict):
            raise TypeError
        return hint.decode(raw)
    if hint in {bytes, datetime}:
        if not isinstance(raw, str):
            raise TypeError
        return unb64(raw) if hint is bytes else parse_time(raw)
    if type(raw) is not hint or (hint is int and not 0 <= typing.cast("int", raw) < 1 << 64):
        raise TypeError
    return raw


def check_shas(shas: tuple[str, ...]) -> tuple[str, ...]:
    """Return hashes that are well formed. `DamageError` otherwise."""
    if not all(_SHA.fullmatch(sha) for sha in shas):
        raise DamageError("a list of hashes holds something else")
    return shas


@dataclass(frozen=True, slots=True)
class VaultHeader(Body):
    """`vault`: the header. Unsigned; bound by the key slots and by the keyring."""

    kind: ClassVar[str] = "vault"
    format_: int
    root_public: bytes
    created: datetime
    label: str


@dataclass(frozen=True, slots=True)
class Slot(Body):
    """`key/ID`: the root key, wrapped."""

    kind: ClassVar[str] = "key"
    method: str
    salt: bytes
    wrapped: bytes
    iterations: int = 0
    bound: bytes = b""
    """The root's public key under the slot key. Empty in a slot of the older form, which is symmetric."""
    epoch: int = 0
    """Which root key is sealed in it: how often it had been replaced."""
    sealed: bytes = b""
    """Of a key service: what it seals, and opens to the slot's secret."""
    mechanism: str = ""
    threshold: int = 0
    shares: tuple[str, ...] = ()
    """Digests of the sheets, if it is opened by shares."""


@dataclass(frozen=True, slots=True)
class GenerationRef(Body):
    """A generation of a data class."""

    class_: int
    generation: int


@dataclass(frozen=True, slots=True)
class FormerKey(Body):
    """A signing key that was replaced, and all it signed that counts."""

    public: bytes
    sessions: tuple[str, ...]
    runs: tuple[str, ...]
    """SHAs of index runs and reference sets."""
    states: tuple[str, ...]
    """Of writer state, `ID/SOURCE/N`."""


@dataclass(frozen=True, slots=True)
class JoinedBody(Body):
    """`joined/ID`: a host joined with its enrolment file, and made a signing key of its own. The first one counts."""

    kind: ClassVar[str] = "joined"
    signing_public: bytes


@dataclass(frozen=True, slots=True)
class WriterCertificate(Body):
    """`writer/ID/N`: who may sign, and from when on it is no longer trusted."""

    kind: ClassVar[str] = "writer"
    id: str
    label: str
    signing_public: bytes
    classes: tuple[int, ...]
    group: str
    revoked: bool
    distrust_runs: tuple[str, ...]
    sessions: tuple[str, ...] = ()
    """If revoked: its sessions that still count. Later ones are not snapshots."""
    role: str = "writer"
    """What its signatures are worth: `writer`, `restorer`, `verifier`, `auditor` or `pruner`."""
    newest: tuple[GenerationRef, ...] = ()
    """Generations that it must write to, or a newer one, from now on."""
    former: tuple[FormerKey, ...] = ()
    """Signing keys that it had before, and what they signed: anything else under them does not count."""
    expires: datetime | None = None
    joining: bool = False
    """Its key only signs `joined/ID`, which names the key that the host made for itself."""
    join_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class SessionBody(Body):
    """`session/ID`: a run is announced."""

    kind: ClassVar[str] = "session"
    source: str
    classes: tuple[int, ...]
    resumes: tuple[str, ...] = ()
    """Sessions given up by the same writer whose packs this one means to use."""


@dataclass(frozen=True, slots=True)
class CheckpointBody(Body):
    """`checkpoint/ID/N`: runs stored since the checkpoint before."""

    kind: ClassVar[str] = "checkpoint"
    runs: tuple[str, ...]
    packs: int
    bytes: int


@dataclass(frozen=True, slots=True)
class AckBody(Body):
    """`ack/ID/N`: the session rests on nothing that condemned list N names, and never will."""

    kind: ClassVar[str] = "ack"


@dataclass(frozen=True, slots=True)
class DecisionBody(Body):
    """`decision/ID/N`: the outcome of a session; `snapshot` is the SHA of the envelope, empty if revoked."""

    kind: ClassVar[str] = "decision"
    verdict: str
    snapshot: str


@dataclass(frozen=True, slots=True)
class CommittedBody(Body):
    """`committed/ID`: the bytes of `decision/ID/number`, which committed session ID, kept a second time. They prove themselves."""

    kind: ClassVar[str] = "committed"
    number: int
    decision: bytes


@dataclass(frozen=True, slots=True)
class EnvelopeClass(Body):
    """One class of a snapshot envelope."""

    class_: int
    generation: int
    refs: str
    part: str
    segments: int
    bytes_bucket: int
    files_bucket: int


@dataclass(frozen=True, slots=True)
class EnvelopeBody(Body):
    """`snapshot/ID`: what everybody with access to the store may know."""

    kind: ClassVar[str] = "snapshot"
    source: str
    parent: str
    started: datetime
    finished: datetime
    partial: bool
    classes: tuple[EnvelopeClass, ...]
    anomaly: int
    retain_until: datetime | None
    findings: int


@dataclass(frozen=True, slots=True)
class HoldBody(Body):
    """`hold/ID/N`: a legal hold, or its release; on an anomalous snapshot a release also ends its pin."""

    kind: ClassVar[str] = "hold"
    held: bool
    reason: str


@dataclass(frozen=True, slots=True)
class AdmissionBody(Body):
    """`admission/ID`: the time that retention counts."""

    kind: ClassVar[str] = "admission"
    admitted: datetime


@dataclass(frozen=True, slots=True)
class ForgottenBody(Body):
    """`forgotten/ID`: the tombstone of a snapshot."""

    kind: ClassVar[str] = "forgotten"
    reason: str
    snapshot: str


@dataclass(frozen=True, slots=True)
class DroppedBody(Body):
    """`dropped/ID/C`: the tombstone of one class of a snapshot; the others stay."""

    kind: ClassVar[str] = "dropped"
    class_: int
    reason: str
    snapshot: str


@dataclass(frozen=True, slots=True)
class CondemnBody(Body):
    """`condemn/N`: packs that nothing new may rest on, and the new packs that carry their live segments."""

    kind: ClassVar[str] = "condemn"
    packs: tuple[str, ...]
    repacked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlanBody(Body):
    """`plan/N`: what round N deletes. Immutable. `delete_after` is when the undo delay ends."""

    kind: ClassVar[str] = "plan"
    delete: tuple[str, ...]
    delete_after: datetime


@dataclass(frozen=True, slots=True)
class ClosedBody(Body):
    """`closed/N`: round N is over."""

    kind: ClassVar[str] = "closed"
    deleted: int


@dataclass(frozen=True, slots=True)
class DamagedBody(Body):
    """`damaged/N`: packs not to rest on; the highest N holds the whole list."""

    kind: ClassVar[str] = "damaged"
    packs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EpochBody(Body):
    """`epoch/N`: a copy of the home was promoted; `home` is the id of the new one (`home/ID` lies there alone)."""

    kind: ClassVar[str] = "epoch"
    number: int
    home: str


@dataclass(frozen=True, slots=True)
class ComparedBody(Body):
    """`compared/ID/N`: reference sets of a snapshot that were compared with their trees; `snapshot` is the envelope's SHA."""

    kind: ClassVar[str] = "compared"
    snapshot: str
    sound: tuple[str, ...]
    wanting: tuple[str, ...]
    unread: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CountersignBody(Body):
    """`countersign/SHA`: a run may be deduplicated against, by everybody (`scope` empty), by a group or by one writer."""

    kind: ClassVar[str] = "countersign"
    run: str
    scope: str
