"""Volume providers against doubles: what is asked of LVM, ZFS, VSS and EBS, and what happens when they refuse."""

from __future__ import annotations

import pytest

from holdfast import errors
from holdfast.base.environment import ManualClock
from holdfast.sources.programs import Done
from holdfast.sources.volumes import frozen
from holdfast.sources.volumes.ebs import Ebs
from holdfast.sources.volumes.lvm import Lvm
from holdfast.sources.volumes.mounts import Mount, mount_of, mount_read_only, mounts, unmount
from holdfast.sources.volumes.protocol import Prepared, Tag, View, VolumeSnapshot, sweep
from holdfast.sources.volumes.vss import Vss
from holdfast.sources.volumes.zfs import Zfs
from holdfast.testing.volumes import (
    AwsDouble,
    DiskshadowDouble,
    LvmDouble,
    ProgramDouble,
    UnknownCallError,
    VolumeSuite,
    ZfsDouble,
)

ENV = ManualClock().environment()
TAG = Tag("0" * 32, 1_800_000_000)
MOUNTS = (
    Mount(b"/", "ext4", "/dev/sda"),
    Mount(b"/srv/thin", "xfs", "/dev/vg/data"),
    Mount(b"/srv/thick", "ext4", "/dev/vg/plain"),
)


class TestLvm(VolumeSuite):
    @pytest.fixture
    def double(self):
        return LvmDouble()

    @pytest.fixture
    def provider(self, double, tmp_path):
        return Lvm(str(tmp_path / "mounted").encode(), programs=double, env=ENV, among=MOUNTS)

    @pytest.fixture
    def targets(self):
        return [b"/srv/thin/db"]

    def test_a_thin_snapshot_takes_no_size_and_a_thick_one_a_fifth(self, provider, double):
        provider.create(provider.prepare([b"/srv/thin"]), TAG)
        provider.delete(provider.tagged()[0])
        provider.create(provider.prepare([b"/srv/thick"]), TAG)
        made = [call for call in double.calls if call[0] == "lvcreate"]
        assert made == [
            ("lvcreate", "-s", "-n", str(TAG), "--addtag", str(TAG), "vg/data"),
            ("lvcreate", "-s", "-n", str(TAG), "-l", "20%ORIGIN", "--addtag", str(TAG), "vg/plain"),
        ]

    def test_a_full_pool_gets_no_snapshot(self, provider, double):
        double.used_percent = 81.0
        with pytest.raises(errors.VolumeBusyError, match="81 % full"):
            provider.prepare([b"/srv/thin"])

    def test_it_is_mounted_read_only_once_as_its_file_system_needs(self, provider, double, targets, tmp_path):
        snapshot = self.make(provider, targets)
        place = str(tmp_path / "mounted" / str(snapshot.tag)).encode()
        assert provider.views(snapshot) == provider.views(snapshot) == (View(b"/srv/thin/db", place + b"/db"),)
        mounted = [call for call in double.calls if call[0] == "mount"]
        assert [call[4] for call in mounted] == ["ro,nouuid,norecovery"]

    def test_several_file_systems_are_no_one_instant(self, provider):
        with pytest.raises(errors.VolumeUnsuitableError, match="one instant"):
            provider.prepare([b"/srv/thin", b"/srv/thick"])

    def test_only_its_own_are_ever_removed(self, provider, double):
        with pytest.raises(errors.VolumeUnsuitableError):
            provider.delete(VolumeSnapshot("lvm", ("vg/data",), TAG))
        assert "vg/data" in double.volumes

    def test_a_program_that_fails_or_hangs_is_said(self, provider, double):
        double.failing["lvs"] = Done(-9, timed_out=True)
        with pytest.raises(errors.VolumeSnapshotError, match="time-out"):
            provider.prepare([b"/srv/thin"])
        double.failing["lvs"] = Done(0, b"no json")
        with pytest.raises(errors.VolumeSnapshotError, match="no report"):
            provider.tagged()

    def test_a_leak_that_does_not_go_is_counted(self, provider, double, targets):
        self.make(provider, targets)
        double.failing["lvremove"] = Done(5)
        swept = sweep(provider, ENV, lambda _owner: False)
        assert (swept.removed, swept.failed, swept.reasons) == (0, 1, ("lvremove ended with 5",))


