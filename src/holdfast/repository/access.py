"""Who must agree before an operation: the access policy of a vault, requests, and approvals signed by people.

The policy is `access/N`, signed by root; each one after the first carries the approvals that the one before demands, so that the
holder of the root key alone cannot loosen it: a policy without them does not count. An approval is a signed statement over a
request, which names the vault, the operation, exactly what it is done to, a nonce and an end. Each request serves once: its
execution begins by creating `approval/NONCE`, which also keeps the statements.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from holdfast.base.environment import format_time, parse_time
from holdfast.base.plain_json import read_json
from holdfast.base.values import dataclass
from holdfast.errors import ApprovalMissingError, DamageError, UsageError
from holdfast.repository.bodies import Body
from holdfast.repository.home import ROOT
from holdfast.repository.objects import canonical

if TYPE_CHECKING:
    from holdfast.repository.home import Home
    from holdfast.repository.repository import Repository

OPERATIONS = ("forget", "prune", "release", "revoke", "enroll", "key", "export", "shred", "floor", "access")
"""Operations that can be made to need approvals; and `restore:CLASS` for a data class."""
REQUEST_DAYS = 14
STATEMENT_BYTES_MAX = 1 << 20
_MESSAGE = b"holdfast approval 1\n"


@dataclass(frozen=True, slots=True)
class Approver(Body):
    """A person who approves, by name and Ed25519 public key."""

    kind: ClassVar[str] = "approver"
    name: str
    public: bytes


@dataclass(frozen=True, slots=True)
class AccessPolicy(Body):
    """`access/N`: who must agree to what. Without one nothing needs approval."""

    kind: ClassVar[str] = "access"
    approvers: tuple[Approver, ...] = ()
    required: int = 0
    delay_seconds: int = 0
    """How long after the last signature that is needed the operation may begin."""
    operations: tuple[str, ...] = ()
    approvals: tuple[str, ...] = ()
    """The statements that agreed to this policy, as the one before it demands."""

    def digest(self) -> dict[str, object]:
        """Return what is approved when this policy is."""
        return {name: value for name, value in self.encode().items() if name != "approvals"}


@dataclass(frozen=True, slots=True)
class ApprovalUsed(Body):
    """`approval/NONCE`: an approved operation that was begun, with the statements that allowed it."""

    kind: ClassVar[str] = "approval"
    operation: str
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked to be approved."""

    vault: str
    operation: str
    what: Mapping[str, object]
    """Exactly what it is done to: ids and numbers."""
    nonce: str
    asked: datetime
    expires: datetime

    def encode(self) -> dict[str, object]:
        """Return it as canonical JSON holds it."""
        return {
            "vault": self.vault,
            "operation": self.operation,
            "what": dict(self.what),
            "nonce": self.nonce,
            "asked": format_time(self.asked),
            "expires": format_time(self.expires),
        }

    @classmethod
    def decode(cls, body: Mapping[str, object]) -> Self:
        """Read it. `ValueError`, `KeyError` or `TypeError` if it is none."""
        what = body["what"]
        if not isinstance(what, dict):
            raise TypeError
        return cls(
            str(body["vault"]),
            str(body["operation"]),
            what,
            str(body["nonce"]),
            parse_time(str(body["asked"])),
            parse_time(str(body["expires"])),
        )

    def asks_for(self, vault: str, operation: str, what: Mapping[str, object]) -> bool:
        """Return whether it asks for exactly this."""
        return (self.vault, self.operation, canonical(dict(self.what))) == (vault, operation, canonical(dict(what)))


def new_request(repository: Repository, operation: str, what: Mapping[str, object]) -> Request:
    """Return a request for an operation, as of now."""
    env = repository.env
    now = env.now()
    return Request(repository.home.vault, operation, what, env.random_id(), now, now + timedelta(days=REQUEST_DAYS))


@dataclass(frozen=True, slots=True)
class Statement:
    """A person's signature under a request."""

    request: Request
    approver: str
    signed: datetime
    signature: bytes

    def message(self) -> bytes:
        """Return the bytes that are signed."""
        said = {"request": self.request.encode(), "approver": self.approver, "signed": format_time(self.signed)}
        return _MESSAGE + canonical(said)

    def encode(self) -> str:
        """Return the statement as its file holds it: one line."""
        body = {
            "request": self.request.encode(),
            "approver": self.approver,
            "signed": format_time(self.signed),
            "signature": base64.b64encode(self.signature).decode(),
        }
        return canonical(body).decode()

    @classmethod
    def decode(cls, text: str | bytes) -> Self:
        """Read it; the signature is not checked. `UsageError` if it is none."""
        try:
            body = read_json(text[:STATEMENT_BYTES_MAX])
            return cls(
                Request.decode(body["request"]),
                str(body["approver"]),
                parse_time(str(body["signed"])),
                base64.b64decode(str(body["signature"]), validate=True),
            )
        except (ValueError, KeyError, TypeError):
            raise UsageError("this is no approval", next="make one with `holdfast approval sign`.") from None


def sign_request(request: Request, approver: str, key: Ed25519PrivateKey, now: datetime) -> Statement:
    """Return a person's statement. `UsageError` if the request has ended."""
    if now >= request.expires:
        raise UsageError("the request has ended", next="run the command again: it writes a new one.")
    unsigned = Statement(request, approver, now, b"")
    return Statement(request, approver, now, key.sign(unsigned.message()))


