"""WAL summaries of PostgreSQL 17: which blocks changed since the last base backup, said by the server itself.

Holdfast reads a data file again when its times or its size changed, and takes it for unchanged otherwise. The summaries prove
that rule for a backup: every file with a block that the WAL changed must have a newer time than the last backup's start.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.sources.wal import lsn_text, parse_lsn

if TYPE_CHECKING:
    from holdfast.sources.connectors.postgresql.session import Session

__all__ = ["Base", "Changes", "compare", "covered", "file_of", "read_base", "read_changes", "write_base"]

DEFAULT_SPACE, GLOBAL_SPACE = 1663, 1664
FORKS = ("", "_fsm", "_vm", "_init")
FILES_MAX = 1_000_000
RACE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Base:
    """Where the last base backup began."""

    system: int
    timeline: int
    start: int
    began: float
    """Seconds since 1970, by this host's clock, before the backup began."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed between two base backups."""

    complete: bool
    """Whether the summaries cover all of the WAL between."""
    blocks: int
    files: tuple[str, ...]
    """Files with a changed block, from the data directory; some may be gone by now."""


def file_of(space: int, database: int, number: int, fork: int, segment: int) -> str:
    """Return the path of a relation's file in the data directory; `*` for the version's folder in a tablespace."""
    name = f"{number}{FORKS[fork] if 0 <= fork < len(FORKS) else ''}{f'.{segment}' if segment else ''}"
    if space == GLOBAL_SPACE:
        return f"global/{name}"
    if space == DEFAULT_SPACE:
        return f"base/{database}/{name}"
    return f"pg_tblspc/{space}/*/{database}/{name}"


def covered(ranges: Sequence[tuple[int, int]], start: int, stop: int) -> bool:
    """Return whether ranges of LSNs cover all from `start` to `stop`. Pure."""
    reached = start
    for begin, end in sorted(ranges):
        if begin > reached:
            break
        reached = max(reached, end)
    return reached >= stop


def read_changes(session: Session, base: Base, stop: int, blocks_per_file: int) -> Changes:
    """Ask the server what changed on the base's timeline from its start up to `stop`."""
    bounds = (base.timeline, lsn_text(base.start), lsn_text(stop))
    ranges = session.rows(
        "SELECT start_lsn::text, end_lsn::text FROM pg_available_wal_summaries()"
        " WHERE tli = %s AND end_lsn > %s::pg_lsn AND start_lsn < %s::pg_lsn",
        *bounds,
    )
    rows = session.rows(
        "SELECT reltablespace::bigint, reldatabase::bigint, relfilenode::bigint, relforknumber::int,"
        " (relblocknumber / %s)::int, count(*)::bigint FROM pg_available_wal_summaries() AS s,"
        " pg_wal_summary_contents(s.tli, s.start_lsn, s.end_lsn)"
        " WHERE s.tli = %s AND s.end_lsn > %s::pg_lsn AND s.start_lsn < %s::pg_lsn AND NOT is_limit_block"
        " GROUP BY 1, 2, 3, 4, 5 LIMIT %s",
        blocks_per_file,
        *bounds,
        FILES_MAX,
    )
    return Changes(
        complete=covered([(parse_lsn(begin), parse_lsn(end)) for begin, end in ranges], base.start, stop),
        blocks=sum(row[5] for row in rows),
        files=tuple(sorted({file_of(*row[:5]) for row in rows})),
    )


def compare(changes: Changes, base: Base, data: Path) -> int:
    """Return how many files with changed blocks look older than the base backup: those would not be read again."""
    old = 0
    for name in changes.files:
        for path in data.glob(name) if "*" in name else (data / name,):
            try:
                old += os.stat(path).st_mtime < base.began - RACE_SECONDS
            except OSError:
                continue  # dropped or truncated since
    return old


def read_base(state: Path, system: int, timeline: int) -> Base | None:
    """Return where the last base backup of this cluster and timeline began; None if that is not known."""
    try:
        base = Base(**json.loads(state.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return base if (base.system, base.timeline) == (system, timeline) else None


def write_base(state: Path, base: Base) -> None:
    """Keep where a base backup began."""
    state.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    state.write_text(json.dumps(asdict(base)))
