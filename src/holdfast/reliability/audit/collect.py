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

from holdfast.base.environment import Environment, system
from holdfast.errors import AuditDamagedError, AuditUnavailableError
from holdfast.reliability.audit.atna import framed, syslog_message
from holdfast.reliability.audit.read import Listed, records

__all__ = ["Collector", "Sent", "cursor", "send"]

BATCH_RECORDS = 2000
REFUSAL_SECONDS = 0.5
UDP_BYTES_MAX = 65_000
SEND_BYTES = 1 << 16


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
    """How long each step may take."""
    send_seconds: float = 60.0
    """How long a connection with its batch of records may take, all steps together."""
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
    damaged: bool = False
    """Whether it stopped because the log itself is damaged: the collector may be well."""


def cursor(folder: Path, collector: Collector) -> int:
    """Return the number of the first record that the collector has not got."""
    try:
        return int((folder / f"sent-{collector.name}").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def _advance(folder: Path, collector: Collector, to: int) -> None:
    new = folder / f"sent-{collector.name}.new"
    with open(new, "w", encoding="ascii") as file:
        file.write(f"{to}\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, folder / f"sent-{collector.name}")


def send(
    folder: Path,
    log: str,
    collector: Collector,
    *,
    records_max: int = 1_000_000,
    seconds_max: float | None = None,
    env: Environment | None = None,
) -> Sent:
    """Send what the collector has not got. A failure is a result: the rest is sent another time, and a log that is damaged says so.

    A connection with its batch of records takes `collector.send_seconds` at the most, whatever the collector does: one that takes
    or gives a byte now and then is as good as away. `seconds_max`: and all of them together no longer than this.
    """
    env = env or system()
    end = _Deadline(env, seconds_max if seconds_max is not None else float("inf"))
    at = start = cursor(folder, collector)
    try:
        waiting = islice(_after(folder, start), records_max)
        while batch := list(islice(waiting, BATCH_RECORDS)):
            deadline = _Deadline(env, min(collector.send_seconds, end.left()))
            with _connected(collector, deadline) as channel:
                channel(batch, log)
            at = batch[-1].number + 1
            _advance(folder, collector, at)
    except (OSError, ssl.SSLError) as error:
        return Sent(collector.name, at - start, at, _reason(error))
    except AuditUnavailableError as error:
        return Sent(collector.name, at - start, at, error.what)
    except AuditDamagedError as error:
        return Sent(collector.name, at - start, at, error.what, damaged=True)
    return Sent(collector.name, at - start, at)


def _after(folder: Path, start: int) -> Iterator[Listed]:
    """Return the records from one on. `AuditDamagedError` if the one before it, which was sent, is not there any more."""
    if not start:
        return records(folder)
    found = records(folder, start=start - 1)
    last = next(found, None)
    if last is None or last.number != start - 1:
        raise AuditDamagedError(f"the audit log has fewer than the {start} records that were sent already")
    return found


class _Deadline:
    """When something must be over, whatever the other side does."""

    def __init__(self, env: Environment, seconds: float) -> None:
        self._env = env
        self._at = env.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left. `TimeoutError` if there are none."""
        left = self._at - self._env.monotonic()
        if left <= 0:
            raise TimeoutError(0, "the collector did not take the records in time")
        return left

    def limit(self, connection: socket.socket, seconds: float) -> None:
        """Let the next call take so long at the most. `TimeoutError` if there is no time left."""
        connection.settimeout(min(seconds, self.left()))


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "the collector's certificate is not one that the authority signed for this name"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or type(error).__name__}".replace("_", " ").lower()
    return error.strerror or type(error).__name__


class _Channel:
    """A connection that takes batches."""

    def __init__(self, connection: socket.socket, collector: Collector, deadline: _Deadline) -> None:
        self._connection = connection
        self._collector = collector
        self._deadline = deadline

    def __call__(self, batch: Iterable[Listed], log: str) -> None:
        messages = (syslog_message(each.record, each.number, log, site=self._collector.site) for each in batch)
        if self._collector.protocol == "udp":
            for message in messages:
                self._limit()
                self._connection.send(message[:UDP_BYTES_MAX])
            return
        left = memoryview(b"".join(map(framed, messages)))
        while left:  # not `sendall`, which over TLS gives each part the whole time again
            self._limit()
            left = left[self._connection.send(left[:SEND_BYTES]) :]
        self._ask_whether_it_arrived()

    def _limit(self) -> None:
        self._deadline.limit(self._connection, self._collector.timeout_seconds)

    def _ask_whether_it_arrived(self) -> None:
        """Close our side and wait for the other's: it closes when it has read everything, or resets the connection."""
        self._limit()
        if isinstance(self._connection, ssl.SSLSocket):
            with suppress(ssl.SSLEOFError, ssl.SSLZeroReturnError):  # some close without a word when they have read all
                self._connection.unwrap()
            return
        self._connection.shutdown(socket.SHUT_WR)
        while self._connection.recv(4096):
            self._limit()


@contextmanager
def _connected(collector: Collector, deadline: _Deadline) -> Iterator[_Channel]:
    if collector.protocol == "udp":
        with _opened(collector, deadline, socket.SOCK_DGRAM) as datagrams:
            yield _Channel(datagrams, collector, deadline)
        return
    with _opened(collector, deadline, socket.SOCK_STREAM) as plain:
        if collector.protocol == "tcp":
            yield _Channel(plain, collector, deadline)
            return
        context = ssl.create_default_context(cafile=collector.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if collector.certificate is not None:
            context.load_cert_chain(collector.certificate, collector.key)
        deadline.limit(plain, collector.timeout_seconds)
        with context.wrap_socket(plain, server_hostname=collector.host) as secured:
            _refused_late(secured, collector, deadline)
            yield _Channel(secured, collector, deadline)


def _opened(collector: Collector, deadline: _Deadline, kind: socket.SocketKind) -> socket.socket:
    """Connect to the first address that answers. Asking for the name has only the resolver's own limits."""
    refused: OSError = ConnectionError(0, "the collector's name has no address")
    for family, _, _, _, address in socket.getaddrinfo(collector.host, collector.port, type=kind):
        connection = socket.socket(family, kind)
        try:
            deadline.limit(connection, collector.timeout_seconds)
            connection.connect(address)
        except OSError as error:
            connection.close()
            refused = error
        else:
            return connection
    raise refused


def _refused_late(connection: ssl.SSLSocket, collector: Collector, deadline: _Deadline) -> None:
    """Wait a moment for a refusal: with TLS 1.3 a server looks at our certificate when the handshake is over for us."""
    deadline.limit(connection, min(REFUSAL_SECONDS, collector.timeout_seconds))
    with suppress(TimeoutError):
        if not connection.recv(1):
            raise ConnectionResetError(0, "the collector closed the connection: does it accept our certificate?")