def read_approver_key(pem: bytes) -> Ed25519PrivateKey:
    """Read a person's key. `UsageError` if it is none."""
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError("this is no approver's key", next="make one with `holdfast approval key`.")
    return key


def agreed(policy: AccessPolicy, statements: Sequence[Statement], request: Request, now: datetime) -> tuple[str, ...]:
    """Return who agreed to a request, or raise `ApprovalMissingError` saying what is missing.

    Pure. A statement counts if it is over exactly this request, signed by a key of the policy, and made before now; each
    approver counts once. The operation may begin when the last signature that is needed is `delay_seconds` old.
    """
    if now >= request.expires:
        raise ApprovalMissingError("the request has ended", next="run the command again: it writes a new request.")
    times: dict[str, datetime] = {}
    for statement in statements:
        approver = next((each for each in policy.approvers if each.name == statement.approver), None)
        if approver is None or statement.request != request or statement.signed > now:
            continue
        if _signed_by(approver.public, statement):
            times[approver.name] = min(statement.signed, times.get(approver.name, statement.signed))
    if len(times) < policy.required:
        missing = policy.required - len(times)
        raise ApprovalMissingError(
            f"{missing} more of the {len(policy.approvers)} approvers must agree to this {request.operation}",
            required=policy.required,
            agreed=len(times),
        )
    begins = sorted(times.values())[policy.required - 1] + timedelta(seconds=policy.delay_seconds)
    if now < begins:
        raise ApprovalMissingError(
            f"enough people agreed; the operation may begin at {begins:%Y-%m-%d %H:%M} UTC",
            next="run the command again then.",
        )
    return tuple(sorted(times))


def _signed_by(public: bytes, statement: Statement) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(statement.signature, statement.message())
    except (InvalidSignature, ValueError):
        return False
    return True


def read_policy(home: Home) -> AccessPolicy:
    """Return the policy in force: the newest that the one before it agreed to. `DamageError` if one cannot be read."""
    current = AccessPolicy()
    for number in home.numbers("access"):
        name = f"access/{number:08d}"
        try:
            control = home.verify_control(name, home.store.get(name))
        except DamageError as error:
            error.next = (
                "restore with `--break-glass REASON`; `holdfast repair home` puts a policy back from the home's copy."
            )
            raise
        if control.signer != ROOT:
            continue  # a writer's own work under this name: it says nothing, and keeps nobody from reading the others
        policy = AccessPolicy.decode(control.body)
        if _follows(home, current, policy):
            current = policy
    return current


def _follows(home: Home, before: AccessPolicy, policy: AccessPolicy) -> bool:
    """Return whether a policy has the approvals that the one before it demands. Their delay was kept when it was put."""
    return approved(home, before, "access", policy.digest(), policy.approvals)


def approved(
    home: Home, policy: AccessPolicy, operation: str, what: Mapping[str, object], approvals: Sequence[str]
) -> bool:
    """Return whether an object carries the statements that a policy demands for what it does.

    This is how every executor and every reader checks it, by the vault alone. The delay was kept when the object was put.
    """
    if not needs_approval(policy, operation):
        return True
    try:
        statements = [Statement.decode(text) for text in approvals]
        request = statements[0].request
        latest = max(statement.signed for statement in statements)
        agreed(policy, statements, request, min(request.expires - timedelta(seconds=1), latest + _delay(policy)))
        return request.asks_for(home.vault, operation, what)
    except (ApprovalMissingError, UsageError, IndexError):
        return False


def _delay(policy: AccessPolicy) -> timedelta:
    return timedelta(seconds=policy.delay_seconds)


def needs_approval(policy: AccessPolicy, operation: str) -> bool:
    """Return whether an operation needs approvals. A policy that names any operation also guards itself."""
    if policy.required == 0:
        return False
    return operation in policy.operations or operation == "access"


def check_policy(policy: AccessPolicy) -> None:
    """Refuse a policy that nobody could satisfy or that says nothing. `UsageError`."""
    names = [approver.name for approver in policy.approvers]
    if len(set(names)) != len(names) or len({approver.public for approver in policy.approvers}) != len(names):
        raise UsageError("two approvers have the same name or the same key")
    if not 0 <= policy.required <= len(names):
        raise UsageError(f"{policy.required} approvals of {len(names)} approvers can never be had")
    known = [name for name in policy.operations if name in OPERATIONS or name.startswith("restore:")]
    if len(known) != len(policy.operations):
        raise UsageError("an unknown operation", next=f"choose from {', '.join(OPERATIONS)} and restore:CLASS.")


def put_policy(repository: Repository, policy: AccessPolicy) -> int:
    """Put the next policy. Whoever calls has checked that it was agreed to. `NotPermittedError` without the root key."""
    check_policy(policy)
    return repository.home.append("access", policy, repository.root)[0]


def use_request(repository: Repository, request: Request, statements: Sequence[Statement]) -> None:
    """Begin what was approved: from now on the request serves no more. `ApprovalMissingError` if it served already."""
    body = ApprovalUsed(request.operation, tuple(statement.encode() for statement in statements))
    name = f"approval/{request.nonce}"
    created = repository.home.store.size(name) is None and repository.home.create(name, body, repository.signature)
    if not created:
        raise ApprovalMissingError("these approvals were used already", next="run the command again for a new request.")
