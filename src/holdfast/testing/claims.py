"""What errors say after `SAFE:`, and what must then be so: each sentence with predicates over what was there before and after. Pure.

A sentence promises. Whoever strikes a command (`holdfast.testing.sweep`) or makes one fail (`holdfast.testing.claim_watch`) looks
at the stores and the target before and after, and asks :func:`judge`. A sentence without a row here is refused by a test: nobody
could say whether it is true.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache

from holdfast.errors import HoldfastError, Safety

__all__ = ["SENTENCES", "Claim", "Row", "State", "Tally", "judge", "row_of", "said_by", "same"]

Objects = Mapping[str, object]
"""What lies under each name, as anything that differs where bytes do. Names are `STORE/FOLDER/…`."""


class Claim(Enum):
    """What a sentence promises, as something that can be looked at."""

    UNCHANGED = "no object of the vault was added, changed or deleted"
    KEPT = "every snapshot acknowledged before is as it was"
    NOT_COMMITTED = "no snapshot was added"
    NOTHING_DELETED = "no object of the vault was deleted or changed"
    KEYS_KEPT = "no key, and nothing that opens one, was deleted or changed"
    NO_VAULT = "there is no vault where none was before"
    TARGET_UNTOUCHED = "nothing in the target was added, changed or deleted"
    TARGET_WHOLE = "what has its name in the target is whole"


@dataclass(frozen=True, slots=True)
class Row:
    """One sentence: what it promises, and why the rest of it cannot be seen on stores and targets."""

    claims: tuple[Claim, ...] = ()
    apart: str = ""
    """Who proves the rest instead; a sentence has claims, or this, or both."""


@dataclass(frozen=True, slots=True)
class State:
    """What can be looked at, at one moment."""

    objects: Objects
    target: Objects | None = None
    """What lies in the folder that a restore writes to; None where there is none."""
    restored: bool | None = None
    """Whether every snapshot acknowledged before restores byte for byte; None if nobody tried."""
    whole: bool | None = None
    """Whether every file in the target that has its name has its content; None if nobody looked."""


@dataclass(slots=True)
class Tally:
    """What was said, and what came of it."""

    said: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    """How often all that could be looked at was so, and something could."""
    broken: list[str] = field(default_factory=list)

    def take(self, error: HoldfastError, before: State, after: State) -> None:
        """Judge what an error said."""
        sentence = said_by(error)
        self.said[sentence] += 1
        row = row_of(sentence)
        if row is None:
            self.broken.append(f"nothing proves the claim: {sentence}")
            return
        verdicts = judge(error, before, after)
        self.broken += [
            f"{error.code} says: {sentence} But not so: {c.value}" for c, held in verdicts.items() if held is False
        ]
        self.held[sentence] += bool(verdicts) and all(verdicts.values())

    def add(self, other: Tally) -> None:
        """Take in what another counted."""
        self.said += other.said
        self.held += other.held
        self.broken += other.broken


def said_by(error: HoldfastError) -> str:
    """Return what stands after `SAFE:`."""
    return str(error).split("\nSAFE: ", 1)[1].split("\nNEXT: ", 1)[0]


def judge(error: HoldfastError, before: State, after: State) -> dict[Claim, bool]:
    """Return for each claim of what an error said whether it is so; claims that nobody looked at are left out.

    An error of the kind `untouched` claims besides that nothing was added, changed or deleted. `AssertionError` for a
    sentence without a row.
    """
    row = row_of(said_by(error))
    if row is None:
        raise AssertionError(said_by(error))
    claims = {*row.claims, *([Claim.UNCHANGED] if error.safety is Safety.UNTOUCHED else [])}
    verdicts = {claim: _so(claim, before, after) for claim in Claim if claim in claims}
    return {claim: verdict for claim, verdict in verdicts.items() if verdict is not None}


def _so(claim: Claim, before: State, after: State) -> bool | None:
    old, new = _vault(before.objects), _vault(after.objects)
    is_kept = all(new.get(name) == token for name, token in old.items())
    match claim:
        case Claim.UNCHANGED:
            return old == new
        case Claim.KEPT:
            # What only gained objects lost no snapshot; of anything else only a restore can tell.
            return True if is_kept else after.restored
        case Claim.NOT_COMMITTED:
            return not any("/decision/" in name for name in new.keys() - old.keys())
        case Claim.NOTHING_DELETED:
            return is_kept
        case Claim.KEYS_KEPT:
            return all(new.get(name) == token for name, token in old.items() if _is_of_keys(name))
        case Claim.NO_VAULT:
            return {n for n in new if n.endswith("/vault")} <= {n for n in old if n.endswith("/vault")}
        case Claim.TARGET_UNTOUCHED:
            return None if before.target is None or after.target is None else before.target == after.target
        case Claim.TARGET_WHOLE:
            return after.whole


def same(before: Objects, after: Objects) -> bool:
    """Return whether no object of the vault was added, changed or deleted."""
    return _vault(before) == _vault(after)


def _vault(objects: Objects) -> dict[str, object]:
    """Return the objects but for anchors of the audit log: that somebody tried is noted whatever came of it."""
    return {name: token for name, token in objects.items() if "/audit/" not in name}


def _is_of_keys(name: str) -> bool:
    return name.partition("/")[2].partition("/")[0] in {"key", "keyring", "wrap", "vault"}


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], Row], ...]:
    return tuple(
        (re.compile(".+".join(re.escape(part) for part in sentence.split("{}"))), row)
        for sentence, row in SENTENCES.items()
        if "{}" in sentence
    )


def row_of(sentence: str) -> Row | None:
    """Return what a sentence promises, or None if nobody knows."""
    found = SENTENCES.get(sentence)
    if found is not None:
        return found
    return next((row for pattern, row in _patterns() if pattern.fullmatch(sentence)), None)


_KEPT = Row((Claim.KEPT,))
_UNCHANGED = Row((Claim.UNCHANGED,))
_ADDED = Row((Claim.KEPT, Claim.NOTHING_DELETED))
_APPLICATION = "the suite for connectors and the tests of the watchdog ask the application itself"
_OBJECTIVE = "it speaks of an objective: nothing is done to a vault"
_LOCAL = "it speaks of this host's own files, which the tests of the area read"
_DISKS = "tests of whole hosts look at the disks and what is mounted"
_ELSEWHERE = "it speaks of a server or a person outside the vault"

SENTENCES: dict[str, Row] = {
    # Runs on a vault.
    "every snapshot acknowledged before is as it was.": _KEPT,
    "every snapshot acknowledged before is as it was; what was uploaded is kept and used again.": _KEPT,
    "every snapshot acknowledged before is as it was; packs uploaded meanwhile are used again.": _ADDED,
    "every snapshot acknowledged before is as it was; the checkpoint is kept.": _KEPT,
    "every snapshot acknowledged before is as it was; what waits in the spool is kept and stored later.": _KEPT,
    "every snapshot acknowledged before is as it was; the run goes on as fast as the operator allows.": _KEPT,
    "every snapshot is as it was; the run holds back until the probe answers.": _KEPT,
    "every object stored before is whole: an unfinished one never gets a name": _KEPT,
    "every pack is whole where it was or where it goes; nothing is lost.": _KEPT,
    "nothing was committed; every snapshot acknowledged before is as it was.": Row((Claim.NOT_COMMITTED, Claim.KEPT)),
    "nothing was read or written.": _UNCHANGED,
    "nothing was read, and nothing was changed.": _UNCHANGED,
    "nothing was read or written here; the vault goes on in its new home.": _UNCHANGED,
    "nothing was written.": _UNCHANGED,
    "nothing was written; every snapshot is as it was.": _UNCHANGED,
    "nothing was written; the vault is as it was.": _UNCHANGED,
    "nothing was changed": _UNCHANGED,
    "nothing was changed.": _UNCHANGED,
    "nothing was changed; no pack was listed as damaged.": _UNCHANGED,
    "nothing was changed; what the other stores hold is as it was.": _UNCHANGED,
    "nothing was changed; what was proved is noted and not read again first.": _UNCHANGED,
    "nothing was stored.": _UNCHANGED,
    "nothing was stored by this call.": _UNCHANGED,
    "nothing was stored; snapshots made before are as they were.": _ADDED,
    "nothing was deleted.": Row((Claim.NOTHING_DELETED,)),
    "nothing was deleted; the snapshots named restore whole as long as nothing is pruned.": _ADDED,
    "nothing was deleted, revoked or handed out; backups and restores go on without the log, and say so.": Row(
        (Claim.NOTHING_DELETED,), apart=_LOCAL
    ),
    "what was asked was done; only its record is missing.": Row(
        apart="tests of audited operations look whether what was asked was done"
    ),
    "nothing was forgotten or deleted; what the store shows is untouched.": Row((Claim.NOTHING_DELETED,)),
    "nothing was forgotten; every snapshot is as it was.": _UNCHANGED,
    "no vault was made.": Row((Claim.NO_VAULT,)),
    "the vault that exists is as it was.": _UNCHANGED,
    "the vault is as it was; local state is derived from it and only costs time.": _UNCHANGED,
    "the snapshot is kept as it is.": _ADDED,
    "the object is kept as it is.": Row((Claim.NOTHING_DELETED,)),
    "the snapshot's other data classes are whole.": _KEPT,
    "the snapshot is stored; {} of its source are kept until a person releases it.": _ADDED,
    "the pack's other copies are whole; nothing was deleted.": Row((Claim.NOTHING_DELETED,)),
    "nothing relies on the object: it was checked before it was used": _KEPT,
    "no damaged byte was passed on; everything not named here is unaffected.": Row((Claim.KEPT, Claim.TARGET_WHOLE)),
    "what was shown before this is right and verified; nothing of it was guessed.": Row(
        (Claim.UNCHANGED,), apart="tests of partly lost trees compare what was shown with what was backed up"
    ),
    # Restores.
    "nothing was written; what is in the folder is untouched.": Row((Claim.UNCHANGED, Claim.TARGET_UNTOUCHED)),
    "files that have their names are whole and verified; nothing else was touched.": Row(
        (Claim.UNCHANGED, Claim.TARGET_WHOLE)
    ),
    "the vault was only read; files that have their names are whole and verified.": Row(
        (Claim.UNCHANGED, Claim.TARGET_WHOLE)
    ),
    "the vault was only read.": _UNCHANGED,
    "the vault was only read; nothing that was written to a mount before is lost.": Row(
        (Claim.UNCHANGED,), apart=_LOCAL
    ),
    "the vault was only read; the running application, if there is one, was not touched.": Row(
        (Claim.UNCHANGED,), apart=_APPLICATION
    ),
    "every backup is as it was; the service may still run: what it did and will do cannot be said.": Row(
        (Claim.UNCHANGED,), apart=_LOCAL
    ),
    "the vault is only read; the audit log has who did it.": Row((Claim.UNCHANGED,), apart=_LOCAL),
    "the vault was only read, and nothing of the drill is left.": Row((Claim.UNCHANGED,), apart=_LOCAL),
    "the vault was only read, production was not touched, and nothing of the drill is left.": Row(
        (Claim.UNCHANGED,), apart=_LOCAL
    ),
    "services that are complete are marked and whole; the rest goes on when called again.": Row(
        (Claim.KEPT,), apart=_LOCAL
    ),
    # Whole hosts.
    "nothing is mounted any more, and what was done so far is kept.": Row((Claim.UNCHANGED,), apart=_DISKS),
    "nothing was written anywhere; the files of the snapshot are as restorable as ever.": _UNCHANGED,
    "nothing was written to any disk.": Row((Claim.UNCHANGED,), apart=_DISKS),
    "the vault was only read; nothing is mounted any more, and what was done so far is kept for the next call.": Row(
        (Claim.UNCHANGED,), apart=_DISKS
    ),
    # Keys.
    "every snapshot is as it was, and every key that opened the vault before still opens it.": Row(
        (Claim.KEPT, Claim.KEYS_KEPT)
    ),
    "every snapshot is as it was; what is damaged is only the way from this secret to the keys.": _KEPT,
    "no key was destroyed.": Row((Claim.KEYS_KEPT,)),
    "what is sealed under other generations is as it was.": _KEPT,
    "the credential just written opens nothing.": _ADDED,
    "nothing was started; backups by hand work.": _UNCHANGED,
    # Across an air gap.
    "nothing was imported from this medium; the vault at the far side is as complete as before.": _UNCHANGED,
    "nothing was noted; the sets count as not confirmed.": _UNCHANGED,
    "nothing wrong was imported; what was whole is kept.": Row((Claim.NOTHING_DELETED,)),
    "the vault is as it was; the medium is gone on with by the same command.": _UNCHANGED,
    "the vault is as it was; what lies complete on the media stays good.": _UNCHANGED,
    "what was imported before is as it was.": Row((Claim.NOTHING_DELETED,)),
    # Applications.
    "the application is not frozen; what was captured is not passed off as consistent.": Row(
        (Claim.KEPT,), apart=_APPLICATION
    ),
    "the application is not frozen; what was copied is no restore point and is named by no snapshot.": Row(
        (Claim.NOT_COMMITTED,), apart=_APPLICATION
    ),
    "the application runs as before; every snapshot acknowledged before is as it was.": Row(
        (Claim.KEPT,), apart=_APPLICATION
    ),
    "the application was thawed and runs; every snapshot acknowledged before is as it was.": Row(
        (Claim.KEPT,), apart=_APPLICATION
    ),
    "every snapshot acknowledged before is as it was; the application itself may be standing still.": _KEPT,
    "the volume and every snapshot acknowledged before are as they were; nothing is left frozen.": Row(
        (Claim.KEPT,), apart=_APPLICATION
    ),
    "what was captured is discarded; the file system is not frozen by this run.": Row(
        (Claim.KEPT,), apart=_APPLICATION
    ),
    "nothing is frozen: no application is frozen without a watchdog.": Row(apart=_APPLICATION),
    "nothing was frozen, read or written.": Row((Claim.UNCHANGED,), apart=_APPLICATION),
    "nothing was overwritten; PostgreSQL keeps the file.": Row(apart=_APPLICATION),
    "PostgreSQL keeps the WAL and hands it over again.": Row(apart=_APPLICATION),
    "PostgreSQL keeps the WAL and hands it over again; nothing is lost while its disk has room.": Row(
        apart=_APPLICATION
    ),
    "the server keeps WAL for the slot as long as its own limit lets it.": Row(apart=_APPLICATION),
    # What is no operation on a vault.
    "it is as it was.": Row(apart=_LOCAL),
    "it was not touched.": Row(apart=_LOCAL),
    "nothing was written; HTML and JSON need nothing more than Holdfast.": Row((Claim.UNCHANGED,), apart=_LOCAL),
    "backups are not touched by this; the evidence that does not verify proves nothing.": Row(apart=_LOCAL),
    "the backups are untouched; the records before the place named are proved by the last signed head.": Row(
        (Claim.UNCHANGED,), apart=_LOCAL
    ),
    "nothing was sent.": Row(apart=_ELSEWHERE),
    "what the remaining copies hold is readable.": Row(apart=_OBJECTIVE),
    "what waits in the spool is readable from this host.": Row(apart=_OBJECTIVE),
    "nothing was started twice.": Row(apart=_LOCAL),
    "the run goes on as it did; no limit was changed.": Row(apart=_LOCAL),
    "the alert stays as it was, and goes on to be escalated.": Row(apart=_LOCAL),
    "every backup is as it was; the alert is kept and told by another way.": Row(apart=_ELSEWHERE),
    "everything came back right; only the objective was missed.": Row(apart=_OBJECTIVE),
    "the objective was met this time.": Row(apart=_OBJECTIVE),
    "no snapshot was touched; older drills and their evidence are as they were.": Row(apart=_OBJECTIVE),
    "this says nothing about the backups themselves: nobody looked.": Row(apart=_OBJECTIVE),
}
"""Every sentence that package code gives as `safe`, `{}` standing for a number or name; a test keeps it complete."""
