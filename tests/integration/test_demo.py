"""`holdfast demo` proves what it says, leaves a report, and refuses a folder that holds something."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from holdfast.cli.main import cli
from holdfast.errors import UsageError
from holdfast.runs import demo
from holdfast.runs.hospital import HospitalSize

SIZE = HospitalSize(patients=6, days=2, messages_a_day=8, images=6, image_side=64, database_rows=500)


def test_the_demonstration_proves_every_step(tmp_path):
    notes = []
    report = demo.run_demo(tmp_path / "demo", seed=2, size=SIZE, events=notes.append)
    assert len(report.steps) == 10
    assert report.counts.images == 7
    assert report.counts.rows == 500
    text = (tmp_path / "demo" / "report.md").read_text()
    assert all(step.title in text for step in report.steps)
    assert sum(getattr(note, "code", "") == demo.STEP for note in notes) == 10


def test_the_demonstration_needs_an_empty_folder(tmp_path):
    (tmp_path / "mine").touch()
    with pytest.raises(UsageError):
        demo.run_demo(tmp_path)


def test_the_demonstration_needs_its_libraries(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UsageError, match="hl7 and pydicom"):
        demo.run_demo(tmp_path / "demo")


def test_the_command_ends_with_the_place_of_the_report(tmp_path):
    done = CliRunner().invoke(cli, ["demo", str(tmp_path / "demo"), "--json"])
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout.splitlines()[-1])
    assert record["type"] == "demo"
    assert record["report"].endswith("report.md")
