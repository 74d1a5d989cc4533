"""Where attacks happen: a vault in memory with a victim and a thief, each with a writer's credential; the stand-in engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from holdfast.base.environment import ManualClock
from holdfast.errors import HoldfastError
from holdfast.repository import writers
from holdfast.repository.credentials import KeyFile
from holdfast.repository.prune import PruneOptions
from holdfast.repository.repository import Repository
from holdfast.stores.memory import MemoryStore
from holdfast.testing.hosts import FakeHost, at_its_word, check_vault

NOW = PruneOptions(unsafe_undo_delay=timedelta(0), patience=timedelta(0), compare=at_its_word)
FILES = {f"f{n}": 1 for n in range(6)}


@dataclass
class Scene:
    """`root` is the operator, `victim` a host with one snapshot, `thief` who has stolen another host's credential."""

    folder: Path
    clock: ManualClock = field(default_factory=ManualClock)
    store: MemoryStore = field(default_factory=MemoryStore)

    def __post_init__(self) -> None:
        self.env = self.clock.environment()
        self.key = KeyFile.new(self.env)
        self.root = Repository.create(self.store, self.env, secrets=[self.key])
        self.credentials = [writers.enrol(self.root, label, [1]) for label in ("victim", "thief")]
        self.victim = self.host(0, "ab" * 16)
        self.thief = self.host(1, "cd" * 16)
        self.first = self.victim.backup(FILES)

    def host(self, number: int, source: str, cache: str = "") -> FakeHost:
        repository = Repository.open(self.store, self.credentials[number], self.env)
        return FakeHost(repository, self.folder / f"cache-{number}-{cache or source[:2]}", source)

    def root_host(self) -> FakeHost:
        return FakeHost(Repository.open(self.store, self.key, self.env), self.folder / "cache-root", "ef" * 16)

    def names(self, prefix: str) -> list[str]:
        return sorted(name for name in self.store.objects if name.startswith(prefix))

    def plant(self, name: str, data: bytes) -> None:
        """Put an object as whoever can only add."""
        assert self.store.put_new(name, data), "a writer's credential replaces nothing"

    def all_is_well(self) -> None:
        """What was acknowledged is there, and another host can read all of it."""
        check_vault(Repository.open(self.store, self.key, self.env), self.victim.acknowledged)


def ended(action) -> str:
    """Return the code that a call was refused with; empty if it went through."""
    try:
        action()
    except HoldfastError as error:
        return error.code
    return ""


def refused(action) -> str:
    """Return the code that a call was refused with; fail if it went through."""
    code = ended(action)
    if not code:
        raise AssertionError("it was not refused")
    return code
