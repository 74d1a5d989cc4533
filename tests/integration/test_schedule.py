"""The schedule as a service of real processes: killed at any time, it neither loses nor doubles a run; it is seen from outside."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from tests.scheduled import HOLDFAST, Site

from holdfast import config as configuration
from holdfast.base.environment import system
from holdfast.cli import main
from holdfast.errors import LocalStateError, ScheduleBusyError
from holdfast.runs import status
from holdfast.runs.alerting import open_book
from holdfast.runs.schedule.configured import runs_folder, service_runs
from holdfast.runs.schedule.records import RunState
from holdfast.runs.schedule.service import Stop, service_lock
from servers import install


def fetch(port: int, path: str = "/metrics", accept: str = "") -> tuple[str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Accept": accept})
        answer = connection.getresponse()
        return answer.headers["Content-Type"], answer.read()
    finally:
        connection.close()


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    return Site(tmp_path)


def test_a_killed_service_neither_loses_nor_doubles_a_run(site):
    with site.service() as first:
        assert main(["schedule", "now", "nightly", "--config", str(site.config), "-q"]) == 0
        site.eventually(lambda: site.state() is RunState.RUNNING and list(runs_folder().glob("*.pid")))
        run = site.pid()
        second = subprocess.run(
            [*HOLDFAST, "schedule", "run", "--config", str(site.config)], capture_output=True, text=True, check=False
        )
        assert second.returncode == 1
        assert "another `holdfast schedule run` is at work" in second.stderr
        assert service_runs()
        first.kill()
        first.wait()
    assert not service_runs()
    os.kill(run, 0)
    with site.service():
        time.sleep(0.3)
        assert site.state() is RunState.RUNNING, "the run goes on and is watched"
        site.gate.touch()
        site.eventually(lambda: site.state() is RunState.DONE)
        site.eventually(lambda: site.state("proof") is RunState.DONE)
        assert site.run().attempt == 1
        assert site.snapshots() == 1
        assert not list(runs_folder().glob("*.jsonl"))


def test_a_run_that_was_killed_with_its_service_is_made_again(site):
    with site.service() as first:
        assert main(["schedule", "now", "nightly", "--config", str(site.config), "-q"]) == 0
        site.eventually(lambda: site.state() is RunState.RUNNING and list(runs_folder().glob("*.pid")))
        first.kill()
        os.killpg(site.pid(), signal.SIGKILL)
    site.gate.touch()
    with site.service():
        site.eventually(lambda: site.state() is RunState.DONE)
        assert site.run().attempt == 2
        assert site.snapshots() == 1
    with open_book() as book:
        assert not [record for record in book.live() if record.subject == "nightly"]


def test_a_stream_that_outlives_its_killed_run_holds_nothing_up(site):
    with site.service() as first:
        assert main(["schedule", "now", "nightly", "--config", str(site.config), "-q"]) == 0
        site.eventually(lambda: site.state() is RunState.RUNNING and list(runs_folder().glob("*.pid")))
        site.eventually(lambda: waiting(site.gate))
        first.kill()
        os.killpg(site.pid(), signal.SIGKILL)
    left = waiting(site.gate)
    assert left, "the command of the killed run goes on"
    with site.service():
        site.eventually(lambda: site.run().attempt == 2 and waiting(site.gate) - left)
        site.gate.touch()
        site.eventually(lambda: site.state() is RunState.DONE)
    assert site.snapshots() == 1


def waiting(gate) -> set[str]:
    """Return the processes that wait for the gate in a stream's command."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                command = (entry / "cmdline").read_bytes()
                if command.startswith((b"sh\0", b"/bin/sh\0")) and os.fsencode(gate) in command:
                    found.add(entry.name)
    return found


def test_a_service_that_is_asked_to_end_keeps_checkpoints_and_goes_on(site):
    with site.service() as first:
        assert main(["schedule", "now", "nightly", "--config", str(site.config), "-q"]) == 0
        site.eventually(lambda: site.state() is RunState.RUNNING and list(runs_folder().glob("*.pid")))
        time.sleep(1.5)  # until the run has its handler of signals
        first.terminate()
        assert first.wait(60) == 0
        run = site.run()
        assert (run.state, run.exit_code, run.attempt) == (RunState.WAITING, 143, 0)
    site.gate.touch()
    with site.service():
        site.eventually(lambda: site.state() is RunState.DONE)
    assert site.snapshots() == 1


