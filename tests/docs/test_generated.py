"""Generated pages are what the code says; links lead somewhere; the README's commands work as they stand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.cli import manual, shapes
from holdfast.cli.exits import EXIT_CODES

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "rescue").rglob("*.md")])


@pytest.mark.parametrize("name", ["cli.md", "config.md", "errors.md"])
def test_a_generated_page_is_what_the_code_says(name):
    text = (ROOT / "docs" / name).read_text()
    assert text == manual.pages()[name], "run `uv run python -m holdfast.cli.manual` and commit"


def test_pages_are_written_where_they_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["manual", str(tmp_path)])
    manual.main()
    assert {path.name for path in tmp_path.iterdir()} == {"cli.md", "config.md", "errors.md"}


def test_every_exit_code_and_record_is_documented():
    errors = (ROOT / "docs" / "errors.md").read_text()
    for code in EXIT_CODES:
        assert f"| {code} |" in errors
    cli = (ROOT / "docs" / "cli.md").read_text()
    for kind in shapes.RECORDS:
        assert f"### `{kind}`" in cli


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_repository_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), target


def block_after(marker: str) -> str:
    match = re.search(rf"<!-- {marker} -->\s*```sh\n(.*?)```", README, re.DOTALL)
    assert match, f"the README has no block after <!-- {marker} -->"
    return match[1]


def test_the_test_command_is_one_line_that_ci_finds():
    assert block_after("test-command").strip() == "uv run pytest -n auto"
    assert "test-command" in (ROOT / ".ci" / "run").read_text()


def test_the_quick_start_does_what_it_says(tmp_path):
    """Run as it stands, with `uv run` meaning this environment and `/srv/ehr` and `/backup` in a folder of the test."""
    script = (
        block_after("quick-start").replace("/srv/ehr", f"{tmp_path}/srv/ehr").replace("/backup", f"{tmp_path}/backup")
    )
    (tmp_path / "srv" / "ehr").mkdir(parents=True)
    (tmp_path / "srv" / "ehr" / "a.hl7").write_text("MSH|^~\\&|")
    (tmp_path / "backup").mkdir()
    environ = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
    }
    bash = shutil.which("bash")
    assert bash
    program = f'set -euo pipefail\nuv() {{ shift; "$@"; }}\n{script}'
    done = subprocess.run([bash, "-c", program], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    restored = list(tmp_path.rglob("restored/**/a.hl7"))
    assert [path.read_text() for path in restored] == ["MSH|^~\\&|"]
