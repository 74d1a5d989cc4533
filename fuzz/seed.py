"""Makes the seeds of the corpora from real objects: those of the golden vault, and the labelled files of the detectors.

    python fuzz/seed.py

What fuzzing found stays: nothing is ever removed here. Objects are opened by the rescue reader, so that what a seed is does not
depend on the parsers that are tried with it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "rescue"))

import rescue_format as f  # noqa: E402 - the path to it is set above
import rescue_keys as k  # noqa: E402
from rescue_vault import Vault  # noqa: E402

from holdfast.config import render  # noqa: E402
from holdfast.repository.hpke import envelope, state_recipient  # noqa: E402
from holdfast.testing import corpus, golden  # noqa: E402

BYTES_MAX = 6000
PER_TARGET = 24
HEADER_BYTES = 56
Seeds = Iterator[tuple[str, bytes]]


def keep(target: str, data: bytes, kept: dict[str, int]) -> None:
    """Write one seed, unless the target has enough or it is too long."""
    if len(data) > BYTES_MAX or kept.get(target, 0) >= (3 * PER_TARGET if target == "detect" else PER_TARGET):
        return
    kept[target] = kept.get(target, 0) + 1
    folder = ROOT / "fuzz" / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"seed-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)


def of_packs(vault: Vault) -> Seeds:
    """Headers, directories, whole packs, segments, nodes, lists, groups."""
    vault.load_index(from_packs=False)
    nodes: dict[int, list[bytes]] = {}
    for name in sorted(vault.pack_names(), key=lambda name: (os.stat(Path(vault.root, name)).st_size, name)):
        pack = vault.pack(name)
        keys = vault.keys(pack.header.class_id, pack.header.generation, name)
        header = vault.get(name)[: pack.header.length]
        plain, _ = vault._own_directory(name, pack.header, keys)  # noqa: SLF001 - the reader's own way to a directory
        yield "header", header
        yield "directory", bytes([len(pack.header.origins)]) + plain
        small = _short_envelopes(pack.header, header)
        yield "pack", b"\1" + struct.pack("<H", len(small)) + small + plain
        yield "pack", b"\0" + vault.get(name)
        for segment in pack.segments.values():
            content = vault.open_in_pack(pack, segment)
            yield "segment", bytes([pack.header.kind, 0]) + struct.pack("<I", len(content)) + content
            coded = f.zstandard.ZstdCompressor(level=1).compress(content)
            yield "segment", bytes([pack.header.kind, 1]) + struct.pack("<I", len(content)) + coded
            for number, role in enumerate(segment.roles):
                chunk = content[segment.bounds[number] : segment.bounds[number + 1]]
                if role & 15 == f.NODE:
                    nodes.setdefault(chunk[1], []).append(chunk)
                    yield "node", chunk
                elif role & 15 == f.PIECES:
                    yield "content", b"\0" + chunk
                    yield "content", b"\1" + chunk
                elif role & 15 == f.GROUP:
                    yield "content", b"\2" + chunk
    leaves = nodes.get(0, [])
    for first, second in itertools.pairwise(leaves):
        yield "tree", b"".join(struct.pack("<H", len(node)) + node for node in (first, second))
    yield "tree", _two_levels(leaves)
    origin = bytes(range(16))
    for pieces in (b"\2\x90\x4e\0\4\2\x81\1", b"\1\xfe\xff\3\0\0\0"):  # a piece and a hole; one long piece
        yield "content", b"\0\1\1" + origin + pieces
    yield "content", b"\1\1\1" + origin + b"\3\0\0\0\0\0\0\0\2\0"


def _short_envelopes(header: f.PackHeader, data: bytes) -> bytes:
    """The header with one tiny envelope instead of those that take kilobytes of noise."""
    origins = b"".join(
        nonce + struct.pack("<H", min(index, 0) if index != 0xFFFF else index) for nonce, index in header.origins
    )
    body = struct.pack("<HBH", 1, 1, 4) + b"key!" + origins
    front = data[:68] + struct.pack("<IHH", 76 + len(body), 1, len(header.origins))
    return front + body


def _two_levels(leaves: list[bytes]) -> bytes:
    """An inner node over two leaves of hand-made entries: node N is segment N of the origin of zeros."""

    def entry(path: bytes) -> bytes:
        return b"\0" + bytes([len(path)]) + path + b"\2\0" + b"\0\0\0\0\0\0\0"

    def leaf(*paths: bytes) -> bytes:
        return b"\1\0\0\0" + bytes([len(paths)]) + b"".join(entry(path) for path in paths)

    def child(path: bytes, segment: int, entries: int) -> bytes:
        return b"\0" + bytes([len(path)]) + path + b"\0" + bytes([segment * 2]) + b"\0" + bytes([entries, 0])

    inner = b"\1\1\1" + bytes(16) + b"\2" + child(b"a", 2, 2) + child(b"c", 1, 1)
    nodes = [inner, leaves[0] if leaves else leaf(b"x"), leaf(b"a", b"b"), leaf(b"c")]
    return b"".join(struct.pack("<H", len(node)) + node for node in nodes)


def of_sealed(vault: Vault) -> Seeds:
    """Index runs, reference sets, writer states, parts, the keyring."""
    for name in vault.names("index"):
        sealed = f.parse_sealed(vault.get(f"index/{name}"), 1, vault.vault_id, f"index/{name}")
        keys = vault.keys(sealed.class_id, sealed.generation, name)
        yield "run", sealed.open_with(keys.index_key)
        yield "sealed", vault.get(f"index/{name}")
    for name in vault.names("refs"):
        sealed = f.parse_sealed(vault.get(f"refs/{name}"), 2, vault.vault_id, f"refs/{name}")
        plain = sealed.open_with(vault.keys(sealed.class_id, sealed.generation, name).index_key)
        yield "refs", plain
        yield "references", plain
    ring = f.parse_sealed(vault.get("keyring/00000000"), 5, vault.vault_id, "keyring/00000000").open_with(
        vault.root_key
    )
    for writer in json.loads(ring)["writers"]:
        for source in vault.names(f"state/{writer['id']}"):
            for number in vault.names(f"state/{writer['id']}/{source}"):
                what = f"state/{writer['id']}/{source}/{number}"
                sealed = f.parse_sealed(vault.get(what), 3, vault.vault_id, what)
                yield "state", sealed.open_with(f.b64(writer, "state_key", what))
    for snapshot in vault.snapshots():
        for part in snapshot.parts:
            yield "part", f.json.dumps(part.body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    yield from _of_keyring(ring, vault)
    plain = b"some content that compresses compresses compresses"
    yield "sealed", b"\0" + struct.pack("<I", len(plain)) + plain
    yield "sealed", b"\1" + struct.pack("<I", len(plain)) + f.zstandard.ZstdCompressor(level=1).compress(plain)


def _of_keyring(ring: bytes, vault: Vault) -> Seeds:
    body = json.loads(ring)
    body["classes"] = body["classes"][:1]
    yield "keyring", _canonical(body)
    one = {key: value for key, value in body["classes"][0].items() if key != "private"}
    own = body["own_writer"]
    yield (
        "credential",
        _canonical(
            {
                "format": "holdfast-credential-1",
                "role": "writer",
                "vault": vault.vault_id.hex(),
                "id": own["id"],
                "signing_seed": own["signing_seed"],
                "state_key": body["writers"][0]["state_key"],
                "root_public": own["signing_seed"],
                "classes": [one],
            }
        ),
    )


def _canonical(body: object) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def of_control(vault: Vault) -> Seeds:
    """Bodies of control objects of every type, and one of each framed; key slots; a key file and a kit."""
    for parent, folders, names in os.walk(vault.root):
        folders.sort()
        for name in sorted(names)[:2]:
            path = os.path.relpath(os.path.join(parent, name), vault.root)
            data = Path(parent, name).read_bytes()
            if data[:8] == f.CONTROL_MAGIC:
                body = data[16:-96]
                yield ("slot" if path.startswith("key/") else "control"), body
                if path.startswith("key/"):
                    yield "control", body
    yield "control", (Path(vault.root) / "vault").read_bytes()
    key = (Path(vault.root).parent / golden.KEY).read_bytes()
    yield "keyfile", key
    yield "keyfile", key + b"\nRECOVERY KIT of a Holdfast vault.\n"
    own = state_recipient(bytes(16), bytes(range(32)), bytes(12), bytes(32), b"info")
    yield "envelope", envelope([(1, b"hpke"), (2, own)])


def of_tables(state: Path) -> Seeds:
    """Sorted tables, without their header and with their numbers of rows in a byte each."""
    for path in sorted(state.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        if data.startswith(b"HFSORT01"):
            counts = struct.unpack_from("<4Q", data, 8)
            if max(counts) < 256:
                yield "sorted", bytes(counts) + data[HEADER_BYTES:]


def of_texts() -> Seeds:
    """Files for the detectors, patterns, words, configurations, courier's lists, records, proofs."""
    seen: set[str] = set()
    for sample in corpus.corpus(seed=7, files=200):
        if sample.kind not in seen:
            seen.add(sample.kind)
            yield "detect", sample.content[:4000]
    for text in (
        "*.tmp\n!keep.tmp\n/srv/cache/\nsrv/a.tmp",
        "**/x/[a-z]?.{hl7,dcm}\n\\#a\nsrv/x/b.hl7",
        "a/\n/b/**\nb/c",
    ):
        yield "patterns", text.encode()
    for word in (f"{'0a' * 16}:7:12", "ab" * 16, "cd" * 32):
        yield "words", word.encode()
    yield "words", struct.pack("<HBH", 1, 1, 4) + b"hpke"
    sha = "ab" * 32
    yield "list", f"{sha} 12 data/ab/{sha}\n{sha} 3 vault\n".encode()
    for name in (
        "vault",
        "snapshot/" + "0a" * 16,
        "latest",
        "ehr@2026-11-23",
        "ward@2026-11-23T03:00",
        "ack/" + "0a" * 16 + "/00000001",
    ):
        yield "names", name.encode()
    yield "names", b"\x80\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
    yield "configuration", render.sample().encode()[:BYTES_MAX]
    yield (
        "configuration",
        b'[vault]\nurl = "/srv/vault"\nkey_file = "/etc/holdfast/key"\n[jobs.ehr]\npaths = ["/srv/ehr"]\n',
    )
    manifest = {
        "name": "courier/c/00000000/00000000",
        "type": "courier",
        "vault": "11" * 16,
        "nonce": "AA==",
        "signer": "root",
        "time": "2026-11-23T03:00:00.000000Z",
        "courier": "c",
        "set": 0,
        "medium": 0,
        "medium_id": "",
        "last": True,
        "previous": "",
        "list_sha": sha,
        "objects": 1,
        "bytes": 1,
        "challenge": "AAAA",
    }
    yield "set", _canonical(manifest)
    receipt = {
        "name": "receipt/a/00000000",
        "type": "receipt",
        "vault": "11" * 16,
        "nonce": "AA==",
        "signer": "",
        "time": "2026-11-23T03:00:00.000000Z",
        "courier": "a",
        "set": 0,
        "received": "2026-11-23T03:00:00.000000Z",
        "media": [{"medium": 0, "manifest": sha, "digest": sha, "objects": 1, "bytes": 1}],
    }
    yield "set", _canonical(receipt)
    yield from _of_audit(sha)