def test_what_fails_is_told_and_seen_from_outside(site, capsys):
    site.gate.touch()
    with site.service():
        for name in ("nightly", "broken"):
            assert main(["schedule", "now", name, "--config", str(site.config), "-q"]) == 0
        site.eventually(lambda: site.state() is RunState.DONE and site.state("broken") is RunState.FAILED)
        site.eventually(lambda: (site.folder / "alerts").exists())
        messages = [json.loads(line) for line in (site.folder / "alerts").read_text().splitlines()]
        assert any("source-missing" in message["codes"] and message["subjects"] == ["broken"] for message in messages)
        site.eventually(
            lambda: 'holdfast_schedule_runs_failed_total{entry="broken",kind="backup"} 1.0'
            in fetch(site.port)[1].decode()
        )
        site.eventually(
            lambda: 'holdfast_source_snapshots{source="ehr"} 1.0' in (site.folder / "holdfast.prom").read_text()
        )
        kind, content = fetch(site.port, accept="application/openmetrics-text; version=1.0.0")
        assert kind.startswith("application/openmetrics-text")
        assert content.endswith(b"# EOF\n")
        assert fetch(site.port, "/") == ("text/plain", b"metrics are at /metrics\n")
        text = fetch(site.port)[1].decode() + (site.folder / "alerts").read_text() + (site.folder / "log").read_text()
        assert str(site.folder / "data") not in text
        assert "a.hl7" not in text
    capsys.readouterr()
    assert main(["status", "--config", str(site.config)]) == 3
    out = capsys.readouterr().out
    assert "Something needs attention." in out
    assert "ehr" in out
    assert "FAILED" not in out
    assert main(["status", "--check", "--config", str(site.config)]) == 1
    assert capsys.readouterr().out.startswith(
        "HOLDFAST WARNING - 1 sources were never backed up; 1 alerts wait for an answer | rpo_missed=0;;0 alerts_open=1;0"
    )
    assert main(["status", "--metrics", "--config", str(site.config)]) == 0
    assert "# TYPE holdfast_source_rpo_seconds gauge" in capsys.readouterr().out
    assert main(["alerts", "list"]) == 3
    assert "source-missing" in capsys.readouterr().out
    assert main(["alerts", "ack", "1", "--by", "anna"]) == 0
    assert main(["status", "--check", "--config", str(site.config)]) == 1, "one job was never backed up"
    shutil.rmtree(site.vault)
    assert main(["status", "--config", str(site.config)]) == 7
    capsys.readouterr()
    assert main(["status", "--check", "--config", str(site.config)]) == 2
    assert "the vault cannot be read (vault-missing)" in capsys.readouterr().out


def test_the_service_manager_is_told(site):
    address = str(site.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(30)
        with site.service(NOTIFY_SOCKET=address, WATCHDOG_USEC="3000000") as service:
            words = manager.recv(1000).decode().splitlines()
            assert words[0] == "READY=1"
            while "WATCHDOG=1" not in words:
                words = manager.recv(1000).decode().splitlines()
            service.terminate()
            while "STOPPING=1" not in words:
                words = manager.recv(1000).decode().splitlines()
            assert service.wait(60) == 0


def test_the_unit_is_one_that_systemd_takes(site, capsys):
    analyze = install.debian("systemd-analyze", "systemd")
    assert main(["schedule", "unit", "--config", str(site.config), "--user", "root"]) == 0
    unit = site.folder / "holdfast.service"
    text = capsys.readouterr().out
    unit.write_text(text)
    done = subprocess.run([analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "holdfast.service" not in done.stderr, done.stderr
    for line in ("Type=notify", "WatchdogSec=120", "Restart=always", "KillMode=mixed"):
        assert line in text


def test_a_vault_that_is_down_is_a_fact(site):
    loaded = configuration.load(site.config)
    shutil.move(site.vault, site.folder / "away")
    facts = status.read_vault(loaded, system())
    assert facts.error == "vault-missing"
    assert facts.alert is not None
    assert facts.alert.subject == "vault"


def test_the_lock_of_the_service(tmp_path):
    with service_lock(tmp_path / "deep"), pytest.raises(ScheduleBusyError), service_lock(tmp_path / "deep"):
        pass


def test_a_port_that_is_taken_keeps_no_backup_from_being_made(site):
    site.gate.touch()
    with socket.create_server(("127.0.0.1", site.port)), site.service() as service:
        site.now("nightly")
        assert site.state() is RunState.DONE
        assert service.poll() is None
        site.eventually(lambda: "metrics-not-served" in site.codes())


def test_a_service_whose_books_are_damaged_stays_up_and_tells_once(site):
    with site.service() as service:
        site.eventually(lambda: site.told() or runs_folder().exists())
        for name in ("schedule.sqlite", "alerts.sqlite"):
            path = runs_folder().parent / name
            path.write_bytes(b"\x5a" * path.stat().st_size)
        site.eventually(lambda: "local-state" in site.codes())
        assert service.poll() is None
        logged = (site.folder / "log").read_text()
        assert "service-part-failed" in logged
    assert [message["codes"] for message in site.told() if "local-state" in message["codes"]] == [["local-state"]]


def test_a_service_that_cannot_use_its_folder_tells_and_waits_for_it(site, tmp_path):
    (tmp_path / "state").rename(tmp_path / "kept")
    (tmp_path / "state").write_text("")
    assert main(["schedule", "now", "nightly", "--config", str(site.config), "-q"]) == 1
    with pytest.raises(LocalStateError):
        service_runs()
    stops = [False, True]
    waited: list[float] = []
    config = configuration.load(str(site.config))
    status.run_service(config, str(site.config), Stop(Answers(stops.pop), waited.append))
    assert len(waited) == 2
    assert [message["codes"] for message in site.told()] == [["local-state"]]


class Answers:
    """Whether the service is asked to end: as often as it asks."""

    def __init__(self, answer) -> None:
        self._answer = answer

    def is_set(self) -> bool:
        return not self._answer()
