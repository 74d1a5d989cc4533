"""The commands of drills and reports: they ask the library, print what it says, and end with its exit code."""

from __future__ import annotations

import json

import pytest
from tests.unit.drills.test_services import NOW, record

from holdfast.runs.drill.drills import DrillReport, Proof
from holdfast.runs.drill.options import BareSite
from holdfast.runs.drill.place import Swept
from holdfast.runs.drill.plan import DrillPlan
from holdfast.runs.drill.record import SignedRecord
from holdfast.runs.drill.scenarios import ScenarioReport
from holdfast.runs.drill.verdict import standings
from holdfast.runs.services import RestoredService, ServiceRestore
from holdfast.runs.vault import Vault
from holdfast.services.catalogue import Service
from holdfast.services.forecast import Forecast

FORECAST = Forecast(50.0, 40.0, 60.0, 5, 3)


@pytest.fixture
def config(tmp_path, monkeypatch):
    path = tmp_path / "holdfast.toml"
    path.write_text(
        '[vault]\nurl = "/vault"\nkey_file = "file:/key"\n[drill]\nplace = "/d"\n[services.ehr]\n[services.lab]\n'
    )
    monkeypatch.setenv("HOLDFAST_CONFIG", str(path))


def test_drills_run_one_after_another_and_the_worst_code_counts(vault, run, config):
    reports = iter([record(), record(verdict="missed", cause="late", weaker=("w",))] * 2)
    vault.answers["drill"] = lambda **_: DrillReport(next(reports), "/e/1.json", "/e/1.html")
    code, out, _ = run(
        "drill", "run", "--partial", "--snapshot", "ab", "--place", "/x", "--limit-read", "1MB", "--no-deep"
    )
    assert code == 8
    assert [arguments["args"][0] for name, arguments in vault.calls if name == "drill"] == ["ehr", "lab"]
    options = next(arguments["args"][1] for name, arguments in vault.calls if name == "drill")
    assert (options.kind, options.snapshot, options.place, options.deep) == ("partial", "ab", "/x", False)
    assert options.limits.read_bytes_per_s == 1_000_000
    assert "PASSED" in out
    assert "MISSED ITS OBJECTIVE" in out
    assert "cause: late" in out
    assert "isolated more weakly: w" in out
    code, out, _ = run(
        "drill", "run", "ehr", "--json", "--bare", "/copy", "--kit", "/kit", "--time", "2026-11-25T13:00:00+01:00"
    )
    assert code == 0
    assert json.loads(out.splitlines()[-1])["verdict"] == "passed"
    assert vault.calls[-2][1]["args"][1].bare == BareSite("/copy", "/kit")
    assert vault.calls[-2][1]["args"][1].at.hour == 13
    run("drill", "run", "ehr", "--mounted", "--thaw", "--check", "patients", "--check", "notes")
    assert vault.calls[-2][1]["args"][1].thaw
    assert vault.calls[-2][1]["args"][1].kind == "mounted"
    assert vault.calls[-2][1]["args"][1].checks == ("patients", "notes")


def test_a_drill_that_makes_no_sense_is_refused(vault, run, config, monkeypatch):
    assert run("drill", "run", "ehr", "--bare", "/copy")[0] == 2
    assert run("drill", "run", "ehr", "--partial", "--mounted")[0] == 2
    assert run("drill", "run", "ehr", "--time", "2026-11-25T13:00:00")[0] == 2
    assert run("drill", "run", "ehr", "--time", "noon")[0] == 2
    monkeypatch.delenv("HOLDFAST_CONFIG")
    assert run("drill", "run")[0] == 2
    assert run("drill", "sweep")[0] == 2


def test_scenarios_are_listed_and_played(vault, run, config, monkeypatch):
    code, out, _ = run("drill", "scenarios")
    assert code == 0
    assert "corrupt-pack" in out
    assert run("drill", "scenarios", "--json")[0] == 0
    found = ScenarioReport("lost-host", "t", "ehr", "recovers", True, "came back", "ab", "passed", "", 3.0)
    vault.answers["drill_scenario"] = found
    code, out, _ = run("drill", "run", "ehr", "--scenario", "lost-host")
    assert (code, "came back (as it should)" in out) == (0, True)
    vault.answers["drill_scenario"] = ScenarioReport("x", "t", "ehr", "detected", False, "not", "", "", "", 3.0)
    code, out, _ = run("drill", "run", "ehr", "--scenario", "x", "--json")
    assert code == 1


@pytest.mark.parametrize("fits", [True, False])
def test_a_plan_says_whether_there_is_room(vault, run, config, fits):
    plan = DrillPlan(
        "ehr", "EHR", "full", "files", "ab", "then", 3, 4, 10, 100 if fits else 1, "required", 9.0, FORECAST, ("c",)
    )
    vault.answers["plan_drill"] = plan
    code, out, _ = run("drill", "plan", "ehr")
    assert code == (0 if fits else 1)
    assert ("NO ROOM" in out) is not fits
    assert "expected 50.0 s (40.0 s to 1 min 0 s, 3 drills)" in out
    assert run("drill", "plan", "ehr", "--json")[0] == code


