"""The engine's known packs open, byte for byte, under keys that an independent writer derives from the specification."""

import hashlib
import hmac
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import rescue_format as f
from rescue_keys import ClassKeys
from rescue_values import check_chunk
from tests.format import spec_writer as w

VECTORS = json.loads((Path(__file__).parents[2] / "docs/format/vectors.json").read_text())


def vector(name):
    return bytes.fromhex(VECTORS[name])


@pytest.fixture
def keys():
    """The reader's keys without the private half, which the vectors do not have."""
    made = ClassKeys.__new__(ClassKeys)
    made.vault, made.id, made.generation = vector("vault"), VECTORS["class"], VECTORS["generation"]
    made.index_key = vector("index_key")
    made.scope = made.vault + f.le16(made.id) + f.le32(made.generation)
    made._id_hmac = hmac.new(f.hkdf(vector("dedup_key"), made.vault, b"holdfast/1 id"), digestmod="sha256")
    return made


def test_ids_are_what_an_independent_writer_computes(keys):
    writer = w.Class(
        vector("vault"), 1, "phi", vector("dedup_key"), vector("index_key"), mlkem=0, p384=SimpleNamespace()
    )
    for role, name in ((1, "chunk"), (2, "node"), (5, "page")):
        assert writer.content_id(role, b"abc") == keys.content_id(role, b"abc") == vector(f"id_{name}_abc")


@pytest.mark.parametrize("name", ["pack", "repacked"])
def test_every_segment_of_a_known_pack_opens(keys, name):
    pack = vector(name)
    header = f.parse_pack_header(pack[: f.pack_header_length(pack, name)], keys.vault, name)
    length = int.from_bytes(pack[-16:-12], "little")
    end = len(pack) - 16 - length
    aad = hashlib.sha256(pack[: header.length]).digest()
    plain = f.gcm_open(f.directory_key(keys, header.nonce), f.FIXED_NONCE, aad, pack[end:-16], name)
    segments = f.parse_directory(plain, [nonce for nonce, _ in header.origins], end, name)
    assert segments
    for segment in segments.values():
        sealed = pack[segment.offset : segment.offset + segment.stored]
        opened = f.open_segment(keys, vector("run_key"), header.kind, segment, sealed, name)
        assert all(check_chunk(keys, segment, opened, number) for number in range(len(segment.roles)))
