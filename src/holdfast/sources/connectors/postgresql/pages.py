"""Page checksums of a whole cluster, verified beside the running server while it is in backup.

The rule is pgBackRest's: a page whose checksum is wrong is read again; it is bad only if it was not changed since the backup
began, for what was changed later comes back from the WAL. With a state file only files changed since the last verification are
read: PostgreSQL changes a page by writing its file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.sources.connectors.postgresql.layout import first_block

if TYPE_CHECKING:
    from holdfast.base.environment import Environment

__all__ = ["PageReport", "check_cluster", "data_files"]

RACE_SECONDS = 5
"""A file changed within so long before the last verification began is read again."""


@dataclass(frozen=True, slots=True)
class PageReport:
    """What a verification of page checksums found."""

    files: int = 0
    pages: int = 0
    bad_pages: int = 0
    bad_files: int = 0
    moving: int = 0

    @property
    def proofs(self) -> tuple[tuple[str, str], ...]:
        """Counts for the evidence; nothing if nothing was read."""
        if not self.files:
            return ()
        return (
            ("page-files-verified", str(self.files)),
            ("pages-verified", str(self.pages)),
            ("pages-bad", str(self.bad_pages)),
        )

    @property
    def problems(self) -> tuple[str, ...]:
        """Return what is wrong with the cluster's own data."""
        if not self.bad_pages:
            return ()
        return (
            f"{self.bad_pages} pages in {self.bad_files} data files fail their checksum: the cluster's disk is damaged",
        )


def data_files(folders: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (path, name) of the files that may hold pages: those in `base`, `global` and tablespaces."""
    for folder in folders:
        for root, inner, names in os.walk(folder):
            inner[:] = [name for name in inner if not name.startswith("pgsql_tmp") and name not in _NO_PAGES]
            yield from ((os.path.join(root, name), name) for name in names)


_NO_PAGES = frozenset(
    {"pg_wal", "log", "pg_xact", "pg_multixact", "pg_subtrans", "pg_commit_ts", "pg_notify", "pg_serial"}
)


def check_cluster(
    folders: Sequence[str], page_bytes: int, start_lsn: int, state: Path | None, env: Environment
) -> PageReport:
    """Verify every data file of some folders; with `state`, only those changed since it was last called."""
    since = _last(state)
    began = env.now().timestamp()
    files = pages = bad = bad_files = moving = 0
    for path, name in data_files(folders):
        first = first_block(name, page_bytes)
        try:
            if first is None or os.stat(path).st_mtime < since:
                continue
            read, wrong, later = engine.check_pages(path, first, page_bytes, start_lsn)
        except OSError:
            continue  # gone meanwhile: dropped or truncated
        files, pages, moving = files + 1, pages + read, moving + later
        bad, bad_files = bad + len(wrong), bad_files + bool(wrong)
    if state is not None and not bad:
        state.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        state.write_text(f"{began - RACE_SECONDS:.0f}\n")
    return PageReport(files, pages, bad, bad_files, moving)


def _last(state: Path | None) -> float:
    try:
        return float(state.read_text()) if state is not None else 0.0
    except (OSError, ValueError):
        return 0.0
