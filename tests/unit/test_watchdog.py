"""The watchdog's process for real, on files and sockets: it acts at its deadline, at the end of the run, when asked, and else not.

No test measures time; each waits for what must happen, and would hang (and so fail) if it did not.
"""

from __future__ import annotations

import http.server
import json
import os
import select
import signal
import socket
import subprocess
import threading
import time

import pytest

from holdfast.base.environment import system
from holdfast.errors import WatchdogError
from holdfast.sources import watchdog as watchdogs
from holdfast.sources import watchdog_child as child
from holdfast.sources.connectors.protocol import ThawOrder
from holdfast.sources.watchdog import Fired, Watchdog, sweep

LONG = 600.0


def touching(path, **more):
    return ThawOrder("command", argv=("touch", str(path)), **more)


def await_file(path):
    while not path.exists():
        time.sleep(0.02)


def test_disarmed_in_time_it_does_nothing(tmp_path):
    with Watchdog.arm([touching(tmp_path / "thawed")], LONG, env=system(), folder=tmp_path / "state") as dog:
        armed = dog.alive
        assert len(list((tmp_path / "state").iterdir())) == 1
    assert dog.disarm() == Fired()
    assert (armed, dog.alive) == (True, False)
    assert not (tmp_path / "thawed").exists()
    assert not list((tmp_path / "state").iterdir())


def test_it_acts_at_its_deadline_and_says_so(tmp_path):
    dog = Watchdog.arm([touching(tmp_path / "thawed")], 0.05, env=system())
    await_file(tmp_path / "thawed")
    fired = dog.disarm()
    assert (fired.why, fired.results, fired.failed) == ("deadline", ("",), 0)


def test_the_hold_deadline_comes_nearer_and_never_moves_away(tmp_path):
    dog = Watchdog.arm([touching(tmp_path / "a")], LONG, env=system())
    dog.holding(0.05)
    await_file(tmp_path / "a")
    assert dog.disarm().why == "deadline"
    dog = Watchdog.arm([touching(tmp_path / "b")], 0.2, env=system())
    dog.holding(LONG)
    await_file(tmp_path / "b")
    assert dog.disarm().why == "deadline"


def test_it_acts_when_asked_and_after_an_error(tmp_path):
    dog = Watchdog.arm([touching(tmp_path / "a")], LONG, env=system())
    assert dog.fire().why == "asked"
    assert (tmp_path / "a").exists()
    with pytest.raises(ZeroDivisionError), Watchdog.arm([touching(tmp_path / "b")], LONG, env=system()):
        raise ZeroDivisionError
    assert (tmp_path / "b").exists()


def test_it_acts_when_the_run_is_gone(tmp_path):
    pid = os.fork()
    if pid == 0:  # pragma: no cover - it is killed
        Watchdog.arm([touching(tmp_path / "thawed")], LONG, env=system(), folder=tmp_path / "state")
        (tmp_path / "armed").touch()
        signal.pause()
    await_file(tmp_path / "armed")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    await_file(tmp_path / "thawed")
    assert sweep(tmp_path / "state")[0].failed == 0


def test_it_outlives_the_signals_that_end_a_run(tmp_path):
    dog = Watchdog.arm([touching(tmp_path / "thawed")], LONG, env=system())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(dog._process.pid, number)
    assert dog.alive
    assert dog.fire().why == "asked"


def test_its_own_death_is_noticed(tmp_path):
    dog = Watchdog.arm([touching(tmp_path / "thawed")], LONG, env=system(), folder=tmp_path / "state")
    dog._process.kill()
    dog._process.wait()
    assert not dog.alive
    with pytest.raises(WatchdogError, match="gone"):
        dog.holding(1.0)
    assert dog.disarm().why == "lost"
    assert list((tmp_path / "state").iterdir())


