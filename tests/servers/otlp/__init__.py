"""An OpenTelemetry collector's HTTP side that keeps what it gets, and OpenTelemetry's published definitions to decode it by."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from servers import install, java

_NEEDS = ("io.opentelemetry.proto:opentelemetry-proto:1.5.0-alpha", "com.google.protobuf:protobuf-java-util:3.25.5")


@dataclass
class Collector:
    """Where it listens, what came (signal, body, headers), and what it answers."""

    port: int = 0
    came: list[tuple[str, dict, dict[str, str]]] = field(default_factory=list)
    status: int = 200

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    def spans(self) -> list[dict]:
        """Return the spans that came, attributes as a mapping beside them."""
        bodies = [body for signal, body, _ in list(self.came) if signal == "traces"]
        return [span for body in bodies for span in body["resourceSpans"][0]["scopeSpans"][0]["spans"]]

    def faults(self) -> list[str]:
        """Return what OpenTelemetry's definitions do not know of what came."""
        lines = [f"{signal} {json.dumps(body)}" for signal, body, _ in self.came]
        jars = install.maven_closure("otlp", *_NEEDS)
        answers = java.run(Path(__file__).parent / "Decode.java", jars, lines)
        assert len(answers) == len(lines)
        return [answer for answer in answers if answer != "ok"]


@contextmanager
def collector() -> Iterator[Collector]:
    """Run it."""
    found = Collector()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.came.append((self.path.rpartition("/")[2], body, dict(self.headers)))
            self.send_response(found.status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = int(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
