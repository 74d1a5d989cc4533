"""Log lines, for people or for programs: one line per event, no path in any.

`2026-11-23T03:00:00.000000Z ALERT at risk damage ehr: a pack is damaged`, or the same as JSON with the fields `time`, `level`,
`event`, `code`, `subject`, `text`.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from holdfast.base.environment import Environment
from holdfast.base.events import Alert, Event, Finding, Note, Progress
from holdfast.errors import Safety

__all__ = ["LogWriter"]

_LEVELS = {Safety.UNTOUCHED: "info", Safety.INTACT: "warning", Safety.DEGRADED: "error", Safety.AT_RISK: "critical"}


class LogWriter:
    """Writes events as lines to a function such as `stream.write`."""

    def __init__(self, write: Callable[[str], object], env: Environment, *, as_json: bool = False) -> None:
        """Take where lines go, and the clock."""
        self._write = write
        self._env = env
        self._as_json = as_json

    def say(self, level: str, event: str, text: str, **fields: str | float) -> None:
        """Write one line. `fields` are values without any path."""
        time = self._env.timestamp()
        if self._as_json:
            record = {"time": time, "level": level, "event": event, "text": text, **fields}
            self._write(json.dumps(record, ensure_ascii=False) + "\n")
        else:
            words = " ".join(str(value) for value in fields.values() if value != "")
            self._write(" ".join(f"{time} {level.upper()} {event} {words}".split()) + f": {' '.join(text.split())}\n")

    def event(self, event: Event) -> None:
        """Write an event of a run: alerts, notes, and findings by their kind (never their path); progress is not logged."""
        match event:
            case Alert():
                self.say(
                    _LEVELS[event.safety],
                    "alert",
                    event.text,
                    code=event.code,
                    subject=event.subject,
                    safety=event.safety.value,
                )
            case Note():
                self.say("info", "note", event.text, code=event.code)
            case Finding():
                self.say("warning", "finding", event.detail, code=event.kind)
            case Progress():
                return
