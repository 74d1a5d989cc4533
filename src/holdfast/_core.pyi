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

def self_test() -> int:
    """Compute the known answers; return how many were checked. `EngineError` if one is wrong."""

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
class Index:
    """Sorted runs, looked up together; packs may be excluded at any time, also while an `Ingest` uses it."""

    def __new__(cls, members: Sequence[tuple[str, bool]]) -> Index: ...
    @staticmethod
    def write_sorted(run_payloads: Sequence[Buffer], class_id: int, generation: int, out: str) -> None: ...
    @staticmethod
    def merge(paths: Sequence[str], out: str, drop: Sequence[bytes]) -> None: ...
    def exclude(self, packs: Sequence[bytes]) -> None: ...
    def packs(self) -> list[PackRow]: ...
    def counts(self) -> object: ...
    def find_segment(self, origin: bytes, ordinal: int) -> object | None: ...

def read_directory(keys: ClassKeys, pack: Buffer) -> bytes: ...
def encode_run(records: Sequence[bytes]) -> bytes: ...
def split_run(payload: Buffer) -> list[tuple[bytes, int, int, bytes]]: ...
@final
class RefSet:
    """The segments that one class tree needs: (origin, ordinal) pairs."""

    def __new__(cls) -> RefSet: ...
    @staticmethod
    def decode(payload: Buffer, parent: RefSet | None = None) -> RefSet: ...
    def add(self, origin: bytes, ordinal: int) -> None: ...
    def contains(self, origin: bytes, ordinal: int) -> bool: ...
    def iter_origins(self) -> Iterator[tuple[bytes, list[int]]]: ...
    def encode_full(self) -> bytes: ...
    def encode_delta(self, parent: RefSet, parent_sha: bytes) -> bytes: ...
    def union(self, other: RefSet) -> None: ...
    @property
    def segments(self) -> int: ...

# --- files: durable put, limits ---------------------------------------------------------------------------------------

@final
class Limits:
    """Rates in bytes per second (None: no limit) and a pause switch, settable while running."""

    def __new__(cls, read_bytes_per_s: int | None = None, write_bytes_per_s: int | None = None) -> Limits: ...
    read_bytes_per_s: int | None
    write_bytes_per_s: int | None
    def pause(self) -> None: ...
    def resume(self) -> None: ...

def put_file(path: str, data: Buffer, limits: Limits | None = None) -> None:
    """Write a new file durably. `FileExistsError` if the name is taken, `OSError` otherwise."""

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

@final
class Tree:
    def lookup(self, path: bytes) -> Entry | None: ...
    def list(self, folder: bytes) -> Iterator[Entry]: ...
    def walk(self, prefix: bytes = b"") -> Iterator[Entry]: ...
    def diff(self, other: Tree) -> Iterator[Change]: ...

def read_file(reader: Reader, entry: Entry, write: int) -> int: ...
