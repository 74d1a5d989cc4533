"""A whole host comes back on an empty disk: tables, identifiers, owners, devices; refusals come before the first byte is written.

The host lies on a disk in a file with four partitions; it is backed up from there, and the disk is gone.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.integration.hosts.conftest import a_site, tiny_host

import holdfast
from holdfast import errors
from holdfast.base.events import Note, Progress
from holdfast.cli import main
from servers import disks, loops

pytestmark = pytest.mark.skipif(not loops.possible(), reason="only root mounts file systems")


def without_device(dump: str) -> list[str]:
    return sorted(row.partition(" : ")[2] for row in dump.splitlines() if " : " in row)


def failed(result) -> dict[str, str]:
    return {outcome.name: outcome.cause for outcome in result.failed}


def looked_at(site, image: Path, tmp_path: Path) -> None:
    """Assert that a disk holds the tiny host as it was."""
    dump = loops.run("sfdisk", "--dump", str(image))
    assert without_device(dump) == without_device(site.dump)
    assert dump.splitlines()[:2] == site.dump.splitlines()[:2]  # the kind of table, and its own identifier
    root = tmp_path / "look"
    root.mkdir(exist_ok=True)
    with disks.attached(image) as device, disks.mounted(device, {4: ".", 3: "srv/data"}, root):
        data = os.stat(root / "srv/data")
        assert (data.st_uid, data.st_gid, stat.S_IMODE(data.st_mode)) == (4711, 4712, 0o2750)
        assert (root / "srv/data/records").stat().st_size == 3 << 20
        assert os.stat(root / "dev/null").st_rdev == os.makedev(1, 3)
        assert os.getxattr(root / "etc/passwd", "user.kept") == b"yes"
        assert os.readlink(root / "etc/link") == "/etc/passwd"
        assert stat.S_IMODE(os.stat(root / "tmp").st_mode) == 0o755  # as in the snapshot
        assert (root / "run").is_dir()
        assert not list(root.rglob(".holdfast-restore*"))
        listed = subprocess.run(
            ["mdir", "-/", "-b", "-i", f"{device}p1", "::/"], capture_output=True, text=True, check=True
        )
        assert "BOOTX64.EFI" in listed.stdout
        assert not list((root / "boot/efi").iterdir())  # there the file system is mounted


def test_a_host_comes_back_with_its_identifiers_owners_and_devices(backed_up, tmp_path):
    image = backed_up.new_disk()
    noted: list[object] = []
    with backed_up.open() as vault:
        plan = vault.plan_host(disks=[str(image)])
        assert [each.kind for each in plan.file_systems] == ["vfat", "swap", "xfs", "ext4"]
        assert plan.disks[0].bytes_needed <= 640 << 20
        assert not plan.resumes
        assert disks.identities(image) == []  # a plan writes nothing
        result = vault.restore_host(disks=[str(image)], events=noted.append)
    assert result.exit_code == 0, result.outcomes
    assert {phase.name for phase in result.phases} == {"partition", "file systems", "restore", "boot", "check"}
    assert {"fstab", "users", "starts a program"} <= {row.name for row in result.outcomes if row.state == "passed"}
    assert not result.resumed
    assert any(isinstance(event, Progress) and event.phase == "restore" for event in noted)
    backed_up.nothing_left()
    looked_at(backed_up, image, tmp_path)
    assert any("TYPE=swap" in row and "LABEL=swap" in row for row in disks.identities(image))


def test_a_disk_that_is_not_fit_is_refused_before_anything_is_written(backed_up):
    small = backed_up.new_disk(500, "small.img")
    used = backed_up.new_disk(640, "used.img")
    loops.run("mkfs.ext4", "-q", "-F", str(used))
    with backed_up.open() as vault:
        for given, why in (
            ([str(small)], "too small"),
            ([str(used)], "not empty .it holds ext4.: --erase"),
            ([], "no disk was named"),
            (["sdz=" + str(small)], "which the host has not|host has not"),
            ([str(backed_up.root / "nowhere")], "is not there"),
            ([str(backed_up.root)], "neither a block device nor a file"),
            ([str(backed_up.root / "vault/config")], "lies in the vault"),
        ):
            with pytest.raises(errors.HostRefusedError, match=why):
                vault.restore_host(disks=given)
        with pytest.raises(errors.HostRefusedError, match="both"):
            vault.restore_host(disks=[str(small)], into=backed_up.root)
        with disks.attached(used) as device, pytest.raises(errors.HostRefusedError, match="in use"):
            vault.restore_host(disks=[str(used)], erase=True)
        loops.run("sh", "-c", f"printf 'label: gpt\\nsize=10M\\n' | sfdisk -q {small}")
        with disks.attached(small) as device:
            with pytest.raises(errors.HostRefusedError, match="a partition"):
                vault.restore_host(disks=[f"{device}p1"], erase=True)
            loops.run("wipefs", "-a", "-q", "-f", device)
        with disks.attached(used) as device:
            (backed_up.root / "busy").mkdir()
            loops.run("mount", device, str(backed_up.root / "busy"))
            try:
                with pytest.raises(errors.HostRefusedError, match="in use"):
                    vault.restore_host(disks=[device], erase=True)
            finally:
                loops.run("umount", str(backed_up.root / "busy"))
    assert disks.identities(small) == []
    assert loops.run("blkid", "--probe", "--output", "value", "--match-tag", "TYPE", str(used)).strip() == "ext4"
    backed_up.nothing_left()


def test_a_missing_program_is_named_before_anything_is_written(backed_up, monkeypatch):
    image = backed_up.new_disk(640, "programs.img")
    monkeypatch.setattr("holdfast.runs.hosts.found_on_machine", lambda program: program != "mkfs.xfs")
    with backed_up.open() as vault, pytest.raises(errors.HostProgramError, match=r"mkfs\.xfs \(package xfsprogs\)"):
        vault.restore_host(disks=[str(image)])
    assert disks.identities(image) == []


def test_only_root_restores_to_disks(backed_up, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with backed_up.open() as vault, pytest.raises(errors.HostRefusedError, match="only root"):
        vault.plan_host(disks=["/dev/null"])


def test_an_inventory_that_is_missing_damaged_or_of_another_machine_is_said(backed_up, monkeypatch):
    image = backed_up.new_disk(640, "inventory.img")
    stream = holdfast.Stream(".holdfast-host/inventory.json", ("echo", "{}"))
    with backed_up.open() as vault:
        vault.backup([backed_up.configuration()], label="plain")
        vault.backup([], label="odd", options=holdfast.BackupOptions(streams=(stream,)))
        with pytest.raises(errors.HostInventoryError, match="has no inventory"):
            vault.restore_host("latest:plain", disks=[str(image)])
        with pytest.raises(errors.HostInventoryError, match="damaged"):
            vault.host_inventory("latest:odd")
        with pytest.raises(errors.SourceMissingError, match="root of the host"):
            vault.backup([backed_up.root / "key"], options=holdfast.BackupOptions(host_root="/nowhere-at-all"))
        other = os.uname_result(("Linux", "n", "r", "v", "s390x"))
        monkeypatch.setattr("os.uname", lambda: other)
        with pytest.raises(errors.HostRefusedError, match="architecture"):
            vault.restore_host("latest:ward", disks=[str(image)])
        with pytest.raises(errors.HostRefusedError, match="architecture"):
            vault.restore_host("latest:ward", into=backed_up.root / "host")
    assert disks.identities(image) == []


KILLED = """
import os, signal, sys
from holdfast import Limits, Vault
from holdfast.base.events import Progress
from holdfast.services.hosts.disks import DiskWork
config, disk, when = sys.argv[1:]
plain = DiskWork.run

