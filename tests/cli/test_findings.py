"""`holdfast findings`, and how a suspicious backup says so."""

from __future__ import annotations

from dataclasses import replace

from holdfast import Alert
from holdfast.cli.backup import summary
from holdfast.cli.browse import _snapshot_row
from holdfast.runs import results
from holdfast.runs.alerting import open_book
from holdfast.runs.anomaly import Anomaly, Sign
from holdfast.runs.locking import Lock
from holdfast.runs.suspicion import Suspicion

from .conftest import ID, INFO, MOMENT

FOUND = Suspicion(ID, "cd" * 16, "ehr", MOMENT, 900, "ef" * 16, MOMENT, 7)


def test_suspicious_snapshots_are_listed_with_the_last_good_one(vault, run):
    vault.answers["suspicions"] = (FOUND, replace(FOUND, label="", last_good="", last_good_finished=None))
    code, out, _ = run("findings", "list")
    assert code == 3
    first, attack, meant, second, _, last = out.splitlines()
    assert "ehr: 900 of 1000; last good: efefefefefef of 2026-11-23 03:00Z; 7 snapshots kept" in first
    assert attack == "  an attack: holdfast restore efefefefefef --to DIR"
    assert meant == "  it was meant: holdfast findings release abababababab --reason TEXT"
    assert "cdcdcdcdcdcd: 900 of 1000; last good: none" in second
    assert last.startswith("2 suspicious")
    vault.answers["suspicions"] = ()
    code, out, _ = run("findings", "list")
    assert (code, out) == (0, "Nothing is suspicious.\n")


def test_what_is_locked_is_said(vault, run):
    vault.answers["suspicions"] = (replace(FOUND, objects=9, locked=4, locked_until=MOMENT),)
    assert ", locked until 2026-11-23 (4 of 9 objects); 7 snapshots kept" in run("findings", "list")[1]
    vault.answers["suspicions"] = (replace(FOUND, objects=9, locked=9, locked_until=MOMENT),)
    assert ", locked until 2026-11-23; 7" in run("findings", "list")[1]


def test_locking_by_hand_says_how_far_it_got(vault, run):
    whole = Lock("ef" * 16, 9, 9, MOMENT)
    vault.answers |= {"suspicions": (FOUND,), "extend_locks": (whole,)}
    assert run("findings", "lock")[:2] == (
        0, "efefefefefef 9 of 9 objects until 2026-11-23\n1 of 1 pinned snapshots are locked.\n",
    )  # fmt: skip
    vault.answers["extend_locks"] = (replace(whole, locked=4),)
    assert run("findings", "lock")[0] == 3
    vault.answers["extend_locks"] = ()
    assert run("findings", "lock", "--json")[0] == 3
    vault.answers["suspicions"] = ()
    assert run("findings", "lock")[:2] == (0, "Nothing is pinned.\n")


def test_records_are_as_documented(vault, run):
    vault.answers |= {"suspicions": (FOUND,), "release_suspicious": ID}
    for arguments in (("list",), ("release", "latest", "--reason", "a migration")):
        _, out, _ = run("findings", *arguments, "--json")
        assert out.count("\n") == 1
    assert vault.asked("release_suspicious") == {"args": ("latest",), "reason": "a migration"}
    _, out, _ = run("findings", "release", "latest", "--reason", "a migration")
    assert "is released" in out


def test_the_alert_ends_when_all_of_its_source_is_released(vault, run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path))
    other = replace(FOUND, snapshot="12" * 16)
    vault.answers |= {"suspicions": (FOUND, other), "release_suspicious": ID}
    with open_book() as book:
        book.report(Alert("anomaly", "ehr", "it looks like the work of ransomware"))
        book.report(Alert("anomaly", "lab", "it looks like the work of ransomware"))
        assert run("findings", "release", ID, "--reason", "a migration")[0] == 0
        assert [record.subject for record in book.live()] == ["ehr", "lab"]
        vault.answers["suspicions"] = (FOUND,)
        assert run("findings", "release", ID, "--reason", "a migration")[0] == 0
        assert [record.subject for record in book.live()] == ["lab"]
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "file"))
    code, _, err = run("findings", "release", ID, "--reason", "a migration")
    assert code == 0
    assert "could not be resolved" in err


def test_a_suspicious_backup_and_snapshot_say_so():
    found = Anomaly(900, (Sign("scrambled", 0.25, 1.0), Sign("named", 8, 0.5)), 5)
    lines = summary(results.BackupResult(INFO, False, results.BackupStats(), anomaly=found))
    (line,) = [line for line in lines if line.startswith("SUSPICIOUS")]
    assert "900 of 1000 (25.0% of its bytes turned into noise; names that ransomware gives, worth 8 files)" in line
    assert "suspicious (900)" in _snapshot_row(replace(INFO, anomaly=900))[-1]
    assert "suspicious" not in _snapshot_row(replace(INFO, anomaly=900, released=True))[-1]
