"""A snapshot whose envelope is lost, put together from what else speaks of it: its decision and its sealed parts.

The decision is the writer's own signed word that it committed, and each part is signed by the same writer and opens only under
its class's key. What only the envelope knew is not known: whether there were more classes, reference sets, buckets, the anomaly.
So it can be restored and looked into, when somebody names it by its id, and nothing else rests on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.base.environment import parse_time
from holdfast.errors import DamageError, HoldfastError, ObjectMissingError
from holdfast.repository import names
from holdfast.repository.bodies import COMMIT, REVOKED, DecisionBody, EnvelopeBody, SessionBody
from holdfast.repository.decisions import copied_commit, is_forgotten
from holdfast.repository.listing import read_dropped, with_main_part
from holdfast.repository.roles import PRUNE, WRITE, may
from holdfast.repository.types import ClassPart, SnapshotInfo

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.repository.home import Home, Read
    from holdfast.repository.repository import Repository

__all__ = ["salvaged"]


def salvaged(repository: Repository, snapshot: str) -> SnapshotInfo | None:
    """Return what can be said of a committed snapshot without its envelope; None if that is nothing, or it was never lost."""
    home = repository.home
    if is_forgotten(home, snapshot) or not _is_lost(home, snapshot):
        return None
    writer, when = _committed_by(home, snapshot)
    if when is None:
        return None
    classes = _classes(repository, snapshot, writer)
    if not classes:
        return None
    info = SnapshotInfo(
        id=snapshot,
        source=_source(home, snapshot, writer),
        parent="",
        writer=writer,
        started=when,
        finished=when,
        partial=False,
        findings=0,
        anomaly=0,
        retain_until=None,
        admitted=None,
        held=False,
        classes=classes,
        salvaged=True,
    )
    try:
        return with_main_part(repository, info)
    except HoldfastError:
        return info


def _is_lost(home: Home, snapshot: str) -> bool:
    try:
        home.read(f"snapshot/{snapshot}", EnvelopeBody)
    except DamageError:
        return True
    return False


def _committed_by(home: Home, snapshot: str) -> tuple[str, datetime | None]:
    """Return who committed a snapshot and when, by the first decision that a writer validly signed as a commit."""
    for number in home.numbers(f"decision/{snapshot}"):
        name = names.numbered("decision", snapshot, number)
        try:
            read, body = home.read(name, DecisionBody)
        except DamageError:
            continue
        if body.verdict == REVOKED and home.may(read.signer, PRUNE, name):
            return "", None
        if body.verdict == COMMIT and _may_commit(home, read.signer, snapshot):
            return read.signer, _time(read)
    copied = copied_commit(home, snapshot)
    if copied is None or not _may_commit(home, copied[0].signer, snapshot):
        return "", None
    return copied[0].signer, _time(copied[0])


def _may_commit(home: Home, signer: str, snapshot: str) -> bool:
    certificate = home.certificate(signer)
    if certificate is None or not may(certificate.role, WRITE):
        return False
    return not certificate.revoked or snapshot in certificate.sessions


def _time(read: Read) -> datetime | None:
    try:
        return parse_time(str(read.control.body.get("time")))
    except ValueError:
        return None


def _classes(repository: Repository, snapshot: str, writer: str) -> tuple[ClassPart, ...]:
    """Return the classes that have a part which the committing writer signed; one that is damaged is named all the same."""
    home, known = repository.home, repository.classes
    dropped = read_dropped(home).get(snapshot, frozenset())
    found = []
    for name in home.listed(f"part/{snapshot}"):
        class_id = int(name.rpartition("/")[2])
        if class_id in dropped:
            continue
        try:
            sealed = home.read_sealed(name)
        except ObjectMissingError:
            continue
        except DamageError:
            # Which keys it was sealed to cannot be read; whatever is tried, it does not open, and that is said.
            generation = max((s.generation for s in repository.all_secrets() if s.class_id == class_id), default=0)
            found.append(ClassPart(class_id, known.get(class_id, str(class_id)), generation, "", "", 0, 0, 0))
            continue
        if sealed.signer_name == writer and sealed.class_id == class_id:
            name_of = known.get(class_id, str(class_id))
            found.append(ClassPart(class_id, name_of, sealed.generation, "", sealed.sha, 0, 0, 0))
    return tuple(sorted(found, key=lambda part: part.class_id))


def _source(home: Home, snapshot: str, writer: str) -> str:
    try:
        read, body = home.read(f"session/{snapshot}", SessionBody)
    except DamageError:
        return ""
    return body.source if read.signer == writer else ""
