"""A host that lost its caches: large files of every form go on from the writer's state, and nothing is stored again."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

import holdfast
from holdfast.repository.states import CHAIN_LINKS, collect_states, is_base, read_state
from holdfast.runs.options import BackupOptions

PAGE = 8192
PAGES = 4096
OPTIONS = BackupOptions(detect=False, audit_files=0)


def fill(source: Path) -> None:
    source.mkdir()
    dice = random.Random(7)
    (source / "cut").write_bytes(dice.randbytes(48_000_001))
    (source / "paged").write_bytes(dice.randbytes(PAGES * PAGE))
    (source / "live").write_bytes(dice.randbytes(PAGES * PAGE))
    for name in ("cut", "paged"):
        os.utime(source / name, (10**9, 10**9))


def change(file: Path, seed: int, pages: int) -> None:
    dice = random.Random(seed)
    with file.open("r+b") as target:
        for page in dice.sample(range(PAGES), pages):
            target.seek(page * PAGE)
            target.write(dice.randbytes(PAGE))


@pytest.mark.parametrize("as_writer", [False, True])
def test_a_lost_cache_costs_time_and_no_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, as_writer: bool
) -> None:
    """Pieces in a list elsewhere and page maps, one of them changed in places before: less than 1 % is stored again."""
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    source = tmp_path / "srv"
    fill(source)
    with holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key") as vault:
        credential = tmp_path / "writer"
        credential.write_bytes(vault.enroll_writer("db"))
        credential.chmod(0o600)

    def opened() -> holdfast.Vault:
        if as_writer:
            return holdfast.Vault.open(tmp_path / "vault", credential=credential)
        return holdfast.Vault.open(tmp_path / "vault", key_file=tmp_path / "key")

    with opened() as vault:
        vault.backup([source], label="db", options=OPTIONS)
        change(source / "live", 1, 40)
        vault.backup([source], label="db", options=OPTIONS)
    shutil.rmtree(tmp_path / "state")
    change(source / "live", 2, 20)
    notes: list[object] = []
    with opened() as vault:
        result = vault.backup([source], label="db", options=OPTIONS, events=notes.append)
    assert any("writer's state is used" in str(note) for note in notes)
    assert result.stats.new_bytes <= 20 * PAGE
    assert result.stats.stored_bytes < 0.01 * result.stats.bytes
    with holdfast.Vault.open(tmp_path / "vault", key_file=tmp_path / "key") as vault:
        assert vault.verify().sound
        vault.snapshot("latest").restore(to=tmp_path / "out")
    inside = tmp_path / "out" / str(source).lstrip("/")
    assert all((inside / name).read_bytes() == (source / name).read_bytes() for name in ("cut", "paged", "live"))


def test_chains_of_states_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many differences a whole state is written, and a prune takes what lies before it."""
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    source = tmp_path / "srv"
    source.mkdir()
    database = source / "live"
    database.write_bytes(b"SQLite format 3\0\x10\0" + random.Random(1).randbytes((1 << 20) - 18))
    with holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key") as vault:
        repository, info = vault._vault.repository, None
        for number in range(CHAIN_LINKS + 4):
            with database.open("r+b") as file:
                file.seek(4096 * (1 + number))
                file.write(random.Random(number).randbytes(4096))
            info = vault.backup([source], label="rounds", options=OPTIONS).snapshot
        assert info is not None
        chain = sorted(repository.home.listed(f"state/{repository.writer_id}/{info.source}"))
        assert len(chain) == CHAIN_LINKS + 4
        read = read_state(repository, info.source)
        assert is_base(read[0])
        assert len(read) < CHAIN_LINKS
        assert collect_states(repository) == CHAIN_LINKS + 1
        assert read_state(repository, info.source) == read
        assert collect_states(repository) == 0
        shutil.rmtree(tmp_path / "state" / vault.id / "cache")
        result = vault.backup([source], label="rounds", options=OPTIONS)
        assert result.stats.new_bytes == 0
