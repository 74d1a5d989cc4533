"""What no snapshot and no running session needs, packs aside: left by revoked sessions and forgotten snapshots.

Decisions and tombstones stay for ever: a writer that was suspended for a year must find the decision against it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.repository.decisions import Verdict, copied_bytes, is_forgotten, open_sessions, outcome, owner_of
from holdfast.repository.forget import remove_content
from holdfast.repository.marking import SetReader, sound_envelopes
from holdfast.repository.states import collect_states
from holdfast.stores.protocol import delete_unless_retained

if TYPE_CHECKING:
    from holdfast.repository.listing import Committed
    from holdfast.repository.repository import Repository


def collect(repository: Repository) -> int:
    """Delete garbage; return how many objects went. Safe beside running sessions; a crash leaves the rest for later."""
    return _sessions(repository) + _reference_sets(repository) + collect_states(repository)


def _sessions(repository: Repository) -> int:
    """Delete what revoked sessions left, and the notes of sessions whose snapshot is forgotten."""
    home, store = repository.home, repository.store
    running = open_sessions(home)
    resumed = {r for s in running if s.body for r in s.body.resumes}
    kept = {s.id for s in running} | resumed
    decided = {
        i for kind in ("session", "snapshot", "part", "ack", "checkpoint", "compared") for i in home.ids(kind)
    } - kept
    gone = 0
    for session in sorted(decided):
        forgotten = is_forgotten(home, session)
        verdict = outcome(home, session, owner_of(home, session)).verdict
        if forgotten or verdict is Verdict.REVOKED:
            remove_content(repository, session)
            prefixes = [f"ack/{session}/", f"checkpoint/{session}/", f"compared/{session}/"]
            if verdict is Verdict.REVOKED or copied_bytes(home, session) is None:
                store.delete(f"committed/{session}")  # torn, or somebody's: it holds nothing that counts
        elif verdict is Verdict.COMMIT:
            prefixes = [f"ack/{session}/"]
        else:
            continue
        for prefix in prefixes:
            for info in list(store.list(prefix)):
                gone += delete_unless_retained(store, info.name)
        if verdict is not Verdict.COMMIT or forgotten:
            gone += delete_unless_retained(store, f"session/{session}")
    return gone


def _reference_sets(repository: Repository) -> int:
    """Delete reference sets that no snapshot needs, only while no session runs.

    The order is what makes it safe: snapshots, sets, sessions, snapshots again. A session that begins after the third
    step sees no snapshot that the first did not, and whatever committed in between is seen by the fourth.
    """
    home = repository.home
    before = sound_envelopes(repository).committed
    listed = {name.partition("/")[2] for name in home.listed("refs")}
    if open_sessions(home):
        return 0
    after = sound_envelopes(repository).committed
    needed = _needed(repository, {*before, *after})
    return sum(delete_unless_retained(repository.store, f"refs/{sha}") for sha in sorted(listed - needed))


def _needed(repository: Repository, snapshots: set[Committed]) -> set[str]:
    reader = SetReader(repository)
    needed: set[str] = set()
    for sha in sorted({c.refs for s in snapshots for c in s.classes}):  # one order: a world is the same by its seed
        reader.read(sha)
        at = sha
        while at and at not in needed:
            needed.add(at)
            at = reader.parents.get(at, "")
    return needed
