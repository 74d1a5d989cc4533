"""The Rust engine as Python sees it. Everything that blocks releases the GIL.

Ids, nonces and pack names are raw bytes (16, 32, 32); locations and roots are text, `HEX:segment:chunk`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias, final

Buffer: TypeAlias = bytes | bytearray | memoryview

# --- errors -----------------------------------------------------------------------------------------------------------

class EngineError(Exception):
    """The engine stopped. `code` is stable, the text holds no path and no content."""

    code: str

class DamageError(EngineError):
    """Bytes are not what was written; none of them was passed on."""

class LimitError(EngineError):
    """A limit of the format was reached."""

class WrongKeyError(EngineError):
    """A key does not open what it was given for."""

class IoError(EngineError):
    """The system refused; `errno` says why."""

    errno: int

class NetError(EngineError):
    """A request to a store got no answer; `code` says why. An answer of any status is no error."""

class StoppedError(EngineError):
    """The caller asked to stop."""

def self_test() -> int:
    """Compute the known answers; return how many were checked. `EngineError` if one is wrong."""

# --- what files hold ----------------------------------------------------------------------------------------------------

DETECT_BYTES: int
"""How many of a file's first bytes `detect` looks at."""

def detect(head: Buffer, size: int) -> tuple[str, int, str] | None:
    """Return (rule, class id; 0: its source's; -1: none, confidence) for the first bytes of a file of `size` bytes."""

def detection_rules() -> list[tuple[str, int]]:
    """Return every rule and its class, as in :func:`detect`."""

# --- keys, index, reference sets --------------------------------------------------------------------------------------

@final
class ClassKeys:
    """The secrets of one class generation that every writer of the class has."""

    def __new__(cls, vault: bytes, class_id: int, generation: int, dedup_key: bytes, index_key: bytes) -> ClassKeys: ...

@final
class PackRow:
    """A pack as the index knows it."""

    name: bytes
    size: int
    kind: int
    class_id: int
    generation: int
    segments: int
    plain_bytes: int

@final
class SegmentPlace:
    """Where a segment is."""

    pack: bytes
    pack_bytes: int
    offset: int
    sealed_len: int
    plain_len: int
    ordinal: int
    kind: int
    class_id: int
    generation: int
    chunks: int

@final
class IndexCounts:
    """How much an index lists; copies are counted apart."""

    packs: int
    segments: int
    chunks: int

@final
class Index:
    """Sorted runs, looked up together; packs may be excluded at any time, also while an `Ingest` uses it."""

    def __new__(cls, members: Sequence[tuple[str, bool]]) -> Index: ...
    @staticmethod
    def write_sorted(run_payloads: Sequence[Buffer], class_id: int, generation: int, out: str) -> None: ...
    @staticmethod
    def merge(paths: Sequence[str], out: str, drop: Sequence[bytes]) -> None: ...
    def add(self, path: str, dedup: bool) -> None: ...
    def exclude(self, packs: Sequence[bytes]) -> None: ...
    def packs(self) -> list[PackRow]: ...
    def segments_of(self, packs: Sequence[bytes]) -> list[tuple[bytes, bytes, int]]:
        """Return the segments that packs are listed with, in the order in which they lie there: (pack, origin, ordinal)."""
    def packs_between(self, origin: bytes, first: int, end: int) -> list[PackRow]:
        """Return the packs, excluded ones left out, with segments of an origin from ordinal `first` up to, not including, `end`.

        Costs what the index lists of them, not what lies between the two.
        """

    def counts(self) -> IndexCounts: ...
    def has_segment(self, origin: bytes, ordinal: int) -> bool: ...
    def find_segment(self, origin: bytes, ordinal: int) -> SegmentPlace | None: ...

def read_directory(keys: ClassKeys, pack: Buffer) -> bytes: ...
def encode_run(records: Sequence[bytes]) -> bytes: ...
def run_segments(payload: Buffer) -> list[tuple[bytes, bytes]]:
    """Return per pack of an index run its name and the plaintext of the full reference set of its segments."""

def split_run(payload: Buffer) -> list[tuple[bytes, int, int, bytes]]: ...
def repack(
    keys: ClassKeys, nonce: bytes, sources: Sequence[tuple[bytes, Sequence[tuple[bytes, int]]]]
) -> tuple[bytes, bytes, bytes]:
    """Copy the wanted segments, (origin, ordinal), of whole packs of one kind into one new pack: its name, bytes, record.

    Needs no key to content. Raises DamageError if a pack is not whole or lacks a wanted segment, LimitError if the new
    pack would be too large.
    """
