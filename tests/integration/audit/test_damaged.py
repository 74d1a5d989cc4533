"""A log that was damaged or cut stops what destroys, is said by everything else, and is never taken for a collector's fault."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta

import pytest

import holdfast
from holdfast.base.environment import ManualClock
from holdfast.base.events import Alert, Note
from holdfast.cli.main import main
from holdfast.errors import AuditDamagedError, MissingError, StoreUnreachableError
from holdfast.reliability.audit import files
from holdfast.reliability.audit.collect import Collector, send
from holdfast.reliability.audit.head import new_key, sign_head
from holdfast.repository.anchors import newest_size, put_anchor
from holdfast.runs import trail
from holdfast.runs.alerting import open_book
from servers import process

from .logs import ENV, filled


def alerts_of(heard) -> list[tuple[str, str]]:
    return [(event.code, event.subject) for event in heard if isinstance(event, Alert)]


@pytest.fixture
def vault(place):
    place.source.mkdir()
    (place.source / "a.hl7").write_text("MSH|")
    with place.create() as opened:
        yield opened


def damage_old(folder) -> None:
    """Change record 1, which lies before the newest head: appending does not see it, whoever reads does."""
    _, path = files.segments(folder)[0]
    data = path.read_bytes()
    path.write_bytes(data.replace(b"\n1 {", b"\nX {", 1))
    assert path.read_bytes() != data


def test_a_damaged_old_record_and_a_collector_stop_nothing_that_is_done_already(place, vault):
    """What was asked for is done and recorded: the sending that follows says so by an alert, and by nothing else."""
    kept = place.backup(vault).snapshot
    vault.audit.head()
    damage_old(vault._vault.trail.folder)
    siem = Collector("siem", "127.0.0.1", process.free_port(), protocol="tcp")
    vault._vault.trail.options = replace(vault._vault.trail.options, collectors=(siem,))
    heard: list[object] = []
    assert vault.snapshot().restore(place.target(), events=heard.append).exit_code == 0
    assert alerts_of(heard) == [("audit-damaged", "audit-log")]
    heard.clear()
    result = vault.backup([place.source], events=heard.append)
    assert (result.exit_code, result.recorded) == (3, False)
    assert alerts_of(heard) == [("audit-damaged", "audit-log")]
    assert kept.id in vault.forget(snapshots=[kept.id]).forgotten
    assert alerts_of(vault.alerts) == [("audit-damaged", "audit-log")]
    assert not (vault._vault.trail.folder / "away-siem").exists(), "the collector is not at fault"


def test_a_record_that_cannot_be_sent_is_an_alert_too(place, vault, monkeypatch):
    monkeypatch.setattr("holdfast.reliability.audit.collect.send", lambda *_, **__: int("none"))
    siem = Collector("siem", "127.0.0.1", 1, protocol="tcp")
    vault._vault.trail.options = replace(vault._vault.trail.options, collectors=(siem,))
    assert place.backup(vault).exit_code == 3
    assert {code for code, _ in alerts_of(vault.alerts)} <= {"audit-damaged"}


def test_a_log_that_has_less_than_was_sent_is_no_complete_sending(tmp_path):
    log, _ = filled(tmp_path / "a", 20)
    siem = Collector("siem", "127.0.0.1", process.free_port(), protocol="tcp")
    (tmp_path / "a" / "sent-siem").write_text("21\n")
    sent = send(tmp_path / "a", log.id, siem)
    assert (sent.records, sent.next, sent.damaged) == (0, 21, True)
    assert "fewer than the 21 records" in sent.failure
    (tmp_path / "a" / "sent-siem").write_text("20\n")
    assert send(tmp_path / "a", log.id, siem).failure == "", "nothing is left to send"


def away(vault_folder) -> None:
    """Put a file where the vault keeps heads: none can be added."""
    (vault_folder / "audit").rename(vault_folder.parent / "audit-away")
    (vault_folder / "audit").touch()


def refused(*_) -> None:
    raise StoreUnreachableError("the store is away")


def test_a_head_that_cannot_be_anchored_after_what_destroys_is_an_alert_at_once(place, vault, monkeypatch):
    kept = place.backup(vault).snapshot
    monkeypatch.setattr(trail, "put_anchor", refused)
    assert kept.id in vault.forget(snapshots=[kept.id]).forgotten
    (alert,) = vault.alerts
    assert (alert.code, alert.subject) == ("audit-not-anchored", "audit-log")
    assert "holdfast audit head" in alert.next
    monkeypatch.undo()
    before = len(vault.audit.anchors())
    place.backup(vault)
    assert len(vault.audit.anchors()) == before + 1, "the next operation makes up for it, though the hour is not over"
    assert len(vault.alerts) == 1
    place.backup(vault)
    assert len(vault.audit.anchors()) == before + 1


def test_the_command_says_it_and_the_book_has_it(place, vault, capsys):
    kept = place.backup(vault).snapshot
    away(place.vault)
    access = ["--vault", str(place.vault), "--key-file", str(place.key)]
    assert main(["forget", kept.id, *access]) == 0
    assert "ALERT (degraded) audit-log: the audit log's head could not be put into the vault" in capsys.readouterr().err
    with open_book() as book:
        assert [record.code for record in book.live()] == ["audit-not-anchored"]


@pytest.mark.parametrize("anchored", [True, False])
def test_a_log_without_a_new_head_for_long_is_an_alert(place, anchored):
    """Whoever only backs up is not disturbed by a store that is away for a night; after a day he is."""
    clock = ManualClock()
    place.source.mkdir()
    with holdfast.Vault.create(place.vault, key_file=place.key, env=clock.environment()) as vault:
        if not anchored:
            (vault._vault.trail.folder / trail.ANCHORED).unlink()
        away(place.vault)
        heard: list[object] = []
        for hours, expected in ((2, []), (20, []), (10, [("audit-not-anchored", "audit-log")])):
            clock.advance(timedelta(hours=hours))
            heard.clear()
            vault.backup([place.source], events=heard.append)
            assert alerts_of(heard) == expected
            assert [
                event.code for event in heard if isinstance(event, Note) and event.code == "audit-not-anchored"
            ] == ([] if expected else ["audit-not-anchored"])


def emptied(folder) -> None:
    """Take away all records and heads; what the host remembers of the vault stays."""
    for _, path in files.segments(folder):
        path.unlink()
    (folder / files.HEADS).unlink()


@pytest.mark.parametrize("remembers", [True, False], ids=["the host remembers", "the vault alone knows"])
def test_nothing_is_destroyed_while_the_log_has_less_than_was_anchored(place, vault, remembers):
    kept = place.backup(vault).snapshot
    vault.audit.head()
    folder = vault._vault.trail.folder
    emptied(folder)
    if not remembers:
        (folder / trail.ANCHORED).unlink()
    with place.open() as other:
        for destroy in (lambda: other.forget(snapshots=[kept.id]), lambda: other.prune(undo_days=0)):
            with pytest.raises(AuditDamagedError, match="the rest was taken away"):
                destroy()
        assert [snapshot.id for snapshot in other.snapshots()] == [kept.id]
        assert not files.segments(folder), "nor was record 0 written again"
        if remembers:
            result = place.backup(other)
            assert (result.exit_code, alerts_of(other.alerts)) == (3, [("audit-damaged", "audit-log")])
        assert other.audit.renew("asked").previous
        assert kept.id in other.forget(snapshots=[kept.id]).forgotten


def test_what_others_planted_in_the_vault_stops_nothing(place, vault):
    """A writer may add heads under any number; only the log's own key makes one that counts."""
    kept = place.backup(vault).snapshot
    real = vault._vault.trail.log()
    forged, _ = filled(place.root / "forged", 50)
    head = forged.head()
    mine = sign_head(new_key("ed25519", ENV), replace(head, log=real.id))
    put_anchor(vault._vault.repository, mine, forged.public, "elsewhere")
    planted = replace(head, log=real.id, size=60)
    put_anchor(vault._vault.repository, planted, real.public, "elsewhere")
    assert kept.id in vault.forget(snapshots=[kept.id]).forgotten


