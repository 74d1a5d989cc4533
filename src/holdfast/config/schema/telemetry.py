"""Settings of telemetry: an OpenTelemetry collector that gets traces and figures, if a site has one."""

from __future__ import annotations

from pydantic.types import StrictFloat, StrictInt

from holdfast.config.schema.fields import BaseUrl, Secret, Section, Text, option

__all__ = ["TelemetrySettings"]


class TelemetrySettings(Section):
    """Traces of operations and the figures of `holdfast status`, sent by OTLP over HTTP. Off without an endpoint."""

    endpoint: BaseUrl = option("", "The collector's base URL, as `http://127.0.0.1:4318`; empty: nothing is sent.")
    token: Secret | None = option(None, "A token that is sent as `Authorization: Bearer`.", unit="reference")
    ca_file: Text | None = option(None, "A file of certificates (PEM) that the collector is trusted by.")
    timeout_seconds: StrictFloat | StrictInt = option(
        5.0,
        "How long to wait for the collector; one that is away is not asked again for a minute.",
        unit="seconds",
        gt=0,
        le=60,
    )
