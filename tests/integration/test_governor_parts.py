"""The governor's parts that touch the system: rows and their locks, the pause that outlives processes, the control socket, probes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from holdfast.base.environment import ManualClock, system
from holdfast.errors import LocalStateError, ProbeUnusableError, RunMissingError, SteeringError
from holdfast.governor.budget import Budget
from holdfast.governor.cgroups import ROOT, ControlGroup, device_of
from holdfast.governor.control import ControlSocket, ask
from holdfast.governor.priority import lowered
from holdfast.governor.probes import CommandProbe, HttpProbe, SqlProbe, Watch
from holdfast.governor.registry import PauseMark, Registry, RunRow
from holdfast.governor.signals import read_text
from servers import process


def row(name: str) -> RunRow:
    return RunRow(name, "backup", "ehr", os.getpid(), "2026-11-23T03:00:00.000000Z")


# --- the registry -----------------------------------------------------------------------------------------------------


def test_a_row_lives_as_long_as_its_run(tmp_path):
    registry = Registry(tmp_path / "runs")
    with registry.enter(row("aaaaaaaa")) as entry:
        entry.update(RunRow(**{**vars_of(row("aaaaaaaa")), "read_bytes_per_s": 5.0}))
        (seen,) = registry.live()
        assert seen.read_bytes_per_s == 5.0
        assert seen.label == "ehr"
    assert registry.live() == ()
    assert oct((tmp_path / "runs").stat().st_mode)[-3:] == "700"


def vars_of(value):
    return {name: getattr(value, name) for name in value.__slots__}


def test_the_row_of_a_run_that_was_killed_goes_with_it(tmp_path):
    registry = Registry(tmp_path)
    program = (
        "import sys, os; from pathlib import Path; from holdfast.governor.registry import Registry, RunRow\n"
        "Registry(Path(sys.argv[1])).enter(RunRow('bbbbbbbb', 'backup', '', os.getpid(), 'x'))\n"
        "print('in', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout.readline() == b"in\n"
        assert [each.id for each in registry.live()] == ["bbbbbbbb"]
        child.kill()
    (tmp_path / "bbbbbbbb.sock").touch()
    assert registry.live() == ()
    assert list(tmp_path.iterdir()) == []


def test_a_row_that_makes_no_sense_is_passed_over(tmp_path):
    registry = Registry(tmp_path)
    entry = registry.enter(row("cccccccc"))
    os.pwrite(entry._fd, b"{torn", 0)
    assert registry.live() == ()
    entry.close()
    (tmp_path / "dddddddd.run").mkdir()
    assert registry.live() == ()


def test_a_folder_that_cannot_be_used_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(LocalStateError, match="folder cannot be made"):
        Registry(tmp_path / "file" / "x")
    registry = Registry(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(LocalStateError, match="cannot be registered"):
        registry.enter(row("eeeeeeee"))
    with pytest.raises(LocalStateError, match="pause cannot be noted"):
        registry.pause(PauseMark("x", 0, ""))
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "paused.json").mkdir()
    with pytest.raises(LocalStateError, match="pause cannot be ended"):
        registry.resume()
    monkeypatch.setattr(Path, "glob", lambda *_: (_ for _ in ()).throw(OSError(5, "gone")))
    assert registry.live() == ()


def test_a_pause_outlives_the_process_and_one_that_cannot_be_read_is_one(tmp_path):
    Registry(tmp_path).pause(PauseMark("2026-11-23T03:00:00Z", 0, "upgrade of the ward system"))
    assert Registry(tmp_path).paused() == PauseMark("2026-11-23T03:00:00Z", 0, "upgrade of the ward system")
    assert Registry(tmp_path).resume()
    assert Registry(tmp_path).paused() is None
    assert not Registry(tmp_path).resume()
    (tmp_path / "paused.json").write_text("{")
    mark = Registry(tmp_path).paused()
    assert mark is not None
    assert "cannot be read" in mark.reason


# --- the control socket -----------------------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path):
    """A control socket in a folder with a long name, served by a thread."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir(mode=0o700)
    control = ControlSocket(folder, "12345678")
    end = threading.Event()

    def handle(question):
        if question.get("do") == "refuse":
            message = "not that"
            raise ValueError(message)
        return {"heard": question}

    def serve():
        while not end.is_set():
            control.serve(handle)
            end.wait(0.005)

    thread = threading.Thread(target=serve)
    thread.start()
    yield folder
    end.set()
    thread.join()
    control.close()


