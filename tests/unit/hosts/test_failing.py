"""What a step says that fails, what a host's application says that cannot be asked, what is shown of a restore: by doubles."""

from __future__ import annotations

import io
import os
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.base.environment import ManualClock
from holdfast.cli import host as cli
from holdfast.errors import (
    DrillProgramError,
    DrillRefusedError,
    DrillSpaceError,
    HostError,
    HostProgramError,
    HostRefusedError,
)
from holdfast.runs.drill.hosts import HostDrill
from holdfast.runs.host_results import HostPhase, HostPlan, HostRestore
from holdfast.services.applications.ground import ApplicationFailed
from holdfast.services.applications.host import Host
from holdfast.services.catalogue import Check
from holdfast.services.hosts import disks, private
from holdfast.services.hosts.check import HostCheck
from holdfast.services.hosts.disks import DiskWork
from holdfast.services.hosts.plan import DiskPlan, FileSystemPlan, Layout
from holdfast.services.isolation import Ran
from holdfast.services.judge import Outcome
from holdfast.sources.hosts.inventory import Disk, FileSystem, Inventory, Layer
from holdfast.sources.programs import Done

ENV = ManualClock().environment()
LAYOUT = Layout((DiskPlan("a", "/dev/x", 1, 2, 1, ""),), (FileSystemPlan("a", 1, "vfat", "u", "", "/boot"),))
HOST = Inventory("/", "x86_64", loader="grub", package_format="dpkg")


class Answers:
    """Programs that end as they are told."""

    def __init__(self, done: Done) -> None:
        self.done = done

    def run(self, command, *, timeout, environ=None, stdin=b""):
        return self.done


def work(done: Done) -> DiskWork:
    return DiskWork(Answers(done), ENV)


def test_a_program_that_fails_or_never_ends_is_named_without_its_arguments():
    with pytest.raises(HostError, match=r"^wiping failed: wipefs ended with exit code 3\n"):
        work(Done(3, err=b"/dev/secret")).run("wiping", ["wipefs", "/dev/secret"])
    with pytest.raises(HostError, match="grub-install did not end within 7 s"):
        work(Done(-9, timed_out=True)).run("booting", ["unshare", "--", "grub-install"], seconds=7, around=2)
    with pytest.raises(HostError, match="blkid ended with exit code 4"):
        work(Done(4)).identity("/dev/x")
    assert work(Done(2)).identity("/dev/x") == ("/dev/x", "", "", "")


def test_a_device_that_never_appears_is_an_error_after_a_while():
    clock = ManualClock()
    with pytest.raises(HostError, match="no device for a partition"):
        DiskWork(Answers(Done(0)), clock.environment()).show_partitions(LAYOUT, {"a": "/nowhere/x"})
    assert sum(clock.slept) >= disks.NODE_SECONDS


def test_a_kernel_without_vfat_needs_mtools(monkeypatch):
    monkeypatch.setattr(disks, "found_on_machine", lambda _program: False)
    monkeypatch.setattr(os, "makedirs", lambda *_a, **_k: None)
    with pytest.raises(HostProgramError, match="mcopy"), work(Done(32)).mounted(LAYOUT, {"a": "/dev/x"}, "/nowhere"):
        pass


def test_a_place_that_leads_elsewhere_is_not_mounted_on(monkeypatch):
    monkeypatch.setattr(os.path, "realpath", lambda _path: "/etc")
    with pytest.raises(HostError, match="link"), work(Done(0)).mounted(LAYOUT, {"a": "/dev/x"}, "/nowhere"):
        pass


def test_an_image_that_cannot_be_written_is_refused(monkeypatch):
    def refuse(*_arguments):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "stat", lambda _path: SimpleNamespace(st_mode=0o100600))
    with pytest.raises(HostRefusedError, match="Read-only"):
        work(Done(0)).look("/an/image")


def test_without_a_namespace_nothing_is_begun(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda *_a, **_k: SimpleNamespace(unshare=lambda _flags: -1))
    with pytest.raises(HostError, match="no mounts of its own"):
        private.in_private_mounts(lambda: pytest.fail("it was begun"))


def test_a_drill_that_has_no_room_for_a_disk_says_so(monkeypatch, tmp_path_factory):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    said: list[Outcome] = []
    with pytest.raises(DrillSpaceError, match="disk a, 5 bytes"):
        drilled()._layout(Inventory("/", "x86_64", disks=(Disk("a", 5),)), said.append)
    assert said == []