@final
class ParityRows:
    """The rows of one parity group (docs/format/parity.md), in unnamed files of a folder: memory stays at a few slices.

    Adding is its own opposite: a pack that is added twice is out again. Thread-safe.
    """

    def __new__(cls, folder: str, rows: int) -> ParityRows: ...
    @property
    def length(self) -> int:
        """Bytes of the longest pack added so far."""

    def add(self, slot: int, pack: Buffer) -> None:
        """Add what the pack in a slot gives to every row."""

    def add_row(self, row: int, data: bytes) -> None:
        """Add the stored bytes of a row to it."""

    def row(self, row: int, header: bytes, length: int) -> bytes:
        """Return a header followed by the first bytes of a row."""

    def recover(self, lost: list[int], rows: list[int]) -> None:
        """Turn rows into lost packs: afterwards row i is the pack of the i-th lost slot.

        Before, the stored rows with the given numbers were added, and every pack of the group that is not lost.
        """

@final
class RefSet:
    """The segments that one class tree needs: (origin, ordinal) pairs."""

    def __new__(cls) -> RefSet: ...
    @staticmethod
    def decode(payload: Buffer, parent: RefSet | None = None) -> RefSet: ...
    @staticmethod
    def parent_of(payload: Buffer) -> bytes | None: ...
    def add(self, origin: bytes, ordinal: int) -> None: ...
    def contains(self, origin: bytes, ordinal: int) -> bool: ...
    def iter_origins(self) -> list[tuple[bytes, list[int]]]: ...
    def encode_full(self) -> bytes: ...
    def encode_delta(self, parent: RefSet, parent_sha: bytes) -> bytes: ...
    def union(self, other: RefSet) -> None: ...
    def subtract(self, other: RefSet) -> None: ...
    @property
    def segments(self) -> int: ...

# --- files: durable put, limits ---------------------------------------------------------------------------------------

@final
class LimitsUsed:
    """What passed through limits, and how long threads waited, summed over them."""

    read_bytes: int
    write_bytes: int
    network_bytes: int
    operations: int
    waited_s: list[float]
    """By reason: read, write, network, operations, cpu, threads, pause."""

@final
class Limits:
    """What a run may take (None: no limit) and a pause switch, settable while it runs, obeyed in the middle of a file.

    `operations_per_s`: calls that a disk must answer. `cpu_cores`: CPU time of the whole process per second. `threads`:
    that compute at the same time. `memory_bytes`: of packs in memory.
    """

    def __new__(cls, read_bytes_per_s: int | None = None, write_bytes_per_s: int | None = None) -> Limits: ...
    read_bytes_per_s: int | None
    write_bytes_per_s: int | None
    network_bytes_per_s: int | None
    operations_per_s: int | None
    cpu_cores: float | None
    threads: int | None
    memory_bytes: int | None
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def try_read(self, count: int) -> float:
        """Take so many bytes of reading now and return 0.0, or take none and return the seconds to wait before asking again."""

    def try_write(self, count: int) -> float:
        """As :meth:`try_read`, of writing."""

    def try_network(self, count: int) -> float:
        """As :meth:`try_read`, of the network."""

    @property
    def paused(self) -> bool: ...
    def used(self) -> LimitsUsed: ...
    def take_network(self, count: int) -> None:
        """Wait until so many bytes may go through the network; for stores that speak from Python."""

    def take_disk(self, count: int, *, write: bool) -> None:
        """Wait until so many bytes may be read from, or written to, a disk; for what reads and writes in Python."""

