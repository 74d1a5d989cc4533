"""Every attack of the table `holdfast.testing.attacks` is carried out, and refused."""

from __future__ import annotations

import pytest
from tests.attacks.acts import ACTS

from holdfast.testing.attacks import ATTACKS, attack


@pytest.mark.parametrize("row", ATTACKS, ids=lambda row: row.name)
def test_it_is_refused(row, tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    folder = tmp_path / "attack"
    folder.mkdir()
    ACTS[row.name](folder)


def test_the_table_is_complete():
    assert list(ACTS) == [row.name for row in ATTACKS]
    assert {row.holds for row in ATTACKS} == {"store", "writer", "source"}
    assert all(row.does and row.refused for row in ATTACKS)
    assert attack("path traversal").holds == "source"
