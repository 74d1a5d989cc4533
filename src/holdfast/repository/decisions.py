"""Decisions of sessions: slots `decision/ID/0, 1, …`, of which the first valid one counts (docs/format/protocol.md).

A commit is valid if the session's own writer signed it; a revocation if root, a pruner, or the session's own writer, did.
Squatting on a slot costs nothing: bytes that do not verify are passed over.

The bytes of a commit are kept a second time, in `committed/ID`: a decision that is lost, or rots, takes no snapshot with it, and
nobody needs to have seen it to notice. The copy is believed for what it holds, whoever put it there: the writer's signature.
"""

from __future__ import annotations

from enum import Enum

from holdfast.base.values import dataclass
from holdfast.errors import DamageError, LimitError, ObjectMissingError
from holdfast.repository import names
from holdfast.repository.bodies import (
    COMMIT,
    REVOKED,
    AdmissionBody,
    Body,
    CommittedBody,
    DecisionBody,
    EnvelopeBody,
    ForgottenBody,
    SessionBody,
)
from holdfast.repository.home import ROOT, Home, Read, Signer, create
from holdfast.repository.roles import PRUNE, VOUCH

SLOTS_MAX = 1_000


class Verdict(Enum):
    """What became of a session."""

    OPEN = "open"
    """No decision at all."""
    COMMIT = "commit"
    REVOKED = "revoked"
    UNREADABLE = "unreadable"
    """There are decisions and none can be read, or it was admitted and none is left: counts as committed for marking."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The decision that counts; `snapshot` is the SHA of the committed envelope."""

    verdict: Verdict
    snapshot: str = ""
    name: str = ""
    """The decision's name; empty if there is none."""
    by_copy: bool = False
    """The decision itself is lost or damaged: its copy says this."""


def counts(body: DecisionBody, signer: str, owner: str, *, pruner: bool = False) -> bool:
    """Return whether a verified decision is valid for a session of `owner`.

    `pruner`: whether the signer may prune.

    Without an owner (its announcement and envelope are gone, as for a revoked session after a prune) a revocation by
    any certified writer counts: there is nothing that it could hide.
    """
    if body.verdict == COMMIT:
        return signer == owner
    return body.verdict == REVOKED and (pruner or signer in {ROOT, owner} or not owner)


def outcome(home: Home, session: str, owner: str) -> Outcome:
    """Return the first valid decision of a session whose writer is `owner`."""
    numbers = home.numbers(f"decision/{session}")
    for number in numbers:
        try:
            name = names.numbered("decision", session, number)
            found, body = home.read(name, DecisionBody)
        except DamageError:
            continue
        if counts(body, found.signer, owner, pruner=home.may(found.signer, PRUNE, name)):
            return Outcome(Verdict(body.verdict), body.snapshot, name)
    copied = copied_commit(home, session)
    if copied is not None and counts(copied[1], copied[0].signer, owner):
        return Outcome(Verdict.COMMIT, copied[1].snapshot, copied[0].name, by_copy=True)
    return Outcome(Verdict.UNREADABLE if numbers or is_admitted(home, session) else Verdict.OPEN)


def is_admitted(home: Home, snapshot: str) -> bool:
    """Return whether root or a pruner noted when a snapshot came: only what was committed is admitted, whatever is left of it."""
    try:
        read, _ = home.read(f"admission/{snapshot}", AdmissionBody)
        return home.may(read.signer, PRUNE, read.name)
    except DamageError:
        return False


def spoken_of(home: Home) -> set[str]:
    """Return the snapshots of which somebody who may says that they were there: root, a pruner, a verifier."""
    found: set[str] = set()
    for kind in ("admission", "hold", "compared"):
        for name in home.listed(kind):
            snapshot = names.middle(name)
            try:
                signer = "" if snapshot in found else home.verify_control(name, home.store.get(name)).signer
            except DamageError:
                continue
            if signer and (home.may(signer, PRUNE, name) or home.may(signer, VOUCH, name)):
                found.add(snapshot)
    return found


def copied_commit(home: Home, session: str) -> tuple[Read, DecisionBody] | None:
    """Return the commit that `committed/ID` holds, verified as the decision that it is; None if it holds none."""
    found = copied_bytes(home, session)
    if found is None:
        return None
    read, body = home.verify(*found, DecisionBody)
    return read, body


