"""Runs are processes: how they ended is read from what they wrote, whoever started them, and however they were ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from importlib import metadata

import pytest

from holdfast.base.environment import ManualClock
from holdfast.cli.records import error_record
from holdfast.errors import DamageError, LocalStateError, Retry, Safety, ScheduleBusyError, UsageError
from holdfast.runs.schedule.kinds import arguments_of
from holdfast.runs.schedule.launch import KILL_AFTER_SECONDS, Ended, ProcessLauncher, outcome_of
from holdfast.runs.schedule.records import Entry, RunRecord, RunState

SLOT = datetime(2026, 11, 23, tzinfo=UTC)
ENTRY = Entry("ehr", "backup", "ehr")
ALERT = {
    "type": "alert", "code": "c", "subject": "s", "text": "t", "safety": "at risk", "retry": "later", "safe": "", "next": "",
}  # fmt: skip
DONE = {"type": "backup", "exit_code": 0, "snapshot": {"id": "ab"}}


def record(name: str = "t", attempt: int = 1) -> RunRecord:
    return RunRecord("ehr", SLOT, RunState.RUNNING, attempt, SLOT, None, None, None, "", "", name)


class Runs:
    """A launcher of small programs instead of holdfast."""

    def __init__(self, folder) -> None:
        self.folder = folder / "runs"
        self.clock = ManualClock()
        self.launcher = self.again("")

    def again(self, program: str) -> ProcessLauncher:
        command = (sys.executable, "-c", program)
        self.launcher = ProcessLauncher(self.folder, "site.toml", self.clock.environment(), program=command)
        return self.launcher

    def start(self, program: str, name: str = "t") -> ProcessLauncher:
        self.again(program).start(ENTRY, record(name))
        return self.launcher

    def ended(self) -> Ended:
        for run in self.launcher._runs.values():
            if run.process is not None:
                run.process.wait(30)
        (found,) = self.launcher.poll()
        assert not [path for path in self.folder.iterdir() if path.suffix != ".lock"]
        return found


@pytest.fixture
def runs(tmp_path):
    return Runs(tmp_path)


def lines(*records: dict) -> str:
    return f"print({json.dumps(chr(10).join(json.dumps(each, separators=(',', ':')) for each in records))})"


def test_a_run_that_succeeds(runs):
    runs.start(
        "import sys; assert sys.argv[1:] == ['backup', '--job', 'ehr', '--json', '--config', 'site.toml'];"
        + lines(ALERT, DONE)
    )
    ended = runs.ended()
    assert (ended.outcome.exit_code, ended.outcome.snapshot) == (0, "ab")
    assert [(alert.code, alert.safety, alert.retry) for alert in ended.alerts] == [("c", Safety.AT_RISK, Retry.LATER)]
    assert runs.launcher.poll() == []


def test_files_that_come_and_go_are_told_from_what_could_not_be_read(runs):
    partial = DONE | {"exit_code": 3}
    passing = {"type": "finding", "kind": "vanished", "detail": "x"}
    runs.start(lines({"type": "progress"}, passing, partial) + "; raise SystemExit(3)")
    assert not runs.ended().outcome.incomplete
    runs.start(lines(passing | {"kind": "unreadable"}, partial) + "; raise SystemExit(3)")
    outcome = runs.ended().outcome
    assert outcome.incomplete
    assert outcome.succeeded


def test_an_error_is_the_outcome(runs):
    runs.start(lines(error_record(DamageError("a pack is damaged"))) + "; raise SystemExit(4)")
    outcome = runs.ended().outcome
    assert (outcome.code, outcome.exit_code, outcome.safety, outcome.retry) == (
        "damage",
        4,
        Safety.DEGRADED,
        Retry.NEVER,
    )


@pytest.mark.parametrize(
    "program",
    [
        "import os, signal; os.kill(os.getpid(), 9)",
        "print('{\"torn'); raise SystemExit(1)",
        "print('[1]')" + "; raise SystemExit(5)",
    ],
)
def test_a_run_without_a_result_is_lost_and_tried_again(runs, program):
    runs.start(program)
    outcome = runs.ended().outcome
    assert (outcome.code, outcome.retry) == ("run-lost", Retry.LATER)


def test_a_second_run_is_refused_while_one_is_under_way(runs):
    launcher = runs.start("import time; time.sleep(600)")
    with pytest.raises(ScheduleBusyError):
        ProcessLauncher(runs.folder, "x", runs.clock.environment()).start(ENTRY, record("u"))
    assert launcher.poll() == []
    launcher.stop("nobody")
    launcher.stop("ehr")
    assert runs.ended().outcome.exit_code == 143


def test_a_run_that_does_not_end_is_killed_with_its_children(runs):
    launcher = runs.start(
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('x', flush=True); time.sleep(600)"
    )
    while not (runs.folder / "t.jsonl").read_text():
        time.sleep(0.05)
    launcher.stop("ehr", overdue=True)
    launcher.stop("ehr")
    assert launcher.poll() == []
    runs.clock.advance(timedelta(seconds=KILL_AFTER_SECONDS))
    launcher.stop("ehr")
    outcome = runs.ended().outcome
    assert (outcome.code, outcome.retry) == ("run-overdue", Retry.LATER)


def test_a_run_is_adopted_by_the_next_service(runs):
    first = runs.start(lines(DONE) + "; import time; time.sleep(600)")
    process = first._runs["ehr"].process
    assert process is not None
    second = runs.again("")
    second.adopt(record())
    assert second.poll() == [], "its lock is held"
    while not (runs.folder / "t.jsonl").read_text():
        if process.poll() is not None:
            break
        os.kill(process.pid, 0)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)
    second.stop("ehr")
    process.wait(30)
    (ended,) = second.poll()
    assert ended.outcome.exit_code in (0, 143)


def test_a_run_that_nobody_holds_was_lost(runs):
    launcher = runs.again("")
    launcher.adopt(record())
    launcher.stop("ehr")
    assert runs.ended().outcome.code == "run-lost"


def test_outcomes_by_code():
    assert outcome_of([], 0).exit_code == 0, "a result that was too long to be read"
    assert outcome_of([], 3, unread=True).incomplete
    assert outcome_of([], None).code == "run-lost"
    assert outcome_of([], 143).exit_code == 143
    assert outcome_of([], -signal.SIGKILL).code == "run-lost"
    assert outcome_of([{"exit_code": 0}], 1).code == "run-lost", "it said one thing and did another"
    damage = outcome_of([{"exit_code": 4}], 4)
    assert (damage.code, damage.safety) == ("damage", Safety.DEGRADED)
    assert outcome_of([{"exit_code": 8}], None).code == "drill-missed"
    assert outcome_of([{"exit_code": 2}], 2).code == "failed"


KINDS = ["prune", "forget", "check", "migrate"]


def test_kinds_and_plug_ins(monkeypatch):
    assert arguments_of(Entry("a", "verify")) == ["verify"]
    assert [arguments_of(Entry("a", kind))[0] for kind in KINDS] == KINDS
    assert arguments_of(Entry("a", "drill")) == ["drill", "run"]
    assert arguments_of(Entry("a", "drill", "lab")) == ["drill", "run", "lab"]
    with pytest.raises(UsageError, match="no kind of job mirror"):
        arguments_of(Entry("a", "mirror"))
    point = metadata.EntryPoint("mirror", "unit.schedule.test_launch:mirror", "holdfast.jobs")
    monkeypatch.setattr(metadata, "entry_points", lambda **_: [point])
    assert arguments_of(Entry("a", "mirror", "ehr")) == ["mirror", "ehr"]


def mirror(entry: Entry) -> list[str]:
    return ["mirror", entry.job]


def test_a_disk_that_breaks_costs_no_run(runs, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalStateError, match="cannot be used"):
        ProcessLauncher(tmp_path / "file" / "x", "x", runs.clock.environment())

    def refuse(*_args, **_kwargs):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("pathlib.Path.write_text", refuse)
        runs.start("print('x')")
        (run,) = runs.launcher._runs.values()
        assert run.process is not None
        run.process.wait(30)
        broken.setattr("pathlib.Path.unlink", refuse)
        broken.setattr("builtins.open", refuse)
        (ended,) = runs.launcher.poll()
    assert ended.outcome.exit_code == 0, "its exit code counts"
    runs.launcher.adopt(record())
    with monkeypatch.context() as broken:
        broken.setattr(runs.launcher, "_lock", refuse)
        assert not runs.launcher.poll()
    assert len(runs.launcher.poll()) == 1, "it is looked at again"
