"""The endpoint that Prometheus fetches metrics from. It listens only where the configuration says so."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from holdfast.errors import UsageError
from holdfast.runs.monitoring.metrics import encoded
from holdfast.runs.monitoring.report import StatusReport

__all__ = ["serving"]

_CLIENT_SECONDS = 5.0


def _handler(newest: Callable[[], StatusReport | None]) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        """Answers GET /metrics, and nothing else."""

        timeout = _CLIENT_SECONDS
        server_version = "holdfast"
        sys_version = ""

        def do_GET(self) -> None:
            """Answer."""
            report = newest()
            if self.path != "/metrics":
                self._answer(404, b"metrics are at /metrics\n", "text/plain")
            elif report is None:
                self._answer(503, b"nothing was seen yet\n", "text/plain")
            else:
                content, kind = encoded(report, self.headers.get("Accept", ""))
                self._answer(200, content, kind)

        def _answer(self, status: int, content: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_args: object) -> None:
            """Say nothing: who fetches metrics is no event."""

    return Handler


class _Server(http.server.HTTPServer):
    """One client at a time, each for a few seconds at most: no number of clients holds the service up."""

    def handle_error(self, *_args: object) -> None:
        """Say nothing of a client that went away."""


class _Server6(_Server):
    address_family = socket.AF_INET6


@contextmanager
def serving(listen: str, newest: Callable[[], StatusReport | None]) -> Iterator[int]:
    """Serve metrics at `HOST:PORT` while the block runs; yield the port. Nothing if `listen` is empty. `UsageError`."""
    if not listen:
        yield 0
        return
    host, _, port = listen.rpartition(":")
    try:
        kind = _Server6 if ":" in host else _Server
        server = kind((host.strip("[]"), int(port)), _handler(newest))
    except (OSError, ValueError, OverflowError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "not HOST:PORT"
        raise UsageError(
            f"metrics cannot be served at the configured address ({reason})",
            next="correct `monitoring.listen`, or see what else listens there (`ss -ltnp`).",
        ) from None
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
