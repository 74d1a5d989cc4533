"""A tiny writer of vaults, from docs/format alone, to test the rescue reader with. It favours the odd over the usual."""

import base64
import hashlib
import hmac
import json
import os
import random
from dataclasses import dataclass, field
from typing import Any

import zstandard
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mlkem
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM1024P384PublicKey, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

PAGE = 512
TIME = "2026-11-23T03:00:00.000000Z"


def compress(data):
    return zstandard.ZstdCompressor().compress(data)


def b64(data):
    return base64.b64encode(data).decode()


def hkdf(ikm, salt, info):
    return HKDF(hashes.SHA256(), 32, salt, info).derive(ikm)


def gcm(key, nonce, aad, plain):
    return AESGCM(key).encrypt(nonce, plain, aad)


def le(value, size):
    return value.to_bytes(size, "little")


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def zigzag(value):
    return varint((value << 1) ^ (value >> 63) if value >= 0 else ((-value) << 1) - 1)


def field_(data):
    return varint(len(data)) + data


def canonical(body):
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def raw_public(private):
    return private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


class Places:
    """Encodes the locations of one node or list."""

    def __init__(self):
        self.origins, self.before, self.segment, self.chunk = [], None, 0, 0

    def add(self, place):
        origin, segment, chunk = place
        if origin not in self.origins:
            self.origins.append(origin)
        index = self.origins.index(origin)
        base = self.chunk + 1 if (index, segment) == (self.before, self.segment) else 0
        out = varint(index) + zigzag(segment - self.segment) + zigzag(chunk - base)
        self.before, self.segment, self.chunk = index, segment, chunk
        return out

    def table(self):
        return varint(len(self.origins)) + b"".join(self.origins)


@dataclass
class Class:
    """A class generation with all of its keys."""

    vault: bytes
    id: int
    name: str
    dedup_key: bytes
    index_key: bytes
    generation: int = 0
    mlkem: Any = field(default_factory=mlkem.MLKEM1024PrivateKey.generate)
    p384: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP384R1()))

    @property
    def scope(self):
        return self.vault + le(self.id, 2) + le(self.generation, 4)

    def seal_key(self, purpose, secret):
        suite = Suite(KEM.MLKEM1024_P384, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
        public = MLKEM1024P384PublicKey(self.mlkem.public_key(), self.p384.public_key())
        return suite.encrypt(secret, public, info=purpose + self.scope)

    def content_id(self, role, content):
        key = hkdf(self.dedup_key, self.vault, b"holdfast/1 id")
        return hmac.digest(key, bytes([role]) + content, "sha256")[:16]

    def record(self):
        der = self.p384.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "id": self.id, "name": self.name, "generation": self.generation, "public": {},
            "private": {"mlkem": b64(self.mlkem.private_bytes_raw()), "p384": b64(der)},
            "dedup_key": b64(self.dedup_key), "index_key": b64(self.index_key),
        }  # fmt: skip


