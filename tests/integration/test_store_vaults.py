"""A whole vault on each kind of store: made, backed up to, listed, restored from, verified and pruned."""

from __future__ import annotations

import pytest

import holdfast
from servers.stores import KINDS, served


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_vault(kind, tmp_path, monkeypatch):
    with served(kind, tmp_path) as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        whole_vault({"far": server.settings()}, tmp_path)


def whole_vault(stores, tmp_path):
    source, target, key = tmp_path / "source", tmp_path / "target", tmp_path / "key"
    source.mkdir()
    for number in range(20):
        (source / f"letter{number}").write_bytes(f"patient {number}\n".encode() * 2000 * (number + 1))
    (source / "image").write_bytes(bytes(range(256)) * 12_000)
    with holdfast.Vault.create("store:far", key_file=key, stores=stores) as vault:
        first = vault.backup(source, label="ward").snapshot
        (source / "letter3").write_bytes(b"changed" * 5000)
        (source / "letter4").unlink()
        second = vault.backup(source, label="ward").snapshot
    with holdfast.Vault.open("store:far", key_file=key, stores=stores) as vault:
        assert [info.id for info in vault.snapshots()] == [first.id, second.id]
        restored = vault.snapshots().latest().restore(to=target)
        assert restored.exit_code == 0
        assert vault.check().problems == ()
        report = vault.verify()
        assert report.sound
        assert report.packs == report.packs_total > 0
        vault.forget(snapshots=[first.id])
        assert vault.prune(undo_days=0).bytes_deleted > 0
        assert vault.verify().sound
    back = target / str(source).lstrip("/")
    assert {path.name: path.read_bytes() for path in back.iterdir()} == {
        path.name: path.read_bytes() for path in source.iterdir()
    }
