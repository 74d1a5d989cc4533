"""Failures of applications and disks, injected into whole backups: each ends as the catalogue says, and the next run completes."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from holdfast.base.environment import system
from holdfast.errors import (
    ApplicationBusyError,
    ApplicationUnreachableError,
    FreezeOverrunError,
    HoldfastError,
    Safety,
)
from holdfast.runs.applications import run_application_backup
from holdfast.runs.backup import BackupRequest
from holdfast.runs.options import BackupOptions
from holdfast.sources.connectors.protocol import Budgets, Member, Verdict
from holdfast.testing.applications import FileApplication, FileConnector
from holdfast.testing.failures import FAILURES

KNOWN = {failure.name: failure for failure in FAILURES}
BUDGETS = Budgets(acquire_seconds=5, hold_seconds=5)


@pytest.fixture
def application(tmp_path):
    made = FileApplication(tmp_path / "application").create()
    made.write("one")
    return made


def capture(place, vault, application, faults, budgets=BUDGETS):
    """Back the application up; faults strike the steps of one run's connectors."""
    place.source.mkdir(exist_ok=True)
    request = BackupRequest((str(place.source).encode(),), "app", BackupOptions(update_catalog=False))
    made = FileConnector(application, "app", faults=faults)
    return run_application_backup(vault._vault, request, lambda: (Member(made, budgets),))


def once(error):
    left = [error]

    def fail():
        if left:
            raise left.pop()

    return fail


def test_an_application_that_is_busy_for_a_while_is_tried_again(place, application):
    assert KNOWN["freeze.application-busy"].recovery == "retry"
    with place.create() as vault:
        result = capture(place, vault, application, {"freeze": once(ApplicationBusyError("a checkpoint is refused"))})
        assert result.exit_code == 0
        (evidence,) = result.evidence
        assert evidence.verdict is Verdict.APPLICATION
        assert len(evidence.attempts) == 2
    assert not application.frozen


@pytest.mark.parametrize(
    ("name", "faults"),
    [
        ("freeze.application-away", {"check": once(ApplicationUnreachableError("it does not accept connections"))}),
        ("freeze.deadline", {"capture": lambda: time.sleep(1.5)}),
    ],
)
def test_what_ends_a_run_is_over_with_the_next_one(place, application, name, faults):
    known = KNOWN[name]
    with place.create() as vault:
        with pytest.raises(HoldfastError) as caught:
            capture(place, vault, application, faults, Budgets(acquire_seconds=0.5, hold_seconds=0.2, attempts=1))
        assert (caught.value.code, caught.value.retry) == (known.code, known.retry)
        assert caught.value.safety in {known.safety, Safety.UNTOUCHED}
        if name == "freeze.deadline":
            assert isinstance(caught.value, FreezeOverrunError)
            assert "watchdog" in str(caught.value), "the process that outlives the run thawed it"
        assert not application.frozen
        assert application.write("the ward goes on")
        assert len(vault.snapshots()) == 0
        assert capture(place, vault, application, {}).exit_code == 0
        assert len(vault.snapshots()) == 1
    assert system().monotonic() > 0


def test_a_file_that_cannot_be_read_is_named_and_the_next_run_has_it(place, tmp_path):
    """The memory of a process begins with a page that is not there: to read it is an input/output error, as of a bad disk."""
    known = KNOWN["scan.file-unreadable"]
    program = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with place.create() as vault:
            place.source.mkdir(exist_ok=True)
            (place.source / "good").write_bytes(b"MSH|" * 100)
            bad = f"/proc/{program.pid}/mem"
            with open(bad, "rb") as file, pytest.raises(OSError, match="Input/output error"):
                file.read(1)
            result = vault.backup([place.source, bad], label="disk")
            assert result.exit_code == 3
            assert [finding.kind for finding in result.findings] == [known.code]
            assert vault.backup([place.source], label="disk").exit_code == 0
    finally:
        program.communicate(b"\n")