class TestZfs(VolumeSuite):
    @pytest.fixture
    def double(self):
        return ZfsDouble(datasets={"tank": "/tank", "tank/db": "/srv/db", "tank/db/log": "/srv/db/log", "zoo": "/zoo"})

    @pytest.fixture
    def provider(self, double):
        return Zfs(programs=double, env=ENV)

    @pytest.fixture
    def targets(self):
        return [b"/srv/db"]

    def test_nested_datasets_are_caught_at_the_same_instant_and_shown(self, provider, double, targets):
        snapshot = self.make(provider, targets)
        inside = f"/.zfs/snapshot/{snapshot.tag}".encode()
        assert provider.views(snapshot) == (
            View(b"/srv/db", b"/srv/db" + inside),
            View(b"/srv/db/log", b"/srv/db/log" + inside),
        )
        assert double.snapshots == [f"tank/db@{snapshot.tag}", f"tank/db/log@{snapshot.tag}"]

    def test_datasets_of_two_pools_share_no_instant(self, provider):
        with pytest.raises(errors.VolumeUnsuitableError, match="common"):
            provider.prepare([b"/srv/db", b"/zoo"])

    def test_a_full_pool_and_a_busy_snapshot_are_told_apart_from_other_failures(self, provider, double, targets):
        double.failing["snapshot"] = Done(1, err=b"cannot create snapshot: out of space")
        with pytest.raises(errors.VolumeBusyError):
            self.make(provider, targets)
        double.failing["snapshot"] = Done(1, err=b"permission denied")
        with pytest.raises(errors.VolumeSnapshotError, match="ended with 1"):
            self.make(provider, targets)

    def test_only_its_own_are_ever_destroyed(self, provider, double):
        double.snapshots.append("tank@nightly")
        with pytest.raises(errors.VolumeUnsuitableError):
            provider.delete(VolumeSnapshot("zfs", ("tank@nightly",), TAG))
        assert provider.tagged() == ()
        for method in (provider.views, provider.clone):
            with pytest.raises(errors.VolumeUnsuitableError):
                method(VolumeSnapshot("zfs", ("tank@x",), TAG))


class TestEbs(VolumeSuite):
    @pytest.fixture
    def double(self):
        return AwsDouble()

    @pytest.fixture
    def provider(self, double):
        return Ebs("i-1", programs=double, env=ENV)

    @pytest.fixture
    def targets(self):
        return [b"/srv/db"]

    def test_a_place_without_a_volume_is_refused_before_anything_is_made(self, provider):
        provider._programs.disks = ()
        with pytest.raises(errors.VolumeUnsuitableError):
            provider.prepare([b"/proc/none"])

    def test_all_disks_but_the_first_are_caught_at_once_and_tagged_while_made(self, provider, double, targets):
        snapshot = self.make(provider, targets)
        assert len(snapshot.ids) == 2
        call = next(call for call in double.calls if call[2] == "create-snapshots")
        assert "InstanceId=i-1,ExcludeBootVolume=true" in call
        assert f"ResourceType=snapshot,Tags=[{{Key=holdfast,Value={snapshot.tag}}}]" in call
        with pytest.raises(errors.VolumeUnsuitableError, match="additional copy"):
            provider.views(snapshot)

    def test_the_service_s_limits_are_worth_another_try(self, provider, double, targets):
        double.rate_limited = True
        with pytest.raises(errors.VolumeBusyError) as raised:
            self.make(provider, targets)
        assert raised.value.retry is errors.Retry.LATER

    def test_an_answer_that_is_none_is_no_snapshot(self, provider, double, targets):
        for answer in (Done(0, b"<html>"), Done(0, b"{}"), Done(-9, timed_out=True)):
            double.failing["create-snapshots"] = answer
            with pytest.raises(errors.VolumeSnapshotError):
                self.make(provider, targets)


class TestVss(VolumeSuite):
    @pytest.fixture
    def double(self):
        return DiskshadowDouble()

    @pytest.fixture
    def provider(self, double):
        return Vss(("ssh", "backup@host"), "C:\\holdfast", programs=double, env=ENV)

    @pytest.fixture
    def targets(self):
        return [b"C:\\sql\\data", b"D:\\log"]

    def test_the_copies_are_exposed_where_the_host_can_share_them(self, provider, targets):
        snapshot = self.make(provider, targets)
        assert provider.views(snapshot)[1] == View(b"D:\\log", f"C:\\holdfast\\{snapshot.tag}-D\\log".encode())

    def test_a_writer_that_failed_a_full_storage_and_a_late_freeze_are_said(self, provider, double, targets):
        double.writers["SqlServerWriter"] = "Failed"
        with pytest.raises(errors.VolumeBusyError, match="1 of 2"):
            provider.prepare(targets)
        double.writers.clear()
        double.storage_full = True
        with pytest.raises(errors.VolumeBusyError):
            self.make(provider, targets)
        double.storage_full, double.freeze_seconds = False, 61.0
        with pytest.raises(errors.VolumeSnapshotError):
            self.make(provider, targets)

    def test_a_set_with_a_copy_missing_is_no_snapshot(self, provider, double, targets):
        prepared = provider.prepare(targets)
        double.failing["diskshadow"] = Done(0, b"Shadow copy ID = {00000000-0000-0000-0000-000000000000}")
        with pytest.raises(errors.VolumeSnapshotError, match="1 shadow copies of 2"):
            provider.create(prepared, TAG)