class Pack:
    """One pack of a class: add chunks to segments, then `finish`."""

    def __init__(self, vault, keys, kind, run_key=None):
        self.vault, self.keys, self.kind = vault, keys, kind
        self.run_key, half = run_key or vault.random(32), vault.random(16)
        self.nonce = hmac.digest(self.run_key, b"holdfast/1 origin" + half, "sha256")[:16] + half
        wrapped = keys.seal_key(b"holdfast/1 run key", self.run_key)
        recipients = [b"\x02" + le(3, 2) + b"map"] if kind == 3 else []
        recipients.append(b"\x01" + le(len(wrapped), 2) + wrapped)
        self.envelopes = [le(len(recipients), 2) + b"".join(recipients)]
        self.origins = [(self.nonce, 0)]
        self.segments = []  # origin index, ordinal, sealed, codec, plain length, chunks as (id, role code, length)

    def add(self, chunks, codec=1):
        """One segment of (role, content) chunks, role 6 with PAGE-sized pages; returns their locations."""
        ordinal = 3 * len(self.segments) + 1  # ordinals may have gaps
        plain, listed = b"".join(content for _, content in chunks), []
        for role, content in chunks:
            named, code = content, role
            if role == 6:
                ids = [self.keys.content_id(5, content[at : at + PAGE]) for at in range(0, len(content), PAGE)]
                named, code = le(PAGE, 4) + b"".join(ids), 6 | (PAGE.bit_length() - 1 - 8) << 4
            listed.append((self.keys.content_id(role, named), code, len(content)))
        key = hkdf(self.run_key, self.nonce, b"holdfast/1 segment" + self.keys.scope + bytes([self.kind]))
        aad = b"HFSG\x01" + bytes([self.kind]) + le(self.keys.id, 2) + le(self.keys.generation, 4) + self.vault.id
        aad += self.nonce + le(ordinal, 4) + bytes([codec]) + le(len(plain), 4)
        coded = compress(plain) if codec else plain
        sealed = gcm(key, le(ordinal, 4) + bytes(8), aad, coded)
        self.segments.append((0, ordinal, sealed, codec, len(plain), listed))
        return [(self.nonce[:16], ordinal, number) for number in range(len(chunks))]

    def take_over(self, other):
        """Copy the segments of another pack, as a repack does."""
        self.envelopes += other.envelopes
        self.origins += [(nonce, len(self.envelopes) - 1) for nonce, _ in other.origins]
        shift = len(self.origins) - len(other.origins)
        self.segments += [(index + shift, *rest) for index, *rest in other.segments]

    def finish(self, padding=100):
        """Write it; returns its entry in an index run."""
        header_length = 76 + sum(map(len, self.envelopes)) + 34 * len(self.origins)
        header = b"\x89HFPK\r\n\x1a" + le(1, 2) + bytes([self.kind, 0]) + self.vault.id + le(self.keys.id, 2) + bytes(2)
        header += le(self.keys.generation, 4) + self.nonce + le(header_length, 4)
        header += le(len(self.envelopes), 2) + le(len(self.origins), 2) + b"".join(self.envelopes)
        header += b"".join(nonce + le(index, 2) for nonce, index in self.origins)
        self.segments_from = header_length
        body, directory = header, b"\x01" + varint(len(self.segments))
        for origin, ordinal, sealed, codec, length, chunks in self.segments:
            directory += varint(origin) + varint(ordinal) + varint(len(body)) + varint(len(sealed)) + bytes([codec])
            directory += varint(length) + varint(len(chunks))
            directory += b"".join(content_id + bytes([code]) + varint(size) for content_id, code, size in chunks)
            body += sealed
        key = hkdf(self.keys.index_key, self.nonce, b"holdfast/1 directory")
        sealed = gcm(key, bytes(12), hashlib.sha256(header).digest(), directory)
        data = body + bytes(padding) + sealed + le(len(sealed), 4) + bytes(4) + b"\x89HFEN\r\n\x1a"
        sha = hashlib.sha256(data)
        folder = "data" if self.kind == 1 else "meta"
        self.name = f"{folder}/{sha.hexdigest()[:2]}/{sha.hexdigest()}"
        self.vault.put(self.name, data)
        nonces = b"".join(nonce for nonce, _ in self.origins)
        return (
            sha.digest()
            + varint(len(data))
            + bytes([self.kind])
            + varint(len(self.origins))
            + nonces
            + field_(directory)
        )


