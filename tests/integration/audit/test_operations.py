"""Every operation is in the log, with its outcome, and no path; what the log's own failure stops, and what it does not."""

from __future__ import annotations

import errno
import json
import os
import re
from datetime import date, timedelta

import pytest

import holdfast
from holdfast.base.environment import ManualClock
from holdfast.base.events import Alert
from holdfast.errors import (
    AuditDamagedError,
    AuditUnavailableError,
    HoldfastError,
    MissingError,
    SourceMissingError,
    StoreUnreachableError,
    WrongKeyError,
)
from holdfast.reliability.audit import files, log
from holdfast.reliability.audit.read import check_proof
from holdfast.repository.home import Home
from holdfast.runs.operations import facts_of, operation
from holdfast.runs.options import Limits
from holdfast.runs.results import RetentionPolicy
from holdfast.runs.trail import TrailOptions

SECRET = "Müller, Erika"


def kinds(vault) -> list[tuple[str, str, str]]:
    return [(each.record.kind, each.record.phase, each.record.outcome) for each in vault.audit.records()][:-1]


@pytest.fixture
def vault(place):
    with place.create() as opened:
        (place.source / f"{SECRET}.hl7").write_text("MSH|")
        yield opened


def test_every_operation_is_recorded_with_its_outcome_and_no_path(place, vault, tmp_path):
    first = place.backup(vault).snapshot
    (place.source / "more.hl7").write_text("PID|")
    second = place.backup(vault).snapshot
    vault.hold(first.id, reason=f"inquiry about {SECRET}")
    vault.release(first.id, reason="over")
    vault.snapshot().restore(place.target())
    name = next(entry for entry in vault.snapshot().walk() if entry.kind == "file").path
    vault.snapshot().read(name, os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT))
    vault.check()
    vault.verify()
    vault.repair_index(dry_run=True)
    vault.catalog_rebuild()
    vault.enroll_writer("ward7")
    vault.revoke_writer("ward7")
    vault.recovery_kit()
    vault.add_passphrase("a long passphrase")
    vault.forget(RetentionPolicy(last=1), dry_run=True)
    vault.forget(snapshots=[first.id], reason="asked")
    vault.prune(undo_days=0)
    with pytest.raises(SourceMissingError):
        vault.backup([tmp_path / "nothing"])
    ends = [(kind, outcome) for kind, phase, outcome in kinds(vault) if phase == "end"]
    assert ends == [
        ("init", "success"),
        ("backup", "success"),
        ("backup", "success"),
        ("hold", "success"),
        ("release", "success"),
        ("restore", "success"),
        ("read", "success"),
        ("check", "success"),
        ("verify", "success"),
        ("repair", "success"),
        ("catalog", "success"),
        ("enroll", "success"),
        ("revoke", "success"),
        ("key", "success"),
        ("key", "success"),
        ("forget", "success"),
        ("forget", "success"),
        ("prune", "success"),
        ("backup", "failure"),
    ]
    listed = [*vault.audit.records()]
    done = {(each.record.kind, each.record.phase): each.record for each in listed}
    assert done["forget.snapshot", "event"].subject == first.id
    assert done["restore", "end"].subject == second.id
    assert done["restore", "end"].facts["files"] == 2
    assert done["backup", "end"].code == "source-missing"
    assert done["hold", "end"].facts["reason_digest"]
    assert {each.record.actor.role for each in listed} == {"root"}
    assert all(each.record.operation == listed[place].record.operation for place, each in enumerate(listed[:2], 0))
    stored = b"".join(path.read_bytes() for _, path in files.segments(vault._vault.trail.folder))
    for text in (SECRET, "hl7", str(place.root), "inquiry", "passphrase", "ward7"):
        assert text.encode() not in stored
    assert not re.search(rb'"[^"]*/[^"]*"', stored), "a text with a slash could be a path"
    assert vault.audit.verify().sound


def test_a_host_s_credential_writes_its_own_name(place, vault):
    credential = place.root / "writer.credential"
    credential.write_bytes(vault.enroll_writer("ward7"))
    credential.chmod(0o600)
    with holdfast.Vault.open(place.vault, credential=credential) as host:
        place.backup(host)
        last = [*host.audit.records(kind="backup")][-1].record
        assert last.actor.role == "writer"
        assert last.actor.credential == host._vault.repository.writer_id
        anchors = host.audit.anchors()
        assert {anchor.writer for anchor in anchors} >= {vault._vault.repository.writer_id}


def test_heads_are_anchored_after_what_destroys_and_once_per_interval(place):
    clock = ManualClock()
    place.source.mkdir()
    with holdfast.Vault.create(place.vault, key_file=place.key, env=clock.environment()) as vault:
        assert len(vault.audit.anchors()) == 1
        place.backup(vault)
        assert len(vault.audit.anchors()) == 1
        clock.advance(timedelta(hours=1))
        place.backup(vault)
        assert len(vault.audit.anchors()) == 2
        vault.forget(RetentionPolicy(last=1), dry_run=True)
        assert len(vault.audit.anchors()) == 2
        vault.forget(RetentionPolicy(last=1))
        assert len(vault.audit.anchors()) == 3
        report = vault.audit.verify()
        assert report.sound
        assert report.anchored == vault.audit.anchors()[-1].head.size
        assert vault.check().sound


