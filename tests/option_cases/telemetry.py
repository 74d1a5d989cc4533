"""Options of telemetry."""

from __future__ import annotations

from holdfast import config
from option_cases import HEAD

_TABLE = HEAD + "[telemetry]\n"

CASES: dict[str, tuple[str, object]] = {
    "telemetry.endpoint": (_TABLE + 'endpoint = "http://127.0.0.1:4318"', "http://127.0.0.1:4318"),
    "telemetry.token": (_TABLE + 'token = "env:T"', config.SecretRef("env", "T")),
    "telemetry.ca_file": (_TABLE + 'ca_file = "/x"', "/x"),
    "telemetry.timeout_seconds": (_TABLE + "timeout_seconds = 2", 2),
}
