"""Selecting snapshots: `id | unique prefix | latest | latest:SOURCE | SOURCE@TIME`. Pure.

SOURCE is a label (known to who holds the class's key) or an opaque source id or its beginning. TIME is a date, or a date
and time, UTC unless it says otherwise; a date alone means its end.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from holdfast.errors import AmbiguousSnapshotError, SnapshotMissingError, UsageError
from holdfast.repository.types import SnapshotInfo

PREFIX_LENGTH_MIN = 4
_HEX = re.compile(r"[0-9a-f]+")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def of_source(snapshots: Sequence[SnapshotInfo], source: str) -> tuple[SnapshotInfo, ...]:
    """Return the snapshots of a source, given by label or by (a prefix of) its opaque id.

    A label wins over an id. `AmbiguousSnapshotError` if an id's beginning fits several sources.
    """
    by_label = tuple(s for s in snapshots if s.label and s.label == source)
    if by_label or not _HEX.fullmatch(source) or len(source) < PREFIX_LENGTH_MIN:
        return by_label
    found = tuple(s for s in snapshots if s.source.startswith(source))
    if len({s.source for s in found}) > 1:
        raise AmbiguousSnapshotError(f"the id {source} fits several sources", next="give more digits of the id.")
    return found


def source_in(selector: str) -> str:
    """Return the source that a selector names; empty if it names none."""
    if selector.startswith("latest:"):
        return selector.removeprefix("latest:")
    return selector.rpartition("@")[0]


def select(snapshots: Sequence[SnapshotInfo], selector: str) -> SnapshotInfo:
    """Return the snapshot a selector means, out of a list with the newest last.

    `SnapshotMissingError`, `AmbiguousSnapshotError`; `UsageError` for a time that is none.
    """
    if selector == "latest":
        return _newest(snapshots, "the vault has no snapshot")
    if selector.startswith("latest:"):
        source = selector.removeprefix("latest:")
        return _newest(of_source(snapshots, source), f"there is no snapshot of source {source!r}")
    if "@" in selector:
        source, _, text = selector.rpartition("@")
        until = parse_moment(text)
        found = [s for s in of_source(snapshots, source) if s.finished <= until]
        return _newest(sorted(found, key=lambda s: s.finished), f"there is no snapshot of {source!r} at that time")
    return _by_prefix(snapshots, selector)


def _newest(snapshots: Sequence[SnapshotInfo], otherwise: str) -> SnapshotInfo:
    if not snapshots:
        raise SnapshotMissingError(otherwise)
    return snapshots[-1]


def _by_prefix(snapshots: Sequence[SnapshotInfo], prefix: str) -> SnapshotInfo:
    text = prefix.lower()
    found = [s for s in snapshots if s.id.startswith(text)] if _HEX.fullmatch(text) else []
    if not found:
        raise SnapshotMissingError(f"there is no snapshot {prefix!r}")
    if len(found) > 1:
        raise AmbiguousSnapshotError(f"{prefix!r} fits {len(found)} snapshots", fits=len(found))
    return found[0]


def parse_moment(text: str) -> datetime:
    """Return the moment a selector's TIME means. `UsageError` if it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is not a time", next="write 2026-11-23 or 2026-11-23T03:00.") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment + timedelta(days=1, microseconds=-1) if _DATE.fullmatch(text) else moment
