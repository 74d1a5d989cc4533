"""The hash chain and the Merkle tree over the log. Pure: hashes in, hashes out.

Record n is stored as the bytes `n JSON`; with h the chain before it, its chain value is ``SHA-256(0x00 || n JSON || h)``. That
is the leaf hash of RFC 6962 section 2.1 for the leaf ``n JSON || h``: chain and tree share one hash per record, and nodes are
``SHA-256(0x01 || left || right)``. Proofs are verified as RFC 9162 sections 2.1.3.2 and 2.1.4.2 say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

__all__ = [
    "HASH_BYTES",
    "MerkleTree",
    "chain_hash",
    "consistency_ranges",
    "consistent",
    "included",
    "inclusion_ranges",
    "range_roots",
]

HASH_BYTES = 32
_sha256 = hashlib.sha256


def chain_hash(stored: bytes, before: bytes) -> bytes:
    """Return the chain value of a record's stored bytes: the leaf of the tree, too."""
    return _sha256(b"\0" + stored + before).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return _sha256(b"\1" + left + right).digest()


class MerkleTree:
    """A tree that leaves are only added to. It keeps the roots of its perfect subtrees: one hash per bit of its size."""

    def __init__(self, size: int = 0, frontier: Sequence[bytes] = ()) -> None:
        """Continue a tree of that size, whose frontier is that one (largest subtree first). `ValueError` if they do not fit."""
        if size < 0 or size.bit_count() != len(frontier) or any(len(part) != HASH_BYTES for part in frontier):
            message = "a frontier that does not fit its size"
            raise ValueError(message)
        parts = iter(reversed(frontier))
        self.size = size
        self._pending: list[bytes | None] = [next(parts) if size >> h & 1 else None for h in range(size.bit_length())]

    @property
    def frontier(self) -> tuple[bytes, ...]:
        """The roots of the perfect subtrees, largest first."""
        return tuple(part for part in reversed(self._pending) if part is not None)

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaves: level by level, so that a million take about a second."""
        nodes = list(leaves)
        self.size += len(nodes)
        height = 0
        while nodes:
            if height == len(self._pending):
                self._pending.append(None)
            left = self._pending[height]
            if left is not None:
                nodes.insert(0, left)
            self._pending[height] = nodes.pop() if len(nodes) & 1 else None
            pairs = iter(nodes)
            nodes = [_sha256(b"\1" + a + b).digest() for a, b in zip(pairs, pairs, strict=True)]
            height += 1

    def root(self) -> bytes:
        """Return the root; of no leaves, the hash of nothing."""
        found: bytes | None = None
        for part in self._pending:
            if part is not None:
                found = part if found is None else _node(part, found)
        return _sha256(b"").digest() if found is None else found


def _split(count: int) -> int:
    """Return the largest power of two below a count above 1."""
    return 1 << ((count - 1).bit_length() - 1)


def inclusion_ranges(leaf: int, size: int) -> list[tuple[int, int]]:
    """Return the ranges of leaves whose roots prove that a leaf is in a tree, in the order of the proof (RFC 6962 2.1.1)."""
    ranges = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if leaf < middle:
            ranges.append((middle, high))
            high = middle
        else:
            ranges.append((low, middle))
            low = middle
    return ranges[::-1]


def consistency_ranges(first: int, second: int) -> list[tuple[int, int]]:
    """Return the ranges whose roots prove that a tree of `second` leaves continues one of `first` (RFC 6962 2.1.2)."""
    ranges = []
    low, high, whole = 0, second, True
    while first - low != high - low:
        middle = low + _split(high - low)
        if first <= middle:
            ranges.append((middle, high))
            high = middle
        else:
            ranges.append((low, middle))
            low, whole = middle, False
    return ([] if whole else [(low, high)]) + ranges[::-1]


def range_roots(leaves: Iterable[bytes], ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """Return the root of each range of leaves, reading the leaves once. The ranges do not overlap."""
    trees = {place: MerkleTree() for place in ranges}
    order: Iterator[tuple[int, int]] = iter(sorted(ranges))
    current = next(order, None)
    for number, leaf in enumerate(leaves):
        if current is not None and number >= current[1]:
            current = next(order, None)
        if current is None:
            break
        if number >= current[0]:
            trees[current].extend((leaf,))
    if any(tree.size != high - low for (low, high), tree in trees.items()):
        message = "fewer leaves than the proof needs"
        raise ValueError(message)
    return [trees[place].root() for place in ranges]


def included(leaf: bytes, number: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Return whether a proof shows that `leaf` is number `number` (from 0) of the tree (RFC 9162 2.1.3.2)."""
    if not 0 <= number < size:
        return False
    position, last, found = number, size - 1, leaf
    for part in path:
        if last == 0:
            return False
        if position & 1 or position == last:
            found = _node(part, found)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            found = _node(found, part)
        position, last = position >> 1, last >> 1
    return last == 0 and found == root


def consistent(first: int, first_root: bytes, second: int, second_root: bytes, path: Sequence[bytes]) -> bool:
    """Return whether a proof shows that the second tree begins with all of the first (RFC 9162 2.1.4.2)."""
    if first == second:
        return not path and first_root == second_root
    if not 0 < first < second or not path:
        return first == 0 and not path and first_root == _sha256(b"").digest()
    parts = [first_root, *path] if first & (first - 1) == 0 else list(path)
    position, last = first - 1, second - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = parts[0]
    for part in parts[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old, new = _node(part, old), _node(part, new)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new = _node(new, part)
        position, last = position >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root
