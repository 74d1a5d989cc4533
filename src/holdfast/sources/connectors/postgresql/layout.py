"""What of a data directory belongs into a backup, and what PostgreSQL says of it in its label. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.base.patterns import literal
from holdfast.errors import CaptureError
from holdfast.sources.wal import parse_lsn

__all__ = ["RELATION_FILE_BYTES", "Label", "excluded", "first_block", "parse_label"]

_CONTENTS = (
    "pg_wal", "pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans", "pg_tblspc",
)  # fmt: skip
"""Folders that are stored empty: the server fills them at its start, and the links of `pg_tblspc` from `tablespace_map`."""
_FILES = (
    "postmaster.pid", "postmaster.opts", "backup_label", "backup_label.old", "tablespace_map", "tablespace_map.old",
    "backup_manifest", "postgresql.auto.conf.tmp", "current_logfiles.tmp", "recovery.signal", "standby.signal",
    "global/pg_control",
)  # fmt: skip
"""Files of the running server. `pg_control` is stored beside: without it and the label no server starts on the copy."""
_ANYWHERE = ("pgsql_tmp*", "pg_internal.init*")
_RELATION = re.compile(r"[0-9]+(?:_(?:fsm|vm|init))?(?:\.([0-9]+))?")
RELATION_FILE_BYTES = 1 << 30


def excluded(data: str, tablespaces: Sequence[str]) -> tuple[str, ...]:
    """Return the patterns of what is left out (PostgreSQL, `Low Level API`, and pg_basebackup's own list)."""
    root = literal(data.rstrip("/"))
    roots = (root, *(literal(folder.rstrip("/")) for folder in tablespaces))
    return (
        *(f"{root}/{name}/*" for name in _CONTENTS),
        *(f"{root}/{name}" for name in _FILES),
        *(f"{folder}/**/{name}" for folder in roots for name in _ANYWHERE),
    )


def first_block(name: str, page_bytes: int) -> int | None:
    """Return the number of the first block in a relation's file: 131,072 for `16384.1`; None if it is no such file."""
    found = _RELATION.fullmatch(name)
    if found is None:
        return None
    return int(found[1] or 0) * (RELATION_FILE_BYTES // page_bytes)


@dataclass(frozen=True, slots=True)
class Label:
    """What `backup_label` says."""

    start: int
    start_segment: str
    timeline: int
    checkpoint: str


def parse_label(content: bytes) -> Label:
    """Read `backup_label`. `CaptureError` if it is none."""
    text = content.decode(errors="replace")
    start = re.search(r"^START WAL LOCATION: ([0-9A-F]+/[0-9A-F]+) \(file ([0-9A-F]{24})\)$", text, re.MULTILINE)
    checkpoint = re.search(r"^CHECKPOINT LOCATION: ([0-9A-F]+/[0-9A-F]+)$", text, re.MULTILINE)
    if start is None or checkpoint is None:
        raise CaptureError("PostgreSQL gave no backup label that can be read")
    return Label(parse_lsn(start[1]), start[2], int(start[2][:8], 16), checkpoint[1])
