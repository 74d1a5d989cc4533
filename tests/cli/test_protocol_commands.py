"""`enroll --group`, `forget --class`, `repair home` and `repair promote` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.cli.main import main

CONFIG = """
[vault]
url = "{root}/home"
key_file = "file:{key}/key"
[stores.second]
url = "{root}/second"
[policies.default]
stores = ["home", "second"]
copies = 2
[retention]
last = 1
[retention.classes.operational]
last = 1
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    (tmp_path / "keys").mkdir()
    (tmp_path / "vaults").mkdir()
    (tmp_path / "srv").mkdir()
    (tmp_path / "srv" / "record").write_bytes(b"of a patient" * 1000)
    file = tmp_path / "holdfast.toml"
    file.write_text(CONFIG.format(root=tmp_path / "vaults", key=tmp_path / "keys"))
    return str(file)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    def call(*words: str) -> dict[str, object]:
        assert main([*words, "--json"]) == 0
        found: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return found

    return call


def test_the_home_is_healed_and_its_copy_promoted(run, config: str, tmp_path: Path) -> None:
    run("init", "--config", config)
    run("backup", str(tmp_path / "srv"), "--config", config)
    healed = run("repair", "home", "--config", config)
    assert (healed["lost"], healed["damaged"], healed["beyond"]) == (0, 0, 0)
    key = ("--key-file", str(tmp_path / "keys" / "key"))
    second, home = (str(tmp_path / "vaults" / name) for name in ("second", "home"))
    assert run("repair", "promote", "--vault", second, "--old", home, *key)["epoch"] == 1
    assert run("check", "--vault", second, *key)["problems"] == []
    assert main(["check", "--vault", home, *key]) == 7


def test_groups_and_classes_are_said_on_the_command_line(run, config: str, tmp_path: Path) -> None:
    run("init", "--config", config)
    run("backup", str(tmp_path / "srv"), "--config", config)
    run("enroll", "create", "ward", "--out", str(tmp_path / "credential"), "--group", "wards", "--config", config)
    planned = run("forget", "latest", "--class", "phi", "--dry-run", "--config", config)
    assert planned["dry_run"] is True
    assert run("forget", "--dry-run", "--config", config)["dry_run"] is True