@final
class PackData:
    """The bytes of a finished pack, shared with the engine: a read-only buffer. `put_file` takes it without a copy."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

def put_file(path: str, data: Buffer, limits: Limits | None = None) -> None:
    """Write a new file durably. `FileExistsError` if the name is taken, `OSError` otherwise."""

def check_pages(
    path: bytes | str, first_block: int, page_bytes: int, trusted_below: int, limits: Limits | None = None
) -> tuple[int, list[tuple[int, int]], int]:
    """Judge each page of a PostgreSQL data file whose first page is block `first_block` of its relation.

    Return the pages read, the bad ones as (block in the file, LSN), and how many do not match but were changed since the LSN
    `trusted_below`, so that the log brings them back. A page that does not match is read again first. `OSError`.
    """

# --- stores -----------------------------------------------------------------------------------------------------------

@final
class NetSigner:
    """Who signs requests; serves one client. Without a given secret: the environment's or the machine's own credential."""

    @staticmethod
    def none() -> NetSigner: ...
    @staticmethod
    def basic(encoded: str) -> NetSigner: ...
    @staticmethod
    def aws(region: str, key_id: str = ..., secret: str = ..., token: str = ...) -> NetSigner: ...
    @staticmethod
    def azure(name: str, key: str = ..., shared: str | None = None) -> NetSigner: ...
    @staticmethod
    def gcp(service_account: str = ...) -> NetSigner: ...

@final
class NetClient:
    """Sends requests to one store; connections are kept. Safe to use from many threads.

    What is sent counts as writing and network of all `limits` and as writing of `own`, what comes as network of `limits` and
    reading of `own`: who reads packs counts the reading of a run himself.
    """

    def __new__(
        cls,
        signer: NetSigner,
        limits: Sequence[Limits],
        own: Limits | None = None,
        *,
        trusted: bytes | None = None,
        proxy: str | None = None,
        connect_seconds: float = 10.0,
        stall_seconds: float = 60.0,
    ) -> NetClient: ...
    def request(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: Buffer | None = None,
        *,
        sha256: bytes | None = None,
        answer_bytes_max: int = ...,
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Send a request once; return status, headers (lower case) and body of the answer, whatever the status.

        NetError if there is no whole answer: its `code` is `net-connect`, `net-stalled`, `net-broken`, `net-too-long`,
        `net-credential` or `net-settings`.
        """

# --- reading ----------------------------------------------------------------------------------------------------------

@final
class PackSource:
    """Where packs are read from."""

    @staticmethod
    def local(root: str) -> PackSource: ...
    @staticmethod
    def callback(read: Callable[[str, int, int], bytes]) -> PackSource: ...

@final
class KeyRing:
    """Content keys. `open_envelope(class_id, generation, envelope)` returns a run key; results are kept per envelope."""

    def __new__(cls, keys: Sequence[ClassKeys], open_envelope: Callable[[int, int, bytes], bytes]) -> KeyRing: ...

@final
class Entry:
    path: bytes
    kind: str
    mode: int
    uid: int
    gid: int
    user: str
    group: str
    mtime_ns: int
    size: int
    target: bytes | None
    xattrs: list[tuple[bytes, bytes]]
    link_id: int | None
    device: tuple[int, int] | None
    content: str
    """How a file is stored: inline, pieces, pieces-at, page-map, page-map-at; else empty."""
    def locations(self) -> list[str]:
        """Return the locations that the entry itself names."""

@final
class Change:
    kind: str
    path: bytes
    before: Entry | None
    after: Entry | None

@final
class Reader:
    def __new__(cls, index: Index, keys: KeyRing, source: PackSource) -> Reader: ...
    def tree(self, root: str) -> Tree: ...

CatalogRow: TypeAlias = tuple[bytes, bytes, int, int, int, int | None]
"""Folder, name, number of the kind, size, mtime in ns, mark (equal marks: nothing differs at all)."""
CatalogBatch: TypeAlias = tuple[list[CatalogRow], list[tuple[bytes, bytes]]]
"""Entries that are new or changed; folder and name of those that are gone."""

@final
class Tree:
    def lookup(self, path: bytes) -> Entry | None: ...
    def list(self, folder: bytes) -> Iterator[Entry]: ...
    def walk(self, prefix: bytes = b"") -> Iterator[Entry]: ...
    def diff(self, other: Tree) -> Iterator[Change]: ...
    def catalog_rows(self, base: Tree | None, batch: int) -> Iterator[CatalogBatch]:
        """Yield, in order, what this tree has that `base` has not (None: all), in batches of about `batch`."""
    def references(self) -> RefSet:
        """Return every segment that the tree needs, its own nodes included, by walking all of it."""

@final
class TreeCost:
    """What is lost of one tree."""

    files: int
    """Files that rest on lost segments."""
    bytes: int
    """Their bytes, lost or not."""
    unlisted: int
    """Further files: something of them is in segments that no index run lists."""
    unnamed: int
    """Entries of all kinds in parts of the tree that cannot be read: their names are lost as well."""
    unnamed_bytes: int
    lost: bool
    """The root cannot be read: only what else says so knows how much was in it."""
    packs: list[int]
    """Numbers of the packs that cost something here, in order."""

