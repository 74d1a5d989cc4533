"""The disk of the local state is really full (ext4 on a loop device): audit log, alert book and schedule at once take no more.

What destroys does not start; a backup is made, says that it is not recorded (exit code 3), and people are told past the book;
a restore goes on. With room again everything is as it was, sound, and goes on.
"""

from __future__ import annotations

import gc
import os
import subprocess
from contextlib import contextmanager, suppress

import pytest
from tests.scheduled import HOLDFAST, Site

import holdfast
from holdfast.base.environment import system
from holdfast.base.events import Alert
from holdfast.cli import main
from holdfast.errors import AuditUnavailableError, LocalStateError, Safety
from holdfast.runs.alerting import open_book
from holdfast.runs.operations import operation
from holdfast.runs.schedule.configured import open_schedule_book
from holdfast.runs.schedule.records import RunState
from servers import loops

pytestmark = pytest.mark.skipif(not loops.possible(), reason="only root mounts file systems")


def fill(disk) -> None:
    """Take every byte, down to where no file can grow by one."""
    ballast = disk / "ballast"
    with open(ballast, "ab", buffering=0) as file:
        for size in (1 << 20, 1 << 16, 4096, 1):
            with suppress(OSError):
                while True:
                    file.write(b"\0" * size)
    assert os.statvfs(disk).f_bavail == 0


def fill_the_last_block(vault) -> None:
    """Append where the file's last block still has room."""
    for _ in range(1000):
        vault._vault.trail.append([vault._vault.trail.record("check", "event", "ab" * 16, outcome="success")])


def report_many(book) -> None:
    for count in range(1000):
        book.report(Alert("damage", f"pack-{count}", "x" * 1000, Safety.AT_RISK))


def begin_many(book) -> None:
    for count in range(100_000):
        book.begin(f"entry-{count}-" + "x" * 1000, system().now())


@contextmanager
def site_of(tmp_path, monkeypatch, more=""):
    """A host whose local state lies on a disk of its own, with a snapshot made while there was room."""
    with loops.mounted("ext4", tmp_path / "disk.img", tmp_path / "disk", mib=24) as disk:
        monkeypatch.setenv("HOLDFAST_STATE", str(disk / "state"))
        site = Site(tmp_path, more)
        site.gate.touch()
        assert main(["backup", "--job", "ehr", "--config", str(site.config), "-q"]) == 0
        yield site, disk
        gc.collect()  # what commands of this process left mapped keeps the disk busy


def test_the_log_takes_no_more(tmp_path, monkeypatch, capsys):
    with site_of(tmp_path, monkeypatch) as (site, disk):
        fill(disk)
        with holdfast.Vault.open(site.vault, key_file=site.key) as vault:
            (kept,) = vault.snapshots()
            with pytest.raises(AuditUnavailableError, match="No space left"):
                vault.forget(snapshots=[kept.id])
            with pytest.raises(AuditUnavailableError):
                vault.prune()
            with pytest.raises(AuditUnavailableError):
                vault.recovery_kit()
            assert [each.id for each in vault.snapshots()] == [kept.id]
            with pytest.raises(AuditUnavailableError):
                fill_the_last_block(vault)
        (site.folder / "data" / "b.hl7").write_text("MSH|")
        capsys.readouterr()
        (tmp_path / "spare").mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "spare"))
        assert main(["backup", "--job", "ehr", "--config", str(site.config)]) == 3
        assert not list((tmp_path / "spare").iterdir()), "what the run kept there for a while is gone"
        said = capsys.readouterr()
        assert "a run cannot be registered (No space left on device)" in said.err
        assert "the alert could not be kept" in said.err
        assert "it was told at once: 1 messages" in said.err
        assert "audit-unavailable" in site.codes()
        assert main(["restore", "latest", "--config", str(site.config), "--to", str(tmp_path / "back")]) == 0
        assert (tmp_path / "back" / str(site.folder)[1:] / "data" / "b.hl7").read_text() == "MSH|"
        (disk / "ballast").unlink()
        with holdfast.Vault.open(site.vault, key_file=site.key) as vault:
            assert len(vault.snapshots()) == 2, "the backup that the log does not know of"
            assert vault.audit.verify().sound, "what was not written whole was cut off again"
            begins = [each for each in vault.audit.records(kind="backup") if each.record.phase == "begin"]
            assert len(begins) == 1, "one of them, as it said"
            vault.forget(snapshots=[kept.id])
            assert vault.audit.verify().sound


def test_what_destroys_records_its_end_though_the_disk_fills_meanwhile(tmp_path, monkeypatch):
    """Room for that is kept before it starts. Afterwards there is none, and nothing more is destroyed."""
    with site_of(tmp_path, monkeypatch) as (site, disk), holdfast.Vault.open(site.vault, key_file=site.key) as vault:
        (kept,) = vault.snapshots()
        with operation(vault._vault, "forget") as forgetting:
            fill(disk)
        with pytest.raises(AuditUnavailableError, match="No space left"):
            vault.forget(snapshots=[kept.id])
        ends = [each.record for each in vault.audit.records(kind="forget") if each.record.phase == "end"]
        assert [(end.operation, end.outcome) for end in ends] == [(forgetting.id, "success")]
        (disk / "ballast").unlink()
        assert vault.audit.verify().sound
        vault.forget(snapshots=[kept.id])


def test_the_alert_book_takes_no_more(tmp_path, monkeypatch, capsys):
    with site_of(tmp_path, monkeypatch) as (_, disk):
        with open_book() as book:
            number = book.report(Alert("rpo-missed", "ehr", "too old", Safety.DEGRADED))
        fill(disk)
        with pytest.raises(LocalStateError), open_book() as book:
            report_many(book)
        with open_book() as book:
            kept = [record.number for record in book.live()]
            assert kept[0] == number, "what was in it is read, and what was acknowledged to be in it is"
        capsys.readouterr()
        code = main(["alerts", "ack", str(number), "--by", "anna"])
        said = capsys.readouterr().err
        assert (code, said) == (0, "") or (code == 1 and "SAFE: " in said), "done and kept, or said"
        (disk / "ballast").unlink()
        with open_book() as book:
            assert [record.number for record in book.live()] == kept
            book.acknowledge(number, "anna", "")


def test_the_schedule_takes_no_more(tmp_path, monkeypatch):
    """A service on the full disk stays up and tells by its channels past the book; with room again runs start."""
    with site_of(tmp_path, monkeypatch) as (site, disk):
        with open_schedule_book() as book:
            book.begin("nightly", system().now())
        fill(disk)
        with pytest.raises(LocalStateError), open_schedule_book() as book:
            begin_many(book)
        command = [*HOLDFAST, "schedule", "run", "--config", str(site.config)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as service:
            try:
                site.eventually(lambda: "local-state" in site.codes())
                assert service.poll() is None
            finally:
                service.kill()
        (disk / "ballast").unlink()
        with site.service():  # the other would try again within the minute
            site.now("nightly")
            assert site.state() is RunState.DONE
