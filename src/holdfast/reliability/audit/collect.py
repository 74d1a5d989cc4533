"""Sending the log to a syslog collector: TLS (RFC 5425), TCP or UDP. The log is the spool: what was sent is a cursor.

While the collector is away nothing is lost and nothing waits: the cursor stays, and the next sending begins there. A record may
arrive twice (its resource id and its number in the log say so), never not at all; over UDP, which has no answer, it may.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from holdfast.reliability.audit.atna import framed, syslog_message
from holdfast.reliability.audit.read import Listed, records

__all__ = ["Collector", "Sent", "cursor", "send"]

BATCH_RECORDS = 2000
REFUSAL_SECONDS = 0.5
UDP_BYTES_MAX = 65_000


@dataclass(frozen=True, slots=True)
class Collector:
    """Where to send, and how."""

    name: str
    host: str
    port: int
    protocol: str = "tls"
    """`tls`, `tcp` or `udp`."""
    ca_file: str | None = None
    certificate: str | None = None
    key: str | None = None
    timeout_seconds: float = 10.0
    site: str = "holdfast"


@dataclass(frozen=True, slots=True)
class Sent:
    """How far a sending came."""

    collector: str
    records: int
    """Sent this time."""
    next: int
    """The first record that was not."""
    failure: str = ""
    """Why it stopped; empty if everything was sent."""


def cursor(folder: Path, collector: Collector) -> int:
    """Return the number of the first record that the collector has not got."""
    try:
        return int((folder / f"sent-{collector.name}").read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return 0


def _advance(folder: Path, collector: Collector, to: int) -> None:
    new = folder / f"sent-{collector.name}.new"
    with open(new, "w", encoding="ascii") as file:
        file.write(f"{to}\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, folder / f"sent-{collector.name}")


def send(folder: Path, log: str, collector: Collector, *, records_max: int = 1_000_000) -> Sent:
    """Send what the collector has not got. A failure is a result: the rest is sent another time."""
    at = start = cursor(folder, collector)
    waiting = islice(records(folder, start=start), records_max)
    try:
        while batch := list(islice(waiting, BATCH_RECORDS)):
            with _connected(collector) as channel:
                channel(batch, log)
            at = batch[-1].number + 1
            _advance(folder, collector, at)
    except (OSError, ssl.SSLError) as error:
        return Sent(collector.name, at - start, at, _reason(error))
    return Sent(collector.name, at - start, at)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "the collector's certificate is not one that the authority signed for this name"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or type(error).__name__}".replace("_", " ").lower()
    return error.strerror or type(error).__name__


class _Channel:
    """A connection that takes batches."""

    def __init__(self, connection: socket.socket, collector: Collector) -> None:
        self._connection = connection
        self._collector = collector

    def __call__(self, batch: Iterable[Listed], log: str) -> None:
        messages = (syslog_message(each.record, each.number, log, site=self._collector.site) for each in batch)
        if self._collector.protocol == "udp":
            for message in messages:
                self._connection.send(message[:UDP_BYTES_MAX])
            return
        self._connection.sendall(b"".join(map(framed, messages)))
        self._ask_whether_it_arrived()

    def _ask_whether_it_arrived(self) -> None:
        """Close our side and wait for the other's: it closes when it has read everything, or resets the connection."""
        if isinstance(self._connection, ssl.SSLSocket):
            with suppress(ssl.SSLEOFError, ssl.SSLZeroReturnError):  # some close without a word when they have read all
                self._connection.unwrap()
            return
        self._connection.shutdown(socket.SHUT_WR)
        while self._connection.recv(4096):
            pass


@contextmanager
def _connected(collector: Collector) -> Iterator[_Channel]:
    place = (collector.host, collector.port)
    if collector.protocol == "udp":
        family, kind, _, _, address = socket.getaddrinfo(*place, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as datagrams:
            datagrams.settimeout(collector.timeout_seconds)
            datagrams.connect(address)
            yield _Channel(datagrams, collector)
        return
    with socket.create_connection(place, collector.timeout_seconds) as plain:
        if collector.protocol == "tcp":
            yield _Channel(plain, collector)
            return
        context = ssl.create_default_context(cafile=collector.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if collector.certificate is not None:
            context.load_cert_chain(collector.certificate, collector.key)
        with context.wrap_socket(plain, server_hostname=collector.host) as secured:
            _refused_late(secured, collector)
            yield _Channel(secured, collector)


def _refused_late(connection: ssl.SSLSocket, collector: Collector) -> None:
    """Wait a moment for a refusal: with TLS 1.3 a server looks at our certificate when the handshake is over for us."""
    connection.settimeout(min(REFUSAL_SECONDS, collector.timeout_seconds))
    try:
        if not connection.recv(1):
            raise ConnectionResetError(0, "the collector closed the connection: does it accept our certificate?")
    except TimeoutError:
        connection.settimeout(collector.timeout_seconds)
