"""Traces and figures reach an OpenTelemetry collector in the form that its definitions know, and no collector holds anything up."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.scheduled import Site

import holdfast
from holdfast import config
from holdfast.errors import SourceMissingError
from holdfast.reliability.telemetry import Endpoint, Point, metrics_body, parent_of, post, trace_parent
from holdfast.runs.configured import telemetry_endpoint
from holdfast.runs.monitoring.metrics import points
from holdfast.runs.schedule.exporter import QUEUED_MAX, Exporter
from holdfast.runs.schedule.launch import Ended
from holdfast.runs.schedule.records import Entry, Outcome, RunRecord, RunState
from servers import process
from servers.otlp import collector
from unit.monitoring.reports import full_report

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)


def attributes(span: dict) -> dict[str, str]:
    return {row["key"]: next(iter(row["value"].values())) for row in span["attributes"]}


def test_the_operations_of_a_run_are_parts_of_its_span_and_hold_no_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    with collector() as found:
        site = Site(tmp_path, f'[telemetry]\nendpoint = "{found.url}"\ntoken = "file:{tmp_path}/token"\n')
        (tmp_path / "token").write_text("letmein\n")
        site.gate.touch()
        with site.service():
            site.now("nightly")
            assert site.state() is RunState.DONE
            site.eventually(lambda: {"run backup", "holdfast backup"} <= {span["name"] for span in found.spans()})
            site.eventually(lambda: any(signal == "metrics" for signal, _, _ in found.came))
        (run,) = [span for span in found.spans() if span["name"] == "run backup"]
        (backup,) = [span for span in found.spans() if span["name"] == "holdfast backup"]
        assert (backup["traceId"], backup["parentSpanId"]) == (run["traceId"], run["spanId"])
        assert backup["status"] == run["status"] == {"code": 1}
        assert attributes(backup)["holdfast.outcome"] == "success"
        assert attributes(run)["holdfast.entry"] == "nightly"
        assert {headers["Authorization"] for _, _, headers in found.came} == {"Bearer letmein"}
        assert found.faults() == []
        text = json.dumps(found.came)
        assert str(tmp_path) not in text
        assert "a.hl7" not in text


def test_an_operation_by_hand_is_its_own_trace_and_a_collector_that_is_away_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("TRACEPARENT", raising=False)
    holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key").close()
    (tmp_path / "data").mkdir()
    (tmp_path / "site.toml").write_text(
        f'[vault]\nurl = "{tmp_path}/vault"\nkey_file = "file:{tmp_path}/key"\n[jobs.ehr]\npaths = ["{tmp_path}/data"]\n'
        '[jobs.gone]\npaths = ["/none"]\n'
    )
    with collector() as found, holdfast.Vault.open(tmp_path / "site.toml") as vault:
        vault.backup("ehr")
        assert not found.came, "without an endpoint nothing is sent"
        endpoint = Endpoint(found.url, seconds=5.0)
        vault._vault.trail.options = replace(vault._vault.trail.options, telemetry=endpoint)
        vault.backup("ehr")
        with pytest.raises(SourceMissingError):
            vault.backup("gone")
        first, second = found.spans()
        assert "parentSpanId" not in first
        assert first["traceId"] != second["traceId"]
        assert (second["status"], attributes(second)["holdfast.code"]) == ({"code": 2}, "source-missing")
        found.status = 503
        vault.check()
        vault.check()
        assert len(found.came) == 3, "it was not asked again at once"
        nowhere = Endpoint(f"http://127.0.0.1:{process.free_port()}", seconds=5.0)
        vault._vault.trail.options = replace(vault._vault.trail.options, telemetry=nowhere)
        (vault._vault.trail.folder / "away-telemetry").unlink()
        assert vault.backup("ehr").exit_code == 0


def test_figures_are_those_of_the_metrics_page():
    rows = points(full_report())
    assert Point("holdfast_copies", "Stores that every backup is on.", {}, 1) in rows
    counted = {row.name for row in rows if row.counts}
    assert counted == {f"holdfast_schedule_{name}_total" for name in ("runs_done", "runs_failed", "attempts")}
    body = metrics_body(Endpoint("http://x", site="north", host="h"), rows, since=NOW, now=NOW)
    by_name = {row["name"]: row for row in body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]}
    assert by_name["holdfast_schedule_attempts_total"]["sum"]["isMonotonic"]
    assert by_name["holdfast_copies"]["gauge"]["dataPoints"][0]["asDouble"] == 1.0
    labels = {
        row["attributes"][0]["value"]["stringValue"] for row in by_name["holdfast_class_copies"]["gauge"]["dataPoints"]
    }
    assert labels == {"phi", "system"}


def test_a_full_queue_drops_and_says_how_much(monkeypatch):
    with collector() as found:
        exporter = Exporter(Endpoint(found.url, seconds=5.0), NOW)
        exporter.figures(full_report())
        exporter.wait()
        assert (exporter.dropped, exporter.failure, len(found.came)) == (0, "", 1)
        assert found.faults() == []
        entry = Entry("nightly", "backup")
        record = RunRecord("nightly", NOW, RunState.FAILED, 2, NOW, None, None, None, "", "", "ab" * 16)
        exporter.run_ended(entry, Ended(record, Outcome(7, "store-full")), NOW)
        exporter.wait()
        (span,) = found.spans()
        assert (span["traceId"], span["spanId"], span["status"]) == ("ab" * 16, "ab" * 8, {"code": 2})
        assert attributes(span)["holdfast.code"] == "store-full"
        assert found.faults() == []
        found.status = 500
        exporter.figures(full_report())
        exporter.wait()
        assert (exporter.dropped, exporter.failure) == (1, "status 500")
        let_go = threading.Event()
        monkeypatch.setattr("holdfast.runs.schedule.exporter.post", lambda *_: let_go.wait(30) and "never")
        for _ in range(QUEUED_MAX + 10):
            exporter.figures(full_report())
        assert 9 <= exporter.dropped - 1 <= 10, "the thread holds one, the queue as many as it takes"
        let_go.set()
        exporter.wait()
        assert exporter.failure == "never"


@contextmanager
def dribbling():
    """Serve an answer that comes byte by byte and never ends; yield the port and what counts who went away."""
    over, gone = threading.Event(), threading.Event()

    def serve():
        client, _ = server.accept()
        with client:
            while not over.wait(0.02):
                try:
                    client.sendall(b"H")
                except OSError:
                    gone.set()
                    return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1], gone
        finally:
            over.set()
            thread.join()


def test_a_collector_that_answers_byte_by_byte_is_not_waited_for():
    with dribbling() as (port, gone):
        assert post(Endpoint(f"http://127.0.0.1:{port}", seconds=0.3), "traces", {}) == "no answer in time"
        assert gone.wait(30), "the connection was let go of"


def test_nothing_that_telemetry_fails_with_is_an_error():
    for url in ("http://127.0.0.1:99999", "http://[::1", "http://" + "a" * 80):
        assert post(Endpoint(url, seconds=2.0), "traces", {})
    assert post(Endpoint("http://127.0.0.1:1", token="a\nb", seconds=2.0), "traces", {})
    assert post(Endpoint("http://127.0.0.1:1", seconds=2.0), "traces", {"x": object()}) == "TypeError"


def test_the_record_is_whole_before_the_span_is_sent(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    phases: list[list[str]] = []
    with holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key") as vault:
        trail = vault._vault.trail
        trail.options = replace(trail.options, telemetry=Endpoint("http://127.0.0.1:99999"))

        def seen(*_args):
            monkeypatch.setattr("holdfast.runs.trail.post", lambda *_: "")  # reading the log is an operation, too
            phases.append([each.record.phase for each in vault.audit.records() if each.record.kind == "check"])
            return "away"

        monkeypatch.setattr("holdfast.runs.trail.post", seen)
        vault.check()
        assert phases == [["begin", "end"]]
        monkeypatch.undo()
        monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
        (trail.folder / "away-telemetry").unlink()
        assert vault.check().exit_code == 0
        assert (trail.folder / "away-telemetry").exists()


def test_what_cannot_be_sent_is_a_reason_and_no_error(tmp_path):
    port = process.free_port()
    assert post(Endpoint(f"http://127.0.0.1:{port}", seconds=2.0), "traces", {}) == "Connection refused"
    assert post(Endpoint(f"https://127.0.0.1:{port}", seconds=2.0), "traces", {}) == "Connection refused"
    assert "cannot be read" in post(Endpoint("https://127.0.0.1", ca_file=str(tmp_path / "none")), "traces", {})
    assert parent_of(trace_parent("ab" * 16, "cd" * 8)) == ("ab" * 16, "cd" * 8)
    for text in ("", "x", f"00-{'0' * 32}-{'ab' * 8}-01", f"00-{'ab' * 16}-{'0' * 16}-01"):
        assert parent_of(text) == ("", "")
    loaded = config.loads('[vault]\nurl = "/v"\n[telemetry]\nendpoint = "https://otel"\ntoken = "env:T"\n', environ={})
    made = telemetry_endpoint(loaded.settings, {"T": "secret\n"})
    assert made is not None
    assert (made.url, made.token, made.site) == ("https://otel", "secret", "holdfast")
    assert telemetry_endpoint(config.loads('[vault]\nurl = "/v"\n', environ={}).settings, {}) is None
