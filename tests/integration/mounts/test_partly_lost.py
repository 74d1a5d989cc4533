"""A mount of a snapshot with a lost class shows the other classes, alerts, and ends with exit code 4."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import holdfast
from holdfast.errors import DamageError
from holdfast.runs.options import BackupOptions, ClassRule
from servers import fuse


@pytest.fixture
def half(tmp_path, monkeypatch):
    """A vault of two classes, of which one part is damaged."""
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    source = tmp_path / "source"
    for name in ("phi", "public"):
        (source / name).mkdir(parents=True)
        (source / name / "a").write_text(name * 1000)
    rules = BackupOptions(class_rules=(ClassRule(f"{source}/public", "public"),))
    with holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key") as made:
        made.backup(source, label="ehr", options=rules)
        info = made.snapshot().info
        (lost,) = (part.class_id for part in info.classes if part.class_name == "public")
        part = tmp_path / "vault" / "part" / info.id / str(lost)
        part.chmod(0o600)
        part.write_bytes(part.read_bytes()[:-40] + b"\0" * 40)
        yield made


def options(tmp_path: Path) -> list[str]:
    return ["--vault", str(tmp_path / "vault"), "--key-file", str(tmp_path / "key")]


@pytest.mark.parametrize("flags", [["latest"], [], ["latest", "--writable"]])
def test_the_other_class_is_there(half, tmp_path, flags):
    with fuse.mounted(*options(tmp_path), *flags, place=tmp_path / "m") as mount:
        (inside,) = (path.parent for path in (tmp_path / "m").rglob("phi") if "latest" not in path.parts)
        assert (inside / "phi" / "a").read_text() == "phi" * 1000
        assert not (inside / "public").exists()
        assert mount.end() == 4
    assert mount.records()[-1]["classes_lost"] == 1
    assert any(row["type"] == "alert" and "data class public" in str(row) for row in mount.records())


@pytest.fixture
def three(tmp_path, monkeypatch):
    """A vault of three snapshots: two of one source, and then one of another."""
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    with holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key") as made:
        for name in ("ehr", "ehr", "lab"):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "a").write_text(str(len(made.snapshots())))
            made.backup(tmp_path / name, label=name)
        yield made


def test_latest_leads_to_no_older_snapshot(three, tmp_path):
    (tmp_path / "vault" / "snapshot" / three.snapshots()[1].id).unlink()
    with fuse.mounted(*options(tmp_path), place=tmp_path / "m") as mount:
        assert len(list((tmp_path / "m" / "snapshots" / "ehr").iterdir())) == 1
        assert not os.path.lexists(tmp_path / "m" / "snapshots" / "ehr" / "latest")
        assert (tmp_path / "m" / "snapshots" / "lab" / "latest").is_dir()
        assert (tmp_path / "m" / "latest").is_dir(), "the newest of all can be read"
        assert mount.end() == 4
    assert mount.records()[-1]["snapshots_lost"] == 1
    assert any(row.get("code") == "damage" and row["type"] == "note" for row in mount.records())


def test_the_newest_of_all_is_not_guessed(three, tmp_path):
    (tmp_path / "vault" / "snapshot" / three.snapshots()[2].id).unlink()
    with fuse.mounted(*options(tmp_path), place=tmp_path / "m"):
        assert (tmp_path / "m" / "snapshots" / "ehr" / "latest").is_dir()
        assert not os.path.lexists(tmp_path / "m" / "latest")


def test_with_every_envelope_lost_nobody_is_told_to_begin_anew(three, tmp_path):
    for path in (tmp_path / "vault" / "snapshot").iterdir():
        path.unlink()
    (tmp_path / "m").mkdir()
    for mount in (three.mount, three.mount_writable):
        with pytest.raises(DamageError, match="3 snapshots cannot be read"):
            mount(tmp_path / "m")


def test_one_lost_snapshot_hides_no_other(three, tmp_path):
    lost = three.snapshots()[0]
    for path in (tmp_path / "vault" / "part" / lost.id).iterdir():
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:-40] + b"\0" * 40)
    with fuse.mounted(*options(tmp_path), place=tmp_path / "m") as mount:
        folders = sorted(path for path in (tmp_path / "m" / "snapshots" / "ehr").iterdir() if not path.is_symlink())
        assert len(folders) == 2
        assert [len(list(path.rglob("a"))) for path in folders] == [0, 1]
        list(folders[0].iterdir())
        assert mount.end() == 4
    assert mount.records()[-1]["classes_lost"] == len(lost.info.classes)
    assert len([row for row in mount.records() if row["type"] == "alert"]) == 1