def test_a_store_that_does_not_answer_is_not_the_log_s_fault(place, vault, monkeypatch):
    kept = place.backup(vault).snapshot
    monkeypatch.setattr("holdfast.runs.trail.newest_size", refused)
    assert kept.id in vault.forget(snapshots=[kept.id]).forgotten


def test_a_run_beside_it_that_anchors_is_no_damage(place, vault, monkeypatch):
    kept = place.backup(vault).snapshot
    real = newest_size
    with place.open() as other:

        def beside(*args):
            other.audit.head()
            other._vault.trail.append([other._vault.trail.record("check", "event", "0" * 32)])
            other._vault.trail.anchor(always=True, events=lambda _: None)
            return real(*args)

        monkeypatch.setattr("holdfast.runs.trail.newest_size", beside)
        assert kept.id in vault.forget(snapshots=[kept.id]).forgotten


@pytest.mark.parametrize("left", ["nothing", "an empty folder", "the records"])
def test_a_log_that_was_taken_away_is_no_new_host(place, vault, capsys, left):
    place.backup(vault)
    folder = vault._vault.trail.folder
    lost = vault._vault.trail.log().id
    vault.close()
    if left == "the records":
        (folder / files.META).unlink()
    else:
        shutil.rmtree(folder)
        if left == "an empty folder":
            folder.mkdir()
    access = ["--vault", str(place.vault), "--key-file", str(place.key)]
    assert main(["audit", "verify", *access]) == 4
    printed, said = capsys.readouterr()
    assert f"TAMPERED: other-log: the vault has signed heads of log {lost} of this host" in printed
    assert "ALERT (degraded) audit-log: the audit log does not verify (1 faults)" in said
    with open_book() as book:
        assert {"audit-unsound"} <= {record.code for record in book.live()}