@final
class PackCost:
    """What one pack costs in all trees walked."""

    files: int
    """Versions of files: path, time of change, size."""
    paths: list[bytes]
    """The first ones in order, as many as were asked for."""
    bytes: int
    unnamed: int
    """Entries in parts of trees that are lost with it, each part once; of lost roots nothing is known."""

@final
class Affected:
    """Looks for files that do not come back, tree by tree; what trees share is read once.

    `lost` are (origin, ordinal, number of a pack), with numbers below `packs`.
    """

    def __new__(
        cls, reader: Reader, lost: Sequence[tuple[bytes, int, int]], packs: int, paths_max: int
    ) -> Affected: ...
    def walk(self, root: str) -> TreeCost: ...
    def names(self, root: str, most: int) -> list[bytes]:
        """Return the paths of the files of a tree that do not come back, in order, at most so many."""
    def pack(self, number: int) -> PackCost: ...
    def total(self) -> PackCost:
        """Return what all packs cost: a file that rests on two of them counts once."""

def unreadable(reader: Reader, packs: Sequence[bytes], limits: Limits) -> list[tuple[bytes, bytes, int]]:
    """Return the segments of packs that do not open, from there or from any other pack: (pack, origin, ordinal).

    Reads them all, as a restore does. A segment whose key is not at hand is among them.
    """

def read_file(reader: Reader, entry: Entry, write: int, limits: Limits) -> int: ...

# --- backing up -------------------------------------------------------------------------------------------------------

@final
class ScanPlan:
    """What a backup covers. `class_rules` are (pattern, class id); paths are absolute bytes."""

    def __new__(
        cls,
        *,
        roots: Sequence[bytes],
        own_paths: Sequence[bytes] = (),
        exclude: Sequence[str] = (),
        exclude_caches: bool = True,
        exclude_larger_than: int | None = None,
        one_file_system: bool = False,
        class_rules: Sequence[tuple[str, int]] = (),
        default_class: int = 1,
        raised: Sequence[tuple[bytes, int]] = (),
    ) -> ScanPlan:
        """`raised`: folders known to hold something of a class; with the classes of an `Ingest` in order of sensitivity."""

@final
class IngestClass:
    """What writing one class takes: its keys, and this run's keys with their envelopes; map packs have their own."""

    def __new__(
        cls, keys: ClassKeys, run_key: bytes, envelope: bytes, map_key: bytes, map_envelope: bytes
    ) -> IngestClass: ...

@final
class IngestStream:
    """A command whose standard output becomes the file `path`; `class_id` 0: by the rules."""

    def __new__(
        cls,
        path: bytes,
        command: Sequence[str],
        class_id: int = 0,
        *,
        environment: Sequence[tuple[str, str]],
        show_errors: bool = False,
    ) -> IngestStream: ...

@final
class IngestOptions:
    def __new__(
        cls,
        *,
        level: int = 1,
        workers: int = 0,
        pack_bytes: int = 33554432,
        checkpoint_bytes: int = 1073741824,
        checkpoint_seconds: float = 300.0,
        paranoid: bool = False,
        audit_files: int = 16,
        dry_run: bool = False,
        detect: bool = False,
        state_base: bool = False,
        marks: list[bytes] = ...,
        notes: list[bytes] = ...,
    ) -> IngestOptions:
        """`detect`: look at first bytes and raise classes; an `Ingest`'s classes must come most sensitive first.

        `state_base`: give a whole writer state if anything changed, not a difference.
        `marks`, `notes`: extensions and beginnings of names of files to be counted, whatever their case.
        """

@final
class PackReady:
    """A finished pack; `data` is bytes-like and stays valid as long as it is held."""

    name: bytes
    kind: int
    class_id: int
    @property
    def data(self) -> memoryview: ...

@final
class CheckpointReady:
    """All packs of `runs` are stored: put the runs, then call `checkpoint_done`."""

    number: int
    runs: list[tuple[int, int, bytes]]
    """(class id, generation, index run plaintext)"""
    packs: int
    stored_bytes: int

@final
class Fenced:
    """All that was referred to before a fence was looked up again; `clean`: all of it outside excluded packs."""

    number: int
    clean: bool

