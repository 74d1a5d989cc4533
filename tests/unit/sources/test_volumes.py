"""Volume providers against doubles: what is asked of LVM, ZFS, VSS and EBS, and what happens when they refuse."""

from __future__ import annotations

import pytest

from holdfast import errors
from holdfast.base.environment import ManualClock
from holdfast.sources.connectors.protocol import Connection, Verdict
from holdfast.sources.connectors.volume import VolumeConnector, VolumeFactory
from holdfast.sources.programs import Done
from holdfast.sources.volumes import frozen
from holdfast.sources.volumes.choose import VOLUME_OPTIONS, provider_of
from holdfast.sources.volumes.ebs import Ebs
from holdfast.sources.volumes.held import HeldVolumes
from holdfast.sources.volumes.lvm import Lvm
from holdfast.sources.volumes.mounts import Mount, mount_of, mount_read_only, mounts, unmount
from holdfast.sources.volumes.protocol import Tag, View, VolumeSnapshot, sweep
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


@pytest.fixture
def kernel(monkeypatch):
    """The kernel's frozen file systems; those in `broken` do not thaw."""
    from types import SimpleNamespace

    found = SimpleNamespace(state=set(), broken=set())

    def freeze(place):
        if place in found.state:
            raise errors.FrozenElsewhereError("frozen already")
        found.state.add(place)

    def thaw(place):
        if place in found.broken:
            raise errors.VolumeSnapshotError("cannot thaw")
        was = place in found.state
        found.state.discard(place)
        return was

    monkeypatch.setattr(frozen, "freeze", freeze)
    monkeypatch.setattr(frozen, "thaw", thaw)
    return found


def held(double=None):
    double = double or ZfsDouble()
    return HeldVolumes(Zfs(programs=double, env=ENV), [b"/srv/db"], name="files", env=ENV, programs=double, bind=False)


def volume(places=(), double=None):
    connector = VolumeConnector("files", held(double), (b"/srv/db",), freeze=bool(places))
    connector._places = tuple(places)
    return connector


def test_one_file_system_that_does_not_thaw_keeps_no_other_frozen(kernel):
    connector = volume([b"/a", b"/b"])
    connector.freeze(1.0)
    connector.verify_frozen()
    kernel.broken.add(b"/b")
    with pytest.raises(errors.StillFrozenError, match="1 file systems"):
        connector.thaw()
    assert kernel.state == {b"/b"}
    with pytest.raises(errors.StillFrozenError):
        connector.verify_thawed()
    kernel.broken.clear()
    connector.close()
    assert not kernel.state


def test_what_somebody_else_froze_is_not_thawed_and_what_somebody_thawed_is_no_point_in_time(kernel):
    kernel.state.add(b"/b")
    connector = volume([b"/a", b"/b"])
    with pytest.raises(errors.ApplicationBusyError):
        connector.freeze(1.0)
    connector.thaw()
    assert kernel.state == {b"/b"}
    kernel.state.clear()
    connector = volume([b"/a"])
    connector.freeze(1.0)
    kernel.state.discard(b"/a")
    with pytest.raises(errors.ApplicationChangedError, match="thawed by somebody"):
        connector.verify_frozen()
    assert not kernel.state, "the probe leaves nothing frozen"
    connector.capture(1.0)
    connector.thaw()
    with pytest.raises(errors.ApplicationChangedError, match="before the snapshot"):
        connector.verify_thawed()


def test_a_file_system_that_cannot_be_frozen_is_said(kernel, monkeypatch):
    def refuse(place):
        raise errors.VolumeSnapshotError("not supported")

    monkeypatch.setattr(frozen, "freeze", refuse)
    with pytest.raises(errors.ApplicationError, match="not supported"):
        volume([b"/a"]).freeze(1.0)


