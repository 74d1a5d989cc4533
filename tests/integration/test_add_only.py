"""A credential that can only add: a host backs up with it, and whoever steals it removes, changes and reads nothing."""

from __future__ import annotations

import base64
import hashlib
import sys

import pytest

import holdfast
from holdfast import engine
from holdfast.config import SecretRef, StoreSettings
from holdfast.errors import InternalError, NotPermittedError, StoreRefusedError, VaultMissingError
from holdfast.stores.assembly import locate
from holdfast.stores.s3 import S3Store
from servers.sshd import make_key, sshd
from servers.stores import served as served_kind
from servers.versitygw import make_user


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


ADD_ONLY_POLICY = """{
  "Version": "2012-10-17",
  "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": ["writer"]}, "Resource": "arn:aws:s3:::BUCKET/*",
     "Action": ["s3:PutObject", "s3:GetObject"]},
    {"Effect": "Allow", "Principal": {"AWS": ["writer"]}, "Resource": "arn:aws:s3:::BUCKET",
     "Action": ["s3:ListBucket"]}
  ]
}"""


def test_an_s3_key_that_can_only_add(tmp_path, monkeypatch):
    """The recipe of docs/stores.md: a bucket with versions, and a key without any right to delete."""
    monkeypatch.setenv("WRITER_SECRET", "writer-secret-of-the-tests")
    monkeypatch.setenv("WRITER_KEY", "writer")
    key, credential, source = tmp_path / "key", tmp_path / "writer", tmp_path / "source"
    source.mkdir()
    (source / "letter").write_bytes(b"patient" * 1000)
    with served_kind("s3", tmp_path / "server") as s3:
        for name, value in s3.environ.items():
            monkeypatch.setenv(name, value)
        root = s3.settings(object_lock="compliance")
        make_user(s3.server, "writer", "writer-secret-of-the-tests")
        policy = ADD_ONLY_POLICY.replace("BUCKET", "locked").encode()
        assert s3.server.send("PUT", "/locked?policy", policy)[0] in {200, 204}
        writer = root.model_copy(
            update={
                "access_key_id": SecretRef("env", "WRITER_KEY"),
                "secret_access_key": SecretRef("env", "WRITER_SECRET"),
                "object_lock": "off",
            }
        )
        with holdfast.Vault.create("store:home", key_file=key, stores={"home": root}) as vault:
            credential.touch(0o600)
            credential.write_bytes(vault.enroll_writer("ward7"))
        with holdfast.Vault.open("store:home", credential=credential, stores={"home": writer}) as host:
            host.backup(source, label="ward")
        thief = locate("store:home", stores={"home": writer})
        names = [info.name for info in thief.list("")]
        for name in names:
            with pytest.raises(StoreRefusedError):
                thief.delete(name)
            assert thief.put_new(name, b"nothing") is False
        # What the service cannot forbid: a later version of an object. The first is still there.
        overwrite(s3.server.endpoint, writer.url, names)
        store = locate("store:home", stores={"home": root})
        assert isinstance(store, S3Store)
        assert store.get(names[0]) == b"nothing"
        assert store.uncover() == len(names)
        with holdfast.Vault.open("store:home", key_file=key, stores={"home": root}) as vault:
            assert vault.verify().sound
            vault.snapshots().latest().restore(to=tmp_path / "out")
    assert (tmp_path / "out" / str(source).lstrip("/") / "letter").read_bytes() == b"patient" * 1000


def overwrite(endpoint, url, names):
    """Put over objects as a thief does who has the writer's key, without the condition."""
    client = engine.NetClient(engine.NetSigner.aws("us-east-1", "writer", "writer-secret-of-the-tests"), [])
    digest = hashlib.sha256(b"nothing").digest()
    for name in names:
        place = f"{endpoint}/{url.removeprefix('s3://')}/{name}"
        checksum = [("x-amz-checksum-sha256", base64.b64encode(digest).decode())]
        assert client.request("PUT", place, checksum, b"nothing", sha256=digest)[0] == 200
