"""Syslog: RFC 5424 over UDP (RFC 5426), TCP with octet counting (RFC 6587) or the machine's own socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from holdfast.base.environment import Environment, format_time
from holdfast.config import ChannelSettings
from holdfast.errors import ChannelError, Safety
from holdfast.reliability.notify.protocol import Message, Receipt

__all__ = ["Syslog", "frame", "make"]

_SEVERITIES = {Safety.UNTOUCHED: 5, Safety.INTACT: 4, Safety.DEGRADED: 3, Safety.AT_RISK: 1}
"""notice, warning, error, alert (RFC 5424, table 2)."""
_PORT = 514
_BYTES_MAX = 8192
_ENTERPRISE = 32473
"""The private enterprise number that RFC 5612 sets aside for documentation; Holdfast has none of its own."""


def frame(message: Message, *, facility: int, host: str, process: int) -> bytes:
    """Return a message as RFC 5424 has it. Line breaks become spaces: one message is one line everywhere."""
    priority = facility * 8 + _SEVERITIES[message.safety]
    data = " ".join(
        f'{name}="{_escaped(value)}"'
        for name, value in (
            ("alerts", ",".join(map(str, message.numbers))),
            ("codes", ",".join(message.codes)),
            ("subjects", ",".join(message.subjects)),
            ("level", str(message.level)),
        )
    )
    kind = f"holdfast-{message.kind}"
    head = f"<{priority}>1 {format_time(message.at)} {host or '-'} holdfast {process} {kind} [holdfast@{_ENTERPRISE} {data}]"
    text = " ".join(f"{message.subject} {message.body}".split())
    return f"{head} \ufeff{text}".encode()[:_BYTES_MAX]


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


class Syslog:
    """A collector. By UDP nobody answers: the receipt says that the message was sent, no more."""

    def __init__(self, name: str, settings: ChannelSettings) -> None:
        """Nothing is contacted."""
        self.name = name
        self._settings = settings

    def send(self, message: Message) -> Receipt:
        """Send it."""
        settings = self._settings
        packet = frame(message, facility=settings.facility, host=socket.gethostname(), process=os.getpid())
        try:
            if settings.transport == "unix":
                self._to_socket(packet)
            elif settings.transport == "tcp":
                address = (settings.host, settings.port or _PORT)
                with socket.create_connection(address, timeout=settings.timeout_seconds) as stream:
                    stream.sendall(f"{len(packet)} ".encode() + packet)
            else:
                self._by_datagram(packet)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ChannelError(f"the syslog of {self.name} did not take the message: {reason}") from None
        return Receipt(f"{settings.transport} {len(packet)} bytes")

    def _to_socket(self, packet: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
            datagrams.settimeout(self._settings.timeout_seconds)
            datagrams.sendto(packet, self._settings.path)

    def _by_datagram(self, packet: bytes) -> None:
        port = self._settings.port or _PORT
        family, kind, protocol, _, address = socket.getaddrinfo(self._settings.host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as datagrams:
            datagrams.settimeout(self._settings.timeout_seconds)
            datagrams.sendto(packet, address)


def make(name: str, settings: ChannelSettings, _environ: Mapping[str, str], _env: Environment) -> Syslog:
    """Make the channel."""
    return Syslog(name, settings)
