"""What differs between two snapshots of one source, from the versions that only one of them has."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias

from holdfast.catalog.schema import OPEN

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

SCANNED_FROM = 4
"""From so many snapshots apart, one pass over all versions costs less than picking out the changed ones by index."""

Side: TypeAlias = tuple[int, tuple[int, int, int, int | None]]
"""The place of a chain in the sequence given, and kind, size, mtime, mark."""
Difference: TypeAlias = tuple[bytes, Side | None, Side | None]
"""Path in tree order (`/` as 0), the version at the lower number, the one at the higher."""

_NEAR = f"""
SELECT folder, name, first, last, kind, size, mtime, mark FROM version INDEXED BY version_last
WHERE chain = ?1 AND last <> {OPEN} AND last >= ?2 AND last < ?3 AND first <= ?2
UNION ALL
SELECT folder, name, first, last, kind, size, mtime, mark FROM version INDEXED BY version_first
WHERE chain = ?1 AND first <> 1 AND first > ?2 AND first <= ?3 AND last >= ?3
ORDER BY folder, name, first
"""
_FAR = """
SELECT folder, name, first, last, kind, size, mtime, mark FROM version
WHERE chain = ?1 AND (first <= ?2 AND last >= ?2) <> (first <= ?3 AND last >= ?3)
ORDER BY folder, name, first
"""


def differences(connection: sqlite3.Connection, chains: Sequence[int], low: int, high: int) -> Iterator[Difference]:
    """Yield each path of some chains (by rank) that differs between two numbers, in tree order.

    A path that left one chain and came into another is one difference; where several have one side, the first counts.
    """
    found: list[Difference] = []
    keys: dict[int, bytes] = {}
    for rank, chain in enumerate(chains):
        found += _of_chain(connection, rank, chain, low, high, keys)
    found.sort(key=itemgetter(0))
    if len(chains) == 1:
        yield from found
        return
    for key, group in groupby(found, key=itemgetter(0)):
        sides = list(group)
        yield key, next((s[1] for s in sides if s[1]), None), next((s[2] for s in sides if s[2]), None)


def _of_chain(
    connection: sqlite3.Connection, rank: int, chain: int, low: int, high: int, keys: dict[int, bytes]
) -> Iterator[Difference]:
    """One chain's differences. The two versions of a path that has one on either side follow each other."""
    query = _NEAR if high - low < SCANNED_FROM else _FAR
    old_place: tuple[int, bytes] | None = None
    old: Side | None = None
    for folder, name, first, _, *value in connection.execute(query, (chain, low, high)):
        side: Side = (rank, tuple(value))
        if first <= low:
            if old_place is not None:
                yield _key(connection, keys, *old_place), old, None
            old_place, old = (folder, name), side
        elif old_place == (folder, name):
            if old is None or old[1] != side[1] or side[1][3] is None:  # else changed and changed back
                yield _key(connection, keys, folder, name), old, side
            old_place = old = None
        else:
            if old_place is not None:
                yield _key(connection, keys, *old_place), old, None
            old_place = old = None
            yield _key(connection, keys, folder, name), None, side
    if old_place is not None:
        yield _key(connection, keys, *old_place), old, None


def _key(connection: sqlite3.Connection, keys: dict[int, bytes], folder: int, name: bytes) -> bytes:
    if folder not in keys:
        (path,) = connection.execute("SELECT path FROM folder WHERE id = ?", (folder,)).fetchone()
        keys[folder] = path.replace(b"/", b"\0") + b"\0" if path else b""
    return keys[folder] + name
