"""Starts runs as processes, watches them, and reads how they ended: also runs that an earlier service started.

Each run holds a lock of its entry (inherited by the process, so it goes when the process does, however that ends). A lock that is
held means: under way. A lock that is free means: over, and the file of JSON lines says how; without a last record it was killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from holdfast.base.defaults import LOCK_VARIABLE
from holdfast.base.environment import Environment
from holdfast.base.events import Alert
from holdfast.errors import (
    HoldfastError,
    LocalStateError,
    Retry,
    RunLostError,
    RunOverdueError,
    Safety,
    ScheduleBusyError,
)
from holdfast.reliability.telemetry import TRACE_VARIABLE, trace_parent
from holdfast.runs.alerting import ENTRY_VARIABLE
from holdfast.runs.schedule.kinds import arguments_of
from holdfast.runs.schedule.records import Entry, Outcome, RunRecord
from holdfast.runs.trail import unsound_alert

__all__ = ["Ended", "Launcher", "ProcessLauncher", "outcome_of", "outcome_of_code", "outcome_of_error"]

KILL_AFTER_SECONDS = 300.0
_LINE_BYTES_MAX = 64 << 20
_ALERTS_MAX = 1000
_PASSING = (b'"kind":"vanished"', b'"kind":"changed"', b'"kind":"socket-skipped"', b'"kind":"silent-change"')
"""Findings that every busy file system has."""
_WORDS = {
    0: "",
    1: "failed",
    4: "damage",
    7: "store",
    8: "drill-missed",
}


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that ended: its run, how, and the alerts it gave on its way."""

    record: RunRecord
    outcome: Outcome
    alerts: tuple[Alert, ...] = ()


class Launcher(Protocol):
    """What starts and watches runs."""

    def start(self, entry: Entry, record: RunRecord) -> None:
        """Start an attempt. `ScheduleBusyError` if a run of the entry is under way."""

    def adopt(self, record: RunRecord) -> None:
        """Watch a run that an earlier service started."""

    def poll(self) -> Sequence[Ended]:
        """Return the runs that ended since the last call."""

    def stop(self, name: str, *, overdue: bool = False) -> None:
        """Ask an entry's run to stop and keep its checkpoint; later calls insist. `overdue`: it took too long."""


def outcome_of_error(error: HoldfastError) -> Outcome:
    """Return the outcome of an attempt that an error ended."""
    return Outcome(error.exit_code or 1, error.code, error.what, error.safe, error.next, error.safety, error.retry)


def outcome_of_code(exit_code: int) -> Outcome:
    """Return the outcome of an attempt that failed by its exit code alone."""
    damaged = exit_code == 4  # noqa: PLR2004 - damage found
    return Outcome(
        exit_code,
        _WORDS.get(exit_code, "failed"),
        "damage was found" if damaged else f"the run ended with exit code {exit_code}",
        "no damaged byte was passed on." if damaged else "every snapshot acknowledged before is as it was.",
        "`holdfast verify` names every snapshot that is touched." if damaged else "start it by hand to see why.",
        Safety.DEGRADED if damaged else Safety.INTACT,
        Retry.NEVER,
    )


def outcome_of(records: Sequence[dict[str, Any]], exit_code: int | None, *, unread: bool = False) -> Outcome:
    """Return how an attempt ended, by its last JSON records and its exit code (None: nobody saw it).

    `unread`: among its findings are others than files that came and went.
    """
    error = next((record for record in reversed(records) if record.get("type") == "error"), None)
    if error is not None:
        return Outcome(
            int(error["exit_code"]), error["code"], error["what"], error["safe"], error["next"],
            Safety(error["safety"]), Retry(error["retry"]),
        )  # fmt: skip
    last = next((record for record in reversed(records) if "exit_code" in record), None)
    code = exit_code if exit_code is not None and exit_code >= 0 else None
    if last is None or exit_code not in (None, last["exit_code"]):
        if last is None and code in (0, 3):
            return Outcome(code, incomplete=code == 3 and unread)  # noqa: PLR2004 - partial
        if code in (9, 130, 143):
            return Outcome(code, "interrupted", "the run was asked to stop", retry=Retry.LATER)
        return outcome_of_error(RunLostError("the run ended without a result" + (f" (code {code})" if code else "")))
    found = int(last["exit_code"])
    snapshot = last.get("snapshot")
    snapshot_id = str(snapshot.get("id", "")) if isinstance(snapshot, dict) else ""
    if found in (0, 3):
        return Outcome(found, snapshot=snapshot_id, incomplete=found == 3 and unread)  # noqa: PLR2004 - partial
    if last.get("type") == "audit-verify":
        alert = unsound_alert(len(last.get("problems", ())))
        return Outcome(found, alert.code, alert.text, alert.safe, alert.next, alert.safety, alert.retry)
    return replace(outcome_of_code(found), snapshot=snapshot_id)


@dataclass(slots=True)
class _Run:
    record: RunRecord
    process: subprocess.Popen[bytes] | None
    asked_at: float | None = None
    overdue: bool = False


