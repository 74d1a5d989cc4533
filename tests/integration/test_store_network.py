"""What goes over the network keeps to limits, trusts whom it is told to, and says what a real service says."""

from __future__ import annotations

import datetime
import ipaddress
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import holdfast
from holdfast import engine
from holdfast.config import SecretRef
from holdfast.errors import CapabilityError, StoreAccessError, StoreRefusedError, StoreUnreachableError
from holdfast.stores.assembly import locate
from holdfast.testing.proxy import Fault, fault_proxy
from servers.sshd import make_key
from servers.stores import served
from servers.versitygw import versitygw


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with served("s3", tmp_path_factory.mktemp("s3")) as found:
        yield found


@pytest.mark.parametrize("kind", ["s3", "sftp"])
def test_a_limit_lifted_in_mid_object_holds_at_once(kind, tmp_path):
    """At a KiB per second the object would take twenty minutes; it is there soon after the limit is gone."""
    limits = engine.Limits(None, 1024)
    with served(kind, tmp_path) as server:
        settings = server.settings()
        store = locate("store:a", stores={"a": settings}, environ=server.environ, limits=[limits])
        store.create()
        data = bytes(range(256)) * 5000
        writer = threading.Thread(target=store.put, args=("data/00/a", data))
        writer.start()
        writer.join(1.5)
        assert writer.is_alive()
        other = server.open(settings)
        assert other.size("data/00/a") is None
        limits.write_bytes_per_s = None
        writer.join(60)
        assert not writer.is_alive()
        assert other.get("data/00/a") == data
        store.close()
        other.close()


def test_a_pause_holds_a_read(s3):
    """A paused run reads nothing; resumed, it goes on."""
    limits = engine.Limits()
    settings = s3.settings()
    s3.open(settings).put("data/00/a", bytes(300_000))
    store = locate("store:a", stores={"a": settings}, environ=s3.environ, limits=[limits])
    limits.pause()
    found = []
    reader = threading.Thread(target=lambda: found.append(store.get("data/00/a")))
    reader.start()
    reader.join(0.5)
    assert found == []
    limits.resume()
    reader.join(60)
    assert found == [bytes(300_000)]


def make_certificate(folder):
    """Return the files of an authority's certificate, of one for this machine that it signed, and of the latter's key."""
    authority = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    files = folder / "authority.pem", folder / "cert.pem", folder / "key.pem"
    for file, owner, name, extension in (
        (files[0], authority, "authority", x509.BasicConstraints(ca=True, path_length=None)),
        (files[1], key, "hospital", here),
    ):
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]))
            .public_key(owner.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(extension, critical=False)
            .sign(authority, hashes.SHA256())
        )
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    files[2].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return files


def test_a_server_is_trusted_by_the_own_certificate_alone(tmp_path, s3):
    files = make_certificate(tmp_path)
    (tmp_path / "tls").mkdir()
    with versitygw(tmp_path / "tls", files[1:]) as server:
        options = {"endpoint": f"https://127.0.0.1:{server.port}", "ca_file": str(files[0])}
        store = s3.open(s3.settings(**options))
        with pytest.raises(StoreRefusedError, match="no such bucket"):
            store.create()
        strange = s3.open(s3.settings(endpoint=options["endpoint"]))
        with pytest.raises(StoreUnreachableError, match="certificate"):
            strange.exists()


def test_the_proxy_that_is_named_is_taken(s3):
    """Plain HTTP goes to the proxy whole: one that forwards bytes to the server hands it on."""
    with fault_proxy(s3.port) as proxy:
        settings = s3.settings(proxy=f"http://127.0.0.1:{proxy.port}", endpoint="http://127.0.0.1:9")
        s3.open(settings).create()
        proxy.close()
        with pytest.raises(StoreUnreachableError):
            s3.open(settings).create()


def test_an_s3_service_says_what_is_wrong(s3, tmp_path):
    wrong = s3.settings(secret_access_key=SecretRef("env", "WRONG"))
    environ = {**s3.environ, "WRONG": "not the secret"}
    store = locate("store:a", stores={"a": wrong}, environ=environ)
    with pytest.raises((StoreAccessError, StoreRefusedError)):
        store.create()
    with pytest.raises(StoreAccessError, match="credential"):
        list(store.list(""))
    missing = s3.open(s3.settings(url="s3://nowhere/p"))
    assert not missing.exists()
    for call in (
        missing.create,
        lambda: missing.put("data/00/a", b"x"),
        lambda: missing.get("data/00/a"),
        lambda: missing.size("data/00/a"),
        lambda: list(missing.list("")),
    ):
        with pytest.raises(StoreRefusedError, match="no such bucket"):
            call()
    unlocked = s3.open(s3.settings(url="s3://plain/p", object_lock="compliance"))
    with pytest.raises(CapabilityError, match="no object lock"):
        unlocked.create()
    region = s3.open(s3.settings(region="eu-9"))
    with pytest.raises((StoreRefusedError, StoreAccessError)):
        list(region.list(""))
    cold = s3.open(s3.settings(storage_class="DEEP_ARCHIVE"))
    with pytest.raises((CapabilityError, StoreRefusedError)):
        cold.create()


