"""What an older release wrote comes back: golden vaults byte for byte, by engine and rescue reader; of a damaged one the rest."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import holdfast_rescue
import pytest

import holdfast
from holdfast.repository.objects import FORMAT_VERSION
from holdfast.testing.golden import PASSPHRASE, Golden, Manifest, build, entries_of, objects_of
from holdfast.testing.golden_damage import CASES, Seen, diagnose, judge, mend

HERE = Path(__file__).resolve().parent
VERSIONS = sorted(HERE.glob("v[0-9]*"))
VAULT_BYTES_MAX = 300 << 10


@pytest.fixture(autouse=True)
def _fresh_state(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))


def rescued(golden: Golden, target: Path, snapshot: str, *flags: str) -> int:
    return holdfast_rescue.main(
        [str(golden.vault), "--key-file", str(golden.key), *flags, "restore", snapshot, "--to", str(target)]
    )


def shapes(manifest: Manifest) -> list[list[tuple[str, list[object]]]]:
    """Return what the snapshots hold, but for the bytes of files."""
    return sorted(
        [(path, [*entry[:4], entry[5]]) for path, entry in entries.items()] for entries in manifest.snapshots.values()
    )


def test_every_version_of_the_format_has_its_golden_vault():
    """Whoever raises the version builds one: `python -m holdfast.testing.golden tests/golden/vN`."""
    assert [path.name for path in VERSIONS] == [f"v{number}" for number in range(1, FORMAT_VERSION + 1)]
    for path in VERSIONS:
        assert Golden(path).manifest().format == int(path.name[1:])


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
def test_a_golden_vault_is_as_it_was_committed(folder):
    golden = Golden(folder)
    assert objects_of(golden.vault) == golden.manifest().objects
    assert sum(path.stat().st_size for path in golden.vault.rglob("*") if path.is_file()) <= VAULT_BYTES_MAX


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
@pytest.mark.parametrize("reader", ["engine", "rescue", "rescue without the index"])
def test_every_snapshot_comes_back_as_it_was(folder, reader, tmp_path):
    golden = Golden(folder).copy(tmp_path / "golden")
    manifest = golden.manifest()
    assert len(manifest.snapshots) >= 3
    for number, (snapshot, entries) in enumerate(manifest.snapshots.items()):
        target = tmp_path / f"target-{number}"
        if reader == "engine":
            with holdfast.Vault.open(golden.vault, key_file=golden.key) as vault:
                assert vault.snapshot(snapshot).restore(target).exit_code == 0
        else:
            flags = ["--no-index"] if "without" in reader else []
            assert rescued(golden, target, snapshot, *flags) == 0
        assert entries_of(os.fsencode(target / manifest.root)) == entries


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: path.name)
def test_a_golden_vault_is_sound_and_can_be_gone_on_with(folder, tmp_path):
    golden = Golden(folder).copy(tmp_path / "golden")
    (tmp_path / "more").write_bytes(b"written by a later release")
    with holdfast.Vault.open(golden.vault, passphrase=PASSPHRASE) as vault:
        assert vault.check().sound
        assert vault.verify().sound
        assert vault.backup([tmp_path / "more"], label="later").exit_code == 0
        vault.prune(undo_days=0.0)
        assert vault.verify().sound
    assert rescued(golden, tmp_path / "target", golden.manifest().latest) == 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_damage_is_named_contained_and_mended(case, tmp_path, capsys):
    golden = Golden(HERE / "v1").copy(tmp_path / "golden")
    snapshot = golden.manifest().latest
    case.damage(golden.vault)
    found = diagnose(golden, tmp_path / "engine", snapshot)
    exit_code = rescued(golden, tmp_path / "rescue", snapshot)
    seen = judge(golden, tmp_path / "rescue", snapshot)
    assert not seen.wrong
    assert (found, (exit_code, seen.missing)) == (case.engine, case.rescue), capsys.readouterr().err
    if case.repair:
        mend(golden, case.repair, snapshot)
        assert diagnose(golden, tmp_path / "mended", snapshot) == case.after


def test_a_wrong_entry_would_be_seen(tmp_path):
    golden = Golden(HERE / "v1").copy(tmp_path / "golden")
    snapshot = golden.manifest().latest
    assert rescued(golden, tmp_path / "out", snapshot) == 0
    root = tmp_path / "out" / golden.manifest().root
    (root / "phi/inline").write_bytes(b"something else")
    (root / "phi/nothing").unlink()
    total = len(golden.manifest().snapshots[snapshot])
    assert judge(golden, tmp_path / "out", snapshot) == Seen(total - 2, 1, 1)


def test_the_builder_builds_what_the_committed_vault_holds(tmp_path):
    """Keys and ids are random, and with them the bytes of the files; paths, kinds, modes, times and sizes are not."""
    made = build(tmp_path / "golden")
    kept = Golden(HERE / "v1").manifest()
    fresh = made.manifest()
    assert shapes(fresh) == shapes(kept)
    kinds = [{name.split("/")[0] for name in manifest.objects} for manifest in (fresh, kept)]
    assert kinds[0] >= kinds[1], "a later release of one version may write more kinds of objects, and drops none"
    shutil.rmtree(made.folder)