def copied_bytes(home: Home, session: str) -> tuple[str, bytes] | None:
    """Return name and bytes of the commit that `committed/ID` holds; None if it holds none that verifies."""
    try:
        _, kept = home.read(f"committed/{session}", CommittedBody)
        name = names.numbered("decision", session, kept.number)
        _, body = home.verify(name, kept.decision, DecisionBody)
    except (DamageError, ValueError):
        return None
    return (name, kept.decision) if body.verdict == COMMIT else None


def is_kept(home: Home, session: str, writer: str) -> bool:
    """Return whether `committed/ID` holds a commit by the session's writer."""
    copied = copied_commit(home, session)
    return copied is not None and counts(copied[1], copied[0].signer, writer)


def keep_twice(home: Home, session: str, name: str, signer: Signer, *, replace: bool = False) -> bool:
    """Keep the bytes of the decision that committed a session a second time; return whether they are there now.

    `replace`: one that counts for nobody, torn or a squatter's, goes first; for whoever may delete.
    """
    body = CommittedBody(names.last_number(name), home.store.get(name))

    def stands() -> bool:
        return copied_bytes(home, session) == (name, body.decision)

    if replace:
        return home.create_or_replace(f"committed/{session}", body, signer, stands)
    return home.create(f"committed/{session}", body, signer) or stands()


def put_back(home: Home, session: str) -> bool:
    """Put a lost or damaged commit back under its name, from its copy; return whether that was done.

    Only where nothing that verifies lies there: what somebody decided meanwhile stays.
    """
    found = copied_bytes(home, session)
    if found is None:
        return False
    name, data = found
    try:
        home.read(name, DecisionBody)
    except ObjectMissingError:
        return create(home.store, name, data)
    except DamageError:
        home.store.delete(name)
        return create(home.store, name, data)
    return False


def decide(home: Home, session: str, owner: str, body: DecisionBody, signer: Signer) -> Outcome:
    """Create the session's decision unless a valid one exists; return the one that counts.

    The write-once rule of the protocol: whoever comes second, and whoever lost a reply, reads what is there.
    """
    for number in range(SLOTS_MAX):
        name = names.numbered("decision", session, number)
        data = home.encode(name, body, signer)
        if create(home.store, name, data):
            return Outcome(Verdict(body.verdict), body.snapshot, name)
        try:
            found, existing = home.read(name, DecisionBody)
        except ObjectMissingError:
            raise
        except DamageError:
            continue
        if counts(existing, found.signer, owner, pruner=home.may(found.signer, PRUNE, name)):
            return Outcome(Verdict(existing.verdict), existing.snapshot, name)
    raise LimitError("a session's decision slots are all taken by invalid objects", limit=SLOTS_MAX)


def is_forgotten(home: Home, snapshot: str) -> bool:
    """Return whether a valid tombstone of a snapshot stands: one signed by root, or by a pruner."""
    try:
        read, _ = home.read(f"forgotten/{snapshot}", ForgottenBody)
        return home.may(read.signer, PRUNE, read.name)
    except DamageError:
        return False


def owner_of(home: Home, session: str) -> str:
    """Return the writer of a session, by its announcement or else its envelope; empty if neither can be read."""
    kinds: tuple[tuple[str, type[Body]], ...] = (
        (f"session/{session}", SessionBody),
        (f"snapshot/{session}", EnvelopeBody),
    )
    for name, kind in kinds:
        try:
            return home.read(name, kind)[0].signer
        except DamageError:
            continue
    return ""


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session without a valid decision."""

    id: str
    owner: str
    """Its writer, empty if the announcement cannot be read."""
    body: SessionBody | None
    counts: bool
    """It has an envelope and decisions of which none can be read: it counts as committed, and nobody may revoke it."""


def open_sessions(home: Home) -> list[OpenSession]:
    """Return the sessions without a valid decision, from one listing."""
    found = []
    for session in home.ids("session"):
        try:
            read, body = home.read(f"session/{session}", SessionBody)
            owner: str = read.signer
            known: SessionBody | None = body
        except ObjectMissingError:
            continue
        except DamageError:
            owner, known = owner_of(home, session), None
        verdict = outcome(home, session, owner).verdict
        if (known is None or verdict is Verdict.UNREADABLE) and is_forgotten(home, session):
            continue  # whatever it was decided, and whatever its writer still does, it is no snapshot
        if verdict in {Verdict.OPEN, Verdict.UNREADABLE}:
            written = verdict is Verdict.UNREADABLE and home.store.size(f"snapshot/{session}") is not None
            found.append(OpenSession(session, owner, known, counts=written))
    return found
