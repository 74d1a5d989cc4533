"""A real vault after a prune that rewrites packs: it checks, restores bit for bit, stores nothing twice; a lost index comes back."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import holdfast

FILES = 40


def write(folder: Path, number: int, version: int) -> None:
    (folder / f"f{number}").write_bytes(random.Random(number * 1000 + version).randbytes(100_000))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "srv"
    folder.mkdir()
    for number in range(FILES):
        write(folder, number, 0)
    return folder


def restored(vault: holdfast.Vault, source: Path, out: Path) -> bool:
    vault.snapshots().latest().restore(to=out)
    inside = out / str(source).lstrip("/")
    return all((source / f"f{n}").read_bytes() == (inside / f"f{n}").read_bytes() for n in range(FILES))


def test_rewritten_packs_hold_everything(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    with holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key") as vault:
        first = vault.backup([source], label="ehr").snapshot
        assert first is not None
        for number in range(0, FILES, 2):
            write(source, number, 1)
        vault.backup([source], label="ehr")
        vault.forget(snapshots=[first.id], reason="test")
        done = vault.prune(undo_days=0, repack_below=0.9)
        assert (done.phase, done.packs_repacked > 0) == ("closed", True)
        assert vault.check().problems == ()
        assert restored(vault, source, tmp_path / "out1")
        assert vault.backup([source], label="ehr").stats.new_bytes == 0
        for run in list((tmp_path / "vault" / "index").iterdir()):
            run.unlink()
        assert vault.check().problems
        repaired = vault.repair_index()
        assert isinstance(repaired, holdfast.RepairResult)
        assert (repaired.packs_damaged, repaired.packs_listed == repaired.packs_read > 0) == (0, True)
        assert vault.check().problems == ()
    with holdfast.Vault.open(tmp_path / "vault", key_file=tmp_path / "key") as vault:
        assert restored(vault, source, tmp_path / "out2")
