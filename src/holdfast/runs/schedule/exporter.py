"""The service's spans and figures on their way to an OpenTelemetry collector, aside: one that is away holds up nothing.

What does not fit into the queue is dropped: figures are sent anew each minute, and a trace is no record. The audit log is.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from holdfast.reliability.telemetry import Endpoint, Span, metrics_body, post, traces_body
from holdfast.runs.monitoring.metrics import points

if TYPE_CHECKING:
    from holdfast.runs.monitoring.report import StatusReport
    from holdfast.runs.schedule.launch import Ended
    from holdfast.runs.schedule.records import Entry

__all__ = ["Exporter"]

QUEUED_MAX = 200


class Exporter:
    """Sends in a thread of its own. `dropped` counts what was not sent, `failure` says why the last was not."""

    def __init__(self, endpoint: Endpoint, since: datetime) -> None:
        """Take where to, and since when counts are counted."""
        self._endpoint = endpoint
        self._since = since
        self._queue: queue.Queue[tuple[str, Mapping[str, Any]]] = queue.Queue(QUEUED_MAX)
        self.dropped = 0
        self.failure = ""
        threading.Thread(target=self._work, name="telemetry", daemon=True).start()

    def run_ended(self, entry: Entry, ended: Ended, now: datetime) -> None:
        """Send the span of an attempt; the operations of its process are parts of it."""
        record, outcome = ended.record, ended.outcome
        span = Span(
            record.token, record.token[:16], "", f"run {entry.kind}", record.started or now, now, not outcome.succeeded,
            {
                "holdfast.entry": entry.name, "holdfast.attempt": record.attempt, "holdfast.exit_code": outcome.exit_code,
                "holdfast.code": outcome.code,
            },
        )  # fmt: skip
        self._put("traces", traces_body(self._endpoint, [span]))

    def figures(self, report: StatusReport) -> None:
        """Send the figures of a report."""
        self._put("metrics", metrics_body(self._endpoint, points(report), since=self._since, now=report.at))

    def _put(self, signal: str, body: Mapping[str, Any]) -> None:
        try:
            self._queue.put_nowait((signal, body))
        except queue.Full:
            self.dropped += 1

    def _work(self) -> None:
        while True:
            signal, body = self._queue.get()
            self.failure = post(self._endpoint, signal, body)
            self.dropped += bool(self.failure)
            self._queue.task_done()

    def wait(self) -> None:
        """Wait until everything was sent, or was tried to be."""
        self._queue.join()