def test_doubles_refuse_what_they_do_not_know():
    for double, command in (
        (LvmDouble(), ["lvrename", "a"]),
        (ZfsDouble(), ["zfs", "rollback"]),
        (AwsDouble(), ["aws", "s3"]),
        (DiskshadowDouble(), ["diskshadow"]),
    ):
        with pytest.raises(UnknownCallError):
            double.run(command, timeout=1)
    with pytest.raises(UnknownCallError):
        DiskshadowDouble().run(["diskshadow"], timeout=1, stdin=b"revert c:\r\nexit\r\n")


def test_tags_are_found_in_names_and_nothing_else_is_a_tag():
    assert Tag.find(f"vg/{TAG}") == TAG
    assert Tag.find("holdfast-nightly") is None


MOUNTINFO = rb"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 /@ /srv/a\040b rw,noatime shared:5 master:2 - btrfs /dev/sdb rw,subvol=/@
31 30 0:41 / /srv/a\040b/in rw - xfs /dev/loop1 rw
"""


def test_the_kernel_s_list_of_mounts_is_read_with_its_escapes():
    found = mounts(MOUNTINFO)
    assert found[1] == Mount(b"/srv/a b", "btrfs", "/dev/sdb")
    assert mount_of(b"/srv/a b/in/x", found) == found[2]
    assert mount_of(b"/srv/a bc", found) == found[0]
    assert mount_of(b"/x", ()) is None


class MountDouble(ProgramDouble):
    def answer(self, words, stdin):
        return Done(32)


def test_a_mount_that_fails_leaves_no_folder(tmp_path):
    place = str(tmp_path / "m").encode()
    with pytest.raises(errors.VolumeSnapshotError, match="32"):
        mount_read_only(MountDouble(), "/dev/none", "ext4", place)
    assert not (tmp_path / "m").exists()
    unmount(MountDouble(), place)
    with pytest.raises(errors.VolumeSnapshotError, match="in use"):
        unmount(MountDouble(), b"/proc")


class FrozenDouble:
    """The kernel's view of frozen file systems."""

    def __init__(self, monkeypatch):
        self.state: dict[bytes, bool] = {}
        self.broken: set[bytes] = set()
        monkeypatch.setattr(frozen, "freeze", self.freeze)
        monkeypatch.setattr(frozen, "thaw", self.thaw)

    def freeze(self, place):
        if self.state.get(place):
            raise errors.FrozenElsewhereError("frozen already")
        self.state[place] = True

    def thaw(self, place):
        if place in self.broken:
            raise errors.VolumeSnapshotError("cannot thaw")
        return self.state.pop(place, False)


class Armed:
    """A guard that remembers."""

    def __init__(self):
        self.log: list[object] = []

    def __call__(self, places):
        self.log.append(places)
        return self

    def __enter__(self):
        self.log.append("armed")

    def __exit__(self, *_):
        self.log.append("disarmed")


def frozen_pair(monkeypatch):
    kernel, guard, double = FrozenDouble(monkeypatch), Armed(), ZfsDouble()
    inner = Zfs(programs=double, env=ENV)
    return kernel, guard, double, frozen.FrozenFileSystems(inner, guard, env=ENV)


PREPARED = Prepared(
    "frozen+zfs", (b"/srv/db",), ("tank/db",), (("tank/db", "/srv/db"), ("freeze", "/a"), ("freeze", "/b"))
)


def test_file_systems_are_frozen_under_the_guard_and_thawed_whatever_happens(monkeypatch):
    kernel, guard, double, provider = frozen_pair(monkeypatch)
    provider.create(PREPARED, TAG)
    assert guard.log == [(b"/a", b"/b"), "armed", "disarmed"]
    assert not kernel.state
    double.failing["snapshot"] = Done(1)
    with pytest.raises(errors.VolumeSnapshotError):
        provider.create(PREPARED, TAG)
    assert not kernel.state
    kernel.state[b"/b"] = True
    with pytest.raises(errors.FrozenElsewhereError):
        provider.create(PREPARED, TAG)
    assert kernel.state == {b"/b": True}, "what somebody else froze is not thawed; what this run froze is"


def test_one_file_system_that_does_not_thaw_keeps_no_other_frozen(monkeypatch):
    kernel, _guard, _double, provider = frozen_pair(monkeypatch)
    kernel.broken.add(b"/b")
    with pytest.raises(errors.VolumeSnapshotError, match="cannot thaw"):
        provider.create(PREPARED, TAG)
    assert kernel.state == {b"/b": True}


def test_a_snapshot_during_which_somebody_thawed_is_discarded(monkeypatch):
    kernel, _guard, double, provider = frozen_pair(monkeypatch)
    plain = double.answer

    def early(words, stdin):
        kernel.state.clear()
        return plain(words, stdin)

    double.answer = early
    with pytest.raises(errors.FrozenElsewhereError, match="before the snapshot was complete"):
        provider.create(PREPARED, TAG)
    assert double.snapshots == []
