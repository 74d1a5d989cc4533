"""What is known to be damaged is said by every look at the vault, and its exit code says it too."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.rounds import Place

import holdfast
from holdfast.cli.main import main


def damage(path: Path, at: int = -1) -> None:
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[at if at >= 0 else len(data) // 2] ^= 8
    path.write_bytes(data)


def given(place: Place) -> list[str]:
    return ["--vault", str(place.vault), "--key-file", str(place.key)]


@pytest.fixture
def vault(place):
    """A vault of one snapshot, without parity: what is damaged stays so."""
    with place.create() as made:
        made._vault.parity_rows = 0
        (place.source / "file").write_bytes(random.Random(1).randbytes(200_000))
        place.backup(made)
        yield made


class TestCheck:
    def test_a_pack_that_is_known_to_be_damaged_is_damage(self, vault, place, capsys):
        damage(next(place.vault.glob("data/*/*")))
        assert vault.check().sound, "nobody has read it yet"
        assert vault.verify().exit_code == 4
        report = vault.check()
        assert (report.exit_code, report.problems, len(report.damaged)) == (4, (), 1)
        assert main(["check", *given(place)]) == 4
        assert ": 1 packs damaged\n" in capsys.readouterr().out

    def test_one_that_no_snapshot_needs_is_none(self, vault, place):
        damage(next(place.vault.glob("data/*/*")))
        vault.verify()
        (place.source / "file").write_bytes(random.Random(2).randbytes(200_000))
        first = vault.snapshot().id
        place.backup(vault)
        vault.forget(snapshots=[first])
        report = vault.check()
        assert report.damaged
        assert report.sound

    def test_it_counts_for_who_cannot_tell_what_it_costs(self, vault, place, tmp_path):
        damage(next(place.vault.glob("data/*/*")))
        vault.verify()
        for role in ("writer", "auditor", "verifier"):
            (tmp_path / role).write_bytes(vault.issue_credential(role, role))
            (tmp_path / role).chmod(0o600)
            with holdfast.Vault.open(place.vault, credential=tmp_path / role) as opened:
                report = opened.check()
                assert report.exit_code == 4, role
