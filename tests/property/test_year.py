"""A bounded simulated year: nearly all failures end without a person, all others are told in time, and nothing is lost or doubled."""

from __future__ import annotations

import sys
from datetime import timedelta

import pytest

from holdfast.testing import year


@pytest.mark.parametrize("seed", [2])
def test_a_simulated_season(seed):
    report = year.simulate(jobs=80, days=30, seed=seed)
    sys.stdout.write(report.text())
    assert report.failures > 200
    assert report.recovered_part >= 0.95
    assert report.for_a_person >= 5
    assert report.alerted_in_time == report.for_a_person, report.late
    assert report.false_messages == 0, report.false
    assert report.repeated_early == 0
    assert report.acknowledged_lost == 0
    assert report.slots_lost == report.slots_doubled == 0
    assert report.runs >= 80 * 30


HOUR, DAY = timedelta(hours=1), timedelta(days=1)
STEPS = (
    year.Step(2 * DAY + 2 * HOUR, HOUR),
    year.Step(4 * DAY + 7 * HOUR, DAY),
    year.Step(7 * DAY + 13 * HOUR, 400 * DAY),
    year.Step(10 * DAY, -HOUR),
    year.Step(12 * DAY + 5 * HOUR, -400 * DAY),
)


@pytest.mark.parametrize("seed", [3])
def test_a_clock_that_is_wrong_at_times_loses_no_run_and_silences_nothing(seed):
    """An hour, a day and 400 days ahead, then right; and back: what follows others runs, and what lasts is told."""
    report = year.simulate(jobs=20, days=16, seed=seed, forget=0.3, steps=STEPS)
    sys.stdout.write(report.text())
    assert report.failures > 20
    assert report.for_a_person >= 1
    assert report.alerted_in_time == report.for_a_person, report.late
    assert report.false_messages == 0, report.false
    assert report.repeated_early == 0
    assert report.acknowledged_lost == 0
    assert report.slots_lost == report.slots_doubled == 0
    assert report.runs >= (20 + year.FOLLOWERS) * 15


def test_what_was_taken_on_and_forgotten_is_told_again():
    report = year.simulate(jobs=60, days=20, seed=8, forget=0.9)
    sys.stdout.write(report.text())
    assert report.forgotten >= 5
    assert report.forgotten_told_again >= 3
    assert report.acknowledged_lost == 0
    assert report.alerted_in_time == report.for_a_person, report.late
    assert report.false_messages == 0, report.false


def test_a_year_prints_its_figures(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["year", "--jobs", "5", "--days", "3", "--seed", "7"])
    year.main()
    out = capsys.readouterr().out
    assert "seed: 7" in out
    assert "recovered without a person: " in out
