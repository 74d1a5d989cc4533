"""The configurations on the pages about alerts and the schedule are valid as they stand, and the pages' table is the built-in one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast import config
from holdfast.errors import Retry, Safety
from holdfast.reliability.alerts.table import TABLE

DOCS = Path(__file__).resolve().parents[2] / "docs"
HEAD = '[vault]\nurl = "/v"\n[jobs.ehr]\npaths = ["/srv/ehr"]\n'


@pytest.mark.parametrize("page", ["alerts.md", "schedule.md"])
def test_the_configuration_of_a_page_is_valid(page):
    blocks = re.findall(r"```toml\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        assert config.loads(HEAD + block, environ={}).settings.vault.url == "/v"


def test_the_table_of_the_page_is_the_built_in_one():
    rows = re.findall(
        r"^\| (untouched|intact|degraded|at risk) \|(.*)\|$", (DOCS / "alerts.md").read_text(), re.MULTILINE
    )
    assert len(rows) == 4
    for safety, text in rows:
        for retry, cell in zip(Retry, text.split("|"), strict=True):
            row = TABLE[Safety(safety), retry]
            assert ("levels 1 and 2" in cell) is (row.first_level == 2)
            wait = re.search(r"after (\d+) (h|min)", cell)
            seconds = int(wait[1]) * (3600 if wait[2] == "h" else 60) if wait else 0
            assert row.patience_seconds == seconds
            last = 2 if "at most 2" in cell else 1 if "no higher" in cell else 0
            assert row.last_level == last
