"""The catalog answers as a plain model does, whatever was backed up, forgotten, missing or killed; damage is never believed."""

import os
import random
import signal
import stat
import subprocess
import sys
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.base.patterns import matcher
from holdfast.catalog import Catalog, VaultFeed
from holdfast.errors import LocalStateError, PathMissingError, SnapshotMissingError, UsageError
from unit import catalog_model as model

VAULT = "ab" * 16
NAMES = [
    b"",
    b"a",
    b"a/b",
    b"a/b/c.hl7",
    b"a/b.hl7",
    b"a.hl7",
    b"z\xff\xfe",
    b"a/\xc3\xa9t\xc3\xa9",
    b"[x]",
    b"q/r/s/t.HL7",
]
PATTERNS = [
    "*",
    "*.hl7",
    "c.hl7",
    "?",
    "a*7",
    "[ab]",
    "[!a]*",
    "*t*",
    "a/*",
    "a/**",
    "**/c.hl7",
    "a/b/c.hl7",
    "é*",
    "*é",
    "q/**.HL7",
    "[[]x]",
    "/a/b*",
]


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "catalog.sqlite")


entries = st.tuples(st.integers(1, 4), st.integers(0, 3), st.integers(-2, 2), st.integers(0, 1))
trees = st.dictionaries(st.sampled_from(NAMES), entries, max_size=8)
classes = st.dictionaries(st.sampled_from([1, 2, 70]), st.one_of(trees, trees, st.none()), max_size=3)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("sst"), classes),
        st.tuples(st.just("forget"), st.integers(0, 9)),
        st.tuples(st.just("update")),
        st.tuples(st.just("damage"), st.integers(0, 9), st.sampled_from([1, 2, 70])),
    ),
    min_size=1,
    max_size=12,
)  # fmt: skip


def folders_only_shared(classes):
    """A path lies in one class, unless it is a folder: move what breaks that to the first class that has it."""
    seen = set()
    for tree in classes.values():
        for entry in list(tree or {}):
            if entry in seen and tree[entry][0] != 2:
                del tree[entry]
            elif entry in seen:
                tree[entry] = (2, 0, 0, 0)
        seen |= set(tree or {})
    for tree in classes.values():
        for entry in tree or {}:
            if sum(entry in (other or {}) for other in classes.values()) > 1:
                tree[entry] = (2, 0, 0, 0)
    return classes


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps, marks=st.booleans())
def test_answers_as_the_model_does(tmp_path_factory, steps, marks):
    path = str(tmp_path_factory.mktemp("catalog") / "c.sqlite")
    feed = model.ModelFeed()
    feed.marks = marks
    taken = {}
    with Catalog.open(path, VAULT) as catalog:
        for step in [*steps, ("update",)]:
            if step[0] == "add":
                feed.add(folders_only_shared({k: v and dict(v) for k, v in step[2].items()}), step[1])
            elif step[0] == "forget" and step[1] < len(feed.all):
                feed.all[step[1]] = None
            elif step[0] == "damage" and step[1] < len(feed.all) and f"{step[1]:032x}" not in taken:
                feed.damaged.add(f"{step[1]:032x}:{step[2]}")
            elif step[0] == "update":
                catalog.update_from(feed)
                for snapshot in feed.snapshots():
                    for class_id in snapshot.trees:
                        if f"{snapshot.id}:{class_id}" in feed.damaged and snapshot.id not in taken:
                            snapshot.trees[class_id] = None
                    taken[snapshot.id] = True
        compare(catalog, feed, marks=marks)
        compare(Catalog.open(path, VAULT), feed, marks=marks)
        feed.damaged.clear()
        catalog.update_from(feed, rebuild=True)
        compare(catalog, feed, marks=marks)


def compare(catalog, feed, *, marks):
    known = sorted(feed.snapshots(), key=lambda s: (s.finished, s.id))
    assert [row.id for row in catalog.snapshots()] == [snapshot.id for snapshot in known]
    for snapshot in known:
        compare_snapshot(catalog, snapshot)
    for name in NAMES:
        compare_path(catalog, known, name)
    for before in known:
        for after in known:
            expected = model.changes(before, after) if before.source == after.source else None
            if (
                before.source == after.source
                and (wanted := list(expected or []))
                and marks
                and everything_known(before, after)
            ):
                assert list(catalog.changes(before.id, after.id)) == wanted
    for pattern in PATTERNS:
        compare_find(catalog, known, pattern)


def everything_known(before, after):
    return all(tree is not None for side in (before, after) for tree in side.trees.values())