def test_one_that_hangs_is_given_up_and_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(watchdogs, "END_SECONDS_MAX", 0.2)
    dog = Watchdog.arm([touching(tmp_path / "thawed")], LONG, env=system(), folder=tmp_path / "state")
    os.kill(dog._process.pid, signal.SIGSTOP)
    assert dog.disarm().why == "lost"
    assert dog._process.returncode == -signal.SIGKILL
    assert list((tmp_path / "state").iterdir())


def test_a_connection_is_ended_for_everybody_who_holds_it():
    ours, theirs = socket.socketpair()
    dog = Watchdog.arm(
        [ThawOrder("shutdown", fd=ours.fileno()), ThawOrder("shutdown", fd=ours.fileno())], LONG, env=system()
    )
    fired = dog.fire()
    assert fired.results in {("", "already"), ("", "")}
    assert theirs.recv(1) == b""
    ours.close()
    theirs.close()


class Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(204 if self.headers["X-Key"] == "k" else 403)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_request_is_sent_with_its_headers():
    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/thaw"
        order = {
            "kind": "http",
            "target": url,
            "argv": [],
            "environ": [["X-Key", "k"]],
            "timeout_seconds": 10,
            "fd": -1,
        }
        assert child.carry_out(order) == ""
        assert child.carry_out(order | {"environ": []}) == "status 403"
        assert child.carry_out(order | {"target": "file:///etc/passwd"}) == "no http address"
        server.shutdown()
        thread.join()
    assert child.carry_out(order).startswith("failed (URLError")


def command(*argv, **more):
    return {"kind": "command", "argv": argv, "environ": [], "succeeds": [0], "timeout_seconds": 10, "fd": -1} | more


def test_what_a_command_may_answer():
    assert child.carry_out(command("true")) == ""
    assert child.carry_out(command("false")) == "exit code 1"
    assert child.carry_out(command("sh", "-c", "exit 5", succeeds=[5])) == ""
    assert child.carry_out(command("sh", "-c", 'test "$SECRET" = x', environ=[["SECRET", "x"]])) == ""
    assert child.carry_out(command("sleep", "60", timeout_seconds=0.05)) == "timeout"
    assert child.carry_out(command("/none/such")).startswith("failed (FileNotFoundError")
    assert child.carry_out({"kind": "prayer"}).startswith("failed (KeyError")