def _of_audit(sha: str) -> Seeds:
    from datetime import UTC, datetime

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from holdfast.reliability.audit.head import PublicKey, SignedHead, sign_head
    from holdfast.reliability.audit.record import Actor, AuditRecord
    from holdfast.repository.access import Request, sign_request
    from holdfast.runs.drill.record import DrillRecord, Phase, SignedRecord
    from holdfast.services.judge import Outcome

    key, now = Ed25519PrivateKey.from_private_bytes(bytes(range(32))), datetime(2026, 11, 23, 3, tzinfo=UTC)
    actor = Actor(0, "root", "host")
    record = AuditRecord(
        "backup", "end", "0a" * 16, now, actor, "11" * 16, "success", facts={"files": 3, "share": 0.5, "whole": True}
    )
    head = sign_head(key, SignedHead("0a" * 16, 1, sha, sha, now))
    yield "audit", record.encode()
    yield "audit", head.encode().encode()
    yield "audit", PublicKey.of(key).pem.encode()
    proof = {
        "proof": "record",
        "number": 0,
        "record": record.encode().decode(),
        "before": sha,
        "path": [sha],
        "head": json.loads(head.encode()),
    }
    yield "audit", _canonical(proof)
    yield (
        "audit",
        _canonical(
            {"proof": "growth", "path": [sha], "old": json.loads(head.encode()), "head": json.loads(head.encode())}
        ),
    )
    request = Request(
        "11" * 16, "forget", {"snapshots": ["0a" * 16]}, "0b" * 16, now, datetime(2026, 12, 7, tzinfo=UTC)
    )
    yield "audit", _canonical(request.encode())
    yield "audit", sign_request(request, "ash", key, now).encode().encode()
    drill = DrillRecord(
        id="0c" * 16, number=1, previous="", vault="11" * 16, vault_label="golden", service="ehr", title="EHR", kind="full",
        scenario="", verdict="passed", cause="", snapshot="0a" * 16, snapshot_started="2026-11-23T03:00:00Z",
        began="2026-11-23T04:00:00Z", ended="2026-11-23T04:01:00Z", isolation="namespaces", weaker=(),
        phases=(Phase("fetch", 0.5, 12.25, counted=True),), rto=3600.0, rto_achieved=12.25, rpo=86400.0, rpo_achieved=3600.0,
        rpo_judged=True, files=3, bytes=400, bytes_per_s=32.6, first_byte=0.1, compared_files=3, compared_bytes=400,
        outcomes=tuple(_outcomes(Outcome)), forecast=None, holdfast="0.1.0",
    )  # fmt: skip
    from holdfast.runs.drill.record import MESSAGE, digest_of

    signature = key.sign(MESSAGE + digest_of(drill).encode()).hex()
    yield "evidence", SignedRecord(drill, key.public_key().public_bytes_raw().hex(), signature).encode()


def _outcomes(kind: type) -> list[object]:
    """One outcome, whatever fields it has."""
    import dataclasses

    values = {"str": "rows", "bool": True, "int": 1, "float": 1.0}
    return [kind(**{field.name: values.get(str(field.type), "") for field in dataclasses.fields(kind)})]


def main() -> None:
    """Write every seed."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOLDFAST_STATE"] = str(Path(folder) / "state")
        made = golden.Golden(ROOT / "tests" / "golden" / "v1").copy(Path(folder) / "golden")
        import holdfast

        with holdfast.Vault.open(made.vault, key_file=made.key) as opened:
            opened.snapshot().restore(Path(folder) / "out")
        secret = k.read_secret(str(made.key), passphrase=False)
        vault = Vault(str(made.vault), secret, passphrase=False, note=sys.exit)
        kept: dict[str, int] = {}
        for seeds in (
            of_packs(vault),
            of_sealed(vault),
            of_control(vault),
            of_tables(Path(folder) / "state"),
            of_texts(),
        ):
            for target, data in seeds:
                keep(target, data, kept)
    print(json.dumps(dict(sorted(kept.items()))))


if __name__ == "__main__":
    main()
