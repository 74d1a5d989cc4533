"""The commands as an administrator types them, with a configuration of three folders: docs/tiers.md in one story."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.cli import main

CONFIG = """
[vault]
url = "{root}/home/vault"
key_file = "file:{root}/keys/vault.key"
[stores.second]
url = "{root}/second"
[stores.third]
url = "file://{root}/third"
[policies.default]
stores = ["home", "second"]
[policies.imaging]
stores = ["second", "third"]
level = 7
[jobs.ehr]
paths = ["{root}/source"]
[[jobs.ehr.classes]]
pattern = "{root}/source/pacs/"
name = "imaging"
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    for folder in ("keys", "source/pacs", "source/notes"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "source" / "pacs" / "a.dcm").write_bytes(b"a" * 1000)
    (tmp_path / "source" / "notes" / "b.txt").write_bytes(b"b" * 1000)
    config = tmp_path / "holdfast.toml"
    config.write_text(CONFIG.format(root=tmp_path))
    monkeypatch.setenv("HOLDFAST_CONFIG", str(config))
    return tmp_path


def packs(folder: Path) -> set[str]:
    return (
        {path.name for path in (folder / "data").rglob("*") if path.is_file()} if (folder / "data").exists() else set()
    )


def test_the_story_of_a_site(site: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def run(*words: str, code: int = 0) -> str:
        assert main(words) == code, capfd.readouterr()
        return capfd.readouterr().out

    assert "sound" in run("policy", "check")
    run("init")
    run("backup", "--job", "ehr")
    home, second, third = (packs(site / name) for name in ("home/vault", "second", "third"))
    assert (len(home), len(second), len(third)) == (1, 2, 1)
    assert home < second > third
    assert home.isdisjoint(third)
    explained = run("policy", "explain", f"{site}/source/pacs/a.dcm", "--job", "ehr")
    assert explained.startswith("imaging (1 files, by the rules of job ehr)\n  stored on second, third")
    assert run("policy", "explain", f"{site}/source/notes", "--job", "ehr").startswith("phi (1 files")
    assert run("policy", "explain", f"{site}/source/notes").startswith("phi (1 files, by the default class)")
    run("migrate", "--dry-run")
    run("check")
    assert "2 further copies" in run("verify")
    assert "0 packs" in run("migrate")
    (site / "third").rename(site / "away")
    (site / "source" / "pacs" / "c.dcm").write_bytes(b"c" * 1000)
    assert "PENDING: 1 packs" in run("backup", "--job", "ehr", code=3)
    (site / "away").rename(site / "third")
    assert "complete" not in run("migrate")
    run("check")
    assert len(packs(site / "third")) == 2
    plan = json.loads(run("restore", "latest", "--to", f"{site}/out", "--dry-run", "--json").splitlines()[-1])["plan"]
    assert {store["store"] for store in plan["stores"]} == {"home", "second"}
    run("restore", "latest", "--to", f"{site}/out")
    assert (site / "out" / str(site / "source" / "pacs" / "c.dcm").lstrip("/")).read_bytes() == b"c" * 1000
    # Whatever is beside the home is never backed up, nor restored into.
    run("backup", f"{site}/second", code=2)
    run("restore", "latest", "--to", f"{site}/third/x", code=2)


def test_a_policy_with_faults_opens_nothing(site: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = site / "holdfast.toml"
    config.write_text(config.read_text().replace('"second", "third"', '"second", "elsewhere"'))
    assert main(["init"]) == 2
    text = capfd.readouterr().err
    assert "policies.imaging.stores: there is no store elsewhere" in text
    assert "single copy of imaging" in text
