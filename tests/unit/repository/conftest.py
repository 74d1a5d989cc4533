from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.base.environment import Environment, ManualClock
from holdfast.repository.credentials import KeyFile
from holdfast.repository.repository import Repository
from holdfast.stores.memory import MemoryStore
from holdfast.testing.hosts import FakeHost


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def env(clock: ManualClock) -> Environment:
    return clock.environment()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def key(env: Environment) -> KeyFile:
    return KeyFile.new(env)


@pytest.fixture
def repository(store: MemoryStore, env: Environment, key: KeyFile) -> Repository:
    return Repository.create(store, env, secrets=[key], label="test")


@pytest.fixture
def host(repository: Repository, tmp_path: Path) -> FakeHost:
    return FakeHost(repository, tmp_path / "cache", "ab" * 16)
