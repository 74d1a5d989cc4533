"""What moves, heals, thaws and carries packs is recorded in the audit log like every other operation."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.tiered import Tiered

import holdfast


def test_moves_repairs_thaws_and_couriers_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    site = Tiered(tmp_path)
    site.fill(files=1)
    disk = tmp_path / "disk"
    disk.mkdir()
    with site.create() as vault:
        site.backup(vault)
        vault.migrate()
        vault.repair_copies()
        vault.snapshots().latest().thaw()
        vault.courier().export(disk)
        holdfast.courier_import(disk, tmp_path / "far")
        vault.courier().receipt(next((disk / "receipts").iterdir()))
        text = b"".join(path.read_bytes() for path in (Path(vault.state_dir) / "audit").rglob("*") if path.is_file())
    for kind in (b'"migrate"', b'"repair"', b'"thaw"', b'"courier"'):
        assert text.count(kind) >= 2, kind