def test_a_snapshot_that_fails_is_a_failed_capture_and_one_in_use_is_left_to_the_sweeper():
    double = ZfsDouble()
    connector = volume(double=double)
    assert connector.check().version == "zfs"
    double.failing["snapshot"] = Done(1)
    with pytest.raises(errors.CaptureError):
        connector.capture(1.0)
    connector.capture(1.0)
    first = list(double.snapshots)
    connector.capture(1.0)
    assert len(double.snapshots) == len(first), "what was captured before is let go"
    assert connector.conclude().verdict is Verdict.CRASH
    double.failing["destroy"] = Done(1, err=b"busy")
    connector.close()
    assert double.snapshots
    assert volume().without_freeze() is None
    other = volume([b"/a"]).without_freeze()
    assert other is not None
    assert not other.freezes


def test_a_place_on_no_volume_is_unsuitable():
    volumes = HeldVolumes(Zfs(programs=ZfsDouble(), env=ENV), [b"/no"], name="x", env=ENV)
    connector = VolumeConnector("files", volumes, (b"/no",), freeze=False)
    with pytest.raises(errors.ApplicationUnsuitableError):
        connector.check()


def test_places_that_freeze_are_found_and_the_root_never_is():
    assert frozen.places_to_freeze([b"/srv/thin/x", b"/srv/thick"], MOUNTS) == (b"/srv/thick", b"/srv/thin")
    with pytest.raises(errors.VolumeUnsuitableError, match="root"):
        frozen.places_to_freeze([b"/etc"], MOUNTS)
    with pytest.raises(errors.VolumeUnsuitableError, match="cannot be frozen"):
        frozen.places_to_freeze([b"/p"], (Mount(b"/", "tmpfs", "x"),))


class BindDouble(ZfsDouble):
    """Datasets whose snapshots are bound to a folder."""

    def answer(self, words, stdin):
        return Done(0) if words[0] in ("mount", "umount") else super().answer(words, stdin)


def test_a_snapshot_is_bound_to_a_lasting_name(tmp_path):
    double = BindDouble()
    volumes = HeldVolumes(
        Zfs(programs=double, env=ENV),
        [b"/srv/db"],
        name="ehr",
        env=ENV,
        programs=double,
        folder=str(tmp_path).encode(),
        bind=True,
    )
    volumes.release()
    volumes.show()
    first = volumes.take()
    assert first == volumes.take()
    volumes.show()
    assert first[0].startswith(str(tmp_path / "ehr").encode())
    assert [call[:2] for call in double.calls if call[0] == "mount"] == [("mount", "--bind")] * 2
    assert dict(volumes.proofs)["volume-provider"] == "zfs"
    double.failing["mount"] = Done(32)
    with pytest.raises(errors.VolumeSnapshotError, match="32"):
        volumes.show()
    volumes.release()
    assert volumes.proofs == ()
    assert double.snapshots == []


def test_providers_are_chosen_by_name_and_what_lacks_is_said():
    def chosen(**options):
        return provider_of({**VOLUME_OPTIONS, **options}, [b"/srv/db"], env=ENV, programs=ZfsDouble()).name

    assert [chosen(volume=kind) for kind in ("btrfs", "lvm", "zfs")] == ["btrfs", "lvm", "zfs"]
    assert chosen(volume="ebs", **{"volume-instance": "i-1"}) == "ebs"
    assert chosen(volume="vss", **{"volume-shell": "ssh host"}) == "vss"
    for kind in ("", "ebs", "vss", "floppy"):
        with pytest.raises(errors.ConfigError):
            chosen(volume=kind)


def test_the_factory_takes_a_path_and_known_options_only():
    factory = VolumeFactory(ZfsDouble())
    made = factory.make(Connection("files", path="/srv/db", options={"volume": "zfs", "freeze": "yes"}), ENV)
    assert made.freezes
    assert (
        factory.make(Connection("files", path="/srv/db", options={"volume": "zfs", "storage": "/tank"}), ENV).kind
        == "volume"
    )
    with pytest.raises(errors.ConfigError, match="colour"):
        factory.make(Connection("files", path="/srv/db", options={"colour": "red"}), ENV)
    with pytest.raises(errors.ConfigError, match="path is missing"):
        factory.make(Connection("files"), ENV)
    assert "CAP_SYS_ADMIN" in factory.grants(Connection("files"))
    assert factory.discover(ENV) == ()
