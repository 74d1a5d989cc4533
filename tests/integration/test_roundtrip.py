"""A tree with every oddity of a file system comes back, by the engine and by the rescue reader, in content and metadata."""

from __future__ import annotations

import os

import pytest
from tests.rounds import assert_same

from holdfast.testing import oddities, trees
from holdfast.testing.trees import Kind


@pytest.fixture
def backed_up(place):
    vault = place.create()
    planted = oddities.plant(place.source, 11)
    truth = place.truth()
    result = place.backup(vault)
    yield place, vault, planted, truth, result
    vault.close()


def test_every_oddity_comes_back(backed_up):
    place, vault, planted, truth, result = backed_up
    assert not result.partial
    sockets = [path for path, item in trees.capture(place.source).items() if item.kind is Kind.SOCKET]
    assert [(one.kind, one.path.rpartition(b"source/")[2]) for one in result.findings] == [
        ("socket-skipped", path) for path in sockets
    ]
    assert_same(truth, place.by_engine(vault, "latest"), f"engine, refused here: {planted.refused}")
    assert_same(truth, place.by_rescue("latest"), "rescue reader")
    assert vault.check().problems == ()
    assert vault.verify().sound


def test_nothing_changed_stores_nothing(backed_up):
    place, vault, _, truth, first = backed_up
    second = place.backup(vault)
    assert (second.stats.new, second.stats.removed, second.stats.new_bytes) == (0, 0, 0)
    assert second.stats.changed <= len(place.source.parents), "folders above the source may have changed, nothing else"
    assert second.stats.files == first.stats.files
    assert second.stats.stored_bytes < 64 * 1024
    place.forget_local_state()
    with place.open() as fresh:
        third = place.backup(fresh)
        assert third.stats.new_bytes == 0
        assert_same(truth, place.by_engine(fresh, "latest"), "after the local state was lost")


def test_the_source_is_not_touched(backed_up):
    place, _, _, truth, _ = backed_up
    assert_same(truth, place.truth(), "the source after a backup")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_a_finding_and_the_run_is_partial(place):
    with place.create() as vault:
        (place.source / "readable").write_bytes(b"content")
        (place.source / "secret").write_bytes(b"content")
        (place.source / "secret").chmod(0)
        result = place.backup(vault)
        assert result.partial
        assert [one.kind for one in result.findings] == ["unreadable"]


def test_parts_come_back_alone(backed_up):
    place, vault, _, truth, _ = backed_up
    target = place.target()
    wanted = os.fsencode(place.source) + b"/links"
    result = vault.snapshot("latest").restore(target, include=[wanted])
    assert result.exit_code == 0
    assert_same(trees.below(truth, b"links"), trees.below(place.restored(target), b"links"), "one folder")


def test_one_file_is_read_back_by_its_path(backed_up, tmp_path):
    place, vault, _, _, _ = backed_up
    with (tmp_path / "out").open("w+b") as out:
        written = vault.snapshot("latest").read(place.source / "sizes" / "large", out.fileno())
    assert written == 9 * 1024 * 1024 + 7
    assert (tmp_path / "out").read_bytes() == (place.source / "sizes" / "large").read_bytes()
