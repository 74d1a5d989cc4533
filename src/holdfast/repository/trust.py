"""Which index runs may be deduplicated against (docs/format/protocol.md, rule 3). Pure.

A writer trusts its own runs, and runs countersigned for everybody, for its group or for it. Anything else serves lookups only: a
stolen writer can claim "this id is stored" only to itself. What a revocation distrusts is never deduplicated against.
"""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.base.values import dataclass

FOR_ALL = ""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What never changes about a run: who signed it, and whose class generation it lists."""

    signer: str
    class_id: int
    generation: int


def may_deduplicate(
    run: str,
    facts: RunFacts,
    *,
    writer: str,
    scopes: Mapping[str, frozenset[str]],
    distrusted: frozenset[str],
    group: str = "",
) -> bool:
    """Return whether `writer` of `group` may deduplicate against a run; `scopes` are each run's valid countersignatures."""
    if run in distrusted:
        return False
    granted = scopes.get(run, frozenset())
    return facts.signer == writer or not granted.isdisjoint({FOR_ALL, writer, group or writer})
