"""An attack from the command line: encrypted, backed up, told, pinned, kept from forget and prune, restored, released."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys

import pytest

from holdfast.cli.shapes import problems

COMMAND = [sys.executable, "-m", "holdfast"]
SEED = 9


@pytest.fixture
def run(tmp_path):
    """A function that runs a command on a vault of its own."""
    environ = os.environ | {"HOLDFAST_VAULT": str(tmp_path / "vault"), "HOLDFAST_KEY_FILE": str(tmp_path / "key")}

    def call(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [*COMMAND, *arguments], env=environ, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == code, done.stdout + done.stderr
        if "--json" in arguments:
            for line in done.stdout.splitlines():
                assert not problems(json.loads(line)), line
        return done.stdout + done.stderr

    call("init")
    return call


def test_a_day_of_an_attack(run, tmp_path):
    source, rng = tmp_path / "ward", random.Random(SEED)
    source.mkdir()
    for number in range(40):
        (source / f"{number:02}.csv").write_text(f"{number};Miller;{rng.randrange(10**9)}\n" * 500)
    content = {file.name: file.read_text() for file in source.iterdir()}
    good = json.loads(run("backup", str(source), "--label", "ward", "--json").splitlines()[-1])["snapshot"]["id"]
    for file in sorted(source.iterdir())[:10]:
        file.write_bytes(rng.randbytes(file.stat().st_size))
        file.rename(f"{file}.lockbit")
    (source / "Restore-My-Files.txt").write_text("pay")

    rows = [json.loads(line) for line in run("backup", str(source), "--label", "ward", "--json").splitlines()]
    (alert,) = [row for row in rows if row["type"] == "alert"]
    assert f"holdfast restore {good[:12]} --to DIR" in alert["next"]
    assert "lockbit" not in json.dumps(alert)
    bad = rows[-1]["snapshot"]["id"]
    assert {"named", "defaced", "scrambled"} <= {sign["name"] for sign in rows[-1]["anomaly"]["signs"]}
    assert "ward" in run("alerts", "list", code=3)

    listed = run("findings", "list", code=3)
    assert f"an attack: holdfast restore {good[:12]} --to DIR" in listed
    assert f"it was meant: holdfast findings release {bad[:12]} --reason TEXT" in listed
    assert "Nothing is pinned" not in run("findings", "lock", code=3), "a folder cannot lock"
    assert "is the last good one of its source before the suspicious" in run("forget", good[:12], code=6)
    run("forget", "--keep-last", "1")
    run("prune", "--undo", "0s")
    assert len(run("snapshots", "--json").splitlines()) == 2

    run("restore", good[:12], "--to", str(tmp_path / "out"))
    back = tmp_path / "out" / str(source).lstrip("/")
    assert {file.name: file.read_text() for file in back.iterdir()} == content

    run("findings", "release", bad[:12], "--reason", "it was a test")
    assert "Nothing is suspicious" in run("findings", "list")
    assert "Nothing is pinned" in run("findings", "lock")
    run("forget", "--keep-last", "1")
    assert len(run("snapshots", "--json").splitlines()) == 1
