"""Drills of real applications: what comes back right passes with proof, and every silent defect fails with its cause named."""

from __future__ import annotations

import pytest
from tests.rounds import stored

import holdfast
from holdfast.runs.drill.drills import prove
from holdfast.runs.drill.options import BareSite, DrillOptions

from .conftest import outcome, sqlite_records

LAB = """
[services.lab]
title = "Laboratory"
application = "sqlite"
rto = "15m"
rpo = "1h"
data = "{data}"
[[services.lab.checks]]
name = "results"
query = "select count(*) from results"
at_least = 100
drop_max = 0.1
"""


def test_a_database_comes_back_is_asked_and_leaves_only_its_proof(site):
    sqlite_records(site.source / "lab" / "lab.sqlite")
    site.services = LAB.format(data=site.source / "lab")
    site.backup("lab")
    events: list[holdfast.Event] = []
    before = stored(site.root / "vault")
    with site.open() as vault:
        (stands,) = vault.drill_standings(events=events.append)
        assert stands.state == "never"
        assert [event.code for event in events if isinstance(event, holdfast.Alert)] == ["drill-stale"]
        plan = vault.plan_drill("lab")
        assert plan.fits
        assert plan.checks == ("results",)
        report = vault.drill("lab", events=events.append)
        again = vault.drill("lab")
        bare = vault.drill("lab", DrillOptions(bare=BareSite(site.root / "vault", site.root / "key")))
        partial = vault.drill("lab", DrillOptions(kind="partial"))
        assert [record.number for record in vault.drills("lab")] == [1, 2, 3, 4]
        (standing,) = vault.drill_standings()
    assert report.passed, report.record.cause
    assert {phase.name for phase in report.record.phases} >= {"keys", "locate", "fetch", "verification", "application recovery",
                                                              "service check", "setting up", "clearing away"}  # fmt: skip
    assert report.record.rto_achieved == pytest.approx(sum(p.seconds for p in report.record.phases if p.counted))
    assert outcome(report, "results").found == "300"
    assert outcome(report, "sqlite-integrity").state == "passed"
    assert outcome(report, "comparison").state == "passed"
    assert report.record.compared_bytes == report.record.bytes > 0
    assert "at most 10% below 300" in outcome(again, "results").wanted
    assert again.record.previous
    assert bare.record.kind == "bare"
    assert bare.passed
    assert partial.passed
    assert partial.record.isolation == "none needed"
    assert standing.state in ("proved", "at-risk")
    assert {event.phase for event in events if isinstance(event, holdfast.Progress)} >= {"locate", "fetch"}
    with open(report.file, "rb") as file, open(report.page, "rb") as page:
        assert prove(file.read()).verdict == "passed"
        assert prove(page.read()).kind == "page"
    site.nothing_left()
    assert stored(site.root / "vault") == before, "a drill changes nothing on a store"