def test_who_lists_a_log_that_was_taken_away_is_told_so(place, vault):
    place.backup(vault)
    shutil.rmtree(vault._vault.trail.folder)
    with place.open() as other, pytest.raises(MissingError, match="was taken away"):
        next(other.audit.records())


def test_status_believes_the_log_and_not_a_file_beside_it(place, vault):
    trail_of = vault._vault.trail
    assert trail_of.verified() == (None, True)
    assert vault.audit.verify().sound
    moment, sound = trail_of.verified()
    assert moment is not None
    assert sound
    beside = trail_of.folder / trail.VERIFIED
    assert beside.stat().st_mode & 0o777 == 0o600
    number = int(beside.read_text())
    for forged in ("sound 2030-01-01T00:00:00.000000Z", "0", str(number + 1), "x" * 30, "-1"):
        beside.write_text(forged)
        assert trail_of.verified() == (None, True), forged
    beside.write_text(str(number))
    place.backup(vault)
    assert trail_of.verified() == (moment, True)
    damage_old(trail_of.folder)
    with place.open() as again:
        assert not again.audit.verify().sound
        assert again._vault.trail.verified()[1] is False
        _, path = files.segments(trail_of.folder)[-1]
        path.write_bytes(path.read_bytes()[:-3] + b"zz\n")
        assert again._vault.trail.verified() == (None, False)
    with place.open() as again:
        assert not again.audit.verify().sound
        assert beside.read_text().startswith("unsound ")
        assert again._vault.trail.verified()[1] is False
        beside.write_text("unsound then")
        assert again._vault.trail.verified() == (None, False)
    beside.write_text("0")
    path.unlink()
    path.mkdir()
    assert trail_of.verified() == (None, True)


@pytest.mark.parametrize("command", ["hold set latest --reason x", "forget --keep-last 1", "ls latest", "key list"])
def test_a_collector_that_is_away_is_said_by_commands_without_a_callback(place, vault, capsys, command):
    place.backup(vault)
    path = place.root / "site.toml"
    path.write_text(
        f'[vault]\nurl = "{place.vault}"\nkey_file = "file:{place.key}"\n'
        f'[collectors.siem]\nhost = "127.0.0.1"\nport = {process.free_port()}\nprotocol = "tcp"\n'
    )
    assert main([*command.split(), "--config", str(path), "-q"]) == 0
    said = capsys.readouterr().err
    with open_book() as book:
        kept = [record.code for record in book.live()]
    recorded_whole = command.startswith(("hold", "forget"))
    assert ("the audit collector siem takes nothing" in said, kept == ["collector-away"]) == (recorded_whole,) * 2
