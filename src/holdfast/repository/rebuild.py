"""Rebuild the index from the packs: every pack's own directory says what an index run says (docs/format/packs.md).

Needs the index keys, no key to content. What is rebuilt is signed by root and countersigned for nobody: it serves
lookups, and writers store again what they cannot vouch for, unless runs of their own still list it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import DamageError, ObjectMissingError
from holdfast.repository import names
from holdfast.repository.engine_port import EnginePort, default_engine
from holdfast.repository.indexes import open_run
from holdfast.repository.objects import INDEX_RUN, sha256
from holdfast.repository.packs import list_packs
from holdfast.repository.records import encode_run, parse_run
from holdfast.repository.rounds import read_rounds

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.repository.repository import Repository

PACKS_PER_RUN = 1_000
_CLASS_AT, _GENERATION_AT = 28, 32


@dataclass(frozen=True, slots=True)
class RebuildPlan:
    """What is to be done: runs that cannot be read go, and packs that no readable run lists are read."""

    broken_runs: tuple[str, ...]
    packs: tuple[tuple[str, int], ...]
    """Name and folder kind (1 data, 2 meta)."""


@dataclass(frozen=True, slots=True)
class RebuildOutcome:
    """What was done."""

    runs_put: int
    runs_dropped: int
    packs_listed: int
    damaged: tuple[str, ...]
    """Packs that could not be listed: their bytes are not what their name says, or their directory does not open."""


def plan(repository: Repository, *, everything: bool = False) -> RebuildPlan:
    """Return what a rebuild would do; `everything` reads all packs again. Nothing changes."""
    home = repository.home
    sizes, kinds = list_packs(repository)
    listed: set[str] = set()
    broken = []
    for name in list(home.listed("index")):
        sha = name.partition("/")[2]
        try:
            _, plain = open_run(repository, sha)
            listed.update(r.name for r in parse_run(plain or b"\x01\x00"))
        except ObjectMissingError:
            continue
        except DamageError:
            broken.append(sha)
    wanted = set(sizes) - read_rounds(home).deleted - (set() if everything else listed)
    return RebuildPlan(tuple(broken), tuple((name, kinds[name]) for name in sorted(wanted)))


def apply(
    repository: Repository,
    plan: RebuildPlan,
    engine: EnginePort | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RebuildOutcome:
    """Read the packs, put runs for them, then drop the broken runs. A crash leaves runs that are right, and the rest."""
    port = engine or default_engine()
    records: dict[tuple[int, int], list[bytes]] = {}
    damaged: list[str] = []
    runs = listed = 0
    for at, (name, kind) in enumerate(plan.packs):
        found = _read_pack(repository, port, names.pack(name, kind), name)
        if found is None:
            damaged.append(name)
        else:
            key, record = found
            records.setdefault(key, []).append(record)
            listed += 1
            if len(records[key]) >= PACKS_PER_RUN:
                _put(repository, key, records.pop(key))
                runs += 1
        if progress is not None:
            progress(at + 1, len(plan.packs))
    for key, left in sorted(records.items()):
        _put(repository, key, left)
        runs += 1
    for sha in plan.broken_runs:
        repository.store.delete(f"index/{sha}")
    return RebuildOutcome(runs, len(plan.broken_runs), listed, tuple(damaged))


def _read_pack(repository: Repository, engine: EnginePort, name: str, sha: str) -> tuple[tuple[int, int], bytes] | None:
    """Return class, generation and record of a pack, None if it is damaged or gone."""
    try:
        data = repository.store.get(name)
    except ObjectMissingError:
        return None
    if sha256(data) != sha or len(data) < _GENERATION_AT + 4:
        return None
    (class_id,) = struct.unpack_from("<H", data, _CLASS_AT)
    (generation,) = struct.unpack_from("<I", data, _GENERATION_AT)
    known = repository.generation(class_id, generation)
    if known is None:
        return None
    keys = engine.ClassKeys(repository.vault_id, class_id, generation, known.dedup_key, known.index_key)
    try:
        with engine.translated():
            return (class_id, generation), engine.read_directory(keys, data)
    except DamageError:
        return None


def _put(repository: Repository, key: tuple[int, int], records: list[bytes]) -> None:
    home, root = repository.home, repository.root
    known = repository.secrets(*key)
    head = home.head(INDEX_RUN, key[0], key[1], root)
    home.put_sealed("index/", head, known.index_key, encode_run(records), root)