def test_when_the_log_cannot_be_written_nothing_is_destroyed_and_nothing_is_lost(place, vault, monkeypatch):
    kept = place.backup(vault).snapshot
    real = log._append
    monkeypatch.setattr(log, "_append", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    for destroy in (
        lambda: vault.forget(snapshots=[kept.id]),
        lambda: vault.prune(undo_days=0),
        lambda: vault.enroll_writer("x"),
        lambda: vault.revoke_writer("x"),
        vault.recovery_kit,
        lambda: vault.add_passphrase("x"),
        lambda: vault.release(kept.id, reason="x"),
    ):
        with pytest.raises(AuditUnavailableError):
            destroy()
    assert [snapshot.id for snapshot in vault.snapshots()] == [kept.id]
    vault.forget(RetentionPolicy(last=1), dry_run=True)

    heard = []
    result = vault.snapshot().restore(place.target(), events=heard.append)
    assert result.exit_code == 0
    assert [event.code for event in heard if isinstance(event, Alert)] == ["audit-unavailable"]
    heard.clear()
    result = vault.backup([place.source], events=heard.append)
    assert (result.exit_code, result.partial, result.recorded) == (3, False, False)
    assert [event.code for event in heard if isinstance(event, Alert)] == ["audit-unavailable"]
    assert vault.check(events=heard.append).sound
    vault.hold(kept.id, reason="nobody listens")
    assert {alert.code for alert in vault.alerts} == {"audit-unavailable"}
    monkeypatch.setattr(log, "_append", real)
    assert place.backup(vault).recorded
    assert vault.audit.verify().sound


def test_when_only_the_end_cannot_be_recorded_it_is_said_what_was_done(place, vault, monkeypatch):
    kept = place.backup(vault).snapshot
    real = log._append
    left = [1]

    def once(path, data):
        if not path.name.startswith(files.ROOM):
            if not left:
                raise OSError(errno.ENOSPC, "full")
            left.pop()
        real(path, data)

    monkeypatch.setattr(log, "_append", once)
    with pytest.raises(AuditUnavailableError, match="SAFE: what was asked was done"):
        vault.forget(snapshots=[kept.id])
    monkeypatch.setattr(log, "_append", real)
    assert not list(vault.snapshots())
    left.append(1)
    monkeypatch.setattr(log, "_append", once)
    with pytest.raises(SourceMissingError) as caught:
        vault.backup([place.root / "nothing"])
    assert not getattr(caught.value, "__notes__", [])
    left.append(1)
    with pytest.raises(HoldfastError) as missing:
        vault.revoke_writer("nobody")
    assert missing.value.code == "missing"
    assert "the audit log does not know of it" in missing.value.__notes__[0]


def test_a_state_directory_that_cannot_be_used_stops_what_destroys(place, vault, monkeypatch):
    kept = place.backup(vault).snapshot
    vault._vault.trail.forget()
    for path in vault._vault.trail.folder.iterdir():
        path.unlink()
    vault._vault.trail.folder.rmdir()
    vault._vault.trail.folder.write_text("in the way")
    with pytest.raises(AuditUnavailableError):
        vault.forget(snapshots=[kept.id])


def test_a_damaged_log_stops_what_destroys_until_it_is_renewed(place, vault):
    kept = place.backup(vault).snapshot
    folder = vault._vault.trail.folder
    segment = files.segments(folder)[0][1]
    segment.write_bytes(segment.read_bytes().replace(b'"kind":"init"', b'"kind":"exit"'))
    with place.open() as again:
        report = again.audit.verify()
        assert not report.sound
        assert report.exit_code == 4
        assert again.alerts[0].code == "audit-unsound"
        assert (again._vault.trail.verified()[1], report.sound) == (False, False)
    (folder / files.HEADS).unlink()
    with place.open() as again:
        with pytest.raises(AuditDamagedError):
            again.forget(snapshots=[kept.id])
        assert again.snapshot().restore(place.target()).exit_code == 0
        assert again.alerts[0].code == "audit-damaged"
        renewed = again.audit.renew("a test changed it")
        assert renewed.previous == report.log
        assert os.path.isdir(renewed.kept)
        assert again.audit.verify().sound
        again.forget(snapshots=[kept.id])


def test_a_log_that_was_taken_away_is_missed(place, vault):
    place.backup(vault)
    folder = vault._vault.trail.folder
    folder.rename(folder.with_name("elsewhere"))
    with place.open() as again:
        with pytest.raises(MissingError):
            next(again.audit.records())
        place.backup(again)
        (problem,) = again.audit.verify().problems
        assert problem.kind == "other-log"


def test_a_log_that_cannot_be_read_is_said(place, vault, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(AuditUnavailableError, match="cannot be read"):
        vault.audit.anchors()


def test_a_refused_key_is_recorded_where_the_vault_is_known(place, vault, tmp_path):
    with pytest.raises(WrongKeyError):
        holdfast.Vault.open(place.vault, passphrase="wrong")
    last = [*vault.audit.records(kind="open.denied")][-1].record
    assert (last.outcome, last.code, last.actor.role) == ("denied", "key-wrong", "")
    folder = vault._vault.trail.folder
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(WrongKeyError):
        holdfast.Vault.open(place.vault, passphrase="wrong")
    assert not folder.exists()


def test_a_change_of_the_configuration_is_recorded(place, vault):
    path = place.root / "site.toml"
    text = f'[vault]\nurl = "{place.vault}"\nkey_file = "file:{place.key}"\n[jobs.ehr]\npaths = ["{place.source}"]\n'
    path.write_text(text)
    for _ in range(2):
        with holdfast.Vault.open(path) as configured:
            configured.backup("ehr")
    path.write_text(text + "[audit]\nanchor_seconds = 60\n")
    with holdfast.Vault.open(path) as configured:
        configured.backup("ehr")
        changes = [*configured.audit.records(kind="config.change")]
        assert len(changes) == 2
        assert changes[1].record.facts["before"] == changes[0].record.facts["after"]
        assert [*configured.audit.records(kind="backup")][-1].record.policy == changes[1].record.facts["after"]


def test_a_home_that_takes_no_anchor_is_a_note_and_the_next_operation_tries_again(place, vault, monkeypatch):
    def away(*_):
        raise StoreUnreachableError("away")

    heard = []
    with monkeypatch.context() as patch:
        patch.setattr(Home, "create", away)
        vault._vault.trail.options = TrailOptions(anchor_seconds=0)
        vault.check(events=heard.append)
    assert "audit-not-anchored" in {getattr(event, "code", "") for event in heard}
    before = len(vault.audit.anchors())
    place.backup(vault)
    assert len(vault.audit.anchors()) == before + 1


def test_an_operation_around_a_block(vault):
    with operation(vault._vault, "migrate", count=3) as one:
        one.say("why")
    with pytest.raises(ValueError, match="no"), operation(vault._vault, "migrate"):
        raise ValueError("no")
    with pytest.raises(KeyboardInterrupt), operation(vault._vault, "migrate"):
        raise KeyboardInterrupt
    records = [each.record for each in vault.audit.records(kind="migrate") if each.record.phase == "end"]
    assert [(record.outcome, record.code) for record in records] == [
        ("success", ""),
        ("failure", "internal"),
        ("interrupted", "internal"),
    ]
    assert records[0].facts["count"] == 3


def test_what_a_result_says_in_the_log():
    assert facts_of(7) == {"count": 7}
    assert facts_of(True) == {}
    assert facts_of("text") == {}
    assert facts_of(Limits(5, None)) == {"read_bytes_per_s": 5}


def test_the_log_is_exported_and_digested_and_proved(place, vault):
    place.backup(vault)
    with pytest.raises(WrongKeyError):
        holdfast.Vault.open(place.vault, passphrase="wrong")
    exported = [*vault.audit.export("R4")]
    assert len(exported) >= 5
    assert json.dumps(exported)
    day = next(vault.audit.records()).record.time.date()
    text = vault.audit.daily(day)
    assert "backup" in text
    assert "open.denied denied (key-wrong)" in text
    assert "0 records" in vault.audit.daily(date(2001, 1, 1))
    old = vault.audit.head()
    place.backup(vault)
    public = vault._vault.trail.log().public
    assert check_proof(vault.audit.prove(2), public).number == 2
    assert check_proof(vault.audit.prove_growth(old), public).number == old.size
    assert vault.audit.public_key == public.pem
    assert os.path.isdir(vault.audit.folder)
    assert isinstance(vault.audit.send([]), list)


def test_looking_at_names_is_recorded_and_never_stopped(place, vault, monkeypatch):
    place.backup(vault)
    place.backup(vault)
    first, second = vault.snapshots()
    for look in (
        lambda: list(first.ls()),
        lambda: list(first.walk()),
        lambda: list(first.find("*.hl7")),
        lambda: list(first.diff(second)),
        lambda: list(vault.find("*.hl7")),
        lambda: list(vault.versions(b"a.hl7")),
    ):
        look()
    seen = [each.record for each in vault.audit.records(kind="browse")]
    assert [record.facts["call"] for record in seen] == ["ls", "walk", "find", "diff", "find", "versions"]
    assert [record.subject for record in seen] == [first.id] * 4 + [""] * 2
    monkeypatch.setattr(log, "_append", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    assert list(first.ls())
    assert vault.alerts[-1].code == "audit-unavailable"
