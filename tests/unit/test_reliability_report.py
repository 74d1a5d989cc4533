"""The reliability report keeps what each part came to, goes on where it was stopped, and writes the page from what was kept."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "bench"))


def test_the_reliability_report_goes_on_where_it_was_stopped(tmp_path, monkeypatch, capsys):
    reliability = import_module("reliability")
    done = [
        ("sweep hold, killed, 1", reliability.strike, ("hold", "killed", 1)),
        ("worlds 0000001 2", reliability.worlds, (1, 2)),
        ("attack forged damage list", reliability.carried_out, ("forged damage list",)),
    ]
    broken = ("sweep none, killed, 1", reliability.strike, ("none", "killed", 1))
    out = tmp_path / "page.md"
    monkeypatch.setattr("sys.argv", ["reliability.py", "--out", str(out), "--jobs", "1"])
    monkeypatch.setattr(reliability, "parts", lambda _asked: [*done[:2], broken])
    with pytest.raises(StopIteration):
        reliability.main()
    kept = out.with_suffix(".json").read_text()
    assert "hold, killed" in kept
    monkeypatch.setattr(reliability, "parts", lambda _asked: done)
    capsys.readouterr()
    assert reliability.main() == 0
    assert "1 of 1: attack forged damage list" in capsys.readouterr().err, "what was kept is not tried again"
    page = out.read_text()
    assert "| hold | – | – | – | – | all 1 |" in page
    assert "Nothing was lost" in page
    row = {"row": ["hold", "cable", 9, 3, 0, 3, 0], "restores": 3, "claims": [], "broken": ["hold, cable: it broke"]}
    facts = reliability.Facts("")
    reliability.summed(facts, {"sweep hold, cable, 3": row | {"on": "2026-11-25"}})
    assert facts.broken == ["hold, cable: it broke"]
    assert "| hold | 3 of 9 |" in reliability.page(facts)
