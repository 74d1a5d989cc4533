"""Whole runs under the governor: steered from outside, paused and resumed, ended by their window, held back by an application.

Runs are held by limits, never by time: a test goes on when something was seen, not after a while.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import holdfast
from holdfast.base.environment import system
from holdfast.base.events import Note, Progress
from holdfast.cli import main
from holdfast.errors import Interrupted, PausedError, RunMissingError, SteeringError
from holdfast.governor.plan import GovernorPlan
from holdfast.governor.probes import SqlProbe, Watch
from holdfast.governor.windows import Calendar, Window, parse_days
from holdfast.runs import steer
from holdfast.runs.governed import FOLDER, governed
from holdfast.runs.options import BackupOptions, Limits
from servers import sql

MIB = 1 << 20
SLOW = Limits(read_bytes_per_s=256 << 10)


@pytest.fixture
def vault(place):
    made = place.create()
    dice = random.Random(7)
    for name in "abcd":
        (place.source / name).write_bytes(dice.randbytes(3 * MIB))
    yield made
    made.close()


@contextmanager
def running(vault, place, **more):
    """Back up slowly in a thread; yield a box that gets the result or the error."""
    box: dict[str, Any] = {"events": []}
    options = BackupOptions(limits=SLOW, checkpoint_seconds=3600, **more)

    def run():
        try:
            box["result"] = vault.backup(
                [place.source], label="ehr", options=options, events=box["events"].append, stop=box["stop"]
            )
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            box["error"] = error

    box["stop"] = threading.Event()
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield box
    finally:
        thread.join(120)
        assert not thread.is_alive()


def until(condition):
    """Wait until something is seen; return it."""
    for _ in range(1200):
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    pytest.fail("it was never seen")


def status():
    return until(lambda: [row for row in steer.run_status() if row.course])


def test_limits_are_changed_in_the_middle_of_a_file_and_the_record_shows_it(vault, place):
    with running(vault, place) as box:
        (row,) = status()
        assert (row.kind, row.label) == ("backup", "ehr")
        assert row.limits.read_bytes_per_s == 256 << 10
        (row,) = steer.set_run_limits({"cpu_cores": 1.5, "read_bytes_per_s": 64 << 10}, row.run[:4])
        assert (row.limits.cpu_cores, row.limits.read_bytes_per_s) == (1.5, 64 << 10)
        assert vault._vault.limits.read_bytes_per_s == 64 << 10
        # What is set while it runs never goes above what is configured: lifting it leaves that.
        (row,) = steer.set_run_limits({"read_bytes_per_s": None})
        assert row.limits.read_bytes_per_s == 256 << 10
        with pytest.raises(SteeringError, match="limits are"):
            steer.set_run_limits({"speed": 1})
        with pytest.raises(RunMissingError):
            steer.run_status("zz")
        until(lambda: vault._vault.limits.used().read_bytes > 0)
        vault._vault.governor = GovernorPlan
        box["stop"].set()
    assert isinstance(box["error"], Interrupted)
    assert vault._vault.limits.read_bytes_per_s is None, "a vault without a run has no limits"


def test_a_paused_run_holds_still_and_goes_on(vault, place):
    fast = BackupOptions(limits=Limits(read_bytes_per_s=3 * MIB))
    seen: list[Any] = []

    def on_event(event):
        if isinstance(event, Progress) and event.phase == "read" and not seen:
            (row,) = steer.pause_runs(steer.run_status()[0].run, reason="rounds")
            seen.append((row.course, row.reason))
            before = vault._vault.limits.used().read_bytes
            time.sleep(0.3)
            seen.append(vault._vault.limits.used().read_bytes - before)
            assert steer.resume_runs(row.run)

    result = vault.backup([place.source], label="ehr", options=fast, events=on_event)
    assert seen[0] == ("hold", "operator")
    assert seen[1] <= 2 * MIB, "at most what was under way"
    assert not result.partial
    assert "operator" in result.governor.reasons
    assert "limit read" in result.governor.reasons
    assert result.governor.held_seconds > 0


def test_the_machine_s_pause_keeps_a_checkpoint_gives_memory_back_and_ends_by_itself(vault, place):
    vault._vault.governor = lambda: GovernorPlan(hold_seconds=0.0, tick_seconds=0.05, wait_for_window=True)
    with running(vault, place) as box:
        until(lambda: vault._vault.limits.used().read_bytes > 300_000)
        steer.pause_runs(reason="upgrade")
        assert steer.paused_runs().reason == "upgrade"
        until(lambda: any(isinstance(event, Note) and event.code == "yielded" for event in box["events"]))
        (row,) = status()
        assert row.course == "yield"
        steer.set_run_limits({"read_bytes_per_s": None})
        vault._vault.governor = GovernorPlan
        assert steer.resume_runs()
        until(lambda: steer.run_status()[0].course == "run")
        box["stop"].set()
    assert isinstance(box["error"], Interrupted)


def test_a_run_that_yielded_goes_on_and_commits(vault, place):
    ticks: list[Progress | Note] = []
    plan = GovernorPlan(hold_seconds=0.0, tick_seconds=0.05)
    vault._vault.governor = lambda: plan
    options = BackupOptions(limits=Limits(read_bytes_per_s=4 * MIB), pack_bytes=MIB, workers=1)

    def on_event(event):
        if isinstance(event, Progress) and event.phase == "read" and not ticks:
            ticks.append(event)
            steer.pause_runs(reason="a moment")
        if isinstance(event, Note) and event.code == "yielded":
            ticks.append(event)
            steer.resume_runs()

    result = vault.backup([place.source], label="ehr", options=options, events=on_event)
    assert len(ticks) == 2
    assert result.governor.yields == 1
    assert not result.partial
    target = place.source.parent / "back"
    vault.snapshots().latest().restore(target)
    for name in "abcd":
        restored = target / str(place.source).lstrip("/") / name
        assert restored.read_bytes() == (place.source / name).read_bytes()


def closing(after: timedelta) -> Calendar:
    """Closed from some time on, by the system's clock."""
    start = datetime.now(UTC) + after
    end = (start + timedelta(hours=2)).time()
    return Calendar((Window("night", "closed", parse_days(["daily"]), start.time(), end, ZoneInfo("UTC")),))


