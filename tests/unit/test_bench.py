"""The benchmark's generators repeat by seed and compress like the real thing; its page judges the targets."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import zstandard

pytest.importorskip("numpy", reason="uv sync --group bench")

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))


def ratio(data: bytes) -> float:
    return len(data) / len(zstandard.ZstdCompressor(level=1).compress(data))


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["large", "small", "dicom", "pages"])
def test_the_same_seed_makes_and_changes_the_same_files(tmp_path, name):
    workloads = import_module("workloads")
    workload = workloads.WORKLOADS[name]
    for copy in ("one", "other"):
        workload.make(tmp_path / copy, 0.0005, 3)
    assert contents(tmp_path / "one") == contents(tmp_path / "other")
    if workload.change:
        before = contents(tmp_path / "one")
        written = {copy: workload.change(tmp_path / copy, 0.1, 4) for copy in ("one", "other")}
        after = contents(tmp_path / "one")
        assert after == contents(tmp_path / "other")
        assert written["one"] == written["other"] > 0
        assert before != after


def test_text_compresses_as_measured_on_the_real_thing(tmp_path):
    text, workloads = import_module("text"), import_module("workloads")
    random = import_module("numpy").random.default_rng(1)
    assert 2.4 < ratio(text.pages(random, 256).tobytes()) < 3.0
    assert 3.2 < ratio(text.stream(random, text.DUMP_LINE, 1 << 20).tobytes()) < 3.9
    messages = workloads.small_files(random, 500, json=False)
    assert 3.6 < ratio(b"".join(messages)) < 4.5
    assert 200 <= min(map(len, messages)) < max(map(len, messages)) <= 8192
    assert 2000 < sum(map(len, messages)) / 500 < 3000


def test_the_page_judges_each_target():
    report = import_module("report")
    cost = {"wall_s": 1.0, "cpu_s": 1.0, "anonymous_mib": 100.0, "resident_mib": 120.0, "exit_code": 0}
    slow = {**cost, "wall_s": 10.0, "cpu_s": 10.0}
    size = {"repository_bytes": 500, "added_bytes": 500}
    rows = [
        {"step": "backup", "tool": "holdfast", **cost, **size},
        {"step": "backup", "tool": "restic", **slow, "repository_bytes": 1000, "added_bytes": 1000},
        {"step": "restore", "tool": "holdfast", **slow, "faithful": False},
        {"step": "restore", "tool": "restic", **cost},
        {"step": "verify", "tool": "holdfast", "failed": "no such command"},
    ]
    workload = {
        "title": "W2: small files", "scale": 1.0, "seed": 1, "files": 1, "bytes": 1000, "changes": {}, "date": "today",
        "tools": {"holdfast": {"version": "holdfast 1", "note": ""}}, "rows": rows,
    }  # fmt: skip
    machine = {"cpu": "2 × a CPU", "memory": "24 GiB", "kernel": "6", "python": "3.11"}
    page = report.render({"machine": machine, "workloads": {"small": workload}})
    assert "| small: first backup, CPU ≥ 5× | 10.00× (1 against 10, restic) | yes |" in page
    assert "| small: restore, wall ≥ 2× | 0.10× (10 against 1, restic) | **no** |" in page
    assert "| small: verify, CPU ≥ 2× | not measured | – |" in page
    assert "**restored wrong**" in page
    assert "failed" in page
