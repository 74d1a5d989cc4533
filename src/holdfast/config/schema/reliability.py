"""Settings of retry, circuit breakers and the audit log."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from pydantic.types import StrictFloat, StrictInt, StrictStr

from holdfast.config.schema.fields import DAY, Seconds, Secret, Section, Text, option

__all__ = [
    "AuditSettings",
    "BreakerSettings",
    "CollectorSettings",
    "RetriesSettings",
    "RetrySettings",
]

Pause = StrictFloat | StrictInt


class RetrySettings(Section):
    """How one kind of failure is retried. What is not said is as the default of that kind."""

    attempts: StrictInt | None = option(None, "Attempts in all; 1 is no retry.", ge=1, le=1000)
    first_seconds: Pause | None = option(None, "The first pause; each is twice the last.", unit="seconds", gt=0, le=DAY)
    longest_seconds: Pause | None = option(None, "The longest pause.", unit="seconds", gt=0, le=DAY)
    budget_seconds: Pause | None = option(None, "No retry begins later than this.", unit="seconds", gt=0, le=30 * DAY)


class RetriesSettings(Section):
    """How failures are retried, by their kind. Whatever is final (a full store, a refusal, damage) never is."""

    store_unreachable: RetrySettings = Field(default_factory=RetrySettings)
    store_throttled: RetrySettings = Field(default_factory=RetrySettings)
    application_busy: RetrySettings = Field(default_factory=RetrySettings)
    application_unreachable: RetrySettings = Field(default_factory=RetrySettings)
    delivery: RetrySettings = Field(default_factory=RetrySettings)


class BreakerSettings(Section):
    """When a store or an application that fails in a row is left alone, and for how long."""

    failures: StrictInt = option(10, "Failures in a row that open the breaker.", ge=1, le=10_000)
    open_seconds: Pause = option(30.0, "How long no call is let through.", unit="seconds", gt=0, le=DAY)
    longest_seconds: Pause = option(
        600.0, "The longest such pause; each is twice the last.", unit="seconds", gt=0, le=DAY
    )


class CollectorSettings(Section):
    """Where audit events are sent, as DICOM/ATNA messages over syslog (RFC 5424)."""

    host: Text = option(..., "The collector's name or address.")
    port: StrictInt = option(6514, "Its port.", ge=1, le=65535)
    protocol: Literal["tls", "tcp", "udp"] = option(
        "tls", "`tls` (RFC 5425); `tcp` or `udp` only inside a network that protects them itself."
    )
    ca_file: Text | None = option(
        None, "The certificate of the authority that signed the collector's; else the system's."
    )
    certificate: Text | None = option(None, "Our certificate (PEM), if the collector asks for one.")
    key: Secret | None = option(None, "Its key, as `file:/path`.", unit="reference")
    timeout_seconds: Pause = option(10.0, "How long to wait for the collector.", unit="seconds", gt=0, le=600)
    send_seconds: Pause = option(
        60.0,
        "How long an operation gives to it in all, and `audit send` to 2,000 records; the rest is sent another time.",
        unit="seconds",
        gt=0,
        le=3600,
    )


class AuditSettings(Section):
    """The audit log of this host: always kept; these say how."""

    algorithm: Literal["ed25519", "ecdsa-p256"] = option(
        "ed25519", "What signs the heads of a log that is begun from now on."
    )
    anchor_seconds: Seconds = option(
        3600,
        "How often a signed head goes to the vault at the most; after deletions and key changes it always does.",
        unit="seconds",
        ge=0,
        le=30 * DAY,
    )
    retain_seconds: Seconds = option(
        6 * 365 * DAY,
        "How long a head in the vault is retained by the home's store, where that can (object lock); 0: not at all.",
        unit="seconds",
        ge=0,
        le=100 * 365 * DAY,
    )
    site: Annotated[StrictStr, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = option(
        "holdfast", "What names this site in exported events."
    )
