"""`migrate`, `policy`, `courier`, `repair copies`, `restore --thaw`: parse, call, print."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta

import pytest

from holdfast.cli import main
from holdfast.runs import results, tier_results
from holdfast.runs.options import Limits

from .conftest import ID, MOMENT
from .test_commands import BACKUP

ROW = tier_results.MoveRow("imaging", "older than 30 d 0 h", ("cold",), ("home",), 3, 3_000_000)
STAY = tier_results.MoveRow("phi", "a copy is missing", (), (), 1, 1)
MOVED = tier_results.MigrateResult(
    dry_run=False, rows=(ROW, STAY), packs=4, copied_bytes=3_000_000, copies=3, deleted=2, retained=1, failed=1,
    later=7, later_bytes=9_000_000, seconds=2.0,
)  # fmt: skip


class FakeCourier:
    def __init__(self, vault, name):
        self.vault = vault
        self.name = name

    def __getattr__(self, name):
        def call(*args, **arguments):
            return self.vault.answer(f"courier.{name}", of=self.name, args=args, **arguments)

        return call


@pytest.fixture
def vault(vault):
    vault.courier = lambda name: FakeCourier(vault, name)
    return vault


def test_migrate_says_what_moved_and_what_is_left(vault, run):
    vault.answers["migrate"] = MOVED
    code, out, _ = run("migrate", "--budget", "10MB", "--limit-read", "1kB", "--limit-write", "2kB")
    assert code == 7
    asked = vault.asked("migrate")
    assert (asked["budget_bytes"], asked["limits"], asked["dry_run"]) == (10_000_000, Limits(1000, 2000), False)
    for words in (
        "Moved 3 packs: 3 copies",
        "to cold, then off home",
        "until their store's lock",
        "for later",
        "FAILED: 1",
    ):
        assert words in out
    vault.calls.clear()
    vault.answers["migrate"] = dataclasses.replace(MOVED, dry_run=True, failed=0, retained=0, later=0)
    code, out, _ = run("migrate", "--dry-run")
    assert (code, vault.asked("migrate")["budget_bytes"]) == (0, None)
    assert "Would move 4 packs" in out
    code, out, _ = run("migrate", "--json")
    assert json.loads(out.splitlines()[-1])["copies"] == 3


def test_limits_of_the_configuration_hold_for_a_migration(vault, run, tmp_path):
    file = tmp_path / "c.toml"
    file.write_text('[vault]\nurl = "/v"\n[limits]\nread_bytes_per_s = 2048\n')
    vault.answers["migrate"] = MOVED
    run("migrate", "--config", str(file))
    assert vault.asked("migrate")["limits"] == Limits(2048, None)


def test_repair_copies_says_what_was_healed(vault, run):
    repaired = tier_results.CopyRepair(False, 9, 2, 1, 2, 1, 1)
    vault.answers["repair_copies"] = repaired
    code, out, _ = run("repair", "copies")
    assert code == 4
    for words in ("Made 2 copies anew", "could not be helped now", "DAMAGE: 1 packs have no sound copy"):
        assert words in out
    vault.answers["repair_copies"] = dataclasses.replace(repaired, dry_run=True, lost=0, failed=0)
    code, out, _ = run("repair", "copies", "--dry-run")
    assert (code, "Would make 2 copies" in out) == (0, True)
    assert run("repair", "copies", "--json")[0] == 0


def test_a_pending_backup_and_further_copies_are_said(vault, run):
    vault.answers["backup"] = dataclasses.replace(BACKUP, pending=3)
    code, out, _ = run("backup", "/x")
    assert (code, "PENDING: 3 packs" in out) == (3, True)
    vault.answers["verify"] = results.VerifyReport(3, 3, 10, 3, copies=5, cold=2)
    _, out, _ = run("verify", "--due")
    assert "5 further copies" in out
    assert "2 packs lie cold" in out
    assert vault.asked("verify")["due"] is True


READING = tier_results.StoreReading("cold", "cold", 3, 3_000_000, 3, 3, 43_200, 60.0, 1.5)
PLAN = tier_results.RestorePlan(ID, 3, 3_000_000, 3, 43_260.0, 1.5, 1, whole_snapshot=True, stores=(READING,))


def test_a_restore_s_plan_is_shown(vault, run):
    vault.answers["restore"] = results.RestoreResult(ID, 1, 1, 10, 0, 1.0, dry_run=True, plan=PLAN)
    code, out, _ = run("restore", "latest", "--to", "/r", "--dry-run")
    assert code == 0
    assert "from cold (cold): 3 packs, 3 MB, 3 requests, 1 min 0 s, 3 to be thawed (12 h 0 min), cost 1.50" in out
    assert "whole snapshot" in out
    assert "DAMAGE: 1 packs are on no store" in out
    plain = dataclasses.replace(READING, seconds=None, thaw_packs=0, cost=0.0)
    vault.answers["restore"] = results.RestoreResult(
        ID,
        1,
        1,
        10,
        0,
        1.0,
        dry_run=True,
        plan=dataclasses.replace(PLAN, stores=(plain,), missing=0, whole_snapshot=False),
    )
    _, out, _ = run("restore", "latest", "--to", "/r", "--dry-run")
    assert "3 requests\n" in out
    assert run("restore", "latest", "--to", "/r", "--dry-run", "--json")[0] == 0


def test_thaw_asks_and_says_when(vault, run, monkeypatch):
    answers = iter(
        [tier_results.ThawResult(3, 1, 2, MOMENT + timedelta(hours=12)), tier_results.ThawResult(0, 0, 6, None)]
    )
    snapshot = type(vault.snapshot("latest"))
    monkeypatch.setattr(snapshot, "thaw", lambda self, **asked: next(answers), raising=False)
    code, out, _ = run("restore", "latest", "/srv", "--thaw")
    assert code == 3
    assert "Asked for 3 packs" in out
    assert "2026-11-23 15:00 UTC" in out
    code, out, _ = run("restore", "--thaw")
    assert (code, "All 6 packs" in out) == (0, True)


@pytest.fixture
def config(tmp_path, monkeypatch):
    def write(text: str) -> None:
        file = tmp_path / "holdfast.toml"
        file.write_text('[vault]\nurl = "/srv/vault"\n[stores.b]\nurl = "/mnt/b"\n' + text)
        monkeypatch.setenv("HOLDFAST_CONFIG", str(file))
        monkeypatch.delenv("HOLDFAST_VAULT", raising=False)
        monkeypatch.delenv("HOLDFAST_KEY_FILE", raising=False)

    return write


GOOD = (
    '[policies.default]\nstores = ["home", "b"]\nretain_seconds = "7d"\n'
    '[[policies.default.moves]]\nafter = "30d"\nstores = ["b", "home"]\nunless_restored_within = "1d"\n'
)


def test_policies_are_shown_checked_and_explained(vault, run, config):
    config(GOOD)
    code, out, _ = run("policy", "show")
    assert code == 0
    assert "b, home when older than 30 d 0 h, unless restored from within 24 h 0 min" in out
    assert len(run("policy", "show", "--json")[1].splitlines()) == 7
    code, out, _ = run("policy", "check")
    assert (code, "sound" in out) == (0, True)
    code, out, _ = run("policy", "explain", "imaging")
    assert code == 0
    assert "stored on home, b: policy of imaging, from the first day: 2 copies" in out
    assert "never anywhere but on b, home" in out
    assert run("policy", "explain", "imaging", "--json")[0] == 0


def test_a_path_is_explained_by_rules_and_content(run, config, tmp_path):
    config(GOOD + f'[jobs.ehr]\npaths = ["/x"]\n[[jobs.ehr.classes]]\npattern = "{tmp_path}/open/"\nname = "public"\n')
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "a.txt").write_text("menu of the day")
    code, out, _ = run("policy", "explain", str(tmp_path / "open"), "--job", "ehr")
    assert code == 0
    assert "public (1 files, by the rules of job ehr)" in out
    assert "b stands in" in out
    (tmp_path / "open" / "a.hl7").write_text("MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\rPID|1||123\r")
    code, out, _ = run("policy", "explain", str(tmp_path / "open"), "--job", "ehr")
    assert "phi (1 files, recognised as hl7" in out
    assert run("policy", "explain", str(tmp_path), "--job", "none")[0] == 2
    assert run("policy", "explain", str(tmp_path / "nothing"))[0] == 2


def test_faults_of_policies_are_listed_all(vault, run, config):
    config('[policies.phi]\nstores = ["nowhere"]\n')
    code, out, _ = run("policy", "check")
    assert code == 2
    assert out.count("FAULT") == 5
    assert json.loads(run("policy", "check", "--json")[1])["configured"] is True
    config("")
    code, out, _ = run("policy", "check")
    assert (code, "There are no policies" in out) == (0, True)


def test_policies_need_a_configuration(vault, run):
    assert run("policy", "show")[0] == 2


EXPORTED = tier_results.ExportResult("default", 1, 1, 10, 5000, 3, 100, 1.0)


def test_a_courier_exports_takes_receipts_and_reports(vault, run, tmp_path):
    vault.answers["courier.export"] = EXPORTED
    code, out, _ = run(
        "courier", "export", "/m", "--to", "north", "--size", "1GB", "--wheels", "/w", "--material", "/x"
    )
    assert code == 3
    asked = vault.asked("courier.export")
    del asked["events"], asked["stop"]
    assert asked == {
        "of": "north", "args": ("/m",), "size_bytes_max": 10**9, "again": None, "material": "/x", "wheels": "/w",
    }  # fmt: skip
    assert "Medium 1 of set 1 is complete: 10 objects" in out
    assert "NEXT MEDIUM: 3 objects" in out
    vault.answers["courier.export"] = dataclasses.replace(EXPORTED, medium=0, left=0)
    code, out, _ = run("courier", "export", "/m", "--again", "2")
    assert (code, "sent everything already" in out) == (0, True)
    vault.answers["courier.receipt"] = tier_results.ReceiptResult("default", 1, 10, 5000)
    receipt = tmp_path / "r"
    receipt.touch()
    code, out, _ = run("courier", "receipt", str(receipt))
    assert (code, "Set 1 is confirmed: 10 objects" in out) == (0, True)
    sets = tuple(
        tier_results.CourierSet("default", number, MOMENT, 1, 10, 5000, complete, received)
        for number, complete, received in ((1, True, MOMENT), (2, True, None), (3, False, None))
    )
    vault.answers["courier.status"] = tier_results.CourierStatus(sets, 4, 400, 2)
    code, out, _ = run("courier", "status")
    assert code == 3
    for words in ("confirmed 2026-11-23", "on its way", "open", "4 objects (400 B) wait"):
        assert words in out
    for name in ("status", "export"):
        assert run("courier", name, *(["/m"] if name == "export" else []), "--json")[0] in {0, 3}


def test_an_import_needs_no_vault_s_key(run, monkeypatch, tmp_path):
    monkeypatch.delenv("HOLDFAST_KEY_FILE", raising=False)
    one = tier_results.ImportResult(ID, 1, 1, 10, 8, 5000, complete=False)
    answers = iter([(one, dataclasses.replace(one, medium=2, complete=True, receipt="receipts/x")), (one,), (one,)])
    monkeypatch.setattr("holdfast.runs.courier_import.courier_import", lambda *_args, **_more: next(answers))
    code, out, _ = run("courier", "import", str(tmp_path), "--into", "/far")
    assert code == 0
    assert "Imported medium 1 of set 1" in out
    assert "the receipt is receipts/x" in out
    code, out, _ = run("courier", "import", str(tmp_path), "--into", "/far")
    assert (code, "NEXT MEDIUM" in out) == (3, True)
    assert run("courier", "import", str(tmp_path), "--into", "/far", "--json")[0] == 3


def test_help_of_each_command_has_an_example(capfd):
    for words in (
        ("migrate",), ("policy", "show"), ("policy", "check"), ("policy", "explain"), ("courier", "export"),
        ("courier", "import"), ("courier", "receipt"), ("courier", "status"), ("repair",),
    ):  # fmt: skip
        assert main([*words, "--help"]) == 0
        assert "xample" in capfd.readouterr().out


def test_exposed_copies_are_listed_with_the_snapshots_that_need_them(vault, run, config):
    config(GOOD)
    vault.answers["exposed"] = (tier_results.Exposure("ehr", "public", "phi", ("b",), 2, 2000, (ID,)),)
    code, out, _ = run("policy", "exposed")
    assert code == 3
    assert f"ehr: 2 files (2 kB) that are phi now were stored as public, on b, by 1 snapshots:\n  {ID}" in out
    assert run("policy", "exposed", "--json")[0] == 3
    vault.answers["exposed"] = ()
    code, out, _ = run("policy", "exposed")
    assert (code, "No older copy" in out) == (0, True)