def test_a_window_that_closes_ends_a_run_with_exit_code_9_and_the_next_goes_on(vault, place):
    calendar = closing(timedelta(hours=1))
    vault._vault.governor = lambda: GovernorPlan(calendar=calendar, tick_seconds=0.05)
    options = BackupOptions(limits=Limits(read_bytes_per_s=MIB), pack_bytes=MIB, workers=1)
    real, ahead = vault._vault.env, [timedelta()]
    vault._vault.env = replace(real, now=lambda: real.now() + ahead[0])

    def on_event(event):
        if isinstance(event, Progress) and event.stored_bytes > 2 * MIB:
            ahead[0] = timedelta(hours=1, minutes=1)

    with pytest.raises(PausedError) as caught:
        vault.backup([place.source], label="ehr", options=options, events=on_event)
    assert caught.value.exit_code == 9
    assert "window night" in caught.value.what
    with pytest.raises(PausedError):
        vault.verify()
    vault._vault.governor = GovernorPlan
    done = vault.backup([place.source], label="ehr", options=BackupOptions())
    assert not done.partial
    assert done.stats.new_bytes < 12 * MIB, "what the first run stored is not stored again"


def test_a_courier_holds_still_while_it_is_paused_and_obeys_its_window(vault, place, tmp_path):
    vault.backup([place.source], label="ehr", options=BackupOptions(pack_bytes=4 * MIB))
    pack = max(vault._vault.store.list("data/"), key=lambda info: info.size).name
    (tmp_path / "medium").mkdir()
    courier = vault.courier("far")
    seen: list[Any] = []

    def on_event(event):
        if isinstance(event, Progress) and event.phase == "write" and not seen:
            (row,) = steer.run_status()
            seen.append(row.kind)
            (row,) = steer.pause_runs(row.run, reason="rounds")
            read = threading.Thread(target=lambda: (vault._vault.store.get(pack), seen.append("read")))
            read.start()
            read.join(0.3)
            seen.append(read.is_alive())
            assert steer.resume_runs(row.run)
            read.join(60)

    vault._vault.governor = lambda: GovernorPlan(calendar=closing(timedelta(0)))
    with pytest.raises(PausedError):
        courier.export(tmp_path / "medium")
    vault._vault.governor = GovernorPlan
    done = courier.export(tmp_path / "medium", events=on_event)
    assert seen == ["courier", True, "read"], "a store in a folder is not read while the run is paused"
    assert (done.left, done.objects > 4) == (0, True)