def test_services_are_listed_as_they_stand(vault, run, config):
    services = {"ehr": Service("ehr", rto=100), "lab": Service("lab")}
    vault.answers["drill_standings"] = standings(services, [record()], NOW)
    code, out, _ = run("drill", "list")
    assert code == 8
    assert "proved" in out
    assert "NEVER" in out
    assert run("drill", "list", "ehr")[0] == 0
    code, out, _ = run("drill", "list", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["state"] for row in rows if row["type"] == "drill-standing"] == ["proved", "never"]
    vault.answers["drills"] = (record(), record(scenario="lost-host", number=2))
    code, out, _ = run("drill", "list", "--history")
    assert "full+lost-host" in out
    assert run("drill", "list", "--history", "--json")[0] == code == 0


def test_one_drill_is_shown(vault, run, config):
    vault.answers["drill_record"] = SignedRecord(record(), "", "")
    code, out, _ = run("drill", "show", "latest")
    assert code == 0
    assert "verification" in out
    assert run("drill", "show", "--json")[0] == 0


def test_a_sweep_says_what_it_removed(vault, run, config, monkeypatch):
    asked: list[str] = []

    def sweep(where):
        asked.append(where)
        return Swept(1, 2, 3, 4)

    monkeypatch.setattr("holdfast.runs.drill.place.sweep", sweep)
    code, out, _ = run("drill", "sweep")
    assert (code, asked) == (0, ["/d"])
    assert "1 folders" in out
    assert run("drill", "sweep", "--place", "/x", "--json")[0] == 0


def test_reports_are_written_once_in_the_form_of_their_name(vault, run, config, tmp_path):
    vault.answers["drill_report"] = b"page"
    vault.answers["runbook"] = b"book"
    target = tmp_path / "a.html"
    code, out, _ = run("report", "drill", "latest", "--out", str(target))
    assert code == 0
    assert target.read_bytes() == b"page"
    assert vault.calls[-2][1]["args"] == ("latest", "html")
    assert run("report", "drill", "--out", str(target))[0] == 2
    assert run("report", "drill", "--out", str(tmp_path / "a.doc"))[0] == 2
    assert run("report", "drill", "--out", str(tmp_path / "no" / "a.pdf"))[0] == 7
    code, out, _ = run("report", "runbook", "ehr", "--out", str(tmp_path / "r.pdf"), "--json")
    assert code == 0
    assert json.loads(out)["format"] == "pdf"
    assert run("report", "nothing")[0] == 2


def test_a_report_is_proved_offline(run, tmp_path, monkeypatch):
    for name in ("HOLDFAST_VAULT", "HOLDFAST_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    from tests.unit.drills.test_evidence import FULL, KEY

    from holdfast.runs.drill.record import sign_record

    path = tmp_path / "record.json"
    path.write_bytes(sign_record(FULL, KEY).encode())
    code, out, _ = run("report", "verify", str(path))
    assert code == 0
    assert "AUTHENTIC" in out
    assert run("report", "verify", str(path), "--public-key", KEY.public.hex(), "--json")[0] == 0
    assert run("report", "verify", str(path), "--public-key", "00" * 32)[0] == 4
    assert run("report", "verify", str(path), "--public-key", "x")[0] == 2
    folder = tmp_path / "evidence"
    folder.mkdir()
    (folder / "drill-000001-ehr.json").write_bytes(path.read_bytes())
    code, out, _ = run("report", "verify", str(folder))
    assert (code, "AUTHENTIC: 1 records, 1 keys" in out) == (0, True)
    (folder / "drill-000001-ehr.json").rename(folder / "drill-000002-ehr.json")
    code, out, _ = run("report", "verify", str(folder))
    assert (code, "record 1 is missing" in out) == (4, True)
    assert run("report", "verify", str(folder), "--json")[0] == 4
    path.write_bytes(path.read_bytes().replace(b'"passed"', b'"failed"'))
    assert run("report", "verify", str(path))[0] == 4
    assert run("report", "verify", str(tmp_path / "gone"))[0] == 2
    assert Proof("page", "", "", anchored=False).verdict == ""


def test_services_are_restored_in_order(vault, run, config, tmp_path):
    done = RestoredService("ehr", 1, "ab", 3, 4, 1.0, 2, damaged=False, resumed=True)
    broken = RestoredService("lab", 2, "ab", 3, 4, 1.0, 0, damaged=True, resumed=False)
    vault.answers["restore_service"] = ServiceRestore((done, broken), 2.0)
    code, out, _ = run("restore", "--service", "ehr", "--service", "lab", "--to", str(tmp_path))
    assert code == 4
    assert "PARTIAL: 2 findings (was complete already)" in out
    assert "DAMAGED" in out
    vault.answers["restore_service"] = ServiceRestore((done,), 2.0, dry_run=True)
    assert run("restore", "--service", "ehr", "--to", "x", "--dry-run", "--json")[0] == 3
    assert run("restore", "ab", "--service", "ehr", "--to", "x")[0] == 2
    assert run("restore", "--service", "ehr", "--in-place")[0] == 2
    assert Vault.restore_service.__doc__