def compare_snapshot(catalog, snapshot):
    view = model.view(snapshot)
    for name in NAMES:
        assert catalog.lookup(snapshot.id, name) == view.get(name)
    for folder in (b"", b"a", b"a/b", b"q", b"q/r/s"):
        children = [view[p] for p in sorted(view) if p and (p.rpartition(b"/")[0]) == folder]
        if children or folder in view:
            assert list(catalog.list(snapshot.id, folder)) == children
        else:
            with pytest.raises(PathMissingError):
                catalog.list(snapshot.id, folder)


def compare_path(catalog, known, name):
    having = {}
    for snapshot in known:
        for class_id, tree in snapshot.trees.items():
            if tree and name in tree:
                having[snapshot.id, class_id] = tree[name]
    found = catalog.versions(name)
    assert sum(version.snapshots for version in found) == len(having)
    for version in found:
        kind, size, mtime, _ = having[version.first, version.class_id]
        assert (version.size, version.mtime_ns) == (size, mtime) == having[version.last, version.class_id][1:3]
        assert model.KIND_NAMES[kind] == version.kind
    for moment in {snapshot.finished for snapshot in known} | {model.START - timedelta(1)}:
        newest = [s for s in known if s.finished <= moment and name in model.view(s)]
        answer = catalog.before(name, moment)
        assert (answer is None) == (not newest)
        if answer:
            assert answer[0].finished == max(s.finished for s in newest)


def compare_find(catalog, known, pattern):
    matches = matcher(pattern)
    everywhere = {p for s in known for tree in s.trees.values() for p in tree or {} if matches(p)}
    assert {version.path for version in catalog.find(pattern)} == everywhere
    for snapshot in known[:2]:
        there = {p for p in model.view(snapshot) if matches(p)}
        assert {version.path for version in catalog.find(pattern, snapshot.id)} == there


def some_feed(snapshots=3, files=40):
    feed, randomness = model.ModelFeed(), random.Random(5)
    tree = {b"f%d/n%d" % (n % 7, n): (1, n, n, n) for n in range(files)}
    for _ in range(snapshots):
        feed.add({1: dict(tree)})
        tree[randomness.choice(sorted(tree))] = (1, 5, randomness.getrandbits(40), randomness.getrandbits(40))
        tree.pop(randomness.choice(sorted(tree)))
    return feed


def test_an_update_is_idempotent_and_private(path):
    feed = some_feed()
    with Catalog.open(path, VAULT) as catalog:
        assert catalog.stale
        first = catalog.update_from(feed)
        assert (first.added, first.rebuilt, first.missing) == (3, True, 0)
        again = catalog.update_from(feed)
        assert (again.added, again.forgotten, again.rows, again.rebuilt) == (0, 0, 0, False)
    for name in os.listdir(os.path.dirname(path)):
        assert stat.S_IMODE(os.stat(os.path.join(os.path.dirname(path), name)).st_mode) == 0o600, name


def test_a_stale_catalog_refuses_every_question(path):
    with Catalog.open(path, VAULT) as catalog:
        for ask in (
            catalog.snapshots,
            lambda: catalog.list("x", b""),
            lambda: catalog.lookup("x", b""),
            lambda: list(catalog.find("*")),
            lambda: catalog.versions(b"a"),
            lambda: list(catalog.changes("x", "y")),
            lambda: catalog.before(b"a", model.START),
        ):
            with pytest.raises(LocalStateError, match="catalog rebuild"):
                ask()


def test_a_flipped_bit_anywhere_makes_it_stale_and_an_update_heals_it(path):
    feed, randomness = some_feed(), random.Random(3)
    with Catalog.open(path, VAULT) as catalog:
        catalog.update_from(feed)
    for _ in range(40):
        with open(path, "r+b") as stream:
            stream.seek(randomness.randrange(os.path.getsize(path)))
            byte = stream.read(1)
            stream.seek(-1, os.SEEK_CUR)
            stream.write(bytes([byte[0] ^ 1 << randomness.randrange(8)]))
        with Catalog.open(path, VAULT) as catalog:
            assert catalog.stale
            assert catalog.update_from(feed).rebuilt
            compare(catalog, feed, marks=True)


@pytest.mark.parametrize("harm", ["truncate", "nosum", "emptysum", "empty", "other vault"])
def test_other_harm_is_noticed(path, harm):
    feed = some_feed()
    with Catalog.open(path, VAULT) as catalog:
        catalog.update_from(feed)
    if harm == "truncate":
        os.truncate(path, os.path.getsize(path) - 8192)
    elif harm == "nosum":
        os.unlink(path + "-sum")
    elif harm == "emptysum":
        os.truncate(path + "-sum", 0)
    elif harm == "empty":
        os.truncate(path, 0)
    vault = "cd" * 16 if harm == "other vault" else VAULT
    with Catalog.open(path, vault) as catalog:
        assert catalog.stale
        assert catalog.update_from(feed).rebuilt
        assert not catalog.stale


