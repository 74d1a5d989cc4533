"""An audit collector: rsyslogd with TLS (client certificates asked for), plain TCP and UDP; it writes what it parsed as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from servers import install, process


@dataclass(frozen=True)
class Certificates:
    """An authority, a server's and a client's certificate."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


@dataclass(frozen=True)
class AuditCollector:
    """Where it listens, and what came."""

    tls_port: int
    tcp_port: int
    udp_port: int
    certificates: Certificates
    out: Path

    def messages(self, at_least: int, seconds: float = 30.0) -> list[dict[str, Any]]:
        """Return the messages that came, waiting until there are so many."""
        deadline = time.monotonic() + seconds
        while True:
            lines = self.out.read_text().splitlines() if self.out.exists() else []
            if len(lines) >= at_least or time.monotonic() > deadline:
                return [json.loads(line) for line in lines]
            time.sleep(0.1)


def certificates(folder: Path) -> Certificates:
    """Make an authority and two certificates signed by it."""
    folder.mkdir(parents=True, exist_ok=True)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    _write(folder / "ca.pem", _signed(authority, authority, authority_key, authority_key, ca=True))
    made = Certificates(
        folder / "ca.pem", folder / "server.pem", folder / "server.key", folder / "client.pem", folder / "client.key"
    )
    for place, key_place, name in (
        (made.server, made.server_key, "localhost"),
        (made.client, made.client_key, "holdfast"),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        _write(place, _signed(subject, authority, key, authority_key, ca=False))
        key_place.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
    return made


def _signed(subject, issuer, key, signer, *, ca) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if ca:
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        builder = builder.add_extension(usage, critical=True)
    else:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _write(place: Path, certificate: x509.Certificate) -> None:
    place.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


@contextmanager
def audit_collector(
    folder: Path, made: Certificates, ports: tuple[int, int, int] | None = None
) -> Iterator[AuditCollector]:
    """Start it; the same ports again after a pause if they are given."""
    install.debian("rsyslogd", "rsyslog")
    program = install.debian("rsyslogd", "rsyslog-gnutls")
    if not list(Path("/usr/lib").glob("*/rsyslog/lmnsd_gtls.so")):
        install.run(["apt-get", "-qq", "install", "-y", "rsyslog-gnutls"])
    tls, tcp, udp = ports or (process.free_port(), process.free_port(), process.free_port())
    out = folder / "messages.json"
    settings = folder / "rsyslog.conf"
    settings.write_text(f"""
global(maxMessageSize="64k" workDirectory="{folder}" DefaultNetstreamDriver="gtls"
       DefaultNetstreamDriverCAFile="{made.ca}" DefaultNetstreamDriverCertFile="{made.server}"
       DefaultNetstreamDriverKeyFile="{made.server_key}")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid")
module(load="imptcp") module(load="imudp")
input(type="imtcp" address="127.0.0.1" port="{tls}")
input(type="imptcp" address="127.0.0.1" port="{tcp}")
input(type="imudp" address="127.0.0.1" port="{udp}")
template(name="fields" type="list" option.jsonf="on") {{
  property(outname="pri" name="pri" format="jsonf")
  property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="program" name="app-name" format="jsonf")
  property(outname="msgid" name="msgid" format="jsonf")
  property(outname="version" name="protocol-version" format="jsonf")
  property(outname="text" name="msg" format="jsonf")
}}
action(type="omfile" file="{out}" template="fields" fileCreateMode="0644")
""")
    command = [program, "-n", "-f", str(settings), "-i", str(folder / "rsyslog.pid")]
    with process.running(
        command, log=folder / "rsyslog.log", ready=lambda: process.answers(tls) and process.answers(tcp)
    ):
        yield AuditCollector(tls, tcp, udp, made, out)