def test_a_question_is_answered_over_a_socket_only_its_user_can_open(served):
    assert ask(served, "12345678", {"do": "status"}) == {"heard": {"do": "status"}}
    assert oct((served / "12345678.sock").stat().st_mode)[-3:] == "600"


def test_what_a_run_refuses_and_runs_there_are_none_of_are_said(served):
    with pytest.raises(SteeringError, match="refuses: not that"):
        ask(served, "12345678", {"do": "refuse"})
    with pytest.raises(RunMissingError):
        ask(served, "87654321", {"do": "status"})


@pytest.mark.parametrize(("line", "answer"), [(b"nonsense\n", "no JSON"), (b"[1]\n", "no object"), (b"", "no JSON")])
def test_a_client_that_speaks_nonsense_is_told_so(served, line, answer):
    os.chdir(served)
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10)
        peer.connect("12345678.sock")
        peer.sendall(line)
        peer.shutdown(socket.SHUT_WR)
        assert answer in json.loads(peer.recv(4096))["error"]


def test_a_client_that_says_nothing_holds_nobody_up(served):
    os.chdir(served)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect("12345678.sock")
        assert ask(served, "12345678", {"do": "status"})["heard"]


def test_another_user_is_not_listened_to(served, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setattr("struct.unpack", lambda *_: (1, 999, 1))
    with pytest.raises(SteeringError, match="no answer"):
        ask(served, "12345678", {"do": "status"})


def test_a_run_that_answers_nothing_sensible_is_said(tmp_path):
    os.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("aaaaaaaa.sock")
        listener.listen()

        def answer():
            peer, _ = listener.accept()
            with peer:
                peer.recv(100)
                peer.sendall(b"garbage\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(SteeringError, match="does not answer"):
            ask(tmp_path, "aaaaaaaa", {"do": "status"})
        thread.join()


def test_a_name_that_is_taken_is_refused(tmp_path):
    (tmp_path / "x.sock").touch()
    with pytest.raises(OSError, match="in use"):
        ControlSocket(tmp_path, "x")


def test_sockets_opened_at_once_are_the_owner_s_and_leave_the_process_s_umask_alone(tmp_path):
    before = os.umask(0o027)
    try:
        for each in range(8):
            (tmp_path / str(each)).mkdir()

        def open_many(folder):
            for each in range(100):
                control = ControlSocket(folder, f"{each}")
                assert (folder / f"{each}.sock").stat().st_mode & 0o777 == 0o600
                control.close()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(open_many, sorted(tmp_path.iterdir())))
    finally:
        assert os.umask(before) == 0o027


# --- probes -----------------------------------------------------------------------------------------------------------


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/well" else 503)
        self.end_headers()
        self.wfile.write(b"ready")

    def log_message(self, *_):
        pass


def test_a_page_that_is_served_is_an_answer_and_an_error_is_none():
    server = HTTPServer(("127.0.0.1", process.free_port()), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    well, ill = (
        Watch(HttpProbe("web", 5, f"http://127.0.0.1:{server.server_port}/{path}"), system())
        for path in ("well", "ill")
    )
    try:
        for watch, state in ((well, "learning"), (ill, "failing")):
            watch.once()
            assert watch.latest(None).state == state
            watch.probe.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    well.once()
    assert well.latest(1.0).state == "failing"


def test_a_command_answers_by_ending_well():
    for command, state in ((["true"], "learning"), (["false"], "failing"), (["/no/such"], "failing")):
        watch = Watch(CommandProbe("c", 5, command), system())
        watch.once()
        assert watch.latest(None).state == state
    killed = Watch(CommandProbe("c", 0.05, ["sleep", "60"]), system())
    killed.once()
    assert killed.latest(None).state == "failing"


def test_a_question_that_hangs_is_load_and_holds_nobody_up():
    clock, asked, let_go = ManualClock(), threading.Event(), threading.Event()

    class Hanging:
        name, timeout = "ehr", 2.0

        def ask(self):
            asked.set()
            let_go.wait(30)

        def close(self):
            pass

    watch = Watch(Hanging(), clock.environment(), every=0.01)
    watch.start()
    assert asked.wait(30)
    assert watch.latest(1.0).state == "well", "nothing is known yet"
    clock.sleep(1.5)
    clock.sleep(1.0)
    reading = watch.latest(1.0)
    assert reading.state == "hanging"
    assert reading.latency == 2.5
    let_go.set()
    watch.close()


def test_a_question_that_waits_longer_than_usual_says_so_before_it_is_answered():
    clock, asked, let_go = ManualClock(), threading.Event(), threading.Event()

    class Slow:
        name, timeout = "ehr", 60.0
        first = True

        def ask(self):
            if self.first:
                self.first = False
                clock.sleep(0.5)
                return
            asked.set()
            let_go.wait(30)

        def close(self):
            pass

    watch = Watch(Slow(), clock.environment(), every=0.01)
    watch.start()
    assert asked.wait(30)
    clock.sleep(3)
    assert watch.latest(0.5).slowdown == pytest.approx(5.0)
    let_go.set()
    watch.close()


@pytest.mark.parametrize(
    "make",
    [
        lambda: CommandProbe("p", 1, []),
        lambda: HttpProbe("p", 1, "ftp://x/"),
        lambda: HttpProbe("p", 1, "http://user:secret@x/"),
        lambda: SqlProbe("p", 1, "oracle://x/", "SELECT 1"),
        lambda: SqlProbe("p", 1, "postgresql://u:secret@x/", "SELECT 1"),
    ],
)
def test_a_probe_that_makes_no_sense_is_refused_and_shows_no_secret(make):
    with pytest.raises(ProbeUnusableError) as caught:
        make()
    assert "secret" not in str(caught.value)


def test_a_missing_driver_is_named_with_its_extra(monkeypatch):
    for url, module, extra in (
        ("postgresql:///x", "psycopg", "postgresql"),
        ("mariadb://x/y", "pymysql", "mariadb"),
    ):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ProbeUnusableError, match=rf"needs the driver {module}[\s\S]*holdfast\[{extra}\]"):
            SqlProbe("p", 1, url, "SELECT 1")


# --- what the system does ---------------------------------------------------------------------------------------------


def test_the_calling_thread_is_lowered_and_comes_back():
    def seen():
        own = psutil.Process(threading.get_native_id())
        return os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0), own.ionice()

    before = seen()
    with lowered("normal") as refused:
        assert refused == ()
        assert seen() == before
    with lowered("low") as refused:
        assert refused == ()
        assert seen()[0] >= 10
        assert seen()[2].value == 7
    with lowered("idle"):
        assert seen()[1] == os.SCHED_IDLE
        assert seen()[2].ioclass == psutil.IOPRIO_CLASS_IDLE
        child = []
        thread = threading.Thread(target=lambda: child.append(seen()))
        thread.start()
        thread.join()
        assert child[0][1] == os.SCHED_IDLE, "threads made by it are lowered too"
    if os.geteuid() == 0:
        assert seen()[:2] == before[:2]


