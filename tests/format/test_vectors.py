"""The engine's known answers are read by the rescue reader, which was written from the specification alone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import rescue_format
import rescue_tree

ROOT = Path(__file__).parents[2]
VECTORS = json.loads((ROOT / "docs/format/vectors.json").read_text())


def vector(name: str) -> bytes:
    """Return one vector's bytes."""
    return bytes.fromhex(VECTORS[name])


def test_packs_have_the_names_and_origins_that_the_specification_gives_them() -> None:
    pack, nonce = vector("pack"), vector("pack_nonce")
    assert hashlib.sha256(pack).digest() == vector("pack_name")
    assert hashlib.sha256(vector("repacked")).digest() == vector("repacked_name")
    length = rescue_format.pack_header_length(pack, "pack")
    header = rescue_format.parse_pack_header(pack[:length], vector("vault"), "pack")
    assert header.nonce == nonce
    assert rescue_format.origin_of(vector("run_key"), nonce) == nonce[:16]


def test_an_index_run_lists_both_packs() -> None:
    assert len(rescue_format.parse_run(vector("index_run"), "run")) == 2


def test_a_leaf_of_every_kind_is_read() -> None:
    place = rescue_tree.Location(bytes(16), 0, 0)
    found = list(rescue_tree.Walk(lambda *_: vector("leaf")).run(place))
    assert all(isinstance(entry, rescue_tree.Entry) for entry in found)
    assert [entry.path for entry in found if isinstance(entry, rescue_tree.Entry)] == [
        b"",
        b"a",
        b"a/inline",
        b"a/lists",
        b"a/map",
        b"a/mapped",
        b"a/pieces",
        b"a-b",
        b"b",
        b"c",
        b"d",
    ]


def test_a_page_group_is_read() -> None:
    assert rescue_tree.parse_group(vector("page_group"), 8192)
