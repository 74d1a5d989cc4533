"""Every scenario, on a small site: what should recover does, what should be detected is, and the vault itself is never touched."""

from __future__ import annotations

import contextlib
import hashlib
import os
from datetime import UTC, datetime, timedelta

import pytest

import holdfast
from holdfast.base.environment import ManualClock
from holdfast.errors import DrillSpaceError, StoreRefusedError, UsageError
from holdfast.runs.assembly import open_vault
from holdfast.runs.drill.scenarios import scenarios
from holdfast.runs.drill.scenarios.cold import THAW_SECONDS, ColdStore
from holdfast.runs.drill.scenarios.scenario import Scenario
from holdfast.runs.reading import thaw
from holdfast.runs.restore import RestoreRequest, run_restore

from .conftest import a_site, sqlite_records

LAB = """
[services.lab]
application = "sqlite"
data = "{data}/lab"
[[services.lab.checks]]
name = "results"
query = "select count(*) from results"
at_least = 100
[services.papers]
source = "lab"
paths = ["{data}/papers"]
"""


@pytest.fixture(scope="module")
def lab():
    with a_site() as site:
        sqlite_records(site.source / "lab" / "lab.sqlite", rows=30_000)
        (site.source / "papers").mkdir()
        for number in range(12):
            (site.source / "papers" / f"{number}.txt").write_text(f"paper {number} " * 400)
        site.services = LAB.format(data=site.source)
        site.backup("lab")
        sqlite_records(site.source / "lab" / "more.sqlite", rows=300)
        (site.source / "lab" / "more.sqlite").unlink()
        (site.source / "papers" / "3.txt").write_text("another paper " * 500)
        site.backup("lab")
        yield site


def content(site) -> str:
    digest = hashlib.sha256()
    for path in sorted((site.root / "vault").rglob("*")):
        if path.is_file():
            digest.update(str(path).encode() + path.read_bytes())
    return digest.hexdigest()


@pytest.mark.parametrize("name", sorted(scenarios()))
def test_a_scenario_goes_as_it_should_and_touches_no_vault(lab, name):
    before = content(lab)
    service = "papers" if name == "wrong-snapshot" else "lab"
    with lab.open() as vault:
        if name == "stale-log":
            with pytest.raises(UsageError, match="does not apply"):
                vault.drill_scenario(service, name)
        else:
            report = vault.drill_scenario(service, name)
            assert report.good, report
            assert report.exit_code == 0
            assert report.expects == scenarios()[name].expects
            if name == "cold-tier":
                assert vault.drill_record(report.drill).record.phase("rehydrate") >= THAW_SECONDS / 2
            if report.drill:
                assert vault.drill_record(report.drill).record.scenario == name
    assert content(lab) == before
    lab.nothing_left()


def test_what_lies_cold_is_refused_before_anything_is_written_until_it_was_asked_for(lab, tmp_path):
    clock = ManualClock(datetime(2026, 11, 25, tzinfo=UTC))
    env = clock.environment()
    opened = open_vault(
        lab.root / "vault", key_file=lab.root / "key", passphrase=None, credential=None, env=env,
        behind=lambda store: ColdStore(store, env),
    )  # fmt: skip
    with contextlib.closing(opened):
        (newest,) = opened.snapshots()[-1:]
        request = RestoreRequest(to=os.fsencode(tmp_path / "out"))
        for _ in range(2):
            with pytest.raises(StoreRefusedError, match="lie cold"):
                run_restore(opened, newest, request)
            assert not (tmp_path / "out").exists()
        asked = thaw(opened, newest)
        assert asked.asked > 0
        assert thaw(opened, newest).thawing == asked.asked
        pack = next(info.name for info in opened.store.list("data/"))
        for read in (opened.store.get, lambda name: opened.store.get_range(name, 0, 10)):
            with pytest.raises(StoreRefusedError, match="cold"):
                read(pack)
        clock.advance(timedelta(seconds=THAW_SECONDS))
        assert thaw(opened, newest).asked == 0
        assert run_restore(opened, newest, request).exit_code == 0


@pytest.mark.parametrize("name", ["missing-table", "corrupted-page"])
def test_a_scenario_that_cannot_be_played_is_said_and_never_called_good(lab, name):
    with lab.open() as vault, pytest.raises(UsageError, match="does not apply"):
        vault.drill_scenario("papers", name)
    lab.nothing_left()


def test_a_scenario_needs_a_name_and_room(lab, monkeypatch):
    with lab.open() as vault:
        with pytest.raises(UsageError, match="no scenario"):
            vault.drill_scenario("lab", "earthquake")
        monkeypatch.setattr("holdfast.runs.drill.scenarios.free_bytes", lambda _place: 10)
        with pytest.raises(DrillSpaceError):
            vault.drill_scenario("lab", "lost-host")
    lab.nothing_left()


def test_scenarios_do_not_count_as_proof(lab):
    with lab.open() as vault:
        vault.drill_scenario("lab", "lost-host")
        assert vault.drills("lab")[-1].scenario == "lost-host"
        states = {standing.service: standing.state for standing in vault.drill_standings()}
    assert states["lab"] == "never"


def test_a_failure_that_nobody_notices_is_called_that(lab):
    quiet = scenarios()["lost-host"]
    broken = Scenario("quiet", "Nothing is broken", "detected", quiet.break_it, "never")
    with lab.open() as vault, pytest.MonkeyPatch.context() as patch:
        patch.setattr("holdfast.runs.drill.scenarios.scenarios", lambda: {"quiet": broken})
        report = vault.drill_scenario("lab", "quiet")
    assert not report.good
    assert report.exit_code == 1
    assert report.outcome.startswith("NOT DETECTED")
    assert isinstance(report.seconds, float)
    assert holdfast.__version__
