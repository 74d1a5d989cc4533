"""Options of retry, circuit breakers and the audit log."""

from __future__ import annotations

from holdfast import config
from option_cases import HEAD

COLLECTOR = HEAD + '[collectors.a]\nhost = "siem"\n'
KINDS = ("store_unreachable", "store_throttled", "application_busy", "application_unreachable", "delivery")

CASES: dict[str, tuple[str, object]] = {
    **{
        f"retry.{kind}.{name}": (HEAD + f"[retry.{kind}]\n{name} = {value}", value)
        for kind in KINDS
        for name, value in (
            ("attempts", 9),
            ("first_seconds", 0.25),
            ("longest_seconds", 77),
            ("budget_seconds", 999.0),
        )
    },
    "breaker.failures": (HEAD + "[breaker]\nfailures = 3", 3),
    "breaker.open_seconds": (HEAD + "[breaker]\nopen_seconds = 5.0", 5.0),
    "breaker.longest_seconds": (HEAD + "[breaker]\nlongest_seconds = 50", 50),
    "audit.algorithm": (HEAD + '[audit]\nalgorithm = "ecdsa-p256"', "ecdsa-p256"),
    "audit.anchor_seconds": (HEAD + '[audit]\nanchor_seconds = "15m"', 900),
    "audit.retain_seconds": (HEAD + '[audit]\nretain_seconds = "7y"', 7 * 365 * 86400),
    "audit.site": (HEAD + '[audit]\nsite = "st-mary"', "st-mary"),
    "collectors.*.host": (COLLECTOR, "siem"),
    "collectors.*.port": (COLLECTOR + "port = 514", 514),
    "collectors.*.protocol": (COLLECTOR + 'protocol = "udp"', "udp"),
    "collectors.*.ca_file": (COLLECTOR + 'ca_file = "/ca.pem"', "/ca.pem"),
    "collectors.*.certificate": (COLLECTOR + 'certificate = "/c.pem"', "/c.pem"),
    "collectors.*.key": (COLLECTOR + 'key = "file:/k"', config.SecretRef("file", "/k")),
    "collectors.*.send_seconds": (COLLECTOR + "send_seconds = 90", 90),
    "collectors.*.timeout_seconds": (COLLECTOR + "timeout_seconds = 3.0", 3.0),
}
