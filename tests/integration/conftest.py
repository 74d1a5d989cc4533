"""Fixtures of the integration tests: a place for a vault, its local state beside it."""

from __future__ import annotations

import pytest
from tests.rounds import Place

from holdfast.testing import trees


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    yield Place(tmp_path)
    trees.empty(tmp_path)
