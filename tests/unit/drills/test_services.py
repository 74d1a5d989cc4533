"""Services, their order, what answers mean, what a drill comes to, how long it will take: all pure, by tables of examples."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast import config
from holdfast.base.environment import ManualClock
from holdfast.errors import Safety, UsageError
from holdfast.runs.drill.lastgood import Turnover, suspect
from holdfast.runs.drill.record import DrillRecord, Phase
from holdfast.runs.drill.verdict import alerts_of, forecast_of, stale_alerts, standings, verdict_of
from holdfast.services.applications import mariadb, orthanc, postgresql
from holdfast.services.catalogue import Check, Service, service_named, services_of
from holdfast.services.forecast import Sample, forecast
from holdfast.services.judge import Answer, Outcome, figure, judge, shown
from holdfast.services.order import waves

SERVICES = {
    service.name: service
    for service in (
        Service("identity", criticality="vital", rto=900),
        Service("database", criticality="vital", rto=1800, needs=("identity",)),
        Service("ehr", criticality="vital", rto=3600, needs=("database", "identity")),
        Service("imaging", criticality="important", rto=7200, needs=("identity",)),
        Service("archive-search", criticality="deferrable", rto=7200),
        Service("odd", criticality="unheard-of"),
    )
}


def names(order):
    return [[service.name for service in wave] for wave in order]


def test_services_come_back_in_the_order_of_their_needs_the_vital_first():
    assert names(waves(SERVICES, ["ehr"])) == [["identity"], ["database"], ["ehr"]]
    assert names(waves(SERVICES, SERVICES)) == [["identity", "archive-search", "odd"], ["database", "imaging"], ["ehr"]]


def test_an_unknown_service_and_a_circle_are_refused():
    with pytest.raises(UsageError, match="no service labs"):
        waves(SERVICES, ["labs"])
    with pytest.raises(UsageError, match="no service x"):
        service_named({}, "x")
    circle = {"a": Service("a", needs=("b",)), "b": Service("b", needs=("a",))}
    with pytest.raises(UsageError, match="circle"):
        waves(circle, ["a"])


def test_the_catalogue_is_what_the_configuration_says():
    text = '[vault]\nurl = "/v"\n[services.a]\nneeds = ["b"]\n[[services.a.checks]]\nname = "c"\nat_least = 3\n'
    text += '[services.b]\ntitle = "B"\nsource = "s"\n'
    found = services_of(config.loads(text, environ={}).settings)
    assert found["a"].source == "a"
    assert found["a"].shown == "a"
    assert (found["b"].source, found["b"].shown) == ("s", "B")
    assert found["a"].checks == (Check("c", at_least=3),)


COUNT = Check("n", at_least=10, drop_max=0.1)


@pytest.mark.parametrize(
    ("check", "answer", "last", "cause"),
    [
        (COUNT, Answer("10\n"), "", ""),
        (COUNT, Answer("9"), "", "less than 10"),
        (COUNT, Answer("95"), "100", ""),
        (COUNT, Answer("80"), "100", "20% less than the 100"),
        (COUNT, Answer("80"), "no figure", ""),
        (COUNT, Answer("many"), "", "no number"),
        (Check("n", drop_max=0.5), Answer("many"), "100", "no number"),
        (COUNT, Answer(problem="nobody answers there"), "", "nobody answers"),
        (Check("e", equals="ready"), Answer(" ready "), "", ""),
        (Check("e", equals="ready"), Answer("not"), "", "another"),
        (Check("a"), Answer(""), "", "empty"),
        (Check("a"), Answer("anything"), "", ""),
        (Check("f", kind="file"), Answer(""), "", ""),
    ],
)
def test_an_answer_is_judged(check, answer, last, cause):
    outcome = judge(check, answer, last)
    assert (outcome.state == "passed") == (cause == "")
    assert cause in outcome.cause


def test_an_outcome_shows_figures_and_never_content():
    assert shown("Müller, Erika") == shown("Müller, Erika\n")
    assert "Erika" not in shown("Müller, Erika")
    assert shown("12") == "12"
    assert shown(" ") == "nothing"
    assert figure("1e9") is None
    assert figure("-3.5") == -3.5
    outcome = judge(Check("e", equals="Müller"), Answer("Erika"))
    assert "Müller" not in outcome.wanted + outcome.found + outcome.cause
    assert "Erika" not in outcome.wanted + outcome.found + outcome.cause


# -- verdict and alerts


GOOD = Outcome("c", "query", "passed")
BAD = Outcome("c", "query", "failed", cause="data is missing")
TIMES = {"rto": 100.0, "rto_achieved": 50.0, "rpo": 100.0, "rpo_achieved": 50.0, "rpo_judged": True}


@pytest.mark.parametrize(
    ("outcomes", "times", "expected"),
    [
        ([GOOD], {}, ("passed", "")),
        ([GOOD, BAD], {"rto_achieved": 900.0}, ("failed", "c: data is missing")),
        ([GOOD], {"rto_achieved": 101.0}, ("missed", "back after")),
        ([GOOD], {"rpo_achieved": 101.0}, ("missed", "the data is")),
        ([GOOD], {"rpo_achieved": 101.0, "rpo_judged": False}, ("passed", "")),
        ([Outcome("s", "drill", "skipped")], {}, ("passed", "")),
    ],
)
def test_a_drill_is_judged(outcomes, times, expected):
    verdict, cause = verdict_of(outcomes, **(TIMES | times))
    assert verdict == expected[0]
    assert expected[1] in cause


def record(**more) -> DrillRecord:
    values: dict[str, Any] = {
        "id": "ab" * 16, "number": 1, "previous": "", "vault": "cd" * 16, "vault_label": "site", "service": "ehr", "title": "EHR",
        "kind": "full", "scenario": "", "verdict": "passed", "cause": "", "snapshot": "ef" * 16,
        "snapshot_started": "2026-11-23T02:00:00.000000Z", "began": "2026-11-23T03:00:00.000000Z",
        "ended": "2026-11-23T03:10:00.000000Z", "isolation": "namespaces", "weaker": (),
        "phases": (Phase("locate", 0.0, 1.0, counted=True), Phase("fetch", 1.0, 40.0, counted=True),
                   Phase("verification", 41.0, 9.0, counted=False), Phase("application recovery", 50.0, 5.0, counted=True)),
        "rto": 100.0, "rto_achieved": 46.0, "rpo": 7200.0, "rpo_achieved": 3600.0, "rpo_judged": True, "files": 10,
        "bytes": 4_000_000_000,
        "bytes_per_s": 1e8, "first_byte": 0.5, "compared_files": 10, "compared_bytes": 4_000_000_000, "outcomes": (GOOD,),
        "forecast": None, "holdfast": "0.1.0",
    }  # fmt: skip
    return DrillRecord(**(values | more))


def codes(found, attention=0.8):
    return [alert.code for alert in alerts_of(found, attention)]


def test_people_are_told_of_a_failure_and_of_danger_before_there_is_one():
    assert codes(record()) == []
    assert codes(record(verdict="failed", cause="x")) == ["drill-failed"]
    assert codes(record(verdict="missed", rto_achieved=200.0)) == ["drill-missed"]
    assert codes(record(rto_achieved=85.0)) == ["rto-danger"]
    at_risk = forecast([Sample(1, {"fetch": 90.0})], 1)
    assert codes(record(forecast=at_risk)) == ["rto-danger"]
    assert codes(record(forecast=at_risk, kind="partial")) == []
    assert codes(record(rpo_achieved=7000.0)) == ["rpo-danger"]
    assert codes(record(verdict="failed", cause="x", scenario="lost-host")) == []
    (alert,) = alerts_of(record(verdict="failed", cause="x"), 0.8)
    assert alert.safety is Safety.AT_RISK
    assert alert.subject == "ehr"


NOW = datetime(2026, 11, 24, tzinfo=UTC)
EHR = {"ehr": Service("ehr", rto=100, drill_every=7 * 86400)}


@pytest.mark.parametrize(
    ("records", "now", "state"),
    [
        ([], NOW, "never"),
        ([record()], NOW, "proved"),
        ([record()], NOW + timedelta(days=8), "stale"),
        ([record(), record(verdict="failed", cause="x")], NOW, "failed"),
        ([record(), record(verdict="missed", cause="x")], NOW, "missed"),
        ([record(kind="partial")], NOW, "stale"),
        ([record(), record(verdict="failed", cause="x", scenario="lost-host")], NOW, "proved"),
        ([record(rto_achieved=99.0, phases=(Phase("fetch", 0.0, 99.0, counted=True),))], NOW, "at-risk"),
        ([record(service="other")], NOW, "never"),
    ],
)
def test_a_service_stands_as_its_last_drills_say(records, now, state):
    (found,) = standings(EHR, records, now)
    assert found.state == state
    assert [alert.code for alert in stale_alerts([found])] == (["drill-stale"] if found.stale else [])


# -- forecast


def test_nothing_is_forecast_from_nothing():
    assert forecast([], 100) is None
    assert forecast_of([record(kind="partial"), record(verdict="failed", cause="x")], 5) is None


def test_one_drill_gives_a_proportional_forecast_with_what_is_fixed_left_fixed():
    found = forecast([Sample(100, {"fetch": 10.0, "application recovery": 3.0}, first_byte=1.0)], 1000)
    assert found is not None
    assert found.seconds == pytest.approx(1 + 9 * 10 + 3)
    assert found.uncertainty == pytest.approx(0.35)
    assert found.at_risk(100)
    assert not found.at_risk(1000)


def test_a_line_is_fitted_where_sizes_differ():
    samples = [
        Sample(size, {"fetch": 2 + size / 50, "application recovery": 1 + size / 500}) for size in (100, 200, 300)
    ]
    found = forecast(samples, 3000)
    assert found is not None
    assert found.seconds == pytest.approx(2 + 60 + 1 + 6)
    assert found.low <= 69 <= found.high


@pytest.mark.parametrize(
    ("times", "size", "expected"),
    [((10.0, 5.0), 1000, 5.0 + 2.5), ((1.0, 10.0), 1000, None), ((0.0, 0.0), 10, 0.0)],
    ids=["a falling line is none", "no time below nothing", "no time at all"],
)
def test_a_fit_that_makes_no_sense_is_not_taken(times, size, expected):
    found = forecast([Sample(100, {"fetch": times[0]}), Sample(200, {"fetch": times[1]})], size)
    assert found is not None
    assert found.seconds >= 0
    if expected is not None:
        assert found.seconds == pytest.approx(expected, rel=0.1, abs=0.01)
    assert found.low >= 0


def test_empty_services_are_forecast_too():
    found = forecast([Sample(0, {"fetch": 0.1}), Sample(0, {"fetch": 0.1})], 0)
    assert found is not None
    assert found.seconds == pytest.approx(0.1)
    assert forecast([Sample(0, {})], 10).uncertainty == 0


@pytest.mark.parametrize("service", ["database", "files", "imaging"])
def test_at_ten_times_the_size_the_truth_is_within_twenty_percent_and_within_the_interval(service):
    """Three services with costs of other shapes, timed with up to 5 % of noise; drilled at 1, 2 and 3, asked at 10 to 30."""
    fixed, per_byte, recovery, check = {"database": (0.8, 8e-9, 4.0, 0.3), "files": (0.2, 3e-8, 0.0, 0.05),
                                        "imaging": (0.5, 6e-9, 2.0, 1.5)}[service]  # fmt: skip
    inside = 0
    for seed in range(200):
        noise = random.Random(seed)

        def phases(size, noise=noise):
            def shaken(value):
                return value * (1 + noise.uniform(-0.05, 0.05))

            return {
                "fetch": shaken(fixed + size * per_byte),
                "application recovery": shaken(recovery),
                "service check": shaken(check),
            }

        gib = 1 << 30
        samples = [Sample(size, phases(size)) for size in (gib, gib, 2 * gib, 2 * gib, 3 * gib, 3 * gib)]
        found = forecast(samples, 10 * gib)
        assert found is not None
        truth = fixed + 10 * gib * per_byte + recovery + check
        assert abs(found.seconds - truth) <= 0.2 * truth, seed
        inside += found.low <= truth <= found.high
    assert inside >= 180


# -- what applications say


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("PANIC:  could not locate a valid checkpoint record", "stale"),
        ("FATAL:  WAL ends before end of online backup", "stale"),
        ("FATAL:  database files are incompatible with server", "major version"),
        ("ERROR:  invalid page in block 3 of relation base/16384/16390", "checksum"),
        ('ERROR:  relation "patients" does not exist', "table is missing"),
        ('FATAL:  database "ehr" does not exist', "database is missing"),
        ("LOG:  all is well", ""),
    ],
)  # fmt: skip
def test_postgresql_s_words_are_understood_and_not_passed_on(said, cause):
    found = postgresql.cause_in(said)
    assert cause in found
    assert "patients" not in found
    assert "ehr" not in found


def test_recovery_gets_settings_as_large_as_they_were():
    control = "max_connections setting:              200\nmax_prepared_xacts setting:           7\nwal_level setting: replica\n"
    assert postgresql.settings_of(control) == {"max_connections": "200", "max_prepared_transactions": "7"}


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("[ERROR] InnoDB: Database page corruption on disk", "page is corrupted"),
        ("ERROR 1146 (42S02): Table 'charts.patients' doesn't exist", "table is missing"),
        ("ERROR 1049: Unknown database 'charts'", "database is missing"),
        ("InnoDB: Missing FILE_CHECKPOINT at 3", "redo log"),
        ("nothing", ""),
    ],
)
def test_mariadb_s_words_are_understood(said, cause):
    assert cause in mariadb.cause_in(said)


def test_orthanc_s_words_are_understood():
    assert "damaged" in orthanc._cause("SQLite: database disk image is malformed")
    assert "version" in orthanc._cause("Incompatible version of the Orthanc database")
    assert orthanc._cause("ok") == ""


# -- the last good snapshot


@pytest.mark.parametrize(
    ("anomaly", "released", "found", "expected"),
    [
        (0, False, None, False),
        (0, False, Turnover(100, 10, 30, 5), False),
        (0, False, Turnover(100, 60, 30, 60), True),
        (700, False, Turnover(100, 0, 0, 0), True),
        (700, True, Turnover(100, 100, 0, 100), False),
        (0, False, Turnover(0, 0, 0, 9), False),
    ],
)
def test_a_snapshot_is_suspect_by_its_score_or_by_what_changed(anomaly, released, found, expected):
    from tests.cli.conftest import INFO

    assert suspect(replace(INFO, anomaly=anomaly, released=released), found) is expected


def test_the_clock_is_one():
    assert ManualClock().environment().timestamp().endswith("Z")
