"""The oracle of the round trips: what `capture` sees, that `differences` misses nothing, and that generators repeat."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import replace

import pytest

from holdfast.testing import oddities, trees
from holdfast.testing.changes import ChangingTree, TreeShape
from holdfast.testing.trees import Kind, capture, differences

SMALL = TreeShape(folders=4, files=12, file_bytes_max=5000, paged_bytes=64 * 1024)


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    root = tmp_path_factory.mktemp("odd")
    planted = oddities.plant(root, 7, entries=50)
    tree = capture(root)
    yield root, planted, tree
    trees.empty(root)


def test_every_oddity_is_planted(odd):
    _, planted, tree = odd
    assert {"names", "deep", "sparse", "links", "symlinks", "modes", "fifos", "sockets", "times"} <= set(
        planted.planted
    )
    if os.geteuid() == 0:
        assert "owners" in planted.planted
    assert max(map(len, tree)) > 4096
    assert {item.kind for item in tree.values()} >= {Kind.FILE, Kind.FOLDER, Kind.SYMLINK, Kind.FIFO, Kind.SOCKET}
    assert b"names/new\nline" in tree
    assert b"names/" + b"x" * 255 in tree
    assert tree[b"links/a/first"].links == (b"links/a/first", b"links/a/second", b"links/b/c/third")
    assert tree[b"sparse/huge"].size == oddities.TIB
    assert tree[b"sparse/huge"].data_bytes < 1 << 20
    assert tree[b"times/long-before-1970"].mtime_ns == -1_234_567_890_987_654_321


def test_a_capture_equals_itself(odd):
    root, _, tree = odd
    assert differences(tree, capture(root)) == []
    assert b"sockets/socket" not in trees.storable(tree)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kind", Kind.FIFO),
        ("mode", 0o123),
        ("uid", 77),
        ("gid", 77),
        ("mtime_ns", 5),
        ("xattrs", ((b"user.other", b""),)),
        ("size", 1),
        ("digest", b"other"),
        ("target", b"elsewhere"),
        ("device", 9),
        ("links", (b"a", b"b")),
    ],
)
def test_each_field_is_compared(odd, name, value):
    _, _, tree = odd
    path = b"names/a"
    found = differences(tree, {**tree, path: replace(tree[path], **{name: value})})
    assert [(one.path, one.field) for one in found] == [(path, name)]
    assert name in trees.describe(found)


def test_missing_and_extra_paths_are_found(odd):
    _, _, tree = odd
    less = {path: item for path, item in tree.items() if path != b"names/a"}
    assert [one.field for one in differences(tree, less)] == ["exists"]
    assert [one.field for one in differences(less, tree)] == ["exists"]
    assert len(differences(tree, {}, limit=3)) == 3


def test_a_filled_hole_is_found(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    for name in ("one", "other"):
        with (tmp_path / name / "file").open("wb") as file:
            file.truncate(10 << 20)
    (tmp_path / "other" / "file").write_bytes(bytes(10 << 20))
    for name in ("one/file", "other/file", "one", "other"):
        os.utime(tmp_path / name, ns=(1, 1))
    found = differences(capture(tmp_path / "one"), capture(tmp_path / "other"))
    assert [one.field for one in found] == ["data_bytes"]


def test_below_keeps_what_lies_under_a_folder(odd):
    root, _, tree = odd
    assert differences(trees.below(tree, b"links"), capture(os.path.join(os.fsencode(root), b"links"))) == []
    assert trees.below(tree, b"links/b")[b"c/third"].links == ()
    assert trees.below(tree, b"") == tree


def test_a_file_that_shrinks_under_the_capture_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"content")
    monkeypatch.setattr(os, "pread", lambda *_: b"")
    with pytest.raises(OSError, match="shorter"):
        capture(tmp_path)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_seed_makes_and_changes_the_same_tree(tmp_path, seed):
    captured = []
    for name in ("one", "other"):
        root = tmp_path / name
        root.mkdir()
        tree = ChangingTree(root, seed, SMALL)
        tree.grow()
        steps = [tree.step(6) for _ in range(5)]
        found = capture(root)
        captured.append(
            (steps, {path: (item.kind, item.size, item.digest, item.links) for path, item in found.items()})
        )
    assert captured[0] == captured[1]


def test_every_kind_of_change_is_made_in_the_long_run(tmp_path):
    tree = ChangingTree(tmp_path, 3, SMALL)
    tree.grow()
    done = {name for _ in range(40) for name in tree.step()}
    assert len(done) >= 14
    kinds = {stat.S_IFMT(path.lstat().st_mode) for path in tmp_path.rglob("*")}
    assert {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK} <= kinds


def test_a_refusing_file_system_is_said(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(os, "mknod", refuse)
    monkeypatch.setattr(os, "setxattr", refuse)
    planted = oddities.plant(tmp_path, 1, entries=1, sparse_bytes=1 << 24)
    assert {"devices (EPERM)", "acls (EPERM)", "xattrs (EPERM)"} <= set(planted.refused)
    trees.empty(tmp_path)
    shutil.rmtree(tmp_path)
