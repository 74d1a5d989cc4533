"""Parts that were made apart serve one site together: one configuration with named stores, policies, a service and a schedule."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast import config as configuration
from holdfast.cli import main
from holdfast.errors import DrillRefusedError, SnapshotMissingError, UsageError
from holdfast.runs import status
from holdfast.runs.alerting import open_book

TEXT = """[vault]
url = "store:first"
key_file = "file:FOLDER/keys/key"
[stores.first]
url = "FOLDER/home/vault"
[stores.second]
url = "FOLDER/other/second"
[policies.default]
stores = ["home", "second"]
[spool]
alarm_seconds = 60
[jobs.ehr]
rpo_seconds = "2d"
paths = ["FOLDER/data"]
[jobs.pacs]
paths = ["FOLDER/data"]
[services.ehr]
source = "ehr"
rpo = "2d"
paths = ["FOLDER/data"]
[drill]
place = "DRILLS"
isolation = "preferred"
[schedule.nightly]
job = "ehr"
every_seconds = "1d"
[schedule.onward]
kind = "migrate"
after = ["nightly"]
[monitoring]
store_free_percent = 0
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch) -> Iterator[Path]:
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    (tmp_path / "data").mkdir()
    (tmp_path / "keys").mkdir()
    (tmp_path / "data" / "a.hl7").write_bytes(b"MSH|^~\\&|" * 1000)
    path = tmp_path / "site.toml"
    with tempfile.TemporaryDirectory(prefix="hf") as drills:  # sockets lie below it: its path must be short
        path.write_text(TEXT.replace("FOLDER", str(tmp_path)).replace("DRILLS", drills))
        assert main(["init", "--config", str(path), "--quiet"]) == 0
        yield path


def test_the_status_sees_a_vault_with_a_named_home_and_policies(site, tmp_path, capsys):
    loaded = configuration.load(str(site))
    before = status.status(loaded)
    assert before.vault_error == ""
    assert [store.name for store in before.stores] == ["vault", "second"], "both are folders, whose room is known"
    assert {source.name: source.verdict for source in before.sources} == {"ehr": "never", "pacs": "never"}
    assert before.verdict == "attention", "all is not well where nothing was ever backed up"
    with holdfast.Vault.open(str(site)) as vault:
        shutil.rmtree(tmp_path / "other" / "second")
        vault.backup(loaded.settings.jobs["ehr"].paths, label="ehr")
        waits = vault.pending()
        assert waits is not None
        assert vault.compliance() is not None
    after = status.status(loaded)
    assert (after.packs_pending, after.bytes_pending) == (waits.packs, waits.bytes)
    assert after.packs_pending > 0
    assert {source.name: source.verdict for source in after.sources} == {"ehr": "ok", "pacs": "never"}
    assert after.exit_code == 1, "what waits in the spool has no copy on a store of its own yet"
    assert "copies-missing phi" in after.dangers
    assert after.scheduler_silent
    assert main(["check", "--config", str(site)]) == 7
    assert "note: it is the store second" in capsys.readouterr().err
    shutil.move(tmp_path / "home", tmp_path / "away")
    lost = status.status(loaded)
    assert lost.exit_code == 7
    assert {source.verdict for source in lost.sources} == {"unknown"}, "nobody can say that there never was a backup"


def test_a_drill_never_lies_in_any_store_and_a_mistyped_snapshot_is_no_failed_drill(site, tmp_path):
    place = tmp_path / "other" / "second" / "drills"
    place.mkdir(mode=0o700, parents=True)
    with holdfast.Vault.open(str(site)) as vault:
        vault.backup([tmp_path / "data"], label="ehr")
        with pytest.raises(DrillRefusedError):
            vault.drill("ehr", holdfast.DrillOptions(place=str(place)))
        with pytest.raises(SnapshotMissingError):
            vault.drill("ehr", holdfast.DrillOptions(snapshot="zzz"))
        assert vault.drills() == ()
        report = vault.drill("ehr", holdfast.DrillOptions(kind="partial"))
        assert (report.passed, report.record.proves) == (True, False)
        assert any("No drill passed" in finding.gap for finding in vault.compliance().findings)
    seen = status.status(configuration.load(str(site)))
    assert seen.drill_days is None, "a sample of files proves no service"
    assert "drill-stale ehr" in seen.dangers


def test_a_drill_that_passes_ends_the_alerts_of_those_before_it(site):
    with open_book() as book:
        book.report(holdfast.Alert("drill-failed", "ehr", "it did not come back"))
        book.report(holdfast.Alert("drill-failed", "lab", "another service"))
    options = ["--config", str(site), "--quiet"]
    assert main(["backup", "--job", "ehr", *options]) == 0
    assert main(["drill", "run", "ehr", *options]) == 0
    with open_book() as book:
        assert [record.subject for record in book.live()] == ["lab"]


def test_what_steers_all_runs_of_the_machine_is_in_the_audit_log(site, tmp_path):
    holdfast.pause_runs(reason="upgrade of admission")
    assert holdfast.resume_runs()
    assert not holdfast.resume_runs(), "and nothing is recorded where nothing changed"
    alive: tuple[holdfast.RunStatus, ...] = holdfast.run_status()
    assert alive == ()
    assert holdfast.set_run_limits({"cpu_cores": 1.0}) == ()
    assert holdfast.suggest_windows() == ()
    with holdfast.Vault.open(str(site)) as vault:
        kinds = [each.record.kind for each in vault.audit.records()]
        assert [kind for kind in kinds if kind in {"pause", "resume", "limits"}] == ["pause", "resume"]
        assert vault.audit.verify().sound
        key = Path(vault.state_dir) / "audit" / "key.pem"
    key.rename(key.with_suffix(".away"))
    holdfast.pause_runs(reason="what is urgent is done all the same")
    with open_book() as book:
        assert [record.subject for record in book.live()] == ["audit-log"]


def test_a_secret_that_is_named_goes_before_the_configured_one_of_another_kind(site, tmp_path, capsys):
    credential = str(tmp_path / "ward7.credential")
    options = ["--config", str(site), "--quiet"]
    assert main(["key", "issue", "writer", "ward7", "--to", credential, *options]) == 0
    assert main(["backup", "--job", "ehr", "--credential", credential, *options]) == 0
    assert main(["restore", "latest", "--to", str(tmp_path / "out"), "--credential", credential, *options]) == 6
    assert "can add to the vault and read nothing back" in capsys.readouterr().err


def test_a_job_s_name_where_paths_are_expected_is_answered_with_the_option(site, capsys):
    assert main(["backup", "ehr", "--config", str(site)]) == 2
    assert "NEXT: write `--job ehr`." in capsys.readouterr().err


def test_what_makes_no_sense_is_refused_from_python_too(site, tmp_path):
    with holdfast.Vault.open(str(site)) as vault:
        vault.backup([tmp_path / "data"], label="ehr")
        for part in (-1, 0, 7):
            with pytest.raises(UsageError, match="part of the whole"):
                vault.verify(sample=part)
        with pytest.raises(UsageError, match=r"html or \.pdf"):
            vault.runbook("ehr", "docx")
    with pytest.raises(UsageError, match="workers, pack_bytes"):
        holdfast.BackupOptions(workers=-1, pack_bytes=0)
