"""Traces and metrics to an OpenTelemetry collector, where one is configured: OTLP over HTTP, in its JSON form.

Source: the OTLP specification 1.x (`/v1/traces`, `/v1/metrics`; ids in hexadecimal, 64-bit numbers as texts) and W3C Trace Context
for `TRACEPARENT`. No library is needed for what is sent here: one span per operation, one point per figure. Nothing that is sent
holds a path or a name of the data; a collector that is away costs one time-out, and nothing else.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from holdfast.base.values import dataclass
from holdfast.errors import ChannelError

if TYPE_CHECKING:
    import http.client

__all__ = [
    "TRACE_VARIABLE",
    "Endpoint",
    "Point",
    "Span",
    "metrics_body",
    "parent_of",
    "post",
    "trace_parent",
    "traces_body",
]

TRACE_VARIABLE = "TRACEPARENT"
"""Names the span that a process was started under, as W3C Trace Context has it."""
_PARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_ANSWER_BYTES_MAX = 65536
_SCOPE = {"name": "holdfast"}
_INTERNAL, _OK, _ERROR = 1, 1, 2
_CUMULATIVE = 2
Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where it goes to, and what names this host there."""

    url: str
    """The collector's base URL, as `http://127.0.0.1:4318`."""
    token: str = ""
    """Sent as `Authorization: Bearer`; empty: none."""
    ca_file: str = ""
    seconds: float = 5.0
    site: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """One operation: its place in a trace, when it was, how it ended."""

    trace: str
    """32 hexadecimal digits."""
    id: str
    """16."""
    parent: str
    """The span that it is a part of; empty: none."""
    name: str
    began: datetime
    ended: datetime
    failed: bool = False
    facts: Mapping[str, Value] | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """One figure at one moment. `counts`: it only ever grows."""

    name: str
    text: str
    labels: Mapping[str, str]
    value: float
    counts: bool = False


def trace_parent(trace: str, span: str) -> str:
    """Return the value of `TRACEPARENT` for what is started under a span."""
    return f"00-{trace}-{span}-01"


def parent_of(text: str) -> tuple[str, str]:
    """Return trace and span of a `TRACEPARENT`; both empty for what is none."""
    found = _PARENT.fullmatch(text.strip())
    if found is None or set(found[1]) == {"0"} or set(found[2]) == {"0"}:
        return "", ""
    return found[1], found[2]


def _nanoseconds(moment: datetime) -> str:
    return str(round(moment.timestamp() * 1_000_000) * 1000)


def _attributes(facts: Mapping[str, Value]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in facts.items()]


def _value(value: Value) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case _:
            return {"stringValue": str(value)}


def _resource(endpoint: Endpoint) -> dict[str, Any]:
    facts: dict[str, Value] = {"service.name": "holdfast", "host.name": endpoint.host, "holdfast.site": endpoint.site}
    return {"attributes": _attributes({name: value for name, value in facts.items() if value})}


def traces_body(endpoint: Endpoint, spans: Iterable[Span]) -> dict[str, Any]:
    """Return the body of a request that exports spans."""
    rows = [
        {
            "traceId": span.trace,
            "spanId": span.id,
            **({"parentSpanId": span.parent} if span.parent else {}),
            "name": span.name,
            "kind": _INTERNAL,
            "startTimeUnixNano": _nanoseconds(span.began),
            "endTimeUnixNano": _nanoseconds(span.ended),
            "attributes": _attributes(span.facts or {}),
            "status": {"code": _ERROR if span.failed else _OK},
        }
        for span in spans
    ]
    return {"resourceSpans": [{"resource": _resource(endpoint), "scopeSpans": [{"scope": _SCOPE, "spans": rows}]}]}


def metrics_body(endpoint: Endpoint, points: Sequence[Point], *, since: datetime, now: datetime) -> dict[str, Any]:
    """Return the body of a request that exports figures; counts are counted `since` then."""
    by_name: dict[str, list[Point]] = {}
    for point in points:
        by_name.setdefault(point.name, []).append(point)
    rows = []
    for name, each in by_name.items():
        begun = {"startTimeUnixNano": _nanoseconds(since)} if each[0].counts else {}
        data = [
            {
                "attributes": _attributes(dict(point.labels)),
                "timeUnixNano": _nanoseconds(now),
                "asDouble": float(point.value),
                **begun,
            }
            for point in each
        ]
        shape: dict[str, Any] = (
            {"sum": {"dataPoints": data, "aggregationTemporality": _CUMULATIVE, "isMonotonic": True}}
            if each[0].counts
            else {"gauge": {"dataPoints": data}}
        )
        rows.append({"name": name, "description": each[0].text, **shape})
    return {
        "resourceMetrics": [{"resource": _resource(endpoint), "scopeMetrics": [{"scope": _SCOPE, "metrics": rows}]}]
    }


def post(endpoint: Endpoint, signal: str, body: Mapping[str, Any]) -> str:
    """Send a body to `/v1/SIGNAL`; return why it was not taken, empty if it was. Never raises.

    It takes `endpoint.seconds` at the most, all in all: neither a name that is not resolved nor an answer that comes byte by
    byte is waited for longer.
    """
    request = _Request(endpoint, signal, body)
    thread = threading.Thread(target=request.work, name="telemetry-request", daemon=True)
    thread.start()
    thread.join(endpoint.seconds)
    if thread.is_alive():
        request.give_up()
        return "no answer in time"
    return request.failure


class _Request:
    """One request, made by a thread of its own."""

    def __init__(self, endpoint: Endpoint, signal: str, body: Mapping[str, Any]) -> None:
        self._endpoint = endpoint
        self._signal = signal
        self._body = body
        self._connection: http.client.HTTPConnection | None = None
        self.failure = ""
        """Why it was not taken."""

    def work(self) -> None:
        """Make it."""
        try:
            self.failure = self._send()
        except ChannelError as error:
            self.failure = error.what
        except Exception as error:  # noqa: BLE001 - whatever ails telemetry, no operation fails by it
            self.failure = (isinstance(error, OSError) and error.strerror) or type(error).__name__

    def give_up(self) -> None:
        """Take the connection from under the thread, so that it ends."""
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def _send(self) -> str:
        # Imported when asked: no command pays for it that sends nothing.
        import http.client

        from holdfast.reliability.notify.tls import trust

        endpoint = self._endpoint
        parts = urllib.parse.urlsplit(endpoint.url)
        headers = {"Content-Type": "application/json", "User-Agent": "holdfast"}
        if endpoint.token:
            headers["Authorization"] = f"Bearer {endpoint.token}"
        host, port = parts.hostname or "", parts.port
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = trust(endpoint.ca_file)
            connection = http.client.HTTPSConnection(host, port, timeout=endpoint.seconds, context=context)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=endpoint.seconds)
        self._connection = connection
        try:
            content = json.dumps(self._body).encode()
            connection.request("POST", f"{parts.path.rstrip('/')}/v1/{self._signal}", content, headers)
            answer = connection.getresponse()
            answer.read(_ANSWER_BYTES_MAX)
        finally:
            connection.close()
        return "" if 200 <= answer.status < 300 else f"status {answer.status}"  # noqa: PLR2004 - success in HTTP
