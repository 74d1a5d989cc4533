"""The part of the engine that the repository uses, as a protocol, so that a test may stand in for it."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol, cast


class IndexPort(Protocol):
    """`holdfast.engine.Index`: sorted runs, looked up together."""

    def add(self, path: str, dedup: bool) -> None:  # noqa: FBT001 - the engine's call
        """Add a sorted file; `dedup`: it may be deduplicated against."""
        ...

    def exclude(self, packs: Sequence[bytes]) -> None:
        """Exclude packs from every later answer."""
        ...

    def find_segment(self, origin: bytes, ordinal: int) -> object | None:
        """Return where a segment is, outside excluded packs, or None."""
        ...


class IndexMaker(Protocol):
    """`holdfast.engine.Index` as a class."""

    def __call__(self, members: Sequence[tuple[str, bool]]) -> IndexPort:
        """Open sorted files; the flag says whether a member may be deduplicated against."""
        ...

    def write_sorted(self, run_payloads: Sequence[bytes], class_id: int, generation: int, out: str) -> None:
        """Write run plaintexts of one class generation as one sorted file."""
        ...

    def merge(self, paths: Sequence[str], out: str, drop: Sequence[bytes]) -> None:
        """Merge sorted files into one, without some packs."""
        ...


class ClassKeysMaker(Protocol):
    """`holdfast.engine.ClassKeys` as a class."""

    def __call__(self, vault: bytes, class_id: int, generation: int, dedup_key: bytes, index_key: bytes) -> object:
        """Prepare the keys of one class generation."""
        ...


class ParityRowsPort(Protocol):
    """`holdfast.engine.ParityRows`: the rows of one parity group under construction."""

    def add(self, slot: int, pack: bytes | bytearray | memoryview) -> None:
        """Add a pack to all rows; added twice, it is out again."""
        ...

    def add_row(self, row: int, data: bytes) -> None:
        """Add the stored bytes of a row to it."""
        ...

    def row(self, row: int, header: bytes, length: int) -> bytes:
        """Return a header and the first bytes of a row."""
        ...

    def recover(self, lost: list[int], rows: list[int]) -> None:
        """Turn rows into the packs of the lost slots."""
        ...


class ParityRowsMaker(Protocol):
    """`holdfast.engine.ParityRows` as a class."""

    def __call__(self, folder: str, rows: int) -> ParityRowsPort:
        """Begin with rows of zeros, in unnamed files of a folder."""
        ...


class ParityPort(Protocol):
    """The part of `holdfast.engine` that makes and uses parity."""

    @property
    def ParityRows(self) -> ParityRowsMaker:  # noqa: N802 - the engine's name
        """The class of parity rows."""
        ...

    def translated(self) -> AbstractContextManager[None]:
        """Raise Holdfast's errors in place of the engine's."""
        ...


class EnginePort(Protocol):
    """`holdfast.engine`."""

    @property
    def ClassKeys(self) -> ClassKeysMaker:  # noqa: N802 - the engine's name
        """The class of prepared keys."""
        ...

    def translated(self) -> AbstractContextManager[None]:
        """Raise Holdfast's errors in place of the engine's."""
        ...

    def repack(
        self, keys: object, nonce: bytes, sources: Sequence[tuple[bytes, Sequence[tuple[bytes, int]]]]
    ) -> tuple[bytes, bytes, bytes]:
        """Copy segments of whole packs into one new pack; return its name, its bytes and its index record."""
        ...

    def run_segments(self, payload: bytes) -> Sequence[tuple[bytes, bytes]]:
        """Return per pack of a run its name and the plaintext of the full reference set of its segments."""
        ...

    def read_directory(self, keys: object, pack: bytes) -> bytes:
        """Return a pack's record as an index run holds it, from its own directory."""
        ...

    @property
    def Index(self) -> IndexMaker:  # noqa: N802 - the engine's name
        """The index class."""
        ...


def default_engine() -> EnginePort:
    """Return the Rust engine; imported late, so that what needs no index runs without it."""
    return cast("EnginePort", importlib.import_module("holdfast.engine"))


def parity_engine() -> ParityPort:
    """Return the Rust engine for parity; imported late."""
    return cast("ParityPort", importlib.import_module("holdfast.engine"))
