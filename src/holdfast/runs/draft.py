"""What a backup puts into a snapshot of its own: findings by class, and reference sets in their smallest form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.base.data_classes import class_rank
from holdfast.errors import DamageError, NotPermittedError
from holdfast.repository.marking import SetReader
from holdfast.repository.types import PartFinding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.base.events import Finding
    from holdfast.repository.repository import Repository
    from holdfast.repository.types import SnapshotInfo

__all__ = ["StoredRefs", "part_findings", "stored_refs"]

REFS_CHAIN_LINKS = 16
"""Deltas of reference sets in a row; then a full set is stored again."""
FINDINGS_KEPT_MAX = 100_000
"""Findings listed in a snapshot's sealed parts; the run's result has all."""


def part_findings(findings: Sequence[Finding], class_ids: Sequence[int]) -> dict[int, list[PartFinding]]:
    """Return the findings of each class's part: those of its paths.

    A class without a tree has no part: the most sensitive one there is takes its findings, and leaves out the paths if it
    is less sensitive than they are.
    """
    by_class: dict[int, list[PartFinding]] = {class_id: [] for class_id in class_ids}
    main = min(class_ids, key=class_rank)
    for finding in findings[:FINDINGS_KEPT_MAX]:
        home = finding.class_id if finding.class_id in by_class else main
        path = finding.path if class_rank(home) <= class_rank(finding.class_id) else b""
        by_class[home].append(PartFinding(path, finding.kind, finding.detail))
    return by_class


@dataclass(frozen=True, slots=True)
class StoredRefs:
    """How a reference set is stored: as `payload`, or not at all because the parent's set named `same` is equal."""

    payload: bytes = b""
    same: str = ""


def stored_refs(repository: Repository, row: engine.ClassResult, parent: SnapshotInfo | None) -> StoredRefs:
    """Return the smallest form of a class's reference set. A parent's set that cannot be read is passed over."""
    full = StoredRefs(row.refs.encode_full())
    parts = [part for part in parent.classes if part.class_id == row.class_id] if parent is not None else []
    if not parts or parts[0].generation != row.generation:
        return full
    sha = parts[0].refs
    reader = SetReader(repository)
    try:
        before = engine.RefSet.decode(reader.read(sha).encode())
    except (DamageError, NotPermittedError):
        return full
    if before == row.refs:
        return StoredRefs(same=sha)
    if len(reader.parents) >= REFS_CHAIN_LINKS:
        return full
    delta = StoredRefs(row.refs.encode_delta(before, bytes.fromhex(sha)))
    return min(full, delta, key=lambda form: len(form.payload))