def test_a_prune_obeys_its_window_and_a_repair_does_not(vault, place):
    vault.backup([place.source], label="ehr")
    vault._vault.governor = lambda: GovernorPlan(calendar=closing(timedelta(0)))
    with pytest.raises(PausedError):
        vault.prune()
    assert vault.prune(dry_run=True).phase == "dry-run", "what only looks is not held"
    assert vault.repair().exit_code == 0, "a repair is not put off"
    vault._vault.governor = GovernorPlan
    assert vault.prune().phase == "nothing"


def test_a_restore_is_not_stopped_by_windows_or_load(vault, place, tmp_path):
    vault.backup([place.source], label="ehr")
    shut = Window("all", "closed", parse_days(["mon"]), datetime.min.time(), datetime.min.time())
    vault._vault.governor = lambda: GovernorPlan(
        active=True, calendar=Calendar((shut, Window("rest", "closed", parse_days(["workday"]), shut.start, shut.end)))
    )
    result = vault.snapshots().latest().restore(tmp_path / "back", limits=Limits(write_bytes_per_s=10**9))
    assert result.exit_code == 0
    assert result.governor is not None


def test_a_restore_and_a_verification_are_interrupted_in_their_own_words(vault, place, tmp_path):
    vault.backup([place.source], label="ehr")
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted, match="files that have their names"):
        vault.snapshots().latest().restore(tmp_path / "back", stop=stop, limits=Limits(read_bytes_per_s=1024))
    with pytest.raises(Interrupted, match="what was proved"):
        vault.verify(stop=stop, limits=Limits(read_bytes_per_s=1024))
    report = vault.verify(limits=Limits(operations_per_s=10**6, threads=2, memory_bytes=64 * MIB))
    assert report.sound
    assert report.governor.samples


def test_work_of_other_kinds_is_governed_by_the_same_helper(vault):
    with governed(vault._vault, Limits(network_bytes_per_s=1000), kind="drill", events=print, stop=None) as steered:
        assert not steered.is_over()
        assert vault._vault.limits.network_bytes_per_s == 1000
        vault._vault.limits.take_network(10)
        vault._vault.limits.take_disk(10, write=True)
        vault._vault.limits.take_disk(20, write=False)
        used = vault._vault.limits.used()
        assert (used.network_bytes >= 10, used.write_bytes >= 10, used.read_bytes >= 20) == (True, True, True)
        assert [row.kind for row in steer.run_status()] == ["drill"]
        attempts = []

        def attempt():
            attempts.append(1)
            return "done"

        assert steered.attempts(attempt) == "done"
    assert steer.run_status() == ()


# --- the command line -------------------------------------------------------------------------------------------------