def test_who_may_not_mount_drills_no_host(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(DrillRefusedError, match="by root only"):
        drilled()


def ground(answers: object) -> Any:
    return SimpleNamespace(restored="/nowhere-at-all", file_systems=frozenset(), run_program=answers)


def drilled() -> HostDrill:
    vault: Any = SimpleNamespace(env=ENV)
    folder: Any = SimpleNamespace(path="/nowhere-at-all")
    return HostDrill(vault, folder, ExitStack())


def asked(ran: Ran | Exception, check: Check):
    def run(_command, *, seconds):
        assert seconds > 0
        if isinstance(ran, Exception):
            raise ran
        return ran

    host = Host(ground(run))
    host._check = HostCheck("/nowhere-at-all", HOST, frozenset(), host._run)
    return host.ask(check)


def test_what_a_host_answers():
    command = Check("c", "command", command=("/bin/id",))
    assert asked(Ran(0, "0\n", ""), command).value == "0\n"
    assert "exit code 3" in asked(Ran(3, "", ""), command).problem
    assert "did not end" in asked(Ran(-9, "", "", timed_out=True), command).problem
    assert asked(DrillProgramError("the program unshare is not on this machine"), command).problem.startswith(
        "the program"
    )
    assert "no check of kind query" in asked(Ran(0, "", ""), Check("c")).problem


def test_a_host_without_an_inventory_does_not_start(monkeypatch):
    host = Host(ground(None))
    with pytest.raises(ApplicationFailed, match="no inventory"):
        host.start()
    host.stop()
    assert list(host.verify()) == []
    monkeypatch.setattr("builtins.open", lambda *_a: io.BytesIO(b"{"))
    with pytest.raises(ApplicationFailed, match="damaged"):
        host.start()


def test_everything_that_is_wrong_with_a_root_is_an_outcome():
    def run(command, _seconds):
        return Ran(0 if command[-1] == "/bin/true" else 1, "missing c /etc/x\nmissing /usr/bin/y\n", "")

    found = {row.name: row for row in HostCheck("/nowhere-at-all", HOST, {"UUID=1"}, run).outcomes()}
    assert found["fstab"].cause == "the restored root has no fstab"
    assert "configuration is not there" in found["boot configuration"].cause
    assert found["users"].state == found["packages"].state == found["package state"].state == "failed"
    assert found["package files"].cause == "1 programs or libraries of packages are not there"
    other = HostCheck("/nowhere-at-all", Inventory("/", "x", loader="extlinux", services=("a.service",)), (), run)
    found = {row.name: row for row in other.looked_at()}
    assert found["boot configuration"].state == "skipped"
    assert found["enabled services"].cause == "1 of 1 enabled services have no unit file"


def test_a_check_without_its_program_fails():
    def run(_command, _seconds):
        raise DrillProgramError("the program chroot is not on this machine")

    (found,) = HostCheck("/nowhere-at-all", HOST, (), run).asked()
    assert (found.state, found.cause) == ("failed", "the program chroot is not on this machine")


def test_what_is_shown_of_a_host_and_of_its_restore():
    shown = cli.HostShown.of(Inventory("/", "x86_64", disks=(Disk("sda", 1 << 30),), layers=(Layer("dm-0", "lvm"),)))
    assert (shown.disks, shown.layers) == (("sda (1.07 GB)",), ("lvm",))
    plan = HostPlan(
        "s", "t", "debian 12", "x86_64", "bios", "", 1, 2, 3, 4, LAYOUT.disks, LAYOUT.file_systems, ("a: b",), True
    )
    lines = cli._plan_lines(plan)
    assert lines[0].startswith("Would go on restoring")
    assert "  not known of the host: a: b" in lines
    wrong = Outcome("fstab", "host", "failed", "", "0 of 1", "it is gone")
    done = HostRestore(
        "s", 1, 2, 3.0, (HostPhase("restore", 1.0),), (wrong,), 2, damaged=True, resumed=True, by_hand="add an entry"
    )
    lines = cli._summary(done)
    assert lines[0].startswith("Went on with and finished a host")
    assert "  failed: fstab (0 of 1): it is gone" in lines
    assert [line.split(":")[0] for line in lines[3:]] == ["BY HAND", "PARTIAL", "DAMAGE", "FAILED"]
    assert done.exit_code == 4
    assert HostRestore("s", 1, 2, 3.0, (), (wrong,), 2, damaged=False, resumed=False).exit_code == 1
    assert HostRestore("s", 1, 2, 3.0, (), (), 2, damaged=False, resumed=False).exit_code == 3
    assert FileSystem("sda1", "ext4").mount == ""
