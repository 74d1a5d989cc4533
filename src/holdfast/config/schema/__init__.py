"""Every setting once: its type, limits, unit, default and sentence. All else about configuration is derived from here.

One module per area; a table of the file is a field of `Settings`.
"""

from __future__ import annotations

from pydantic import Field

from holdfast.config.schema.applications import ApplicationSettings
from holdfast.config.schema.fields import Name, Section
from holdfast.config.schema.governor import GovernorSettings, LimitSettings, ProbeSettings, WindowSettings
from holdfast.config.schema.reliability import (
    AuditSettings,
    BreakerSettings,
    CollectorSettings,
    RetriesSettings,
    RetrySettings,
)
from holdfast.config.schema.services import DrillCheckSettings, DrillSettings, Services, ServiceSettings
from holdfast.config.schema.vault import (
    BackupSettings,
    ClassRuleSettings,
    JobSettings,
    PruneSettings,
    RetentionSettings,
    StreamSettings,
    VaultSettings,
    VerifySettings,
)

__all__ = [
    "ApplicationSettings",
    "AuditSettings",
    "BackupSettings",
    "BreakerSettings",
    "ClassRuleSettings",
    "CollectorSettings",
    "DrillCheckSettings",
    "DrillSettings",
    "GovernorSettings",
    "JobSettings",
    "LimitSettings",
    "ProbeSettings",
    "PruneSettings",
    "RetentionSettings",
    "RetriesSettings",
    "RetrySettings",
    "ServiceSettings",
    "Settings",
    "StreamSettings",
    "VaultSettings",
    "VerifySettings",
    "WindowSettings",
]


class Settings(Section):
    """All of it."""

    vault: VaultSettings
    jobs: dict[Name, JobSettings] = Field(default_factory=dict)
    applications: dict[Name, ApplicationSettings] = Field(default_factory=dict)
    backup: BackupSettings = Field(default_factory=BackupSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    prune: PruneSettings = Field(default_factory=PruneSettings)
    verify: VerifySettings = Field(default_factory=VerifySettings)
    retry: RetriesSettings = Field(default_factory=RetriesSettings)
    breaker: BreakerSettings = Field(default_factory=BreakerSettings)
    audit: AuditSettings = Field(default_factory=AuditSettings)
    collectors: dict[Name, CollectorSettings] = Field(default_factory=dict)
    services: Services = Field(default_factory=dict)
    drill: DrillSettings = Field(default_factory=DrillSettings)
    governor: GovernorSettings = Field(default_factory=GovernorSettings)
    windows: dict[Name, WindowSettings] = Field(default_factory=dict, max_length=100)