@final
class IngestProgress:
    files: int
    folders: int
    bytes: int
    read_bytes: int
    new_bytes: int
    stored_bytes: int
    findings: int

@final
class FindingReady:
    """A file that could not be stored whole; sent once each."""

    path: bytes
    kind: str
    detail: str
    class_id: int

@final
class ClassResult:
    class_id: int
    generation: int
    root: str
    entries: int
    files: int
    bytes: int
    new_bytes: int
    stored_bytes: int
    refs: RefSet

@final
class Finished:
    """Everything is stored. `runs` are the last index runs, still to be put; the new stat cache is at `cache_out`."""

    classes: list[ClassResult]
    runs: list[tuple[int, int, bytes]]
    cache_written: bool
    """There is a new stat cache at `cache_out`; if not, `cache_in` is still right."""
    lost: bool
    """Something that the trees need is in excluded packs only: to be repeated with the new cache."""
    state: bytes | None
    """Writer state payload upon `state_in`; None if nothing changed."""
    state_is_base: bool
    detections: list[tuple[str, int, int, int]]
    """(rule, files, bytes, files raised) of new and changed files."""
    raised: list[tuple[bytes, int]]
    """Folders that hold something more sensitive than their path says, and its class id."""
    kinds: list[tuple[str, int, int, int, int, int, int]]
    """(kind by name, files, bytes, bytes of noise that nothing explains, files that contradict their name, files that look
    encrypted, changed ones among these) of what was read."""
    dense_bytes: list[tuple[int, int]]
    """(class id, bytes of noise in files that are dense by design) of what was read."""
    marked: int
    """Files of the tree with one of the extensions asked for."""
    notes: int
    """Files of the tree named like one of the notes asked for."""
    moved: int
    """Files that are gone, and whose content came under another name."""
    veiled: int
    """Files that are gone, and in whose place on the disk stands a new one that looks encrypted."""
    packs: int
    stored_bytes: int
    files: int
    folders: int
    new: int
    changed: int
    unchanged: int
    removed: int
    read_bytes: int
    new_bytes: int
    bytes: int

@final
class Ingest:
    """A backup in the engine's own threads. Poll it until `Finished`; every pack it hands out must be reported stored.

    After :meth:`stop` it hands out what is complete, then one last `CheckpointReady`, then polls None for ever with
    `stopped` True.
    """

    def __new__(
        cls,
        *,
        plan: ScanPlan,
        classes: Sequence[IngestClass],
        streams: Sequence[IngestStream],
        index: Index,
        cache_in: str | None,
        cache_out: str,
        state_in: Sequence[bytes],
        options: IngestOptions,
        limits: Limits,
        maps: Reader | None = None,
    ) -> Ingest:
        """`maps` opens this writer's own map packs, for what `state_in` names."""
    def poll(
        self, timeout_s: float
    ) -> PackReady | CheckpointReady | Fenced | IngestProgress | FindingReady | Finished | None: ...
    def progress_now(self) -> IngestProgress: ...
    def pack_stored(self, name: bytes) -> None: ...
    def fence(self) -> int:
        """Ask that all referred to so far be looked up again; answered by `Fenced` with this number or a later one."""
    def checkpoint_done(self, number: int, sorted_run_paths: Sequence[str]) -> None: ...
    def stop(self) -> None: ...
    @property
    def stopped(self) -> bool: ...

@final
class Classify:
    """A look at every file of a plan, in a thread of its own; `classes` are ids, most sensitive first."""

    def __new__(cls, plan: ScanPlan, classes: Sequence[int]) -> Classify: ...
    @property
    def finished(self) -> bool: ...
    def result(self) -> tuple[list[tuple[int, str, str, int, int, int]], int]:
        """Return rows (class id, rule, confidence, files, bytes, files raised) and how many entries could not be read."""
    def stop(self) -> None: ...

# --- restoring and verifying ------------------------------------------------------------------------------------------

@final
class ExtractOptions:
    def __new__(
        cls,
        *,
        overwrite: str = "never",
        owners: bool = False,
        by_name: bool = True,
        dry_run: bool = False,
        workers: int = 0,
        sync: bool = True,
        keep_damaged: bool = True,
    ) -> ExtractOptions:
        """`by_name`: a name of this machine goes before the recorded number; `sync`: the file system is synced at the end.

        `keep_damaged`: what could be saved of a damaged file becomes `NAME.damaged`, with `NAME.damaged.map` beside it.
        """