class ProcessLauncher:
    """Runs `holdfast` with the schedule's own configuration, one process a run."""

    def __init__(
        self,
        folder: Path,
        config: str,
        env: Environment,
        *,
        program: Sequence[str] = (sys.executable, "-m", "holdfast"),
    ) -> None:
        """Keep locks and output files in a folder, made if need be."""
        self._folder = folder
        self._config = config
        self._env = env
        self._program = program
        self._runs: dict[str, _Run] = {}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise LocalStateError(f"the schedule's folder cannot be used ({error.strerror})") from None

    def start(self, entry: Entry, record: RunRecord) -> None:
        """Start an attempt; see :class:`Launcher`."""
        lock = self._lock(entry.name)
        if lock is None:
            raise ScheduleBusyError(f"a run of {entry.name} is under way already")
        try:
            command = [*self._program, *arguments_of(entry), "--json", "--config", self._config]
            out = os.open(self._out(record), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.DEVNULL,
                    env=os.environ
                    | {
                        ENTRY_VARIABLE: entry.name,
                        LOCK_VARIABLE: str(lock),
                        TRACE_VARIABLE: trace_parent(record.token, record.token[:16]),
                    },
                    pass_fds=(lock,),
                    start_new_session=True,
                )
            finally:
                os.close(out)
            with contextlib.suppress(
                OSError
            ):  # a full disk: the run is under way, and only its next service misses this
                self._pid_file(record).write_text(str(process.pid))
        finally:
            os.close(lock)  # the process holds it on
        self._runs[entry.name] = _Run(record, process)

    def adopt(self, record: RunRecord) -> None:
        """Watch a run that an earlier service started; see :class:`Launcher`."""
        self._runs[record.name] = _Run(record, None)

    def poll(self) -> Sequence[Ended]:
        """Return the runs that ended."""
        return [ended for name in tuple(self._runs) if (ended := self._look(name)) is not None]

    def _look(self, name: str) -> Ended | None:
        run = self._runs[name]
        exit_code: int | None = None
        if run.process is not None:
            exit_code = run.process.poll()
            if exit_code is None:
                return None
        else:
            try:
                lock = self._lock(name)
            except OSError:  # nobody can say: it is looked at again
                return None
            if lock is None:
                return None
            os.close(lock)
        del self._runs[name]
        records, alerts, unread = _read(self._out(run.record))
        outcome = outcome_of(records, exit_code, unread=unread)
        if run.overdue and not outcome.succeeded:
            outcome = outcome_of_error(RunOverdueError("the run took longer than it may and was stopped"))
        elif run.asked_at is not None and outcome.code == RunLostError.code:
            outcome = Outcome(143, "interrupted", "the run was asked to stop", retry=Retry.LATER)
        for path in (self._out(run.record), self._pid_file(run.record)):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        return Ended(run.record, outcome, alerts)

    def stop(self, name: str, *, overdue: bool = False) -> None:
        """Ask a run to stop; see :class:`Launcher`. One that does not within five minutes is killed."""
        run = self._runs.get(name)
        if run is None:
            return
        run.overdue = run.overdue or overdue
        now = self._env.monotonic()
        pid = run.process.pid if run.process is not None else self._pid(run.record)
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if run.asked_at is None:
                run.asked_at = now
                os.kill(pid, signal.SIGTERM)
            elif now - run.asked_at >= KILL_AFTER_SECONDS:
                os.killpg(pid, signal.SIGKILL)

    def _lock(self, name: str) -> int | None:
        """Return a descriptor that holds an entry's lock; None if a run holds it."""
        lock = os.open(self._folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock

    def _out(self, record: RunRecord) -> Path:
        return self._folder / f"{record.token}.jsonl"

    def _pid_file(self, record: RunRecord) -> Path:
        return self._folder / f"{record.token}.pid"

    def _pid(self, record: RunRecord) -> int | None:
        try:
            return int(self._pid_file(record).read_text())
        except (OSError, ValueError):
            return None


def _read(path: Path) -> tuple[list[dict[str, Any]], tuple[Alert, ...], bool]:
    """Return the results and errors of an output file, its alerts, and whether a finding is more than a file coming and going.

    A torn last line counts as none.
    """
    records: list[dict[str, Any]] = []
    alerts: list[Alert] = []
    unread = False
    for record in _lines(path):
        unread = unread or record.get("type") == "finding"
        if record.get("type") == "alert" and len(alerts) < _ALERTS_MAX:
            alerts.append(
                Alert(
                    record["code"],
                    record["subject"],
                    record["text"],
                    Safety(record["safety"]),
                    Retry(record["retry"]),
                    record["safe"],
                    record["next"],
                )
            )
        elif record.get("type") == "error" or "exit_code" in record:
            records = [*records[-1:], record]
    return records, tuple(alerts), unread


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with open(path, "rb") as file:
            while line := file.readline(_LINE_BYTES_MAX):
                # Most lines are progress, and findings about files that came and went; they are not worth parsing.
                if b'"type":"progress"' in line or (
                    b'"type":"finding"' in line and any(kind in line for kind in _PASSING)
                ):
                    continue
                with contextlib.suppress(ValueError):
                    record = json.loads(line)
                    if isinstance(record, dict):
                        yield record
    except OSError:  # gone, or the disk does not give it: what was read counts, and the exit code
        return
