"""Every setting once: its type, limits, unit, default and sentence. All else about configuration is derived from here.

One module per area; a table of the file is a field of `Settings`.
"""

from __future__ import annotations

from pydantic import Field

from holdfast.config.schema.alerts import (
    AlertSettings,
    ChannelSettings,
    ContactSettings,
    EscalationRowSettings,
    EscalationSettings,
    LevelSettings,
)
from holdfast.config.schema.anomaly import AnomalySettings
from holdfast.config.schema.applications import ApplicationSettings
from holdfast.config.schema.fields import Name, Section
from holdfast.config.schema.governor import GovernorSettings, LimitSettings, ProbeSettings, WindowSettings
from holdfast.config.schema.policy import MoveSettings, PolicySettings, SpoolSettings, TierSettings
from holdfast.config.schema.reliability import (
    AuditSettings,
    BreakerSettings,
    CollectorSettings,
    RetriesSettings,
    RetrySettings,
)
from holdfast.config.schema.schedule import MonitoringSettings, SchedulerSettings, ScheduleSettings
from holdfast.config.schema.services import DrillCheckSettings, DrillSettings, Services, ServiceSettings
from holdfast.config.schema.stores import StoreSettings
from holdfast.config.schema.telemetry import TelemetrySettings
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
    "AlertSettings",
    "AnomalySettings",
    "ApplicationSettings",
    "ApplicationSettings",
    "AuditSettings",
    "AuditSettings",
    "BackupSettings",
    "BackupSettings",
    "BreakerSettings",
    "ChannelSettings",
    "ClassRuleSettings",
    "ClassRuleSettings",
    "CollectorSettings",
    "ContactSettings",
    "DrillCheckSettings",
    "DrillSettings",
    "EscalationRowSettings",
    "EscalationSettings",
    "GovernorSettings",
    "JobSettings",
    "LevelSettings",
    "LimitSettings",
    "MonitoringSettings",
    "MoveSettings",
    "PolicySettings",
    "ProbeSettings",
    "PruneSettings",
    "RetentionSettings",
    "RetriesSettings",
    "RetrySettings",
    "ScheduleSettings",
    "SchedulerSettings",
    "ServiceSettings",
    "Settings",
    "SpoolSettings",
    "StoreSettings",
    "StreamSettings",
    "TelemetrySettings",
    "TierSettings",
    "VaultSettings",
    "VerifySettings",
    "WindowSettings",
]


class Settings(Section):
    """All of it."""

    vault: VaultSettings
    stores: dict[Name, StoreSettings] = Field(default_factory=dict)
    tiers: dict[Name, TierSettings] = Field(default_factory=dict)
    policies: dict[Name, PolicySettings] = Field(default_factory=dict)
    spool: SpoolSettings = Field(default_factory=SpoolSettings)
    jobs: dict[Name, JobSettings] = Field(default_factory=dict)
    applications: dict[Name, ApplicationSettings] = Field(default_factory=dict)
    backup: BackupSettings = Field(default_factory=BackupSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    prune: PruneSettings = Field(default_factory=PruneSettings)
    verify: VerifySettings = Field(default_factory=VerifySettings)
    scheduler: SchedulerSettings = Field(default_factory=SchedulerSettings)
    schedule: dict[Name, ScheduleSettings] = Field(default_factory=dict)
    monitoring: MonitoringSettings = Field(default_factory=MonitoringSettings)
    alerts: AlertSettings = Field(default_factory=AlertSettings)
    channels: dict[Name, ChannelSettings] = Field(default_factory=dict)
    contacts: dict[Name, ContactSettings] = Field(default_factory=dict)
    escalation: EscalationSettings = Field(default_factory=EscalationSettings)
    retry: RetriesSettings = Field(default_factory=RetriesSettings)
    breaker: BreakerSettings = Field(default_factory=BreakerSettings)
    anomaly: AnomalySettings = Field(default_factory=AnomalySettings)
    audit: AuditSettings = Field(default_factory=AuditSettings)
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)
    collectors: dict[Name, CollectorSettings] = Field(default_factory=dict)
    services: Services = Field(default_factory=dict)
    drill: DrillSettings = Field(default_factory=DrillSettings)
    governor: GovernorSettings = Field(default_factory=GovernorSettings)
    windows: dict[Name, WindowSettings] = Field(default_factory=dict, max_length=100)