def test_a_bucket_s_own_retention_counts(s3):
    """Where an object has none of its own, the bucket's default says until when it stays."""
    s3.server.make_bucket("default", lock=True)
    rule = (
        b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>"
        b"<Mode>GOVERNANCE</Mode><Days>3</Days></DefaultRetention></Rule></ObjectLockConfiguration>"
    )
    status, body = s3.server.send("PUT", "/default?object-lock", rule)
    assert status == 200, body
    store = s3.open(s3.settings(url="s3://default/p", object_lock="governance"))
    store.put("data/00/a", b"x")
    until = store.retained_until("data/00/a")
    assert until is not None
    assert until > datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=2)


def test_a_missing_folder_or_container_is_said(tmp_path):
    for kind in ("sftp", "azure", "webdav", "gcs"):
        folder = tmp_path / kind
        folder.mkdir()
        with served(kind, folder) as server:
            settings = server.settings()
            url = settings.url.replace("vaults", "nowhere") if kind in {"azure", "gcs"} else settings.url
            store = server.open(settings.model_copy(update={"url": url}))
            assert not store.exists()
            for call in (
                lambda store=store: store.put("data/00/a", b"x"),
                lambda store=store: store.get("data/00/a"),
                lambda store=store: store.size("data/00/a"),
                lambda store=store: list(store.list("")),
            ):
                with pytest.raises((StoreRefusedError, StoreUnreachableError)):
                    call()
            store.close()


def test_ssh_refuses_whom_it_does_not_know(tmp_path):
    with served("sftp", tmp_path) as server:
        stranger = make_key(tmp_path / "stranger")
        settings = server.settings(private_key=SecretRef("file", str(stranger)))
        with pytest.raises(StoreAccessError, match="credential"):
            server.open(settings).exists()
        other = make_key(tmp_path / "otherhost").with_suffix(".pub").read_text().split()
        known = tmp_path / "wrong_known"
        known.write_text(f"[127.0.0.1]:{server.port} {other[0]} {other[1]}\n")
        with pytest.raises(StoreRefusedError, match="host key"):
            server.open(server.settings(known_hosts=str(known))).exists()
        server.server.authorize(stranger, 'command="internal-sftp -R"')
        vault = server.settings()
        good, readonly = (
            server.open(vault),
            server.open(vault.model_copy(update={"private_key": SecretRef("file", str(stranger))})),
        )
        good.create()
        good.put("data/00/a", b"x")
        assert readonly.get("data/00/a") == b"x"
        with pytest.raises(StoreRefusedError, match="permit"):
            readonly.put("data/00/b", b"y")
        with pytest.raises(StoreRefusedError, match="permit"):
            readonly.delete("data/00/a")
        for store in (good, readonly):
            store.close()


def test_an_expired_credential_loses_nothing(tmp_path, s3, monkeypatch):
    """A run whose key stops working ends with its error; with a new key the next run is complete, and all is sound."""
    for name, value in s3.environ.items():
        monkeypatch.setenv(name, value)
    source, key = tmp_path / "source", tmp_path / "key"
    source.mkdir()
    (source / "a").write_bytes(b"patient" * 1000)
    stores = {"home": s3.settings()}
    with holdfast.Vault.create("store:home", key_file=key, stores=stores) as vault:
        vault.backup(source, label="ward")
    monkeypatch.setenv("TEST_S3_SECRET", "revoked")
    with pytest.raises((StoreAccessError, StoreRefusedError)):
        holdfast.Vault.open("store:home", key_file=key, stores=stores)
    monkeypatch.setenv("TEST_S3_SECRET", s3.environ["TEST_S3_SECRET"])
    with holdfast.Vault.open("store:home", key_file=key, stores=stores) as vault:
        vault.backup(source, label="ward")
        assert vault.verify().sound


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", "net-too-long"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nan answer without an end", "net-broken"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\nConnection: close\r\n\r\nless", "net-broken"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n" + b"x" * 4095 + b"\r\n", "net-too-long"),
        (b"no HTTP at all\r\n\r\n", "net-broken"),
    ],
)
def test_an_answer_that_cannot_be_whole_is_none(text, code):
    with fault_proxy(9) as proxy:
        proxy.plan(Fault("answer", text=text))
        client = engine.NetClient(engine.NetSigner.none(), [], stall_seconds=20)
        with pytest.raises(engine.NetError) as caught:
            client.request("GET", f"http://127.0.0.1:{proxy.port}/secret", [], answer_bytes_max=2000)
        assert caught.value.code == code
        assert "secret" not in str(caught.value)
        assert type(engine.translate(caught.value)) in {StoreRefusedError, StoreUnreachableError}


@pytest.mark.parametrize(
    ("method", "url", "headers"),
    [
        ("GET", "no url", []),
        ("G T", "http://h/", []),
        ("GET", "http://h/", [("a b", "c")]),
        ("GET", "http://h/", [("a", "\n")]),
    ],
)
def test_a_request_that_makes_no_sense_is_not_sent(method, url, headers):
    client = engine.NetClient(engine.NetSigner.none(), [])
    with pytest.raises(engine.NetError) as caught:
        client.request(method, url, headers)
    assert caught.value.code == "net-settings"
    used = engine.NetSigner.none()
    engine.NetClient(used, [])
    with pytest.raises(engine.NetError, match="one client"):
        engine.NetClient(used, [])