def test_what_the_system_refuses_of_a_priority_is_said(monkeypatch):
    def refuse(*_):
        raise OSError(1, "not permitted")

    now = SimpleNamespace(ioclass=0, value=0)
    with monkeypatch.context() as patched:
        patched.setattr(psutil.Process, "ionice", lambda _, *given: refuse() if given else now)
        with lowered("low") as refused:
            assert refused == ("I/O class",)
    monkeypatch.setattr(os, "setpriority", refuse)
    monkeypatch.setattr(psutil.Process, "ionice", refuse)
    with lowered("low") as refused:
        assert refused == ("scheduling class", "I/O class")


def test_a_file_of_the_kernel_that_cannot_be_read_is_none(tmp_path):
    assert read_text(str(tmp_path / "none")) is None
    assert read_text(str(tmp_path)) is None, "opens, and refuses to be read"


# --- control groups ---------------------------------------------------------------------------------------------------

BURN = "import time\nwhile True: pass"


def test_a_group_of_this_system_limits_cpu_and_disk():
    """Needs a writable hierarchy, as containers with root and this project's machines have one."""
    with subprocess.Popen([sys.executable, "-c", BURN]) as child:
        try:
            group = ControlGroup(f"test-{os.getpid()}", pid=child.pid)
            assert group.is_member, group.refused
            device = device_of(os.getcwd())
            group.limit(Budget(cpu_cores=0.1, read_bytes_per_s=1e6), [device] if device else [])
            home = ROOT / "cpu" / f"holdfast-test-{os.getpid()}"
            blkio = ROOT / "blkio" / home.name / "blkio.throttle.read_bps_device"
            if group.version == 1:
                assert (home / "cpu.cfs_quota_us").read_text() == "10000\n"
                assert str(child.pid) in (home / "cgroup.procs").read_text().split()
                assert device is None or blkio.read_text() == f"{device} 1000000\n"
                wait_for(lambda: throttled(home) > 0)
            group.limit(Budget(), [device] if device else [])
            if group.version == 1:
                assert (home / "cpu.cfs_quota_us").read_text() == "-1\n"
                assert blkio.read_text() == ""
            assert group.refused == []
            group.close()
            assert not home.exists()
        finally:
            child.kill()