def test_thawing_a_file_system_that_is_not_frozen(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    answer = child.carry_out({"kind": "fithaw", "fd": fd})
    by_path = child.carry_out({"kind": "fithaw", "fd": -1, "target": str(tmp_path)})
    os.close(fd)
    # Not frozen, no right to thaw (not root), or a file system that cannot freeze: never taken for a success.
    assert answer != ""
    assert by_path == answer
    assert child.carry_out({"kind": "fithaw", "fd": -1, "target": str(tmp_path / "none")}).startswith("failed")


def test_an_order_that_fails_is_tried_again(tmp_path):
    script = f'n=$(cat {tmp_path}/n 2>/dev/null || echo 0); echo $((n+1)) > {tmp_path}/n; test "$n" -ge 2'
    dog = Watchdog.arm([ThawOrder("command", argv=("sh", "-c", script)), touching(tmp_path / "b")], LONG, env=system())
    assert dog.fire().results == ("", "")
    dog = Watchdog.arm([ThawOrder("command", argv=("false",))], LONG, env=system(), folder=tmp_path / "state")
    assert dog.fire().failed == 1
    assert list((tmp_path / "state").iterdir())


def test_the_state_file_holds_no_secret_and_no_connection(tmp_path):
    ours, theirs = socket.socketpair()
    orders = [touching(tmp_path / "x", environ=(("KEY", "hunter2"),)), ThawOrder("shutdown", fd=ours.fileno())]
    with Watchdog.arm(orders, LONG, env=system(), folder=tmp_path / "state"):
        (path,) = (tmp_path / "state").iterdir()
        text = path.read_text()
        assert "hunter2" not in text
        assert "shutdown" not in text
        assert path.stat().st_mode & 0o77 == 0
    with Watchdog.arm(orders[1:], LONG, env=system(), folder=tmp_path / "state"):
        assert not list((tmp_path / "state").iterdir())
    ours.close()
    theirs.close()


def test_a_sweep_thaws_for_the_dead_and_leaves_the_living_alone(tmp_path):
    state = tmp_path / "state"
    with Watchdog.arm([touching(tmp_path / "living")], LONG, env=system(), folder=state):
        (path,) = state.iterdir()
        body = json.loads(path.read_text())
        assert sweep(state) == ()
        body["owner"] = "1 1 no-such-boot"
        body["orders"][0]["argv"] = ["touch", str(tmp_path / "dead")]
        (state / "dead.freeze").write_text(json.dumps(body))
        (swept,) = sweep(state)
        assert swept.failed == 0
        assert (tmp_path / "dead").exists()
        assert not (tmp_path / "living").exists()
        body["orders"][0]["argv"] = ["false"]
        (state / "stuck.freeze").write_text(json.dumps(body))
        assert sweep(state)[0].failed == 1
        assert (state / "stuck.freeze").exists()
        (state / "stuck.freeze").unlink()
        (state / "torn.freeze").write_text("{")
        assert sweep(state)[0].failed == 1
        assert sweep(state) == ()


def test_an_owner_that_is_nobody():
    assert watchdogs._owner(os.getpid()).startswith(f"{os.getpid()} ")
    assert watchdogs._owner(1 << 30) == ""


def test_nothing_is_armed_that_cannot_be(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(WatchdogError, match="state file"):
        Watchdog.arm([touching(tmp_path / "x")], 1.0, env=system(), folder=tmp_path / "file")

    def no_process(*_, **__):
        raise OSError(11, "no process")

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", no_process)
        with pytest.raises(WatchdogError, match="could not be started"):
            Watchdog.arm([touching(tmp_path / "x")], 1.0, env=system(), folder=tmp_path / "state")
    assert not list((tmp_path / "state").iterdir())
    real = subprocess.Popen

    def short_lived(command, **more):
        return real(["true"], **more)

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", short_lived)
        with pytest.raises(WatchdogError, match="did not answer"):
            Watchdog.arm([touching(tmp_path / "x")], 1.0, env=system(), folder=tmp_path / "state")
    assert not list((tmp_path / "state").iterdir())


def serve(*lines, orders=()):
    """Run the child's own loop here, on a socket; return its exit code and what it said."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for line in lines:
            ours.sendall(json.dumps(line).encode() + b"\n")
        ours.shutdown(socket.SHUT_WR)
        code = child._serve(child._Lines(theirs))
        said = b""
        while select.select([ours], [], [], 0)[0] and (data := ours.recv(65536)):
            said += data
        return code, [json.loads(line) for line in said.splitlines()]


def test_the_loop_itself():
    arm = {"arm": {"orders": [command("true")], "seconds": LONG}}
    assert serve() == (0, [])
    assert serve({"disarm": True}) == (0, [])
    assert serve(arm, {"hold": 1}, {"disarm": True}) == (0, [{"armed": True}, {"fired": "", "results": []}])
    assert serve(arm, {"fire": True}) == (3, [{"armed": True}, {"fired": "asked", "results": [""]}])
    assert serve(arm, {"strange": 1}) == (3, [{"armed": True}, {"fired": "run ended", "results": [""]}])
    failing = {"arm": {"orders": [command("false")], "seconds": 0.0}}
    code, said = serve(failing)
    assert code == 4
    assert said[-1]["results"] == ["exit code 1"]


def test_the_child_s_main(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # and back again, for it leaves its folder
    ours, theirs = socket.socketpair()
    before = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
    }
    try:
        ours.sendall(json.dumps({"arm": {"orders": [], "seconds": LONG}}).encode() + b"\n" + b'{"disarm": true}\n')
        assert child.main([str(theirs.detach())]) == 0
        signal.raise_signal(signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        ours.close()
