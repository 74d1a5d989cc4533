"""Opens a Holdfast vault in a folder: keys, snapshots, the way from a location to its verified bytes.

Memory stays small whatever the vault holds: per pack only its name and origins are kept; directories, piece by piece, and
plaintext segments live in small caches. The index only tells which packs exist and what origins they hold; where it is damaged or
absent, the packs' own headers tell the same.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TypeVar

import rescue_format as f
import rescue_keys as k
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from rescue_parity import Parity
from rescue_signers import Signers
from rescue_status import dropped_of, status_of
from rescue_tree import Location
from rescue_values import Pack, Part, Snapshot, check_chunk

SEGMENT_CACHE_BYTES = 64 * 2**20
DIRECTORY_CACHE_ENTRIES = 24
ZERO_ID = bytes(16)
T = TypeVar("T")


def first_whole(get: Callable[[str], bytes], note: Callable[[str], None], name: str, read: Callable[[bytes], T]) -> T:
    """What `read` makes of an object or, where that is missing or damaged, of its twin, by the same rules."""
    try:
        return read(get(name))
    except f.Damage as failure:
        try:
            found = read(get(f"twin/{name}"))
        except f.Damage:
            raise failure from None
        note(f"{failure}; its twin counts")
        return found


def _slot_body(slot: str, data: bytes) -> f.Body:
    return f.parse_control(data, "key", None, f"key/{slot}").body


class Vault:
    """A vault in a folder, opened with its root key. `note(text)` is called for each damage found on the way."""

    def __init__(self, root: str, secret: bytes, *, method: str = "keyfile", note: Callable[[str], None]) -> None:
        self.root, self.note = root, note
        self.origins: dict[bytes, list[str]] = {}
        self.pack_runs: dict[str, str] = {}
        self.bad_packs: set[str] = set()
        self._run_keys: dict[tuple[int, int, bytes], bytes] = {}
        self._packs: OrderedDict[str, Pack] = OrderedDict()
        self._segments: OrderedDict[tuple[bytes, int], tuple[k.ClassKeys, f.Segment, bytes]] = OrderedDict()
        self._segment_bytes = 0
        self.bound: set[bytes] = set()
        self.unsigned = False
        self._open_keyring(self._open_slots(secret, method))
        self.parity = Parity(root, self.vault_id)
        self._looked_for_missing = False

    # ---- objects ----

    def names(self, folder: str) -> list[str]:
        """The sorted names in a folder of the vault; a missing folder has none."""
        try:
            return sorted(name for name in os.listdir(os.path.join(self.root, folder)) if not name.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def get(self, name: str) -> bytes:
        """A whole object."""
        try:
            with open(os.path.join(self.root, name), "rb") as stream:
                return stream.read(f.SEALED_BYTES_MAX + 2**20 + 1)
        except OSError as failure:
            raise f.Damage(f"{name}: cannot be read ({failure.strerror})") from failure

    def names_kept_twice(self, folder: str) -> list[str]:
        """The names in a folder of what opens a vault, also of those of which only the twin is left."""
        return sorted({*self.names(folder), *self.names(f"twin/{folder}")})

    def _first_whole(self, name: str, read: Callable[[bytes], T]) -> T:
        """What `read` makes of an object or, where that is missing or damaged, of its twin."""
        return first_whole(self.get, self.note, name, read)

    # ---- keys ----

    def _open_slots(self, secret: bytes, wanted: str) -> list[bytes]:
        """Every root key that the secret opens: two while a rotation is not finished."""
        tried, damaged, found = 0, 0, []
        for slot in self.names_kept_twice("key"):
            try:
                body = self._first_whole(f"key/{slot}", functools.partial(_slot_body, slot))
                if body.get("method") != wanted:
                    continue
                vault = k.hex_id(body["vault"], f"key/{slot}")
                salt = f.b64(body, "salt", f"key/{slot}", 32)
                stretched = wanted == "passphrase"
                key = k.stretch(secret, salt, body) if stretched else f.hkdf(secret, salt, b"holdfast/1 slot")
            except f.Damage as failure:
                self.note(str(failure))
                damaged += 1
                continue
            tried += 1
            try:
                root_key, bound = k.open_slot(key, body, vault, f"key/{slot}")
            except f.Damage:
                continue
            self.vault_id = vault
            self.bound |= {bound} - {b""}
            found.append(root_key)
        if found:
            return found
        if damaged and not tried:
            raise f.Damage(f"{damaged} key slots are damaged, and so are their twins: what you gave may be right")
        raise f.WrongKey(f"none of the {tried} key slots for a {wanted} opens with what you gave")

    def _open_keyring(self, root_keys: list[bytes]) -> None:
        numbers = reversed(self.names_kept_twice("keyring"))
        for number, root_key in [(n, key) for n in numbers for key in root_keys]:
            what = f"keyring/{number}"
            self.root_key = root_key
            try:
                self._first_whole(what, functools.partial(self._read_keyring, number))
            except f.Damage as failure:
                self.note(str(failure))
                continue
            self._read_certificates()
            self._check_header()
            return
        raise f.Damage("no keyring can be opened: without it nothing in this vault can be read")

    def _read_keyring(self, number: str, data: bytes) -> None:
        what = f"keyring/{number}"
        try:
            sealed = f.parse_sealed(data, 5, self.vault_id, what)
            self._load_keyring(f.canonical_json(sealed.open_with(self.root_key), what), number)
            if not sealed.signed_by(self.root_public) or not self.bound <= {self.root_public}:
                raise f.Damage(f"{what}: root did not sign this")
        except (KeyError, TypeError, ValueError) as failure:
            raise f.Damage(f"{what}: incomplete") from failure

    def _load_keyring(self, ring: f.Body, number: str) -> None:
        if ring["number"] != int(number):
            raise f.Damage(f"keyring/{number}: was keyring {ring['number']}")
        seed = ed25519.Ed25519PrivateKey.from_private_bytes(f.b64(ring, "root_signing", "keyring", 32))
        self.root_public = seed.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.classes = {}
        for record in ring["classes"]:
            keys = k.ClassKeys(self.vault_id, record)
            self.classes[keys.id, keys.generation] = keys
        self.signers = Signers(self.root_public, self.vault_id.hex(), self.root, ring["own_writer"]["id"])
        for writer in ring["writers"]:
            self.signers.keys[writer["id"]] = [f.b64(writer, "signing_public", "keyring", 32)]

    def _read_certificates(self) -> None:
        for writer in self.names_kept_twice("writer"):
            for version in self.names_kept_twice(f"writer/{writer}"):
                what = f"writer/{writer}/{version}"
                try:
                    self._first_whole(what, functools.partial(self.signers.read_certificate, what, writer))
                except f.Damage as failure:
                    self.note(str(failure))

    def _header(self, data: bytes) -> f.Body:
        body = f.parse_control(data, "vault", self.vault_id.hex(), "vault").body
        if f.b64(body, "root_public", "vault", 32) != self.root_public:
            raise f.Damage("vault: names another root than its keyring")
        return body

    def _check_header(self) -> None:
        try:
            body = self._first_whole("vault", self._header)
        except f.Damage as failure:
            self.note(str(failure))
            return
        if body.get("format") != f.FORMAT_VERSION:
            raise f.UnknownVersion(f"vault: format {body.get('format')}; this reader knows {f.FORMAT_VERSION}")

    # ---- snapshots ----

    def control(self, name: str) -> f.Control:
        """A control object of this vault that one of its known signers signed."""
        return self.checked(self.get(name), name)

    def checked(self, data: bytes, name: str) -> f.Control:
        """The bytes of a control object that stand under a name, or would."""
        control = f.parse_control(data, name.split("/")[0], self.vault_id.hex(), name)
        if not any(control.signed_by(public) for public in self.signers.publics(control.body["signer"], name)):
            raise f.Damage(f"{name}: its signature does not hold, or its signer is unknown")
        return control

    def snapshots(self) -> Iterator[Snapshot]:
        """Every snapshot that left a trace, committed or not (see `status`)."""
        for snapshot_id in sorted(set(self.names("snapshot")) | set(self.names("part"))):
            if re.fullmatch("[0-9a-f]{32}", snapshot_id):
                yield self._snapshot(snapshot_id)

    def _snapshot(self, snapshot_id: str) -> Snapshot:
        problems: list[str] = []
        envelope, sha = {}, ""
        try:
            name = f"snapshot/{snapshot_id}"
            envelope = self.control(name).body
            sha = hashlib.sha256(self.get(name)).hexdigest()
        except f.Damage as failure:
            problems.append(str(failure))
        status = status_of(self, snapshot_id, sha, envelope.get("signer", ""), problems)
        classes = envelope.get("classes")
        rows = classes if isinstance(classes, list) else []
        listed = {str(item.get("class")): item for item in rows if isinstance(item, dict)}
        parts = []
        for number in sorted((set(listed) | set(self.names(f"part/{snapshot_id}"))) - dropped_of(self, snapshot_id)):
            try:
                parts.append(
                    self._part(f"part/{snapshot_id}/{number}", listed.get(number), envelope_known=bool(envelope))
                )
            except (f.Damage, f.WrongKey) as failure:
                problems.append(str(failure))
        return Snapshot(snapshot_id, status, envelope, sorted(parts, key=lambda part: part.rank), problems)

    def _part(self, what: str, listed: f.Body | None, *, envelope_known: bool) -> Part:
        data = self.get(what)
        if envelope_known and (listed is None or listed.get("part") != hashlib.sha256(data).hexdigest()):
            raise f.Damage(f"{what}: is not the part that the snapshot names")
        sealed = f.parse_sealed(data, 4, self.vault_id, what)
        if what != f"{what.rsplit('/', 1)[0]}/{sealed.class_id}":
            raise f.Damage(f"{what}: belongs to another class")
        keys = self.keys(sealed.class_id, sealed.generation, what)
        signer = "root" if sealed.signer == ZERO_ID else sealed.signer.hex()
        publics = self.signers.publics(signer, what)
        # Where nobody knows whose signature it should be, `--all` takes the word of the seal: whoever made it had the class's key.
        if not any(sealed.signed_by(public) for public in publics) and (publics or not self.unsigned):
            raise f.Damage(f"{what}: its signature does not hold, or its signer is unknown")
        secret = keys.open_hpke(b"holdfast/1 part", sealed.envelope, what)
        return Part(keys.id, keys.name, keys, f.canonical_json(sealed.open_with(secret), what))

    def keys(self, class_id: int, generation: int, what: str) -> k.ClassKeys:
        """The keys of a class generation."""
        try:
            return self.classes[class_id, generation]
        except KeyError:
            raise f.WrongKey(f"{what}: the keyring has no key for class {class_id}, generation {generation}") from None

    # ---- index ----

    def load_index(self, *, from_packs: bool) -> None:
        """Learn which pack holds what: from the index runs, or from the packs' headers (also for packs that no run lists)."""
        present = list(self.pack_names())
        there = set(present)
        if not from_packs:
            for run in self.names("index"):
                try:
                    for pack in self.read_run(run):
                        name = f"{'data' if pack.kind == 1 else 'meta'}/{pack.name[:2]}/{pack.name}"
                        if name in there or name in self.parity.of:
                            self._learn(name, pack.nonces, run)
                except (f.Damage, f.WrongKey) as failure:
                    self.note(str(failure))
        for name in present:
            if name not in self.pack_runs:
                try:
                    self._learn(name, [nonce for nonce, _ in self._read_header(name).origins], "")
                except f.Damage as failure:
                    self.note(str(failure))
                    if self.heal(name):
                        self._learn(name, [nonce for nonce, _ in self._read_header(name).origins], "")
                    else:
                        self.bad_packs.add(name)

    def heal(self, name: str) -> bool:
        """Bring a pack back from parity, if it is damaged or lost and that can be done; it is read from there from then on."""
        if name in self.parity.healed or not self.parity.heal(name):
            return False
        self._packs.pop(name, None)
        self.note(f"{name}: is damaged or lost; parity brings it back")
        return True

    def _find_missing(self) -> None:
        """Bring back the packs that parity knows and that are not there: nothing else tells what they hold."""
        self._looked_for_missing = True
        for name in sorted(self.parity.of):
            if name not in self.pack_runs and self.heal(name):
                self._learn(name, [nonce for nonce, _ in self._read_header(name).origins], "")

    def read_run(self, run: str) -> list[f.RunPack]:
        """One index run, its signature checked."""
        what = f"index/{run}"
        data = self.get(what)
        sealed = f.parse_sealed(data, 1, self.vault_id, what)
        if hashlib.sha256(data).hexdigest() != run:
            raise f.Damage(f"{what}: its bytes have another hash than its name")
        signer = "root" if sealed.signer == ZERO_ID else sealed.signer.hex()
        if not any(sealed.signed_by(public) for public in self.signers.publics(signer, what)):
            raise f.Damage(f"{what}: its signature does not hold, or its signer is unknown")
        return f.parse_run(sealed.open_with(self.keys(sealed.class_id, sealed.generation, what).index_key), what)

    def _learn(self, name: str, nonces: list[bytes], run: str) -> None:
        if name in self.pack_runs:
            return
        self.pack_runs[name] = run
        for nonce in nonces:
            self.origins.setdefault(nonce[: f.ORIGIN_BYTES], []).append(name)

    def pack_names(self) -> Iterator[str]:
        """Every pack in the vault, in order of name."""
        for top in ("data", "meta"):
            for shelf in self.names(top):
                for sha in self.names(f"{top}/{shelf}"):
                    if re.fullmatch("[0-9a-f]{64}", sha) and sha[:2] == shelf:
                        yield f"{top}/{shelf}/{sha}"

    # ---- packs ----

    def _read(self, name: str, offset: int, length: int) -> bytes:
        healed = self.parity.healed.get(name)
        try:
            if healed is not None:
                healed.seek(offset)
                data = healed.read(length)
            else:
                with open(os.path.join(self.root, name), "rb") as stream:
                    stream.seek(offset)
                    data = stream.read(length)
        except OSError as failure:
            raise f.Damage(f"{name}: cannot be read ({failure.strerror})") from failure
        if len(data) != length:
            raise f.Damage(f"{name}: ends too early")
        return data

    def _read_header(self, name: str) -> f.PackHeader:
        length = f.pack_header_length(self._read(name, 0, f.PACK_FIXED_BYTES), name)
        header = f.parse_pack_header(self._read(name, 0, length), self.vault_id, name)
        if name.startswith("data/") != (header.kind == 1):
            raise f.Damage(f"{name}: lies in the wrong folder")
        return header

    def pack(self, name: str) -> Pack:
        """A pack's header and directory; if its own directory is damaged, the copy in its index run."""
        if name in self._packs:
            self._packs.move_to_end(name)
            return self._packs[name]
        header = self._read_header(name)
        keys = self.keys(header.class_id, header.generation, name)
        nonces = [nonce for nonce, _ in header.origins]
        try:
            plain, end = self._own_directory(name, header, keys)
        except f.Damage as failure:
            run = self.pack_runs.get(name)
            if not run:
                raise
            self.note(f"{failure}; its index run serves instead")
            plain = next(pack.directory for pack in self.read_run(run) if pack.name == name.rsplit("/", 1)[1])
            end = f.PACK_BYTES_MAX
        pack = Pack(name, os.path.join(self.root, name), header, f.parse_directory(plain, nonces, end, name))
        self._packs[name] = pack
        while len(self._packs) > DIRECTORY_CACHE_ENTRIES:
            self._packs.popitem(last=False)
        return pack

    def _own_directory(self, name: str, header: f.PackHeader, keys: k.ClassKeys) -> tuple[bytes, int]:
        try:
            size = self.parity.size(name)
        except OSError as failure:
            raise f.Damage(f"{name}: cannot be read ({failure.strerror})") from failure
        if not header.length + 16 <= size <= f.PACK_BYTES_MAX:
            raise f.Damage(f"{name}: impossible size")
        trailer = f.Cursor(self._read(name, size - 16, 16), name)
        length = trailer.number(4)
        trailer.zero(4)
        if trailer.take(8) != f.END_MAGIC or length > size - 16 - header.length:
            raise f.Damage(f"{name}: its trailer is damaged")
        aad = hashlib.sha256(self._read(name, 0, header.length)).digest()
        sealed = self._read(name, size - 16 - length, length)
        key = f.directory_key(keys, header.nonce)
        return f.gcm_open(key, f.FIXED_NONCE, aad, sealed, f"{name}: directory"), size - 16 - length

    def run_key(self, pack: Pack, origin: bytes) -> bytes:
        """The run key for the segments of one origin (its full nonce) in a pack."""
        index = next(index for nonce, index in pack.header.origins if nonce == origin)
        if index == f.NO_ENVELOPE:
            raise f.Damage(f"{pack.name}: a segment without a key envelope")
        for kind, wrapped in pack.header.envelopes[index]:
            if kind == 1:
                scope = pack.header.class_id, pack.header.generation
                cached = self._run_keys.get((*scope, hashlib.sha256(wrapped).digest()))
                if cached is None:
                    cached = self.keys(*scope, pack.name).open_hpke(b"holdfast/1 run key", wrapped, pack.name)
                    self._run_keys[(*scope, hashlib.sha256(wrapped).digest())] = cached
                if f.origin_of(cached, origin) != origin[: f.ORIGIN_BYTES]:
                    raise f.Damage(f"{pack.name}: claims an origin that its run key did not make")
                return cached
        raise f.Damage(f"{pack.name}: no envelope for the class's key")

    def open_in_pack(self, pack: Pack, segment: f.Segment) -> bytes:
        """The plaintext of a segment from this very pack."""
        what = f"{pack.name}: segment at {segment.offset}"
        keys = self.keys(pack.header.class_id, pack.header.generation, pack.name)
        sealed = self._read(pack.name, segment.offset, segment.stored)
        return f.open_segment(keys, self.run_key(pack, segment.origin), pack.header.kind, segment, sealed, what)

    # ---- content ----

    def segment(self, origin: bytes, ordinal: int) -> tuple[k.ClassKeys, f.Segment, bytes]:
        """A segment, from any pack that holds it; packs that disagree about its content are damage, never a choice."""
        key = origin, ordinal
        if key in self._segments:
            self._segments.move_to_end(key)
            return self._segments[key]
        found, failures = self._from_packs(key)
        if found is None and self._heal_holders(origin):
            found, more = self._from_packs(key)
            failures += more
        if found is None:
            raise f.Damage("; ".join(failures) or f"no pack holds segment {origin.hex()}:{ordinal}")
        for lost in failures:
            self.note(f"{lost}; another copy serves")
        self._remember(key, found)
        return found

    def _from_packs(self, key: tuple[bytes, int]) -> tuple[tuple[k.ClassKeys, f.Segment, bytes] | None, list[str]]:
        """A segment from the packs that hold its origin, and what went wrong on the way."""
        found, failures = None, []
        for name in self.origins.get(key[0], []):
            try:
                pack = self.pack(name)
                segment = pack.segments.get(key)
                if segment is None:
                    continue
                plain = self.open_in_pack(pack, segment)
            except (f.Damage, f.WrongKey) as failure:
                failures.append(str(failure))
                continue
            keys = self.keys(pack.header.class_id, pack.header.generation, name)
            if found and (found[0] is not keys or found[2] != plain or found[1].ids != segment.ids):
                where = f"{key[0].hex()}:{key[1]}"
                raise f.Damage(f"{name}: two packs hold different content under one name ({where})")
            found = keys, segment, plain
        return found, failures

    def _heal_holders(self, origin: bytes) -> bool:
        """Bring back the packs that hold an origin, those that are missing included; whether there is any new one."""
        healed = [self.heal(name) for name in self.origins.get(origin, [])]
        if not any(healed) and not self._looked_for_missing:
            known = list(self.origins.get(origin, []))
            self._find_missing()
            return self.origins.get(origin, []) != known
        return any(healed)

    def _remember(self, key: tuple[bytes, int], found: tuple[k.ClassKeys, f.Segment, bytes]) -> None:
        self._segments[key] = found
        self._segment_bytes += len(found[2])
        while self._segment_bytes > SEGMENT_CACHE_BYTES and len(self._segments) > 1:
            self._segment_bytes -= len(self._segments.popitem(last=False)[1][2])

    def _find(self, place: Location, role: int) -> tuple[k.ClassKeys, f.Segment, bytes]:
        found = self.segment(place.origin, place.segment)
        if place.chunk >= len(found[1].roles) or found[1].roles[place.chunk] & 15 != role:
            raise f.Damage(f"segment {place.origin.hex()}:{place.segment}: has no such chunk")
        return found

    def fetch(self, place: Location, role: int) -> bytes:
        """A chunk of a role, its id recomputed; what trees are read through."""
        return check_chunk(*self._find(place, role), place.chunk)

    def chunk_length(self, place: Location) -> int:
        """The length of a chunk of a file as its directory tells it, without reading the segment."""
        failures = []
        for name in itertools.chain(self.origins.get(place.origin, []), self._healed_holders(place.origin)):
            try:
                segment = self.pack(name).segments.get((place.origin, place.segment))
            except (f.Damage, f.WrongKey) as failure:
                failures.append(str(failure))
                continue
            if segment and place.chunk < len(segment.roles) and segment.roles[place.chunk] == f.CHUNK:
                return segment.bounds[place.chunk + 1] - segment.bounds[place.chunk]
        raise f.Damage("; ".join(failures) or f"no pack holds segment {place.origin.hex()}:{place.segment}")

    def _healed_holders(self, origin: bytes) -> Iterator[str]:
        """The packs of an origin once more, if they were brought back; asked for when the others did not do."""
        if self._heal_holders(origin):
            yield from self.origins.get(origin, [])

    def pages(self, place: Location, first: int, count: int, page_size: int) -> tuple[bytes, list[bytes]]:
        """Some pages of a chunk of pages and their ids, recomputed."""
        keys, segment, plain = self._find(place, f.PAGES)
        start, end = segment.bounds[place.chunk : place.chunk + 2]
        if 1 << ((segment.roles[place.chunk] >> 4) + 8) != page_size:
            raise f.Damage("a chunk of pages has another page size than its file")
        data = plain[min(start + first * page_size, end) : min(start + (first + count) * page_size, end)]
        return data, keys.page_ids(data, page_size)