def throttled(home: Path) -> int:
    words = (home / "cpu.stat").read_text().split()
    return int(words[words.index("nr_throttled") + 1])


def wait_for(condition):
    for _ in range(600):
        if condition():
            return
        threading.Event().wait(0.05)
    pytest.fail("it never came")


def test_a_group_that_cannot_be_made_is_said_and_nothing_else_happens(tmp_path):
    with ControlGroup("none", root=tmp_path) as group:
        assert not group.is_member
        group.limit(Budget(cpu_cores=1.0))
    assert group.refused == ["cgroup: no hierarchy is mounted"]
    nobody = ControlGroup("none", pid=2**22 - 1)
    assert not nobody.is_member
    assert nobody.refused


def test_version_two_is_joined_delegated_and_limited(tmp_path, monkeypatch):
    """On a folder that looks like the unified hierarchy: the files are the kernel's, the effects are not."""
    home = tmp_path / "session"
    home.mkdir()
    (tmp_path / "cgroup.controllers").write_text("cpu io memory")
    (home / "cgroup.controllers").write_text("cpu io memory")
    monkeypatch.setattr("holdfast.governor.cgroups._homes", lambda *_: {"": home})
    group = ControlGroup("run", root=tmp_path)
    assert group.version == 2
    assert (home / "cgroup.subtree_control").read_text() == "+cpu +io"
    made = home / "holdfast-run"
    assert (made / "cgroup.procs").read_text() == f"{os.getpid()}"
    group.limit(Budget(cpu_cores=0.5), ["8:0"])
    assert (made / "cpu.max").read_text() == "50000 100000"
    monkeypatch.setattr(Path, "write_text", lambda *_: (_ for _ in ()).throw(OSError(30, "read-only")))
    group.limit(Budget(cpu_cores=0.5), ["8:0"])
    group.limit(Budget(cpu_cores=0.5), ["8:0"])
    assert group.refused == ["cgroup cpu.max: Read-only file system", "cgroup io.max: Read-only file system"]
    group.close()
    assert not group.is_member


def test_a_group_that_cannot_be_joined_or_left_is_said_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("holdfast.governor.cgroups._homes", lambda *_: {"cpu": tmp_path})
    write = Path.write_text

    def refuse(path, text):
        raise OSError(13, "denied")

    monkeypatch.setattr(Path, "write_text", refuse)
    refused = ControlGroup("none", root=tmp_path)
    assert refused.refused == ["cgroup cpu: Permission denied"]
    monkeypatch.setattr(Path, "write_text", write)
    group = ControlGroup("stuck", root=tmp_path)
    assert group.is_member
    monkeypatch.setattr(Path, "write_text", refuse)
    group.close()
    assert (tmp_path / "holdfast-stuck").exists(), "the process is still in it"


def test_where_a_disk_cannot_be_named_none_is(monkeypatch):
    assert device_of("/no/such/place") is None
    assert device_of("/proc") is None
    monkeypatch.setattr(Path, "exists", lambda _: True)
    monkeypatch.setattr(Path, "read_text", lambda _: "8:0\n")
    assert device_of("/") == "8:0", "a partition's disk"
    monkeypatch.setattr(Path, "read_text", lambda _: (_ for _ in ()).throw(OSError(2, "gone")))
    assert device_of("/") is None
