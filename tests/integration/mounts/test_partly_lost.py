"""A mount of a snapshot with a lost class shows the other classes, alerts, and ends with exit code 4."""

from __future__ import annotations

from pathlib import Path

import pytest

import holdfast
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
