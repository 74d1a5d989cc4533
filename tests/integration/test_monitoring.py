"""Rules pass promtool's tests, a real Prometheus scrapes the endpoint, every query of the dashboard and every rule is evaluated."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from holdfast.errors import LocalStateError, UsageError
from holdfast.runs.monitoring.endpoint import serving
from holdfast.runs.monitoring.metrics import encoded, write_textfile
from servers import process
from servers.prometheus import prometheus, promtool
from unit.monitoring.reports import full_report

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "monitoring"
RULES = FOLDER / "holdfast.rules.yml"


def test_the_rules_do_what_their_tests_say():
    tool = promtool()
    for command in (["check", "rules", str(RULES)], ["test", "rules", str(FOLDER / "holdfast.test.yml")]):
        done = subprocess.run([tool, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    tested = set(re.findall(r"alertname: (\w+)", (FOLDER / "holdfast.test.yml").read_text()))
    assert tested == set(re.findall(r"- alert: (\w+)", RULES.read_text()))


def test_what_is_written_is_what_promtool_takes(tmp_path):
    write_textfile(full_report(), str(tmp_path / "h.prom"))
    text = (tmp_path / "h.prom").read_text()
    done = subprocess.run([promtool(), "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert encoded(full_report())[0].decode() == text
    with pytest.raises(LocalStateError, match="file of metrics"):
        write_textfile(full_report(), str(tmp_path / "none" / "h.prom"))


def test_every_query_of_the_dashboard_is_evaluated(tmp_path):
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    queries = {target["expr"] for panel in panels for target in panel["targets"]}
    with (
        serving("127.0.0.1:0", lambda: full_report(datetime.now(UTC))) as port,
        prometheus(tmp_path, port, RULES) as server,
    ):
        deadline = time.monotonic() + 60
        missing = set(queries)
        while missing:
            missing = {query for query in missing if not server.query(query)}
            assert time.monotonic() < deadline, missing
            time.sleep(0.5)
        names = {row["metric"]["__name__"] for row in server.query('{__name__=~"holdfast_.*"}')}
        used = set(re.findall(r"\bholdfast_\w+", RULES.read_text() + " ".join(queries)))
        assert used <= names, used - names
        groups = server.get("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert len(rules) == RULES.read_text().count("- alert:")
        assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
        states = {rule["name"]: rule["state"] for rule in rules}
        assert states["HoldfastObjectiveMissed"] in {"pending", "firing"}
        page = (FOLDER.parent / "monitoring.md").read_text()
        assert not {name for name in names if name not in page}, "docs/monitoring.md lists every metric"


def test_the_endpoint_listens_only_where_it_is_told_to():
    with serving("", lambda: None) as port:
        assert port == 0
    with serving("127.0.0.1:0", lambda: None) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert b"503" in client.recv(100)
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"nonsense\r\n\r\n")
            assert client.recv(1000)
        with pytest.raises(UsageError, match="cannot be served"), serving(f"127.0.0.1:{port}", lambda: None):
            pass
    assert not process.answers(port)
    with pytest.raises(UsageError, match="HOST:PORT"), serving("nowhere", lambda: None):
        pass
