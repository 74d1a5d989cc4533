"""A cell holds: nothing outside is written, reached or seen; a killed drill leaves nothing running or mounted; sweeps end the rest."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import holdfast
from holdfast.base.environment import system
from holdfast.errors import (
    DrillError,
    DrillProgramError,
    DrillRefusedError,
    DrillSpaceError,
    Interrupted,
    IsolationError,
)
from holdfast.runs.drill import hold, place
from holdfast.runs.drill.options import DrillOptions
from holdfast.services import isolation, keeper
from holdfast.services.applications.ground import interpreter
from holdfast.services.isolation import concealable, open_cell, run_as
from servers import databases

from .conftest import sqlite_records

ROOT = os.geteuid() == 0
NOBODY = run_as("/")


@pytest.fixture
def folder():
    with databases.folder() as found:
        (found / "run").mkdir()
        if ROOT:
            os.chown(found / "run", *NOBODY)
        yield found


def test_a_cell_writes_nowhere_sees_nobody_and_has_no_way_out(folder):
    with databases.folder() as secret:
        (secret / "patients").write_text("x")
        with open_cell(str(folder), system(), user=NOBODY[0], group=NOBODY[1], conceal=[str(secret)]) as cell:
            assert cell.weaker == ()

            def sh(text: str) -> isolation.Ran:
                return cell.run(["sh", "-c", text], seconds=30, cwd=str(folder))

            assert sh(f"touch {folder}/run/x").code == 0
            assert sh(f"touch /var/tmp/{os.getpid()}").code != 0
            assert sh(f"cat {secret}/patients").code != 0
            assert sh("ls /dev/shm").out == ""
            processes = [name for name in sh("ls /proc").out.split() if name.isdecimal()]
            assert "1" in processes
            assert len(processes) < 6
            assert sh("cat /proc/net/dev").out.count(":") == 1  # the loopback alone
            assert int(sh("grep CapEff /proc/self/status").out.split()[1], 16) == 0
            assert sh("pwd").out.strip() == str(folder)
            assert cell.run(["sleep", "60"], seconds=0.2).timed_out
            server = cell.serve(["sleep", "600"], log=str(folder / "log"))
            stubborn = cell.serve(
                ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"], log=str(folder / "log2")
            )
            while "up" not in stubborn.said():
                time.sleep(0.02)
            cell.end(server)
            assert server.poll() is not None
            cell.end(stubborn, seconds=0.1)
            assert stubborn.poll() is not None
            assert isolation.Server(server.process, "/nowhere").said() == ""
            with pytest.raises(DrillProgramError):
                cell.run(["no-such-program"], seconds=1)
            last = cell.serve(["sleep", "601"], log=str(folder / "log"))
        assert last.poll() is not None


def test_without_namespaces_a_cell_is_refused_or_says_what_is_weaker(folder, monkeypatch):
    monkeypatch.setattr(isolation, "_namespaces", lambda *_: None)
    with pytest.raises(IsolationError), open_cell(str(folder), system(), user=0, group=0):
        pass
    with open_cell(str(folder), system(), user=NOBODY[0], group=NOBODY[1], conceal=["/srv"], required=False) as cell:
        assert cell.level == "processes"
        assert any("network" in text for text in cell.weaker)
        assert cell.run(["id", "-u"], seconds=10, cwd=str(folder)).out.strip() == str(NOBODY[0])
        server = cell.serve(["sleep", "602"], log=str(folder / "log"))
    assert server.poll() is not None


@pytest.mark.skipif(not ROOT, reason="root becomes an unprivileged user for this; an unprivileged user is one already")
def test_an_unprivileged_user_gets_a_user_namespace_or_a_refusal(folder):
    """Run as nobody: where the system lets users have namespaces the cell is as strong, else it is refused; never silently weaker."""
    os.chown(folder, *NOBODY)
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
from holdfast.base.environment import system
from holdfast.errors import IsolationError
from holdfast.services.isolation import open_cell
import os
try:
    with open_cell({str(folder)!r}, system(), user=os.geteuid(), group=os.getegid()) as cell:
        print(cell.level, cell.run(["sh", "-c", "touch /var/tmp/escaped"], seconds=10).code != 0)
except IsolationError:
    print("refused")
"""
    command = [interpreter(), "-c", code]
    done = subprocess.run(
        command, user=NOBODY[0], group=NOBODY[1], extra_groups=[], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.stdout.strip() in ("user namespaces True", "refused"), done.stderr


def test_what_can_be_concealed_and_closed():
    hidden = concealable(["/srv/ehr", "/usr", "/srv/ehr", "/a"], ["/a/b/drills"])
    assert hidden.folders == ("/srv/ehr",)
    assert hidden.open == 2
    text = "1 1 0:1 / / rw,relatime - ext4 x rw\n2 1 0:2 / /with\\040blank rw - tmpfs x rw\n3 1 0:3 / /ro ro - tmpfs x ro\n"
    text += "4 1 0:4 / /proc rw - proc x rw\n5 1 0:5 / /d/drill rw - ext4 x rw\n"
    mounts = keeper.parse_mounts(text)
    assert [point for point, _ in keeper.mounts_to_close(mounts, ["/d/drill"])] == ["/", "/with blank"]


LAB = """
[services.lab]
application = "sqlite"
data = "{data}"
[[services.lab.checks]]
name = "slow"
kind = "command"
command = ["sleep", "{sleep}"]
"""


def killed_while(site, needle: str, kind: str = "full") -> None:
    """Begin a drill in a process of its own and kill it when a process of the drill shows `needle`."""
    code = (
        "import holdfast; from holdfast.runs.drill.options import DrillOptions; "
        f"holdfast.Vault.open({str(site.root / 'holdfast.toml')!r}).drill('lab', DrillOptions(kind={kind!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not any(needle.encode() in command for command in _commands()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def _commands():
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                yield (entry / "cmdline").read_bytes()
            except OSError:
                continue


def _gone(needle: str) -> bool:
    deadline = time.monotonic() + 20
    while any(needle.encode() in command for command in _commands()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("isolated", ["required", "preferred"])
def test_a_killed_drill_leaves_nothing_that_runs_and_is_swept(site, isolated, monkeypatch):
    sqlite_records(site.source / "lab.sqlite")
    seconds = f"54{os.getpid() % 1000:03d}.{1 if isolated == 'required' else 2}"
    site.services = LAB.format(data=site.source, sleep=seconds)
    site.drill = f'isolation = "{isolated}"'
    site.backup("lab")
    if isolated == "preferred":
        monkeypatch.setenv("PATH", _path_without_unshare(site.root))
    killed_while(site, f"sleep\0{seconds}")
    assert _gone(f"sleep\0{seconds}")
    (left,) = list(site.place.iterdir())
    assert str(left) not in Path("/proc/self/mountinfo").read_text()
    monkeypatch.undo()
    monkeypatch.setenv("HOLDFAST_STATE", str(site.root / "state"))
    site.services = LAB.format(data=site.source, sleep="0")
    notes = []
    with site.open() as vault:
        report = vault.drill(
            "lab", events=lambda event: notes.append(event) if isinstance(event, holdfast.Note) else None
        )
    assert "swept" in notes[0].text
    assert report.record.isolation
    site.nothing_left()


def test_a_killed_drill_on_a_mount_is_swept(site):
    sqlite_records(site.source / "lab.sqlite")
    seconds = f"54{os.getpid() % 1000:03d}.3"
    site.services = LAB.format(data=site.source, sleep=seconds)
    site.backup("lab")
    killed_while(site, f"sleep\0{seconds}", "mounted")
    assert _gone(f"sleep\0{seconds}")
    (left,) = list(site.place.iterdir())
    assert str(left) in Path("/proc/self/mountinfo").read_text()  # nobody answers for it any more
    assert place.sweep(str(site.place)).folders == 1
    site.nothing_left()


def _path_without_unshare(root: Path) -> str:
    """Return a PATH where `unshare` does not work, as where the kernel gives no namespaces."""
    folder = root / "bin"
    folder.mkdir()
    (folder / "unshare").write_text("#!/bin/sh\nexit 1\n")
    (folder / "unshare").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_a_sweep_ends_what_a_weaker_drill_left_and_leaves_the_living_alone(site):
    site.place.mkdir(mode=0o711)
    env = system()
    with place.open_folder(str(site.place), env) as living:
        assert place.sweep(str(site.place)).living == 1
        assert Path(living.path).exists()
    left = site.place / "drill-0123456789ab"
    (left / "run" / "deep").mkdir(parents=True)
    (left / "run" / "deep" / "file").write_text("x")
    (left / "run" / "link").symlink_to("/etc")
    (left / "run" / "deep").chmod(0o500)
    orphan = subprocess.Popen(["sleep", "603"], env=os.environ | {place.DRILL_VARIABLE: "0123456789ab"})
    swept = place.sweep(str(site.place))
    assert (swept.folders, swept.processes, swept.living) == (1, 1, 0)
    assert orphan.wait(10) == -signal.SIGKILL
    site.nothing_left()
    assert place.sweep(str(site.root / "nowhere")).folders == 0


def test_a_place_that_could_touch_anything_else_is_refused(site):
    production = (str(site.root / "srv"), "/", str(site.root / "vault"))

    def refused(where, why):
        with pytest.raises(DrillRefusedError, match=why):
            place.check_place(str(where), production=production)

    refused("relative", "absolute")
    refused("/", "root or a home")
    refused(Path.home(), "root or a home")
    refused(site.root / ("x" * 80), "too long")
    refused(site.root / "srv" / "drills", "production")
    refused(site.root / "vault", "production")
    (site.root / "file").write_text("")
    refused(site.root / "file", "no folder")
    (site.root / "held").mkdir()
    (site.root / "held" / "letter").write_text("")
    refused(site.root / "held", "no drill's")
    (site.root / "open").mkdir()
    (site.root / "open").chmod(0o777)
    refused(site.root / "open", "others may write")
    if ROOT:
        (site.root / "theirs").mkdir()
        os.chown(site.root / "theirs", *NOBODY)
        refused(site.root / "theirs", "another user")
    (site.root / "link").symlink_to(site.root / "srv")
    refused(site.root / "link", "production")
    assert place.check_place(str(site.root / "new"), production=production) == str(site.root / "new")


def test_room_is_known_before_anything_is_restored(site, monkeypatch):
    sqlite_records(site.source / "lab.sqlite")
    site.services = LAB.format(data=site.source, sleep="0")
    site.backup("lab")
    with site.open() as vault:
        monkeypatch.setattr(hold, "free_bytes", lambda _place: 1000)
        with pytest.raises(DrillSpaceError) as caught:
            vault.drill("lab")
    assert caught.value.facts["free_bytes"] == 1000
    site.nothing_left()


def test_a_drill_is_stopped_and_one_that_takes_too_long_fails(site, monkeypatch):
    class Stop:
        def is_set(self):
            return True

    sqlite_records(site.source / "lab.sqlite")
    site.services = LAB.format(data=site.source, sleep="0")
    site.backup("lab")
    with site.open() as vault:
        with pytest.raises(Interrupted):
            vault.drill("lab", stop=Stop())
        monkeypatch.setattr(hold._Deadline, "passed", lambda _self: True)
        report = vault.drill("lab")
    assert report.record.cause.startswith("deadline: not done within")
    site.nothing_left()


def test_a_wrong_version_of_the_programs_is_said_and_nothing_is_left(site):
    data = site.source / "pg"
    data.mkdir()
    (data / "PG_VERSION").write_text("9999\n")
    site.services = f'[services.lab]\napplication = "postgresql"\nprograms = "{site.root}"\ndata = "{data}"\n'
    site.backup("lab")
    with site.open() as vault, pytest.raises(DrillProgramError):
        vault.drill("lab", DrillOptions())
    site.nothing_left()


def test_a_sweep_between_a_folder_and_its_lock_is_noticed(site, monkeypatch):
    """The folder is gone before its lock is made, and once more between the lock's making and its taking."""
    site.place.mkdir(mode=0o711)
    real_open, real_flock = os.open, fcntl.flock
    swept = []

    def opened(name, *arguments, **more):
        if str(name).endswith("/lock") and not swept:
            swept.append("open")
            os.rmdir(os.path.dirname(name))
        return real_open(name, *arguments, **more)

    def locked(lock, how):
        real_flock(lock, how)
        if swept == ["open"]:
            swept.append("lock")
            (left,) = site.place.iterdir()
            (left / "lock").unlink()
            left.rmdir()

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(fcntl, "flock", locked)
    with place.open_folder(str(site.place), system()) as folder:
        assert Path(folder.path, "lock").exists()
    assert swept == ["open", "lock"]
    site.nothing_left()


def test_a_cell_whose_keeper_fails_is_no_cell(folder, monkeypatch):
    def cell():
        return open_cell(str(folder), system(), user=NOBODY[0], group=NOBODY[1])

    with monkeypatch.context() as patch:
        patch.setattr(isolation, "_inner", lambda _pid: (_ for _ in ()).throw(DrillError("gone")))
        with pytest.raises(DrillError, match="ended while it was made"), cell():
            pass
    with monkeypatch.context() as patch:
        patch.setattr(isolation, "READY_SECONDS", 0.0)
        with pytest.raises(IsolationError), cell():
            pass
    with monkeypatch.context() as patch:
        patch.setattr(isolation, "found_program", lambda *_: (_ for _ in ()).throw(DrillProgramError("no unshare")))
        with pytest.raises(IsolationError), cell():
            pass

    class Closed:
        def write(self, _data):
            raise BrokenPipeError

    broken: Any = SimpleNamespace(stdin=Closed(), stdout=Closed())
    assert isolation._told(broken, {}) is None
    with subprocess.Popen(["sleep", "60"]) as childless:
        with pytest.raises(DrillError):
            isolation._inner(childless.pid)
        childless.kill()


def test_whom_an_application_runs_as(folder, monkeypatch):
    if ROOT:
        os.chown(folder / "run", 54321, 54321)
        assert run_as(str(folder / "run")) == (54321, 54321)
        assert run_as(str(folder)) == NOBODY
        assert run_as(str(folder), 54321)[0] == 54321
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    assert run_as(str(folder)) == (1234, os.getegid())


def test_somebody_else_s_folder_is_left_alone(site):
    site.place.mkdir(mode=0o711)
    for name in ("drill-0123456789ab", "letters"):
        (site.place / name).mkdir()
    if ROOT:
        os.chown(site.place / "drill-0123456789ab", *NOBODY)
        assert place.sweep(str(site.place)).folders == 0
        assert (site.place / "drill-0123456789ab").exists()
    assert (site.place / "letters").exists()
