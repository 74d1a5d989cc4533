"""The catalog's tables.

Snapshots of a source are numbered in the order in which the catalog met them (`seq`, from 1). A *chain* is one data class
of one source; its `tree` rows say at which numbers the catalog knows the class's tree. A `version` row says that an entry was
the same in every known tree from `first` to `last`; `last` is `OPEN` while the newest known tree has it. A run therefore
costs rows for what changed only. There is no index on names: scanning a million takes less than a tenth of a second, and
an index would double the cost of loading. The indexes on changes are partial, so a first load pays nothing for them.
"""

from __future__ import annotations

SCHEMA_VERSION = "1"
OPEN = 2147483647
"""`last` of a version that the newest known tree has."""

TABLES = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE snapshot (
    source TEXT NOT NULL, seq INTEGER NOT NULL, id TEXT NOT NULL UNIQUE, finished INTEGER NOT NULL, missing TEXT NOT NULL,
    PRIMARY KEY (source, seq)
) WITHOUT ROWID;
CREATE TABLE chain (
    id INTEGER PRIMARY KEY, source TEXT NOT NULL, class INTEGER NOT NULL, UNIQUE (source, class)
);
CREATE TABLE tree (
    chain INTEGER NOT NULL, seq INTEGER NOT NULL, root TEXT NOT NULL, PRIMARY KEY (chain, seq)
) WITHOUT ROWID;
CREATE TABLE folder (id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE);
CREATE TABLE version (
    chain INTEGER NOT NULL, folder INTEGER NOT NULL, name BLOB NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    kind INTEGER NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL, mark INTEGER,
    PRIMARY KEY (chain, folder, name, first)
) WITHOUT ROWID;
CREATE INDEX version_first ON version (chain, first) WHERE first <> 1;
CREATE INDEX version_last ON version (chain, last) WHERE last <> {OPEN};
"""