def test_pause_resume_and_limits_from_the_command_line(vault, place, capsys):
    assert main(["limits"]) == 0
    assert "No run lives" in capsys.readouterr().out
    assert main(["pause", "--reason", "ward move", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "type": "pause", "paused": True, "run": "", "changed": True, "exit_code": 0,
    }  # fmt: skip
    assert main(["limits"]) == 0
    assert "paused since" in capsys.readouterr().out
    arguments = ["backup", "--vault", str(place.vault), "--key-file", str(place.key), str(place.source)]
    assert main(arguments) == 9
    err = capsys.readouterr().err
    assert "ward move" in err
    assert "NEXT: `holdfast resume`" in err
    assert main(["resume"]) == 0
    assert main(["resume"]) == 0
    assert "Nothing was paused" in capsys.readouterr().out
    assert main(["limits", "--read", "fast"]) == 2
    assert main(["limits", "--run", "ffff", "--cpu", "1"]) == 5
    assert main(["pause", "--run", "ffff"]) == 5
    assert main(["resume", "--run", "ffff"]) == 5


def test_a_run_is_steered_from_the_command_line(vault, place, capsys):
    with running(vault, place) as box:
        (row,) = status()
        capsys.readouterr()
        assert main(["limits", "--read", "128KiB/s", "--iops", "100", "--json"]) == 0
        record = json.loads(capsys.readouterr().out)
        assert record["limits"]["read_bytes_per_s"] == 128 << 10
        assert record["limits"]["operations_per_s"] == 100
        assert main(["limits", "--read", "none"]) == 0
        table = capsys.readouterr().out
        assert row.run in table
        assert "of 262 kB/s" in table
        assert main(["pause", "--run", row.run]) == 0
        assert steer.run_status(row.run)[0].course == "hold"
        assert main(["resume", "--run", row.run]) == 0
        assert steer.run_status(row.run)[0].course == "run"
        box["stop"].set()
    assert isinstance(box["error"], Interrupted)


def test_a_pause_survives_the_death_of_a_run_and_its_checkpoint_too(vault, place):
    state = os.environ["HOLDFAST_STATE"]
    command = [
        sys.executable, "-m", "holdfast", "backup", "--vault", str(place.vault), "--key-file", str(place.key),
        "--limit-read", "1MiB", str(place.source),
    ]  # fmt: skip
    with subprocess.Popen(command, env={**os.environ, "HOLDFAST_STATE": state}, stderr=subprocess.PIPE) as child:
        until(lambda: steer.run_status())
        steer.pause_runs(reason="reboot")
        child.send_signal(signal.SIGKILL)
    assert steer.run_status() == (), "its row went with it"
    with pytest.raises(PausedError, match="reboot"):
        vault.backup([place.source])
    steer.resume_runs()
    assert vault.backup([place.source]).exit_code == 0


# --- a configuration --------------------------------------------------------------------------------------------------

CONFIG = """
[vault]
url = "{url}"
key_file = "file:{key}"
[jobs.ehr]
paths = ["{source}"]
rpo_seconds = "1h"
[jobs.ehr.limits]
threads = 1
[limits]
threads = 8
memory_bytes = "16MiB"
[governor]
slowdown_max = 10
priority = "low"
cgroup = true
[governor.machine]
read_bytes_per_s = "500MB"
[governor.probes.app]
command = ["true"]
[windows.rounds]
mode = "peak"
days = ["daily"]
start = "00:00"
end = "00:00"
cpu_cores = 2
"""


def test_a_configured_run_keeps_to_its_configuration(vault, place, tmp_path):
    config = tmp_path / "holdfast.toml"
    config.write_text(CONFIG.format(url=place.vault, key=place.key, source=place.source))
    seen = []
    usual = os.getpriority(os.PRIO_PROCESS, 0)

    def on_event(event):
        if isinstance(event, Progress) and event.phase in ("read", "commit"):
            limits = opened._vault.limits
            seen.append((limits.threads, limits.memory_bytes, limits.cpu_cores))

    with holdfast.Vault.open(config) as opened:
        assert opened.backup("ehr", events=on_event).exit_code == 0
        result = opened.backup("ehr", events=on_event)
    assert seen
    assert {each[:2] for each in seen} == {(1, 16 * MIB)}
    assert max(each[2] or 0 for each in seen) <= 2.0
    assert result.governor is not None
    assert os.getpriority(os.PRIO_PROCESS, 0) == usual or os.geteuid() != 0
    assert (tmp_path / "state" / FOLDER / "baseline.json").exists()
    assert steer.suggest_windows() == (), "a day's hours are not known yet"


# --- real applications ------------------------------------------------------------------------------------------------


def test_a_real_postgresql_answers_a_probe_and_its_death_is_load():
    with sql.postgresql() as port:
        probe = SqlProbe("ehr", 10, f"postgresql://postgres@127.0.0.1:{port}/postgres", "SELECT 1")
        watch = Watch(probe, system())
        watch.once()
        watch.once()
        reading = watch.latest(None)
        assert reading.state == "learning"
        assert reading.latency is not None
        slow = SqlProbe("ehr", 0.2, f"postgresql://postgres@127.0.0.1:{port}/postgres", "SELECT pg_sleep(30)")
        stuck = Watch(slow, system())
        stuck.once()
        assert stuck.latest(None).state == "failing", "its own time-out ended the statement"
        writing = SqlProbe("ehr", 10, f"postgresql://postgres@127.0.0.1:{port}/postgres", "CREATE TABLE t (x int)")
        writing.ask()
        writing.close()
    watch.once()
    assert watch.latest(None).state == "failing"


def test_a_real_mariadb_answers_a_probe_with_a_password():
    with sql.mariadb() as port:
        url = f"mariadb://probe@127.0.0.1:{port}/"
        watch = Watch(SqlProbe("ehr", 10, url, "SELECT 1", sql.PASSWORD), system())
        watch.once()
        assert watch.latest(None).state == "learning"
        wrong = Watch(SqlProbe("ehr", 10, url, "SELECT 1", "wrong"), system())
        wrong.once()
        assert wrong.latest(None).state == "failing"
        watch.probe.close()
