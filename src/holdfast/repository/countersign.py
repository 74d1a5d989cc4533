"""Countersignatures: `countersign/SHA` says that a run may be deduplicated against, by everybody, a group or one writer.

For everybody (`scope` empty) or for a group: a verifier opened the run's segments and recomputed the ids (:func:`vouch`).
For one writer: the run was copied, by a prune, from runs which that writer signed, so the writer's own word still stands
behind the ids.
"""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.errors import DamageError, StoreRefusedError, StoreRetainedError
from holdfast.repository.bodies import CountersignBody
from holdfast.repository.home import Home, Signer
from holdfast.repository.roles import VOUCH
from holdfast.repository.trust import FOR_ALL


def countersign(home: Home, run: str, signer: Signer, *, scope: str = FOR_ALL) -> bool:
    """Countersign a run; return whether the signature stands. One signature per run, the first valid one counts.

    What counts for nobody is replaced by whoever may delete; who may only add leaves it, and the run is not trusted.
    """
    try:
        return home.create_or_replace(
            f"countersign/{run}", CountersignBody(run, scope), signer, lambda: read_countersign(home, run) is not None
        )
    except (StoreRefusedError, StoreRetainedError):
        return False


def read_countersign(home: Home, run: str) -> str | None:
    """Return the scope of a run's countersignature, None if there is no valid one by root."""
    try:
        read, body = home.read(f"countersign/{run}", CountersignBody)
    except DamageError:
        return None
    return body.scope if home.may(read.signer, VOUCH, read.name) and body.run == run else None


def read_countersigns(home: Home, known: Iterable[str] = ()) -> dict[str, frozenset[str]]:
    """Return the scopes of every countersigned run that is not among `known`."""
    skip = set(known)
    found = {}
    for name in home.listed("countersign"):
        run = name.partition("/")[2]
        if run in skip:
            continue
        scope = read_countersign(home, run)
        if scope is not None:
            found[run] = frozenset((scope,))
    return found
