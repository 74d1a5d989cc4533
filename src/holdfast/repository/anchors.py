"""Anchors: signed heads of audit logs, kept in the vault as `audit/LOG/N`, where the host that wrote the log cannot change them.

A writer may add one and nobody deletes any. An anchor is signed twice: the head by the log's own key, the object by the writer,
whose certificate the root signed. A head that cannot be read is no anchor; `check` reports it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from holdfast.base.values import dataclass
from holdfast.errors import DamageError, ObjectMissingError, StoreError, UsageError
from holdfast.reliability.audit import PublicKey, SignedHead
from holdfast.reliability.audit.record import digest_of
from holdfast.repository.bodies import Body
from holdfast.stores.protocol import Capability

if TYPE_CHECKING:
    from holdfast.repository.repository import Repository

PREFIX = "audit"
LOOKED_AT_MAX = 500
"""Of one log, newest first: three weeks of heads, one an hour."""


@dataclass(frozen=True, slots=True)
class AnchorBody(Body):
    """`audit/LOG/N`: a signed head of an audit log."""

    kind: ClassVar[str] = "audit"
    size: int
    root: str
    chain: str
    signed: datetime
    signature: bytes
    public: str
    host: str
    """A digest of the name of the host that keeps the log."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """An anchored head and who put it there."""

    number: int
    """How many records it counts."""
    head: SignedHead
    public: PublicKey
    writer: str
    """The writer's id."""
    host: str


def put_anchor(repository: Repository, head: SignedHead, public: PublicKey, host: str) -> int:
    """Anchor a head under the number of records that it counts, which needs no listing; return it.

    A head of the same size that is there already serves as well: it was signed before this one.
    """
    body = AnchorBody(head.size, head.root, head.chain, head.time, head.signature, public.pem, digest_of(host))
    repository.home.create(f"{PREFIX}/{head.log}/{head.size:08d}", body, repository.identity)
    return head.size


def retain_anchor(repository: Repository, head: SignedHead, until: datetime) -> bool:
    """Have the home's store refuse to delete an anchor before a time; return whether it can. `StoreError`.

    A newer head proves all that an older one does, so it is enough that the newest is retained.
    """
    store = repository.store
    if Capability.RETAIN_UNTIL not in store.capabilities:
        return False
    store.retain_until(f"{PREFIX}/{head.log}/{head.size:08d}", until)
    return True


def retain_newest(repository: Repository, until: datetime) -> int:
    """Do the same for the newest anchors of every log, for hosts whose own key may not; return for how many logs. `StoreError`.

    Of each log the newest head of every key that signed one: a writer who plants a head of his own under a higher number has
    that one retained, too, and the true one none the less.
    """
    if Capability.RETAIN_UNTIL not in repository.store.capabilities:
        return 0
    retained = 0
    for log in repository.home.ids(PREFIX):
        newest: dict[str, int] = {}
        for anchor in _proven(repository, log):
            newest.setdefault(anchor.public.pem, anchor.number)
        for number in newest.values():
            repository.store.retain_until(f"{PREFIX}/{log}/{number:08d}", until)
        retained += bool(newest)
    return retained


def anchor_retained_until(repository: Repository, log: str, public: PublicKey) -> datetime | None:
    """Ask the store until when it refuses to delete the newest head that a log's key signed.

    None if it does not, cannot, or does not say, and if there is no such head.
    """
    store = repository.store
    if Capability.RETAIN_UNTIL not in store.capabilities:
        return None
    newest = next((anchor for anchor in _proven(repository, log) if anchor.public == public), None)
    if newest is None:
        return None
    try:
        return store.retained_until(f"{PREFIX}/{log}/{newest.number:08d}")
    except StoreError:
        return None


def _proven(repository: Repository, log: str) -> Iterator[Anchor]:
    """Yield the anchors of a log whose heads their keys signed, newest first, looking at a good number of them."""
    for number in reversed(anchor_numbers(repository, log)[-LOOKED_AT_MAX:]):
        try:
            anchor = _read(repository, log, number)
            proven = anchor.head.size == number and anchor.public.signed(anchor.head)
        except (DamageError, UsageError, ObjectMissingError):
            continue
        if proven:
            yield anchor


def _read(repository: Repository, log: str, number: int) -> Anchor:
    """Return one anchor. `DamageError`."""
    read, body = repository.home.read(f"{PREFIX}/{log}/{number:08d}", AnchorBody)
    head = SignedHead(log, body.size, body.root, body.chain, body.signed, body.signature)
    return Anchor(number, head, PublicKey(body.public), read.signer, body.host)


def newest_size(repository: Repository, log: str, public: PublicKey) -> int:
    """Return how many records the newest anchor counts that the log's own key signed; 0 if there is none. `StoreError`.

    What others planted under a higher number does not count.
    """
    return next((anchor.number for anchor in _proven(repository, log) if anchor.public == public), 0)


def read_anchors(repository: Repository, log: str) -> tuple[tuple[Anchor, ...], int]:
    """Return the anchors of a log in their order, and how many cannot be read."""
    numbers = anchor_numbers(repository, log)
    found = tuple(anchors_of(repository, log, numbers))
    return found, len(numbers) - len(found)


def anchor_numbers(repository: Repository, log: str) -> list[int]:
    """Return the numbers of records that the anchors of a log count, in their order. Any store error."""
    return repository.home.numbers(f"{PREFIX}/{log}")


def anchors_of(repository: Repository, log: str, numbers: Sequence[int]) -> Iterator[Anchor]:
    """Read anchors one at a time, as they are asked for; those that cannot be read are left out."""
    for number in numbers:
        with suppress(DamageError):
            yield _read(repository, log, number)


def logs_of_host(repository: Repository, host: str) -> frozenset[str]:
    """Return the ids of all logs that a host ever anchored, by the first anchor of each that can be read."""
    wanted = digest_of(host)
    return frozenset(log for log in repository.home.ids(PREFIX) if _host_of(repository, log) == wanted)


def _host_of(repository: Repository, log: str) -> str:
    for number in repository.home.numbers(f"{PREFIX}/{log}"):
        try:
            return _read(repository, log, number).host
        except DamageError:
            continue
    return ""
