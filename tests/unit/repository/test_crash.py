"""A kill at every store operation, before it took effect and after, loses nothing acknowledged; the next run completes.

For each operation k of a run: the vault is built anew from the same start, the run dies at k, then the whole vault is
checked against what was acknowledged, the run is done again, and the vault is checked once more. The same with a store
that does not answer at k (an error that the code sees) in place of a kill.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.base.environment import Environment
from holdfast.errors import HoldfastError, VaultExistsError
from holdfast.repository import forget
from holdfast.repository.check import check
from holdfast.repository.credentials import KeyFile
from holdfast.repository.prune import PruneOptions, prune
from holdfast.repository.repository import Repository
from holdfast.stores.memory import MemoryStore
from holdfast.testing.fake_engine import FakeEngine
from holdfast.testing.faults import Crash, FaultStore
from holdfast.testing.hosts import FakeHost, at_its_word, check_vault

NOW = PruneOptions(unsafe_undo_delay=timedelta(0), patience=timedelta(0), compare=at_its_word)
MODES = [(after, outage) for after in (False, True) for outage in (False, True)]
SOURCE = "ab" * 16
OUTAGE_STEP = 4
"""A kill is tried at every operation (after the effect, at every write), an outage at every fourth."""


class World:
    """A vault with some history, and a host whose store dies on demand."""

    def __init__(self, env: Environment, folder: Path) -> None:
        self.env = env
        self.folder = folder
        self.key = KeyFile.new(env)
        self.store = MemoryStore()
        repository = Repository.create(self.store, env, secrets=[self.key])
        self.host = FakeHost(repository, folder / "cache", SOURCE)
        files = {f"f{i}": 1 for i in range(10)}
        self.first = self.host.backup(files)
        self.host.backup(files | {"f0": 2, "f5": 2, "f6": 2, "f7": 2})
        self.host.backup(files | {f"f{i}": 3 for i in range(6)})

    def opened(self, fail_at: int, *, after: bool, outage: bool) -> tuple[FaultStore, FakeHost]:
        """Open the vault through a store that fails; opening itself is not counted."""
        faulty = FaultStore(self.store, fail_at=-1, after=after, outage=outage, writes_only=after)
        repository = Repository.open(faulty, self.key, self.env)
        faulty.operations = 0
        faulty.fail_at = fail_at
        return faulty, FakeHost(
            repository, self.host.cache, SOURCE, known=dict(self.host.known), acknowledged=self.host.acknowledged
        )

    def check(self) -> None:
        check_vault(self.host.repository, self.host.acknowledged)


@pytest.fixture
def world(env: Environment, tmp_path: Path) -> World:
    return World(env, tmp_path)


def every_operation(
    world: World, act: Callable[[FakeHost], object], *, after: bool, outage: bool
) -> Iterator[FakeHost]:
    """Let `act` die at each operation in turn, on the same start; yield after each death, until none is left."""
    objects, acknowledged = dict(world.store.objects), copy.deepcopy(world.host.acknowledged)
    known = dict(world.host.known)
    for k in range(0, 10_000, OUTAGE_STEP if outage else 1):
        world.store.objects.clear()
        world.store.objects.update(objects)
        world.host.acknowledged.clear()
        world.host.acknowledged.update(copy.deepcopy(acknowledged))
        world.host.known = dict(known)
        faulty, host = world.opened(k, after=after, outage=outage)
        with contextlib.suppress(Crash, HoldfastError):
            act(host)
        died = faulty.operations > k
        world.check()
        yield host
        if not died:
            assert k > 1, "the run did nothing"
            return
    pytest.fail("the run never completes")


@pytest.mark.parametrize(("after", "outage"), MODES)
def test_backup(world: World, *, after: bool, outage: bool) -> None:
    files = {f"f{i}": 4 for i in range(10)}

    def act(host: FakeHost) -> None:
        host.backup(files, checkpoints=2)

    for _ in every_operation(world, act, after=after, outage=outage):
        done = FakeHost(world.host.repository, world.host.cache, SOURCE, acknowledged=world.host.acknowledged)
        done.known = dict(world.host.known)
        done.backup(files)
        world.check()
        assert check(world.host.repository).problems == ()


@pytest.mark.parametrize(("after", "outage"), MODES)
def test_forget(world: World, *, after: bool, outage: bool) -> None:
    def act(host: FakeHost) -> None:
        host.acknowledged.pop(world.first.id)
        forget.forget(host.repository, world.first.id, reason="test")

    for _ in every_operation(world, act, after=after, outage=outage):
        forget.forget(world.host.repository, world.first.id, reason="test")
        assert world.first.id not in {s.id for s in world.host.repository.snapshots()}
        assert not [
            n for n in world.store.objects if n.startswith((f"part/{world.first.id}", f"snapshot/{world.first.id}"))
        ]
        assert check(world.host.repository).problems == ()


@pytest.mark.parametrize(("after", "outage"), MODES)
def test_prune(world: World, *, after: bool, outage: bool) -> None:
    repository = world.host.repository
    for snapshot in repository.snapshots()[:2]:
        forget.forget(repository, snapshot.id, reason="test")
        world.host.acknowledged.pop(snapshot.id)

    def act(host: FakeHost) -> None:
        assert prune(host.repository, NOW, FakeEngine()).phase == "closed"

    for _ in every_operation(world, act, after=after, outage=outage):
        assert prune(repository, NOW, FakeEngine()).phase in {"closed", "nothing"}
        world.check()
        assert check(repository).problems == ()


@pytest.mark.parametrize(("after", "outage"), MODES)
def test_prune_beside_a_session(world: World, *, after: bool, outage: bool) -> None:
    """The session is in the middle of its run when the pruner dies; it then commits, or is told to start again."""
    repository = world.host.repository
    for snapshot in repository.snapshots()[:2]:
        forget.forget(repository, snapshot.id, reason="test")
        world.host.acknowledged.pop(snapshot.id)
    files = {"f1": 1, "f2": 2, "f9": 1, "g": 1}

    def act(host: FakeHost) -> None:
        session = world.host.begin()
        where = world.host.store(session, files)
        try:
            prune(host.repository, NOW, FakeEngine())
        finally:
            try:
                world.host.commit(session, where)
            except HoldfastError:
                world.host.backup(files)

    for _ in every_operation(world, act, after=after, outage=outage):
        prune(repository, NOW, FakeEngine())
        world.check()


@pytest.mark.parametrize("after", [False, True])
def test_create(env: Environment, *, after: bool) -> None:
    key = KeyFile.new(env)
    for k in range(10_000):
        store = MemoryStore()
        faulty = FaultStore(store, fail_at=k, after=after)
        with contextlib.suppress(Crash):
            Repository.create(faulty, env, secrets=[key])
        died = faulty.operations > k
        if store.size("vault") is None:
            assert died
            Repository.create(store, env, secrets=[key])
        else:
            with pytest.raises(VaultExistsError):
                Repository.create(store, env, secrets=[key])
        assert check(Repository.open(store, key, env)).problems == ()
        if not died:
            return
