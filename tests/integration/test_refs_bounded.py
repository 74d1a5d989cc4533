"""A reference set that claims 2^32 segments of an origin: nothing walks it, and what is really there is found all the same."""

from __future__ import annotations

import pytest

from holdfast import engine
from holdfast.repository.marking import SetReader, packs_of
from holdfast.repository.refsets import Segments
from holdfast.runs.damage import packs_needed
from holdfast.runs.reading import restore_plan

LAST = 1 << 32


@pytest.fixture
def claimed(place, monkeypatch):
    """A vault whose newest snapshot's set claims every ordinal of each of its origins, and of an origin that is not there."""
    place.source.mkdir()
    for n in range(20):
        (place.source / f"f{n}").write_text(f"{n}" * 400)
    with place.create() as vault:
        place.backup(vault)
        real = SetReader.read

        def read(self: SetReader, sha: str) -> Segments:
            every = {origin: [(0, LAST)] for origin, _ in real(self, sha).ranges()}
            return Segments({**every, b"\xee" * 16: [(0, LAST)]})

        honest = packs_needed(vault._vault, ["latest"])
        monkeypatch.setattr(SetReader, "read", read)
        yield vault, honest


def test_verify_of_one_snapshot_reads_what_is_there(claimed):
    vault, honest = claimed
    assert packs_needed(vault._vault, ["latest"]) == honest
    assert vault.verify(snapshots=["latest"]).packs == len(honest)


def test_a_restore_plan_is_made_of_what_is_there(claimed):
    vault, honest = claimed
    found = restore_plan(vault._vault, vault.snapshot().info)
    assert (found.packs, found.missing) == (len(honest), 0)


def test_the_index_lists_packs_between_two_ordinals(claimed):
    vault, _ = claimed
    index = vault._vault.whole_index()
    rows = {row.name: row for row in index.packs()}
    segments = Segments({b"\xee" * 16: [(0, LAST)]})
    assert list(packs_of(index, segments)) == []
    for row in rows.values():
        origin = next(
            origin
            for origin, _ in Segments({place: [(0, 1)] for place in _origins(vault)}).ranges()
            if any(found.name == row.name for found in index.packs_between(origin, 0, LAST))
        )
        assert index.packs_between(origin, 0, 1)[0].name == row.name
        assert index.packs_between(origin, 1 << 31, LAST) == []
        assert index.packs_between(origin, 5, 5) == []
    assert isinstance(index, engine.Index)
    index.exclude(list(rows))
    assert all(index.packs_between(origin, 0, LAST) == [] for origin in _origins(vault))


def _origins(vault):
    from holdfast.repository.packs import read_runs

    return {
        row.origin for _, records in read_runs(vault._vault.repository) for record in records for row in record.segments
    }
