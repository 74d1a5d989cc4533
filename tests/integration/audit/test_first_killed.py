"""A host whose very first operation is killed: what it recorded is under a signed head all the same, for itself and for an auditor."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import holdfast
from holdfast.base.environment import system
from holdfast.reliability.audit import AuditLog, PublicKey, files
from holdfast.reliability.audit.verify import verify_log

from .logs import ENV, record

HOLDFAST = [sys.executable, "-m", "holdfast"]
WAIT_SECONDS = 60


def test_the_first_operation_of_a_host_is_killed(place, tmp_path, monkeypatch):
    place.source.mkdir()
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(os, "uname", lambda: SimpleNamespace(nodename="where-it-was-made"))
        place.create().close()
    settings = tmp_path / "site.toml"
    settings.write_text(
        f'[vault]\nurl = "{place.vault}"\nkey_file = "file:{place.key}"\n[jobs.ehr]\npaths = ["{place.source}"]\n'
        f'[[jobs.ehr.streams]]\npath = "dump"\ncommand = ["sh", "-c", "touch {tmp_path}/begun; sleep 100"]\n'
    )
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "other-host"))
    command = [*HOLDFAST, "backup", "--job", "ehr", "--config", str(settings)]
    child = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    end = time.monotonic() + WAIT_SECONDS
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < end
        assert child.poll() is None
        time.sleep(0.02)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    (folder,) = (tmp_path / "other-host").glob("*/audit")
    shutil.copytree(folder, tmp_path / "copy")
    public = files.read_meta(folder).public
    report = verify_log(tmp_path / "copy", system(), public=PublicKey(public.pem))
    assert report.problems == ()
    assert (report.records, report.signed) == (2, 2), "the configuration it saw first, and that the backup began"
    with holdfast.Vault.open(place.vault, key_file=place.key) as vault:
        assert vault.audit.verify().sound
        begins = [each.record for each in vault.audit.records(kind="backup")]
        assert [each.phase for each in begins] == ["begin"]


def test_a_log_that_nobody_signed_says_how_that_comes_about(tmp_path):
    """Killed in the moment between the first record and its head: the verdict says so, and the next append signs it."""
    log = AuditLog.open(tmp_path / "a", ENV)
    log.append([record(0)])
    (tmp_path / "a" / files.HEADS).unlink()
    (problem,) = verify_log(tmp_path / "a", ENV, living=True).problems
    assert problem.kind == "unsigned"
    assert "first operation was killed before the log had its first head" in problem.text
    assert "its next operation signs" in problem.text
    (other,) = verify_log(tmp_path / "a", ENV, public=log.public).problems
    assert "was killed" not in other.text, "an auditor is not told of it as an excuse"
    AuditLog.open(tmp_path / "a", ENV).append([record(1)])
    assert verify_log(tmp_path / "a", ENV, public=log.public).sound