def test_a_reader_sees_what_another_process_took_in(path):
    feed = some_feed()
    with Catalog.open(path, VAULT) as writer, Catalog.open(path, VAULT) as reader:
        writer.update_from(feed)
        reader.update_from(feed)
        new = feed.add({1: {b"new": (1, 1, 1, 1)}})
        writer.update_from(feed)
        assert reader.lookup(new.id, b"new") is not None
        feed.all[0] = None
        writer.update_from(feed)
        with pytest.raises(SnapshotMissingError):
            reader.list("0" * 32, b"")


def test_it_refuses_what_it_cannot_answer(path):
    feed = some_feed()
    other = feed.add({1: {}}, source="t")
    with Catalog.open(path, VAULT) as catalog:
        catalog.update_from(feed)
        with pytest.raises(UsageError):
            list(catalog.changes(feed.all[0].id, other.id))
        with pytest.raises(SnapshotMissingError):
            catalog.list("f" * 32, b"")
        with pytest.raises(PathMissingError):
            catalog.list(other.id, b"nothing")


def test_extreme_numbers_are_held(path):
    feed = model.ModelFeed()
    new = feed.add({1: {b"far": (1, 2**63 - 1, -(2**70), -(2**63)), b"near": (1, 0, 2**70, None)}})
    with Catalog.open(path, VAULT) as catalog:
        catalog.update_from(feed)
        assert catalog.lookup(new.id, b"far").size == 2**63 - 1
        assert catalog.lookup(new.id, b"near").mtime_ns == 2**63 - 1


def test_an_unwritable_place_is_said(tmp_path):
    with pytest.raises(LocalStateError), Catalog.open(str(tmp_path / "missing" / "c"), VAULT) as catalog:
        catalog.update_from(some_feed())


CHILD = """
import sys
sys.path[:0] = {paths!r}
from unit.test_catalog import some_feed, VAULT
from holdfast.catalog import Catalog
feed = some_feed(30, 4000)
feed.batch = 500
print("ready", flush=True)
while True:
    with Catalog.open({path!r}, VAULT) as catalog:
        everything, feed.all = feed.all, feed.all[:10]
        catalog.update_from(feed, rebuild=True)
        feed.all = everything
        catalog.update_from(feed)
"""


def test_a_killed_writer_leaves_nothing_wrong(path):
    """Whatever a kill interrupts, the catalog is right or stale, and the next update makes it right."""
    paths = [entry for entry in sys.path if entry] + [os.path.join(os.path.dirname(__file__), "..")]
    code, feed = CHILD.format(paths=paths, path=path), some_feed(30, 4000)
    randomness, stale = random.Random(9), 0
    for _ in range(8):
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        child.stdout.readline()
        time.sleep(randomness.random() * 0.7)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        with Catalog.open(path, VAULT) as catalog:
            stale += catalog.stale
            if not catalog.stale:
                for row in catalog.snapshots():
                    snapshot = next(s for s in feed.all if s.id == row.id)
                    assert {v.path for v in catalog.find("*", row.id)} == set(model.view(snapshot))
            catalog.update_from(feed)
            assert len(catalog.snapshots()) == 30
            last = feed.all[-1]
            assert {v.path for v in catalog.find("*", last.id)} == set(model.view(last))


def test_the_engines_entries_become_rows():
    """A reader without the fast path is walked entry by entry."""
    pytest.importorskip("holdfast._core", reason="the engine is not built")
    entry = SimpleNamespace(path=b"a/b", kind="file", size=3, mtime_ns=4)
    gone = SimpleNamespace(path=b"a/c", after=None)
    tree = SimpleNamespace(
        walk=lambda _: iter([entry]), diff=lambda _: iter([gone, SimpleNamespace(path=b"a/b", after=entry)])
    )
    snapshot = SimpleNamespace(id="1", classes=())
    repository = SimpleNamespace(
        snapshots=lambda: [snapshot], can_read=lambda c: c == 1, part=lambda *_: SimpleNamespace(root="r")
    )
    feed = VaultFeed(repository, SimpleNamespace(tree=lambda _: tree))
    row = (b"a", b"b", 1, 3, 4, None)
    assert list(feed.snapshots()) == [snapshot]
    assert (feed.root(snapshot, 1), feed.root(snapshot, 2)) == ("r", None)
    assert list(feed.rows("r", None)) == [([row], [])]
    assert list(feed.rows("r", "q")) == [([row], [(b"a", b"c")])]
    fast = SimpleNamespace(catalog_rows=lambda base, batch: iter([([(base, batch)], [])]))
    assert list(VaultFeed(repository, SimpleNamespace(tree=lambda _: fast)).rows("r", None)) == [([(None, 8192)], [])]
