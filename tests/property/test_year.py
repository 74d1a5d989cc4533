"""A bounded simulated year: nearly all failures end without a person, all others are told in time, and nothing is lost or doubled."""

from __future__ import annotations

import sys

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
