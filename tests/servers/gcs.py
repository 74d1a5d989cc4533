"""fake-gcs-server: an emulator of Google Cloud Storage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from holdfast import engine
from servers import install, process

VERSION = "v1.56.1"


@dataclass(frozen=True, slots=True)
class GcsServer:
    """Where it listens."""

    port: int

    def endpoint(self, port: int | None = None) -> str:
        """Return its URL."""
        return f"http://127.0.0.1:{port or self.port}"

    def make_bucket(self, name: str) -> None:
        """Make a bucket."""
        client = engine.NetClient(engine.NetSigner.none(), [])
        headers = [("Content-Type", "application/json")]
        body = f'{{"name": "{name}"}}'.encode()
        status, _, answer = client.request("POST", f"{self.endpoint()}/storage/v1/b?project=test", headers, body)
        assert status == 200, answer


@contextmanager
def fake_gcs(folder: Path) -> Iterator[GcsServer]:
    """Run it; what it stores is in memory."""
    program = install.go("fake-gcs-server", f"github.com/fsouza/fake-gcs-server@{VERSION}")
    port = process.free_port()
    command = [program, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
    command += ["-public-host", f"127.0.0.1:{port}"]
    with process.running(command, log=folder / "gcs.log", ready=lambda: process.answers(port)):
        yield GcsServer(port)
