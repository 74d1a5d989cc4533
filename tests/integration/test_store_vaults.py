"""A whole vault on each kind of store: made, backed up to, listed, restored from, verified and pruned; nothing differs from a
local one but where the bytes are."""

from __future__ import annotations

import itertools

import pytest

import holdfast
from holdfast.config import SecretRef, StoreSettings
from servers.sshd import sshd
from servers.versitygw import versitygw

_numbers = itertools.count()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with versitygw(tmp_path_factory.mktemp("versitygw")) as server:
        server.make_bucket("vaults")
        yield server


@pytest.fixture(scope="module")
def ssh(tmp_path_factory):
    with sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def s3(gateway, monkeypatch):
    monkeypatch.setenv("TEST_KEY", gateway.key)
    monkeypatch.setenv("TEST_SECRET", gateway.secret)
    return StoreSettings(
        url=f"s3://vaults/v{next(_numbers)}",
        endpoint=gateway.endpoint,
        region=gateway.region,
        access_key_id=SecretRef("env", "TEST_KEY"),
        secret_access_key=SecretRef("env", "TEST_SECRET"),
    )


@pytest.fixture
def sftp(ssh, tmp_path):
    return StoreSettings(
        url=ssh.url(tmp_path / "far" / "vault"),
        known_hosts=str(ssh.known_hosts),
        private_key=SecretRef("file", str(ssh.private_key)),
    )


@pytest.mark.parametrize("kind", ["s3", "sftp"])
def test_a_whole_vault(kind, request, tmp_path):
    stores = {"far": request.getfixturevalue(kind)}
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
