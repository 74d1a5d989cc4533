"""Index runs: which are trusted for what, and their local sorted copies.

The local copy is derived: it may be lost at any time and then costs fetching. Facts about runs never change, so they are
kept beside the copies; trust is decided anew at every reading.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from holdfast.base.values import dataclass
from holdfast.errors import DamageError, LocalStateError, ObjectMissingError
from holdfast.repository.countersign import read_countersign, read_countersigns
from holdfast.repository.engine_port import EnginePort, default_engine
from holdfast.repository.objects import Sealed, unseal
from holdfast.repository.rounds import read_damaged, read_rounds
from holdfast.repository.trust import RunFacts, may_deduplicate

if TYPE_CHECKING:
    from holdfast.engine import Index
    from holdfast.repository.home import Home
    from holdfast.repository.repository import Repository

MEMBERS_MAX = 8
"""Sorted files per kind of trust; beyond it the smallest are merged."""
MEMBERS_KEPT = 4
READS_MAX = 8
"""Readings of the list of runs while a prune replaces runs under it."""
FACTS_FILE = "runs.json"
FACTS_VERSION = 1


@dataclass(frozen=True, slots=True)
class IndexView:
    """The index as of one reading: condemned lists first, then the runs, in this order."""

    for_writing: Index
    whole: Index
    """For reading: all packs. What is left of a damaged pack still opens, and proves itself; a healed one opens whole."""
    left_out: frozenset[str]
    open_rounds: tuple[int, ...]
    """Prune rounds that are not closed."""
    runs: tuple[str, ...]
    untrusted: tuple[str, ...]
    """Runs that could not be used at all: damaged, or not validly signed."""
    blocked: DamageError | None = None
    """Why nobody knows what to leave out: a condemned list that cannot be read. It stops writers, and nobody who reads."""

    @property
    def index(self) -> Index:
        """For writing: without the packs that no new reference may rest on. `DamageError` if these are not known."""
        if self.blocked is not None:
            raise self.blocked
        return self.for_writing

    @property
    def excluded(self) -> frozenset[str]:
        """Packs no reference may rest on: condemned, deleted by a plan, damaged. `DamageError` if they are not known."""
        if self.blocked is not None:
            raise self.blocked
        return self.left_out


@dataclass(frozen=True, slots=True)
class Member:
    """One sorted file and the runs in it, all of the same trust."""

    file: str
    runs: tuple[str, ...]


@dataclass(slots=True)
class _State:
    """What the facts file holds."""

    facts: dict[str, RunFacts]
    scopes: dict[str, frozenset[str]]
    members: list[Member]
    distrusted: frozenset[str] = frozenset()
    """Not kept in the file: read anew every time."""
    gone: bool = False
    """A run that was listed went before it was read: what replaces it may not have been listed yet."""


def distrusted_runs(home: Home) -> frozenset[str]:
    """Return every run that a revocation distrusts."""
    found: set[str] = set()
    for writer in home.ids("writer"):
        certificate = home.certificate(writer, fresh=True)
        if certificate is not None and certificate.revoked:
            found.update(certificate.distrust_runs)
    return frozenset(found)


def open_run(repository: Repository, run: str) -> tuple[Sealed, bytes | None]:
    """Read and verify an index run; its plaintext is None if its class is not known here. `DamageError`."""
    name = f"index/{run}"
    sealed = repository.home.read_sealed(name)
    known = repository.generation(sealed.class_id, sealed.generation)
    return sealed, None if known is None else unseal(sealed, known.index_key, name)


class Indexes:
    """The local copy of the index under `cache` (a folder of this vault): derived, may be lost at any time."""

    def __init__(self, repository: Repository, cache: Path, engine: EnginePort | None = None) -> None:
        """Use a folder; it is made when needed."""
        self.repository = repository
        self.cache = cache
        self._engine = engine

    @property
    def engine(self) -> EnginePort:
        """The engine, imported when first needed."""
        if self._engine is None:
            self._engine = default_engine()
        return self._engine

    def read(self) -> IndexView:
        """Read condemned lists, then the list of runs, fetch what is new, and build the index."""
        home = self.repository.home
        rounds = read_rounds(home)
        blocked = None
        try:
            excluded = rounds.excluded() | read_damaged(home)
        except DamageError as error:
            blocked, excluded = error, rounds.deleted | read_damaged(home)
        copies = 2 if excluded else 1
        with self._locked():
            state = self._load()
            state.distrusted = distrusted_runs(home)
            runs, indexes, untrusted = self._read_runs(state, rounds.deleted, copies)
            for _ in range(READS_MAX):
                if not state.gone:
                    break
                runs, indexes, untrusted = self._read_runs(state, rounds.deleted, copies)
        index, whole = indexes[0], indexes[-1]
        index.exclude([bytes.fromhex(sha) for sha in sorted(excluded)])
        return IndexView(index, whole, excluded, tuple(r.number for r in rounds.open), runs, untrusted, blocked)

    def _read_runs(
        self, state: _State, deleted: frozenset[str], copies: int
    ) -> tuple[tuple[str, ...], list[Index], tuple[str, ...]]:
        """Read the list of runs and open what is in it; return also the runs that cannot be used."""
        state.gone = False
        runs = self._listed()
        state.scopes |= read_countersigns(self.repository.home, state.scopes)
        self._drop_stale(state, set(runs))
        try:
            return runs, *self._open(state, runs, deleted, copies=copies)
        except DamageError:
            # A file torn by a crash, or rotten: all of them are made anew.
            self._drop_all(state)
            return runs, *self._open(state, runs, deleted, copies=copies)

    def _listed(self) -> tuple[str, ...]:
        return tuple(name.partition("/")[2] for name in self.repository.home.listed("index"))

    def added_since(self, known: AbstractSet[str], folder: Path) -> list[tuple[str, str, bool]]:
        """Return the runs that came since: name, sorted file in a session's folder, and whether they may be trusted.

        What a prune rewrote is found in them: its copies are listed before the packs that they stand for are condemned.
        """
        home = self.repository.home
        found = []
        scopes: dict[str, frozenset[str]] = {}
        distrusted = distrusted_runs(home)
        for run in (run for run in self._listed() if run not in known):
            try:
                sealed, plain = open_run(self.repository, run)
            except DamageError:
                continue
            if plain is None:
                continue
            scope = read_countersign(home, run)
            scopes[run] = frozenset() if scope is None else frozenset((scope,))
            facts = RunFacts(sealed.signer_name, sealed.class_id, sealed.generation)
            path = self.write_sorted(folder, run, facts.class_id, facts.generation, plain)
            found.append((run, str(path), self._may_use(run, facts, scopes, distrusted)))
        return found

    def _open(
        self, state: _State, runs: tuple[str, ...], deleted: frozenset[str], *, copies: int
    ) -> tuple[list[Index], tuple[str, ...]]:
        """Fetch what is new and open the local files so many times; return also the runs that cannot be used."""
        untrusted = self._fetch(state, runs)
        with self.engine.translated():
            files = [(str(self.cache / m.file), trusted) for m, trusted in self._choose(state, deleted)]
            indexes = [cast("Index", self.engine.Index(files)) for _ in range(copies)]
        self._save(state)
        return indexes, untrusted

    def _drop_all(self, state: _State) -> None:
        for member in state.members:
            (self.cache / member.file).unlink(missing_ok=True)
        state.members.clear()

    def _fetch(self, state: _State, runs: tuple[str, ...]) -> tuple[str, ...]:
        """Copy what is not here yet; return the runs that cannot be used."""
        here = {run for member in state.members for run in member.runs}
        unusable = []
        for run in runs:
            if run in here or (run in state.facts and not self._is_known(state.facts[run])):
                continue
            try:
                sealed, plain = open_run(self.repository, run)
            except ObjectMissingError:
                state.gone = True
                continue
            except DamageError:
                unusable.append(run)
                continue
            state.facts[run] = RunFacts(sealed.signer_name, sealed.class_id, sealed.generation)
            if plain is not None:
                state.members.append(Member(self._write(run, state.facts[run], plain), (run,)))
        return tuple(unusable)

    def _is_known(self, facts: RunFacts) -> bool:
        return self.repository.generation(facts.class_id, facts.generation) is not None

    def _drop_stale(self, state: _State, listed: set[str]) -> None:
        """Drop files with a run that is gone from the vault, or whose runs are no longer trusted alike."""
        for member in list(state.members):
            if not listed.issuperset(member.runs) or len({self._trusted(state, run) for run in member.runs}) != 1:
                state.members.remove(member)
                (self.cache / member.file).unlink(missing_ok=True)

    def _choose(self, state: _State, deleted: frozenset[str]) -> list[tuple[Member, bool]]:
        """Return the files to use, each with its trust, after merging small ones."""
        usable: dict[bool, list[Member]] = {True: [], False: []}
        for member in state.members:
            usable[self._trusted(state, member.runs[0])].append(member)
        return [(m, trust) for trust, members in usable.items() for m in self._merged(state, members, deleted)]

    def _trusted(self, state: _State, run: str) -> bool:
        return self._may_use(run, state.facts[run], state.scopes, state.distrusted)

    def _may_use(
        self, run: str, facts: RunFacts, scopes: Mapping[str, frozenset[str]], distrusted: frozenset[str]
    ) -> bool:
        return may_deduplicate(
            run,
            facts,
            writer=self.repository.writer_id,
            scopes=scopes,
            distrusted=distrusted,
            group=self.repository.group,
        )

    def _merged(self, state: _State, members: list[Member], deleted: frozenset[str]) -> list[Member]:
        """Merge the smallest files if there are too many."""
        if len(members) <= MEMBERS_MAX:
            return members
        by_size = sorted(members, key=lambda m: (self.cache / m.file).stat().st_size)
        small, kept = by_size[: len(by_size) - MEMBERS_KEPT], by_size[len(by_size) - MEMBERS_KEPT :]
        runs = tuple(sorted(run for member in small for run in member.runs))
        name = f"merged-{hashlib.sha256(' '.join(runs).encode()).hexdigest()[:32]}.sorted"
        drop = [bytes.fromhex(sha) for sha in sorted(deleted)]
        with self._replacing(name) as out:
            self.engine.Index.merge([str(self.cache / m.file) for m in small], str(out), drop)
        merged = Member(name, runs)
        state.members = [m for m in state.members if m not in small] + [merged]
        self._save(state)
        for member in small:
            (self.cache / member.file).unlink(missing_ok=True)
        return [*kept, merged]

    def _write(self, run: str, facts: RunFacts, plain: bytes) -> str:
        name = f"{run}.sorted"
        with self._replacing(name) as out:
            self.engine.Index.write_sorted([plain], facts.class_id, facts.generation, str(out))
        return name

    def write_sorted(self, folder: Path, run: str, class_id: int, generation: int, plain: bytes) -> Path:
        """Write one run's sorted file into a session's folder, where no other process merges it away."""
        folder.mkdir(parents=True, exist_ok=True)
        out = folder / f"{run}.sorted"
        self.engine.Index.write_sorted([plain], class_id, generation, str(out))
        return out

    def adopt(self, runs: Mapping[str, tuple[Path, RunFacts]]) -> None:
        """Take a finished session's sorted files into the cache, so that they need not be fetched."""
        with self._locked():
            state = self._load()
            here = {run for member in state.members for run in member.runs}
            for run, (path, facts) in runs.items():
                if run not in here and path.exists():
                    path.replace(self.cache / path.name)
                    state.facts[run] = facts
                    state.members.append(Member(path.name, (run,)))
            self._save(state)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes of this host out of the cache."""
        try:
            self.cache.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(self.cache / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                yield
            finally:
                os.close(fd)
        except OSError as error:
            raise LocalStateError(
                f"the local copy of the index cannot be used: {os.strerror(error.errno or 0)}"
            ) from error

    @contextmanager
    def _replacing(self, name: str) -> Iterator[Path]:
        """Give a path to write, and put what was written under its name at once."""
        temporary = self.cache / f"{name}.new"
        temporary.unlink(missing_ok=True)
        yield temporary
        temporary.replace(self.cache / name)

    def _load(self) -> _State:
        """Read the facts file; anything wrong with it empties the cache."""
        try:
            raw = json.loads((self.cache / FACTS_FILE).read_text())
            if raw["version"] != FACTS_VERSION or raw["vault"] != self.repository.home.vault:
                return _State({}, {}, [])
            facts = {run: RunFacts(*fact) for run, fact in raw["facts"].items()}
            scopes = {run: frozenset(scope) for run, scope in raw["scopes"].items()}
            members = [Member(file, tuple(runs)) for file, runs in raw["members"]]
        except (OSError, ValueError, KeyError, TypeError):
            return _State({}, {}, [])
        present = [m for m in members if (self.cache / m.file).exists() and all(run in facts for run in m.runs)]
        return _State(facts, scopes, present)

    def _save(self, state: _State) -> None:
        """Write the facts file; a crash leaves the old one or the new one."""
        raw = {
            "version": FACTS_VERSION,
            "vault": self.repository.home.vault,
            "facts": {run: [f.signer, f.class_id, f.generation] for run, f in state.facts.items()},
            "scopes": {run: sorted(scope) for run, scope in state.scopes.items()},
            "members": [[m.file, list(m.runs)] for m in state.members],
        }
        with self._replacing(FACTS_FILE) as out:
            out.write_text(json.dumps(raw))
