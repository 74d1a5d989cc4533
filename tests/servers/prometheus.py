"""A Prometheus (Debian) that scrapes one address, loads a file of rules, and answers queries."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers import install, process


@dataclass(frozen=True)
class Prometheus:
    """Where it listens."""

    port: int

    def get(self, path: str, **values: str) -> Any:
        """Return the data of an answer of its API."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", f"/api/v1/{path}?{urllib.parse.urlencode(values)}")
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        assert answer["status"] == "success", answer
        return answer["data"]

    def ready(self) -> bool:
        """Return whether it answers queries."""
        if not process.answers(self.port):
            return False
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/-/ready")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()

    def query(self, expression: str) -> list[Any]:
        """Return the rows of a query at this moment."""
        return list(self.get("query", query=expression)["result"])


def promtool() -> str:
    """Return the path of promtool."""
    found: str = install.debian("promtool", "prometheus")
    return found


@contextmanager
def prometheus(folder: Path, scraped: int, rules: Path) -> Iterator[Prometheus]:
    """Start it: it scrapes 127.0.0.1:`scraped` every second."""
    program = install.debian("prometheus", "prometheus")
    port = process.free_port()
    settings = folder / "prometheus.yml"
    settings.write_text(
        f"""global: {{ scrape_interval: 1s, evaluation_interval: 1s }}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: holdfast
    static_configs: [{{ targets: ["127.0.0.1:{scraped}"] }}]
"""
    )
    command = [
        program, f"--config.file={settings}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    server = Prometheus(port)
    with process.running(command, log=folder / "prometheus.log", ready=server.ready):
        yield server
