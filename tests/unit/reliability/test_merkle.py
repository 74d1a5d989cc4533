"""The tree is RFC 6962's: published roots, every proof up to 40 leaves, and no proof that proves something else."""

from __future__ import annotations

import hashlib

import pytest

from holdfast.reliability.audit.merkle import (
    MerkleTree,
    chain_hash,
    consistency_ranges,
    consistent,
    included,
    inclusion_ranges,
    range_roots,
)

# The reference leaves of Certificate Transparency's own tests, and the roots of the first n of them.
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def leaf(data: bytes) -> bytes:
    return hashlib.sha256(b"\0" + data).digest()


def test_published_roots():
    tree = MerkleTree()
    assert tree.root() == hashlib.sha256(b"").digest()
    for data, root in zip(LEAVES, ROOTS, strict=True):
        tree.extend([leaf(bytes.fromhex(data))])
        assert tree.root().hex() == root


def numbers(count: int) -> list[bytes]:
    return [leaf(b"%d" % n) for n in range(count)]


def root_of(leaves: list[bytes]) -> bytes:
    tree = MerkleTree()
    tree.extend(leaves)
    return tree.root()


@pytest.mark.parametrize("size", range(1, 70))
def test_however_leaves_arrive_and_wherever_one_goes_on_the_root_is_the_same(size):
    leaves = numbers(size)
    whole = root_of(leaves)
    for cut in range(size + 1):
        first = MerkleTree()
        first.extend(leaves[:cut])
        again = MerkleTree(first.size, first.frontier)
        again.extend(leaves[cut:])
        assert again.root() == whole


def test_a_frontier_must_fit_its_size():
    for size, frontier in ((1, ()), (3, (b"x" * 32,)), (1, (b"short",)), (-1, ())):
        with pytest.raises(ValueError, match="frontier"):
            MerkleTree(size, frontier)


def test_every_inclusion_proof_proves_its_leaf_and_no_other():
    for size in range(1, 40):
        leaves = numbers(size)
        root = root_of(leaves)
        for number, one in enumerate(leaves):
            path = range_roots(leaves, inclusion_ranges(number, size))
            assert included(one, number, size, path, root)
            assert not included(leaf(b"other"), number, size, path, root)
            assert not included(one, number + 1, size, path, root)
            assert not included(one, number, size, [*path, root], root)
            if path:
                assert not included(one, number, size, path[:-1], root)
        assert not included(leaves[0], -1, size, [], root)
        assert not included(leaves[0], size, size, [], root)


def test_every_consistency_proof_proves_its_two_trees_and_no_others():
    for second in range(1, 40):
        leaves = numbers(second)
        new = root_of(leaves)
        for first in range(1, second + 1):
            old = root_of(leaves[:first])
            path = range_roots(leaves, consistency_ranges(first, second))
            assert consistent(first, old, second, new, path)
            forged = root_of([leaf(b"forged"), *leaves[1:first]])
            assert not consistent(first, forged, second, new, path)
            assert not consistent(first, old, second, forged, path)
            assert not consistent(first, old, second, new, [*path, old])
            if path:
                assert not consistent(first, old, second, new, path[:-1])
                assert not consistent(first, old, second, new, [forged, *path[1:]])


def test_an_empty_log_is_the_beginning_of_every_log():
    nothing = hashlib.sha256(b"").digest()
    assert consistent(0, nothing, 3, root_of(numbers(3)), [])
    assert not consistent(0, leaf(b""), 3, root_of(numbers(3)), [])
    assert not consistent(4, nothing, 3, nothing, [nothing])


def test_a_proof_needs_all_its_leaves():
    with pytest.raises(ValueError, match="fewer leaves"):
        range_roots(numbers(3), inclusion_ranges(0, 8))


def test_the_chain_is_the_leaf():
    assert chain_hash(b"0 {}", b"h" * 32) == leaf(b"0 {}" + b"h" * 32)