class SpecVault:
    """A vault in a folder."""

    def __init__(self, root, seed=1, classes=((1, "phi"),)):
        self.root, self.randomness = str(root), random.Random(seed)
        self.id, self.secret, self.root_key = self.random(16), self.random(32), self.random(32)
        self.passphrase = "un café"
        self.id_of, self.expected, self.packs = "", {}, {}  # what a test keeps with it
        self.root_signing = ed25519.Ed25519PrivateKey.from_private_bytes(self.random(32))
        self.writer_signing = ed25519.Ed25519PrivateKey.from_private_bytes(self.random(32))
        self.writer = self.random(16)
        self.classes = {
            name: Class(self.id, number, name, self.random(32), self.random(32)) for number, name in classes
        }
        self.control(
            "vault", {"format": 1, "root_public": b64(raw_public(self.root_signing)), "created": TIME, "label": ""}
        )
        self._slots()
        self.keyring(0)

    def random(self, count):
        return self.randomness.randbytes(count)

    def put(self, name, data):
        path = os.path.join(self.root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as stream:
            stream.write(data)

    def control(self, name, body, signer="", key=None):
        """Write a control object; returns the hex SHA of it."""
        full = {
            "name": name,
            "type": name.split("/")[0],
            "vault": self.id.hex(),
            "nonce": b64(self.random(16)),
            "time": TIME,
        }
        data = canonical({**full, "signer": signer, **body})
        data = b"\x89HFCT\r\n\x1a" + le(1, 2) + bytes(2) + le(len(data), 4) + data
        data += key.sign(b"holdfast/1 control" + hashlib.sha256(data).digest()) if key else bytes(64)
        data += hashlib.sha256(data).digest()
        self.put(name, data)
        return hashlib.sha256(data).hexdigest()

    def signed(self, name, body):
        return self.control(name, body, self.writer.hex(), self.writer_signing)

    def sealed(self, name, kind, ikm, plain, *, keys=None, envelope=b"", root=False, codec=1):
        """Write a sealed object; `{}` in the name becomes its hash. Returns the hash."""
        nonce, signer = self.random(32), bytes(16) if root else self.writer
        head = (
            b"\x89HFSO\r\n\x1a" + le(1, 2) + bytes([kind, codec]) + self.id + le(keys.id if keys else 0, 2) + bytes(2)
        )
        head += (
            le(keys.generation if keys else 0, 4) + nonce + signer + le(len(plain), 8) + le(len(envelope), 2) + envelope
        )
        key = hkdf(ikm, nonce, b"holdfast/1 sealed" + bytes([kind]))
        data = head + gcm(key, bytes(12), head, compress(plain) if codec else plain)
        signing = self.root_signing if root else self.writer_signing
        data += signing.sign(b"holdfast/1 sealed" + hashlib.sha256(data).digest())
        data += hashlib.sha256(data).digest()
        sha = hashlib.sha256(data).hexdigest()
        self.put(name.format(sha), data)
        return sha

    def _slots(self):
        for method, secret in (("keyfile", self.secret), ("passphrase", self.passphrase.encode())):
            salt, extra = self.random(32), {}
            key = hkdf(secret, salt, b"holdfast/1 slot")
            if method == "passphrase":
                extra = {"iterations": 210000}
                key = PBKDF2HMAC(hashes.SHA512(), 32, salt, 210000).derive(secret)
            wrapped = gcm(key, bytes(12), b"holdfast/1 slot" + self.id, self.root_key)
            body = {"method": method, "salt": b64(salt), "wrapped": b64(wrapped), **extra}
            self.control(f"key/{self.random(16).hex()}", body)

    def keyring(self, number):
        seed = self.root_signing.private_bytes_raw()
        writer = {"id": self.writer.hex(), "label": "", "signing_public": b64(raw_public(self.writer_signing)),
                  "state_key": b64(bytes(32)), "classes": []}  # fmt: skip
        own = {"id": self.writer.hex(), "signing_seed": b64(self.writer_signing.private_bytes_raw())}
        ring = {"root_signing": b64(seed), "classes": [c.record() for c in self.classes.values()],
                "writers": [writer], "own_writer": own, "unknown key": 1, "number": number}  # fmt: skip
        self.sealed(f"keyring/{number:08d}", 5, self.root_key, canonical(ring), root=True)

    def index(self, keys, entries):
        plain = b"\x01" + varint(len(entries)) + b"".join(entries)
        return self.sealed("index/{}", 1, keys.index_key, plain, keys=keys)

    def snapshot(self, roots, *, partial=False, decide="commit", finished=TIME, part=None, envelope=None):
        """Write parts, envelope and decision for {class name: (root location, entries, bytes)}; returns the snapshot id."""
        snapshot, listed = self.random(16).hex(), []
        for name, (place, entries, size) in roots.items():
            keys, secret = self.classes[name], self.random(32)
            body = {
                "root": f"{place[0].hex()}:{place[1]}:{place[2]}",
                "entries": entries,
                "bytes": size,
                "findings": [],
            } | (part or {})
            wrapped = keys.seal_key(b"holdfast/1 part", secret)
            sha = self.sealed(f"part/{snapshot}/{keys.id}", 4, secret, canonical(body), keys=keys, envelope=wrapped)
            listed.append({"class": keys.id, "generation": keys.generation, "part": sha, "refs": "", "segments": 0})
        body = {
            "source": "ab" * 16,
            "parent": "",
            "started": TIME,
            "finished": finished,
            "partial": partial,
            "classes": listed,
        } | (envelope or {})
        sha = self.signed(f"snapshot/{snapshot}", body)
        if decide:
            self.signed(f"decision/{snapshot}/00000000", {"verdict": decide, "snapshot": sha})
        return snapshot

    def key_file(self, path):
        with open(path, "w") as stream:
            stream.write(f"HOLDFAST-KEY-1\n{b64(self.secret)}\nKeep this in the safe.\n")
        return str(path)


# ---- trees ----------------------------------------------------------------------------------------------------------


@dataclass
class Item:
    """An entry; `content` is a function of the node's places that gives tag and what follows it."""

    path: bytes
    kind: int = 1
    mode: int = 0o644
    mtime: tuple[Any, ...] = (1_700_000_000, 123_456_789)
    size: int = 0
    content: Any = lambda _: b"\x00"
    target: bytes = b""
    xattrs: tuple[Any, ...] = ()
    link_id: bytes = b""
    owner: tuple[Any, ...] = (0, 0)
    names: tuple[Any, ...] = (b"", b"")
    device: tuple[Any, ...] = (0, 0)


def inline(path, data, **more):
    return Item(path, size=len(data), content=lambda _: b"\x00" + data, **more)


def piece_list(pieces, places):
    out = varint(len(pieces))
    for length, place in pieces:
        out += varint(length << 1 | (place is None)) + (places.add(place) if place else b"")
    return out


def pieces(path, listed, **more):
    return Item(path, size=sum(p[0] for p in listed), content=lambda s: b"\x01" + piece_list(listed, s), **more)


def at(tag, path, size, locations, head=b"", **more):
    """Content with tag 2, 3 or 4: a list of locations."""
    return Item(
        path, size=size, **more,
        content=lambda s: bytes([tag]) + head + varint(len(locations)) + b"".join(s.add(p) for p in locations),
    )  # fmt: skip


def listing(body):
    """A role 3 object: `body` is a function of places."""
    places = Places()
    rest = body(places)
    return b"\x01" + places.table() + rest


def group(keys, pages, extents):
    """A page-map group of `pages` (None: hole) with extents (count, place or None, first)."""
    places = Places()
    tail = varint(len(extents))
    for count, place, first in extents:
        tail += varint(count << 1 | (place is None)) + (places.add(place) + varint(first) if place else b"")
    ids = b"".join(bytes(16) if page is None else keys.content_id(5, page) for page in pages)
    last = PAGE if pages[-1] is None else len(pages[-1])
    head = b"\x01" + varint(PAGE.bit_length() - 1) + varint(len(pages)) + varint(last)
    return head + places.table() + ids + tail


def leaf(items):
    places, entries, before, seconds, names = Places(), b"", b"", 0, []
    for item in items:
        shared = len(os.path.commonprefix([before, item.path]))
        entries += varint(shared) + field_(item.path[shared:])
        entries += bytes([item.kind, bool(item.xattrs) | bool(item.link_id) << 1]) + varint(item.mode)
        entries += varint(item.owner[0]) + varint(item.owner[1])
        for name in item.names:
            if name and name not in names:
                names.append(name)
            entries += varint(names.index(name) + 1 if name else 0)
        entries += zigzag(item.mtime[0] - seconds) + varint(item.mtime[1])
        before, seconds = item.path, item.mtime[0]
        if item.xattrs:
            entries += varint(len(item.xattrs)) + b"".join(field_(k) + field_(v) for k, v in item.xattrs)
        entries += item.link_id
        if item.kind == 1:
            entries += varint(item.size) + item.content(places)
        elif item.kind == 3:
            entries += field_(item.target)
        elif item.kind in (5, 6):
            entries += varint(item.device[0]) + varint(item.device[1])
    table = varint(len(names)) + b"".join(map(field_, names))
    return b"\x01\x00" + places.table() + table + varint(len(items)) + entries


def tree(pack, items, per_leaf=3):
    """Put a tree of sorted items into a metadata pack; returns (root location, entries, bytes)."""
    groups = [items[at : at + per_leaf] for at in range(0, len(items), per_leaf)] or [[]]
    level, row = 0, []
    for part in groups:
        (place,) = pack.add([(2, leaf(part))], codec=0)
        row.append((part[0].path if part else b"", place, len(part), sum(i.size for i in part if i.kind == 1)))
    while len(row) > 1:
        level, above = level + 1, []
        for start in range(0, len(row), 3):
            part, places, children, before = row[start : start + 3], Places(), b"", b""
            for first, place, entries, size in part:
                shared = len(os.path.commonprefix([before, first]))
                children += varint(shared) + field_(first[shared:]) + places.add(place) + varint(entries) + varint(size)
                before = first
            (place,) = pack.add([(2, bytes([1, level]) + places.table() + varint(len(part)) + children)])
            above.append((part[0][0], place, sum(r[2] for r in part), sum(r[3] for r in part)))
        row = above
    return row[0][1:]
