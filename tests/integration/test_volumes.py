"""Volume snapshots on real file systems: btrfs snapshots, and XFS and ext4 held still around a snapshot of the storage below."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import threading
import time

import pytest

from holdfast import errors
from holdfast.base.environment import ManualClock, system
from holdfast.sources.connectors.protocol import Budgets, Connection, Member, Verdict
from holdfast.sources.connectors.volume import FACTORY
from holdfast.sources.consistency import consistent
from holdfast.sources.volumes import frozen
from holdfast.sources.volumes.btrfs import Btrfs
from holdfast.sources.volumes.frozen import freeze, is_frozen, thaw
from holdfast.sources.volumes.protocol import Tag
from holdfast.testing.connectors import ConnectorSuite
from holdfast.testing.volumes import VolumeSuite
from servers import loops

ENV = ManualClock().environment()
needs_root = pytest.mark.skipif(not loops.possible(), reason="only root mounts file systems")
pytestmark = needs_root


@pytest.fixture(scope="module")
def btrfs(tmp_path_factory):
    root = tmp_path_factory.mktemp("btrfs")
    with loops.mounted("btrfs", root / "image", root / "fs", mib=2500) as place:
        yield place


@pytest.fixture
def subvolume(btrfs, tmp_path):
    place = btrfs / tmp_path.name
    loops.run("btrfs", "subvolume", "create", str(place))
    (place / "db").mkdir()
    (place / "db" / "file").write_bytes(b"before")
    yield place
    for each in (*place.glob(".holdfast-snapshots/*"), *place.rglob("nested"), place):
        subprocess.run(["btrfs", "subvolume", "delete", str(each)], capture_output=True, timeout=60, check=False)


class TestBtrfs(VolumeSuite):
    @pytest.fixture
    def provider(self, subvolume):
        return Btrfs([os.fsencode(subvolume)])

    @pytest.fixture
    def targets(self, subvolume):
        return [os.fsencode(subvolume / "db")]

    def test_a_snapshot_shows_what_was_and_a_clone_can_be_written(self, provider, targets, subvolume):
        snapshot = self.make(provider, targets)
        (subvolume / "db" / "file").write_bytes(b"after")
        (view,) = provider.views(snapshot)
        with open(os.path.join(view.path, b"file"), "rb") as file:
            assert file.read() == b"before"
        with pytest.raises(OSError, match="Read-only"):
            os.mkdir(os.path.join(view.path, b"new"))
        (clone,) = provider.clone(snapshot)
        with open(os.path.join(clone.path, b"file"), "wb") as file:
            file.write(b"drill")
        assert provider.clone(snapshot) == (clone,)
        assert (subvolume / "db" / "file").read_bytes() == b"after"
        provider.delete(snapshot)
        assert not os.path.exists(view.path)

    def test_several_and_nested_subvolumes_are_refused(self, provider, subvolume, btrfs):
        other = btrfs / f"{subvolume.name}-other"
        loops.run("btrfs", "subvolume", "create", str(other))
        with pytest.raises(errors.VolumeUnsuitableError, match="2 btrfs subvolumes"):
            provider.prepare([os.fsencode(subvolume), os.fsencode(other)])
        loops.run("btrfs", "subvolume", "create", str(subvolume / "db" / "nested"))
        with pytest.raises(errors.VolumeUnsuitableError, match="1 nested"):
            provider.prepare([os.fsencode(subvolume / "db")])

    def test_what_btrfs_refuses_is_said(self, provider, targets, monkeypatch):
        prepared = provider.prepare(targets)
        tag = Tag.of(ENV, 1)
        made = provider.create(prepared, tag)
        with pytest.raises(errors.VolumeSnapshotError, match="made no snapshot"):
            provider.create(prepared, tag)
        folder = os.path.dirname(os.fsencode(made.ids[0]))
        loops.run("btrfs", "property", "set", os.fsdecode(os.path.dirname(folder)), "ro", "true")
        with pytest.raises(errors.VolumeSnapshotError, match="did not delete"):
            provider.delete(made)
        loops.run("btrfs", "property", "set", os.fsdecode(os.path.dirname(folder)), "ro", "false")
        provider.delete(made)


class Writer:
    """Appends numbered, synchronised records until stopped, and knows which were acknowledged."""

    def __init__(self, path):
        self.path, self.acknowledged, self._stop = path, 0, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        with open(self.path, "ab", buffering=0) as file:
            while not self._stop.is_set():
                file.write(b"%015d\n" % (self.acknowledged + 1))
                os.fsync(file.fileno())
                self.acknowledged += 1

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.fixture
def stacked(request, subvolume, tmp_path):
    """A file system whose image lies on btrfs, which snapshots the storage below it."""
    image, kind = subvolume / "image", getattr(request, "param", "xfs")
    with loops.mounted(kind, image, tmp_path / "fs") as place:
        (place / "log").touch()
        yield kind, image, place


def connection(image, place):
    options = {"volume": "btrfs", "freeze": "yes", "storage": str(image)}
    return Connection(f"files-{place.parent.name}"[:60], path=str(place / "log"), options=options)


@pytest.mark.parametrize("stacked", ["xfs", "ext4"], indirect=True)
def test_a_file_system_is_held_still_while_the_storage_below_is_snapshot(stacked, tmp_path):
    """What the snapshot of the image holds mounts without a repair, and has every record acknowledged before."""
    kind, image, place = stacked
    connector = FACTORY.make(connection(image, place), system())
    budgets = Budgets(acquire_seconds=10, hold_seconds=10)
    with Writer(place / "log") as writer:
        while writer.acknowledged < 20:
            time.sleep(0.01)
        before = writer.acknowledged
        with consistent([Member(connector, budgets)], env=system(), folder=tmp_path / "watchdog") as group:
            mark = writer.acknowledged
            while writer.acknowledged < mark + 20:
                time.sleep(0.01)
            (shown,) = group.captures[0].paths
            (tmp_path / "copy").mkdir()
            options = {"xfs": "loop,ro,nouuid,norecovery", "ext4": "loop,ro,noload"}[kind]
            loops.run("mount", "-o", options, os.fsdecode(shown), str(tmp_path / "copy"))
            try:
                records = (tmp_path / "copy" / "log").read_bytes().split(b"\n")[:-1]
            finally:
                loops.run("umount", str(tmp_path / "copy"))
            (end,) = group.conclude()
    assert [int(each) for each in records] == list(range(1, len(records) + 1))
    assert before <= len(records) <= mark + 1
    assert end.evidence.verdict is Verdict.CRASH
    assert end.evidence.attempts[-1].hold_ms > 0
    assert not os.path.exists(shown)
    assert Btrfs([os.fsencode(image.parent)]).tagged() == ()


class TestVolumeConnector(ConnectorSuite):
    """The watchdog thaws a file system whose freezer was killed or stopped at any step."""

    verdict = Verdict.CRASH

    @pytest.fixture
    def make(self, stacked):
        _kind, image, place = stacked
        self.place = os.fsencode(place)
        return lambda: FACTORY.make(connection(image, place), system())

    def frozen(self, make):
        return is_frozen(self.place)


def test_a_frozen_file_system_outlives_who_froze_it_and_is_not_frozen_twice(tmp_path):
    with loops.mounted("xfs", tmp_path / "image", tmp_path / "fs") as place:
        raw = os.fsencode(place)
        assert thaw(raw) is False
        code = f"from holdfast.sources.volumes.frozen import freeze; freeze({raw!r})"
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
        with pytest.raises(errors.FrozenElsewhereError):
            freeze(raw)
        assert thaw(raw) is True
        (place / "file").write_bytes(random.Random(1).randbytes(100))


def test_file_systems_that_cannot_be_frozen_are_refused():
    with pytest.raises(errors.VolumeSnapshotError, match="could not be frozen"):
        freeze(b"/proc")


def test_a_kernel_that_fails_to_thaw_is_said(monkeypatch):
    def broken(*_arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(frozen, "ioctl", broken)
    with pytest.raises(errors.VolumeSnapshotError, match="could not be thawed"):
        thaw(b"/proc")
