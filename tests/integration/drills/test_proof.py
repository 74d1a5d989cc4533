"""What a comparison finds, what reports come out as, and what a drill says when the vault does not give what it should."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

import holdfast
from holdfast.base.environment import system
from holdfast.errors import DrillError, DrillMissingError, NotPermittedError, UsageError, WrongKeyError
from holdfast.runs.drill import compare, hold
from holdfast.runs.drill.drills import prove
from holdfast.runs.drill.options import BareSite, DrillOptions, Injection
from holdfast.runs.drill.scenarios import copies, scenarios
from holdfast.runs.drill.scenarios.scenario import Scenario

from .conftest import outcome

FILES = """
[services.files]
source = "files"
paths = ["{srv}"]
{more}
"""


@pytest.fixture
def files(site):
    (site.source / "deep").mkdir(parents=True)
    for number in range(6):
        (site.source / "deep" / f"{number}").write_text(f"record {number} " * 300)
    (site.source / "large").write_bytes(os.urandom(200_000))
    (site.source / "empty").touch()
    (site.source / "link").symlink_to("deep")
    os.mkfifo(site.source / "pipe")
    site.services = FILES.format(srv=site.source, more="")
    site.backup("files")
    return site


def inside(setting, site) -> Path:
    return Path(setting.restored + str(site.source))


def other_kind(folder: Path) -> None:
    (folder / "large").unlink()
    (folder / "large").mkdir()


def other_link(folder: Path) -> None:
    (folder / "link").unlink()
    (folder / "link").symlink_to("elsewhere")


def other_mode(folder: Path) -> None:
    (folder / "deep").chmod(0o711)


def other_time(folder: Path) -> None:
    os.utime(folder / "large", ns=(1, 1))


def other_large_content(folder: Path) -> None:
    copies.flip_bytes(str(folder / "large"), [150_000])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_kind, "1 of another kind"),
        (other_link, "1 with other content"),
        (other_mode, "1 with another mode"),
        (other_time, "1 with another mode, owner or time"),
        (other_large_content, "1 with other content"),
    ],
)
def test_every_kind_of_difference_is_found(files, change, said, monkeypatch):
    monkeypatch.setattr(compare, "SMALL", 10_000)  # so that the large file goes through the pipe
    with files.open() as vault:
        report = vault.drill(
            "files", DrillOptions(injection=Injection("x", restored=lambda setting: change(inside(setting, files))))
        )
        good = vault.drill("files")
    assert said in outcome(report, "comparison").cause
    assert good.passed
    assert good.record.compared_bytes == good.record.bytes
    files.nothing_left()


def test_many_differences_are_counted_up_to_a_limit_and_content_by_sample(files, monkeypatch):
    monkeypatch.setattr(compare, "DIFFERENCES_MAX", 2)
    monkeypatch.setattr(compare, "CONTENT_FILES_MAX", 3)

    def spoil(setting):
        for path in (inside(setting, files) / "deep").iterdir():
            path.unlink()

    with files.open() as vault:
        report = vault.drill("files", DrillOptions(injection=Injection("x", restored=spoil)))
        partial = vault.drill("files", DrillOptions(kind="partial"))
    assert "2 missing" in report.record.cause
    assert partial.passed
    files.nothing_left()


def test_a_sample_of_few_files_is_each_as_likely():
    entries = [holdfast.EntryInfo(f"{n}".encode(), "file", 1, 0, 0, 0, "", "", 0, 1) for n in range(100)]
    chosen = compare.sample(entries, 10, system())
    assert len({entry.path for entry in chosen}) == 10
    assert len({entry.path for _ in range(50) for entry in compare.sample(entries, 10, system())}) > 60


def test_content_that_the_vault_does_not_give_back_is_said(files):
    def spoil(setting):
        for path in (files.root / "vault" / "data").rglob("*"):
            if path.is_file():
                path.chmod(0o600)
                copies.flip_bytes(str(path), range(100, path.stat().st_size, 50))

    with files.open() as vault:
        report = vault.drill("files", DrillOptions(injection=Injection("x", restored=spoil)))
    assert "the vault does not give back" in report.record.cause


def test_reports_and_runbooks_come_in_every_form(files):
    with files.open() as vault:
        report = vault.drill("files")
        assert isinstance(report, holdfast.DrillReport)
        assert isinstance(vault.plan_drill("files"), holdfast.DrillPlan)
        assert isinstance(report.record, holdfast.DrillRecord)
        html = vault.drill_report("latest")
        assert prove(html).kind == "page"
        assert prove(vault.drill_report(report.record.id[:8], "json")).drill == report.record.id
        assert vault.drill_report("latest", "pdf").startswith(b"%PDF")
        assert prove(vault.runbook("files")).kind == "page"
        assert vault.runbook("files", "pdf").startswith(b"%PDF")
        with pytest.raises(UsageError):
            vault.runbook("files", "json")
        with pytest.raises(DrillMissingError):
            vault.drill_record("ffff")
    page = html.decode()
    for secret in (str(files.source), "deep", "large"):
        assert secret not in page, "a report names no path"


def test_a_bare_site_needs_the_right_kit(files, tmp_path):
    wrong = tmp_path / "kit"
    holdfast.Vault.create(tmp_path / "other", key_file=wrong).close()
    with files.open() as vault:
        with pytest.raises(WrongKeyError):
            vault.drill("files", holdfast.DrillOptions(bare=holdfast.BareSite(files.root / "vault", wrong)))
        report = vault.drill("files", DrillOptions(bare=BareSite(files.root / "vault", files.root / "key")))
    assert report.record.kind == "bare"
    files.nothing_left()


def test_a_writer_s_credential_cannot_drill(files):
    with files.open() as vault:
        (files.root / "credential").write_bytes(vault.enroll_writer("ward"))
    (files.root / "credential").chmod(0o600)
    path = files.configuration()
    path.write_text(
        path.read_text().replace(f'key_file = "file:{files.root}/key"', f'credential = "file:{files.root}/credential"')
    )
    with holdfast.Vault.open(path) as vault, pytest.raises(NotPermittedError):
        vault.drill("files")


def test_what_the_vault_does_not_have_is_a_failed_drill(files):
    files.services = FILES.format(srv=files.source, more='data = "/nowhere"') + "[services.never]\n"
    with files.open() as vault:
        never = vault.drill("never")
        assert never.record.cause == "locate: the service never has no snapshot"
        nowhere = vault.drill("files")
    assert nowhere.record.cause == "data: the snapshot has no folder or file at the service's `data`"
    files.nothing_left()


def test_a_store_that_fails_in_the_middle_is_a_failed_drill(files, monkeypatch):
    def fails(*_arguments, **_more):
        raise holdfast.errors.StoreUnreachableError("the store went away")

    monkeypatch.setattr(hold, "run_restore", fails)
    with files.open() as vault:
        report = vault.drill("files")
    assert report.record.cause == "fetch: the store went away"


def test_a_partial_snapshot_is_said_and_an_old_one_misses_its_objective(files):
    events: list[holdfast.Event] = []
    tomorrow = replace(system(), now=lambda: system().now() + timedelta(days=1))
    with files.open() as vault:
        failing = holdfast.BackupOptions(streams=(holdfast.Stream("/dump", ("false",)),))
        assert vault.backup([files.source], label="files", options=failing).partial
    files.services = FILES.format(srv=files.source, more='rpo = "1h"')
    with holdfast.Vault.open(files.configuration(), env=tomorrow) as vault:
        report = vault.drill("files", events=events.append)
        older = vault.drill("files", DrillOptions(snapshot="latest"), events=events.append)
    assert outcome(report, "snapshot").state == "skipped"
    assert report.record.verdict == "missed"
    assert report.exit_code == 8
    assert older.passed, "the age of a snapshot that was chosen on purpose is not judged"
    assert [event.code for event in events if isinstance(event, holdfast.Alert)] == ["drill-missed"]


def test_a_scenario_of_a_plug_in_is_found_and_one_that_breaks_is_no_success(files, monkeypatch):
    from types import SimpleNamespace

    def explode(_broken):
        raise DrillError("the scenario itself broke")

    mine = Scenario("mine", "Mine", "recovers", explode)
    points = [
        SimpleNamespace(load=lambda: mine),
        SimpleNamespace(load=lambda: lambda: Scenario("made", "Made", "recovers", explode)),
    ]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: points)
    scenarios.cache_clear()
    try:
        assert {"mine", "made"} <= set(scenarios())
        with files.open() as vault, pytest.raises(DrillError):
            vault.drill_scenario("files", "mine")
    finally:
        scenarios.cache_clear()
    monkeypatch.undo()
    monkeypatch.setenv("HOLDFAST_STATE", str(files.root / "state"))
    monkeypatch.setattr(copies, "COPY_BYTES_MAX", 10)
    with files.open() as vault, pytest.raises(DrillError, match="too large"):
        vault.drill_scenario("files", "lost-host")
    files.nothing_left()
