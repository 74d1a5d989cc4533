"""A credential that can only add: a host backs up with it, and whoever steals it removes, changes and reads nothing."""

from __future__ import annotations

import sys

import pytest

import holdfast
from holdfast.config import SecretRef, StoreSettings
from holdfast.errors import InternalError, NotPermittedError, StoreRefusedError, VaultMissingError
from holdfast.stores.assembly import locate
from servers.sshd import make_key, sshd


@pytest.fixture
def served(tmp_path):
    """A vault on a server, a writer's credential, and the store that a host reaches it by."""
    key, credential = tmp_path / "vault.key", tmp_path / "writer"
    folder = tmp_path / "vault"
    with holdfast.Vault.create(folder, key_file=key) as vault:
        credential.touch(0o600)
        credential.write_bytes(vault.enroll_writer("ward7"))
    with sshd(tmp_path) as server:
        user = make_key(tmp_path / "ward7")
        command = f"{sys.executable} -m holdfast serve --add-only --vault {folder}"
        server.authorize(user, f'restrict,command="{command}"')
        settings = StoreSettings(
            url=server.url("", "ssh"), known_hosts=str(server.known_hosts), private_key=SecretRef("file", str(user))
        )
        yield folder, key, credential, {"home": settings}


def test_a_host_backs_up_and_a_thief_destroys_nothing(served, tmp_path):
    folder, key, credential, stores = served
    source = tmp_path / "source"
    source.mkdir()
    (source / "letter").write_bytes(b"patient" * 1000)
    with holdfast.Vault.open("store:home", credential=credential, stores=stores) as host:
        host.backup(source, label="ward")
        (source / "letter").write_bytes(b"changed" * 1000)
        host.backup(source, label="ward")
        with pytest.raises(NotPermittedError):
            host.snapshots().latest().restore(to=tmp_path / "stolen")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    thief = locate("store:home", stores=stores)
    for info in list(thief.list("")):
        with pytest.raises(StoreRefusedError, match="add only"):
            thief.delete(info.name)
        with pytest.raises(InternalError):
            thief.put(info.name, b"nothing")
        assert thief.put_new(info.name, b"nothing") is False
    with pytest.raises(StoreRefusedError, match="add only"):
        thief.create()
    thief.close()
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    with holdfast.Vault.open(folder, key_file=key) as vault:
        assert vault.verify().sound
        vault.snapshots().latest().restore(to=tmp_path / "out")
    assert (tmp_path / "out" / str(source).lstrip("/") / "letter").read_bytes() == b"changed" * 1000


def test_a_folder_that_is_not_there_is_not_made(served, tmp_path):
    from holdfast.runs.serve import run_serve

    with open("/dev/null", "rb") as source, open("/dev/null", "wb") as sink, pytest.raises(VaultMissingError):
        run_serve(tmp_path / "gone", source, sink, add_only=True)
    assert not (tmp_path / "gone").exists()
