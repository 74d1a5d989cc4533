"""A vault in memory, its key, and people who approve."""

from __future__ import annotations

import pytest

from holdfast.base.environment import Environment, ManualClock
from holdfast.repository import slots
from holdfast.repository.credentials import KeyFile
from holdfast.repository.repository import Repository
from holdfast.stores.memory import MemoryStore


@pytest.fixture(autouse=True)
def quick_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "ITERATIONS", slots.ITERATIONS_MIN)


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
    return Repository.create(store, env, secrets=[key], label="ward 7")
