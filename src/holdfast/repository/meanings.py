"""What it means that an object is damaged: for each kind what hangs on it, what is safe, and what to do. One table.

`check` says this of each damaged object; a test holds that no kind of the format is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.repository import names

__all__ = ["MEANINGS", "SIGNER", "Meaning", "meaning_of"]

REPAIR = "`holdfast repair`"
PRUNE = "`holdfast prune`"
COPY = "put it back from a copy of the home (`holdfast repair home`) or of the store"
ALL = "every snapshot is as it was"
READS = "every snapshot restores as before"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What damage of one kind of object means."""

    means: str
    """What hangs on it: half a sentence."""
    safe: str
    """What is not touched."""
    next: str
    """What to do, or what does it by itself."""

    def __str__(self) -> str:
        return f"{self.means}; SAFE: {self.safe}; NEXT: {self.next}"


_OPENS = f"{REPAIR} mends it from its twin; if that is damaged, too, {COPY}"
_TREE = f"{REPAIR} where parity or a copy has it; the next backup stores again what the source has"

MEANINGS: dict[str, Meaning] = {
    "vault": Meaning("the vault's header: without it and its twin the vault does not open", ALL, _OPENS),
    "key": Meaning("the key that this slot is for opens nothing", f"{ALL}; other keys open the vault", _OPENS),
    "keyring": Meaning(
        "the keyring of this number counts for nobody: what was changed with it is not known; without the newest no key is changed",
        "nothing is gone: what is sealed under the keys of older keyrings restores, what is under newer ones when it is back",
        _OPENS,
    ),
    "writer": Meaning(
        "this word of root on a holder of a credential counts for nobody: an older one speaks, or his snapshots are not shown",
        "nothing that he stored is gone",
        f"{_OPENS}. Nobody makes it anew by itself: an older certificate may give back what this one took away",
    ),
    "grant": Meaning("the holder of a credential does not get the keys that root left for him", ALL, _OPENS),
    "twin": Meaning("the second form of an object that opens the vault", "the object itself counts", REPAIR),
    "wrap": Meaning(
        "where a key was written is not known from here: no key is rotated, and no erasure certified, before it is",
        f"{ALL}, and every key that opens the vault still does",
        f"{COPY}. Nobody guesses it: a key that was taken back could be taken for one in force",
    ),
    "access": Meaning(
        "who must agree to what is not known: everything that could need an approval is refused",
        f"{ALL}; backups go on",
        f"{COPY}; what cannot wait is restored with `--break-glass REASON`",
    ),
    "floor": Meaning(
        "the vault's minimum retention is not known: nothing is forgotten, and none is set",
        f"{ALL}; backups and restores go on",
        COPY,
    ),
    "shred": Meaning(
        "an order to destroy keys, or its certificate: no keys are destroyed and nothing is certified before it is known",
        f"{ALL}; what was destroyed stays destroyed",
        COPY,
    ),
    "joined": Meaning(
        "the host that joined with this enrolment is not known by its key: it can store nothing, its snapshots are not shown",
        "nothing that it stored is gone",
        f"{_OPENS}; else withdraw the enrolment (`holdfast key revoke`) and enrol the host anew",
    ),
    "rehearsal": Meaning(
        "one rehearsal of a recovery kit is not on record", ALL, "rehearse it: `holdfast key rehearse`"
    ),
    "approval": Meaning("what was approved for one operation is not on record; the approval serves no more", ALL, COPY),
    "audit": Meaning("one anchor of an audit log proves nothing", ALL, "the next one does: `holdfast audit head`"),
    "epoch": Meaning("how often the vault's home was replaced is not known from here", ALL, COPY),
    "session": Meaning(
        "the announcement of a run",
        ALL,
        f"{REPAIR} clears it if the run has ended; else {PRUNE} decides about the run first",
    ),
    "checkpoint": Meaning(
        "a note of how far a run was; what it stored is found in the index",
        ALL,
        f"{REPAIR} clears it if the run has ended; else {PRUNE} decides about the run first",
    ),
    "ack": Meaning(
        "a run's word that it does without what a prune condemned; the prune waits for the run to end",
        ALL,
        f"{REPAIR} or {PRUNE} clears it when the run has ended",
    ),
    "decision": Meaning(
        "whether a run's snapshot exists: without its copy it counts as committed, and nothing is pruned by it",
        "the snapshot restores",
        f"{REPAIR} puts it back from its copy, if that is whole; else {COPY}. Of a forgotten snapshot it says again that it is gone",
    ),
    "committed": Meaning(
        "the second form of a decision",
        "the decision itself counts; if that is damaged, too, the snapshot counts as committed as long as its envelope can be read",
        f"{REPAIR} makes it anew from a decision that is whole; if both are damaged, {COPY}",
    ),
    "snapshot": Meaning(
        "a snapshot's envelope: its time and source are not known, and nothing is pruned",
        "its content is restored by its id, as far as its parts can be read; every other snapshot is as it was",
        f"{COPY}, or give it up: `holdfast forget ID`",
    ),
    "part": Meaning(
        "names and root of one class of one snapshot: that class of it cannot be restored",
        "its other classes and every other snapshot are as they were",
        f"{COPY}; the next backup does not rest on it",
    ),
    "refs": Meaning(
        "what a snapshot needs is not known from here: nothing is pruned", READS, f"{COPY}, or forget the snapshot"
    ),
    "index": Meaning("which pack holds what is not known from this run", ALL, f"{REPAIR} or {PRUNE} makes it anew"),
    "countersign": Meaning(
        "other hosts do not deduplicate against one index run, and store its content again",
        ALL,
        "the next `holdfast verify` says it anew",
    ),
    "compared": Meaning(
        "that a snapshot's reference sets name all they must is not on record: a prune compares them again",
        ALL,
        f"the next {PRUNE} or `holdfast verify` says it anew",
    ),
    "state": Meaning(
        "a host's memory of its files: its next backup reads more", ALL, "the host's next backup makes another"
    ),
    "hold": Meaning("a legal hold or its release: the snapshot counts as held", ALL, "say it again: `holdfast hold`"),
    "admission": Meaning("when a snapshot came is not known", ALL, f"the next {PRUNE} says it anew"),
    "forgotten": Meaning("the tombstone of a snapshot counts for nobody", ALL, "forget the snapshot again"),
    "dropped": Meaning("the tombstone of one class of a snapshot counts for nobody", ALL, "forget the class again"),
    "condemn": Meaning(
        "writers do not know what to avoid: no backup runs", READS, f"{PRUNE} closes its round without deleting"
    ),
    "plan": Meaning("what a prune round deletes is not known: it deletes nothing", ALL, f"{PRUNE} plans it anew"),
    "closed": Meaning("that a prune round has ended is not known", ALL, f"{PRUNE} says it anew"),
    "damaged": Meaning(
        "which packs are damaged is known from older lists only", ALL, f"`holdfast verify` and {REPAIR}"
    ),
    "data": Meaning("content of files", "whatever does not rest on this pack", _TREE),
    "meta": Meaning("trees of snapshots", "whatever does not rest on this pack", _TREE),
    "parity": Meaning("what lost packs would come back from", ALL, f"{REPAIR} makes it anew"),
}
"""By kind: the first component of a name."""


SIGNER = Meaning(
    "nobody knows his key now, so that nothing which he signed can be proved: what he stored is not shown",
    "nothing that he stored is gone; forget none of it while this stands",
    f"{REPAIR} where his certificate, or by which key his host joined, has a whole twin; else {COPY}",
)
"""What it means that somebody's signatures cannot be checked, because what root said of him is damaged."""


def meaning_of(name: str) -> Meaning:
    """Return what it means that an object of the format is damaged."""
    return MEANINGS["twin" if name.startswith(f"{names.TWIN}/") else name.partition("/")[0]]