@final
class ExtractProgress:
    files: int
    folders: int
    bytes: int
    files_total: int
    bytes_total: int
    skipped: int
    stored_bytes: int
    findings: int

@final
class ExtractFinished:
    files: int
    folders: int
    bytes: int
    skipped: int
    stored_bytes: int
    findings: int
    damaged: bool

@final
class MountProgress:
    """How far a writable mount is filled; one that is read-only is whole."""

    @property
    def bytes(self) -> int:
        """Of files that are here, of those that were gone through."""
    @property
    def files(self) -> int: ...
    @property
    def fetched_bytes(self) -> int:
        """What came from the vault in this mount."""
    @property
    def lost_files(self) -> int:
        """Files that cannot be filled."""
    @property
    def stuck(self) -> int:
        """The errno of a local disk that takes no more; 0: it does."""
    @property
    def whole(self) -> bool: ...
    @property
    def unread(self) -> list[tuple[int, int]]:
        """Number of a snapshot, and how many answers about it damage did not allow; those of which all could be read are left out."""

@final
class Mount:
    """A mounted file system. `OSError` where the system refuses."""

    @staticmethod
    def read_only(
        *,
        reader: Reader,
        rows: Sequence[tuple[bytes, int | None, bytes | None, int]],
        open: Callable[[int], Sequence[Tree]],  # noqa: A002
        place: str,
        cache_bytes: int,
        allow_other: bool,
        owners: bool,
        totals: tuple[int, int],
    ) -> Mount:
        """Mount snapshots; rows are (path, snapshot, target of a link, seconds since 1970), `open` gives a snapshot's trees."""

    @staticmethod
    def writable(
        *,
        reader: Reader,
        trees: Sequence[Tree],
        upper: str,
        place: str,
        boot: bytes,
        whole: bool,
        limits: Limits,
        cache_bytes: int,
        allow_other: bool,
        owners: bool,
        fill: bool,
    ) -> Mount:
        """Mount a snapshot with a local folder above it, and begin to fill that."""

    @property
    def over(self) -> bool:
        """Whether it was unmounted, by whomever."""

    def unmount(self, lazily: bool) -> None:
        """Ask the kernel to unmount; `EBUSY` while it is in use, unless lazily."""

    def join(self) -> None:
        """Wait for the end of what was unmounted, and for the background to stop."""

    def progress(self) -> MountProgress: ...

def unmount_place(place: str, lazily: bool) -> None:
    """Unmount what is mounted at a place; `OSError`."""
@final
class Extract:
    """A restore in the engine's own threads, planned by pack: each is read once. Poll it until `ExtractFinished`.

    `trees` are (class id, tree); `include` and `exclude` are tested on paths as trees have them.
    """

    def __new__(
        cls,
        *,
        reader: Reader,
        trees: Sequence[tuple[int, Tree]],
        target: bytes,
        include: Sequence[bytes],
        exclude: Sequence[str],
        options: ExtractOptions,
        limits: Limits,
    ) -> Extract: ...
    def poll(self, timeout_s: float) -> ExtractProgress | FindingReady | ExtractFinished | None: ...
    def stop(self) -> None: ...
    @property
    def stopped(self) -> bool: ...

@final
class VerifyProgress:
    packs: int
    bytes: int
    packs_total: int
    bytes_total: int

@final
class PackVerdict:
    """One pack was read; `reason` is empty if every byte of it is right."""

    name: bytes
    size: int
    segments: int
    opened: bool
    """Its segments were opened and their ids recomputed, too."""
    reason: str
    record: bytes | None
    """SHA-256 of the index record that its own directory makes; None unless it was opened and is right."""
    damaged: list[tuple[bytes, int]]
    """Segments that are wrong, as (origin, ordinal): see `Affected`."""

@final
class Verify:
    """Reads packs in the engine's own threads and proves them. Poll until it returns None with `finished` True.

    Packs whose class has no key in `keys` are proved by their hash alone, and so are those whose content is `proved`.
    """

    def __new__(
        cls,
        *,
        index: Index,
        keys: KeyRing | None,
        source: PackSource,
        packs: Sequence[bytes],
        limits: Limits,
        proved: Sequence[bytes] | None = None,
    ) -> Verify: ...
    def poll(self, timeout_s: float) -> PackVerdict | VerifyProgress | None: ...
    def stop(self) -> None: ...
    @property
    def finished(self) -> bool: ...
