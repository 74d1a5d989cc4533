"""What the vault knows about its packs: the union of all index runs, against the list of what is in the store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import TYPE_CHECKING

from holdfast.base.values import dataclass
from holdfast.errors import DamageError, NotPermittedError, ObjectMissingError, RevokedError
from holdfast.repository.countersign import read_countersigns
from holdfast.repository.home import ROOT
from holdfast.repository.indexes import distrusted_runs, open_run
from holdfast.repository.records import PackRecord, parse_run
from holdfast.repository.rounds import read_damaged
from holdfast.repository.trust import FOR_ALL

if TYPE_CHECKING:
    from holdfast.repository.objects import Sealed
    from holdfast.repository.repository import Repository

LOOKS_MAX = 20
"""How often the index is listed again because a run went while it was read."""
NOBODY = "nobody"
"""The scope of runs that nobody may deduplicate against."""


@dataclass(frozen=True, slots=True)
class Group:
    """Packs that may be copied into one: same keys, same kind, same word standing behind their ids."""

    class_id: int
    generation: int
    kind: int
    scope: str


@dataclass(frozen=True, slots=True)
class Pack:
    """One pack of the index."""

    record: PackRecord
    group: Group
    run: str


@dataclass(frozen=True, slots=True)
class Run:
    """One index run."""

    sha: str
    signer: str
    class_id: int
    generation: int
    scope: str
    packs: tuple[str, ...]


@dataclass(slots=True)
class PackTable:
    """The index as pruning sees it."""

    packs: dict[str, Pack]
    runs: dict[str, Run]
    stored: dict[str, int]
    """Size of every pack in the store, by hash."""
    kinds: dict[str, int]
    """1 or 2 by the folder of every pack in the store."""
    damaged: frozenset[str] = field(default_factory=frozenset)

    def carries(self, name: str) -> bool:
        """Return whether a pack can be relied on: indexed, present with its size, not known as damaged."""
        pack = self.packs.get(name)
        return pack is not None and self.stored.get(name) == pack.record.size and name not in self.damaged

    @property
    def unindexed(self) -> frozenset[str]:
        """Packs in the store that no run lists."""
        return frozenset(self.stored.keys() - self.packs.keys())


def read_runs(repository: Repository, broken: list[str] | None = None) -> Iterator[tuple[Run, list[PackRecord]]]:
    """Yield every run with its records. `DamageError` for a run that cannot be read: its packs would look unindexed.

    With `broken`, such a run is added to it and passed over: whoever asks knows what may be missing then.
    """
    scopes, distrusted = read_countersigns(repository.home), distrusted_runs(repository.home)
    for sha, sealed, plain in _opened_runs(repository, broken):
        if plain is None:
            raise NotPermittedError(f"the index key of data class {sealed.class_id} is not at hand")
        granted = scopes.get(sha, frozenset())
        if sha in distrusted:
            scope = NOBODY
        elif FOR_ALL in granted:
            scope = FOR_ALL
        elif granted or sealed.signer_name == ROOT:
            scope = next(iter(granted), NOBODY)  # a group, or the writer whose runs were rewritten
        else:
            scope = sealed.signer_name
        records = parse_run(plain)
        packs = tuple(r.name for r in records)
        yield Run(sha, sealed.signer_name, sealed.class_id, sealed.generation, scope, packs), records


def _opened_runs(repository: Repository, broken: list[str] | None) -> Iterator[tuple[str, Sealed, bytes | None]]:
    """Yield every run. If one went between listing and reading, the list is read again.

    A pruner that replaces runs puts the new one before the old ones go: without the second look its packs would seem to be in
    no run at all.
    """
    seen: set[str] = set()
    for _ in range(LOOKS_MAX):
        vanished = False
        for name in list(repository.home.listed("index")):
            sha = name.partition("/")[2]
            if sha in seen:
                continue
            try:
                sealed, plain = open_run(repository, sha)
            except ObjectMissingError:
                vanished = True
                continue
            except DamageError:
                if broken is None:
                    raise
                seen.add(sha)
                broken.append(sha)
                continue
            seen.add(sha)
            yield sha, sealed, plain
        if not vanished:
            return
    raise RevokedError(
        "index runs are replaced faster than they can be read",
        next="another prune is under way: run the same command again when it is over.",
    )


def list_packs(repository: Repository) -> tuple[dict[str, int], dict[str, int]]:
    """Return size and kind of every pack in the store, by hash."""
    sizes: dict[str, int] = {}
    kinds: dict[str, int] = {}
    for folder, kind in (("data", 1), ("meta", 2)):
        for info in repository.store.list(folder + "/"):
            sha = info.name.rpartition("/")[2]
            sizes[sha] = info.size
            kinds[sha] = kind
    return sizes, kinds


def read_packs(
    repository: Repository, deleted: frozenset[str] = frozenset(), broken: list[str] | None = None
) -> PackTable:
    """Return the table of all packs; those that a plan deletes are left out, wherever they are still listed.

    `broken` as with :func:`read_runs`.

    Packs are listed before the runs: a pack that is stored and indexed meanwhile never looks unindexed.
    """
    sizes, kinds = list_packs(repository)
    packs: dict[str, Pack] = {}
    runs: dict[str, Run] = {}
    for run, records in read_runs(repository, broken):
        runs[run.sha] = run
        for record in records:
            if record.name in deleted:
                continue
            known = packs.get(record.name)
            if known is not None and known.record.encoded != record.encoded and known.record.size != record.size:
                raise DamageError(f"two index runs contradict each other about pack {record.name}")
            if known is None or known.group.scope == NOBODY:
                group = Group(run.class_id, run.generation, record.kind, run.scope)
                packs[record.name] = Pack(record, group, run.sha)
    for name in deleted:
        sizes.pop(name, None)
    return PackTable(packs, runs, sizes, kinds, read_damaged(repository.home))