def run(self, what, command, **more):
    if what == when:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(self, what, command, **more)

def hear(event):
    if isinstance(event, Progress) and event.phase == when:
        os.kill(os.getpid(), signal.SIGKILL)

DiskWork.run = run
with Vault.open(config) as vault:
    limits = Limits(read_bytes_per_s=1_000_000) if when == "write" else None
    vault.restore_host("latest:ward", disks=[disk], events=hear, limits=limits)
"""


@pytest.mark.parametrize(
    "when", ["attaching an image", "writing a partition table", "making a file system (xfs)", "mounting a file system",
             "write", "boot", "filling a file system"]
)  # fmt: skip
def test_killed_at_any_step_nothing_stays_mounted_and_the_same_call_finishes(backed_up, tmp_path, when):
    image = backed_up.new_disk(640, "killed.img")
    command = [sys.executable, "-c", KILLED, str(backed_up.configuration()), str(image), when]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert "/run/holdfast/hosts" not in Path("/proc/self/mountinfo").read_text()
    notes: list[object] = []
    with backed_up.open() as vault:
        result = vault.restore_host("latest:ward", disks=[str(image)], events=notes.append)
    assert result.exit_code == 0, result.outcomes
    assert result.resumed
    assert any(isinstance(event, Note) and event.code == "host-resumed" for event in notes)
    backed_up.nothing_left()
    looked_at(backed_up, image, tmp_path)


def test_stopped_between_two_steps_it_says_how_to_go_on(backed_up):
    image = backed_up.new_disk(640, "stopped.img")
    stop = threading.Event()

    def hear(event: object) -> None:
        if isinstance(event, Progress) and event.phase == "file systems":
            stop.set()

    with backed_up.open() as vault:
        with pytest.raises(errors.Interrupted, match="same command again"):
            vault.restore_host("latest:ward", disks=[str(image)], events=hear, stop=stop)
        backed_up.nothing_left()
        assert vault.plan_host("latest:ward", disks=[str(image)]).resumes
        assert vault.restore_host("latest:ward", disks=[str(image)]).resumed


def test_a_step_that_fails_is_named_and_nothing_stays(backed_up, monkeypatch):
    image = backed_up.new_disk(640, "failing.img")
    monkeypatch.setattr("holdfast.services.hosts.plan.MAKERS", {"xfs": ("false", "x"), **_makers_but("xfs")})
    with (
        backed_up.open() as vault,
        pytest.raises(errors.HostError, match=r"making a file system \(xfs\) failed: false"),
    ):
        vault.restore_host("latest:ward", disks=[str(image)])
    backed_up.nothing_left()


def _makers_but(kind: str) -> dict[str, tuple[str, str]]:
    from holdfast.services.hosts.plan import MAKERS

    return {name: made for name, made in MAKERS.items() if name != kind}


def test_file_systems_made_by_hand_serve_as_well(backed_up, tmp_path):
    image = backed_up.new_disk(200, "by-hand.img")
    loops.run("mkfs.ext4", "-q", "-F", str(image))
    place = tmp_path / "made"
    place.mkdir()
    loops.run("mount", "-o", "loop", str(image), str(place))
    try:
        with backed_up.open() as vault:
            with pytest.raises(errors.HostRefusedError, match="no folder"):
                vault.plan_host("latest:ward", into=tmp_path / "nothing")
            plan = vault.plan_host("latest:ward", into=place)
            assert plan.disks == ()
            result = vault.restore_host("latest:ward", into=place)
            assert result.exit_code == 0, result.outcomes
            assert (place / "srv/data/records").stat().st_size == 3 << 20
            with pytest.raises(errors.TargetNotEmptyError):
                vault.restore_host("latest:ward", into=place)
    finally:
        loops.run("umount", str(place))
    backed_up.nothing_left()


def test_a_host_that_would_not_start_is_said_and_the_same_call_tries_again(tmp_path):
    with a_site() as site:
        with tiny_host(site):
            (site.host / "boot/vmlinuz-6.1").write_bytes(b"kernel")
            (site.host / "boot/initrd.img-6.1").write_bytes(b"initramfs")
            with (site.host / "etc/fstab").open("a") as file:
                file.write("UUID=0000-0000 /gone vfat defaults 0 2\n")
            site.backup(exclude=("vmlinuz-*", "initrd*", "BOOTX64.EFI"))
        image = site.new_disk()
        with site.open() as vault:
            found = vault.host_inventory()
            assert found.kernels == ("6.1",)
            result = vault.restore_host(disks=[str(image)])
            assert result.exit_code == 1
            causes = failed(result)
            assert causes["fstab"] == "1 of 5 lines of fstab name a file system that is not there"
            assert causes["kernel"] == "not there: the kernel 6.1, the modules of 6.1, the initramfs of 6.1"
            assert "making an initramfs failed: dracut" in causes["making an initramfs"]
            assert "efibootmgr" in result.by_hand
            assert vault.plan_host(disks=[str(image)]).resumes
        site.nothing_left()


def test_the_command_line(backed_up, capsys):
    image = backed_up.new_disk(640, "cli.img")
    config = str(backed_up.configuration())

    def call(*arguments: str) -> tuple[int, str]:
        code = main(["host", *arguments, "--config", config])
        said = capsys.readouterr()
        return code, said.out + said.err

    code, said = call("inventory", "latest:ward")
    assert code == 0
    assert "tiny 1, " in said
    assert "4 file systems" in said
    code, said = call("restore", "latest:ward", "--disk", str(image), "--dry-run")
    assert code == 0
    assert "4 partitions" in said
    assert said.endswith("Nothing was written.\n")
    code, said = call("restore", "latest:ward", "--disk", str(image))
    assert code == 0
    assert "passed: fstab (4 of 4)" in said
    code, said = call("restore", "latest:ward", "--disk", str(image))
    assert code == 2
    assert "--erase" in said
    code, said = call("restore", "latest:ward", "--disk", str(image), "--erase", "--json")
    assert code == 0
    assert json.loads(said.splitlines()[-1])["type"] == "host-restore"


def test_a_job_of_the_configuration_takes_the_inventory_along(capsys):
    with a_site() as site:
        with tiny_host(site):
            site.services = f'[jobs.ward]\npaths = ["{site.host}"]\nhost_root = "{site.host}"\n'
            assert main(["backup", "--job", "ward", "--config", str(site.configuration())]) == 0
            key = ["--vault", str(site.root / "vault"), "--key-file", str(site.root / "key")]
            assert main(["backup", str(site.host), "--host-root", str(site.host), *key]) == 0
        with site.open() as vault:
            found = [vault.host_inventory(each.info.id).disks[0].bytes for each in vault.snapshots()]
            assert found == [640 << 20, 640 << 20]
        capsys.readouterr()


def test_what_an_inventory_lacks_is_said_while_somebody_can_install_it(monkeypatch):
    noted: list[object] = []
    monkeypatch.setattr("holdfast.services.hosts.disks.found_on_machine", lambda program: program != "sfdisk")
    with a_site() as site, site.open() as vault:
        options = holdfast.BackupOptions(host_root=str(site.host))
        vault.backup([site.host], options=options, events=noted.append)
        (note,) = [event for event in noted if isinstance(event, Note) and event.code == "host-inventory-incomplete"]
        assert "sfdisk (package fdisk)" in note.text
